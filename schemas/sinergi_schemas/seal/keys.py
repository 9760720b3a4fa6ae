"""Ed25519 keys as C2SP signed-note writes them.

    key id      = SHA-256(name ‖ 0x0A ‖ algorithm ‖ public key)[:4]
    public      = <name>+<key id, 8 hex digits>+<base64(algorithm ‖ public key)>
    private     = PRIVATE+KEY+<name>+<key id, 8 hex digits>+<base64(algorithm ‖ seed)>

The algorithm tells what a key may sign: 0x01 notes of its own (an agency's checkpoints and heads),
0x04 cosignatures with a time (the receipts of a database). No key does both, so that no signature
can be passed off as one of the other kind.
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
        ValueError: the name cannot stand in a signature line, or the key is none that an honest
            generator makes; see `points`.
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

    @classmethod
    def parse(cls, text: str) -> VerifyingKey:
        """A key out of its text form.

        Raises:
            ValueError: it is not one, or its id does not match.
        """
        key = cls(*_parse(text))
        if text != str(key):
            raise ValueError("the key id does not match the key, or the text is not canonical")
        return key

    def verify(self, signature: bytes, text: bytes) -> bool:
        """Whether this key signed a note's text: 64 bytes, for a cosignature its time before."""
        if self.algorithm is Algorithm.COSIGNATURE:
            time = cosigned_at(signature)
            if time > _LATEST:
                return False
            signature, text = signature[_TIME_LENGTH:], _cosigned(text, time)
        try:
            self._key.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        body = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{body}"


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A private key. Its representation shows the public half only."""

    public: VerifyingKey
    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, name: str, algorithm: Algorithm = Algorithm.ED25519) -> SigningKey:
        """A fresh key.

        Raises:
            ValueError: the name cannot stand in a signature line.
        """
        return cls._of(name, algorithm, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """A key out of its text form.

        Raises:
            ValueError: it is not one, or its id does not match.
        """
        if not text.startswith(_PRIVATE):
            raise ValueError(f"it does not begin with {_PRIVATE}")
        name, algorithm, seed = _parse(text.removeprefix(_PRIVATE))
        key = cls._of(name, algorithm, Ed25519PrivateKey.from_private_bytes(seed))
        if text != key.private_text():
            raise ValueError("the key id does not match the key, or the text is not canonical")
        return key

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key file.

        Raises:
            KeyFileRefused: it is missing, no regular file, open to others, or holds no key.
        """
        try:
            mode, data = input_file.read_regular(path, _LONGEST_FILE)
        except FileNotFoundError:
            what = "it is not there; `sinergi init` makes it"
            raise errors.KeyFileRefused(str(path), what) from None
        except OSError as why:
            what = f"it cannot be read ({why.strerror})"
            raise errors.KeyFileRefused(str(path), what) from None
        if file_rights.is_open(mode):
            raise errors.KeyFileRefused(
                str(path),
                f"others may read or write it; `chmod 600 {path}`, and think of a new key",
            )
        try:
            return cls.parse(data.decode().removesuffix("\n"))
        except UnicodeDecodeError:
            raise errors.KeyFileRefused(str(path), "it is not text") from None
        except ValueError as why:
            raise errors.KeyFileRefused(str(path), str(why)) from None

    def save(self, path: Path) -> None:
        """Write a new key file that nobody else can read.

        Raises:
            KeyFileRefused: there is a file already, or the folder does not take one.
        """
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
            with os.fdopen(made, "w", encoding="utf-8") as file:
                file.write(self.private_text() + "\n")
                file.flush()
                os.fsync(made)
        except FileExistsError:
            what = "there is one already; move it away first"
            raise errors.KeyFileRefused(str(path), what) from None
        except OSError as why:
            what = f"it cannot be written ({why.strerror})"
            raise errors.KeyFileRefused(str(path), what) from None

    @property
    def name(self) -> str:
        """The name that its signatures bear."""
        return self.public.name

    @property
    def algorithm(self) -> Algorithm:
        """What it may sign."""
        return self.public.algorithm

    def sign(self, text: bytes) -> bytes:
        """Sign a note's text as its author: 64 bytes.

        Raises:
            ValueError: this is a key of receipts.
        """
        if self.algorithm is not Algorithm.ED25519:
            raise ValueError(f"{self.name} is a key of receipts; it signs no note of its own")
        return self._key.sign(text)

    def cosign(self, text: bytes, posix_time: int) -> bytes:
        """Sign a checkpoint's text as its witness, C2SP tlog-cosignature: time, then 64 bytes.

        Raises:
            ValueError: this is no key of receipts, or there is no such time.
        """
        if self.algorithm is not Algorithm.COSIGNATURE:
            raise ValueError(f"{self.name} is a key of checkpoints; it signs no receipt")
        if not 0 <= posix_time <= _LATEST:
            raise ValueError(f"{posix_time} is no POSIX time")
        signature = self._key.sign(_cosigned(text, posix_time))
        return posix_time.to_bytes(_TIME_LENGTH, "big") + signature

    def private_text(self) -> str:
        """The text form with the secret in it: for a file of mode 0600 and nothing else."""
        body = base64.b64encode(bytes([self.algorithm]) + self._key.private_bytes_raw()).decode()
        return f"{_PRIVATE}{self.name}+{self.public.id.hex()}+{body}"

    @classmethod
    def _of(cls, name: str, algorithm: Algorithm, key: Ed25519PrivateKey) -> SigningKey:
        return cls(VerifyingKey(name, algorithm, key.public_key().public_bytes_raw()), key)


def check_name(name: str) -> None:
    """Hold a key name to what a signature line can carry.

    Raises:
        ValueError: it is empty, or has a space, a plus or a control character.
    """
    if not name or "+" in name or " " in name or not name.isprintable():
        raise ValueError("a key's name is not empty and holds no space and no plus sign")


def cosigned_at(signature: bytes) -> int:
    """The POSIX time in a cosignature; it is to be believed only if the key verifies it."""
    return int.from_bytes(signature[:_TIME_LENGTH], "big")


def _cosigned(text: bytes, posix_time: int) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (posix_time, text)


def _key_id(name: str, algorithm: Algorithm, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + public).digest()[:4]


def _parse(text: str) -> tuple[str, Algorithm, bytes]:
    parts = text.split("+", 2)
    if len(parts) != 3:
        raise ValueError("it is not <name>+<key id>+<key>")
    name, _, body = parts
    try:
        decoded = base64.b64decode(body, validate=True)
    except binascii.Error:
        raise ValueError("its key is not base64") from None
    if len(decoded) != 1 + _KEY_LENGTH or decoded[0] not in tuple(Algorithm):
        raise ValueError("its key is not an Ed25519 key of type 1 or 4")
    return name, Algorithm(decoded[0]), decoded[1:]
