"""Signed notes: a text, and signatures under it (C2SP signed-note).

    <text; each line ends in a newline>
                                        an empty line
    — <key name> <base64(key id ‖ signature)>

The signatures cover the text with its last newline. A note says nothing before `verify_note` has
found it signed by a key that is trusted. There is one way to write a note, and no other is read.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.seal.keys import Algorithm
from sinergi_schemas.seal.merkle import EMPTY_ROOT, HASH_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey

MOST_CHARACTERS = 512 * 1024
MOST_SIGNATURES = 100

_DASH = "\N{EM DASH}"
_ID_LENGTH = 4
_MOST_DIGITS = 18
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH} {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"

    def claims(self, key: VerifyingKey) -> bool:
        """Whether the line says that this key made it; name and id must both agree."""
        return self.key_id == key.id and self.name == key.name


@dataclass(frozen=True, slots=True)
class Note:
    """A signed text: every line of it ends in a newline."""

    text: str
    signatures: tuple[Signature, ...]

    @property
    def subject(self) -> str:
        """Its first line, which names what it is about; cut to what an error can show."""
        return self.text.partition("\n")[0][:_SHOWN]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"


def sign_note(text: str, keys: Iterable[SigningKey]) -> str:
    """A note over a text, signed by each key.

    Raises:
        NoteMalformed: there is no key, or no reader would take the text for a note.
        ValueError: a key is one of receipts.
    """
    data = text.encode()
    signatures = (Signature(key.name, key.public.id, key.sign(data)) for key in keys)
    note = Note(text, tuple(signatures))
    if parse_note(str(note)) != note:
        raise errors.NoteMalformed("the text does not end in a newline")
    return str(note)


def parse_note(note: str) -> Note:
    """Take a note apart, strictly: what is not canonical is no note.

    Raises:
        NoteMalformed: it is not a signed note.
    """
    text, parted, lines = note.rpartition("\n\n")
    if len(note) > MOST_CHARACTERS or not parted or not lines.endswith("\n"):
        raise errors.NoteMalformed("no text and signatures with an empty line between")
    if not note.replace("\n", "").isprintable():
        raise errors.NoteMalformed("it holds control characters")
    if lines.count("\n") > MOST_SIGNATURES:
        raise errors.NoteMalformed(f"more than {MOST_SIGNATURES} signatures")
    return Note(text + "\n", tuple(map(_signature, lines[:-1].split("\n"))))


def parse_bounded(note: str, what: str, most_bytes: int, most_signatures: int) -> Note:
    """Take a note apart that has few bytes, and few signatures, one under each key.

    Whoever writes a note can make it long and add as many lines as he likes, and each reader pays
    for every signature by as many bytes as the text has.

    Args:
        what: it is to be, for the error.

    Raises:
        NoteMalformed: it is not a signed note, or there is too much of it.
    """
    if len(note) > most_bytes or len(note.encode(errors="replace")) > most_bytes:
        raise errors.NoteMalformed(f"{what}: more than {most_bytes} bytes")
    parsed = parse_note(note)
    if len(parsed.signatures) > most_signatures:
        raise errors.NoteMalformed(f"{what}: more than {most_signatures} signatures")
    if len({(each.name, each.key_id) for each in parsed.signatures}) < len(parsed.signatures):
        raise errors.NoteMalformed(f"{what}: two signatures under one key")
    return parsed


def verify_note(
    note: Note, keys: Sequence[VerifyingKey], algorithm: Algorithm = Algorithm.ED25519
) -> list[Signature]:
    """See that at least one of the keys signed a note, and that none of theirs is false.

    Signatures of other keys are passed over (C2SP signed-note). The true ones are returned.

    Raises:
        SignatureInvalid: a signature under a known key does not hold.
        SignatureMissing: none of the keys signed.
    """
    trusted = [key for key in keys if key.algorithm is algorithm]
    text = note.text.encode()
    true = []
    for each in note.signatures:
        claimed = [key for key in trusted if each.claims(key)]
        if claimed and not any(key.verify(each.value, text) for key in claimed):
            raise errors.SignatureInvalid(each.name, note.subject)
        true += [each] if claimed else []
    if not true:
        raise errors.SignatureMissing(note.subject, key_names(trusted))
    return true


def key_names(keys: Iterable[VerifyingKey]) -> str:
    """The beginnings of the keys' texts, as the agreement shows them."""
    return ", ".join(sorted({f"{key.name}+{key.id.hex()}" for key in keys})) or "nobody"


def parse_size(text: str) -> int:
    """A tree size or another number: ASCII digits without a leading zero.

    Raises:
        NoteMalformed: it is written otherwise, or has more than 18 digits.
    """
    digits = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    if not digits or text != str(int(text)):
        raise errors.NoteMalformed("a number is not plain decimal")
    return int(text)


def parse_root(text: str, size: int) -> bytes:
    """The root of a tree of some size.

    Raises:
        NoteMalformed: it is not the base64 of a SHA-256 hash, or not the one of an empty tree.
    """
    root = parse_base64(text)
    if len(root) != HASH_LENGTH:
        raise errors.NoteMalformed("a root is not 32 bytes")
    if size == 0 and root != EMPTY_ROOT:
        raise errors.NoteMalformed("an empty tree has the SHA-256 of nothing as its root")
    return root


def parse_base64(text: str) -> bytes:
    """Bytes out of base64 (RFC 4648 §4) in the one form in which it is written.

    Raises:
        NoteMalformed: it is something else.
    """
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise errors.NoteMalformed("a value is not base64") from None
    if base64.b64encode(value).decode() != text:
        raise errors.NoteMalformed("a value is not canonical base64")
    return value


def _signature(line: str) -> Signature:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not parts[1] or "+" in parts[1]:
        raise errors.NoteMalformed("a line behind the empty one is no signature")
    value = parse_base64(parts[2])
    if len(value) <= _ID_LENGTH:
        raise errors.NoteMalformed("a signature is too short")
    return Signature(parts[1], value[:_ID_LENGTH], value[_ID_LENGTH:])
