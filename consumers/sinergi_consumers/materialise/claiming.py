"""The claim of a topic-partition: who has its newest epoch may write its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.materialise.store import Claim

if TYPE_CHECKING:
    from sinergi_consumers.materialise.assignment import Assignment
    from sinergi_consumers.materialise.loaded_agreements import LoadedAgreements
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)


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
