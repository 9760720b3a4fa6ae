"""Which of the topic-partitions that a consumer group assigns are ours to read.

With the classic protocol the members divide the work themselves: one of them, the leader, assigns
any topic-partition to anybody. Whoever may read with the group can be the leader. So an assignment
may have topics that we did not subscribe to, partitions that no topic has, and names that are not
UTF-8. These are ignored, and logged once; the others are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_schemas.kafka.conversion import from_client
from sinergi_schemas.topics import is_kafka_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import confluent_kafka

    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)

_MOST_NAMES = 5
_MOST_LINES = 20  # a leader can make up any number of names, and fill the log with them


class OwnPartitions:
    """Finds the topic-partitions that we read in what the group assigns.

    Args:
        counts: how many partitions each topic that is read has by its agreement, by its name.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts
        self._logged: set[tuple[str, ...]] = set()

    def of(self, partitions: Iterable[confluent_kafka.TopicPartition]) -> set[TopicPartition]:
        """Those that we read. No owner writes leaves to the others; they are not fetched."""
        found: set[TopicPartition] = set()
        ignored: list[str] = []
        for each in partitions:
            tp = _named(each)
            if tp is None:
                ignored.append("a name that no topic can have")
            elif 0 <= tp.partition < self._counts.get(tp.topic, 0):
                found.add(tp)
            elif tp.topic not in self._counts or tp.partition < 0:
                ignored.append(str(tp))
            # Anybody may add partitions to a topic. `PartitionCheck` reports them.
        self._report(ignored)
        return found

    def _report(self, ignored: list[str]) -> None:
        first = tuple(ignored[:_MOST_NAMES])
        if first and first not in self._logged and len(self._logged) < _MOST_LINES:
            self._logged.add(first)
            _log.warning(
                "assigned topic-partitions ignored: they are not ours to read",
                first=list(first),
                count=len(ignored),
                mend="`sinergi status` names foreign members of the consumer group",
            )


def _named(found: confluent_kafka.TopicPartition) -> TopicPartition | None:
    """The topic-partition, or None if no topic can have its name."""
    try:
        tp = from_client(found)
    except UnicodeDecodeError:
        return None
    return tp if is_kafka_name(tp.topic) else None
