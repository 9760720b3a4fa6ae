"""The exit statuses of `sinergi`, each with one meaning for every command."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ended.

    Where several things were checked, NEGATIVE outweighs ERROR: what is certain comes first.
    Where something could not be written, ERROR outweighs both others: nobody could read it.
    A process that runs until it is stopped ends with SUCCESS then, whatever it waited for: its log
    and its health say what it could not do, and the next start goes on with it.
    """

    SUCCESS = 0  # done, or so it is
    NEGATIVE = 1  # it is not so: something is disproved, refused, halted or left to do
    ERROR = 2  # it could not be done, checked or written
    STOPPED = 130  # by SIGINT, SIGTERM or SIGHUP; a shell shows 128 + SIGINT
    OUTPUT_CLOSED = 141  # a shell shows 128 + SIGPIPE for a program that the signal ends
