"""Agreements for tests, signed as their parties would sign them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import tomli_w

from sinergi_schemas.agreements.file import parse
from sinergi_schemas.agreements.signatures import add_signature, note_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sinergi_schemas.seal.keys import SigningKey


def write_signed(path: Path, document: Mapping[str, Any] | str, keys: Iterable[SigningKey]) -> None:
    """Write an agreement's file and the note with a signature of each key."""
    text = document if isinstance(document, str) else tomli_w.dumps(document)
    path.write_text(text, encoding="utf-8")
    sign_file(path, keys)


def sign_file(path: Path, keys: Iterable[SigningKey]) -> None:
    """Write the note beside an agreement, with a signature of each key in place of earlier ones."""
    agreement, note = parse(path, path.read_bytes()), None
    for key in keys:
        note = add_signature(agreement, note, key)
    if note is not None:
        note_path(path).write_text(note, encoding="utf-8")


def copy_signed(path: Path, folder: Path) -> None:
    """Copy an agreement and its note, as a party hands it to another."""
    for each in (path, note_path(path)):
        shutil.copy(each, folder)
