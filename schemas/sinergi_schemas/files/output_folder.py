"""Folders that a command writes several files into, checked before any work is done."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.files.input_file import matching

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_AS_USUAL = 0o777
_REMEDY = "name another folder"


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
            raise errors.OutputRefused(str(folder), "it is no folder", _REMEDY)
        for pattern in patterns if not force and folder.exists() else ():
            for there in matching(folder, pattern):
                raise errors.OutputExists(str(there))
    except OSError as why:
        raise _refused(folder, why) from None


def make_folder(folder: Path, mode: int = _AS_USUAL) -> None:
    """Make a folder, and those above it that are missing; one that is there stays as it is.

    Args:
        mode: of a new folder, less the umask.

    Raises:
        OutputRefused: it cannot be made, or something else has its name.
    """
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError:
        raise errors.OutputRefused(str(folder), "it is no folder", _REMEDY) from None
    except OSError as why:
        raise _refused(folder, why) from None


@contextmanager
def folder_for(folder: Path, mode: int = _AS_USUAL) -> Iterator[None]:
    """Make a folder as `make_folder` does; if the block raises, remove what was made and is empty.

    Raises:
        OutputRefused: as `make_folder`.
    """
    made = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        make_folder(folder, mode)
        yield
    except BaseException:
        with suppress(OSError):
            for each in made:
                each.rmdir()
        raise


def _refused(folder: Path, why: OSError) -> errors.OutputRefused:
    return errors.OutputRefused(str(folder), why.strerror or type(why).__name__, _REMEDY)
