"""Paths in a settings file, which are relative to the folder of that file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sinergi.settings.model import KEYS

if TYPE_CHECKING:
    from pathlib import Path

# A database's address, as a URL or as key/value pairs, that names a file.
_ADDRESS_WITH_FILE = re.compile(r"(postgres(ql)?(\+\w+)?://|\w+\s*=).*(passfile|ssl\w)", re.DOTALL)


def beside(folder: Path, key: str, value: object) -> object:
    """A value whose path, or whose paths in a database's address, are relative to a folder.

    Args:
        key: the dotted key of the setting.
    """
    if isinstance(value, str) and value and KEYS.get(key, False):
        return folder / value
    if not isinstance(value, str) or not _ADDRESS_WITH_FILE.match(value):
        return value
    from sinergi_schemas.postgresql import address  # noqa: PLC0415 - heavy: where it is needed

    return address.beside(value, folder)
