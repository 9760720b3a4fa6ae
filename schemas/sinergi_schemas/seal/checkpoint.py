"""Checkpoints: signed statements about a tree, and receipts for them.

The text is a C2SP tlog-checkpoint, a receipt a C2SP tlog-cosignature under it:

    <bus>/<topic>/<partition>           the origin
    <size>
    <base64 root>

    — <bus>/<agency> …                  the owner; both its keys while it changes them
    — <bus>/<agency>/<database> …       whoever has materialised the tree

The specification allows further lines of text, which mean nothing here, and signatures of anybody.
Whoever signs a checkpoint can add as many as he likes, and each reader pays for them; so a
checkpoint has at most `MOST_BYTES` and `MOST_SIGNATURES`, one under each key. A reader keeps and
cosigns only the signatures of the owner's keys: a false line under the reader's own name never
becomes part of its receipt.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.seal.keys import Algorithm, cosigned_at
from sinergi_schemas.seal.note import (
    Note,
    Signature,
    parse_bounded,
    parse_note,
    parse_root,
    parse_size,
    sign_note,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey

MOST_BYTES = 4 * 1024
MOST_SIGNATURES = 16  # as many as C2SP signed-note asks of everybody
MOST_RECEIPT_BYTES = MOST_BYTES + 1024
_COSIGNATURES = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree of one topic and partition: `<bus>/<topic>/<partition>`, its size and its root."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What the last message of a batch carries: a checkpoint's note, and the frontier under it."""

    note: str
    frontier: Sequence[bytes]


def sign(checkpoint: Checkpoint, keys: Iterable[SigningKey]) -> str:
    """The signed note of a checkpoint, by the first `MOST_SIGNATURES` of some keys.

    Raises:
        NoteMalformed: there is no key, or there can be no such checkpoint.
        ValueError: a key is one of receipts.
    """
    note = sign_note(str(checkpoint), islice(keys, MOST_SIGNATURES))
    if parse(parse_note(note)) != checkpoint:
        raise errors.NoteMalformed("an origin is one line")
    return note


def parse(note: Note) -> Checkpoint:
    """The checkpoint that a note states, signed by whomever.

    Raises:
        NoteMalformed: its text is no checkpoint.
    """
    lines = note.text[:-1].split("\n")
    if len(lines) < 3 or "" in lines:
        raise errors.NoteMalformed("a checkpoint has an origin, a size and a root")
    size = parse_size(lines[1])
    return Checkpoint(lines[0], size, parse_root(lines[2], size))


def verify(note: str, origin: str, keys: KeyRing) -> Checkpoint:
    """The checkpoint of an origin, from a note signed by the key that must sign its size.

    A receipt is such a note, with one signature more.

    Args:
        note: as it was read.
        origin: `<bus>/<topic>/<partition>`, which the note must be about.
        keys: the owner's, for this topic-partition; those of receipts do not count.

    Raises:
        NoteMalformed: it is no checkpoint.
        OriginForeign: it is about another topic or partition.
        SignatureInvalid, SignatureMissing: see `KeyRing.verify`.
    """
    try:
        parsed = parse_receipt(note)
        stated = parse(parsed)
    except errors.NoteMalformed as why:
        raise errors.NoteMalformed(f"{why.what}; it was read at {origin}") from None
    if stated.origin != origin:
        raise errors.OriginForeign(origin, parsed.subject)
    keys.verify(parsed, stated.size)
    return stated


def parse_receipt(note: str) -> Note:
    """Take the note of a checkpoint or of a receipt for one apart; nobody has verified it.

    Raises:
        NoteMalformed: it is no such note, or there is too much of it.
    """
    most = MOST_SIGNATURES + _COSIGNATURES
    return parse_bounded(note, "a checkpoint and its receipt", MOST_RECEIPT_BYTES, most)


def of_owner(note: str, keys: Iterable[VerifyingKey]) -> str:
    """A verified checkpoint's note with one signature of each of its owner's keys, and no other.

    Raises:
        NoteMalformed: it is no checkpoint.
    """
    parsed = parse_receipt(note)
    made = (next((each for each in parsed.signatures if each.claims(key)), None) for key in keys)
    return str(Note(parsed.text, tuple(each for each in made if each)))


def cosign(note: str, key: SigningKey, posix_time: int) -> str:
    """A checkpoint's note with one more line: a cosignature/v1 at a time (seconds since 1970).

    Raises:
        NoteMalformed: it is no checkpoint.
        ValueError: the key is not one of receipts, or there is no such time.
    """
    parsed = parse_note(note)
    parse(parsed)
    value = key.cosign(parsed.text.encode(), posix_time)
    return str(Note(parsed.text, (*parsed.signatures, Signature(key.name, key.public.id, value))))


def verify_cosignature(note: Note, key: VerifyingKey) -> int | None:
    """When a key cosigned a note first (seconds since 1970), or None where it did not.

    One that holds suffices: anybody can write a false one beside it.

    Raises:
        SignatureInvalid: there are cosignatures under that key, and none of them holds.
    """
    claimed = [each for each in note.signatures if each.claims(key)]
    if key.algorithm is not Algorithm.COSIGNATURE or not claimed:
        return None
    text = note.text.encode()
    true = [each for each in claimed if key.verify(each.value, text)]
    if not true:
        raise errors.SignatureInvalid(key.name, note.subject)
    return min(cosigned_at(each.value) for each in true)
