"""What native libraries write to standard error by themselves, as lines of the log.

A panic of Rust code writes its message and a backtrace to file descriptor 2, past every logger,
also where the exception that it becomes is expected: polars panics on bytes that are no event.
Somebody who sends such bytes could fill the log with lines that no machine reads. While a block of
`logged_native_output` lasts, descriptor 2 is a pipe, and what comes through it is told as one line
of the log: how much it was, and the place in the source where a panic arose. Its text is not told,
since it may quote what was read.

Our own lines go to the true standard error. So does the traceback of a crash: nobody would read the
pipe then.
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

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = structlog.get_logger(__name__)

_STDERR = 2
_PLACE = re.compile(rb"panicked at ([^\s:]+:\d+):\d+:?$", re.MULTILINE)
_QUIET_MILLISECONDS = 50
_MOST_BYTES = 16 * 1024 * 1024  # told as one burst, at most
_MOST_PLACES = 5
_READ = 64 * 1024


@contextmanager
def logged_native_output() -> Iterator[None]:
    """Turn what native code writes to standard error into lines of the log, while the block lasts.

    Call it after signals are blocked, where they are: it starts a thread.
    """
    true = os.dup(_STDERR)
    outlet, inlet = os.pipe()
    ended, end = os.pipe()
    # Whoever writes may hold the interpreter's lock, and must not wait for a thread that needs it.
    os.set_blocking(inlet, False)
    os.dup2(inlet, _STDERR)
    os.close(inlet)
    before = sys.stderr
    if _is_standard(before):
        sys.stderr = os.fdopen(
            os.dup(true), "w", buffering=1, encoding=before.encoding, errors="backslashreplace"
        )
    crash_told = faulthandler.is_enabled()
    if not crash_told:
        faulthandler.enable(true)
    thread = Thread(target=_tell, args=(outlet, ended), name="native output", daemon=True)
    thread.start()
    try:
        yield
    finally:
        if not crash_told:
            faulthandler.disable()
        os.dup2(true, _STDERR)
        os.close(end)
        thread.join()
        if sys.stderr is not before:
            sys.stderr.close()
            sys.stderr = before
        for each in (true, outlet, ended):
            os.close(each)


def _is_standard(stream: object) -> bool:
    """Whether Python's standard error is descriptor 2; in a test it may be something else."""
    return stream is sys.__stderr__


def _tell(outlet: int, ended: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    either = _readable(outlet, ended)
    while True:
        # The pipe itself ends later where a child of ours has inherited it.
        ready = {descriptor for descriptor, _ in either.poll()}
        if outlet not in ready or not _tell_burst(outlet):
            return


def _readable(*descriptors: int) -> select.poll:
    """What waits for one of these to be readable; `select.select` takes none above 1,023."""
    waiting = select.poll()
    for each in descriptors:
        waiting.register(each, select.POLLIN)
    return waiting


def _tell_burst(outlet: int) -> bool:
    """Read until it is quiet for a moment, and say what it was; false where the pipe has ended."""
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
