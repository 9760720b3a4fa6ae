"""How long a relay waits before it tries a service that is away again."""

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


class Patience:
    """How long to wait for a service that is away; it speaks when something changes."""

    def __init__(self) -> None:
        self._seconds = _BACKOFF_SECONDS[0]
        self._said = ""

    def wait(self, why: errors.SinergiError, stopping: Event) -> None:
        """Wait longer each time."""
        # Numbers in it, as the ids of clients, are others at each attempt and no news.
        said = _NUMBERS.sub("", str(why))
        if said != self._said:
            self._said = said
            _log.warning("waiting", why=str(why))
        stopping.wait(self._seconds)
        self._seconds = min(2 * self._seconds, _BACKOFF_SECONDS[1])

    def over(self) -> None:
        """It answers again."""
        if self._said:
            _log.info("going on")
        self._seconds, self._said = _BACKOFF_SECONDS[0], ""
