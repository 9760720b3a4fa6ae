"""The topics of an agency held against its outbox, before anything is sealed or sent.

Only a checkpoint that the agency itself has signed counts. One of a larger tree than the database
has means that the database is older than its topic; another root than the database's at one size
means that two histories were signed. Everything else that lies there is skipped and reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_producers import tail
from sinergi_schemas import errors
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_producers.backlog import Backlog
    from sinergi_producers.sealing import Share
    from sinergi_producers.tail import Evidence, Known, Place
    from sinergi_schemas.agreement import Agreements
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.seal.noise import Noise

_log = structlog.get_logger(__name__)


class Comparison:
    """Compares the topics of one agency with its outbox, once each term."""

    def __init__(self, backlog: Backlog, connection: Connection, agency: str, clock: Clock) -> None:
        self._backlog = backlog
        self._connection = connection
        self._agency = agency
        self._clock = clock
        self._skipped = Skipped()

    def shown(self, agreements: Agreements, sizes: Mapping[Share, int]) -> dict[Share, int]:
        """How many leaves the topics show by our own checkpoints.

        Args:
            sizes: the leaves of each tree as the database has it.

        Raises:
            OutboxBehindTopic: a checkpoint is of a larger tree than the database has.
            SealFork: one is of another tree than the database has.
        """
        confirmed = self._backlog.confirmed()
        shares: dict[Place, Share] = {}
        known: dict[Place, Known] = {}
        for share, size in sizes.items():
            topic, number = Topic(self._agency, share[0]), share[1]
            place = topic.name, number
            shares[place] = share
            known[place] = tail.Known(
                f"{agreements.bus}/{topic.name}/{number}",
                agreements.ring(topic, number),
                size,
                *confirmed.get(share, (0, None)),
            )
        found = tail.evidence(self._connection, known, self._clock)
        for place, each in found.items():
            self._judge(place, shares[place], known[place], each)
        return {shares[place]: _shown(known[place], each) for place, each in found.items()}

    def _judge(self, place: Place, share: Share, known: Known, found: Evidence) -> None:
        if found.size > known.size:
            raise errors.OutboxBehindTopic(*place, known.size, found.size)
        for size, root in self._backlog.roots(share, found.roots).items():
            if root != found.roots[size]:
                raise errors.SealFork(known.origin, size)
        self._skipped.report(place, found.noise)


def _shown(known: Known, found: Evidence) -> int:
    """A topic holds no more leaves than messages, whatever was copied to its end.

    Without keys nothing can be said of it, and nothing is taken for lost.
    """
    return min(found.size, found.high) if known.ring.spans else known.size


class Skipped:
    """Reports the messages that were skipped, once for each cause and topic-partition."""

    def __init__(self) -> None:
        self._reported: set[tuple[Place, str]] = set()

    def report(self, place: Place, noise: Noise) -> None:
        """Log what was not reported yet."""
        for each in noise.skipped:
            if (place, each.cause) not in self._reported:
                self._reported.add((place, each.cause))
                topic, partition = place
                _log.warning(
                    "messages skipped",
                    topic=topic,
                    partition=partition,
                    why=each.cause,
                    offset=each.first,
                    messages=each.count,
                )
