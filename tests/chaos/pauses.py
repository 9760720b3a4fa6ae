"""How long nothing moved while there was something to do."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK_SECONDS = 0.1


@dataclass
class Pauses:
    """What was seen.

    Attributes:
        longest: the longest time in which nothing was done though something was wanted, in seconds.
    """

    longest: float = 0.0


@contextmanager
def watching(done: Callable[[], int], wanted: Callable[[], int]) -> Iterator[Pauses]:
    """Watch two growing counts while the block lasts."""
    found, ending = Pauses(), Event()
    thread = Thread(target=_watch, args=(done, wanted, found, ending), name="pauses")
    thread.start()
    try:
        yield found
    finally:
        ending.set()
        thread.join()


def _watch(
    done: Callable[[], int], wanted: Callable[[], int], found: Pauses, ending: Event
) -> None:
    seen, since = done(), SYSTEM.monotonic()
    while not ending.wait(_LOOK_SECONDS):
        now = done()
        if now == seen and wanted() > now:
            found.longest = max(found.longest, SYSTEM.monotonic() - since)
        else:
            seen, since = now, SYSTEM.monotonic()
