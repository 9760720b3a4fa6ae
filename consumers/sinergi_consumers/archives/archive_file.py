"""An archive that is read: its form is checked first, and each block when it is read.

The file is opened for each block and closed again, so that nobody has to close an archive. If
another file gets its name meanwhile, the next block is not what the manifest says.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn
from zlib import crc32

from sinergi_consumers.archives import manifest, message_blocks
from sinergi_consumers.archives.manifest import Manifest, ManifestInvalid
from sinergi_consumers.archives.message_blocks import BlockInvalid
from sinergi_consumers.archives.zip_form import NotThisForm, ZipMembers
from sinergi_schemas import errors
from sinergi_schemas.files.input_file import check_readable
from sinergi_schemas.files.read_failures import unread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sinergi_consumers.archives.manifest import ArchivedPartition, BlockPlace
    from sinergi_consumers.archives.message_blocks import ArchivedMessage
    from sinergi_consumers.archives.zip_form import ZipMember
    from sinergi_schemas.topics import TopicPartition

_AGREEMENTS = "agreements/"
_BEGIN = b"PK\x03\x04"
# Where the name of the first member begins, and how it begins in a bundle of evidence
# (docs/spec/bundle.md). No archive has such a member.
_FIRST_NAME, _BUNDLE = 30, b"evidence/"


class ArchiveFile:
    """An archive.

    Args:
        path: of the file.

    Attributes:
        path: of the file.
        manifest: what it says that it has.
        digest: the SHA-256 of the manifest in hex, which names all contents.

    Raises:
        ArchiveRefused: it is no archive, or cannot be read.
        ArchiveDamaged: it is a changed archive, or a part of one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if self._read(0, len(_BEGIN)) != _BEGIN:
            raise errors.ArchiveRefused(str(path), "it does not begin as a ZIP file")
        if self._read(_FIRST_NAME, len(_BUNDLE)) == _BUNDLE:
            what = "it is a bundle of evidence, which `sinergi evidence verify` checks"
            raise errors.ArchiveRefused(str(path), what)
        try:
            self._members = ZipMembers(self._read, path.stat().st_size)
        except NotThisForm as why:
            raise errors.ArchiveDamaged(str(path), "the file", why.at, why.what) from None
        data = self._file(manifest.NAME)
        try:
            self.manifest: Manifest = manifest.decode(data)
        except ManifestInvalid as why:
            what = f"its {manifest.NAME} is not that of an archive: {why}"
            raise errors.ArchiveRefused(str(path), what) from None
        self.digest = sha256(data).hexdigest()
        self._partitions = {each.tp: each for each in self.manifest.partitions}
        self._check_members()

    @property
    def partitions(self) -> list[ArchivedPartition]:
        """The topic-partitions, in the order in which they were read."""
        return self.manifest.partitions

    def partition(self, tp: TopicPartition) -> ArchivedPartition:
        """One of the topic-partitions.

        Raises:
            NotArchived: it is not in this archive.
        """
        if tp not in self._partitions:
            raise errors.NotArchived(str(self.path), str(tp))
        return self._partitions[tp]

    def blocks(
        self, tp: TopicPartition, start: int, end: int
    ) -> Iterator[tuple[BlockPlace, list[ArchivedMessage]]]:
        """The blocks with messages in `[start, end)`; their first and last may have others too.

        Raises:
            ArchiveDamaged: a block is not what the manifest says.
        """
        archived = self.partition(tp)
        begin = bisect_right(archived.blocks, start, key=lambda each: each.first)
        for place in archived.blocks[max(0, begin - 1) :]:
            if place.first >= end:
                return
            yield place, self._block(archived, place)

    def all_blocks(
        self, archived: ArchivedPartition
    ) -> Iterator[tuple[BlockPlace, list[ArchivedMessage]]]:
        """All blocks of a topic-partition.

        Raises:
            ArchiveDamaged: see `blocks`.
        """
        return self.blocks(archived.tp, archived.first_offset, archived.end_offset)

    def _read(self, at: int, size: int) -> bytes:
        """Some bytes of the file; fewer where it ends."""
        try:
            check_readable(self.path)
            with self.path.open("rb") as file:
                file.seek(at)
                return file.read(size)
        except OSError as why:
            raise errors.ArchiveRefused(str(self.path), f"it {unread(why)}") from None

    def _block(self, archived: ArchivedPartition, place: BlockPlace) -> list[ArchivedMessage]:
        data = self._members.read(self._members[archived.member], place.at, place.length)
        if sha256(data).hexdigest() != place.sha256:
            self._raise_damaged(archived, place, "the block that begins there was changed")
        try:
            found = message_blocks.messages_in(archived.tp, data, place.messages)
        except BlockInvalid as why:
            self._raise_damaged(archived, place, f"the block that begins there is invalid: {why}")
        offsets = [each.offset() for each in found]
        is_sorted = all(a < b for a, b in pairwise(offsets))
        if offsets[0] != place.first or not is_sorted or offsets[-1] >= archived.end_offset:
            self._raise_damaged(archived, place, "the block that begins there has other offsets")
        return found

    def _raise_damaged(self, archived: ArchivedPartition, place: BlockPlace, what: str) -> NoReturn:
        raise errors.ArchiveDamaged(str(self.path), archived.member, place.at, what)

    def _check_members(self) -> None:
        """Check that the members are those of the manifest, and how each of them begins."""
        agreements = {f"{_AGREEMENTS}{each}.toml": each for each in self.manifest.agreements}
        notes = {f"{each}.note" for each in agreements}
        partitions = {each.member: each for each in self.partitions}
        there = {*self._members} - notes
        for name in sorted(there ^ {manifest.NAME, *agreements, *partitions}):
            is_or_is_not = "is not in the manifest" if name in there else "is missing"
            raise errors.ArchiveDamaged(str(self.path), name, 0, f"the member {is_or_is_not}")
        for name, digest in agreements.items():
            if sha256(self._file(name)).hexdigest() != digest:
                raise errors.ArchiveDamaged(str(self.path), name, 0, "the agreement was changed")
        for name in notes & {*self._members}:
            self._file(name)
        for name, archived in partitions.items():
            begin = message_blocks.header(archived.tp)
            found = self._members.read(self._members[name], 0, len(begin))
            first = archived.blocks[0].at if archived.blocks else archived.size
            size = self._members[name].size
            if found != begin or first != len(begin) or size != archived.size:
                raise errors.ArchiveDamaged(str(self.path), name, 0, "its beginning was changed")

    def _file(self, name: str) -> bytes:
        """The content of a member that is a whole file."""
        try:
            member: ZipMember = self._members[name]
        except KeyError:
            raise errors.ArchiveRefused(str(self.path), f"it has no {name}") from None
        if member.size > manifest.MOST_BYTES:
            raise errors.ArchiveRefused(str(self.path), f"its {name} is too large")
        data = self._members.read(member)
        if crc32(data) != member.crc:
            raise errors.ArchiveDamaged(str(self.path), name, 0, "its checksum is wrong")
        return data
