"""Compares what a side has stored of a topic with the sealed events of the topic."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from sinergi_consumers.audit.reconciliation.signed_counts import DayCount, digests
from sinergi_consumers.audit.reconciliation.stored_events import StoredState, event_id
from sinergi_consumers.audit.reconciliation.topic_events import RECORDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date
    from uuid import UUID

    from sinergi_consumers.sinks.postgresql.retention import Retention

_PLACE = ("partition", "leaf")


class EventState(StrEnum):
    """How an event stands at a side, compared with the topic."""

    PRESENT = "present"
    QUARANTINED = "quarantined"
    ON_ITS_WAY = "on its way"
    REMOVED = "removed by retention"
    HELD = "held"
    MISSING = "missing"
    DIFFERENT = "another event"
    DOUBLED = "there twice"
    OTHER_COUNT = "another count"
    NOT_IN_TOPIC = "not in the topic"


DISCREPANCIES = (
    EventState.HELD,
    EventState.MISSING,
    EventState.DIFFERENT,
    EventState.DOUBLED,
    EventState.OTHER_COUNT,
    EventState.NOT_IN_TOPIC,
)
_COUNTED_AT_SIDE = (
    EventState.PRESENT,
    EventState.HELD,
    EventState.DIFFERENT,
    EventState.DOUBLED,
    EventState.NOT_IN_TOPIC,
)


class Discrepancy(NamedTuple):
    """One event that a side and the topic do not both have.

    Attributes:
        state: what is wrong.
        event_id: of the event; None if nobody can read it.
        partition, leaf: where it stands; None if it has no leaf.
        day: of `recorded_at`; None if it is unknown.
        counts: how many events the side states for the day, and how many the topic has of those
            that the side should have; None if events are compared one by one.
    """

    state: EventState
    event_id: UUID | None
    partition: int | None
    leaf: int | None
    day: date | None
    counts: tuple[int, int] | None = None


class SideCount(NamedTuple):
    """The events of one day at a side.

    Attributes:
        events: how many the side has, as rows that are in use.
        quarantined: how many more it has set apart.
        on_their_way: how many have not arrived there, or not left it, yet.
        discrepancies: how many are wrong; see `DISCREPANCIES`.
        removed: how many the side had, and has removed as old enough.
    """

    events: int
    quarantined: int
    on_their_way: int
    discrepancies: int
    removed: int = 0


class SideComparison:
    """The comparison of one side with a topic.

    Args:
        topic: the events of the topic, as `TopicEvents.frame` has them.
        stored: those of the side, with the columns of `stored_events.COLUMNS`.
        sizes: for each partition, how many leaves both should have; see `Side.read_sizes`.
        is_source: see `Side`.
        retention: see `Side.retention`. If more events are missing than were removed, it is the
            reason for none of them.
    """

    def __init__(
        self,
        topic: pl.DataFrame,
        stored: pl.DataFrame,
        sizes: Mapping[int, int],
        *,
        is_source: bool,
        retention: Retention | None = None,
    ) -> None:
        is_repeated = (pl.int_range(pl.len()).over(_PLACE) > 0) & pl.col("leaf").is_not_null()
        repeated = stored.filter(is_repeated)
        once = stored.filter(~is_repeated)
        joined = _with_sizes(topic, sizes).join(once, on=_PLACE, how="left", suffix="_stored")
        others = _with_sizes(once, sizes).join(topic, on=_PLACE, how="anti")
        columns = [pl.col(name) for name in topic.columns if name != RECORDED]
        state = _state_of_leaf(is_source=is_source, retention=retention)
        if retention is not None and joined.select(state == EventState.REMOVED).sum().item() > (
            retention.rows
        ):
            state = _state_of_leaf(is_source=is_source, retention=None)
        self._sizes = sizes
        self._events = pl.concat(
            [
                repeated.select(*columns, pl.lit(EventState.DOUBLED).alias("state")),
                joined.select(*columns, state.alias("state")),
                others.select(*columns, _state_of_other().alias("state")),
            ]
        )

    def counts(self) -> dict[date | None, SideCount]:
        """The counts of each day; of None, those of the events whose day is unknown."""
        by_day = self._events.group_by("day", "state").len()
        found: dict[date | None, dict[str, int]] = {}
        for day, state, count in by_day.iter_rows():
            found.setdefault(day, {})[state] = count
        return {day: _side_count(states) for day, states in found.items()}

    def day_counts(self) -> dict[date | None, DayCount]:
        """The events that the side has of the leaves that it should have, to be signed."""
        held = pl.col("state").is_in([EventState.PRESENT, EventState.QUARANTINED])
        events = below(self._events.filter(held), self._sizes)
        apart = events.filter(pl.col("state") == EventState.QUARANTINED)
        quarantined = dict(apart.group_by("day").len().iter_rows())
        return {
            day: DayCount(count, quarantined.get(day, 0), digest)
            for day, (count, digest) in digests(events).items()
        }

    def discrepancies(self) -> Iterator[Discrepancy]:
        """The events that the side and the topic do not both have, in the order of their leaves."""
        wrong = self._events.filter(pl.col("state").is_in([*DISCREPANCIES]))
        for partition, leaf, high, low, day, state in wrong.sort(_PLACE).iter_rows():
            yield Discrepancy(EventState(state), event_id(high, low), partition, leaf, day)


def _side_count(states: Mapping[str, int]) -> SideCount:
    return SideCount(
        sum(states.get(each, 0) for each in _COUNTED_AT_SIDE),
        states.get(EventState.QUARANTINED, 0),
        states.get(EventState.ON_ITS_WAY, 0),
        sum(states.get(each, 0) for each in DISCREPANCIES),
        states.get(EventState.REMOVED, 0),
    )


def below(events: pl.DataFrame, sizes: Mapping[int, int]) -> pl.DataFrame:
    """The events of the leaves below the size of their partition."""
    return _with_sizes(events, sizes).filter(pl.col("leaf") < pl.col("size")).drop("size")


def _with_sizes(events: pl.DataFrame, sizes: Mapping[int, int]) -> pl.DataFrame:
    """The events with the size of their partition, 0 where none is known."""
    size = pl.col("partition").replace_strict(dict(sizes) or {-1: 0}, default=0)
    return events.with_columns(size.cast(pl.Int64).alias("size"))


def _state_of_leaf(*, is_source: bool, retention: Retention | None) -> pl.Expr:
    """The state of each event of the topic."""
    is_stored, is_unread = pl.col("stored").is_not_null(), pl.col("high").is_null()
    is_same = (pl.col("high") == pl.col("high_stored")) & (pl.col("low") == pl.col("low_stored"))
    is_expected = pl.lit(value=True) if is_source else pl.col("leaf") < pl.col("size")
    is_old = pl.lit(value=False)
    if retention is not None:
        is_old = pl.col(RECORDED) < pl.lit(retention.before)
    return (
        pl.when(pl.col("stored") == StoredState.QUARANTINED)
        .then(pl.lit(EventState.QUARANTINED))
        # An event that we cannot read may be in the outbox of a later version.
        .when(is_stored & (is_same.fill_null(value=False) | is_unread))
        .then(pl.lit(EventState.PRESENT))
        .when(is_stored)
        .then(pl.lit(EventState.DIFFERENT))
        .when(is_expected & is_old.fill_null(value=False))
        .then(pl.lit(EventState.REMOVED))
        .when(is_expected)
        .then(pl.lit(EventState.MISSING))
        .otherwise(pl.lit(EventState.ON_ITS_WAY))
    )


def _state_of_other() -> pl.Expr:
    """The state of each event that the side has and the topic does not have."""
    should_be_there = pl.col("leaf") < pl.col("size")
    return (
        pl.when(pl.col("stored") == StoredState.HELD)
        .then(pl.lit(EventState.HELD))
        .when(should_be_there.fill_null(value=False))
        .then(pl.lit(EventState.NOT_IN_TOPIC))
        .otherwise(pl.lit(EventState.ON_ITS_WAY))
    )
