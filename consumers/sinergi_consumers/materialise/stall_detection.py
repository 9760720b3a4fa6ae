"""Topic-partitions that stand still though more of them lies on the broker, at look after look.

librdkafka (2.16) now and then fetches nothing more of a partition, or reaches no broker at all,
where a broker went away at the moment at which the partition was let flow: two of 660 did so when
Kafka was stopped then. Nothing is said of it, and nothing but another client ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_schemas.topics import TopicPartition


class StallDetector:
    """Counts, for each topic-partition that is behind, the looks that found it at one offset."""

    def __init__(self) -> None:
        self._behind: dict[TopicPartition, tuple[int, int]] = {}

    def observe(
        self, places: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> set[TopicPartition]:
        """The topic-partitions that call for a new client.

        That is so at the second look that finds a topic-partition at the same offset, then at the
        third, the fifth and the ninth: a topic-partition that a new client does not move either is
        not worth one at every look. Its last offsets may hold no message at all, for example where
        others write transactions.

        Args:
            places: the next offset of each topic-partition that flows.
            ends: the offset behind the last one on the broker, where it is known.
        """
        for tp, place in places.items():
            before, looks = self._behind.get(tp, (None, 0))
            if place >= ends.get(tp, 0):
                self._behind.pop(tp, None)
            else:
                self._behind[tp] = (place, looks + 1 if place == before else 0)
        return {
            tp for tp in places.keys() & self._behind.keys() if self._behind[tp][1].bit_count() == 1
        }
