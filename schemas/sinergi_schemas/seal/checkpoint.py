"""Checkpoints: signed statements about a tree, and receipts for them.

The text is a C2SP tlog-checkpoint, the signatures C2SP signed-note, a receipt C2SP
tlog-cosignature:

    <origin>
    <size>
    <base64 root>
                                        an empty line
    — <key name> <base64(key id ‖ signature)>
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.seal.keys import KeyType
from sinergi_schemas.seal.merkle import HASH_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey

_DASH = "\N{EM DASH}"
_MOST_BYTES = 64 * 1024
_MOST_SIGNATURES = 100
_ID_LENGTH = 4
_TIME_LENGTH = 8
_SIGNATURE_LENGTH = 64


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
    """What the last message of a batch carries: the checkpoint's note, and the frontier under it."""

    note: str
    frontier: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH} {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A signed text: every line of it ends in a newline."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"


def sign_note(text: str, keys: Iterable[SigningKey]) -> str:
    """A note over a text, signed by each key."""
    return str(
        Note(
            text, tuple(Signature(key.name, key.public.id, key.sign(text.encode())) for key in keys)
        )
    )


def parse_note(note: str) -> Note:
    """Take a note apart, strictly: what is not canonical is no note.

    Raises:
        NoteMalformed: it is not a signed note.
    """
    text, parted, lines = note.rpartition("\n\n")
    if len(note) > _MOST_BYTES or not parted or not lines.endswith("\n"):
        raise errors.NoteMalformed("no text and signatures with an empty line between")
    if any(not each.isprintable() and each != "\n" for each in note):
        raise errors.NoteMalformed("it holds control characters")
    signatures = tuple(map(_signature, lines[:-1].split("\n")))
    if len(signatures) > _MOST_SIGNATURES:
        raise errors.NoteMalformed(f"more than {_MOST_SIGNATURES} signatures")
    return Note(text + "\n", signatures)


def verify_note(note: Note, keys: Sequence[VerifyingKey]) -> None:
    """See that at least one of the keys signed a note, and that none of theirs is false.

    Signatures of other keys are passed over (C2SP signed-note).

    Raises:
        SignatureInvalid: a signature under a known key does not hold.
        SignatureMissing: none of the keys signed.
    """
    known = {(key.name, key.id): key for key in keys if key.type is KeyType.ED25519}
    valid = 0
    for each in note.signatures:
        key = known.get((each.name, each.key_id))
        if key is None:
            continue
        if not key.verify(each.value, note.text.encode()):
            raise errors.SignatureInvalid(each.name, first_line(note.text))
        valid += 1
    if not valid:
        raise errors.SignatureMissing(first_line(note.text), _names(keys))


def sign(checkpoint: Checkpoint, keys: Iterable[SigningKey]) -> str:
    """The signed note of a checkpoint."""
    return sign_note(str(checkpoint), keys)


def parse(note: Note) -> Checkpoint:
    """The checkpoint that a note states, signed by whomever.

    Raises:
        NoteMalformed: its text is no checkpoint.
    """
    lines = note.text.split("\n")
    if len(lines) < 4 or not lines[0]:
        raise errors.NoteMalformed("a checkpoint has an origin, a size and a root")
    size, root = lines[1], _base64(lines[2])
    if not (size.isascii() and size.isdigit()) or len(size) > 18 or size != str(int(size)):
        raise errors.NoteMalformed("the size is not a plain decimal number")
    if len(root) != HASH_LENGTH:
        raise errors.NoteMalformed("the root is not 32 bytes")
    return Checkpoint(lines[0], int(size), root)


def verify(note: str, keys: Sequence[VerifyingKey]) -> Checkpoint:
    """The checkpoint of a note that one of the keys has signed.

    Raises:
        NoteMalformed, SignatureInvalid, SignatureMissing: see `parse_note` and `verify_note`.
    """
    parsed = parse_note(note)
    verify_note(parsed, keys)
    return parse(parsed)


def cosign(note: str, key: SigningKey, posix_time: int) -> str:
    """A note with one more line: a cosignature/v1 at a time (seconds since 1970)."""
    parsed = parse_note(note)
    value = posix_time.to_bytes(_TIME_LENGTH, "big") + key.sign(_cosigned(parsed, posix_time))
    return str(Note(parsed.text, (*parsed.signatures, Signature(key.name, key.public.id, value))))


def verify_cosignature(note: Note, key: VerifyingKey) -> int | None:
    """When a key cosigned a note (seconds since 1970), or None where it did not.

    Raises:
        SignatureInvalid: there is a cosignature under that key which does not hold.
    """
    for each in note.signatures:
        if key.type is KeyType.COSIGNATURE and (each.name, each.key_id) == (key.name, key.id):
            posix_time = int.from_bytes(each.value[:_TIME_LENGTH], "big")
            signature = each.value[_TIME_LENGTH:]
            if len(signature) != _SIGNATURE_LENGTH or not key.verify(
                signature, _cosigned(note, posix_time)
            ):
                raise errors.SignatureInvalid(each.name, first_line(note.text))
            return posix_time
    return None


def first_line(text: str) -> str:
    """The line that names what a note is about."""
    return text.partition("\n")[0]


def _cosigned(note: Note, posix_time: int) -> bytes:
    return f"cosignature/v1\ntime {posix_time}\n{note.text}".encode()


def _signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not parts[1] or "+" in parts[1]:
        raise errors.NoteMalformed("a line behind the empty one is no signature")
    value = _base64(parts[2])
    if len(value) <= _ID_LENGTH:
        raise errors.NoteMalformed("a signature is too short")
    return Signature(parts[1], value[:_ID_LENGTH], value[_ID_LENGTH:])


def _base64(text: str) -> bytes:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise errors.NoteMalformed("a value is not base64") from None
    if base64.b64encode(value).decode() != text:
        raise errors.NoteMalformed("a value is not canonical base64")
    return value


def _names(keys: Iterable[VerifyingKey]) -> str:
    return ", ".join(sorted({key.name for key in keys})) or "nobody"
