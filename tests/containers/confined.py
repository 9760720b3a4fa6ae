"""Run a command with fewer rights than this process has, as a container does.

    confined.py [--drop NUMBER,…|all] [--no-namespaces] [--alone] -- COMMAND…

`--drop` takes capabilities away by their numbers in capabilities(7), `--no-namespaces` makes
unshare(2) fail, and `--alone` enters a user namespace in which root is the only user.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import platform
import struct
from pathlib import Path

_PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 22, 24, 38
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER = 0x10000000
_UNSHARE = {"x86_64": 272, "aarch64": 97}
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_CAPABILITIES = 64

_libc = ctypes.CDLL(None, use_errno=True)


def _call(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _prctl(option: int, *arguments: int | ctypes.c_void_p) -> int:
    words = [a if isinstance(a, ctypes.c_void_p) else ctypes.c_ulong(a) for a in arguments]
    zeros = [ctypes.c_ulong(0)] * (4 - len(words))
    return int(_libc.prctl(option, *words, *zeros))


def drop(numbers: list[int]) -> None:
    """Take capabilities away from what root executes from now on."""
    for number in numbers:
        if _prctl(_PR_CAPBSET_DROP, number) and ctypes.get_errno() != errno.EINVAL:
            _call(-1)


def forbid_namespaces() -> None:
    """Let unshare(2) fail with EPERM, by a filter of four instructions."""
    steps = [
        (_LOAD, 0, 0, 0),
        (_JUMP_IF_EQUAL, 0, 1, _UNSHARE[platform.machine()]),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
    _call(_prctl(_PR_SET_NO_NEW_PRIVS, 1))
    where = ctypes.c_void_p(ctypes.addressof(program))
    _call(_prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, where))


def be_alone() -> None:
    """Be root of a user namespace that has no other user."""
    user, group = os.geteuid(), os.getegid()
    _call(_libc.unshare(_CLONE_NEWUSER))
    Path("/proc/self/setgroups").write_text("deny", "ascii")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1", "ascii")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1", "ascii")


def main() -> None:
    """Become the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--drop", default="")
    parser.add_argument("--no-namespaces", action="store_true")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    if asked.alone:
        be_alone()
    if asked.drop:
        every = range(_CAPABILITIES)
        drop(list(every) if asked.drop == "all" else [int(one) for one in asked.drop.split(",")])
    if asked.no_namespaces:
        forbid_namespaces()
    os.execv(asked.command[0], asked.command)  # noqa: S606 - a command of the tests


if __name__ == "__main__":
    main()
