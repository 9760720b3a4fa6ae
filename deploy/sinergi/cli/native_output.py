"""Turns what native libraries write to standard error into lines of the log.

A panic of Rust code writes its message and a backtrace to file descriptor 2, past every logger,
even if the exception that it becomes is expected: polars panics on bytes that are no event.
Whoever sends such bytes could fill the log with lines that no program can read. While a block of
`logged_native_output` lasts, descriptor 2 is a pipe, and each burst of output becomes one line of
the log: how much it was, and where in the source a panic arose. The text itself is not logged,
since it may quote what was read.

The lines of this process go to the real standard error. So does the traceback of a crash: nobody
would read the pipe then.
"""

from __future__ import annotations

import faulthandler
import os
import re
import select
import signal
import sys
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import structlog

from sinergi.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = structlog.get_logger(__name__)

_STDERR = 2
_PLACE = re.compile(rb"panicked at ([^\s:]+:\d+):\d+:?$", re.MULTILINE)
_QUIET_MILLISECONDS = 50
_MOST_BYTES = 16 * 1024 * 1024  # in one burst, at most
_MOST_PLACES = 5
_READ = 64 * 1024


@contextmanager
def logged_native_output() -> Iterator[None]:
    """Turn what native code writes to standard error into lines of the log, while the block lasts.

    It starts a thread: call it after `signals.stopping`, which blocks signals for later threads.
    """
    real = os.dup(_STDERR)
    outlet, inlet = os.pipe()
    ended, end = os.pipe()
    # A writer may hold the interpreter's lock, and must not wait for a thread that needs the lock.
    os.set_blocking(inlet, False)
    os.dup2(inlet, _STDERR)
    os.close(inlet)
    before = sys.stderr
    if _is_standard(before):
        sys.stderr = os.fdopen(
            os.dup(real), "w", buffering=1, encoding=before.encoding, errors="backslashreplace"
        )
    was_enabled = faulthandler.is_enabled()
    if not was_enabled:
        faulthandler.enable(real)
    thread = Thread(target=_log_bursts, args=(outlet, ended), name="native output", daemon=True)
    thread.start()
    try:
        yield
    finally:
        if not was_enabled:
            faulthandler.disable()
        os.dup2(real, _STDERR)
        os.close(end)
        thread.join()
        if sys.stderr is not before:
            with terminal.standard_error.tolerating():
                sys.stderr.close()
            sys.stderr = before
        for each in (real, outlet, ended):
            os.close(each)


def _is_standard(stream: object) -> bool:
    """Whether Python's standard error is descriptor 2; in a test it may be something else."""
    return stream is sys.__stderr__


def _log_bursts(outlet: int, ended: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    either = _readable(outlet, ended)
    while True:
        # The pipe itself ends later if a child process has inherited it.
        ready = {descriptor for descriptor, _ in either.poll()}
        if outlet not in ready or not _log_burst(outlet):
            return


def _readable(*descriptors: int) -> select.poll:
    """A poll for one of these to be readable; `select.select` takes no descriptor above 1,023."""
    waiting = select.poll()
    for each in descriptors:
        waiting.register(each, select.POLLIN)
    return waiting


def _log_burst(outlet: int) -> bool:
    """Read until nothing comes for a moment, and log it; false if the pipe has ended."""
    is_open = True
    lines = size = 0
    places: dict[str, None] = {}
    rest = b""
    more = _readable(outlet)
    while size < _MOST_BYTES and more.poll(_QUIET_MILLISECONDS):
        read = os.read(outlet, _READ)
        is_open = bool(read)
        if not is_open:
            break
        size += len(read)
        lines += read.count(b"\n")
        text = rest + read
        places |= dict.fromkeys(each.decode(errors="replace") for each in _PLACE.findall(text))
        rest = text[text.rfind(b"\n") + 1 :][-_READ:]
    if size:
        _log.info(
            "native library wrote to standard error",
            lines=lines,
            bytes=size,
            panicked_at=[*places][:_MOST_PLACES],
        )
    return is_open
