"""An orderly stop: what SIGTERM and Ctrl-C mean to a process that runs for ever."""

from __future__ import annotations

import os
import signal
from threading import Event, Thread

import structlog

_log = structlog.get_logger(__name__)

_STOPPED = 130
_AWAITED = {signal.SIGTERM, signal.SIGINT}


def stopping() -> Event:
    """An event that is set by SIGTERM or SIGINT; a second signal ends the process where it stands.

    That is no worse than a crash, which every process here survives.

    Call it in the main thread before any other thread is started. The signals are awaited by a
    thread of their own and not by a handler: a handler that sets an event can come in the middle of
    somebody's wait for it, and would then wait for that wait's lock.
    """
    event = Event()
    # A library's thread from before may get SIGTERM all the same. Python would only note it for the
    # main thread, which waits and does not hear of it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    Thread(target=_listen, args=(event,), name="signals", daemon=True).start()
    return event


def _listen(event: Event) -> None:
    _log.info("stopping", signal=signal.Signals(signal.sigwait(_AWAITED)).name)
    event.set()
    signal.sigwait(_AWAITED)
    os._exit(_STOPPED)
