"""Reads whole files, up to a limit.

The name of a file may be that of a device that never ends, or of a FIFO that nobody writes to.
Files that a process reads again and again, as keys and agreements, must be regular files. A file
that is read once at the start may be a pipe, as a shell's process substitution makes one.
"""

from __future__ import annotations

import os
import select
import stat
from contextlib import contextmanager
from errno import EFBIG, EINVAL, EISDIR
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

_LOOK_MILLISECONDS = 200


def read_regular(path: Path, most: int) -> tuple[int, bytes]:
    """The mode and the content of a regular file, which is read without waiting for anything.

    Raises:
        OSError: it cannot be read, is no regular file, or holds more than `most` bytes; it names
            the path.
    """
    with path_named(path), open(path, "rb", opener=_without_waiting) as file:
        mode = os.fstat(file.fileno()).st_mode
        _check(path, mode)
        return mode, _content(path, file, most)


def read(path: Path, most: int) -> tuple[int, bytes]:
    """The mode and the content of a file that may be a pipe.

    It waits until somebody writes to the pipe: call it while Ctrl-C and SIGTERM raise.

    Raises:
        OSError: it cannot be read, or holds more than `most` bytes; it names the path.
    """
    with path_named(path), open(path, "rb", 0, opener=_without_waiting) as file:
        mode = os.fstat(file.fileno()).st_mode
        data = b""
        while len(data) <= most:
            _wait(file)
            more = file.read(most + 1 - len(data))
            if more is None:
                continue  # another process has read it
            if not more:
                return mode, data
            data += more
        raise _too_large(path, most)


def beginning(path: Path, most: int) -> bytes:
    """The first bytes of a regular file, which is read without waiting for anything.

    Raises:
        OSError: it cannot be read, or is no regular file; it names the path.
    """
    with path_named(path), open(path, "rb", opener=_without_waiting) as file:
        _check(path, os.fstat(file.fileno()).st_mode)
        return file.read(most)


def check_readable(path: Path) -> None:
    """Check a file for a library that reads it: the library could wait for a pipe for ever.

    Raises:
        OSError: it cannot be opened for reading, or is no regular file.
    """
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(opened).st_mode)
    finally:
        os.close(opened)


@contextmanager
def path_named(path: Path) -> Iterator[None]:
    """Let an OSError of the block name the path; one of a descriptor names its number or nothing.

    Raises:
        OSError: as the block does.
    """
    try:
        yield
    except OSError as why:
        why.filename = str(path)
        raise


def matching(folder: Path, pattern: str) -> list[Path]:
    """The paths in a folder whose names match a shell pattern, sorted.

    `Path.glob` finds nothing in a folder that cannot be read, as if it were empty.

    Raises:
        OSError: the folder is not there or cannot be read.
    """
    return sorted(each for each in folder.iterdir() if fnmatchcase(each.name, pattern))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _content(path: Path, file: BinaryIO, most: int) -> bytes:
    data = file.read(most + 1)
    if len(data) > most:
        raise _too_large(path, most)
    return data


def _too_large(path: Path, most: int) -> OSError:
    return OSError(EFBIG, f"it holds more than {most:,} bytes", str(path))


def _wait(file: FileIO) -> None:
    """Wait until a file can be read, or its writers have closed it.

    A signal that comes just before a call that waits does not end it, and Python handles signals
    only between two calls. So no call waits for long.
    """
    readable = select.poll()
    readable.register(file, select.POLLIN)
    while not readable.poll(_LOOK_MILLISECONDS):
        pass


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(EISDIR, os.strerror(EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(EINVAL, "it is no regular file", str(path))
