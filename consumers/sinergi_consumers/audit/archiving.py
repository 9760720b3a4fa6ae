"""Archives topics: each message that an audit reads of them is written to a file.

    1. The control topics of the owners and the receipts topics of the readers, which state how many
       leaves the topics have.
    2. The topics themselves. So each has at least the leaves that the statements state, unless some
       are missing, as in an audit of the brokers.

Each topic is verified while it is written, and compared with the statements. One that is not what
its owner sealed is archived as it is: it may be evidence.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sinergi_consumers.archives.manifest import MOST_TEXT, ArchivedTree
from sinergi_consumers.audit import statement_reading
from sinergi_consumers.audit.evidence_collection import agreement_evidence
from sinergi_consumers.audit.replay import Replay
from sinergi_schemas import errors, topics
from sinergi_schemas.kafka.ranges import CHUNK
from sinergi_schemas.kafka.scan import PartitionScan
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sinergi_consumers.archives.manifest import Manifest
    from sinergi_consumers.archives.writer import ArchiveCustody, ArchiveWriter, PartitionWriter
    from sinergi_consumers.audit.statements import SignedStatements
    from sinergi_consumers.bus import Bus
    from sinergi_consumers.reading.position import TopicIncarnation
    from sinergi_consumers.reading.source import TopicSource
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.kafka.ranges import MessagePart
    from sinergi_schemas.kafka.scan import OffsetReader
    from sinergi_schemas.kafka.unreadable import Unreadable
    from sinergi_schemas.topics import Topic

_CHUNK = 1_000


class Archiving:
    """Writes an archive of some topics.

    Args:
        buses: how each topic is read, with the topics of its heads and receipts.
        writer: writes the file.
        progressed: called from time to time with how many messages are read, and of how many.

    Attributes:
        replays: those that have verified a topic-partition, or still do so.
    """

    def __init__(
        self,
        buses: Mapping[Topic, Bus],
        writer: ArchiveWriter,
        progressed: Callable[[int, int], None],
    ) -> None:
        self._buses = buses
        self._writer = writer
        self._progressed = progressed
        self.replays: list[Replay] = []
        self._read = self._total = 0
        self._counts: dict[str, int] = {}

    def run(self, custody: ArchiveCustody) -> Manifest:
        """Write all of it.

        Raises:
            ReplayedTopicMissing, PartitionsDiffer: a topic is not there, or not complete.
            NotPermitted: it, or a topic of heads or receipts, may not be read.
            OutputRefused: the file cannot be written.
            TopicChanged: a topic was created again meanwhile.
            Unavailable: the brokers do not answer.
        """
        agreements = next(iter(self._buses.values())).agreements
        statements = self._statement_topics()
        replays = {topic: Replay(bus, topic) for topic, bus in self._buses.items()}
        numbers = {topic: replay.partitions() for topic, replay in replays.items()}
        for topic, bus in self._buses.items():
            self._counts |= bus.source.partition_counts([topic.name])
        self._total = sum(replay.count_messages() for replay in replays.values())
        used = [*covering(agreements, self._buses)]
        self._add_agreements(used)
        for tp, source in statements.items():
            self._total += len(source.offsets([tp])[tp])
        for tp, source in statements.items():
            self._add_statements(tp, source)  # 1
        for topic, bus in self._buses.items():
            stated = statement_reading.gather(bus, topic)
            for number in numbers[topic]:
                self._add_leaves(bus, topic, number, stated)  # 2
        names = dict(sorted(self._counts.items()))
        return self._writer.finish(agreements.bus, names, (each.hash for each in used), custody)

    def _statement_topics(self) -> dict[TopicPartition, TopicSource]:
        """The topics of heads and receipts that exist, and where each is read."""
        found: dict[TopicPartition, TopicSource] = {}
        for topic, bus in self._buses.items():
            readers = (each for each in bus.agreements.readers(topic) if each != topic.agency)
            names = [topics.control_topic(topic.agency), *map(topics.receipts_topic, readers)]
            for name, count in bus.source.partition_counts(names).items():
                self._counts[name] = count
                found.setdefault(TopicPartition(name, 0), bus.source)
        return found

    def _add_agreements(self, agreements: Iterable[Agreement]) -> None:
        for each in agreements:
            found = agreement_evidence(each)
            name = f"agreements/{found.digest}.toml"
            self._writer.add_file(name, found.text)
            if found.note is not None:
                self._writer.add_file(f"{name}.note", found.note.encode())

    def _add_statements(self, tp: TopicPartition, source: TopicSource) -> None:
        with self._writer.partition(tp) as member, source.open_scan(tp) as scan:
            low, high = scan.bounds()
            self._add_rest(_writing(scan, tp, member, self._report), member, low, high)

    def _add_leaves(self, bus: Bus, topic: Topic, number: int, stated: SignedStatements) -> None:
        tp = TopicPartition(topic.name, number)
        with self._writer.partition(tp) as member:
            source = _WritingSource(bus.source, member, self._report)
            replay = Replay(replace(bus, source=source), topic)
            self.replays.append(replay)
            broken = ""
            try:
                replay.verify(number, stated.sizes(number))
            except errors.SealBroken as why:
                broken = str(why)
            (counts,) = replay.partition_counts
            if not broken:
                origin = tp.origin(bus.agreements.bus)
                found = stated.contradictions(counts, origin, is_read_to_end=True)
                if found:
                    replay.check_same()
                    broken = str(found[0][1])
            with source.open_scan(tp) as scan:
                start = max(member.next_offset, counts.first_offset)
                self._add_rest(scan, member, start, counts.offsets[1])
                member.offsets = range(counts.first_offset, counts.offsets[1])
            member.tree = ArchivedTree(
                leaves=counts.verified,
                root=counts.root.hex(),
                unsealed=counts.unsealed,
                broken=broken[:MOST_TEXT],
            )

    def _add_rest(self, scan: PartitionScan, member: PartitionWriter, start: int, end: int) -> None:
        member.offsets = range(start, end)
        for _ in scan.read(start, end, _CHUNK):
            scan.drain_unreadable()
        scan.drain_unreadable()

    def _report(self, count: int) -> None:
        self._read += count
        self._progressed(self._read, max(self._total, self._read))


def covering(agreements: Agreements, named: Iterable[Topic]) -> Iterator[Agreement]:
    """The agreements that cover one of some topics, the earlier ones too, which events name."""
    wanted = {*named}
    return (each for each in agreements if wanted & {*each.topics()})


@dataclass(frozen=True, slots=True)
class _WritingSource:
    """A source of which everything that is read is written to a member of the archive."""

    source: TopicSource
    member: PartitionWriter
    report: Callable[[int], None]

    @property
    def login(self) -> str:
        return self.source.login

    def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        return self.source.partition_counts(topics)

    def offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, range]:
        return self.source.offsets(tps)

    def incarnation(self, topic: str) -> TopicIncarnation:
        return self.source.incarnation(topic)

    @contextmanager
    def open_scan(
        self, tp: TopicPartition, silent_seconds: float | None = None
    ) -> Iterator[PartitionScan]:
        with self.source.open_scan(tp, silent_seconds) as scan:
            yield _writing(scan, tp, self.member, self.report)


def _writing(
    scan: PartitionScan,
    tp: TopicPartition,
    member: PartitionWriter,
    report: Callable[[int], None],
) -> PartitionScan:
    """A scan that writes what it reads; see `PartitionWriter.add`. It reads in this process."""
    return PartitionScan(_WritingReader(scan.reader, member, report), tp)


class _WritingReader:
    """Reads ranges of offsets, and writes the messages to a member of the archive."""

    def __init__(
        self, reader: OffsetReader, member: PartitionWriter, report: Callable[[int], None]
    ) -> None:
        self._reader = reader
        self._member = member
        self._report = report

    def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        return self._reader.bounds(tp)

    def parts(
        self, ranges: Mapping[TopicPartition, range], most: int = CHUNK
    ) -> Iterator[MessagePart]:
        for part in self._reader.parts(ranges, most):
            before = self._member.messages
            self._member.add(part.messages)
            self._report(self._member.messages - before)
            yield part

    def drain_unreadable(self) -> list[Unreadable]:
        found = self._reader.drain_unreadable()
        self._member.add_unreadable(found)
        return found
