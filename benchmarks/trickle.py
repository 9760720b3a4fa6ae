"""Trickle: many agencies that publish an event now and then, and one reader of all of them.

The clock of an event starts when the broker has confirmed it, and stops when the reader's position
is first seen behind it, which the transaction with its row has moved.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import race
import sqlalchemy as sa
from usage import Cores, Meter

from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from country import Country

    from sinergi.local import Local

KINDS = ("current",)
SENDERS = 4
_LOOK_SECONDS = 0.01
_WARMING_SECONDS = 2
_POSITIONS = sa.text("SELECT topic, tree_size FROM sinergi_consumer.position")

Leaf = tuple[str, int]  # a topic, and the size of its tree with the leaf


@dataclass(frozen=True)
class Trickled:
    """What became of the events.

    Attributes:
        took: seconds from the confirmation of each event to its row.
        cores: processor time of broker, database and reader for each second.
    """

    took: Sequence[float]
    cores: Cores


def trickle(local: Local, country: Country, url: str, seconds: int) -> Trickled:
    """Let each agency publish an event a second, spread evenly over the second."""
    with (
        race.running("sinergi", country, url=url, kinds=KINDS) as reader,
        ThreadPoolExecutor(SENDERS + 1) as threads,
    ):
        pace = _Pace(_WARMING_SECONDS + seconds)
        sending = [
            threads.submit(_send, country, country.publishers[at::SENDERS], pace)
            for at in range(SENDERS)
        ]
        watching = threads.submit(_seen, url, len(country.publishers), pace)
        pace.are_ready.wait()
        pace.begin()
        pace.wait_until(_WARMING_SECONDS)
        meter = Meter(local, reader)
        confirmed: dict[Leaf, float] = {}
        for each in sending:
            confirmed |= each.result()
        cores = meter.cores()
        seen = watching.result()
    took = [seen[leaf] - at for leaf, at in confirmed.items() if leaf[1] > _WARMING_SECONDS]
    return Trickled(took, cores)


class _Pace:
    """When each event is due.

    Attributes:
        seconds: for which events are sent.
        are_ready: passed when the senders are prepared and the reader has claimed all topics.
    """

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.are_ready = threading.Barrier(SENDERS + 2)
        self._has_begun = threading.Event()
        self._begun = 0.0

    def begin(self) -> None:
        """Start the clock."""
        self._begun = SYSTEM.monotonic()
        self._has_begun.set()

    def wait_until(self, seconds: float) -> None:
        """Wait until the clock shows so many seconds."""
        self._has_begun.wait()
        threading.Event().wait(max(0.0, self._begun + seconds - SYSTEM.monotonic()))


def _send(country: Country, publishers: Sequence[str], pace: _Pace) -> Mapping[Leaf, float]:
    """Send an event of each publisher a second; when each was confirmed."""
    publications = [
        (
            Topic(each, country.event_type).name,
            country.publication(each),
            country.rows(each, pace.seconds),
        )
        for each in publishers
    ]
    pace.are_ready.wait()
    confirmed: dict[Leaf, float] = {}
    for second in range(pace.seconds):
        for at, (topic, publication, rows) in enumerate(publications):
            pace.wait_until(second + at / len(publications))
            publication.send([next(rows)])
            confirmed[topic, second + 1] = SYSTEM.monotonic()
    return confirmed


def _seen(url: str, topics: int, pace: _Pace) -> Mapping[Leaf, float]:
    """When each position was first seen behind each leaf."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    found: dict[Leaf, float] = {}
    sizes: dict[str, int] = {}

    def look() -> bool:
        rows = connection.execute(_POSITIONS).all()
        now = SYSTEM.monotonic()
        for topic, size in rows:
            found.update(((topic, leaf), now) for leaf in range(sizes.get(topic, 0) + 1, size + 1))
            sizes[topic] = size
        return len(found) == topics * pace.seconds

    with engine.connect() as connection:
        race.until(lambda: len(connection.execute(_POSITIONS).all()) == topics)
        pace.are_ready.wait()
        race.until(look, _LOOK_SECONDS)
    return found
