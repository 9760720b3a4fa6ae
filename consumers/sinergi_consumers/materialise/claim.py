"""The claim of a topic-partition, under which its batches are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_consumers.reading.partition import Partition, VerifiedBatch
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_consumers.reading.start import Start
    from sinergi_schemas.topics import TopicPartition


@dataclass(slots=True)
class Claim:
    """A topic-partition that this worker may write: its reader, and the position of each
    projection.

    Attributes:
        incarnation: which incarnation of the topic is read, on which cluster.
        start: the offset from which it is read.
        is_faultless: it was read on, or to its end, without a fault.
        was_refused: a projection or its tables have refused events of the last batch.
    """

    tp: TopicPartition
    partition: Partition
    positions: Mapping[str, Position]
    incarnation: TopicIncarnation
    start: Start
    is_faultless: bool = False
    was_refused: bool = False

    def next_batch(self) -> VerifiedBatch | None:
        """The messages of the topic-partition that are verified by now.

        Raises:
            OffsetGone: its next leaf was deleted, and it did not come again at a later offset.
            SealBroken: the messages are not what the topic's owner sealed.
        """
        partition, is_deleted = self.partition, self.start.is_deleted and not self.is_faultless
        try:
            batch = partition.next_batch()
        except errors.SealGap:
            if not is_deleted:
                raise
            raise self._gone from None
        if is_deleted and partition.is_ended and not batch:
            raise self._gone
        return batch

    @property
    def _gone(self) -> errors.OffsetGone:
        return errors.OffsetGone(*self.tp, self.partition.size)
