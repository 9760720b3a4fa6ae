"""Heads: all trees of an agency in one signed note, so that readers detect missing last messages.

<bus>/<agency>/heads
<POSIX time>
<topic>/<partition> <size> <base64 root>        one line per partition, sorted by their bytes

Every reader of an agency's topics has to parse the heads in the agency's control topic. So heads
have at most `MOST_BYTES` and `MOST_SIGNATURES`, and at most one signature per key.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.seal.note import (
    Signature,
    parse_bounded,
    parse_root,
    parse_size,
    sign_note,
    verify_note,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey
    from sinergi_schemas.seal.note import Note

# An agency has at most one topic per event type with 1,000 partitions each. With the longest name
# of an agency and sizes of 18 digits, the lines have about 450,000 bytes.
MOST_BYTES = 480 * 1024
MOST_SIGNATURES = 16

# An agency signs its heads again after so long, and where they are older than three times that,
# every other agency takes its relay for stopped. So no agency may set these for itself.
RENEWED_SECONDS = 60.0
STALE_SECONDS = 180.0


@dataclass(frozen=True, slots=True, order=True)
class TreeHead:
    """The tree of one partition. An empty partition has size 0 and the SHA-256 of b"" as root."""

    topic: str
    partition: int
    size: int
    root: bytes

    @property
    def partition_path(self) -> str:
        """`<topic>/<partition>`."""
        return f"{self.topic}/{self.partition}"

    def __str__(self) -> str:
        return f"{self.partition_path} {self.size} {base64.b64encode(self.root).decode()}"


@dataclass(frozen=True, slots=True)
class SignedHeads:
    """All trees of an agency at one time (seconds since 1970), in the order of their lines.

    Attributes:
        signers: the keys with a valid signature; empty if the heads were not verified. A line is
            valid only if one of them is the key that must sign a tree of that topic, partition and
            size.
    """

    bus: str
    agency: str
    posix_time: int
    heads: tuple[TreeHead, ...]
    signers: tuple[VerifyingKey, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        ordered = sorted(self.heads, key=lambda each: f"{each.partition_path} ")
        object.__setattr__(self, "heads", tuple(ordered))

    def __str__(self) -> str:
        lines = [f"{self.bus}/{self.agency}/heads", str(self.posix_time)]
        return "\n".join([*lines, *map(str, self.heads)]) + "\n"


def sign(heads: SignedHeads, keys: Iterable[SigningKey]) -> str:
    """Sign heads with the first `MOST_SIGNATURES` of the keys. Returns the note.

    Raises:
        NoteMalformed: there is no key, or a reader would refuse the heads.
        ValueError: a key is a receipt key.
    """
    note = sign_note(str(heads), islice(keys, MOST_SIGNATURES))
    _parse(parse_note(note).text, heads.bus, heads.agency)
    return note


def verify(note: str, bus: str, agency: str, keys: Sequence[VerifyingKey]) -> SignedHeads:
    """Read the heads of an agency and verify that one of its keys has signed them.

    Raises:
        NoteMalformed: the note does not hold the heads of that agency.
        SignatureInvalid, SignatureMissing: see `verify_note`.
    """
    return verify_parsed(parse_note(note), bus, agency, keys)


def verify_parsed(note: Note, bus: str, agency: str, keys: Sequence[VerifyingKey]) -> SignedHeads:
    """As `verify`, for a note that `parse_note` has given."""
    valid = verify_note(note, keys)
    signers = {key for each in valid for key in _signers(note, each, keys)}
    stated = _parse(note.text, bus, agency)
    return replace(stated, signers=tuple(key for key in keys if key in signers))


def _signers(note: Note, valid: Signature, keys: Iterable[VerifyingKey]) -> Iterator[VerifyingKey]:
    """The keys that made a valid signature; usually the one with its name and id."""
    claimed = [key for key in keys if valid.claims(key)]
    for key in claimed:
        # An id has 4 bytes, so somebody can make two keys with the same id. Only then the
        # signature is verified again, since the text may be long.
        if len(claimed) == 1 or key.verify(valid.value, note.text.encode()):
            yield key


def parse_note(note: str) -> Note:
    """Parse the note of heads. It verifies no signature.

    Raises:
        NoteMalformed: it is not a note, or it is too long or has too many signatures.
    """
    return parse_bounded(note, "heads", MOST_BYTES, MOST_SIGNATURES)


def _parse(text: str, bus: str, agency: str) -> SignedHeads:
    first, *rest = text[:-1].split("\n")
    if first != f"{bus}/{agency}/heads":
        raise errors.NoteMalformed(f"the text does not hold the heads of {bus}/{agency}")
    if not rest:
        raise errors.NoteMalformed("the heads have no time")
    heads = SignedHeads(bus, agency, parse_size(rest[0]), tuple(map(_head, rest[1:])))
    if rest[1:] != sorted(rest[1:]):  # the same heads always have the same text
        raise errors.NoteMalformed("the lines of the heads are not sorted")
    if len({head.partition_path for head in heads.heads}) != len(heads.heads):
        raise errors.NoteMalformed("the heads name a partition twice")
    return heads


def _head(line: str) -> TreeHead:
    parts = line.split(" ")
    topic, _, partition = parts[0].rpartition("/")
    if len(parts) != 3 or not topic:
        raise errors.NoteMalformed("a line of the heads is not: topic/partition, size, root")
    size = parse_size(parts[1])
    return TreeHead(topic, parse_size(partition), size, parse_root(parts[2], size))
