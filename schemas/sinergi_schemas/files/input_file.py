"""Files that are read whole: only as far as it takes to see that one holds too much.

Under the name of a file may stand a device that never ends, or a FIFO that never begins. Where a
process reads its files again and again, as keys and agreements, each must be a regular one. What is
read once at the start may be a pipe, as a shell's process substitution makes one.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL, EISDIR
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def read_regular(path: Path, most: int) -> tuple[int, bytes]:
    """The mode of a file and what it holds, at most one byte beyond `most`.

    Raises:
        OSError: it cannot be read, or is no regular file. Whatever it is, nothing waits for it.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(opened, "rb") as file:
        mode = os.fstat(opened).st_mode
        _check(path, mode)
        return mode, file.read(most + 1)


def read(path: Path, most: int) -> tuple[int, bytes]:
    """The same for a file that may be a pipe.

    A pipe is waited for until somebody writes: call it while Ctrl-C and SIGTERM raise.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mode, file.read(most + 1)


def check_regular(path: Path) -> None:
    """See that a file that somebody else's library reads cannot hold it up.

    Raises:
        OSError: it is there, and no regular file.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # whoever reads it says why it cannot be read
    _check(path, mode)


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(EISDIR, os.strerror(EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(EINVAL, "it is no regular file", str(path))
