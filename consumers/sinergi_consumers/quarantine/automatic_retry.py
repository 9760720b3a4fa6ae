"""Automatic retry of events in quarantine that wait for a schema or an agreement.

The materialiser retries events whose bytes are in quarantine when it claims a partition. It reads
other events again from the topic, in small portions between its other work. It reads each of them
at most once until a schema or an agreement changes, so it does not read a topic full of foreign
messages repeatedly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.decode.agreement_check import NOT_AGREED
from sinergi_consumers.decode.published_schemas import AGAIN_SECONDS
from sinergi_consumers.quarantine.retry import AGREED, NOT_READ, UPGRADED, leaf_of

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Sequence
    from collections.abc import Set as AbstractSet

    from sinergi_consumers.quarantine.retry import QuarantineRetry, RetryOutcome
    from sinergi_consumers.sinks.protocol import Decision, QuarantineKey
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)

_MOST = 200  # entries that one call of `retry_some` reads again
_READ_SECONDS = 3.0
_PAUSE_SECONDS = 2.0


class AutomaticRetry:
    """The automatic retry, with the schemas and agreements of one `QuarantineRetry`."""

    def __init__(self, quarantine_retry: QuarantineRetry, clock: Clock) -> None:
        self._quarantine_retry = quarantine_retry
        self._clock = clock
        self._next_read = clock.monotonic()
        self._next_look = clock.monotonic() + AGAIN_SECONDS
        self._agreed: set[TopicPartition] = set()
        self._left: dict[TopicPartition, list[tuple[Decision, list[QuarantineKey]]]] = {}
        self._missed: set[tuple[TopicPartition, int]] = set()

    def waiting(self, tps: Collection[TopicPartition]) -> set[TopicPartition]:
        """Those of some partitions that have events in quarantine for `retry_stored`.

        Raises:
            Unavailable: the database does not answer.
        """
        found = self._quarantine_retry.sink.with_waiting(tps)
        for tp in {*tps} - found:
            self._left[tp] = []
        self._agreed |= {*tps} - found
        return found

    def retry_stored(self, tp: TopicPartition) -> None:
        """Retry a partition's events whose schema or agreement is available now.

        Events that no agreement allows are checked once per partition, since the agreements of this
        object never change; if still no agreement allows them, nothing is written. Events whose
        bytes are not in quarantine are left for `retry_some`.

        Raises:
            Unavailable: the database does not answer.
            DatabaseBroken: the database refuses a statement.
        """
        awaited = self._quarantine_retry.sink.awaited_schemas([tp])
        self._retry_stored(tp, self._readable(tp, awaited.get(tp, frozenset())))

    def _readable(self, tp: TopicPartition, awaited: AbstractSet[bytes]) -> list[bytes]:
        """The schemas that a partition's events can be read with, after a look for some others."""
        decoder = self._quarantine_retry.decoders.of(tp.event_topic.event_type)
        decoder.find_schemas_of(tp.event_topic.agency, awaited)
        return decoder.readable

    def _retry_stored(self, tp: TopicPartition, readable: Sequence[bytes]) -> None:
        sink = self._quarantine_retry.sink
        due = [(UPGRADED, sink.awaiting_schema(tp, readable))]
        if tp not in self._agreed:
            due.append((AGREED, sink.not_agreed(tp)))
            self._left[tp] = []
        left = [each for each in self._left.get(tp, ()) if each[0] is AGREED]
        for decision, entries in due:
            without_bytes = sink.without_bytes(tp, [each.leaf_index for each in entries])
            stored = [each for each in entries if each.leaf_index not in without_bytes]
            _report([*self._quarantine_retry.retry(stored, decision)], decision)
            others = sorted({*entries} - {*stored}, key=leaf_of)
            left.append((decision, [each for each in others if leaf_of(each) not in self._missed]))
        self._left[tp] = left
        self._agreed.add(tp)

    def retry_some(self, tps: Collection[TopicPartition]) -> None:
        """Retry some events whose schema or agreement is available now.

        Args:
            tps: the topic-partitions that this worker has claimed.

        Raises:
            Unavailable: the database or a topic does not answer; a later call continues.
            DatabaseBroken: the database refuses a statement.
        """
        self._retry_published(tps)
        self._retry_unstored(tps)

    def _retry_published(self, tps: Collection[TopicPartition]) -> None:
        """Once a minute, retry events whose schema the control topic of their owner has now.

        A relay may have sent an event before its schema was written.
        """
        now = self._clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + AGAIN_SECONDS
        for tp, fingerprints in self._quarantine_retry.sink.awaited_schemas(tps).items():
            readable = self._readable(tp, fingerprints)
            if not fingerprints.isdisjoint(readable):
                self._retry_stored(tp, readable)

    def _retry_unstored(self, tps: Container[TopicPartition]) -> None:
        """Read some events of one topic-partition again and retry them, if the pause is over.

        It reads for some seconds and uses a few MiB, so a loop can call it between other work. If
        it does not find an event, only `sinergi quarantine retry` reads further for it.
        """
        if self._clock.monotonic() < self._next_read:
            return
        waiting = (
            (decision, entries)
            for tp, left in self._left.items()
            for decision, entries in left
            if entries and tp in tps
        )
        for decision, entries in waiting:
            try:
                self._read_and_retry(decision, entries)
            finally:
                self._next_read = self._clock.monotonic() + _PAUSE_SECONDS
            return

    def _read_and_retry(self, decision: Decision, entries: list[QuarantineKey]) -> None:
        portion = next(self._quarantine_retry.portions(entries[:_MOST]))
        read = self._quarantine_retry.read(portion, _READ_SECONDS)
        outcomes = [*self._quarantine_retry.retry_portion(portion, read, decision)]
        del entries[: len(portion.entries)]  # a portion begins with the lowest leaf indexes
        self._missed |= {leaf_of(each.entry) for each in outcomes if each.result == NOT_READ}
        _report(outcomes, decision)


def _report(outcomes: Sequence[RetryOutcome], decision: Decision) -> None:
    tried = [each for each in outcomes if decision is UPGRADED or each.result != NOT_AGREED]
    if tried:
        _log.info(
            "quarantine retried",
            topic=tried[0].entry.tp.topic,
            partition=tried[0].entry.tp.partition,
            events=len(tried),
            merged=sum(each.is_merged for each in tried),
        )
    missed = [each for each in outcomes if each.result == NOT_READ]
    if missed:
        _log.warning("quarantined events not read", events=len(missed), first=missed[0].detail)
