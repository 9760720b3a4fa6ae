"""Checks whether the database still holds the positions of this worker, even if nothing arrives.

A database may lose what it had committed: it is restored from a backup, or it crashes while
`synchronous_commit` is off. The next batch would notice. But if nothing arrives, rows for which a
receipt was signed would be missing until then. So the positions are compared now and then. A
topic-partition whose position differs is claimed again, and read from its stored position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_consumers.materialise.claim import Claim
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)


class PositionCheck:
    """Compares positions with a sink from time to time. No batch may be stored meanwhile."""

    def __init__(
        self, sink: Sink, clock: Clock, seconds: float = DEFAULT.materialiser.positions
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._seconds = seconds
        self._due = clock.monotonic() + seconds

    def is_due(self, claims: Mapping[TopicPartition, Claim]) -> bool:
        """Whether it is time to compare the positions of these claims."""
        return bool(claims) and self._clock.monotonic() >= self._due

    def lost(self, claims: Mapping[TopicPartition, Claim]) -> list[errors.PositionLost]:
        """The claims that no longer hold, one projection of each; none if it is not time yet.

        Raises:
            Unavailable: the database is away; the positions are compared again after the usual
            time.
        """
        if not self.is_due(claims):
            return []
        self._due = self._clock.monotonic() + self._seconds
        found = self._sink.progress(sorted({tp.topic for tp in claims}))
        lost: list[errors.PositionLost] = []
        for tp, claim in claims.items():
            for name, position in claim.positions.items():
                size, epoch = found.get((name, *tp), (0, 0))
                if (size, epoch) == (position.frontier.size, position.epoch):
                    continue
                if size < position.frontier.size:
                    _log.warning(
                        "database has lost rows: reading them again",
                        topic=tp.topic,
                        partition=tp.partition,
                        projection=name,
                        leaf=size,
                        was=position.frontier.size,
                    )
                lost.append(errors.PositionLost(name, *tp))
                break
        return lost
