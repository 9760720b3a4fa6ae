"""The interface between the materialiser and a database. Each database has a module or folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sinergi_consumers.reading.position import Position

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from contextlib import AbstractContextManager
    from datetime import datetime

    import polars as pl

    from sinergi_consumers.decode.batches import RefusedEvent
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.reading.position import TopicIncarnation
    from sinergi_schemas.errors import RowsRefused, TopicHalted
    from sinergi_schemas.message import Message
    from sinergi_schemas.seal.skipped import SkippedMessages
    from sinergi_schemas.topics import TopicPartition


class PositionKey(NamedTuple):
    """The key of a position: a projection, and a topic-partition."""

    projection: str
    tp: TopicPartition


class QuarantineKey(NamedTuple):
    """The key of a row of quarantine: an event, and the projection for which it was refused."""

    projection: str
    tp: TopicPartition
    leaf_index: int

    @property
    def columns(self) -> tuple[str, str, int, int]:
        """The key as columns of the database: projection, topic, partition, leaf index."""
        return self.projection, *self.tp, self.leaf_index


class EventWithoutBytes(NamedTuple):
    """An event in quarantine whose bytes are not stored.

    Attributes:
        leaf_hash: the verified hash of the leaf.
        size: bytes of key and datum.
    """

    leaf_hash: bytes
    size: int


class Decision(NamedTuple):
    """Who decides about events in quarantine, and why."""

    by: str
    why: str


class PositionMove(NamedTuple):
    """The move of a projection's position to the end of a batch.

    Attributes:
        position: before it.
        incarnation: of the topic from which the batch was read.
    """

    projection: str
    position: Position
    batch: VerifiedBatch
    incarnation: TopicIncarnation

    @property
    def tp(self) -> TopicPartition:
        """The topic-partition of the batch."""
        return self.batch.tp

    @property
    def lacks_whole_batch(self) -> bool:
        """Whether the projection lacks the whole batch."""
        return self.position.frontier.size <= self.batch.start

    @property
    def after(self) -> Position:
        """The position at the end of the batch."""
        batch, epoch = self.batch, self.position.epoch
        return Position(batch.frontier, epoch, self.incarnation, batch.next_offset)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A cosigned checkpoint of one partition."""

    topic: str
    partition: int
    size: int
    note: str
    signed_at: datetime


class Transaction(Protocol):
    """One transaction of a sink. All changes of a batch become visible together, or none."""

    def lock_positions(self, moves: Sequence[PositionMove]) -> Sequence[PositionMove]:
        """Lock the rows of positions until the commit.

        Returns:
            Those whose row is no longer at `position`, or that another worker has claimed.
        """
        ...

    def advance(self, moves: Sequence[PositionMove]) -> None:
        """PositionMove positions, whose rows are locked, to the ends of their batches."""
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """A part of the transaction that can be rolled back alone."""
        ...

    def keep_alive(self) -> None:
        """Keep the session open. Call it repeatedly if no statement runs for seconds.

        A database may end a session that is idle in a transaction.
        """
        ...

    def merge(self, projection: Projection, rows: Mapping[str, pl.DataFrame]) -> Sequence[int]:
        """Merge the rows of some events into a projection's tables, according to its kind.

        Earlier revisions of their records in quarantine become superseded.

        Returns:
            The leaf indexes of events whose revision another event has already. Only a history
            returns them, because only a history stores all revisions.

        Raises:
            RowsRefused: the database refuses one of the rows.
        """
        ...

    def merge_one_by_one(
        self, projection: Projection, rows: Mapping[str, pl.DataFrame]
    ) -> Mapping[int, RowsRefused | None]:
        """As `merge`, but event by event in the order of their leaves. Each is refused alone.

        Returns:
            The refused events by leaf index, with the reason; None for an event whose revision
            another event has already.

        Raises:
            RowsRefused: a value of a row cannot be sent to the database; nothing is merged.
        """
        ...

    def find_refused(
        self, projection: Projection, rows: Mapping[str, pl.DataFrame]
    ) -> Mapping[int, RowsRefused]:
        """The leaves with a row that the database refuses because of its own values, and why.

        Refusals because of other rows, triggers or indexes show only in `merge`.
        """
        ...

    def quarantine(
        self, projection: Projection, tp: TopicPartition, refused: Sequence[RefusedEvent]
    ) -> None:
        """Store events of a topic-partition that could not become rows of a projection, or update
        their rows.

        If the owner of the topic has used up its quota, or the event is larger than the contract
        allows, key and datum are not stored. An event becomes superseded at once if the table has a
        later revision of its record.
        """
        ...

    def quarantined(
        self, projection: Projection, tp: TopicPartition, leaves: Sequence[int]
    ) -> Mapping[int, Message | None]:
        """The events in quarantine with these leaf indexes, below the position and not retried.

        It locks the position and the rows until the commit, so that no worker and no other retry
        changes them.

        Returns:
            The messages by leaf index; None if the bytes are not stored.
        """
        ...

    def mark_retried(self, entries: Sequence[QuarantineKey]) -> None:
        """Mark entries as retried, because they have become rows."""
        ...

    def record_decisions(
        self, outcomes: Sequence[tuple[QuarantineKey, str]], decision: Decision
    ) -> None:
        """Store who retried these entries, why, and the results."""
        ...

    def store_checkpoints(self, batches: Sequence[VerifiedBatch]) -> None:
        """Store the verified checkpoints of some batches."""
        ...

    def store_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Store receipts, which are published after the commit.

        One of a smaller tree than an earlier one is not stored, as when a topic is read again for a
        new projection. So the first receipt that covers a leaf is that of the smallest size above
        its index.
        """
        ...


class Sink(Protocol):
    """A database with projections. Only one thread may use it at a time.

    Every method raises `Unavailable` if the database does not answer, and `DatabaseBroken` if it
    refuses a statement.
    """

    def check(self) -> None:
        """Check that all tables exist.

        Raises:
            TablesMissing: a table or a column is missing.
        """
        ...

    def claim(
        self, tps: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Mapping[str, Position]]:
        """Claim partitions: increase the epoch of each projection's position, and read them.

        A recorded halt stays until `clear_halts`.

        Raises:
            StoredStateInvalid: a stored position is malformed.
        """
        ...

    def progress(self, topics: Sequence[str]) -> Mapping[tuple[str, str, int], tuple[int, int]]:
        """The position and epoch of each projection in each partition of some topics.

        Returns:
            Tree size and epoch, by projection, topic and partition.
        """
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction. Commit at the end of the block, or roll back if it raises."""
        ...

    def with_waiting(self, tps: Collection[TopicPartition]) -> set[TopicPartition]:
        """The partitions with entries in quarantine that wait for a schema or an agreement."""
        ...

    def awaited_schemas(
        self, tps: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, AbstractSet[bytes]]:
        """The schemas that entries in quarantine wait for, at most a hundred of each partition."""
        ...

    def awaiting_schema(
        self, tp: TopicPartition, fingerprints: Sequence[bytes]
    ) -> Sequence[QuarantineKey]:
        """The entries in quarantine that wait for one of these schemas."""
        ...

    def not_agreed(self, tp: TopicPartition) -> Sequence[QuarantineKey]:
        """The entries in quarantine that wait for an agreement."""
        ...

    def without_bytes(
        self, tp: TopicPartition, leaves: Sequence[int]
    ) -> Mapping[int, EventWithoutBytes]:
        """The events in quarantine, among these leaves, whose bytes are not stored."""
        ...

    def record_halt(self, tp: TopicPartition, why: TopicHalted, next_check_at: datetime) -> None:
        """Store why a partition is halted, and when the worker tries it again.

        The time at which it halted stays as long as the reason is the same.
        """
        ...

    def clear_halts(self, tps: Collection[TopicPartition]) -> None:
        """Remove the records of halts."""
        ...

    def record_skipped(self, tp: TopicPartition, skipped: Sequence[SkippedMessages]) -> None:
        """Add the messages that were skipped since the last call to the stored counts by cause."""
        ...

    def unpublished_receipts(self) -> list[Receipt]:
        """The newest receipt of each partition, if it is not published yet."""
        ...

    def mark_published(self, receipts: Iterable[Receipt], at: datetime) -> None:
        """Mark these receipts and the older ones of their partitions as published."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...
