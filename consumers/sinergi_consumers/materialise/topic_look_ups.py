"""What a worker asks the brokers about topics before it reads them: about many with one question.

Each claim of a topic-partition needs the incarnation of its topic, its number of partitions and
often a look into it. Asked for one by one, thousands of them would take minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import structlog

from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_consumers.reading.source import KafkaSource
from sinergi_consumers.reading.start import find_start, known_start
from sinergi_schemas import errors
from sinergi_schemas.kafka.admin import bounds, cluster_id, describe, describe_each, open_admin
from sinergi_schemas.kafka.partitions import PartitionCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextlib import AbstractContextManager

    from confluent_kafka.admin._topic import TopicDescription

    from sinergi_consumers.reading.position import Position
    from sinergi_consumers.reading.start import Start
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.admin import Admin
    from sinergi_schemas.kafka.scan import PartitionScan
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class TopicLookUps:
    """Looks at topics, with clients that it keeps.

    Args:
        counts: how many partitions each topic has by its agreement, by its name.
    """

    def __init__(self, connection: Connection, counts: Mapping[str, int]) -> None:
        self._connection = connection
        self._counts = counts
        self._admin = open_admin(connection)
        self._source = KafkaSource(connection)
        self._partition_check = PartitionCheck()
        self._cluster = ""
        self._seen: dict[str, TopicDescription | errors.SinergiError] = {}
        self._bounds: dict[TopicPartition, range] = {}

    def ask(self, question: Callable[[Admin], T]) -> T:
        """What the admin client answers; a client that gets no answer is replaced.

        librdkafka 2.16 aborts the process if a question about a group has timed out, and the same
        client reaches the coordinator later (librdkafka issue 4605).

        Raises:
            Unavailable: the brokers are away, or this client does not reach them.
        """
        try:
            return question(self._admin)
        except (errors.ServiceAway, errors.HandshakeRefused):
            self._admin = open_admin(self._connection)
            raise

    def missing_topics(self) -> list[str]:
        """The topics that the brokers do not have yet.

        Raises:
            NotPermitted: one of them may not be described.
            Unavailable: the brokers are away.
        """
        existing = self.ask(lambda admin: describe(admin, self._counts))
        return sorted(self._counts.keys() - existing.keys())

    def report_missing_topics(self) -> None:
        """Log which topics do not exist yet; they are read as soon as they do.

        A right that is missing on one topic does not keep the others from being read.

        Raises:
            Unavailable: the brokers are away.
        """
        try:
            for each in self.missing_topics():
                _log.warning("topic not there yet", topic=each, mend="sinergi provision apply")
        except errors.NotPermitted as why:
            _log.warning("topics not looked at", why=str(why))

    def look_at(self, tps: Collection[TopicPartition]) -> None:
        """Look at some topic-partitions. The other methods tell what was seen, until the next look.

        Raises:
            Unavailable: the brokers are away.
        """
        self._seen, self._bounds = {}, {}
        self._cluster = self.ask(cluster_id)
        self._seen = self.ask(lambda admin: describe_each(admin, (tp.topic for tp in tps)))
        there = [tp for tp in tps if self.leader(tp) is not None]
        try:
            self._bounds = self.ask(lambda admin: bounds(admin, there))
        except errors.SinergiError as why:
            # One of them may not be read. Then each is looked at alone when it is claimed.
            _log.info("offsets not looked at together", why=str(why))

    def incarnation(self, tp: TopicPartition, file: str) -> TopicIncarnation:
        """Which incarnation of its topic, on which cluster, was seen at the last look.

        Args:
            file: the agreement on the topic.

        Raises:
            PartitionsDiffer: the topic has fewer partitions than the agreement says.
            Unavailable: the topic does not exist, or may not be read.
        """
        seen = self._seen[tp.topic]
        if isinstance(seen, errors.SinergiError):
            raise seen
        agreed = self._counts[tp.topic]
        self._partition_check.compare(tp.topic, len(seen.partitions), agreed, file)
        return TopicIncarnation(self._cluster, str(seen.topic_id))

    def leader(self, tp: TopicPartition) -> int | None:
        """The broker that led a topic-partition at the last look; None if it had none."""
        seen = self._seen[tp.topic]
        partitions = () if isinstance(seen, errors.SinergiError) else seen.partitions
        leader = {each.id: each.leader for each in partitions}.get(tp.partition)
        return None if leader is None else leader.id

    def start(self, tp: TopicPartition, position: Position, incarnation: TopicIncarnation) -> Start:
        """The offset from which a topic-partition is read on; messages are read if it is not known.

        Raises:
            Unavailable: the broker is away.
        """
        if tp in self._bounds and (known := known_start(self._bounds[tp], position, incarnation)):
            return known
        with self._open_scan(tp) as scan:
            return find_start(scan, position, incarnation)

    def _open_scan(self, tp: TopicPartition) -> AbstractContextManager[PartitionScan]:
        """A scan of one topic-partition, for the duration of a block."""
        return self._source.open_scan(tp)
