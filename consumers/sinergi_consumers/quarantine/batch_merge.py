"""Merges one verified batch into every projection that does not have it yet, in one transaction.

The materialiser and a replay into a database both use it, so both make the same rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.quarantine.isolate import merge_and_quarantine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sinergi_consumers.decode.decoder import DecodedBatch, RefusedEvent
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_consumers.sinks.protocol import Transaction


class DecodedLeaves(NamedTuple):
    """A batch that is decoded, and where it is merged.

    Attributes:
        parts: of the batch, in the order of its leaves.
        positions: of each projection before the batch, by its name.
        incarnation: of the topic from which the batch was read.
    """

    batch: VerifiedBatch
    parts: Iterable[DecodedBatch]
    positions: Mapping[str, Position]
    incarnation: TopicIncarnation


class MergedBatch(NamedTuple):
    """What the merge of a batch has done.

    Attributes:
        positions: of each projection after the batch, by its name.
        quarantined: the events that went to quarantine, each with the projection that lacks it.
    """

    positions: Mapping[str, Position]
    quarantined: Sequence[tuple[Projection, RefusedEvent]]


def merge_batch(
    transaction: Transaction,
    projections: Sequence[Projection],
    decoded: DecodedLeaves,
    before_part: Callable[[], None] = lambda: None,
    prepared: Callable[[Projection, DecodedBatch], DecodedBatch] = lambda _, part: part,
) -> MergedBatch:
    """Advance the positions, merge the rows, and store quarantine rows and checkpoints.

    Args:
        transaction: it is left open; nothing is visible before its commit.
        projections: those of the database.
        decoded: the batch.
        before_part: called before each part is merged.
        prepared: what of a part a projection shall merge and what it shall quarantine.

    Raises:
        PositionLost: another worker has claimed the topic-partition.
        Unavailable, DatabaseBroken: see `isolate.merge_or_isolate`.
    """
    batch, positions = decoded.batch, dict(decoded.positions)
    due: list[tuple[Projection, int]] = []
    quarantined: list[tuple[Projection, RefusedEvent]] = []
    for each in projections:
        position = positions.get(each.name)
        if position and position.frontier.size < batch.end:
            positions[each.name] = transaction.advance(each, batch, position, decoded.incarnation)
            due.append((each, position.frontier.size))
    for part in decoded.parts:
        transaction.keep_alive()
        before_part()
        for each, since in due:
            new = prepared(each, _since(since, batch, part))
            refused = merge_and_quarantine(transaction, each, batch, new)
            quarantined += [(each, one) for one in refused]
    transaction.store_checkpoints(batch)
    return MergedBatch(positions, quarantined)


def _since(leaf: int, batch: VerifiedBatch, part: DecodedBatch) -> DecodedBatch:
    """The events of a part that a projection does not have yet.

    A projection that was added later may start in the middle of the batch.
    """
    if leaf <= batch.start:
        return part
    return part.between(leaf, batch.end)
