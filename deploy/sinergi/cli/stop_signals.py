"""The signals that stop a command. It imports nothing that takes long, so it is there at once."""

from __future__ import annotations

import os
import signal
import sys

from sinergi.exit_status import ExitStatus

TYPE_CHECKING = False  # `typing` would take longer to load than all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def handle_stop_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Call a handler for SIGTERM, SIGINT and SIGHUP; the last two stay ignored if they are."""
    # By default SIGTERM and SIGHUP end Python at once, and unfinished files stay.
    signal.signal(signal.SIGTERM, handler)
    for each in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(each, handler)


def stop_at_once(_number: int = 0, _frame: FrameType | None = None) -> None:
    """End this process, while there is nothing to clean up.

    An exception would be lost in a callback of the import system, or become one of another kind.
    """
    write_error("stopped")
    os._exit(ExitStatus.STOPPED)


def write_error(text: str) -> None:
    """Write a line to standard error, if that is possible."""
    if sys.stderr is None:  # it was closed before the process began
        return
    line = f"sinergi: {text}\n".encode(errors="backslashreplace")
    try:
        os.write(2, line)
    except OSError:  # nobody reads it
        return
