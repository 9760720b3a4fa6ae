"""Signed notes: a text, followed by signatures (C2SP signed-note).

    <text; each line ends in a newline>
                                        an empty line
    — <key name> <base64(key id ‖ signature)>

The signatures cover the text including its last newline. Do not use a note before `verify_note` has
found a valid signature by a trusted key. A note has exactly one valid form; the parser refuses all
others.
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

    @property
    def name_with_id(self) -> str:
        """Name and id of the key that it names, as `VerifyingKey.name_with_id`."""
        return f"{self.name}+{self.key_id.hex()}"

    def claims(self, key: VerifyingKey) -> bool:
        """Whether the line names this key, by both name and id."""
        return self.key_id == key.id and self.name == key.name


@dataclass(frozen=True, slots=True)
class Note:
    """A signed text. Every line of the text ends with a newline."""

    text: str
    signatures: tuple[Signature, ...]

    @property
    def subject(self) -> str:
        """The first line, which names what the note is about, in at most 200 characters."""
        return self.text.partition("\n")[0][:_SHOWN]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"


def sign_note(text: str, keys: Iterable[SigningKey]) -> str:
    """Sign a text with each key. Returns the note.

    Raises:
        NoteMalformed: there is no key, or a reader would refuse the note.
        ValueError: a key is a receipt key.
    """
    data = text.encode()
    signatures = (Signature(key.name, key.public.id, key.sign(data)) for key in keys)
    note = Note(text, tuple(signatures))
    if parse_note(str(note)) != note:
        raise errors.NoteMalformed("the text does not end with a newline")
    return str(note)


def parse_note(note: str) -> Note:
    """Parse a note strictly. It verifies no signature.

    Raises:
        NoteMalformed: it is not a signed note in its canonical form.
    """
    text, parted, lines = note.rpartition("\n\n")
    if len(note) > MOST_CHARACTERS or not parted or not lines.endswith("\n"):
        raise errors.NoteMalformed("it is not a text, an empty line and signatures")
    if not note.replace("\n", "").isprintable():
        raise errors.NoteMalformed("it contains control characters")
    if lines.count("\n") > MOST_SIGNATURES:
        raise errors.NoteMalformed(f"more than {MOST_SIGNATURES} signatures")
    return Note(text + "\n", tuple(map(_signature, lines[:-1].split("\n"))))


def parse_bounded(note: str, what: str, most_bytes: int, most_signatures: int) -> Note:
    """Parse a note of limited length with a limited number of signatures, one per key.

    The author of a note can make it long and add many signature lines, and a reader hashes the
    whole text for each signature.

    Args:
        note: the text that was read.
        what: the kind of note, for the error.
        most_bytes: the limit for the whole note in UTF-8.
        most_signatures: the limit for its signature lines.

    Raises:
        NoteMalformed: it is not a signed note, or it exceeds a limit.
    """
    if len(note) > most_bytes or len(note.encode(errors="replace")) > most_bytes:
        raise errors.NoteMalformed(f"{what}: more than {most_bytes} bytes")
    parsed = parse_note(note)
    if len(parsed.signatures) > most_signatures:
        raise errors.NoteMalformed(f"{what}: more than {most_signatures} signatures")
    if len({(each.name, each.key_id) for each in parsed.signatures}) < len(parsed.signatures):
        raise errors.NoteMalformed(f"{what}: two signatures of one key")
    return parsed


def verify_note(
    note: Note, keys: Sequence[VerifyingKey], algorithm: Algorithm = Algorithm.ED25519
) -> list[Signature]:
    """Verify that at least one of the keys signed a note, and that all their signatures are valid.

    Signatures of other keys are ignored (C2SP signed-note).

    Returns:
        The valid signatures.

    Raises:
        SignatureInvalid: a signature of one of the keys is not valid.
        SignatureMissing: none of the keys signed.
    """
    trusted = [key for key in keys if key.algorithm is algorithm]
    text = note.text.encode()
    valid = []
    for each in note.signatures:
        claimed = [key for key in trusted if each.claims(key)]
        if claimed and not any(key.verify(each.value, text) for key in claimed):
            raise errors.SignatureInvalid(each.name, note.subject)
        valid += [each] if claimed else []
    if not valid:
        raise errors.SignatureMissing(note.subject, key_names(trusted))
    return valid


def key_names(keys: Iterable[VerifyingKey]) -> str:
    """Name and id of each key, as the key's text in an agreement begins."""
    return ", ".join(sorted({key.name_with_id for key in keys})) or "nobody"


def parse_size(text: str) -> int:
    """Read a tree size or another number: at most 18 ASCII digits without a leading zero.

    Raises:
        NoteMalformed: the text has another form.
    """
    digits = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    if not digits or text != str(int(text)):
        raise errors.NoteMalformed("a number is not plain decimal")
    return int(text)


def parse_root(text: str, size: int) -> bytes:
    """Read the root of a tree of this size.

    Raises:
        NoteMalformed: the text is not the base64 of a SHA-256 hash, or the size is 0 and it is not
            the root of an empty tree.
    """
    root = parse_base64(text)
    if len(root) != HASH_LENGTH:
        raise errors.NoteMalformed("a root is not 32 bytes")
    if size == 0 and root != EMPTY_ROOT:
        raise errors.NoteMalformed("the root of an empty tree is not the SHA-256 of no bytes")
    return root


def parse_base64(text: str) -> bytes:
    """Read bytes from canonical base64 (RFC 4648 §4).

    Raises:
        NoteMalformed: the text is not canonical base64.
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
        raise errors.NoteMalformed("a line after the empty line is not a signature")
    value = parse_base64(parts[2])
    if len(value) <= _ID_LENGTH:
        raise errors.NoteMalformed("a signature is too short")
    return Signature(parts[1], value[:_ID_LENGTH], value[_ID_LENGTH:])
