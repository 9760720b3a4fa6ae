"""An orderly stop of a process that runs for ever, by SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import signal
from threading import Event, Thread

import structlog

from sinergi.deferred_imports import load_all
from sinergi.exit_status import ExitStatus

_log = structlog.get_logger(__name__)

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


def stopping() -> Event:
    """An event that SIGTERM or SIGINT sets; a second signal ends the process at once.

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
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    Thread(target=_wait_for_signals, args=(event,), name="signals", daemon=True).start()
    return event


def _wait_for_signals(event: Event) -> None:
    _log.info("stopping", signal=signal.Signals(signal.sigwait(_STOP_SIGNALS)).name)
    event.set()
    signal.sigwait(_STOP_SIGNALS)
    os._exit(ExitStatus.STOPPED)
