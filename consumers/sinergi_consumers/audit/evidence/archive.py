"""The ZIP file of a bundle in its one form: the same files always make the same bytes.

No entry is compressed, none has a time, a comment or an extra field, and the entries stand in the
order of their names (docs/spec/bundle.md §1). `unpack` accepts what `pack` makes, and nothing else
but wrong checksums, which it names. So there is no byte in which two bundles with the same files
can differ, a small file cannot unfold to a large one, and two programs cannot see different entries
in it.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BYTES = 256 * 1024 * 1024
MOST_FILES = 60_000
MOST_NAME = 255

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_MARK, _CENTRAL_MARK, _END_MARK = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_VERSION_NEEDED = 10
_MADE_BY = 0x0314  # Unix, version 2.0 of the format
_FLAGS = _METHOD = _TIME = 0
_SUM_AT = 14  # where the checksum stands in the header of an entry
_DATE = 0x0021  # 1 January 1980, the first day of the format
_ATTRIBUTES = 0o100600 << 16  # a regular file that only its owner may read


class NotCanonical(ValueError):
    """The bytes are not a ZIP file in the form of a bundle. The text says why, and where."""


class UnpackedArchive(NamedTuple):
    """The files of an archive.

    Attributes:
        files: by their names.
        damaged: those whose checksum is not that of their content. A bundle has none; its manifests
            say more exactly what was changed.
    """

    files: dict[str, bytes]
    damaged: tuple[str, ...]


def pack(files: Mapping[str, bytes]) -> bytes:
    """The ZIP file of some files.

    Raises:
        ValueError: a name is not one of a bundle, or there are too many files or bytes.
    """
    return _packed(files, {name: crc32(data) for name, data in files.items()})


def _packed(files: Mapping[str, bytes], sums: Mapping[str, int]) -> bytes:
    local, central = bytearray(), bytearray()
    for name in sorted(files):
        if not is_name(name):
            raise ValueError("a name has other characters than a bundle's names have")
        data, encoded = files[name], name.encode()
        if len(data) > MOST_BYTES:
            raise ValueError(f"it would hold more than {MOST_BYTES:,} bytes")
        sizes = (len(data), len(data), len(encoded), 0)
        common = (_FLAGS, _METHOD, _TIME, _DATE, sums[name], *sizes)
        central += _CENTRAL.pack(
            _CENTRAL_MARK, _MADE_BY, _VERSION_NEEDED, *common, 0, 0, 0, _ATTRIBUTES, len(local)
        )
        central += encoded
        local += _LOCAL.pack(_LOCAL_MARK, _VERSION_NEEDED, *common)
        local += encoded
        local += data
        if len(local) + len(central) > MOST_BYTES:
            raise ValueError(f"it would hold more than {MOST_BYTES:,} bytes")
    if len(files) > MOST_FILES:
        raise ValueError(f"it would hold more than {MOST_FILES:,} files")
    end = _END.pack(_END_MARK, 0, 0, len(files), len(files), len(central), len(local), 0)
    return bytes(local + central + end)


def unpack(data: bytes) -> UnpackedArchive:
    """The files of a ZIP file that `pack` has made.

    Raises:
        NotCanonical: it has another form.
    """
    files: dict[str, bytes] = {}
    sums: dict[str, int] = {}
    at, before = 0, ""
    while data[at : at + 4] == _LOCAL_MARK:
        start = at
        name, content, at = _entry(data, at)
        sums[name] = int.from_bytes(data[start + _SUM_AT : start + _SUM_AT + 4], "little")
        if name <= before:
            what = "occurs twice" if name in files else "is not in the order of the names"
            raise NotCanonical(f"the entry {name} {what}")
        files[name], before = content, name
        if len(files) > MOST_FILES:
            raise NotCanonical(f"it has more than {MOST_FILES:,} entries")
    if not files:
        raise NotCanonical("it does not begin as a ZIP file")
    made = _packed(files, sums)
    if made != data:
        raise NotCanonical(_difference(made, data, files))
    damaged = [name for name, content in files.items() if crc32(content) != sums[name]]
    return UnpackedArchive(files, tuple(damaged))


def is_name(name: str) -> bool:
    """Whether a file of a bundle may have this name.

    No part of it begins with a dot, so that nothing is written outside of a folder.
    """
    return len(name) <= MOST_NAME and _NAME.fullmatch(name) is not None


def _entry(data: bytes, at: int) -> tuple[str, bytes, int]:
    """The name and content of the entry at an offset, and the offset after it."""
    if at + _LOCAL.size > len(data):
        raise NotCanonical(f"it ends within the entry at byte {at}")
    _, _, flags, method, _, _, _, packed, size, name_length, extra = _LOCAL.unpack_from(data, at)
    start = at + _LOCAL.size + name_length
    if (flags, method, extra) != (_FLAGS, _METHOD, 0) or packed != size:
        raise NotCanonical(f"the entry at byte {at} is compressed, or has flags or an extra field")
    if start + size > len(data):
        raise NotCanonical(f"it ends within the entry at byte {at}")
    try:
        name = data[at + _LOCAL.size : start].decode("ascii")
    except UnicodeDecodeError:
        name = ""
    if not is_name(name):
        raise NotCanonical(f"the entry at byte {at} has a name that no bundle has")
    return name, data[start : start + size], start + size


def _difference(made: bytes, given: bytes, files: Mapping[str, bytes]) -> str:
    """Where a file differs from its form: the first byte, and the entry before which it stands."""
    short = min(len(made), len(given))
    at = next((each for each in range(short) if made[each] != given[each]), short)
    end = 0
    for name in sorted(files):
        end += _LOCAL.size + len(name) + len(files[name])
        if at < end:
            return f"byte {at}, in the header of {name}, is not that of a bundle"
    return f"byte {at}, in the directory at the end, is not that of a bundle"
