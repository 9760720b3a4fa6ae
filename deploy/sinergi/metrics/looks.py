"""Looks at a database or at the brokers from time to time, on a thread and connections of its own.

A scrape shows what the last look has found, so it never waits for a service, and many scrapes cost
no more than one. A look takes at most a tenth of the time: the pause after it is nine times as long
as it took, if that is longer than the pause that is set. After a look that failed it is short, so
that a process is ready again soon after what it needs is back.

A look that never ends, because a server neither answers nor closes the connection, delays only
itself. What was found before is then no longer shown once ten pauses have passed.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog

from sinergi.metrics import definitions
from sinergi.metrics.families import gauge
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from sinergi_schemas.clock import Clock

_log = structlog.get_logger(__name__)

_PAUSES = 9
_MOST_PAUSES = 10
_MOST_SECONDS_AFTER_FAILURE = 10.0
_STOP_SECONDS = 2.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Seen(Generic[T]):
    """The end of a look: what it has found, or None if it failed."""

    found: T | None
    seconds: float
    succeeded_at: float | None


class Look(Generic[T]):
    """Looks at one source again and again.

    Args:
        source: the value of the label `source`.
        look: reads the source. It may take its time.
        pause_seconds: between the end of a look and the next one.
        families: makes metrics of what a look has found. It is called at each scrape.

    Attributes:
        failure: the error of the last look, if it had one.
        ended_at: when the last look ended, by the monotonic clock.
    """

    def __init__(
        self,
        source: str,
        look: Callable[[], T],
        families: Callable[[T], Iterable[Metric]],
        pause_seconds: float,
        clock: Clock,
    ) -> None:
        self.source = source
        self._look = look
        self._families = families
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._seen: _Seen[T] | None = None
        self._logged: str | None = None
        self.failure: errors.SinergiError | None = None
        self.ended_at = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look from now on until the process ends, or `stop` is called."""
        name = f"look-{self.source}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin no further look, and wait a moment for one that has begun."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def families(self) -> Iterator[Metric]:
        """What the last look has found, as metrics."""
        if self._seen is not None and self._seen.found is not None and not self._is_stale:
            yield from self._families(self._seen.found)

    def state(self) -> tuple[float, float | None, float | None]:
        """Whether the last look succeeded, its seconds, and the age of the last that succeeded."""
        seen = self._seen
        if seen is None:
            return 0.0, None, None
        at = seen.succeeded_at
        age = None if at is None else self._clock.monotonic() - at
        return float(seen.found is not None and not self._is_stale), seen.seconds, age

    @property
    def _pause(self) -> float:
        """The pause after the last look, in seconds."""
        if self._seen is None:
            return self._pause_seconds
        pause = max(self._pause_seconds, _PAUSES * self._seen.seconds)
        return min(pause, _MOST_SECONDS_AFTER_FAILURE) if self._seen.found is None else pause

    @property
    def _is_stale(self) -> bool:
        """Whether the look after the last one should have ended long ago."""
        at = self._seen.succeeded_at if self._seen else None
        return at is not None and self._clock.monotonic() - at > _MOST_PAUSES * self._pause

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(self._pause)

    def look(self) -> None:
        """Look once, and keep what was found."""
        began = self._clock.monotonic()
        found, why = self._attempt()
        self.ended_at = now = self._clock.monotonic()
        before = self._seen.succeeded_at if self._seen else None
        self._seen = _Seen(found, now - began, before if found is None else now)
        if why != self._logged:
            self._logged = why
            if why is None:
                _log.info("metrics are read again", source=self.source)
            else:
                _log.warning("metrics not read", source=self.source, why=why)

    def _attempt(self) -> tuple[T | None, str | None]:
        failure = None
        try:
            return self._look(), None
        except errors.SinergiError as why:
            failure = why
            return None, str(why)
        except Exception as why:  # noqa: BLE001 - a fault must not end this thread: it would hide
            _log.exception("a look failed", source=self.source)
            return None, type(why).__name__
        finally:
            self.failure = failure


class LooksCollector:
    """The metrics of several looks, and how the looks are."""

    def __init__(self, looks: Iterable[Look[Any]]) -> None:
        self._looks = tuple(looks)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks at each scrape."""
        states = {(each.source,): each.state() for each in self._looks}
        yield gauge(definitions.LOOK_UP, {source: up for source, (up, _, _) in states.items()})
        took = {source: took for source, (_, took, _) in states.items() if took is not None}
        yield gauge(definitions.LOOK_SECONDS, took)
        ages = {source: age for source, (_, _, age) in states.items() if age is not None}
        yield gauge(definitions.LOOK_AGE, ages)
        for each in self._looks:
            yield from each.families()
