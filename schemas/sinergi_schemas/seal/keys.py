"""Ed25519 keys as C2SP signed-note writes them.

    key id      = SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key)[:4]
    public      = <name>+<key id, 8 hex digits>+<base64(algorithm ‖ public key)>
    private     = PRIVATE+KEY+<name>+<key id, 8 hex digits>+<base64(algorithm ‖ seed)>

The algorithm says what a key may sign: 0x01 is for notes (an agency's checkpoints and heads), 0x04
is for cosignatures with a time (a database's receipts). No key does both, so a signature of one
kind cannot be used as one of the other kind.
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
from sinergi_schemas.files import file_rights, input_file
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.seal.points import check_public_key

if TYPE_CHECKING:
    from pathlib import Path

_PRIVATE = "PRIVATE+KEY+"
_KEY_LENGTH = 32
_TIME_LENGTH = 8
_LATEST = (1 << 63) - 1
_LONGEST_FILE = 4096


class Algorithm(IntEnum):
    """The signature types of C2SP signed-note that are used here."""

    ED25519 = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, its name and what it may sign.

    Raises:
        ValueError: a signature line cannot hold the name, or no correct key generator makes this
            key; see `points`.
    """

    name: str
    algorithm: Algorithm
    public: bytes
    id: bytes = field(init=False, repr=False, compare=False)
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_name(self.name)
        check_public_key(self.public)
        object.__setattr__(self, "id", _key_id(self.name, self.algorithm, self.public))
        object.__setattr__(self, "_key", Ed25519PublicKey.from_public_bytes(self.public))

    @property
    def name_with_id(self) -> str:
        """The key as people are told of it: its text form begins so."""
        return f"{self.name}+{self.id.hex()}"

    @classmethod
    def parse(cls, text: str) -> VerifyingKey:
        """Read a public key from its text form.

        Raises:
            ValueError: it is not a public key, or its id does not match.
        """
        key = cls(*_parse(text))
        if text != str(key):
            raise ValueError("the key id does not match the key, or the text is not canonical")
        return key

    def verify(self, signature: bytes, text: bytes) -> bool:
        """Whether a signature of a note's text is valid.

        Args:
            signature: 64 bytes; a cosignature has 8 bytes with the time in front of them.
            text: of the note.
        """
        if self.algorithm is Algorithm.COSIGNATURE:
            time = cosigned_at(signature)
            if time > _LATEST:
                return False
            signature, text = signature[_TIME_LENGTH:], _cosigned_text(text, time)
        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        body = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name_with_id}+{body}"


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A private key. Its representation shows only the public key."""

    public: VerifyingKey
    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, name: str, algorithm: Algorithm = Algorithm.ED25519) -> SigningKey:
        """Generate a new key.

        Raises:
            ValueError: a signature line cannot hold the name.
        """
        return cls._of(name, algorithm, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Read a private key from its text form.

        Raises:
            ValueError: it is not a private key, or its id does not match.
        """
        if not text.startswith(_PRIVATE):
            raise ValueError(f"the text does not begin with {_PRIVATE}")
        name, algorithm, seed = _parse(text.removeprefix(_PRIVATE))
        key = cls._of(name, algorithm, Ed25519PrivateKey.from_private_bytes(seed))
        if text != key.private_text():
            raise ValueError("the key id does not match the key, or the text is not canonical")
        return key

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key file.

        Raises:
            KeyFileRefused: the file is missing, is not a regular file, gives other users access,
                or does not hold a key.
        """
        try:
            mode, data = input_file.read_regular(path, _LONGEST_FILE)
        except FileNotFoundError:
            what = "the file does not exist; `sinergi init` creates it"
            raise errors.KeyFileRefused(str(path), what) from None
        except OSError as why:
            raise errors.KeyFileRefused(str(path), f"it {unread(why)}") from None
        if file_rights.is_open(mode):
            raise errors.KeyFileRefused(
                str(path),
                f"other users may read or write the file; run `chmod 600 {path}`, and consider"
                " replacing the key",
            )
        try:
            return cls.parse(data.decode().removesuffix("\n"))
        except UnicodeDecodeError:
            raise errors.KeyFileRefused(str(path), "the file is not text") from None
        except ValueError as why:
            raise errors.KeyFileRefused(str(path), str(why)) from None

    def save(self, path: Path) -> None:
        """Write a new key file that no other user can read.

        Raises:
            KeyFileRefused: the file already exists, or it cannot be written.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            descriptor = os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.private_text() + "\n")
                file.flush()
                os.fsync(descriptor)
        except FileExistsError:
            what = "the file already exists; move it away first"
            raise errors.KeyFileRefused(str(path), what) from None
        except OSError as why:
            what = f"the file cannot be written ({why.strerror})"
            raise errors.KeyFileRefused(str(path), what) from None

    @property
    def name(self) -> str:
        """The name in its signature lines."""
        return self.public.name

    @property
    def algorithm(self) -> Algorithm:
        """What it may sign."""
        return self.public.algorithm

    def sign(self, text: bytes) -> bytes:
        """Sign a note's text as its author. Returns 64 bytes.

        Raises:
            ValueError: this is a receipt key.
        """
        if self.algorithm is not Algorithm.ED25519:
            raise ValueError(f"{self.name} is a receipt key; it may sign only receipts")
        return self._key.sign(text)

    def cosign(self, text: bytes, posix_time: int) -> bytes:
        """Sign a checkpoint's text as a witness (C2SP tlog-cosignature).

        Returns:
            The time in 8 bytes, then the signature in 64 bytes.

        Raises:
            ValueError: this is not a receipt key, or the time is out of range.
        """
        if self.algorithm is not Algorithm.COSIGNATURE:
            raise ValueError(f"{self.name} is a checkpoint key; it may not sign receipts")
        if not 0 <= posix_time <= _LATEST:
            raise ValueError(f"{posix_time} is not a POSIX time")
        signature = self._key.sign(_cosigned_text(text, posix_time))
        return posix_time.to_bytes(_TIME_LENGTH, "big") + signature

    def private_text(self) -> str:
        """The text form, which contains the secret. Write it only to a file of mode 0600."""
        body = base64.b64encode(bytes([self.algorithm]) + self._key.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.public.name_with_id}+{body}"

    @classmethod
    def _of(cls, name: str, algorithm: Algorithm, key: Ed25519PrivateKey) -> SigningKey:
        return cls(VerifyingKey(name, algorithm, key.public_key().public_bytes_raw()), key)


def check_name(name: str) -> None:
    """Check that a signature line can hold a key's name.

    Raises:
        ValueError: it is empty, or has a space, a plus sign or a control character.
    """
    if not name or "+" in name or " " in name or not name.isprintable():
        raise ValueError(
            "a key's name must not be empty, nor contain a space, a plus sign or a control"
            " character"
        )


def cosigned_at(signature: bytes) -> int:
    """The POSIX time in a cosignature. Trust it only if the key verifies the cosignature."""
    return int.from_bytes(signature[:_TIME_LENGTH], "big")


def _cosigned_text(text: bytes, posix_time: int) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (posix_time, text)


def _key_id(name: str, algorithm: Algorithm, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public).digest()[:4]


def _parse(text: str) -> tuple[str, Algorithm, bytes]:
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise ValueError("the text is not <name>+<key id>+<key>")
    name, _, body = parts
    try:
        decoded = base64.b64decode(body, validate=True)
    except binascii.Error:
        raise ValueError("the key is not base64") from None
    if len(decoded) != 1 + _KEY_LENGTH or decoded[0] not in tuple(Algorithm):
        raise ValueError("the key is not an Ed25519 key of type 1 or 4")
    return name, Algorithm(decoded[0]), decoded[1:]
