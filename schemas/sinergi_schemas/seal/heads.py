"""Heads: all trees of an agency in one signed note, so that a cut-off tail can be seen.

<bus>/<agency>/heads
<POSIX time>
<topic>/<partition> <size> <base64 root>        sorted by their bytes, a line for each partition

Each reader of an agency's topics pays for what that agency's control topic holds. So heads have at
most `MOST_BYTES` and `MOST_SIGNATURES`, one under each key, as a checkpoint has.
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

# An agency publishes each of the event types with at most 1,000 partitions: with the longest name
# that an agency can have, and sizes of 18 digits, their lines take some 450,000 bytes.
MOST_BYTES = 480 * 1024
MOST_SIGNATURES = 16


@dataclass(frozen=True, slots=True, order=True)
class TreeHead:
    """The tree of one partition; an unwritten one has size 0 and the hash of nothing as root."""

    topic: str
    partition: int
    size: int
    root: bytes

    @property
    def place(self) -> str:
        """`<topic>/<partition>`."""
        return f"{self.topic}/{self.partition}"

    def __str__(self) -> str:
        return f"{self.place} {self.size} {base64.b64encode(self.root).decode()}"


@dataclass(frozen=True, slots=True)
class SignedHeads:
    """All trees of an agency at one time (seconds since 1970), in the order of their lines.

    Attributes:
        signers: the keys that have signed them, where they were verified. A line holds only if one
            of these is the key that must sign a tree of its topic, partition and size.
    """

    bus: str
    agency: str
    posix_time: int
    heads: tuple[TreeHead, ...]
    signers: tuple[VerifyingKey, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        ordered = sorted(self.heads, key=lambda each: f"{each.place} ")
        object.__setattr__(self, "heads", tuple(ordered))

    def __str__(self) -> str:
        lines = [f"{self.bus}/{self.agency}/heads", str(self.posix_time)]
        return "\n".join([*lines, *map(str, self.heads)]) + "\n"


def sign(heads: SignedHeads, keys: Iterable[SigningKey]) -> str:
    """The signed note of all heads, by the first `MOST_SIGNATURES` of some keys.

    Raises:
        NoteMalformed: there is no key, or no reader would take these for heads.
        ValueError: a key is one of receipts.
    """
    note = sign_note(str(heads), islice(keys, MOST_SIGNATURES))
    _parse(_parse_bounded(note).text, heads.bus, heads.agency)
    return note


def verify(note: str, bus: str, agency: str, keys: Sequence[VerifyingKey]) -> SignedHeads:
    """The heads of a note that the agency has signed, with the keys that have.

    Raises:
        NoteMalformed: it is not the heads of that agency.
        SignatureInvalid, SignatureMissing: it is not signed as it should be.
    """
    parsed = _parse_bounded(note)
    true = verify_note(parsed, keys)
    signers = {key for each in true for key in _signers(parsed, each, keys)}
    stated = _parse(parsed.text, bus, agency)
    return replace(stated, signers=tuple(key for key in keys if key in signers))


def _signers(note: Note, true: Signature, keys: Iterable[VerifyingKey]) -> Iterator[VerifyingKey]:
    """The keys that made a true signature: the one that it claims, as a rule."""
    claimed = [key for key in keys if true.claims(key)]
    for key in claimed:
        # Whoever has time makes two keys of one id. The text may be long: it is hashed once.
        if len(claimed) == 1 or key.verify(true.value, note.text.encode()):
            yield key


def _parse_bounded(note: str) -> Note:
    return parse_bounded(note, "heads", MOST_BYTES, MOST_SIGNATURES)


def _parse(text: str, bus: str, agency: str) -> SignedHeads:
    first, *rest = text[:-1].split("\n")
    if first != f"{bus}/{agency}/heads":
        raise errors.NoteMalformed(f"it is not the heads of {bus}/{agency}")
    if not rest:
        raise errors.NoteMalformed("heads have a time")
    heads = SignedHeads(bus, agency, parse_size(rest[0]), tuple(map(_head, rest[1:])))
    if rest[1:] != sorted(rest[1:]):  # each of them can be written in one way only
        raise errors.NoteMalformed("the lines of heads are not sorted")
    if len({head.place for head in heads.heads}) != len(heads.heads):
        raise errors.NoteMalformed("heads name a partition twice")
    return heads


def _head(line: str) -> TreeHead:
    parts = line.split(" ")
    topic, _, partition = parts[0].rpartition("/")
    if len(parts) != 3 or not topic:
        raise errors.NoteMalformed("a line of heads is not: topic/partition, size, root")
    size = parse_size(parts[1])
    return TreeHead(topic, parse_size(partition), size, parse_root(parts[2], size))
