"""An audit: it replays a topic to its end and collects all findings.

A replay stops at the first error. An audit continues with the next partition, so that one changed
byte does not hide another.

    1. Read the signed statements about the topic from other topics, before the topic itself.
    2. Replay each partition. An error is a finding, and the batch is compared with the other copy.
       The other copy is read first, so that it has no leaves that were sealed after this one was
       read.
    3. Compare each partition with the statements, at the tree sizes that they state.
    4. Compare it with checkpoints of smaller trees that come after larger ones.
    5. Compare it with the other copy, leaf by leaf.

A finding disproves the topic. A remark does not: for example foreign messages, or a tree that only
a reader has signed. The verdict is that of the audited copy alone. So whatever is wrong with
the other copy is a finding about the other copy, except what its owner has signed: a longer tree or
another history.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from sinergi_consumers.audit import statement_reading
from sinergi_consumers.audit.comparison import (
    CopyComparison,
    OtherCopy,
    valid_leaves,
    why_no_copy,
)
from sinergi_consumers.audit.findings import AuditFinding, AuditVerdict
from sinergi_consumers.audit.remarks import partition_remarks
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.audit.statements import SignedStatements, contradiction
from sinergi_consumers.audit.table_replay import TableReplay
from sinergi_schemas import errors
from sinergi_schemas.plain_text import counted
from sinergi_schemas.seal.merkle import EMPTY_ROOT
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    import polars as pl

    from sinergi_consumers.audit.event_filter import ReplayFilter
    from sinergi_consumers.audit.replay import ReplayCounts
    from sinergi_consumers.audit.statements import SignedStatement, StatementObserver
    from sinergi_consumers.audit.table_replay import TableTarget
    from sinergi_consumers.bus import Bus
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.reading.source import TopicSource
    from sinergi_schemas.topics import Topic

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copies:
    """Which copies of a topic to read.

    Attributes:
        name: the copy to audit; None means the topic itself.
        against: another copy to compare it with, or None.
        archive: the archive that has the other copy under the name of the topic, while `against`
            names the archive; None if the other copy is where the topic is read.
    """

    name: str | None = None
    against: str | None = None
    archive: TopicSource | None = None


class Audit:
    """The audit of one topic or of a copy of it.

    Args:
        bus: the source and the agreements.
        topic: the topic.
        copies: which copies are read.
        target: if given, all events become rows there, and none is returned.
        observer: gets every statement that is read, before the topic is.

    Attributes:
        topic: the topic.
        copies: which copies are read.
        name: of the topic that is read.
        fills_tables: whether the events become rows.
        verdict: complete when `events` is exhausted.
    """

    def __init__(
        self,
        bus: Bus,
        topic: Topic,
        copies: Copies,
        target: TableTarget | None = None,
        observer: StatementObserver | None = None,
    ) -> None:
        self._bus = bus
        self._observer = observer
        self.topic = topic
        self.copies = copies
        self.name = copies.name or topic.name
        self.fills_tables = target is not None
        keeps_leaves = copies.against is not None
        self._replay = (
            Replay(bus, topic, copies.name, keeps_leaves=keeps_leaves)
            if target is None
            else TableReplay(bus, topic, copies.name, target, keeps_leaves=keeps_leaves)
        )
        self._read_to_end: list[ReplayCounts] = []
        self.verdict = AuditVerdict(SignedStatements())
        self._comparison: CopyComparison | None = None
        if copies.against is not None:
            other = OtherCopy(bus, topic, copies.against, copies.against)
            if copies.archive is not None:
                archive = replace(bus, source=copies.archive)
                other = OtherCopy(archive, topic, topic.name, copies.against)
            self._comparison = CopyComparison(bus, topic, self.name, other, self.verdict)

    @property
    def partition_counts(self) -> list[ReplayCounts]:
        """What was read of each partition so far."""
        return self._replay.partition_counts

    @property
    def shown(self) -> int:
        """The number of events that were returned, or stored in tables."""
        return sum(each.shown for each in self.partition_counts)

    @property
    def messages_read(self) -> int:
        """How many messages of it have been read."""
        return self._replay.messages_read

    def count_messages(self) -> int:
        """How many messages it has now.

        Raises:
            SinergiError: as `events`.
        """
        return self._replay.count_messages()

    def survey(self) -> Replay:
        """Another replay of the same messages, which adds nothing to the verdict."""
        return Replay(self._bus, self.topic, self.copies.name)

    @property
    def unknown(self) -> Sequence[str]:
        """What the replay does not know, whatever the topic holds; one per line."""
        return self._replay.unknown

    @property
    def is_proved(self) -> bool | None:
        """Whether the topic is what its owner sealed; None if the audit could not decide it."""
        if self.verdict.findings:
            return False
        return None if self.why_undecided else True

    @property
    def why_undecided(self) -> str:
        """Why the audit could not decide, or an empty text.

        Nobody has signed messages that no checkpoint covers. If a topic is empty and has no heads,
        somebody may have deleted all of its messages. Neither proves anything.
        """
        if self.verdict.not_read:
            return f"it could not be read: {self.verdict.not_read}"
        if self.verdict.not_a_copy:
            return f"it is {self.verdict.not_a_copy}"
        agency = self.topic.agency
        has_leaves = any(each.verified for each in self.partition_counts)
        if not has_leaves and not self.verdict.statements.has_heads:
            return f"no leaves and no heads are signed by a key of {agency} in these agreements"
        if count := sum(each.unmatched_beyond_limit for each in self.partition_counts):
            checkpoints = counted(count, "signed checkpoint")
            return f"{checkpoints} of smaller trees, after larger ones, could not be compared"
        if count := sum(each.unlike.count for each in self.partition_counts):
            if count == 1:
                return "1 event is not in the tables as it was then"
            return f"{count:,} events are not in the tables as they were then"
        if self.verdict.other_is_no_copy:
            return f"{self.copies.against} is {self.verdict.other_is_no_copy}"
        if has_leaves and self.verdict.compared == 0 and not self.verdict.other_findings:
            return f"{self.copies.against} contains none of its leaves, so nothing was compared"
        return ""

    @property
    def outside_interval(self) -> list[datetime]:
        """`recorded_at` of the requested record's events outside the requested interval, sorted."""
        return sorted(at for each in self.partition_counts for at in each.outside_interval)

    @property
    def of_record(self) -> int:
        """The number of the requested record's events within the requested interval."""
        return sum(each.of_record for each in self.partition_counts)

    @property
    def unmet(self) -> int:
        """How many of these do not meet the other conditions."""
        return sum(each.unmet for each in self.partition_counts)

    def root(self, partition: int, size: int) -> bytes | None:
        """The root of a partition's tree of a size that a statement has; None if it is smaller."""
        for counts in self.partition_counts:
            if counts.partition == partition:
                return counts.roots.get(size, EMPTY_ROOT if size == 0 else None)
        return None

    def notes(self) -> dict[str, str]:
        """The signed notes that were read, by a file name that contains signer and kind."""
        found = {
            f"{each.partition}.checkpoint": each.note for each in self.partition_counts if each.note
        }
        for each in self.verdict.statements.largest:
            owner = each.name.removeprefix(f"{self._bus.agreements.bus}/").replace("/", ".")
            place = "" if each.kind == "heads" else f"{each.partition}."
            found[f"{place}{each.kind}.{owner}"] = each.note
        return found

    def check_event_type(self) -> None:
        """Refuse an event type that is not installed.

        Raises:
            EventTypeUnknown: it is not.
        """
        self._bus.catalog.newest(self.topic.event_type)

    def empty_frame(self) -> pl.DataFrame:
        """A frame with the columns of `events` and no rows."""
        return self._replay.empty_frame()

    def events(self, wanted: ReplayFilter) -> Iterator[pl.DataFrame]:
        """Frames of the verified events that pass the filter. At the end `verdict` is complete.

        Raises:
            NotAgreed: no agreement covers the topic.
            PartitionsDiffer: the topic has fewer partitions than the agreement says.
            ReplayRefused: a copy does not exist, or has fewer partitions.
            TopicChanged: the topic was created again meanwhile.
            Unavailable: the broker does not answer.
        """

        def read(number: int, sizes: AbstractSet[int]) -> Iterator[pl.DataFrame]:
            return self._replay.partition(number, wanted, sizes)

        return self._audited(read)

    def batches(
        self, sizes: Mapping[int, AbstractSet[int]], only: Collection[int] | None = None
    ) -> Iterator[VerifiedBatch]:
        """The verified batches, whose events are not decoded. At the end `verdict` is complete.

        Args:
            sizes: further tree sizes of each partition, for `root`.
            only: these partitions; None for all of them. The verdict is about them alone.

        Raises:
            SinergiError: as `events`.
        """

        def read(number: int, stated: AbstractSet[int]) -> Iterator[VerifiedBatch]:
            counts = self._replay.new_counts(number)
            return self._replay.batches(counts, stated | sizes.get(number, frozenset()))

        return self._audited(read, only)

    def _audited(
        self,
        read: Callable[[int, AbstractSet[int]], Iterator[T]],
        only: Collection[int] | None = None,
    ) -> Iterator[T]:
        """What `read` returns of each partition, for its number and the sizes to keep roots of."""
        numbers = [each for each in self._replay.partitions() if only is None or each in only]
        if self._comparison is not None:
            self._comparison.check()
        stated = statement_reading.gather(self._bus, self.topic, self._observer)  # 1
        self.verdict.statements = stated
        stated.largest += [each for each in self._replay.witnesses if each not in stated.largest]
        if self._comparison is not None:
            self._comparison.read(numbers)
        for number in numbers:
            try:
                observed = set() if self._observer is None else self._observer.sizes(number)
                yield from read(number, stated.sizes(number) | observed)  # 2
                self._read_to_end.append(self.partition_counts[-1])
            except errors.SealBroken as why:
                self._add_broken(self.partition_counts[-1], why)
        if self.name != self.topic.name:
            bus = self._bus.agreements.bus
            self.verdict.not_a_copy = why_no_copy(self.topic, bus, self.partition_counts)
        if not self.verdict.not_a_copy:
            self._compare_statements()  # 3
            self._compare_smaller_checkpoints()  # 4
            if self._comparison is not None:
                read_to_end = {each.partition for each in self._read_to_end}
                self._comparison.compare(self.partition_counts, read_to_end)  # 5

    def compare(self, partition: int, statements: Sequence[SignedStatement]) -> None:
        """Compare further verified statements with a partition that was read to its end.

        The partition is read again if the root of a stated size was not kept. What contradicts the
        partition is added to the findings.

        Raises:
            TopicChanged: the partition is not whole any more.
            Unavailable: the broker does not answer.
        """
        counts = next((each for each in self._read_to_end if each.partition == partition), None)
        if counts is None:
            return  # a finding says already where it is broken
        roots: Mapping[int, bytes] = counts.roots
        within = {each.size for each in statements if each.size <= counts.verified}
        if within - roots.keys():
            roots = self._roots_again(partition, within)
        for each in statements:
            origin = self._origin(partition)
            if error := contradiction(each, origin, counts.verified, roots):
                what = f"{each} {each.states} {_leaves(each.size)} and the root {each.root.hex()}"
                self.verdict.findings.append(AuditFinding(str(error), partition, (what,)))

    @property
    def remarks(self) -> list[str]:
        """Facts that do not disprove the topic, one per line."""
        found = [self._replay.added] if self._replay.added else []
        for counts in self.partition_counts:
            found += partition_remarks(f"{self.name}/{counts.partition}", counts)
        statements = self.verdict.statements
        if any(each.verified for each in self.partition_counts):
            found += [f"no receipt of {each} was found" for each in statements.without_receipt]
        return [*found, *self.verdict.missing_in_copy, *statements.remarks]

    def _origin(self, number: int) -> str:
        return TopicPartition(self.topic.name, number).origin(self._bus.agreements.bus)

    def _add_broken(self, counts: ReplayCounts, why: errors.SealBroken) -> None:
        valid = f"partition {counts.partition}: {valid_leaves(counts)}; no later leaf is shown"
        remarks, difference = [valid], None
        if self._comparison is not None:
            difference, remark = self._comparison.difference(counts, why)
            remarks.append(remark)
            why = errors.ComparedMismatch.of(why, self._comparison.against)
        self.verdict.findings.append(
            AuditFinding(str(why), counts.partition, tuple(remarks), difference, _is_fork(why))
        )

    def _compare_statements(self) -> None:
        """Add one finding per partition: its largest contradiction, and the other statements."""
        read_to_end = {each.partition for each in self._read_to_end}
        for counts in self.partition_counts:
            origin = self._origin(counts.partition)
            self.verdict.statements.drop_supported_claims(
                counts.partition, counts.roots, counts.stated_roots, counts.unmatched
            )
            if found := self.verdict.statements.contradictions(
                counts, origin, is_read_to_end=counts.partition in read_to_end
            ):
                self._replay.check_same()
                (first, error), *more = found
                what = f"{_leaves(first.size)} and the root {first.root.hex()}"
                statement = f"{first} {first.states} {what}"
                remarks = (statement, *(f"by {each} it has {each.size}" for each, _ in more))
                self.verdict.findings.append(
                    AuditFinding(str(error), counts.partition, remarks, is_fork=_is_fork(error))
                )

    def _compare_smaller_checkpoints(self) -> None:
        """Compare checkpoints of smaller trees that come after those of larger ones."""
        for counts in [each for each in self._read_to_end if each.unmatched]:
            roots = self._roots_again(counts.partition, counts.unmatched.keys())
            for size, root in sorted(counts.unmatched.items()):
                if roots.get(size, root) != root:
                    fork = errors.SealFork(self._origin(counts.partition), size)
                    self.verdict.findings.append(
                        AuditFinding(str(fork), counts.partition, is_fork=True)
                    )
                    break

    def _roots_again(self, number: int, sizes: AbstractSet[int]) -> Mapping[int, bytes]:
        """The roots of trees, by size, in a partition that was whole when it was read before.

        Raises:
            TopicChanged: it is not whole any more.
        """
        try:
            return self.survey().verify(number, sizes).roots
        except errors.SealBroken:
            raise errors.TopicChanged(self.name, f"partition {number} was whole before") from None


def _is_fork(why: errors.SealBroken) -> bool:
    return isinstance(why, errors.SealFork)


def _leaves(count: int) -> str:
    return counted(count, "leaf", "leaves")
