"""Running until one is told to stop: when standard input ends."""

from __future__ import annotations

import sys
from threading import Event, Thread


def stopping() -> Event:
    """An event that is set when standard input ends."""
    told = Event()

    def wait() -> None:
        sys.stdin.read()
        told.set()

    Thread(target=wait, daemon=True).start()
    return told
