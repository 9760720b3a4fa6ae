"""Which records are related to those that were asked for, directly or by others between them.

An event names related records of any agency in its list `related`. A relation holds in both
directions: a seizure that names a visit is also found from the visit.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


class RecordReference(NamedTuple):
    """A record of the bus."""

    agency: str
    event_type: str
    record_id: str


class UnreadRecords(NamedTuple):
    """Records that relations lead to, and whose topic is not read.

    Attributes:
        topic: the name of the topic.
        records: how many there are.
    """

    topic: str
    records: int


class RelatedRecords:
    """The relations between records, and the records that were asked for.

    It keeps some 500 bytes for each pair of related records, and nothing for other records.
    """

    def __init__(self) -> None:
        self._neighbours: defaultdict[RecordReference, set[RecordReference]] = defaultdict(set)
        self._wanted: set[RecordReference] = set()

    def add(self, topic: Topic, events: pl.DataFrame, wanted: pl.DataFrame) -> None:
        """Take the relations that some events state.

        Args:
            topic: of the events.
            events: all of them, those that no filter lets pass too.
            wanted: those of them that were asked for.
        """
        for own, other in _stated(topic, events):
            self._neighbours[own].add(other)
            self._neighbours[other].add(own)
        ids = wanted["record_id"].unique()
        self._wanted.update(RecordReference(topic.agency, topic.event_type, each) for each in ids)

    def reached(self) -> dict[str, frozenset[str]]:
        """The records that were asked for, and all that relations lead to from them.

        Returns:
            The identities of the records, by the name of their topic.
        """
        found, left = set(self._wanted), deque(self._wanted)
        while left:
            for each in self._neighbours.get(left.popleft(), set()) - found:
                found.add(each)
                left.append(each)
        by_topic: defaultdict[str, set[str]] = defaultdict(set)
        for each in found:
            by_topic[Topic(each.agency, each.event_type).name].add(each.record_id)
        return {topic: frozenset(ids) for topic, ids in by_topic.items()}


def unread(reached: Mapping[str, Collection[str]], topics: Collection[str]) -> list[UnreadRecords]:
    """The records of topics other than these, by topic, those with the most first.

    Args:
        reached: see `RelatedRecords.reached`.
    """
    found = [UnreadRecords(name, len(ids)) for name, ids in reached.items() if name not in topics]
    return sorted(found, key=lambda each: (-each.records, each.topic))


def _stated(
    topic: Topic, events: pl.DataFrame
) -> Iterator[tuple[RecordReference, RecordReference]]:
    """Each relation that an event states: its own record, and the other one."""
    of_events = events.filter(pl.col("related").list.len() > 0).select("record_id", "related")
    each_relation = of_events.explode("related").unnest("related")
    columns = ("record_id", "other_agency", "other_event_type", "other_record_id")
    for record_id, *other in each_relation.select(columns).iter_rows():
        own = RecordReference(topic.agency, topic.event_type, record_id)
        yield own, RecordReference(*other)
