"""Topic-partitions that deliver nothing although the broker has more messages of them.

librdkafka (2.16) sometimes never fetches a partition again, or reaches no broker any more, if a
broker goes away while the partition is resumed. The client reports no error, and only another
client reads on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_schemas.topics import TopicPartition


class StallDetector:
    """Counts how often a topic-partition below its end offset was observed at the same offset."""

    def __init__(self) -> None:
        self._behind: dict[TopicPartition, tuple[int, int]] = {}

    def observe(
        self, offsets: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> set[TopicPartition]:
        """The topic-partitions for which the client is to be replaced.

        A topic-partition is one of them when it is observed at the same offset for the second time,
        and then for the third, the fifth and the ninth. Where a new client does not move it either,
        its last offsets may hold no message at all, for example where others write transactions; so
        it is less and less often a reason for a new client.

        Args:
            offsets: the next offset of each topic-partition that is being read.
            ends: the end offset of each on the broker, where it is known.
        """
        for tp, offset in offsets.items():
            before, repeats = self._behind.get(tp, (None, 0))
            if offset >= ends.get(tp, 0):
                self._behind.pop(tp, None)
            else:
                self._behind[tp] = (offset, repeats + 1 if offset == before else 0)
        behind = offsets.keys() & self._behind.keys()
        return {tp for tp in behind if self._behind[tp][1].bit_count() == 1}
