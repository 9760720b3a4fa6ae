"""Reconciles an outbox, the topics and databases: event by event, counted by agency, type and day.

    1. Read of each side how many leaves it should have in common with the topics.
    2. Read the topics and verify them, one after the other.
    3. Read the events of each side that belong to a topic, and compare them with it.

The topics are read by the same audit as elsewhere: what does not hold there is in its verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.audit.reconciliation.comparison import SideComparison, SideCount
from sinergi_consumers.audit.reconciliation.signed_counts import DayCount, DayKey
from sinergi_consumers.audit.reconciliation.stated_counts import StatedComparison
from sinergi_consumers.audit.reconciliation.topic_events import TopicEvents
from sinergi_schemas import errors
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date

    import polars as pl

    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.audit.reconciliation.comparison import Discrepancy
    from sinergi_consumers.audit.reconciliation.stated_counts import StatedSide
    from sinergi_consumers.audit.reconciliation.stored_events import Side
    from sinergi_consumers.audit.series import AuditSeries
    from sinergi_consumers.bus import Bus
    from sinergi_schemas.topics import Topic

_UNREADABLE = (errors.Unavailable, errors.Fatal, errors.Refused, errors.StoredStateInvalid)


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """The events of one topic on one day.

    Attributes:
        day: None for the events of which nobody can read the day.
        sealed: how many the topic has.
        sides: the count of each side, by its name. A side is absent if the topic's events do not
            belong there, or if it could not be read.
    """

    topic: Topic
    day: date | None
    sealed: int
    sides: Mapping[str, SideCount]


class PlacedDiscrepancy(NamedTuple):
    """A discrepancy, with the side and the topic that it is about."""

    side: str
    topic: Topic
    found: Discrepancy


@dataclass(slots=True)
class Reconciliation:
    """The reconciliation of some topics with some sides.

    Attributes:
        series: the audits of the topics.
        sides: the outbox and the databases that are read.
        stated: the sides of other agencies, which have signed their counts.
        zone: the IANA name of the zone in which days begin.
        limit: how many discrepancies are kept; None keeps all.
        keeps_counts: whether `days` is filled, which hashes every event_id once more.
        is_archived: whether the topics are read in an archive, which may be older than the sides.
        matrix: the counts, when `run` has ended.
        discrepancies: the first ones.
        discrepancy_count: of all of them.
        unread: why a side could not be read, by its name.
        beyond: how many leaves of a topic each side should have that the archive does not have, by
            the names of both. They are not compared.
        sizes: how many leaves each side should have, by its name and the topic-partition.
        compared: the names of each side that is read and of each topic that it was compared with.
        days: the counts of each side that is read, to be signed.
    """

    bus: Bus
    series: AuditSeries
    sides: Sequence[Side]
    stated: Sequence[StatedSide]
    zone: str
    limit: int | None
    keeps_counts: bool = False
    is_archived: bool = False
    matrix: list[MatrixRow] = field(default_factory=list)
    discrepancies: list[PlacedDiscrepancy] = field(default_factory=list)
    discrepancy_count: int = 0
    unread: dict[str, str] = field(default_factory=dict)
    beyond: dict[tuple[str, str], int] = field(default_factory=dict)
    sizes: dict[tuple[str, TopicPartition], int] = field(default_factory=dict)
    compared: set[tuple[str, str]] = field(default_factory=set)
    days: dict[DayKey, DayCount] = field(default_factory=dict)

    def run(self, progressed: Callable[[], None]) -> None:
        """Reconcile everything.

        Args:
            progressed: called after each batch of messages.

        Raises:
            SinergiError: the only topic cannot be read.
        """
        self._read_sizes()  # 1
        decoders = self.bus.decoders(None)
        events: dict[Topic, TopicEvents] = {}
        for audited in self.series.batches({}):  # 2
            topic = audited.audit.topic
            if topic not in events:
                self._compare(events)  # the topic before it
                events = {topic: TopicEvents(decoders.of(topic.event_type), self.zone)}
            events[topic].add(audited.batch)
            progressed()
        self._compare(events)
        seen = {each.topic for each in self.matrix}
        for audit in self.series.readable:
            if audit.topic not in seen:
                empty = TopicEvents(decoders.of(audit.topic.event_type), self.zone)
                self._compare({audit.topic: empty})

    @property
    def broken(self) -> list[Audit]:
        """The audits of the topics that are not what their owners sealed."""
        return [each for each in self.series.audits if each.is_proved is False]

    @property
    def undecided(self) -> list[Audit]:
        """The audits of the topics of which that is unknown."""
        return [each for each in self.series.audits if each.is_proved is None]

    def _read_sizes(self) -> None:
        for side in self.sides:
            try:
                found = side.read_sizes()
            except _UNREADABLE as why:
                self.unread[side.name] = str(why)
                continue
            self.sizes |= {(side.name, tp): size for tp, size in found.items()}

    def _compare(self, events: Mapping[Topic, TopicEvents]) -> None:
        """Compare the sides with a topic that was read, and add its days to the matrix.

        A topic that could be read only in part lacks events that the sides have.
        """
        readable = {each.topic for each in self.series.readable}
        for topic, found in events.items():  # one, or none before the first topic
            if topic not in readable:
                continue
            sealed = found.frame()
            counts: dict[str, Mapping[date | None, SideCount]] = {}
            for side in self.sides:
                comparison = self._comparison(side, topic, sealed)
                if comparison is not None:
                    counts[side.name] = comparison.counts()
                    self.compared.add((side.name, topic.name))
                    if self.keeps_counts:
                        self._count_days(side, topic, comparison)
                    self._keep(side.name, topic, comparison.discrepancies())
            for stated in self.stated:
                sizes = stated.sizes(topic)
                # Days are counted up to its sizes: it cannot be compared up to smaller ones.
                if sizes and sizes == self._within_archive(stated.name, topic, sizes):
                    of_file = StatedComparison(sealed, topic, stated)
                    counts[stated.name] = of_file.counts
                    self._keep(stated.name, topic, of_file.discrepancies)
            by_day = dict(sealed.group_by("day").len().iter_rows())
            self.matrix += _rows(topic, by_day, counts)

    def _comparison(self, side: Side, topic: Topic, sealed: pl.DataFrame) -> SideComparison | None:
        """The comparison of a side with a topic; None if it does not belong there, or is away."""
        if side.name in self.unread or not side.holds(topic):
            return None
        numbers = range(self.bus.agreements.partitions(topic))
        tps = [TopicPartition(topic.name, number) for number in numbers]
        sizes = {tp.partition: self.sizes.get((side.name, tp), 0) for tp in tps}
        sizes = self._within_archive(side.name, topic, sizes)
        self.sizes |= {(side.name, tp): sizes[tp.partition] for tp in tps}
        try:
            stored = side.read_events(topic, self.zone)
        except _UNREADABLE as why:
            self.unread[side.name] = str(why)
            return None
        return SideComparison(
            sealed,
            stored,
            sizes,
            is_source=side.is_source,
            retention=side.retention(topic),
        )

    def _within_archive(self, side: str, topic: Topic, sizes: Mapping[int, int]) -> dict[int, int]:
        """Up to which leaves a side is compared, by partition; no further than an archive goes."""
        if not self.is_archived:
            return {**sizes}
        audits = (each for each in self.series.audits if each.topic == topic)
        shown = {
            each.partition: each.verified for audit in audits for each in audit.partition_counts
        }
        found = {number: min(size, shown.get(number, 0)) for number, size in sizes.items()}
        if beyond := sum(sizes.values()) - sum(found.values()):
            self.beyond[side, topic.name] = beyond
        return found

    def _count_days(self, side: Side, topic: Topic, comparison: SideComparison) -> None:
        for day, count in comparison.day_counts().items():
            self.days[DayKey(side.name, topic.name, day)] = count

    def _keep(self, side: str, topic: Topic, found: Iterable[Discrepancy]) -> None:
        for each in found:
            self.discrepancy_count += 1
            if self.limit is None or len(self.discrepancies) < self.limit:
                self.discrepancies.append(PlacedDiscrepancy(side, topic, each))


def _rows(
    topic: Topic,
    sealed: Mapping[date | None, int],
    counts: Mapping[str, Mapping[date | None, SideCount]],
) -> list[MatrixRow]:
    """The rows of one topic, by day; unknown days come last."""
    days = {*sealed, *(day for found in counts.values() for day in found)}
    none = SideCount(0, 0, 0, 0)
    return [
        MatrixRow(
            topic,
            day,
            sealed.get(day, 0),
            {name: found.get(day, none) for name, found in counts.items()},
        )
        for day in sorted(days, key=lambda each: (each is None, each))
    ]
