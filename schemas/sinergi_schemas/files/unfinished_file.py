"""The file in which an output is written until it is complete, under a temporary name.

The name has a digest of the final name. The process that writes the file holds a lock on it, which
the kernel releases when the process ends, even by `kill -9`. So a later run with the same final
name removes what such a run has left, and never what a run writes at the same time. A file system
without locks keeps the files; so does one of another machine that does not pass locks on, or the
run there ends with an error.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_END = ".unfinished"
_DIGITS = 16


def begin(place: Path, mode: int) -> tuple[Path, int]:
    """Make and lock an unfinished file, after those that killed runs have left are removed.

    Args:
        place: the path that it will have when it is complete.
        mode: of the file, less the umask.

    Returns:
        Its path, and a descriptor for writing.

    Raises:
        OSError: it cannot be made.
    """
    start = f".sinergi-{sha256(os.fsencode(place.name)).hexdigest()[:_DIGITS]}-"
    with suppress(OSError):  # a folder that may not be listed
        for each in [*place.parent.iterdir()]:
            if each.name.startswith(start) and each.name.endswith(_END):
                with suppress(OSError):
                    _remove_left(each)
    while True:
        path = place.with_name(f"{start}{secrets.token_hex(8)}{_END}")
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        if _is_kept(made):
            return path, made
        os.close(made)
        path.unlink(missing_ok=True)


def _is_kept(made: int) -> bool:
    """Lock a new file; whether no other run has taken it for one that was left."""
    try:
        fcntl.flock(made, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # nobody can lock it here, and so nobody removes it
        return True
    return os.fstat(made).st_nlink > 0


def _remove_left(path: Path) -> None:
    """Remove a file of ours that no process writes.

    Raises:
        OSError: one writes it, or it cannot be removed.
    """
    found = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        state = os.fstat(found)
        if stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid():
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(state, path.lstat()):
                path.unlink()
    finally:
        os.close(found)
