"""When the events of a topic-partition were recorded, beside when their leaves were sealed.

`recorded_at` is what the publisher's system says, by its clock. Between which statements a leaf was
sealed is what signatures say. Where the two differ, an event was sealed late, or is dated back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from datetime import datetime

    from sinergi_consumers.audit.sealed_interval import TimeInterval
    from sinergi_consumers.decode.batches import DecodedBatch


class LateEvent(NamedTuple):
    """An event that was recorded in an interval and sealed only after the second statement."""

    leaf_index: int
    event_id: str
    recorded_at: datetime


@dataclass(slots=True)
class IntervalEvents:
    """The events of one topic-partition.

    Args:
        interval: the times.
        leaves: which were sealed between the two statements; None if that is not known.
        limit: of the late events that are kept.

    Attributes:
        recorded: the number of events that were recorded in the interval.
        early: how many of these the first statement has already.
        late: how many of these the second statement does not have yet.
        first_late: the first of these.
        outside: the number of leaves in the range that were recorded before or after the interval.
        unread: the number of leaves that nobody can decode, so that their time is unknown.
    """

    interval: TimeInterval
    leaves: range | None
    limit: int
    recorded: int = 0
    early: int = 0
    late: int = 0
    first_late: list[LateEvent] = field(default_factory=list)
    outside: int = 0
    unread: int = 0

    def add(self, batch: DecodedBatch) -> None:
        """Count the events of a batch."""
        self.unread += len(batch.refused)
        at, leaf = pl.col("recorded_at"), pl.col("leaf_index")
        since, until = self.interval
        is_recorded = (at >= since) & (at < until)
        recorded = batch.events.filter(is_recorded)
        self.recorded += recorded.height
        if self.leaves is None:
            return
        self.early += recorded.filter(leaf < self.leaves.start).height
        late = recorded.filter(leaf >= self.leaves.stop)
        self.late += late.height
        room = self.limit - len(self.first_late)
        shown = late.select(leaf, pl.col("event_id"), at).head(max(room, 0))
        self.first_late += [
            LateEvent(index, str(event_id), when) for index, event_id, when in shown.iter_rows()
        ]
        in_range = leaf.is_between(self.leaves.start, self.leaves.stop, closed="left")
        self.outside += batch.events.filter(in_range & ~is_recorded).height
