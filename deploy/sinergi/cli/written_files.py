"""Says on standard error what a command has written to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.cli import terminal
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from pathlib import Path


def note(path: Path, what: str) -> None:
    """Say what a file holds, and how long it is; nothing of a pipe or of standard output.

    Args:
        what: it holds, for example `12 events`.
    """
    if path.is_file():
        terminal.note(f"sinergi: wrote {path}: {what}, {counted(path.stat().st_size, 'byte')}")


def note_folder(folder: Path, what: str) -> None:
    """Say which files a folder has got, for example `12 notes`."""
    terminal.note(f"sinergi: wrote {what} into {folder}")
