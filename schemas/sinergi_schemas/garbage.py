"""Settings of Python's garbage collector for processes that handle many messages."""

from __future__ import annotations

import functools
import gc

_ALLOCATIONS = 50_000


@functools.cache
def leave_loaded_objects() -> None:
    """Exclude all existing objects from garbage collection, so that it does not scan them again.

    Only the first call does: objects that a process makes later are its own, and may be garbage.
    """
    gc.freeze()


def collect_rarely() -> None:
    """Run the collector after 50,000 allocations instead of 700.

    Messages are not part of reference cycles, and a search for cycles after every 700 messages
    takes a fifth of the time. An error with its traceback can be part of a cycle; a caller frees
    it with `gc.collect()`.
    """
    gc.set_threshold(_ALLOCATIONS)
