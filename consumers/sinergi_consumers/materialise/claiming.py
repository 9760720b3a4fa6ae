"""How a worker claims topic-partitions: who has the newest epoch of one may write its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.materialise.claim import Claim
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi_consumers.materialise.assignment import Assignment
    from sinergi_consumers.materialise.loaded_agreements import LoadedAgreements
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)

ClaimError = errors.TopicHalted | errors.Unavailable


def claimed(
    tps: Sequence[TopicPartition], assignment: Assignment, sink: Sink, loaded: LoadedAgreements
) -> Iterator[tuple[TopicPartition, Claim | ClaimError]]:
    """Claim topic-partitions at which the look-ups of the assignment have just looked.

    The database is asked once for all of them. Each is then read on by itself, which may take long,
    so a caller may stop after any of them: the others keep their positions until they are claimed
    again.

    Yields:
        Each with its claim; or why it cannot be read: the topic is not what its agreement says, or
        the brokers or the database do not answer.
    """
    incarnations: dict[TopicPartition, TopicIncarnation] = {}
    for tp in tps:
        try:
            incarnations[tp] = assignment.look_ups.incarnation(tp, loaded.file_of(tp))
        except (errors.TopicHalted, errors.Unavailable) as why:
            yield tp, why
    try:
        positions = _positions([*incarnations], sink)
        # Only now, when no other worker can add to quarantine any more.
        waiting = loaded.automatic_retry.waiting(positions.keys()) if positions else set()
    except errors.Unavailable as why:
        yield from ((tp, why) for tp in incarnations)
        return
    for tp, found in positions.items():
        if isinstance(found, errors.TopicHalted):
            yield tp, found
            continue
        try:
            # After an upgrade of Sinergi, events that waited for a schema are tried again.
            if tp in waiting:
                loaded.automatic_retry.retry_stored(tp)
            least = min(found.values(), key=lambda each: each.frontier.size)
            partition = loaded.partition(tp, least.frontier)
            start = assignment.start(tp, least, incarnations[tp])
        except (errors.TopicHalted, errors.Unavailable) as why:
            yield tp, why
        else:
            _log.info("topic-partition claimed", **tp._asdict(), leaf=least.frontier.size)
            yield tp, Claim(tp, partition, found, incarnations[tp], start)


def _positions(
    tps: Sequence[TopicPartition], sink: Sink
) -> Mapping[TopicPartition, Mapping[str, Position] | errors.TopicHalted]:
    """The positions of topic-partitions, claimed together; of one that is malformed, the error."""
    if not tps:
        return {}
    try:
        return sink.claim(tps)
    except errors.TopicHalted as why:
        if len(tps) == 1:
            return {tps[0]: why}
        middle = len(tps) // 2
        return {**_positions(tps[:middle], sink), **_positions(tps[middle:], sink)}
