"""The files that a command writes, by one rule for all of them.

- `-` is standard output. What is not a regular file (a pipe, a FIFO, a terminal, `/dev/stdout`) is
  written into as it is, and never replaced or removed.
- A regular file that is there already is refused, before any work is done, unless it is forced.
- A regular file is written under a temporary name in the same folder and renamed when all of it is
  on the disk. No unfinished file ever has the final name, and an earlier file stays until then.
- A symbolic link is followed and stays a link. A link to nothing is refused, since the new file
  would be in a place that the user did not name.
- Only files that this run has made are removed, and the unfinished file of an earlier run for the
  same place that was killed (`unfinished_file`).
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from sinergi_schemas import errors
from sinergi_schemas.files import unfinished_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedWriter
    from types import TracebackType

STANDARD_OUTPUT = Path("-")

# Modes of new files: for personal data, and for other data, less the umask.
OWNER_ONLY = 0o600
OWNER_FOLDER = 0o700  # a folder for personal data
AS_USUAL = 0o666

_STANDARD_DESCRIPTOR = 1
_LOOK_MILLISECONDS = 200  # how often a stalled writer asks whether it is to go on
_MOST_LINKS = 40  # as the Linux kernel follows them


class OutputFile:
    """An output that is being written.

    As a context manager it is finished at the end of the block, or discarded if the block raises.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    @staticmethod
    def open(path: Path, *, force: bool = False, mode: int = OWNER_ONLY) -> OutputFile:
        """Begin to write an output.

        Args:
            force: replace a regular file that is there already.
            mode: of a new regular file.

        Raises:
            OutputExists: there is a file already, and it is not forced.
            OutputRefused: it cannot be written.
        """
        if path == STANDARD_OUTPUT:
            return OutputFile(path, sys.stdout.buffer)
        try:
            if (own := _own_descriptor(path)) is not None:
                sys.stdout.flush()
                return _Stream(path, os.fdopen(os.dup(own), "wb"))
            if _is_stream(path):
                return _Stream(path, os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY), "wb"))
            return _RegularFile(path, _place(path, force=force), mode)
        except OSError as why:
            raise _refused(path, why) from None

    @staticmethod
    def check(path: Path, *, force: bool = False) -> None:
        """Refuse an output that `open` would refuse, and change nothing.

        Raises:
            OutputExists: there is a file already, and it is not forced.
            OutputRefused: it cannot be written.
        """
        try:
            is_stream = path == STANDARD_OUTPUT or _own_descriptor(path) is not None
            if not is_stream and not _is_stream(path):
                folder = _place(path, force=force).parent
                if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                    raise errors.OutputRefused(str(path), f"{folder} takes no new file from us")
        except OSError as why:
            raise _refused(path, why) from None

    @staticmethod
    def is_standard_output(path: Path) -> bool:
        """Whether a path means the standard output of this process, as `-` and `/dev/stdout`."""
        return path == STANDARD_OUTPUT or _own_descriptor(path) == _STANDARD_DESCRIPTOR

    @property
    def is_terminal(self) -> bool:
        """Whether the output is a terminal."""
        return self._file.isatty()

    @property
    def is_replacing(self) -> bool:
        """Whether a file of this name was there at the start and will be replaced."""
        return False

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes.

        Raises:
            OutputRefused: they cannot be written, as on a full disk.
            BrokenPipeError: the reader has closed the pipe.
        """
        try:
            self._file.write(data)
        except BrokenPipeError:
            raise
        except OSError as why:
            raise _refused(self._path, why) from None

    def write_while(self, data: bytes | memoryview, goes_on: Callable[[], bool]) -> bool:
        """Write bytes, unless the reader of a pipe takes none until `goes_on` is false.

        It is for a thread that another one must be able to end: `write` waits without an end, and
        holds the lock of standard output meanwhile.

        Returns:
            Whether all of them are written.

        Raises:
            OutputRefused, BrokenPipeError: as `write`.
        """
        descriptor = self._stallable
        if descriptor is None:
            self.write(data)
            return True
        ready = select.poll()
        ready.register(descriptor, select.POLLOUT)
        rest = memoryview(data).cast("B")
        while rest:
            while not ready.poll(_LOOK_MILLISECONDS):
                if not goes_on():
                    return False
            # A pipe that is ready takes this much at once.
            self.write(rest[: select.PIPE_BUF])
            self._flush()
            rest = rest[select.PIPE_BUF :]
        return True

    @property
    def _stallable(self) -> int | None:
        """The descriptor, if somebody reads at its other end who may stop to read."""
        try:
            descriptor = self._file.fileno()
        except io.UnsupportedOperation:  # it is in memory
            return None
        return None if stat.S_ISREG(os.fstat(descriptor).st_mode) else descriptor

    def _flush(self) -> None:
        try:
            self._file.flush()
        except BrokenPipeError:
            raise
        except OSError as why:
            raise _refused(self._path, why) from None

    def settle(self) -> None:
        """Flush the output; a regular file then is on the disk, and lacks only its name.

        Raises:
            OutputRefused: it cannot be written.
            BrokenPipeError: the reader has closed the pipe.
        """
        self._flush()
        try:
            self._sync()
        except OSError as why:
            raise _refused(self._path, why) from None

    def finish(self) -> None:
        """Settle the output, and give a regular file its name.

        Raises:
            OutputExists: another process has made a file of this name meanwhile.
            OutputRefused: it cannot be written.
            BrokenPipeError: the reader has closed the pipe.
        """
        try:
            self.settle()
            self._complete()
        except BrokenPipeError:
            raise
        except OSError as why:
            raise _refused(self._path, why) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the unfinished file of this run, if there is one."""

    def _sync(self) -> None:
        """Wait for a regular file to be on the disk."""

    def _complete(self) -> None:
        """Give a regular file its name after everything is written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()


class _Stream(OutputFile):
    """A pipe, a device or a descriptor that this process opens, and closes without a flush."""

    _file: BufferedWriter

    def __init__(self, path: Path, file: BufferedWriter) -> None:
        super().__init__(path, file)

    def discard(self) -> None:
        """Close it; bytes that were written stay written."""
        self._file.raw.close()


class _RegularFile(OutputFile):
    """A regular file that is written under a temporary name in the folder of its place.

    Args:
        path: the file as the user named it.
        place: the same path without symbolic links.
    """

    _file: BufferedWriter

    def __init__(self, path: Path, place: Path, mode: int) -> None:
        self._place = place
        self._replaces = place.exists()
        self._unfinished, made = unfinished_file.begin(place, mode)
        super().__init__(path, os.fdopen(made, "wb"))

    @property
    def is_replacing(self) -> bool:
        """Whether a file of this name was there at the start and will be replaced."""
        return self._replaces

    def discard(self) -> None:
        """Remove the file if it still has its temporary name."""
        self._unfinished.unlink(missing_ok=True)
        self._file.raw.close()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())

    def _complete(self) -> None:
        if self._replaces:
            self._unfinished.replace(self._place)
            return
        try:
            self._place.hardlink_to(self._unfinished)  # unlike a rename it replaces nothing
        except FileExistsError:
            raise errors.OutputExists(str(self._path)) from None
        except OSError:  # a file system without hard links
            if os.path.lexists(self._place):
                raise errors.OutputExists(str(self._path)) from None
            self._unfinished.rename(self._place)


def _is_stream(path: Path) -> bool:
    """Whether the path is that of a pipe, a terminal or another character device or socket."""
    if not path.exists():
        return False
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode))


def _place(path: Path, *, force: bool) -> Path:
    """The path of the regular file that is to be written, with symbolic links followed.

    Raises:
        OutputExists: there is a file already, and it is not forced.
        OutputRefused: no regular file can be there.
        OSError: the same, as the operating system reports it.
    """
    if path.exists():
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode):
                raise errors.OutputRefused(str(path), "it is a folder", "name a file in it")
            raise errors.OutputRefused(str(path), "it is a disk")
        if not force:
            raise errors.OutputExists(str(path))
    elif path.is_symlink():
        raise errors.OutputRefused(str(path), "it is a symbolic link to nothing")
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        try:
            place.parent.stat()
        except FileNotFoundError:
            what = f"the folder {path.parent} does not exist"
            raise errors.OutputRefused(str(path), what, "make it, or name another file") from None
        raise errors.OutputRefused(str(path), f"{place.parent} is no folder")
    return place


def _own_descriptor(path: Path) -> int | None:
    """The descriptor of this process that a path such as `/dev/stdout` means.

    Output goes to the descriptor by its number: if a shell has redirected it to a file, opening
    that file by its path would write at its start.
    """
    own = {os.path.realpath("/proc/self/fd"), os.path.realpath("/dev/fd")}
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if folder in own and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder) / path.readlink()
    return None


def _refused(path: Path, why: OSError) -> errors.OutputRefused:
    what = why.strerror or type(why).__name__
    if path == STANDARD_OUTPUT:
        return errors.OutputRefused("standard output", what, "send it elsewhere")
    return errors.OutputRefused(str(path), what)
