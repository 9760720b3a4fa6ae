"""Who may read or write a file besides its owner, by its mode."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_open(mode: int) -> bool:
    """Whether anybody but the owner may read or write it: then it must not hold a secret."""
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def is_writable_by_all(mode: int) -> bool:
    """Whether every user of the machine may write it: then its content cannot be trusted."""
    return bool(mode & stat.S_IWOTH)


def writable_by_all(path: Path) -> list[Path]:
    """Where every user of the machine may change what is read under a path.

    A link is followed step by step: whoever may write to the folder of a link or of its target, or
    to a folder above that, may put another file there. In a folder with the sticky bit, as /tmp,
    users replace only their own files.

    Args:
        path: of a file or a folder.

    Raises:
        OSError: it cannot be looked at, or its links lead in a circle.
    """
    found = [path] if is_writable_by_all(path.stat().st_mode) else []
    steps = [path]
    while steps[-1].is_symlink():
        steps.append(steps[-1].parent / steps[-1].readlink())
    folders = {
        folder
        for each in steps
        for folder in (each.parent.resolve(), *each.parent.resolve().parents)
    }
    return found + [each for each in sorted(folders) if _lets_all_replace(each.stat().st_mode)]


def _lets_all_replace(mode: int) -> bool:
    return is_writable_by_all(mode) and not mode & stat.S_ISVTX
