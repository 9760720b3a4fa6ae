"""Heads: all trees of an agency in one signed note, so that a cut-off tail can be seen.

<bus>/<agency>/heads
<POSIX time>
<topic>/<partition> <size> <base64 root>        sorted by their bytes, a line for each partition
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.seal.note import parse_note, parse_root, parse_size, sign_note, verify_note

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey


@dataclass(frozen=True, slots=True, order=True)
class Head:
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
class Heads:
    """All trees of an agency at one time (seconds since 1970), in the order of their lines.

    Attributes:
        signers: the keys that have signed them, where they were verified. A line holds only if one
            of these is the key that must sign a tree of its topic, partition and size.
    """

    bus: str
    agency: str
    posix_time: int
    heads: tuple[Head, ...]
    signers: tuple[VerifyingKey, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", tuple(sorted(self.heads, key=str)))

    def __str__(self) -> str:
        lines = [f"{self.bus}/{self.agency}/heads", str(self.posix_time)]
        return "\n".join([*lines, *map(str, self.heads)]) + "\n"


def sign(heads: Heads, keys: Iterable[SigningKey]) -> str:
    """The signed note of all heads.

    Raises:
        NoteMalformed: there is no key, or no reader would take these for heads.
        ValueError: a key is one of receipts.
    """
    note = sign_note(str(heads), keys)
    _parse(parse_note(note).text, heads.bus, heads.agency)
    return note


def verify(note: str, bus: str, agency: str, keys: Sequence[VerifyingKey]) -> Heads:
    """The heads of a note that the agency has signed, with the keys that have.

    Raises:
        NoteMalformed: it is not the heads of that agency.
        SignatureInvalid, SignatureMissing: it is not signed as it should be.
    """
    parsed = parse_note(note)
    true = verify_note(parsed, keys)
    text = parsed.text.encode()
    signers = tuple(
        key
        for key in keys
        if any(each.claims(key) and key.verify(each.value, text) for each in true)
    )
    return replace(_parse(parsed.text, bus, agency), signers=signers)


def _parse(text: str, bus: str, agency: str) -> Heads:
    first, *rest = text[:-1].split("\n")
    if first != f"{bus}/{agency}/heads":
        raise errors.NoteMalformed(f"it is not the heads of {bus}/{agency}")
    if not rest:
        raise errors.NoteMalformed("heads have a time")
    heads = Heads(bus, agency, parse_size(rest[0]), tuple(map(_head, rest[1:])))
    if str(heads) != text:
        raise errors.NoteMalformed("the lines of heads are not sorted")
    if len({head.place for head in heads.heads}) != len(heads.heads):
        raise errors.NoteMalformed("heads name a partition twice")
    return heads


def _head(line: str) -> Head:
    parts = line.split(" ")
    topic, _, partition = parts[0].rpartition("/")
    if len(parts) != 3 or not topic:
        raise errors.NoteMalformed("a line of heads is not: topic/partition, size, root")
    size = parse_size(parts[1])
    return Head(topic, parse_size(partition), size, parse_root(parts[2], size))
