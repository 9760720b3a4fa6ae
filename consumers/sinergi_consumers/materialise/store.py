"""Steps 4 to 6 of the materialiser: store a decoded batch in the database, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.quarantine.batch_merge import DecodedLeaves, merge_batch
from sinergi_consumers.sinks.protocol import Receipt
from sinergi_schemas import errors
from sinergi_schemas.backoff import Backoff
from sinergi_schemas.observer import UNOBSERVED, WorkState, WorkStep
from sinergi_schemas.seal.checkpoint import cosign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from threading import Event

    from sinergi_consumers.decode.decoder import DecodedParts, RefusedEvent
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import Partition, VerifiedBatch
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_consumers.reading.start import Start
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.observer import Observer
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.topics import TopicPartition


_log = structlog.get_logger(__name__)

# Between attempts to store a batch, while the database is away. No setting: nothing else waits for
# as long, an attempt costs one connection, and a longer pause would only delay the batch.
_PAUSE_SECONDS = (0.1, 2.0)


@dataclass(slots=True)
class Claim:
    """A topic-partition that this worker may write: its reader, and the position of each
    projection.

    Attributes:
        incarnation: which incarnation of the topic is read, on which cluster.
        start: the offset from which it is read.
        is_faultless: it was read on, or to its end, without a fault.
    """

    tp: TopicPartition
    partition: Partition
    positions: Mapping[str, Position]
    incarnation: TopicIncarnation
    start: Start
    is_faultless: bool = False

    def next_batch(self) -> VerifiedBatch | None:
        """The messages of the topic-partition that are verified by now.

        Raises:
            OffsetGone: its next leaf was deleted, and it did not come again at a later offset.
            SealBroken: the messages are not what the topic's owner sealed.
        """
        partition, is_deleted = self.partition, self.start.is_deleted and not self.is_faultless
        try:
            batch = partition.next_batch()
        except errors.SealGap:
            if not is_deleted:
                raise
            raise self._gone from None
        if is_deleted and partition.is_ended and not batch:
            raise self._gone
        return batch

    @property
    def _gone(self) -> errors.OffsetGone:
        return errors.OffsetGone(*self.tp, self.partition.size)


@dataclass(frozen=True, slots=True)
class ReadyBatch:
    """A decoded batch, with the claim under which it was read."""

    claim: Claim
    batch: VerifiedBatch
    parts: DecodedParts


@dataclass(frozen=True, slots=True)
class Stored:
    """A batch that is stored: the positions after it, and its receipt."""

    work: ReadyBatch
    positions: Mapping[str, Position]
    receipt: Receipt


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

    def store(self, work: ReadyBatch) -> Stored | errors.PositionLost | errors.Unavailable:
        """Store a batch, and wait for the database as long as it takes.

        If the connection breaks during a commit, nobody knows whether it took place. The second
        attempt then finds the position moved, and the topic-partition is read again from there.

        Returns:
            What is stored; or that another worker has the topic-partition; or, if the process is to
            end, why the database is unavailable.

        Raises:
            DatabaseBroken: the database refuses a statement.
        """
        while True:
            began = self._clock.monotonic()
            try:
                stored: Stored | errors.PositionLost = self._transact(work)
            except errors.PositionLost as lost:
                stored = lost
                self.observer.failed(lost)
            except errors.Unavailable as away:
                self.observer.failed(away)
                self.observer.entered(WorkState.WAITING, away)
                self.observer.turned(self._backoff.pause)
                if self._stopping.is_set():
                    return away
                self._backoff.wait(away, self._stopping)
                continue
            self._backoff.reset()
            self.observer.entered(WorkState.WORKING)
            if isinstance(stored, Stored):
                leaves = {work.batch.topic.name: work.batch.end - work.batch.start}
                seconds = self._clock.monotonic() - began
                self.observer.finished(WorkStep.STORE, seconds, leaves)
            return stored

    def _transact(self, work: ReadyBatch) -> Stored:
        batch, claim = work.batch, work.claim
        receipt = self._receipt(batch)
        decoded = DecodedLeaves(batch, work.parts, claim.positions, claim.incarnation)
        with self.sink.transaction() as transaction:
            # 4. advance the positions, if they are still this worker's
            # 5. merge rows, write quarantine rows …
            merged = merge_batch(transaction, self.projections, decoded, self.observer.turned)
            # 5. … and the receipt
            transaction.store_receipt(receipt)
        # 6. the commit has taken place
        _log_quarantined(batch, merged.quarantined)
        return Stored(work, merged.positions, receipt)

    def _receipt(self, batch: VerifiedBatch) -> Receipt:
        """The receipt of a batch: every projection is at its end, or beyond it."""
        now = self._clock.now()
        note = cosign(batch.checkpoints[-1].note, self._key, int(now.timestamp()))
        return Receipt(batch.topic.name, batch.partition, batch.end, note, now)


def _log_quarantined(
    batch: VerifiedBatch, quarantined: Sequence[tuple[Projection, RefusedEvent]]
) -> None:
    """Log what was quarantined, a line for each projection and reason; the table has each event."""
    by_reason: dict[tuple[str, str], list[RefusedEvent]] = {}
    for projection, refused in quarantined:
        by_reason.setdefault((projection.name, refused.reason), []).append(refused)
    for (name, reason), those in by_reason.items():
        _log.warning(
            "events quarantined",
            topic=batch.topic.name,
            partition=batch.partition,
            projection=name,
            reason=reason,
            events=len(those),
            first=those[0].detail,
        )
