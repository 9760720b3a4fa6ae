"""What waits in quarantine for a schema or an agreement, tried again by the materialiser itself.

What quarantine keeps is tried when a partition is claimed. What it does not keep is read again from
the topic, a little at a time between other work, and each event at most once until something has
changed: a topic full of junk is not read over and over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.decode.agreement_check import NOT_AGREED
from sinergi_consumers.quarantine.retry import AGREED, NOT_READ, UPGRADED, leaf_of

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from sinergi_consumers.quarantine.retry import QuarantineRetry, RetryOutcome
    from sinergi_consumers.sinks.protocol import Decision, QuarantineKey
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)

_MOST = 200  # entries of one look
_READ_SECONDS = 3.0
_PAUSE_SECONDS = 2.0


class Awaiting:
    """Tries again what has become readable, or allowed, under the agreements of one retrial."""

    def __init__(self, retrial: QuarantineRetry, clock: Clock) -> None:
        self._retrial = retrial
        self._clock = clock
        self._due = clock.monotonic()
        self._agreed: set[TopicPartition] = set()
        self._left: dict[TopicPartition, list[tuple[Decision, list[QuarantineKey]]]] = {}
        self._missed: set[tuple[TopicPartition, int]] = set()

    def upgrade(self, tp: TopicPartition) -> None:
        """Try again what a partition's events waited for: a schema, or an agreement, known by now.

        What no agreement allows is looked at once, since the agreements stay the same; and where
        none allows it now nothing is written. Events without their bytes are left for `look`.

        Raises:
            Unavailable: the database is away.
            DatabaseBroken: a table or a privilege is missing.
        """
        sink = self._retrial.sink
        readable = self._retrial.decoders.of(tp.event_topic.event_type).readable
        due = [(UPGRADED, sink.awaiting(tp, readable))]
        if tp not in self._agreed:
            due.append((AGREED, sink.not_agreed(tp)))
            self._left[tp] = []
        left = [each for each in self._left.get(tp, ()) if each[0] is AGREED]
        for decision, entries in due:
            unkept = sink.unkept(tp, [each.leaf_index for each in entries])
            kept = [each for each in entries if each.leaf_index not in unkept]
            _tell([*self._retrial.retry(kept, decision)], decision)
            others = sorted({*entries} - {*kept}, key=leaf_of)
            left.append((decision, [each for each in others if leaf_of(each) not in self._missed]))
        self._left[tp] = left
        self._agreed.add(tp)

    def look(self, tps: Container[TopicPartition]) -> None:
        """Read some events of one of some topic-partitions again and try them, if it is time.

        It reads on for some seconds and takes a few MiB, so that a loop can call it between other
        work. An event that is not found is left to `sinergi quarantine retry`, which reads further.

        Raises:
            Unavailable, NotPermitted: database or topic; a later call goes on.
            DatabaseBroken: a table or a privilege is missing.
        """
        if self._clock.monotonic() < self._due:
            return
        waiting = (
            (decision, entries)
            for tp, left in self._left.items()
            for decision, entries in left
            if entries and tp in tps
        )
        for decision, entries in waiting:
            try:
                self._look(decision, entries)
            finally:
                self._due = self._clock.monotonic() + _PAUSE_SECONDS
            return

    def _look(self, decision: Decision, entries: list[QuarantineKey]) -> None:
        portion = next(self._retrial.portions(entries[:_MOST]))
        read = self._retrial.read(portion, _READ_SECONDS)
        outcomes = [*self._retrial.retry_portion(portion, read, decision)]
        del entries[: len(portion.entries)]  # a portion begins with the smallest leaves
        self._missed |= {leaf_of(each.entry) for each in outcomes if each.result == NOT_READ}
        _tell(outcomes, decision)


def _tell(outcomes: Sequence[RetryOutcome], decision: Decision) -> None:
    tried = [each for each in outcomes if decision is UPGRADED or each.result != NOT_AGREED]
    if tried:
        _log.info(
            "quarantine retried",
            topic=tried[0].entry.tp.topic,
            partition=tried[0].entry.tp.partition,
            events=len(tried),
            through=sum(each.is_through for each in tried),
        )
    missed = [each for each in outcomes if each.result == NOT_READ]
    if missed:
        _log.warning("quarantined events not read", events=len(missed), first=missed[0].detail)
