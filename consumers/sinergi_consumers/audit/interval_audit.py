"""An audit of topics between two times: whether what was sealed then is there, whole.

    1. Read the receipts of the databases that are open to us: the newest one, and the last one from
       before the interval.
    2. Audit each topic; its heads and receipts are read before it. Count its events.
    3. Compare each partition with the statements that enclose the interval.
    4. Look in the databases for receipts that were signed in the gaps between heads.

`sealed_interval` has the rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sinergi_consumers.audit import dated_receipts, verified_parts
from sinergi_consumers.audit.interval_events import IntervalEvents
from sinergi_consumers.audit.records.possession import databases_of
from sinergi_consumers.audit.sealed_interval import TimeInterval, missing_second
from sinergi_consumers.audit.verified_parts import PartVerdict, VerifiedPart
from sinergi_schemas import errors
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.audit.dated_receipts import DatedReceiptTable
    from sinergi_consumers.audit.sealed_interval import HeadsGap, IntervalStatements
    from sinergi_consumers.audit.series import AuditSeries
    from sinergi_consumers.audit.statements import SignedStatement
    from sinergi_consumers.bus import Bus

_MOST = 2**62  # leaves
_ALWAYS = TimeInterval(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(slots=True)
class AuditedTopic:
    """One topic that is audited between two times.

    Attributes:
        audit: of the topic.
        bus: how it is read.
        statements: those that enclose the interval.
        tables: of receipts for the topic.
        events: by partition.
        gap_count: the number of gaps between heads.
        bridges: the receipts in the longest of them.
        remarks: what was noticed about receipts in the tables, one per line.
        unread: why receipts could not be read, one per line.
    """

    audit: Audit
    bus: Bus
    statements: IntervalStatements
    tables: Sequence[DatedReceiptTable] = ()
    events: dict[int, IntervalEvents] = field(default_factory=dict)
    gap_count: int = 0
    bridges: dict[HeadsGap, list[SignedStatement]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def read_tables(self) -> None:
        """Take the receipts of the tables that tell how large the trees were."""
        if not self.tables:
            return
        topic = self.audit.topic
        numbers = range(self.bus.agreements.partitions(topic))
        limits = {TopicPartition(topic.name, each): _MOST for each in numbers}
        for signed in (_ALWAYS._replace(until=self.statements.interval.since), _ALWAYS):
            for each in self._stored(limits, signed):
                self.statements.add(each)

    def compare(self) -> None:
        """Compare the topic with the statements that the audit itself did not compare."""
        compared = self.audit.verdict.statements.largest
        for counts in self.audit.partition_counts:
            others = {
                (each.name, each.size): each
                for each in self.statements.of(counts.partition)
                if each not in compared
            }
            self.audit.compare(counts.partition, [*others.values()])

    def bridge(self, limit: int) -> None:
        """Find the receipts that were signed in the gaps between heads.

        Args:
            limit: of the gaps that are kept, the longest first.
        """
        gaps, interval = self.statements.gaps(), self.statements.interval
        self.gap_count = len(gaps)
        kept = {*sorted(gaps, key=lambda each: each.length(interval), reverse=True)[:limit]}
        # The topic was read before: a reader may have more of it by now.
        limits = {
            TopicPartition(self.audit.topic.name, each.partition): each.verified
            for each in self.audit.partition_counts
        }
        for gap in (each for each in gaps if each in kept):
            found = {(each.name, each.partition): each for each in self.statements.bridges(gap)}
            for each in self._stored(limits, gap.within(interval)):
                self.audit.compare(each.partition, [each])
                found[each.name, each.partition] = each
            self.bridges[gap] = [*found.values()]

    def parts(self) -> Iterator[VerifiedPart]:
        """What is proved of each partition, and what of the receipts could not be checked."""
        if self.audit.verdict.not_read:
            why = self.audit.why_undecided
            yield VerifiedPart("topic", self.audit.topic.name, PartVerdict.UNCHECKED, why)
            return
        for counts in self.audit.partition_counts:
            yield self._of_partition(counts.partition)
        for why in dict.fromkeys(self.unread):
            yield VerifiedPart("receipts", self.audit.topic.name, PartVerdict.UNCHECKED, why)

    def _of_partition(self, number: int) -> VerifiedPart:
        subject = f"{self.audit.topic.name}/{number}"
        findings = [each for each in self.audit.verdict.findings if each.partition == number]
        if findings:
            return VerifiedPart("partition", subject, PartVerdict.DISPROVED, findings[0].why)
        why = "" if self.audit.verdict.findings else self.audit.why_undecided
        if not why and self.statements.second(number) is None:
            why = missing_second(self.statements, number, self.audit.topic.agency)
        proof = PartVerdict.UNCHECKED if why else PartVerdict.PROVED
        return VerifiedPart("partition", subject, proof, why)

    def _stored(
        self, limits: Mapping[TopicPartition, int], signed: TimeInterval
    ) -> list[SignedStatement]:
        """The verified receipts of the tables; what cannot be read or verified is noted."""
        agreements, found = self.bus.agreements, []
        topic = self.audit.topic
        readers = databases_of(agreements, topic)
        for table in self.tables:
            try:
                rows = table.largest_signed(limits, readers, signed)
            except errors.SinergiError as why:
                self.unread.append(f"the {table.source} could not be read: {why}")
                continue
            for stored in rows:
                try:
                    found.append(dated_receipts.verified(agreements, topic, stored))
                except errors.SealBroken as why:
                    what = f"the {table.source} has no valid receipt of {stored.reader}"
                    self.remarks.append(f"{what} for {stored.tp}: {why}")
        return found


class IntervalAudit:
    """The audit of several topics between two times.

    Args:
        topics: those that are audited.
        series: the audits of the same topics.
        limit: of the late events that are kept of each partition, and of the gaps of each topic.

    Attributes:
        topics, series, limit: as they were given.
    """

    def __init__(self, topics: Sequence[AuditedTopic], series: AuditSeries, limit: int) -> None:
        self.topics = topics
        self.series = series
        self.limit = limit

    def run(self, progressed: Callable[[], None]) -> None:
        """Audit all topics.

        Args:
            progressed: called after each batch of messages.

        Raises:
            SinergiError: the only topic cannot be read; see `Audit.events`.
        """
        by_topic: Mapping[Audit, AuditedTopic] = {each.audit: each for each in self.topics}
        decoders = self.topics[0].bus.decoders(None)
        for each in self.topics:
            each.read_tables()  # 1
        for audit, batch in self.series.batches({}):  # 2
            topic = by_topic[audit]
            if batch.partition not in topic.events:
                statements = topic.statements
                leaves = statements.leaves(batch.partition)
                events = IntervalEvents(statements.interval, leaves, self.limit)
                topic.events[batch.partition] = events
            for part in decoders.of(audit.topic.event_type).found_parts(batch):
                topic.events[batch.partition].add(part)
            progressed()
        for each in self.topics:
            if not each.audit.verdict.not_read:
                each.compare()  # 3
                each.bridge(self.limit)  # 4

    @property
    def parts(self) -> list[VerifiedPart]:
        """What is proved, what is disproved, and what could not be checked."""
        return [part for each in self.topics for part in each.parts()]

    @property
    def proof(self) -> PartVerdict:
        """The verdict on all topics."""
        return verified_parts.overall(self.parts)
