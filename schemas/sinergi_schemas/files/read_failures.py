"""Why a file or folder cannot be read, with what to do about each cause."""

from __future__ import annotations

from errno import EACCES, EISDIR, ENOENT, ENOTDIR

_OF_FILES = {
    ENOENT: "check its name and folder",
    EISDIR: "name a file in it",
    ENOTDIR: "a part of its path is a file: check the path",
    EACCES: "let this user read it",
}
_OF_FOLDERS = {
    ENOENT: "check its name, or make it",
    ENOTDIR: "name the folder, and not a file in it",
    EACCES: "let this user read it",
}


def unread(why: OSError, *, is_folder: bool = False) -> str:
    """Why a path cannot be read, and what to do, as what follows the path in a sentence.

    Args:
        is_folder: whether a folder is wanted, and not a file.
    """
    remedies = _OF_FOLDERS if is_folder else _OF_FILES
    remedy = f"; {remedies[why.errno]}" if why.errno in remedies else ""
    return f"cannot be read ({why.strerror}){remedy}"
