"""The final count: every event, counted in five independent places.

published      rows of committed transactions in the owner's outbox
sealed         leaves of the owner's trees
materialised   distinct events in each reader's history table
verified       leaves under a valid checkpoint, read from the topic without a consumer group
quarantined    events that could not become rows, with any reader
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import sqlalchemy as sa

from sinergi.demo.registers import REGISTERS
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sinergi.demo.agencies import Agency, DemoBus
    from sinergi.demo.scenario import ExpectedEvents
    from sinergi_schemas.topics import Topic


@dataclass(frozen=True, slots=True)
class TopicCounts:
    """The counts of one topic."""

    published: int
    sealed: int
    materialised: Mapping[str, int]
    verified: int
    quarantined: int

    @property
    def is_equal(self) -> bool:
        """Whether all of them agree, and nothing is in quarantine."""
        counts = {self.published, self.sealed, self.verified, *self.materialised.values()}
        return len(counts) == 1 and self.quarantined == 0

    def document(self) -> dict[str, Any]:
        """The counts as JSON."""
        return {
            "published": self.published,
            "sealed": self.sealed,
            "materialised": dict(self.materialised),
            "verified": self.verified,
            "quarantined": self.quarantined,
        }


@dataclass(frozen=True, slots=True)
class FinalCount:
    """The counts of all topics, and the contradictions found beside them, one line each."""

    lines: Mapping[Topic, TopicCounts]
    contradictions: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether everything agrees."""
        return not self.contradictions and all(each.is_equal for each in self.lines.values())

    def document(self) -> dict[str, dict[str, Any]]:
        """Agency, event type, counts."""
        found: dict[str, dict[str, Any]] = {}
        for topic, line in self.lines.items():
            found.setdefault(topic.agency, {})[topic.event_type] = line.document()
        return found


def is_settled(demo: DemoBus) -> bool:
    """Whether every reader has as many events as were published."""
    return all(
        count == _published(demo.agencies[topic.agency], topic)
        for topic in demo.topics
        for count in _materialised(demo, topic).values()
    )


def count_all(demo: DemoBus, expected: ExpectedEvents) -> FinalCount:
    """Count every event. Call it when all processes have stopped.

    Raises:
        SealBroken: a topic is not what its owner sealed.
    """
    lines: dict[Topic, TopicCounts] = {}
    found: list[str] = []
    for topic in demo.topics:
        replay = Replay(demo.bus, topic)
        frames = list(replay.events(ReplayFilter()))
        on_topic = {UUID(each) for frame in frames for each in frame["event_id"]}
        owner = demo.agencies[topic.agency]
        lines[topic] = TopicCounts(
            _published(owner, topic),
            _count(owner, _SEALED, topic),
            _materialised(demo, topic),
            sum(each.verified for each in replay.partition_counts),
            sum(_count(each, _QUARANTINED, topic) for each in demo.readers(topic)),
        )
        found.extend(_contradictions(owner, topic, on_topic, expected))
    return FinalCount(lines, tuple(found))


def _contradictions(
    owner: Agency, topic: Topic, on_topic: set[UUID], expected: ExpectedEvents
) -> Iterator[str]:
    """Differences between the sealed topic, the stories and the owner's own register."""
    committed = expected.committed.get(topic, set())
    if on_topic != committed:
        lost, strange = len(committed - on_topic), len(on_topic - committed)
        yield f"{topic.name}: {lost} committed events are missing, {strange} were never committed"
    if on_topic & expected.rolled_back:
        yield f"{topic.name}: an event of a rolled-back transaction has appeared"
    rows = owner.rows(sa.select(sa.func.count()).select_from(REGISTERS[topic.event_type]))
    records = _count(owner, _RECORDS, topic)
    if rows[0][0] != records:
        yield f"{topic.name}: {records} records, but {rows[0][0]} rows in the owner's register"


_PUBLISHED = sa.text("SELECT count(*) FROM sinergi_producer.outbox WHERE event_type = :event_type")
_RECORDS = sa.text("SELECT count(*) FROM sinergi_producer.head WHERE event_type = :event_type")
_SEALED = sa.text(
    "SELECT coalesce(sum(size), 0) FROM sinergi_producer.tree WHERE event_type = :event_type"
)
_QUARANTINED = sa.text("SELECT count(*) FROM sinergi_consumer.quarantine WHERE topic = :topic")


def _published(owner: Agency, topic: Topic) -> int:
    return _count(owner, _PUBLISHED, topic)


def _materialised(demo: DemoBus, topic: Topic) -> dict[str, int]:
    history = demo.history(topic.event_type)
    query = sa.select(sa.func.count(history.c.event_id.distinct())).where(
        history.c.agency == topic.agency
    )
    return {each.slug: each.rows(query)[0][0] for each in demo.readers(topic)}


def _count(agency: Agency, query: sa.TextClause, topic: Topic) -> int:
    values = {"event_type": topic.event_type, "topic": topic.name}
    known = {name: values[name] for name in query.compile().params}
    return int(agency.rows(query.bindparams(**known))[0][0])
