"""The metrics of what the brokers show, by the topics and the readers of the agreements."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi.metrics import definitions
from sinergi.metrics.database_families import TopicSums
from sinergi.metrics.families import gauge
from sinergi.status import databases
from sinergi.status.acknowledged import acknowledged
from sinergi.status.bus_facts import BusLogins, WantedFacts, read_bus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from prometheus_client.core import Metric

    from sinergi.status.bus_facts import BusFacts
    from sinergi.status.databases import ConsumerRows
    from sinergi.status.facts import Acknowledged
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.topics import Topic

Receipts = dict["Topic", list["Acknowledged"]]


class ReadTopics(NamedTuple):
    """What the brokers show of the topics that an agency reads, and what its tables have of them.

    Attributes:
        names: the topics.
        at: when it was read.
    """

    names: Sequence[str]
    bus: BusFacts
    stored: ConsumerRows
    at: datetime


def receipts(
    connection: Connection, agreements: Agreements, topics: Iterable[Topic], silence: float
) -> Receipts:
    """The largest valid receipt of each database of each reader, for each partition.

    Raises:
        Unavailable: the brokers are away.
    """
    return acknowledged(connection, agreements, topics, silence)[0]


def receipt_families(found: Mapping[Topic, Sequence[Acknowledged]]) -> Iterator[Metric]:
    """What readers have acknowledged of an agency's topics."""
    leaves: dict[tuple[str, str], float] = {}
    times: dict[tuple[str, str], float] = {}
    for topic, those in found.items():
        for each in those:
            labels = topic.name, each.reader
            leaves[labels] = leaves.get(labels, 0.0) + (each.size or 0)
            if each.at is not None:
                times[labels] = max(times.get(labels, 0.0), each.at.timestamp())
    yield gauge(definitions.RECEIPTED_LEAVES, leaves)
    yield gauge(definitions.RECEIPT_TIME, times)


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
        counts = {each.name: agreements.partitions(each) for each in topics}
        stored = databases.consumer_rows(self._database, self._statement)
        now = self._clock.now()
        wanted = WantedFacts(agency, {}, counts, None, stored, now)
        logins = BusLogins(self._connection, self._connection)
        bus = read_bus(logins, agreements, wanted, self._silence)
        return ReadTopics([*counts], bus, stored, now)


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
