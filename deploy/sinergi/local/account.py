"""The user that PostgreSQL runs as: the current user, or another one if that is root.

Root starts it as `nobody`, without any capability: its superuser reads through SQL what `nobody`
may read, and nothing else. A root who lacks the capabilities for that, or who is the only user of
its user namespace, is an ordinary user in all but its number; it starts the server in a user
namespace where that number is another.
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sinergi.local.errors import LocalRootRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_ROOT = "nobody"
# By their numbers in capabilities(7): the rights to give files to another user, to become that
# user, to stop its processes and to remove its files.
_CAP_CHOWN, _CAP_DAC_OVERRIDE, _CAP_KILL, _CAP_SETGID, _CAP_SETUID = 0, 1, 5, 6, 7
_NEEDED = sum(
    1 << number for number in (_CAP_CHOWN, _CAP_DAC_OVERRIDE, _CAP_KILL, _CAP_SETGID, _CAP_SETUID)
)


@dataclass(frozen=True)
class Account:
    """The user that a server runs as.

    Attributes:
        is_root: whether the current user is root, so that the server must run as another user.
    """

    is_root: bool

    @classmethod
    def of_server(cls) -> Account:
        """The account for a server that this process starts."""
        return cls(os.geteuid() == 0)

    @property
    def word(self) -> str:
        """How `leash` names the user."""
        if not self.is_root:
            return ""
        return _NOT_ROOT if self._can_become else f"={_NOT_ROOT}"

    @property
    def is_another(self) -> bool:
        """Whether it is not the current user, so that it needs files and folders of its own."""
        return self.is_root and self._can_become

    def give(self, *paths: Path) -> None:
        """Make it the owner of files and folders that this process has created.

        Raises:
            OSError: their owner cannot be changed.
        """
        if self.is_another:
            for path in paths:
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    @cached_property
    def _user(self) -> pwd.struct_passwd:
        try:
            return pwd.getpwnam(_NOT_ROOT)
        except KeyError:
            raise LocalRootRefused(f"there is no user {_NOT_ROOT}") from None

    @cached_property
    def _can_become(self) -> bool:
        """Whether root has the capabilities that root usually has."""
        return (
            _effective_capabilities() & _NEEDED == _NEEDED
            and _is_mapped("uid", self._user.pw_uid)
            and _is_mapped("gid", self._user.pw_gid)
        )


def _effective_capabilities() -> int:
    status = Path("/proc/thread-self/status").read_text("utf-8", "replace")
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return int(found[1], 16) if found else 0


def _is_mapped(kind: str, number: int) -> bool:
    """Whether a user or group of this number exists in our user namespace."""
    return any(first <= number < first + count for first, count in _map(kind))


def _map(kind: str) -> Iterator[tuple[int, int]]:
    for line in Path(f"/proc/self/{kind}_map").read_text("ascii").splitlines():
        first, _outside, count = line.split()
        yield int(first), int(count)
