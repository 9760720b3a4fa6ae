"""The ZIP file of an archive in its one form, written as a stream and read at any place.

Members are stored and not compressed, so that a reader can go to any byte of them. Each has a local
header without sizes and a descriptor after its content, as a writer needs that cannot go back. All
sizes are in ZIP64 (docs/spec/archive.md §1). Besides the contents nothing in the file can vary:
`ZipMembers` computes all other bytes again and compares them.
"""

from __future__ import annotations

import re
import struct
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sinergi_schemas.files.output_file import OutputFile

MOST_MEMBERS = 100_000
MOST_NAME = 255
_MOST_DIRECTORY = 64 * 1024 * 1024

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_LOCAL = struct.Struct("<4s5H3I2H")
_LOCAL_EXTRA = struct.Struct("<HHQQ")
_DESCRIPTOR = struct.Struct("<4sIQQ")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_CENTRAL_EXTRA = struct.Struct("<HHQQQ")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_TAIL = _END64.size + _LOCATOR.size + _END.size

_VERSION = 45  # the first with ZIP64
_MADE_BY = 0x0300 | _VERSION  # Unix
_FLAGS = 0x0008  # a descriptor follows the content
_METHOD = _TIME = 0
_DATE = 0x0021  # 1 January 1980, the first day of the format
_ATTRIBUTES = 0o100600 << 16  # a regular file that only its owner may read
_ZIP64 = 1  # the extra field
_HERE = 0xFFFFFFFF  # the value stands in the extra field
_MANY = 0xFFFF


class NotThisForm(ValueError):
    """The file is not a ZIP file in the form of an archive.

    Attributes:
        at: the byte at which it differs.
        what: what is wrong there.
    """

    def __init__(self, at: int, what: str) -> None:
        super().__init__(at, what)
        self.at = at
        self.what = what


class ZipMember(NamedTuple):
    """One member.

    Attributes:
        start: where its local header begins.
        size, crc: of its content.
    """

    name: str
    start: int
    size: int
    crc: int

    @property
    def content(self) -> int:
        """Where its content begins."""
        return self.start + len(_local(self.name))

    @property
    def end(self) -> int:
        """Where the next member begins."""
        return self.content + self.size + _DESCRIPTOR.size


class ZipStream:
    """Writes the members of a ZIP file, one after the other.

    Args:
        target: where it is written.

    Attributes:
        members: those that are complete.
    """

    def __init__(self, target: OutputFile) -> None:
        self._target = target
        self._at = 0
        self._name = ""
        self._size = 0
        self._crc = 0
        self._digest = sha256()
        self.members: list[ZipMember] = []

    @property
    def size(self) -> int:
        """How many bytes of the member that is open are written."""
        return self._size

    def begin(self, name: str) -> None:
        """Begin a member.

        Raises:
            OutputRefused: it cannot be written.
        """
        self._name, self._size, self._crc, self._digest = name, 0, 0, sha256()
        self._target.write(_local(name))

    def write(self, data: bytes) -> None:
        """Write more of the member's content.

        Raises:
            OutputRefused: it cannot be written.
        """
        self._target.write(data)
        self._size += len(data)
        self._crc = crc32(data, self._crc)
        self._digest.update(data)

    def end(self) -> str:
        """End the member; the SHA-256 of its content.

        Raises:
            OutputRefused: it cannot be written.
        """
        made = ZipMember(self._name, self._at, self._size, self._crc)
        self._target.write(_descriptor(made))
        self._at = made.end
        self.members.append(made)
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Write the directory at the end.

        Raises:
            OutputRefused: it cannot be written.
        """
        self._target.write(_directory(self.members))


class ZipMembers:
    """The members of a ZIP file that is read.

    Args:
        read: returns the bytes of the file from a place on, so many or fewer where it ends.
        size: of the file.

    Raises:
        NotThisForm: it has another form.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read = read
        members = _listed(self._read(*_directory_place(self._read, size)))
        at = 0
        for each in members:
            if each.start != at:
                raise NotThisForm(at, f"{each.name} does not begin where the one before it ends")
            if each.end > size:
                raise NotThisForm(at, f"{each.name} is longer than the file")
            self._compare(each.start, _local(each.name), f"the header of {each.name}")
            self._compare(each.content + each.size, _descriptor(each), f"the end of {each.name}")
            at = each.end
        self._compare(at, _directory(members), "the directory")
        self._members = {each.name: each for each in members}
        if len(self._members) < len(members):
            raise NotThisForm(at, "a name occurs twice")

    def __getitem__(self, name: str) -> ZipMember:
        """A member by its name.

        Raises:
            KeyError: there is none.
        """
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def read(self, member: ZipMember, at: int = 0, size: int | None = None) -> bytes:
        """Some bytes of a member, or all of them; fewer where the file ends."""
        return self._read(member.content + at, member.size - at if size is None else size)

    def _compare(self, at: int, expected: bytes, where: str) -> None:
        found = self._read(at, len(expected))
        if found != expected:
            short = min(len(found), len(expected))
            differs = (each for each in range(short) if found[each] != expected[each])
            raise NotThisForm(at + next(differs, short), f"{where} is not as an archive has it")


def is_member_name(name: str) -> bool:
    """Whether a member of an archive may have this name."""
    return len(name) <= MOST_NAME and _NAME.fullmatch(name) is not None


def _local(name: str) -> bytes:
    common = (b"PK\x03\x04", _VERSION, _FLAGS, _METHOD, _TIME, _DATE, 0, _HERE, _HERE)
    fixed = _LOCAL.pack(*common, len(name), _LOCAL_EXTRA.size)
    return fixed + name.encode() + _LOCAL_EXTRA.pack(_ZIP64, 16, 0, 0)


def _descriptor(member: ZipMember) -> bytes:
    return _DESCRIPTOR.pack(b"PK\x07\x08", member.crc, member.size, member.size)


def _directory(members: Sequence[ZipMember]) -> bytes:
    central = b"".join(map(_central, members))
    start = members[-1].end if members else 0
    count = len(members)
    end64 = _END64.pack(
        *(b"PK\x06\x06", _END64.size - 12, _MADE_BY, _VERSION, 0, 0),
        *(count, count, len(central), start),
    )
    locator = _LOCATOR.pack(b"PK\x06\x07", 0, start + len(central), 1)
    end = _END.pack(b"PK\x05\x06", 0, 0, _MANY, _MANY, _HERE, _HERE, 0)
    return central + end64 + locator + end


def _central(member: ZipMember) -> bytes:
    common = (_VERSION, _FLAGS, _METHOD, _TIME, _DATE, member.crc, _HERE, _HERE)
    lengths = (len(member.name), _CENTRAL_EXTRA.size, 0, 0, 0)
    fixed = _CENTRAL.pack(b"PK\x01\x02", _MADE_BY, *common, *lengths, _ATTRIBUTES, _HERE)
    extra = _CENTRAL_EXTRA.pack(_ZIP64, 24, member.size, member.size, member.start)
    return fixed + member.name.encode() + extra


def _directory_place(read: Callable[[int, int], bytes], size: int) -> tuple[int, int]:
    """Where the entries of the directory begin, and how many bytes they have."""
    tail = read(max(0, size - _TAIL), _TAIL)
    if len(tail) < _TAIL or tail[-_END.size :][:4] != b"PK\x05\x06" or tail[:4] != b"PK\x06\x06":
        raise NotThisForm(size, "there it does not end as an archive ends")
    *_, length, start = _END64.unpack_from(tail)
    if length > _MOST_DIRECTORY or start + length + _TAIL != size:
        raise NotThisForm(size - _TAIL, "the directory is not where it has to be")
    return start, length


def _listed(directory: bytes) -> list[ZipMember]:
    found: list[ZipMember] = []
    at = 0
    while at < len(directory):
        if at + _CENTRAL.size > len(directory) or len(found) >= MOST_MEMBERS:
            raise NotThisForm(at, "there the directory cannot be read")
        fields = _CENTRAL.unpack_from(directory, at)
        crc, name_length = fields[7], fields[10]
        name_at = at + _CENTRAL.size
        at = name_at + name_length + _CENTRAL_EXTRA.size
        name = directory[name_at : name_at + name_length].decode("ascii", "replace")
        if at > len(directory) or not is_member_name(name):
            raise NotThisForm(name_at, "there the directory cannot be read")
        _, _, size, _, start = _CENTRAL_EXTRA.unpack_from(directory, name_at + name_length)
        found.append(ZipMember(name, start, size, crc))
    return found
