"""Ed25519 keys as C2SP signed-note writes them.

    key id      = SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]
    public      = <name>+<key id, 8 hex digits>+<base64(type ‖ public key)>
    private     = PRIVATE+KEY+<name>+<key id, 8 hex digits>+<base64(type ‖ seed)>

The type tells what a key may sign: 0x01 notes of its own (an agency's checkpoints and heads), 0x04
cosignatures with a time (the receipts of a database).
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sinergi_schemas import errors

if TYPE_CHECKING:
    from pathlib import Path

_PRIVATE = "PRIVATE+KEY+"
_KEY_LENGTH = 32


class KeyType(IntEnum):
    """The signature types of C2SP signed-note that are used here."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, its name and what it may sign."""

    name: str
    type: KeyType
    public: bytes
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_key", Ed25519PublicKey.from_public_bytes(self.public))

    @property
    def id(self) -> bytes:
        """The four bytes that a signature names its key by."""
        return _key_id(self.name, self.type, self.public)

    @classmethod
    def parse(cls, text: str) -> VerifyingKey:
        """A key out of its text form.

        Raises:
            ValueError: it is not one, or its id does not match.
        """
        name, kind, public = _parse(text)
        key = cls(name, kind, public)
        if text != str(key):
            raise ValueError("the key id does not match the key, or the text is not canonical")
        return key

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether a bare Ed25519 signature of 64 bytes holds for a message."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        body = base64.b64encode(bytes([self.type]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{body}"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key. Its representation shows the name only."""

    name: str
    type: KeyType
    _key: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls, name: str, kind: KeyType = KeyType.ED25519) -> SigningKey:
        """A fresh key.

        Raises:
            ValueError: the name cannot stand in a signature line.
        """
        check_name(name)
        return cls(name, kind, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """A key out of its text form.

        Raises:
            ValueError: it is not one, or its id does not match.
        """
        if not text.startswith(_PRIVATE):
            raise ValueError(f"it does not begin with {_PRIVATE}")
        name, kind, seed = _parse(text.removeprefix(_PRIVATE))
        key = cls(name, kind, Ed25519PrivateKey.from_private_bytes(seed))
        if text != key.private_text():
            raise ValueError("the key id does not match the key, or the text is not canonical")
        return key

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key file.

        Raises:
            KeyFileRefused: it is missing, readable by others, or holds no key.
        """
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise errors.KeyFileRefused(
                str(path), "it is not there; `sinergi init` makes it"
            ) from None
        except (OSError, UnicodeDecodeError) as why:
            raise errors.KeyFileRefused(
                str(path), f"it cannot be read ({type(why).__name__})"
            ) from None
        if stat.S_IMODE(mode) & 0o077:
            raise errors.KeyFileRefused(str(path), f"others may read it; `chmod 600 {path}`")
        try:
            return cls.parse(text)
        except ValueError as why:
            raise errors.KeyFileRefused(str(path), str(why)) from None

    def save(self, path: Path) -> None:
        """Write a new key file that nobody else can read.

        Raises:
            KeyFileRefused: there is a file already, or the folder does not take one.
        """
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise errors.KeyFileRefused(
                str(path), "there is one already; move it away first"
            ) from None
        except OSError as why:
            raise errors.KeyFileRefused(
                str(path), f"it cannot be written ({why.strerror})"
            ) from None
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(self.private_text() + "\n")

    @property
    def public(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self.name, self.type, self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """A bare Ed25519 signature of 64 bytes."""
        return self._key.sign(message)

    def private_text(self) -> str:
        """The text form with the secret in it: for a file of mode 0600 and nothing else."""
        public = self.public
        body = base64.b64encode(bytes([self.type]) + self._key.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.name}+{public.id.hex()}+{body}"


def check_name(name: str) -> None:
    """Hold a key name to what a signature line can carry.

    Raises:
        ValueError: it is empty, or has a space, a plus or a control character.
    """
    if not name or "+" in name or any(each.isspace() or not each.isprintable() for each in name):
        raise ValueError(f"{name!r} cannot name a key: no spaces, no plus signs")


def _key_id(name: str, kind: KeyType, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def _parse(text: str) -> tuple[str, KeyType, bytes]:
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise ValueError("it is not <name>+<key id>+<key>")
    name, _, body = parts
    check_name(name)
    try:
        decoded = base64.b64decode(body, validate=True)
    except binascii.Error:
        raise ValueError("its key is not base64") from None
    if len(decoded) != 1 + _KEY_LENGTH or decoded[0] not in tuple(KeyType):
        raise ValueError("its key is not an Ed25519 key of type 1 or 4")
    return name, KeyType(decoded[0]), decoded[1:]
