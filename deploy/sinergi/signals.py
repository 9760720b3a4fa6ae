"""An orderly stop of a process that runs for ever, by SIGTERM, Ctrl-C or SIGHUP."""

from __future__ import annotations

import os
import signal
from threading import Event, Thread
from typing import TYPE_CHECKING

import structlog

from sinergi.deferred_imports import load_all
from sinergi.exit_status import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_log = structlog.get_logger(__name__)

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


def stopping() -> Event:
    """An event that SIGTERM, SIGINT or SIGHUP sets; a second signal ends the process at once.

    SIGHUP comes when the terminal is closed. Under `nohup` it is ignored, and has no effect.

    Ending at once is no worse than a crash, which every process here survives.

    Such a process also loads all of its modules here.

    Call it in the main thread before any other thread starts. A thread of its own waits for the
    signals, not a handler: Python may call a handler while the main thread waits for the event, and
    setting the event would then need the lock that this wait holds.
    """
    load_all()
    event = Event()
    # The kernel may still give SIGTERM to a library's thread that started earlier. Python's handler
    # would only set a flag for the main thread, which may wait for ever without seeing it.
    awaited = {each for each in _STOP_SIGNALS if signal.getsignal(each) is not signal.SIG_IGN}
    for each in awaited - {signal.SIGINT}:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    Thread(target=_wait_for_signals, args=(event, awaited), name="signals", daemon=True).start()
    return event


def _wait_for_signals(event: Event, awaited: AbstractSet[signal.Signals]) -> None:
    _log.info("stopping", signal=signal.Signals(signal.sigwait(awaited)).name)
    event.set()
    signal.sigwait(awaited)
    os._exit(ExitStatus.STOPPED)
