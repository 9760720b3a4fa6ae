"""What the materialiser asks of a database. Each kind of database is one module or folder here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    import polars as pl

    from sinergi_consumers.decode.decoder import Unfit
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import Leaves, VerifiedBatch
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_schemas.errors import RowsRefused, TopicHalted
    from sinergi_schemas.message import Message
    from sinergi_schemas.seal.noise import SkippedMessages
    from sinergi_schemas.topics import TopicPartition


class QuarantineKey(NamedTuple):
    """What tells rows of quarantine apart: an event, and a projection that it was unfit for."""

    projection: str
    tp: TopicPartition
    leaf_index: int

    @property
    def columns(self) -> tuple[str, str, int, int]:
        """The same as in the database."""
        return self.projection, *self.tp, self.leaf_index


class UnkeptEvent(NamedTuple):
    """An event in quarantine whose bytes are not kept.

    Attributes:
        leaf_hash: as it was verified.
        size: bytes of key and datum.
    """

    leaf_hash: bytes
    size: int


class Decision(NamedTuple):
    """Who decides about events in quarantine, and why."""

    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A cosigned checkpoint of one partition."""

    topic: str
    partition: int
    size: int
    note: str
    signed_at: datetime


class Transaction(Protocol):
    """One transaction of a sink: everything of a batch becomes visible in it, or nothing."""

    def advance(
        self,
        projection: Projection,
        batch: VerifiedBatch,
        position: Position,
        place: TopicIncarnation,
    ) -> Position:
        """Move a projection's position to the end of the batch, and hold its row till the commit.

        Raises:
            PositionLost: the row is no longer at `position`, or another worker claimed it.
        """
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """A part of the transaction that can fail alone."""
        ...

    def keep_alive(self) -> None:
        """Call it now and then while nothing is asked of the database for seconds.

        A database may end a session that stands still in a transaction, which is no fault of its.
        """
        ...

    def merge(self, projection: Projection, rows: Mapping[str, pl.DataFrame]) -> Sequence[int]:
        """Put the rows of some events into a projection's tables, as its kind says.

        What stands in quarantine of an earlier revision of their records is superseded.

        Returns:
            The leaf indexes of events whose revision another event holds already; only a history
            knows of all revisions, so that no other kind of projection tells.

        Raises:
            RowsRefused: the database does not take one of the rows.
        """
        ...

    def merge_one_by_one(
        self, projection: Projection, rows: Mapping[str, pl.DataFrame]
    ) -> Mapping[int, RowsRefused | None]:
        """The same, event by event in the order of their leaves; those that do not stand.

        Each event is refused alone, for whatever reason the database has.

        Returns:
            Why each event is refused; None for one whose revision another event holds already.

        Raises:
            RowsRefused: a row is not even taken in for what stands in it; nothing is merged.
        """
        ...

    def refused(
        self, projection: Projection, rows: Mapping[str, pl.DataFrame]
    ) -> Mapping[int, RowsRefused]:
        """The leaves of some events of which the database does not take a row, and why.

        Only what a row is refused for by itself counts. What other rows, a trigger or an index say
        of it `merge` alone knows.
        """
        ...

    def quarantine(self, projection: Projection, leaves: Leaves, unfit: Sequence[Unfit]) -> None:
        """Keep what could not become rows of a projection; again, where it is kept already.

        Where its owner has used up the room that a sink gives, or it is larger than the contract
        allows, only its leaf hash and why it is unfit are kept. It is superseded at once where a
        later revision of the record stands.
        """
        ...

    def held(
        self, projection: Projection, tp: TopicPartition, leaves: Sequence[int]
    ) -> Mapping[int, Message | None]:
        """What quarantine holds at some leaves, below the position and not through by now.

        By leaf index; None where it does not keep the bytes.

        Position and rows are held till the commit, so that neither a worker nor another retry
        comes in between.
        """
        ...

    def retried(self, entries: Sequence[QuarantineKey]) -> None:
        """State that these are no longer in quarantine: they went through."""
        ...

    def decided(self, outcomes: Sequence[tuple[QuarantineKey, str]], decision: Decision) -> None:
        """Keep who tried these once more, why, and what came of it."""
        ...

    def checkpoints(self, batch: VerifiedBatch) -> None:
        """Keep every checkpoint that was met in the batch."""
        ...

    def receipt(self, receipt: Receipt) -> None:
        """Keep a receipt, to be published after the commit."""
        ...


class Sink(Protocol):
    """A database that projections live in. One thread uses it at a time.

    Every method raises `Unavailable` where the database is away for now, and `DatabaseBroken`
    where a table or a privilege is missing.
    """

    def check(self) -> None:
        """See that all tables are there.

        Raises:
            TablesMissing: one is not, or lacks a column.
        """
        ...

    def claim(self, tp: TopicPartition) -> dict[str, Position]:
        """Take a partition: raise the epoch of each projection's position and read it.

        What stands in `halt` stays until `sound`.
        """
        ...

    def reached(self, topics: Sequence[str]) -> Mapping[tuple[str, str, int], tuple[int, int]]:
        """How far each projection is in each partition of some topics, and under which epoch.

        Returns:
            Tree size and epoch, by projection, topic and partition.
        """
        ...

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin; commit at the end of the block, roll back where it raises."""
        ...

    def awaiting(
        self, tp: TopicPartition, fingerprints: Sequence[bytes]
    ) -> Sequence[QuarantineKey]:
        """What waits in quarantine for one of these schemas."""
        ...

    def not_agreed(self, tp: TopicPartition) -> Sequence[QuarantineKey]:
        """What waits in quarantine for an agreement that allows it."""
        ...

    def unkept(self, tp: TopicPartition, leaves: Sequence[int]) -> Mapping[int, UnkeptEvent]:
        """What quarantine holds at some leaves without their bytes, by leaf index."""
        ...

    def halt(self, tp: TopicPartition, why: TopicHalted, looks_at: datetime) -> None:
        """Keep for people why a partition stands still, and when it is looked at again.

        Since when it stands still is kept as long as the reason is the same.
        """
        ...

    def sound(self, tp: TopicPartition) -> None:
        """State that a partition stands still no longer."""
        ...

    def skipped(self, tp: TopicPartition, skipped: Sequence[SkippedMessages]) -> None:
        """Add what was skipped since the last call to what is kept for people, by its cause."""
        ...

    def unpublished(self) -> list[Receipt]:
        """The newest receipt of each partition, where it was not published yet."""
        ...

    def published(self, receipts: Iterable[Receipt], at: datetime) -> None:
        """Mark these receipts, and the older ones of their partitions, as published."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...
