"""The claim of a topic-partition: who has its newest epoch may write its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_consumers.materialise.assignment import Assignment
    from sinergi_consumers.materialise.loaded_agreements import LoadedAgreements
    from sinergi_consumers.reading.partition import Partition, VerifiedBatch
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_consumers.reading.start import Start
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)


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


def claimed(
    tp: TopicPartition, assignment: Assignment, sink: Sink, loaded: LoadedAgreements
) -> Claim:
    """Claim a topic-partition at which the look-ups of the assignment have just looked.

    Raises:
        TopicHalted: the topic is not what its agreement says.
        Unavailable: the brokers or the database do not answer.
    """
    incarnation = assignment.look_ups.incarnation(tp, loaded.file_of(tp))
    positions = sink.claim(tp)
    # After an upgrade of Sinergi, events that waited for a schema are tried again with a claim.
    loaded.automatic_retry.retry_stored(tp)
    least = min(positions.values(), key=lambda each: each.frontier.size)
    partition = loaded.partition(tp, least.frontier)
    start = assignment.start(tp, least, incarnation)
    _log.info("topic-partition claimed", **tp._asdict(), leaf=least.frontier.size)
    return Claim(tp, partition, positions, incarnation, start)
