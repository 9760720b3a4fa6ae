"""Ctrl-C, SIGTERM and SIGHUP of a command, also where Python would lose them.

Python raises KeyboardInterrupt in whatever the main thread does. That may be a callback of garbage
collection: a finalizer, or a weak reference, as the import system has one for each module that it
loads. Nobody can catch an exception there. Python reports it and goes on, and so would the command.

A library in C may also raise an error of its own in place of KeyboardInterrupt, which does not lead
back to it: pydantic does while it builds a model. So it is kept that a signal has come.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sinergi.cli.stop_signals import handle_stop_signals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# Raised once more at once, it would be lost in the same callback.
_AGAIN_SECONDS = 0.01

_came: list[int] = []


def have_come() -> bool:
    """Whether one of these signals has come since `raising_interrupts`."""
    return bool(_came)


@contextmanager
def raising_interrupts() -> Iterator[None]:
    """Have these signals raise KeyboardInterrupt within the block, again where it was lost."""
    _came.clear()
    handle_stop_signals(_interrupt)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    reporting, sys.unraisablehook = sys.unraisablehook, _raise_again
    try:
        yield
    finally:
        sys.unraisablehook = reporting
        signal.setitimer(signal.ITIMER_REAL, 0)  # its signal would end an interpreter that ends


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _came.append(number)
    raise KeyboardInterrupt


def _raise_again(lost: sys.UnraisableHookArgs) -> None:
    """Report an exception that nobody can catch, unless it is raised again in a moment."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
    else:
        sys.__unraisablehook__(lost)
