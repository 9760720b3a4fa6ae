"""The only module that reads the system's time. Other code receives a clock that tests can set."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import uuid_utils.compat

if TYPE_CHECKING:
    from uuid import UUID


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC, to the microsecond."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary time; they never go back. Use them for durations only."""
        ...


class SystemClock:
    """The clock of the operating system."""

    def now(self) -> datetime:
        """The wall clock: an aware datetime in UTC, to the microsecond."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary time; they never go back. Use them for durations only."""
        return time.monotonic()


SYSTEM = SystemClock()


def from_posix_time(posix_time: float) -> datetime | None:
    """The time in UTC of a POSIX time in seconds, or None if `datetime` cannot hold it."""
    try:
        return datetime.fromtimestamp(posix_time, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def new_event_id() -> UUID:
    """A new UUIDv7 (RFC 9562 §5.7). It sorts by creation time, which keeps indexes small."""
    return uuid_utils.compat.uuid7()
