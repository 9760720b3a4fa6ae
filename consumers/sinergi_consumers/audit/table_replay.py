"""A replay that fills the tables of projections, with the code of the materialiser.

It decodes, checks against the agreements, merges and quarantines as a materialiser does, and moves
the positions in the same transactions. It has no consumer group and signs no receipt. It verifies
each topic from its first leaf, also if it goes on: what the database has already is not merged
again, and must be what the topic has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.decode.decoder import DecodedParts
from sinergi_consumers.quarantine.batch_merge import PlacedBatch, merge_batches
from sinergi_schemas import errors
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import polars as pl

    from sinergi_consumers.audit.event_filter import ReplayFilter
    from sinergi_consumers.audit.past_tables import PastTables
    from sinergi_consumers.audit.replay import ReplayCounts
    from sinergi_consumers.audit.replay_database import ReplayDatabase
    from sinergi_consumers.audit.statements import SignedStatement
    from sinergi_consumers.bus import Bus
    from sinergi_consumers.decode.batches import DecodedBatch
    from sinergi_consumers.decode.decoder import Decoders
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas.topics import Topic


class TableTarget(NamedTuple):
    """The tables that replays fill.

    Attributes:
        sink, database: where they are.
        projections: those that have tables in it.
        decoders: they check events against the agreements, for the reader whose tables these are.
            They check nothing where a database records which events were refused.
        past: if given, the tables are as they were at a time.
    """

    sink: Sink
    database: ReplayDatabase
    projections: Sequence[Projection]
    decoders: Decoders
    past: PastTables | None = None


class TableReplay(Replay):
    """The replay of one topic into tables.

    Args:
        bus, topic, copy, keeps_leaves: see `Replay`.
        target: the tables.
    """

    def __init__(
        self,
        bus: Bus,
        topic: Topic,
        copy: str | None,
        target: TableTarget,
        *,
        keeps_leaves: bool = False,
    ) -> None:
        super().__init__(bus, topic, copy, keeps_leaves=keeps_leaves)
        self._target = target

    def partition(
        self, number: int, wanted: ReplayFilter, sizes: AbstractSet[int] = frozenset()
    ) -> Iterator[pl.DataFrame]:
        """Store the verified events of one partition. The frames are empty: one for each batch.

        Raises:
            ReplayDatabaseRefused: what the database has is not what the topic has, or another
                replay writes to it.
            Unavailable, DatabaseBroken: the broker or the database.
            SealBroken: as `Replay.partition`; the batches before are stored.
        """
        del wanted  # all events become rows, so that a position says what the tables have
        tp = TopicPartition(self.topic.name, number)
        positions: Mapping[str, Position] = self._target.sink.claim([tp])[tp]
        incarnation = self.bus.source.incarnation(self.name)
        stored = {each.frontier.size: each.frontier.root() for each in positions.values()}
        counts, empty, tree = self.new_counts(number), self.empty_frame(), Frontier.empty()
        counts.stored_before = min((each.frontier.size for each in positions.values()), default=0)
        past, names = self._target.past, [each.name for each in self._target.projections]
        for batch in self.batches(counts, sizes | stored.keys()):
            self._compare(tp, stored, counts)
            had = batch if past is None else past.cut(batch, tree)
            tree = batch.frontier
            if had and any(each.frontier.size < had.end for each in positions.values()):
                positions = self._store(had, positions, incarnation, counts)
            yield empty
        if past is not None:
            self._target.database.restore(tp, past, names)
        if counts.verified < max(stored, default=0):
            raise errors.ReplayDatabaseRefused(_more(tp, max(stored), counts.verified))

    def _store(
        self,
        batch: VerifiedBatch,
        positions: Mapping[str, Position],
        incarnation: TopicIncarnation,
        counts: ReplayCounts,
    ) -> Mapping[str, Position]:
        """Store a batch, in one transaction. Returns the positions after it."""
        target = self._target
        decoder = target.decoders.of(batch.topic.event_type)
        decoder.find_schemas(batch)
        parts = DecodedParts(decoder, batch)
        placed = PlacedBatch(batch, positions, incarnation)
        refusals = None if target.past is None else target.past.refusals(batch)
        prepared = _as_now if refusals is None else refusals.prepared
        with target.sink.transaction() as transaction:
            merged = merge_batches(
                transaction, target.projections, [placed], parts.of, prepared=prepared
            )
        if merged.lost:
            what = "the same replay has begun a second time, and goes on there"
            raise errors.ReplayDatabaseRefused(what)
        counts.shown += sum(each.leaf_index >= counts.stored_before for each in batch.messages)
        for projection, refused in merged.quarantined:
            what = f"{refused.reason} in {projection.name}"
            counts.quarantined.add(what, refused.message.offset, refused.message.leaf_index)
        if refusals is not None:
            refusals.compare(merged.quarantined)
            for each in refusals.unlike:
                counts.unlike.add(each.why, batch.message(each.leaf).offset, each.leaf)
        return merged.positions[batch.tp]

    @property
    def witnesses(self) -> Sequence[SignedStatement]:
        """The receipts at which the tables are cut."""
        past = self._target.past
        return () if past is None else past.receipts(self.topic)

    @property
    def unknown(self) -> Sequence[str]:
        """What is not known about the tables at a time in the past."""
        past = self._target.past
        return () if past is None else past.unknown

    def _compare(
        self, tp: TopicPartition, stored: Mapping[int, bytes], counts: ReplayCounts
    ) -> None:
        """Compare the trees of the stored positions with those of the topic.

        Raises:
            ReplayDatabaseRefused: they differ.
        """
        for size, root in stored.items():
            if counts.roots.get(size, root) != root:
                what = f"its first {size} leaves of {tp.topic}/{tp.partition} are others"
                raise errors.ReplayDatabaseRefused(what)


def _as_now(_: Projection, part: DecodedBatch) -> DecodedBatch:
    return part


def _more(tp: TopicPartition, size: int, verified: int) -> str:
    return f"it has {size} leaves of {tp.topic}/{tp.partition}, and this topic has {verified}"
