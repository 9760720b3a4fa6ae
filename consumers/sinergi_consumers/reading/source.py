"""Where topics are read: on the brokers, or in another place that keeps their messages.

Every audit reads through a `TopicSource`, so that it gives the same verdict wherever the messages
are. A source only returns messages. It verifies no seal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_schemas.kafka.admin import bounds, cluster_id, describe, open_admin, topic_id
from sinergi_schemas.kafka.scan import open_scan

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.scan import PartitionScan
    from sinergi_schemas.topics import TopicPartition


class TopicSource(Protocol):
    """Topics that can be read."""

    @property
    def login(self) -> str:
        """As whom they are read, for the custody of evidence."""

    def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions each of some topics has; those that do not exist are left out.

        Raises:
            NotPermitted: one of them may not be read.
            Unavailable: the source does not answer.
        """

    def offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, range]:
        """The offsets of each topic-partition, from its first message to its end.

        Raises:
            Unavailable: the source does not answer, or does not have the topic.
        """

    def incarnation(self, topic: str) -> TopicIncarnation:
        """Within what the offsets of a topic are valid.

        Raises:
            Unavailable: as `offsets`.
        """

    def open_scan(
        self, tp: TopicPartition, silent_seconds: float | None = None
    ) -> AbstractContextManager[PartitionScan]:
        """A scan of one topic-partition, for the duration of a block.

        Args:
            silent_seconds: how long a source that waits for its messages may send none; by default
                as it was set up.
        """


@dataclass(frozen=True, slots=True)
class KafkaSource:
    """The topics of a cluster."""

    connection: Connection

    @property
    def login(self) -> str:
        """The principal, as ACLs name it."""
        return self.connection.principal

    def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions each of some topics has; those that do not exist are left out."""
        found = describe(open_admin(self.connection), topics, "Read")
        return {name: len(topic.partitions) for name, topic in found.items()}

    def offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, range]:
        """The offsets of each topic-partition, from its first message to its end."""
        return bounds(open_admin(self.connection), tps)

    def incarnation(self, topic: str) -> TopicIncarnation:
        """The cluster and the topic by their ids."""
        admin = open_admin(self.connection)
        return TopicIncarnation(cluster_id(admin), topic_id(admin, topic))

    def open_scan(
        self, tp: TopicPartition, silent_seconds: float | None = None
    ) -> AbstractContextManager[PartitionScan]:
        """A scan of one topic-partition, without a consumer group."""
        return open_scan(self.connection, tp, silent_seconds)
