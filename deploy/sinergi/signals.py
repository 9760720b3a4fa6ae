"""An orderly stop: what SIGTERM and Ctrl-C mean to a process that runs for ever."""

from __future__ import annotations

import signal
from threading import Event
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from types import FrameType

_log = structlog.get_logger(__name__)


def stopping() -> Event:
    """An event that is set by SIGTERM or SIGINT; a second signal ends the process at once.

    Raises:
        KeyboardInterrupt: in the main thread, on the second signal.
    """
    event = Event()

    def heard(number: int, _: FrameType | None) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        _log.info("stopping", signal=signal.Signals(number).name)
        event.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, heard)
    return event
