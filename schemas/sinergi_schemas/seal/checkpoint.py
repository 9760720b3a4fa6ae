"""Checkpoints: signed statements about a tree, and receipts for them.

The text is a C2SP tlog-checkpoint, a receipt a C2SP tlog-cosignature under it:

    <bus>/<topic>/<partition>           the origin
    <size>
    <base64 root>

    — <bus>/<agency> …                  the owner; two signatures during a key rotation
    — <bus>/<agency>/<database> …       a database that has materialised the tree

The specification allows further lines of text and signatures by any key. Sinergi ignores both.
Every reader has to parse them, so a checkpoint has at most `MOST_BYTES` and `MOST_SIGNATURES`, and
at most one signature per key. A reader stores and cosigns only the signatures of the owner's keys.
Otherwise anybody could add a false line under the reader's name, and it would become part of the
reader's receipt.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
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
MOST_SIGNATURES = 16  # C2SP signed-note requires every implementation to accept this number
MOST_RECEIPT_BYTES = MOST_BYTES + 1024
_COSIGNATURES = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The size and root of a topic-partition's tree. Origin: `<bus>/<topic>/<partition>`."""

    origin: str
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """The headers of the last message of a batch: a checkpoint's note, and its tree's frontier."""

    note: str
    frontier: Sequence[bytes]


def sign(checkpoint: Checkpoint, keys: Iterable[SigningKey]) -> str:
    """Sign a checkpoint with the first `MOST_SIGNATURES` of the keys. Returns the note.

    Raises:
        NoteMalformed: there is no key, or a reader would refuse the checkpoint.
        ValueError: a key is a receipt key.
    """
    note = sign_note(str(checkpoint), islice(keys, MOST_SIGNATURES))
    if parse(parse_note(note)) != checkpoint:
        raise errors.NoteMalformed("an origin is one line")
    return note


def parse(note: Note) -> Checkpoint:
    """Read the checkpoint in a note. It verifies no signature.

    Raises:
        NoteMalformed: the text is not a checkpoint.
    """
    lines = note.text[:-1].split("\n")
    if len(lines) < 3 or "" in lines:
        raise errors.NoteMalformed("a checkpoint has an origin, a size and a root")
    size = parse_size(lines[1])
    return Checkpoint(lines[0], size, parse_root(lines[2], size))


def stated(note: str) -> Checkpoint | None:
    """The checkpoint that a text states, if it is one. It reads no signature."""
    text, parted, _ = note.partition("\n\n")
    if not parted or len(note) > MOST_RECEIPT_BYTES:
        return None
    try:
        return parse(Note(text + "\n", ()))
    except errors.NoteMalformed:
        return None


def verify(note: str, origin: str, keys: KeyRing) -> Checkpoint:
    """Read the checkpoint in a note, and verify the signature of the key that its size requires.

    The note may be a receipt, which has one more signature.

    Args:
        note: the text that was read.
        origin: `<bus>/<topic>/<partition>`; the checkpoint must have this origin.
        keys: the owner's keys for this topic-partition, without receipt keys.

    Raises:
        NoteMalformed: it is not a checkpoint.
        OriginForeign: the checkpoint has another origin.
        SignatureInvalid, SignatureMissing: see `KeyRing.verify`.
    """
    try:
        parsed = parse_receipt(note)
        found = parse(parsed)
    except errors.NoteMalformed as why:
        raise errors.NoteMalformed(f"{why.what}; it was read at {origin}") from None
    if found.origin != origin:
        raise errors.OriginForeign(origin, parsed.subject)
    keys.verify(parsed, found.size)
    return found


@lru_cache(maxsize=4)  # a reader verifies a note, and then keeps a part of it
def parse_receipt(note: str) -> Note:
    """Parse the note of a checkpoint or of a receipt. It verifies no signature.

    Raises:
        NoteMalformed: it is not a note, or it is too long or has too many signatures.
    """
    most = MOST_SIGNATURES + _COSIGNATURES
    return parse_bounded(note, "a checkpoint and its receipt", MOST_RECEIPT_BYTES, most)


def keep_owner_signatures(note: str, keys: Iterable[VerifyingKey]) -> str:
    """Remove all signatures that are not by the owner's keys from a verified checkpoint's note.

    Raises:
        NoteMalformed: it is not a checkpoint.
    """
    parsed = parse_receipt(note)
    made = (next((each for each in parsed.signatures if each.claims(key)), None) for key in keys)
    return str(Note(parsed.text, tuple(each for each in made if each)))


def cosign(note: str, key: SigningKey, posix_time: int) -> str:
    """Add a cosignature/v1 with a time (seconds since 1970) to a checkpoint's note.

    Raises:
        NoteMalformed: it is not a checkpoint.
        ValueError: the key is not a receipt key, or the time is out of range.
    """
    parsed = parse_note(note)
    parse(parsed)
    value = key.cosign(parsed.text.encode(), posix_time)
    return str(Note(parsed.text, (*parsed.signatures, Signature(key.name, key.public.id, value))))


def verify_cosignature(note: Note, key: VerifyingKey) -> int | None:
    """The time of a key's earliest valid cosignature (seconds since 1970), or None without one.

    One valid cosignature suffices, because anybody can add an invalid one under the same name.

    Raises:
        SignatureInvalid: there are cosignatures under that key, and none is valid.
    """
    claimed = [each for each in note.signatures if each.claims(key)]
    if key.algorithm is not Algorithm.COSIGNATURE or not claimed:
        return None
    text = note.text.encode()
    valid = [each for each in claimed if key.verify(each.value, text)]
    if not valid:
        raise errors.SignatureInvalid(key.name, note.subject)
    return min(cosigned_at(each.value) for each in valid)
