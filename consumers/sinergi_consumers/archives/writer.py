"""Writes an archive while messages arrive: never more than one block of them is in memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.archives import manifest, message_blocks
from sinergi_consumers.archives.manifest import (
    FORM,
    ArchivedPartition,
    ArchivedTopic,
    BlockPlace,
    Manifest,
    UnreadableBatch,
)
from sinergi_consumers.archives.message_blocks import BlockWriter
from sinergi_consumers.archives.zip_form import ZipStream
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from confluent_kafka import Message

    from sinergi_consumers.archives.manifest import ArchivedTree
    from sinergi_consumers.archives.message_blocks import MessageBlock
    from sinergi_schemas.files.output_file import OutputFile
    from sinergi_schemas.kafka.unreadable import Unreadable
    from sinergi_schemas.topics import TopicPartition


class ArchiveCustody(NamedTuple):
    """Who makes an archive, when and by which program; see `Manifest`."""

    made_at: str
    made_by: str
    software: str


class PartitionWriter:
    """The member of one topic-partition that is being written.

    Attributes:
        messages: how many are written.
        next_offset: the one after the last message.
        tree: what was found sealed, of an event topic.
        offsets: those of the cluster.
    """

    def __init__(self, stream: ZipStream, tp: TopicPartition) -> None:
        self._stream = stream
        self._tp = tp
        self._blocks = BlockWriter(tp)
        self._places: list[BlockPlace] = []
        self._unreadable: dict[tuple[int, str], UnreadableBatch] = {}
        self.messages = 0
        self.next_offset = 0
        self.offsets = range(0)
        self.tree: ArchivedTree | None = None

    def add(self, chunk: Iterable[Message]) -> None:
        """Write messages; those that are written already, as they are read twice, are left out.

        Raises:
            OutputRefused: they cannot be written.
        """
        for each in chunk:
            offset = each.offset() or 0
            if offset >= self.next_offset:
                self._write(self._blocks.add(each))
                self.messages += 1
                self.next_offset = offset + 1

    def add_unreadable(self, batches: Iterable[Unreadable]) -> None:
        """Note batches that could not be read, each once."""
        for each in batches:
            found = UnreadableBatch(offset=each.offset, cause=each.cause)
            self._unreadable.setdefault((each.offset, each.cause), found)

    def end(self) -> ArchivedPartition:
        """Write the last block, and end the member.

        Raises:
            OutputRefused: they cannot be written.
        """
        self._write(self._blocks.end())
        size, digest = self._stream.size, self._stream.end()
        return ArchivedPartition(
            topic=self._tp.topic,
            partition=self._tp.partition,
            first_offset=self.offsets.start,
            end_offset=max(self.offsets.stop, self.next_offset),
            messages=self.messages,
            tree=self.tree,
            unreadable=[*self._unreadable.values()],
            size=size,
            sha256=digest,
            blocks=self._places,
        )

    def _write(self, block: MessageBlock | None) -> None:
        if block is not None:
            self._places.append(
                BlockPlace(
                    first=block.first,
                    messages=block.messages,
                    at=self._stream.size,
                    length=len(block.data),
                    sha256=block.digest,
                )
            )
            self._stream.write(block.data)


class ArchiveWriter:
    """Writes an archive.

    Args:
        target: where it is written; nothing is ever read back.
    """

    def __init__(self, target: OutputFile) -> None:
        self._stream = ZipStream(target)
        self._partitions: list[ArchivedPartition] = []

    @property
    def partitions(self) -> list[ArchivedPartition]:
        """What is written so far."""
        return self._partitions

    def add_file(self, name: str, data: bytes) -> None:
        """Write a member that holds a whole file.

        Raises:
            OutputRefused: it cannot be written.
        """
        self._stream.begin(name)
        self._stream.write(data)
        self._stream.end()

    @contextmanager
    def partition(self, tp: TopicPartition) -> Iterator[PartitionWriter]:
        """Write the member of a topic-partition during a block.

        Raises:
            OutputRefused: it cannot be written.
        """
        self._stream.begin(manifest.member_name(tp))
        self._stream.write(message_blocks.header(tp))
        made = PartitionWriter(self._stream, tp)
        yield made
        self._partitions.append(made.end())

    def finish(
        self,
        bus: str,
        topics: Mapping[str, int],
        agreements: Iterable[str],
        custody: ArchiveCustody,
    ) -> Manifest:
        """Write the manifest and the directory. The target is finished by its owner.

        Args:
            topics: how many partitions each topic has on the cluster.
            agreements: their digests.

        Raises:
            OutputRefused: they cannot be written.
        """
        made = Manifest(
            form=FORM,
            bus=bus,
            agreements=sorted(agreements),
            topics=[ArchivedTopic(name=name, partitions=n) for name, n in topics.items()],
            partitions=self._partitions,
            **custody._asdict(),
        )
        data = made.encode()
        if len(data) > manifest.MOST_BYTES:
            what = f"its manifest has more than {manifest.MOST_BYTES >> 20} MiB, which nobody reads"
            raise errors.OutputRefused("the archive", what, "archive fewer topics in one file")
        self.add_file(manifest.NAME, data)
        self._stream.finish()
        return made
