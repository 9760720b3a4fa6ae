"""Merges verified batches into every projection that does not have them yet, in one transaction.

The materialiser and a replay into a database both use it, so both make the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.quarantine.isolate import merge_and_quarantine
from sinergi_consumers.sinks.protocol import PositionMove
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sinergi_consumers.decode.batches import DecodedBatch, RefusedEvent
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_consumers.sinks.protocol import Transaction
    from sinergi_schemas.topics import TopicPartition


class PlacedBatch(NamedTuple):
    """A batch, and from where it was read to where.

    Attributes:
        positions: of each projection before the batch, by its name.
        incarnation: of the topic from which the batch was read.
    """

    batch: VerifiedBatch
    positions: Mapping[str, Position]
    incarnation: TopicIncarnation

    def moves(self, projections: Sequence[Projection]) -> list[PositionMove]:
        """The positions that the batch moves, of the projections that lack some of it."""
        found = {each.name: self.positions.get(each.name) for each in projections}
        return [
            PositionMove(name, position, self.batch, self.incarnation)
            for name, position in found.items()
            if position and position.frontier.size < self.batch.end
        ]


class MergedBatches(NamedTuple):
    """What the merge of batches has done.

    Attributes:
        positions: of each projection after its batch, by topic-partition and name. A batch that is
            lost has none.
        quarantined: the events that went to quarantine, each with the projection that lacks it.
        refused: the topic-partitions of those that a projection or its tables refused.
        lost: why batches were not merged.
    """

    positions: Mapping[TopicPartition, Mapping[str, Position]]
    quarantined: Sequence[tuple[Projection, RefusedEvent]]
    refused: frozenset[TopicPartition]
    lost: Sequence[errors.PositionLost]


def merge_batches(
    transaction: Transaction,
    projections: Sequence[Projection],
    placed: Sequence[PlacedBatch],
    decoded: Callable[[Sequence[VerifiedBatch]], Iterable[DecodedBatch]],
    before_part: Callable[[], None] = lambda: None,
    prepared: Callable[[Projection, DecodedBatch], DecodedBatch] = lambda _, part: part,
) -> MergedBatches:
    """Advance the positions, merge the rows, and store quarantine rows and checkpoints.

    A batch of which a position is no longer its worker's is left out, as a whole.

    Args:
        transaction: it is left open; nothing is visible before its commit.
        projections: those of the database.
        placed: batches of one event type, each of another topic-partition.
        decoded: returns the events of some of the batches.
        before_part: called before each part is merged.
        prepared: what of a part a projection shall merge and what it shall quarantine.

    Raises:
        Unavailable, DatabaseBroken: see `isolate.merge_or_isolate`.
    """
    moves = {each.batch.tp: each.moves(projections) for each in placed}
    lost = {each.tp: each for each in transaction.lock_positions([*_all(moves.values())])}
    held = [each for each in placed if each.batch.tp not in lost]
    due = [*_all(moves[each.batch.tp] for each in held)]
    transaction.advance(due)
    quarantined: list[tuple[Projection, RefusedEvent]] = []
    refused: set[TopicPartition] = set()
    for part in decoded([each.batch for each in held]) if held else ():
        before_part()
        for projection in projections:
            transaction.keep_alive()
            lacking = [each for each in due if each.projection == projection.name]
            if not lacking:
                continue
            new = prepared(projection, _lacked(part, lacking, len(held)))
            batches = [each.batch for each in lacking]
            refused_here = merge_and_quarantine(transaction, projection, batches, new)
            refused |= {each.tp for each in refused_here}
            quarantined += [(projection, each) for each in (*new.refused, *refused_here)]
    transaction.store_checkpoints([each.batch for each in held])
    after = {each.batch.tp: {**each.positions} for each in held}
    for each in due:
        after[each.tp][each.projection] = each.after
    why = [errors.PositionLost(each.projection, *tp) for tp, each in lost.items()]
    return MergedBatches(after, quarantined, frozenset(refused), why)


def _all(moves: Iterable[Sequence[PositionMove]]) -> Iterable[PositionMove]:
    return (move for each in moves for move in each)


def _lacked(part: DecodedBatch, lacking: Sequence[PositionMove], batches: int) -> DecodedBatch:
    """The events of a part that a projection does not have yet.

    A projection that was added later may start in the middle of a batch, or have all of it.
    """
    if len(lacking) == batches and all(each.lacks_whole_batch for each in lacking):
        return part
    return part.joined(
        [part.of(each.tp).between(each.position.frontier.size, each.batch.end) for each in lacking]
    )
