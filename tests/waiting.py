"""Waiting for what other threads and processes do.

A test waits for the condition itself. The time here only bounds how long a failing test waits; no
promise is about it, so it is long enough for a slow and busy machine.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 0.05


def until(is_so: Callable[[], bool], what: str, look_seconds: float = _LOOK_SECONDS) -> None:
    """Wait for something of other threads or processes to come true."""
    patience = threading.Event()
    end = SYSTEM.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if SYSTEM.monotonic() > end:
            raise AssertionError(f"after {PATIENCE_SECONDS:.0f} s still not: {what}")
        patience.wait(look_seconds)
