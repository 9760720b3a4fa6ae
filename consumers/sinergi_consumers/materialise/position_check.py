"""Whether the database still holds the positions of this worker, also while nothing arrives.

A database may lose what it had committed: it was restored from a backup, or it crashed while
somebody else's setting let commits be lost. The next batch would notice; but where nothing arrives,
rows that a receipt answers for would be missing until it does. So the positions are looked at now
and then. A topic-partition whose position is another one is claimed again, and read from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_consumers.materialise.store import Claim
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)

_SECONDS = 5.0


class PositionCheck:
    """Looks at the positions in a sink from time to time. No batch may be on its way meanwhile."""

    def __init__(self, sink: Sink, clock: Clock, seconds: float = _SECONDS) -> None:
        self._sink = sink
        self._clock = clock
        self._seconds = seconds
        self._due = clock.monotonic() + seconds

    def lost(self, claims: Mapping[TopicPartition, Claim]) -> list[errors.PositionLost]:
        """The claims that no longer hold, one projection of each; none while it is not time yet.

        Raises:
            Unavailable: the database is away; it is looked at again after the usual time.
        """
        now = self._clock.monotonic()
        if not claims or now < self._due:
            return []
        self._due = now + self._seconds
        found = self._sink.reached(sorted({tp.topic for tp in claims}))
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
