"""What stands between us and a service at its start: it prepares the process, then becomes it.

Run as a script of its own, and not as code between fork and exec, since a parent with threads must
not run Python there. It closes what it inherited; detaches from the terminal, so that Ctrl-C
reaches us alone; ties the service's life to its parent's, where that is wanted (prctl(2),
PR_SET_PDEATHSIG); and, where we are root, becomes the user `nobody`, since PostgreSQL refuses root.

    leash.py PARENT SIGNAL USER -- COMMAND…     PARENT 0: outlive it; USER "": stay who we are
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *arguments: int) -> bool:
    words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    return bool(_libc.prctl(option, *words) == 0)


def _become(name: str) -> None:
    """Be another user who may nevertheless enter root's folders.

    The programs and the data may lie in a folder that only root may enter. One capability is kept
    for that; where the kernel does not know how, the folders must be open to others.
    """
    user = pwd.getpwnam(name)
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    kept = 1 << _CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)
    if _libc.capset(header, sets) == 0:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE)


def main(arguments: list[str]) -> None:
    """Become the command; the last thing this process does as itself."""
    parent, signal, user, _, *command = arguments
    os.closerange(3, 65536)
    os.setsid()
    if user:
        _become(user)
    if int(parent):
        _prctl(_PR_SET_PDEATHSIG, int(signal))
        if os.getppid() != int(parent):
            sys.exit("the parent has gone")
    os.execv(command[0], command)  # noqa: S606 - the one thing this is for


if __name__ == "__main__":
    main(sys.argv[1:])
