"""Steps 4 to 6 of the materialiser: store decoded batches in the database, in one transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.quarantine.batch_merge import merge_batches
from sinergi_consumers.sinks.protocol import Receipt
from sinergi_schemas import errors
from sinergi_schemas.backoff import Backoff
from sinergi_schemas.observer import UNOBSERVED, WorkState, WorkStep
from sinergi_schemas.seal.checkpoint import cosign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from threading import Event

    from sinergi_consumers.decode.batches import RefusedEvent
    from sinergi_consumers.materialise.ready_batches import ClaimedBatch, ReadyBatches
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.reading.position import Position
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.observer import Observer
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.topics import TopicPartition


_log = structlog.get_logger(__name__)

# Between attempts to store a batch, while the database is away. No setting: nothing else waits for
# as long, an attempt costs one connection, and a longer pause would only delay the batch.
_PAUSE_SECONDS = (0.1, 2.0)


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch that is stored: the positions after it, and its receipt.

    Attributes:
        was_refused: whether a projection or its tables have refused events of it.
    """

    work: ClaimedBatch
    positions: Mapping[str, Position]
    receipt: Receipt
    was_refused: bool


Outcome = Stored | errors.PositionLost | errors.Unavailable


class Store:
    """Stores batches in a sink. Its methods are called by one thread at a time.

    Args:
        key: this database's own key, which signs its receipts.
        stopping: set when the process is to end. A database that is away is then no longer waited
            for.
        observer: is told what the materialiser does.
    """

    def __init__(
        self,
        sink: Sink,
        projections: Sequence[Projection],
        key: SigningKey,
        clock: Clock,
        stopping: Event,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self.observer = observer
        self.sink = sink
        self.projections = projections
        self._key = key
        self._clock = clock
        self._stopping = stopping
        self._backoff = Backoff(*_PAUSE_SECONDS)

    def store(self, ready: ReadyBatches) -> Sequence[Outcome]:
        """Store batches together, and wait for the database as long as it takes.

        If the connection breaks during a commit, nobody knows whether it took place. The second
        attempt then finds the positions moved, and the topic-partitions are read again from there.

        Returns:
            What is stored; which topic-partitions another worker has; or, if the process is to
            end, why the database is unavailable.

        Raises:
            DatabaseBroken: the database refuses a statement.
        """
        while True:
            began = self._clock.monotonic()
            try:
                outcomes = self._transact(ready)
            except errors.Unavailable as away:
                self.observer.failed(away)
                self.observer.entered(WorkState.WAITING, away)
                self.observer.turned(self._backoff.pause)
                if self._stopping.is_set():
                    return [away]
                self._backoff.wait(away, self._stopping)
                continue
            self._backoff.reset()
            self.observer.entered(WorkState.WORKING)
            self._observe(outcomes, self._clock.monotonic() - began)
            return outcomes

    def _transact(self, ready: ReadyBatches) -> Sequence[Outcome]:
        receipts = {each.claim.tp: self._receipt(each.batch) for each in ready.claimed}
        placed, observer = [each.placed for each in ready.claimed], self.observer
        with self.sink.transaction() as transaction:
            # 4. advance the positions, if they are still this worker's
            # 5. merge rows, write quarantine rows …
            merged = merge_batches(
                transaction, self.projections, placed, ready.parts.of, observer.turned
            )
            # 5. … and the receipts
            transaction.store_receipts([receipts[tp] for tp in merged.positions])
        # 6. the commit has taken place
        _log_quarantined(merged.quarantined)
        stored = [
            Stored(each, merged.positions[tp], receipts[tp], tp in merged.refused)
            for each in ready.claimed
            if (tp := each.claim.tp) in merged.positions
        ]
        return [*merged.lost, *stored]

    def _observe(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Tell the observer what is stored, and what is lost."""
        leaves: Counter[str] = Counter()
        for each in outcomes:
            if isinstance(each, Stored):
                batch = each.work.batch
                leaves[batch.topic.name] += batch.end - batch.start
            else:
                self.observer.failed(each)
        if leaves:
            self.observer.finished(WorkStep.STORE, seconds, leaves)

    def _receipt(self, batch: VerifiedBatch) -> Receipt:
        """The receipt of a batch: every projection is at its end, or beyond it."""
        now = self._clock.now()
        note = cosign(batch.checkpoints[-1].note, self._key, int(now.timestamp()))
        return Receipt(batch.topic.name, batch.partition, batch.end, note, now)


def _log_quarantined(quarantined: Sequence[tuple[Projection, RefusedEvent]]) -> None:
    """Log what was quarantined, a line for each place, projection and reason; the table has each
    event.
    """
    by_reason: dict[tuple[TopicPartition, str, str], list[RefusedEvent]] = {}
    for projection, refused in quarantined:
        by_reason.setdefault((refused.tp, projection.name, refused.reason), []).append(refused)
    for (tp, name, reason), those in by_reason.items():
        _log.warning(
            "events quarantined",
            topic=tp.topic,
            partition=tp.partition,
            projection=name,
            reason=reason,
            events=len(those),
            first=those[0].detail,
        )
