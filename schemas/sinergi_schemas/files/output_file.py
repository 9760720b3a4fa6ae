"""The files that a command writes because somebody named them: one rule for all of them.

- `-` is standard output. What is not a regular file (a pipe, a FIFO, a terminal, `/dev/stdout`) is
  written into as it is, and never replaced or removed.
- A regular file that is there already is refused, before any work is done, unless it is forced.
- A regular file is written beside its place and takes its name only when all of it is on the disk:
  nothing unfinished ever bears the name, and what was there before stays until then.
- A symbolic link is followed and stays a link. One that leads nowhere is refused, since the file
  that it would make lies where nobody said.
- Only what this run has made is removed.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

from sinergi_schemas import errors

if TYPE_CHECKING:
    from io import BufferedWriter
    from types import TracebackType

STANDARD_OUTPUT = Path("-")

# Modes of new files: events hold personal data; what holds none is as the user's umask says.
OWNER_ONLY = 0o600
AS_USUAL = 0o666

_MOST_LINKS = 40  # as the Linux kernel follows them


class OutputFile:
    """An output that is being written.

    As a context manager it is finished at the end of the block, and discarded where the block
    raises.
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
            if _is_written_as_it_is(path):
                return _Stream(path, os.fdopen(os.open(path, os.O_WRONLY | os.O_NOCTTY), "wb"))
            return _RegularFile(path, _place(path, force=force), mode)
        except OSError as why:
            raise _refused(path, why) from None

    @staticmethod
    def check(path: Path, *, force: bool = False) -> None:
        """Refuse what could not be begun, and touch nothing.

        Raises:
            OutputExists: there is a file already, and it is not forced.
            OutputRefused: it cannot be written.
        """
        try:
            is_stream = path == STANDARD_OUTPUT or _own_descriptor(path) is not None
            if not is_stream and not _is_written_as_it_is(path):
                folder = _place(path, force=force).parent
                if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
                    raise errors.OutputRefused(str(path), f"{folder} takes no new file from us")
        except OSError as why:
            raise _refused(path, why) from None

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees what is written."""
        return self._file.isatty()

    @property
    def is_replacing(self) -> bool:
        """Whether a file of this name is there already, which is to be replaced."""
        return False

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes.

        Raises:
            OutputRefused: they cannot be written, as on a full disk.
            BrokenPipeError: whoever read them has closed the pipe.
        """
        try:
            self._file.write(data)
        except BrokenPipeError:
            raise
        except OSError as why:
            raise _refused(self._path, why) from None

    def finish(self) -> None:
        """Have all of it on the disk under its name, or out to whoever reads it.

        Raises:
            OutputExists: somebody has made a file of this name meanwhile.
            OutputRefused: it cannot be written.
            BrokenPipeError: whoever read it has closed the pipe.
        """
        try:
            self._file.flush()
            self._complete()
        except BrokenPipeError:
            raise
        except OSError as why:
            raise _refused(self._path, why) from None
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what this run has made and not finished; anything else stays."""

    def _complete(self) -> None:
        """What is left to do once everything is written."""

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
    """A pipe, a device or a descriptor: opened by us, and closed by us, without another flush."""

    _file: BufferedWriter

    def __init__(self, path: Path, file: BufferedWriter) -> None:
        super().__init__(path, file)

    def discard(self) -> None:
        """Close it; what is written is written."""
        self._file.raw.close()


class _RegularFile(OutputFile):
    """A regular file on its way, under a name of its own beside its place.

    Args:
        path: the file as the user named it.
        place: the same without symbolic links.
    """

    _file: BufferedWriter

    def __init__(self, path: Path, place: Path, mode: int) -> None:
        self._place = place
        self._replaces = place.exists()
        self._unfinished = place.with_name(f".sinergi-{secrets.token_hex(8)}.unfinished")
        made = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        super().__init__(path, os.fdopen(made, "wb"))

    @property
    def is_replacing(self) -> bool:
        """Whether a file of this name was there when this one was begun."""
        return self._replaces

    def discard(self) -> None:
        """Remove the file while it still has the name of its own."""
        self._unfinished.unlink(missing_ok=True)
        self._file.raw.close()

    def _complete(self) -> None:
        os.fsync(self._file.fileno())
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


def _is_written_as_it_is(path: Path) -> bool:
    """Whether something is there that is neither a file nor a disk, nor a folder."""
    if not path.exists():
        return False
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode))


def _place(path: Path, *, force: bool) -> Path:
    """Where a regular file goes that is named so, which may be where a link leads.

    Raises:
        OutputExists: there is a file already, and it is not forced.
        OutputRefused: no regular file can be there.
        OSError: as the last.
    """
    if path.exists():
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "it is a folder" if stat.S_ISDIR(mode) else "it is a disk"
            raise errors.OutputRefused(str(path), what)
        if not force:
            raise errors.OutputExists(str(path))
    elif path.is_symlink():
        raise errors.OutputRefused(str(path), "it is a symbolic link to nothing")
    place = Path(os.path.realpath(path))
    if not place.parent.is_dir():
        place.parent.stat()
        raise errors.OutputRefused(str(path), f"{place.parent} is no folder")
    return place


def _own_descriptor(path: Path) -> int | None:
    """The number of this process's descriptor that a path such as `/dev/stdout` stands for.

    It is written into by its number: where a shell has redirected it to a file, opening that file
    by its path would begin at its start.
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
    said = why.strerror or type(why).__name__
    if path == STANDARD_OUTPUT:
        return errors.OutputRefused("standard output", said, "send it elsewhere")
    return errors.OutputRefused(str(path), said)
