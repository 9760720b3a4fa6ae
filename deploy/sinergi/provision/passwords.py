"""The passwords of users: one file of mode 0600 for each, until it is handed over and deleted.

A password is written to a file with another name, then set on the brokers, then the file gets its
name `<user>.password`. After a crash in between, the password of the file without its final name
may or may not hold. An existing file is never read, since somebody else may know or have written
it.

    <user>.password.first   of a user that is being made. Nobody has been handed a password of this
                            user, so the next apply gives it another one, on the brokers or not.
    <user>.password.new     of a user whose password is being replaced: the old or the new one
                            holds, and whoever has the old one may use it. `rotate` replaces it.

A lock in the folder lets one command at a time do this. Else of two that give a user a password at
once, one could set its own on the brokers after the file of the other has got the final name.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from time import sleep
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.files import file_rights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BYTES = 32
_OWNERS_FOLDER, _OWNERS = 0o700, 0o600
_SUFFIX, _LOCK = ".password", ".lock"
_FIRST, _REPLACED = ".password.first", ".password.new"
_LOCK_SECONDS, _PAUSE_SECONDS = 60.0, 0.05


class PasswordFolder:
    """The folder with the files of new passwords.

    Args:
        path: it is made if it does not exist.
        report: called for each password that is set, with its file.
    """

    def __init__(self, path: Path, report: Callable[[Path], None]) -> None:
        self._path = path
        self._report = report
        self._has_lock = False

    def unset(self) -> list[str]:
        """The users whose last replacement was interrupted, so that their password is not known.

        None are told while another command works, which may be replacing one of them.
        """
        return self._interrupted(_REPLACED)

    def unfinished(self) -> list[str]:
        """The users that a command was making when it was interrupted: nobody has their password.

        None are told while another command works, which may be making them.
        """
        return self._interrupted(_FIRST)

    def file(self, user: str) -> Path:
        """Where the password of a user is, once it is set."""
        return self._path / f"{user}{_SUFFIX}"

    def check(self) -> None:
        """Check the folder before any password is set; it is made if it does not exist.

        Raises:
            PasswordFileRefused: it is none, cannot be written, or others may use it.
        """
        with _refusing(self._path):
            self._check_folder()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let no other command write passwords while the block lasts.

        Raises:
            PasswordFileRefused: others may use the folder, or another command keeps the lock.
        """
        with _refusing(self._path):
            self._check_folder()
            lock = _locked(self._path / _LOCK)
        self._has_lock = True
        try:
            yield
        finally:
            self._has_lock = False
            os.close(lock)

    def write(self, user: str, *, is_first: bool) -> bytes:
        """A new password in a file without its final name. The caller has the lock.

        Args:
            is_first: nobody has been handed a password of this user.

        Raises:
            PasswordFileRefused: it cannot be written.
        """
        path, unset = self.file(user), self._path / f"{user}{_suffix(is_first=is_first)}"
        password = secrets.token_urlsafe(_BYTES)
        with _refusing(path):
            if path.is_dir() and not path.is_symlink():  # it could not get its final name
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            unset.unlink(missing_ok=True)
            _write(unset, f"{password}\n")
        return password.encode()

    def confirm(self, user: str, *, is_first: bool) -> None:
        """Give the file its final name, once the brokers have the password.

        Args:
            is_first: as for `write`.

        Raises:
            PasswordFileRefused: it cannot be renamed.
        """
        path = self.file(user)
        with _refusing(path):
            (self._path / f"{user}{_suffix(is_first=is_first)}").replace(path)
            # What an earlier command has left holds no more.
            (self._path / f"{user}{_suffix(is_first=not is_first)}").unlink(missing_ok=True)
            _sync(self._path)
        self._report(path)

    def remove(self, user: str) -> None:
        """Remove the files of a user that the brokers do not have any more.

        Raises:
            PasswordFileRefused: they cannot be removed.
        """
        for suffix in (_SUFFIX, _FIRST, _REPLACED):
            path = self._path / f"{user}{suffix}"
            with _refusing(path):
                path.unlink(missing_ok=True)

    def _interrupted(self, suffix: str) -> list[str]:
        if not self._has_lock and _is_locked(self._path / _LOCK):
            return []
        return sorted(each.name.removesuffix(suffix) for each in self._path.glob(f"*{suffix}"))

    def _check_folder(self) -> None:
        if self._path.exists() and not self._path.is_dir():
            what = "is no folder; remove it, or name another in `provision.passwords`"
            raise errors.PasswordFileRefused(str(self._path), what)
        self._path.mkdir(mode=_OWNERS_FOLDER, parents=True, exist_ok=True)
        if not os.access(self._path, os.W_OK | os.X_OK):
            what = f"cannot be written ({os.strerror(errno.EACCES)})"
            raise errors.PasswordFileRefused(str(self._path), what)
        if file_rights.is_open(self._path.stat().st_mode):
            what = f"is in a folder that others may use; `chmod 700 {self._path}`"
            raise errors.PasswordFileRefused(str(self._path), what)


def _suffix(*, is_first: bool) -> str:
    return _FIRST if is_first else _REPLACED


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as why:
        raise errors.PasswordFileRefused(str(path), f"cannot be written ({why.strerror})") from None


def _write(path: Path, text: str) -> None:
    """Write a new file that only its owner may read, and wait for the disk."""
    made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNERS)
    with os.fdopen(made, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(made)


def _locked(path: Path) -> int:
    """A file that is open and locked until it is closed.

    Raises:
        PasswordFileRefused: another command keeps it locked for longer than a group takes.
    """
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, _OWNERS)
    deadline = SYSTEM.monotonic() + _LOCK_SECONDS
    try:
        while True:
            try:
                flock(opened, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                if SYSTEM.monotonic() > deadline:
                    what = "is locked by another command that writes passwords; wait, or end it"
                    raise errors.PasswordFileRefused(str(path), what) from None
            else:
                return opened
            sleep(_PAUSE_SECONDS)
    except BaseException:
        os.close(opened)
        raise


def _is_locked(path: Path) -> bool:
    """Whether another command has a file locked; one that does not exist is locked by nobody."""
    try:
        with path.open("rb") as file:
            flock(file, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # who may not open it may not see what lies beside it either
        return False
    return False


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
