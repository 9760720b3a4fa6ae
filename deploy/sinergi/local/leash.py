"""Prepares the process of a service at its start, then executes the service in it.

It is a script of its own, not code between fork and exec, because a parent with threads must not
run Python there. It closes inherited files; detaches from the terminal, so that Ctrl-C reaches only
the parent; opens the service's folder; becomes another user, if asked to; and lets the service die
with its parent, if asked to (prctl(2), PR_SET_PDEATHSIG).

    leash.py PARENT SIGNAL USER FOLDER -- COMMAND…

PARENT is 0 for a service that outlives its parent. USER is empty to stay the current user, a name
to become that user, or `=` and a name to appear as that user in a user namespace of its own, for a
root that may not become another user. FOLDER, unless empty, becomes the working directory and file
descriptor 3. It is opened before the user changes, so a user who may not enter the folders above it
reaches it as /proc/self/fd/3.

Exit status 126 says that it could not become the user.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from pathlib import Path

NO_USER = 126

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True)


def _open(folder: str) -> None:
    """Make a folder the working directory and the lowest free file descriptor, which is 3."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no keywords
    os.fchdir(descriptor)


def _become(name: str) -> None:
    """Become another user; this drops root's capabilities with its user ids."""
    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


def _appear_as(name: str) -> None:
    """Keep the outer user id, and have another user's ids in a user namespace."""
    user, ours, group = pwd.getpwnam(name), os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER):
        number = ctypes.get_errno()
        raise OSError(number, f"no user namespace: {os.strerror(number)}")
    Path("/proc/self/setgroups").write_text("deny", "ascii")
    Path("/proc/self/gid_map").write_text(f"{user.pw_gid} {group} 1", "ascii")
    Path("/proc/self/uid_map").write_text(f"{user.pw_uid} {ours} 1", "ascii")


def _change_user(user: str) -> None:
    name = user.removeprefix("=")
    try:
        if user.startswith("="):
            _appear_as(name)
        elif user:
            _become(name)
    except (KeyError, OSError) as why:
        sys.stderr.write(f"error: root cannot become the user {name} here: {why}\n")
        sys.exit(NO_USER)


def main(arguments: list[str]) -> None:
    """Prepare the process and execute the command."""
    parent, signal, user, folder, _, *command = arguments
    os.closerange(3, 65536)
    os.setsid()
    if folder:
        _open(folder)
    _change_user(user)
    if int(parent):
        _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(int(signal)), *[ctypes.c_ulong(0)] * 3)
        if os.getppid() != int(parent):
            sys.exit("the parent has gone")
    try:
        os.execv(command[0], command)  # noqa: S606 - the one thing this is for
    except OSError as why:
        sys.exit(f"error: {command[0]} cannot be run: {why.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
