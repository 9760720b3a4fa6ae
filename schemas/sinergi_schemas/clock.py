"""The one place where time enters. Everything else is handed a clock, so that tests can own it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import uuid_utils.compat

if TYPE_CHECKING:
    from uuid import UUID


class Clock(Protocol):
    """What the rest of the code may ask about time."""

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC, to the microsecond."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin that never run backwards: for durations only."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC, to the microsecond."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin that never run backwards: for durations only."""
        return time.monotonic()


SYSTEM = SystemClock()


def moment(posix_time: float) -> datetime | None:
    """The moment of a POSIX time in seconds; None where a foreign number is beyond the calendar."""
    try:
        return datetime.fromtimestamp(posix_time, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def new_event_id() -> UUID:
    """A fresh UUIDv7 (RFC 9562 §5.7): it sorts by time of creation, which keeps indexes narrow."""
    return uuid_utils.compat.uuid7()
