"""How long a relay waits before it tries again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from threading import Event

    from sinergi_schemas import errors

_log = structlog.get_logger(__name__)

_BACKOFF_SECONDS = (0.1, 5.0)
_NUMBERS = re.compile(r"\d+")


class Backoff:
    """Pauses between attempts, each twice as long as the one before, up to five seconds.

    Each reason is logged when it first appears, and not at every attempt.
    """

    def __init__(self) -> None:
        self._seconds = _BACKOFF_SECONDS[0]
        self._logged = ""

    def wait(self, why: errors.SinergiError, stopping: Event) -> None:
        """Pause, or return at once when `stopping` is set."""
        # Numbers, such as the ids of clients, differ from attempt to attempt and are no news.
        reason = _NUMBERS.sub("", str(why))
        if reason != self._logged:
            self._logged = reason
            _log.warning("waiting", why=str(why))
        stopping.wait(self._seconds)
        self._seconds = min(2 * self._seconds, _BACKOFF_SECONDS[1])

    def reset(self) -> None:
        """The work goes on: the next pause is a short one again."""
        if self._logged:
            _log.info("going on")
        self._seconds, self._logged = _BACKOFF_SECONDS[0], ""
