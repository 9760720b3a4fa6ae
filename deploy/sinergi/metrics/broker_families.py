"""The metrics of what the brokers show, by the topics and the readers of the agreements."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi.metrics import definitions
from sinergi.metrics.database_families import TopicSums
from sinergi.metrics.families import gauge
from sinergi.status import databases
from sinergi.status.acknowledged import acknowledged
from sinergi.status.bus_facts import BusLogins, WantedFacts, read_bus
from sinergi_schemas.topics import Topic, TopicPartition, control_topic, receipts_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from prometheus_client.core import Metric

    from sinergi.status.acknowledged import Acknowledgements
    from sinergi.status.bus_facts import BusFacts
    from sinergi.status.databases import ConsumerRows
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection


class ReadTopics(NamedTuple):
    """What the brokers show of the topics that an agency reads, and what its tables have of them.

    Attributes:
        names: the topics with the agreed partitions.
        agreed: those that an agreement in force lets it read.
        at: when it was read.
    """

    names: Mapping[str, int]
    agreed: frozenset[str]
    bus: BusFacts
    stored: ConsumerRows
    at: datetime


class ReceiptFigures(NamedTuple):
    """The receipts of an agency's topics.

    Attributes:
        readers: the agencies that read the topics by an agreement in force.
    """

    readers: frozenset[str]
    acknowledged: Acknowledgements


def receipts(
    connection: Connection,
    agreements: Agreements,
    topics: Iterable[Topic],
    silence: float,
    now: datetime,
) -> ReceiptFigures:
    """The largest valid receipt of each database of each reader, for each partition.

    Raises:
        Unavailable: the brokers are away.
    """
    own = list(topics)
    readers = frozenset(each for topic in own for each in agreements.readers(topic, now))
    readers -= {topic.agency for topic in own}
    return ReceiptFigures(readers, acknowledged(connection, agreements, own, silence))


def receipt_families(found: ReceiptFigures) -> Iterator[Metric]:
    """What readers have acknowledged of an agency's topics, and whether that could be read."""
    leaves: dict[tuple[str, str], float] = {}
    times: dict[tuple[str, str], float] = {}
    for topic, those in found.acknowledged.found.items():
        for each in those:
            labels = topic.name, each.reader
            leaves[labels] = leaves.get(labels, 0.0) + (each.size or 0)
            if each.at is not None:
                times[labels] = max(times.get(labels, 0.0), each.at.timestamp())
    yield gauge(definitions.RECEIPTED_LEAVES, leaves)
    yield gauge(definitions.RECEIPT_TIME, times)
    unread = found.acknowledged.unread
    read = {(receipts_topic(each),): float(each not in unread) for each in found.readers}
    yield gauge(definitions.TOPIC_READ, read)


class ReadTopicsLook:
    """Looks at the topics that an agency reads, as `sinergi status` does.

    Args:
        database: where the rows are.
        statement: after how many seconds the server ends a statement.
        silence: how long to wait for a message of a topic, in seconds.
    """

    def __init__(
        self, connection: Connection, database: str, statement: float, silence: float, clock: Clock
    ) -> None:
        self._connection = connection
        self._database = database
        self._statement = statement
        self._silence = silence
        self._clock = clock

    def look(self, agency: str, agreements: Agreements, topics: Iterable[Topic]) -> ReadTopics:
        """What the brokers and the database have now.

        Raises:
            SinergiError: the database or the brokers are away, or refuse something.
        """
        read = list(topics)
        counts = {each.name: agreements.partitions(each) for each in read}
        stored = databases.consumer_rows(self._database, self._statement)
        now = self._clock.now()
        wanted = WantedFacts(agency, {}, counts, None, stored, now)
        logins = BusLogins(self._connection, self._connection)
        bus = read_bus(logins, agreements, wanted, self._silence)
        agreed = {each.name for each in read if agency in agreements.readers(each, now)}
        return ReadTopics(counts, frozenset(agreed), bus, stored, now)


def read_families(found: ReadTopics, now: datetime) -> Iterator[Metric]:
    """How far the tables are behind the topics.

    Args:
        now: the time, for ages.
    """
    available, behind, seconds = (TopicSums(found.names) for _ in range(3))
    for tp, shown in found.bus.shown.items():
        available.add(tp.topic, shown.leaves)
        rows = found.stored.positions.get(tp, {}).values()
        lowest = min((each.tree_size for each in rows), default=0)
        behind.add(tp.topic, max(0, shown.leaves - lowest))
        since = found.bus.missing_since.get(tp)
        if since is not None and shown.leaves > lowest:
            seconds.raise_to(tp.topic, max(0.0, (now - since).total_seconds()))
    yield available.family(definitions.AVAILABLE_LEAVES)
    yield behind.family(definitions.BEHIND_LEAVES)
    yield seconds.family(definitions.BEHIND)
    heads = {
        (agency,): each.signed_at.timestamp()
        for agency, each in found.bus.heads.items()
        if each.signed_at is not None
    }
    yield gauge(definitions.HEADS_TIME, heads)
    read = {(name,): float(_is_read(found, name)) for name in found.agreed}
    for agency in {Topic.parse(name).agency for name in found.agreed}:
        known = found.bus.heads.get(agency)
        read[control_topic(agency),] = float(known is not None and not known.unread)
    yield gauge(definitions.TOPIC_READ, read)


def _is_read(found: ReadTopics, topic: str) -> bool:
    """Whether it is known how many leaves each partition of a topic shows."""
    shown = (found.bus.shown.get(TopicPartition(topic, at)) for at in range(found.names[topic]))
    return all(each is not None and each.is_complete for each in shown)
