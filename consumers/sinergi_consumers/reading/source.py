"""Where topics are read: on the brokers, or in another place that keeps their messages.

Every audit reads through a `TopicSource`, so that it gives the same verdict wherever the messages
are. A source only returns messages. It verifies no seal.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_schemas.kafka.admin import bounds, cluster_id, describe, open_admin, topic_id
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.kafka.read_ahead import ReadAhead
from sinergi_schemas.kafka.scan import PartitionScan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.admin import Admin
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


class KafkaSource:
    """The topics of a cluster.

    It keeps its clients, so that only the first question waits for a connection and a login. A scan
    has a reader to itself, and gives it back at the end. The readers are closed when nobody uses
    the source any more, and at the latest when the process ends.

    Args:
        connection: to the cluster.
        processes: how many processes read ahead where a scan is long; see `ReadAhead`.
    """

    def __init__(self, connection: Connection, processes: int = 0) -> None:
        self.connection = connection
        self._idle: list[RangeReader] = []
        self._ahead = ReadAhead(connection, processes)
        weakref.finalize(self, _close, self._idle)
        weakref.finalize(self, self._ahead.close)

    @property
    def login(self) -> str:
        """The principal, as ACLs name it."""
        return self.connection.principal

    def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions each of some topics has; those that do not exist are left out."""
        found = describe(self._admin, topics, "Read")
        return {name: len(topic.partitions) for name, topic in found.items()}

    def offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, range]:
        """The offsets of each topic-partition, from its first message to its end."""
        return bounds(self._admin, tps)

    def incarnation(self, topic: str) -> TopicIncarnation:
        """The cluster and the topic by their ids."""
        return TopicIncarnation(cluster_id(self._admin), topic_id(self._admin, topic))

    @contextmanager
    def open_scan(
        self, tp: TopicPartition, silent_seconds: float | None = None
    ) -> Iterator[PartitionScan]:
        """A scan of one topic-partition, without a consumer group.

        Raises:
            KafkaSettingsRefused: librdkafka does not take the connection's options.
        """
        reader = self._idle.pop() if self._idle else RangeReader(self.connection)
        try:
            reader.set_silence(silent_seconds)
            yield PartitionScan(reader, tp, self._ahead if silent_seconds is None else None)
            reader.release()
        except BaseException:  # also where the scan is given up in its middle
            reader.close()
            raise
        self._idle.append(reader)

    @cached_property
    def _admin(self) -> Admin:
        return open_admin(self.connection)


def _close(readers: list[RangeReader]) -> None:
    while readers:
        readers.pop().close()
