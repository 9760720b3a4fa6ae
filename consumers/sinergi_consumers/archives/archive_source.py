"""The topics of an archive, which are read as those of a cluster."""

from __future__ import annotations

from bisect import bisect_left
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, cast

from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_schemas.kafka.ranges import MessagePart
from sinergi_schemas.kafka.scan import PartitionScan
from sinergi_schemas.kafka.unreadable import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from confluent_kafka import Message

    from sinergi_consumers.archives.archive_file import ArchiveFile
    from sinergi_consumers.archives.manifest import UnreadableBatch
    from sinergi_schemas.topics import TopicPartition

_PART = 64


class ArchiveSource:
    """The topics of an archive, as a `TopicSource`."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file

    @property
    def login(self) -> str:
        """The archive by the digest of its manifest, and with which logins it was made."""
        return f"archive {self._file.digest}, made by {self._file.manifest.made_by}"

    def partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions each of some topics had; those that it does not have are left out."""
        wanted = {*topics}
        found = self._file.manifest.topics
        return {each.name: each.partitions for each in found if each.name in wanted}

    def offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, range]:
        """The offsets that each topic-partition had.

        Raises:
            NotArchived: it has not one of them.
        """
        found = {tp: self._file.partition(tp) for tp in tps}
        return {tp: range(each.first_offset, each.end_offset) for tp, each in found.items()}

    def incarnation(self, topic: str) -> TopicIncarnation:
        """The archive: its offsets are valid in it alone."""
        return TopicIncarnation(f"archive {self._file.digest}", topic)

    @contextmanager
    def open_scan(
        self, tp: TopicPartition, silent_seconds: float | None = None
    ) -> Iterator[PartitionScan]:
        """A scan of one topic-partition; it waits for nothing.

        Raises:
            NotArchived: it has no such topic-partition.
        """
        del silent_seconds
        self._file.partition(tp)
        yield PartitionScan(_ArchivedRanges(self._file), tp)


class _ArchivedRanges:
    """Ranges of offsets in an archive."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file
        self._unreadable: dict[TopicPartition, list[UnreadableBatch]] = {}
        self._passed: set[Unreadable] = set()
        self._new: list[Unreadable] = []

    def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """The first offset, and the end offset."""
        found = self._file.partition(tp)
        return found.first_offset, found.end_offset

    def parts(
        self, ranges: Mapping[TopicPartition, range], most: int = _PART
    ) -> Iterator[MessagePart]:
        """The messages of some ranges, in parts of at most `most`."""
        for tp, offsets in ranges.items():
            yield from self._parts(tp, offsets, min(most, _PART))

    def drain_unreadable(self) -> list[Unreadable]:
        """The batches that the archive lacks, and that were passed over since the last call."""
        found, self._new = self._new, []
        return found

    def _parts(self, tp: TopicPartition, offsets: range, most: int) -> Iterator[MessagePart]:
        reached = offsets.start
        for _, messages in self._file.blocks(tp, offsets.start, offsets.stop):
            wanted = [each for each in messages if each.offset() in offsets]
            for start in range(0, len(wanted), most):
                part = wanted[start : start + most]
                self._pass_unreadable(tp, reached, part[-1].offset())
                reached = part[-1].offset()
                size = sum(each.size for each in part)
                # They have the methods of the client's messages that readers use.
                yield MessagePart(cast("list[Message]", part), size, is_short=False)
        self._pass_unreadable(tp, reached, offsets.stop)

    def _pass_unreadable(self, tp: TopicPartition, start: int, end: int) -> None:
        if tp not in self._unreadable:
            found = sorted(self._file.partition(tp).unreadable, key=attrgetter("offset"))
            self._unreadable[tp] = found
        there = self._unreadable[tp]
        first, last = (bisect_left(there, at, key=attrgetter("offset")) for at in (start, end))
        for each in there[first:last]:
            passed = Unreadable(tp, each.offset, each.cause)
            if passed not in self._passed:
                self._passed.add(passed)
                self._new.append(passed)
