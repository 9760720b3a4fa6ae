"""Heads: all trees of an agency in one signed note, so that a cut-off tail can be seen.

<bus>/<agency>/heads
<POSIX time>
<topic>/<partition> <size> <base64 root>        sorted, a line for each partition
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.seal.checkpoint import parse_note, sign_note, verify_note
from sinergi_schemas.seal.merkle import HASH_LENGTH

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

    def __str__(self) -> str:
        root = base64.b64encode(self.root).decode()
        return f"{self.topic}/{self.partition} {self.size} {root}"


@dataclass(frozen=True, slots=True)
class Heads:
    """All trees of an agency at one time (seconds since 1970)."""

    bus: str
    agency: str
    posix_time: int
    heads: tuple[Head, ...]

    def __str__(self) -> str:
        lines = [f"{self.bus}/{self.agency}/heads", str(self.posix_time)]
        return "\n".join([*lines, *sorted(map(str, self.heads))]) + "\n"


def sign(heads: Heads, keys: Iterable[SigningKey]) -> str:
    """The signed note of all heads."""
    return sign_note(str(heads), keys)


def verify(note: str, bus: str, agency: str, keys: Sequence[VerifyingKey]) -> Heads:
    """The heads of a note that the agency has signed.

    Raises:
        NoteMalformed: it is not the heads of that agency.
        SignatureInvalid, SignatureMissing: it is not signed as it should be.
    """
    parsed = parse_note(note)
    verify_note(parsed, keys)
    first, posix_time, *lines = parsed.text[:-1].split("\n")
    if first != f"{bus}/{agency}/heads":
        raise errors.NoteMalformed(f"it is not the heads of {bus}/{agency}")
    try:
        heads = Heads(bus, agency, int(posix_time), tuple(map(_head, lines)))
    except ValueError:
        raise errors.NoteMalformed("a line is no head") from None
    if str(heads) != parsed.text:
        raise errors.NoteMalformed("its lines are not sorted, or not canonical")
    return heads


def _head(line: str) -> Head:
    place, size, root = line.split(" ")
    topic, _, partition = place.rpartition("/")
    decoded = base64.b64decode(root, validate=True)
    if not topic or len(decoded) != HASH_LENGTH:
        raise ValueError(line)
    return Head(topic, int(partition), int(size), decoded)
