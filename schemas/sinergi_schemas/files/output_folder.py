"""Folders that a command writes several files into, checked before any work is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.files.input_file import matching

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def check_folder(folder: Path, patterns: Iterable[str], *, force: bool) -> None:
    """Refuse a folder that cannot be used, or that has a file which would be replaced.

    Args:
        folder: it need not exist.
        patterns: shell patterns of the names of the files that will be written.
        force: they may be replaced.

    Raises:
        OutputExists: a file of such a name is there, and it is not forced.
        OutputRefused: it is no folder, or what is in it cannot be seen.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise errors.OutputRefused(str(folder), "it is no folder", "name another one")
        for pattern in patterns if not force and folder.exists() else ():
            for there in matching(folder, pattern):
                raise errors.OutputExists(str(there))
    except OSError as why:
        what = why.strerror or type(why).__name__
        raise errors.OutputRefused(str(folder), what, "name another folder") from None
