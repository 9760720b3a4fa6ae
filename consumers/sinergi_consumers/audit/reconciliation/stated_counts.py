"""Compares the counts that another agency has signed with the sealed events of a topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.audit.reconciliation.comparison import (
    Discrepancy,
    EventState,
    SideCount,
    below,
)
from sinergi_consumers.audit.reconciliation.signed_counts import DayKey, digests

if TYPE_CHECKING:
    from datetime import date

    import polars as pl

    from sinergi_consumers.audit.reconciliation.signed_counts import DayCount, SignedCounts
    from sinergi_schemas.topics import Topic


class StatedSide(NamedTuple):
    """A side of another agency, as it has signed its counts.

    Attributes:
        is_also_read: whether the side itself is compared too.
    """

    counts: SignedCounts
    side: str
    is_also_read: bool = False

    @property
    def name(self) -> str:
        """`<agency>/<side>`; ` (signed)` follows where the side itself has this name."""
        signed = " (signed)" if self.is_also_read else ""
        return f"{self.counts.agency}/{self.side}{signed}"

    def sizes(self, topic: Topic) -> dict[int, int]:
        """Up to which leaves a topic is counted, by partition; empty if it is not."""
        return {
            tp.partition: size
            for (side, tp), size in self.counts.sizes.items()
            if side == self.side and tp.topic == topic.name
        }


class StatedComparison:
    """The comparison of a side's signed counts with a topic, day by day.

    Args:
        leaves: the events of the topic, as `TopicEvents.frame` has them.
    """

    def __init__(self, leaves: pl.DataFrame, topic: Topic, stated: StatedSide) -> None:
        counts, sizes = stated.counts, stated.sizes(topic)
        sealed: dict[date | None, int] = dict(leaves.group_by("day").len().iter_rows())
        expected = digests(below(leaves, sizes))
        given: dict[date | None, DayCount] = {
            key.day: count
            for key, count in counts.days.items()
            if key == DayKey(stated.side, topic.name, key.day)
        }
        self.counts: dict[date | None, SideCount] = {}
        self.discrepancies: list[Discrepancy] = []
        for day in sealed.keys() | given.keys():
            count, digest = expected.get(day, (0, None))
            found = given.get(day)
            events = 0 if found is None else found.events
            quarantined = 0 if found is None else found.quarantined
            is_equal = (events, None if found is None else found.digest) == (count, digest)
            # With as many events, at least one of them is another one.
            wrong = 0 if is_equal else max(1, abs(events - count))
            on_their_way = sealed.get(day, 0) - count
            self.counts[day] = SideCount(events - quarantined, quarantined, on_their_way, wrong)
            if wrong:
                self.discrepancies.append(
                    Discrepancy(EventState.OTHER_COUNT, None, None, None, day, (events, count))
                )
