"""How long a running process waits before it tries again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from threading import Event

    from sinergi_schemas import errors

_log = structlog.get_logger(__name__)

_NUMBERS = re.compile(r"\d+")


class Backoff:
    """Pauses between attempts, each twice as long as the one before, up to the longest.

    Each reason is logged when it first appears, and not at every attempt.

    Args:
        first, most: the shortest and the longest pause, in seconds.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._seconds = self._first
        self._logged = ""

    @property
    def pause(self) -> float:
        """The next pause, in seconds."""
        return self._seconds

    def wait(self, why: errors.SinergiError, stopping: Event) -> None:
        """Pause, or return at once when `stopping` is set."""
        # Numbers, such as the ids of clients, differ from attempt to attempt and are no news.
        reason = _NUMBERS.sub("", str(why))
        if reason != self._logged:
            self._logged = reason
            _log.warning("waiting", why=str(why))
        stopping.wait(self._seconds)
        self._seconds = min(2 * self._seconds, self._most)

    def served(self) -> None:
        """Database and brokers answer again. The pauses stay long until something is confirmed."""
        if self._logged:
            _log.info("going on")
        self._logged = ""

    def reset(self) -> None:
        """Something was confirmed: the next pause is a short one again."""
        self.served()
        self._seconds = self._first
