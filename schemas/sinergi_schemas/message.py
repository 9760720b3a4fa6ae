"""A Kafka message: its leaf, its frame and its headers.

Only the leaf is sealed. Frame and headers are for other tools, and hints for Sinergi. Code that
uses a hint checks it against the leaf or the seal.

    leaf data  = fingerprint (32) ‖ length of the key (4, big-endian) ‖ key ‖ datum
    leaf hash  = SHA-256(0x00 ‖ leaf data)      RFC 6962 §2.1, computed by `seal.merkle.leaf_hash`
    value      = 0x00 ‖ schema id (4, big-endian) ‖ datum              Confluent framing
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64encode
from collections import Counter
from functools import lru_cache
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from sinergi_schemas import errors
from sinergi_schemas.seal.checkpoint import MOST_BYTES, SignedCheckpoint
from sinergi_schemas.seal.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sinergi_schemas.topics import Topic

FRAME_LENGTH = 5
FINGERPRINT_LENGTH = 32
_MOST_DIGITS = 18
_ZERO = ord("0")
_MOST_FRONTIER_BYTES = 63 * 32

SCHEMA = "sinergi_schema"
LEAF = "sinergi_leaf"
CHECKPOINT = "sinergi_checkpoint"
FRONTIER = "sinergi_frontier"

_EVENT_ID = "ce_id"
_MOST_ID_BYTES = 64
MOST_HEADERS = 1_000

# If a hot loop calls the method directly, CPython 3.11 does not check whether confluent_kafka has
# set an error, and continues with headers that crash the process.
_headers_of = methodcaller("headers")
_UNIQUE_HEADERS = frozenset({SCHEMA, LEAF, CHECKPOINT, FRONTIER, _EVENT_ID})
_VERSION = ("ce_specversion", b"1.0")
# Not `application/avro`: whoever trusts that takes the frame for the beginning of the datum.
_CONTENT_TYPE = ("content-type", b"application/vnd.confluent.avro")


class Envelope(NamedTuple):
    """The fields of an event that are also written to headers."""

    event_id: UUID | str
    recorded_at: datetime
    traceparent: str | None


class Message(NamedTuple):
    """One message that was read from a topic.

    It is a named tuple and not a dataclass, because a batch has up to 20,000 of them.

    Attributes:
        leaf: the leaf hash.
        sealed: the checkpoint and frontier in its headers, if any.
        event_id: from a header, for people who search for an event; no seal covers it. None if it
            is missing or too long.
    """

    offset: int
    leaf_index: int
    fingerprint: bytes
    key: bytes
    datum: bytes
    leaf: bytes
    sealed: SignedCheckpoint | None = None
    event_id: bytes | None = None

    @classmethod
    def of_leaf(cls, leaf_index: int, fingerprint: bytes, key: bytes, datum: bytes) -> Message:
        """A message whose offset and headers are not known any more."""
        leaf = leaf_hash(leaf_data(fingerprint, key, datum))
        return cls(0, leaf_index, fingerprint, key, datum, leaf)

    @property
    def size(self) -> int:
        """The bytes of memory that its content takes, including its checkpoint."""
        size = len(self.key) + len(self.datum)
        if self.sealed is None:
            return size
        return size + len(self.sealed.note) + FINGERPRINT_LENGTH * len(self.sealed.frontier)

    @property
    def leaf_data(self) -> bytes:
        """The bytes that the leaf hash covers."""
        return leaf_data(self.fingerprint, self.key, self.datum)


Parsed: TypeAlias = "Message | errors.MessageMalformed"
"""A parsed message, or why it is none of Sinergi's."""


def parse(received: ReceivedMessage) -> Message:
    """Parse a message of the client library.

    Each header of Sinergi must have its exact form and occur at most once. Other headers may have
    any content.

    Raises:
        MessageMalformed: the key or the Confluent frame is missing, or a header of Sinergi is
            missing, occurs twice or is malformed. No message causes another error.
    """
    try:
        return _parsed(received)
    except KeyError as why:
        raise _malformed(received, f"the header {why.args[0]} is missing") from None
    except UnicodeDecodeError:
        raise _malformed(received, "a header is not text") from None
    except ValueError as why:
        raise _malformed(received, str(why)) from None


def parsed_or_error(received: ReceivedMessage) -> Parsed:
    """As `parse`, but it returns the error in place of the message."""
    try:
        return parse(received)
    except errors.MessageMalformed as why:
        # A new one: that which was raised keeps frames, and so the message, in a reference cycle.
        return errors.MessageMalformed(why.topic, why.partition, why.offset, why.what)


def parsed_or_none(received: ReceivedMessage) -> Message | None:
    """As `parse`, but it returns None for a message that is none of Sinergi's."""
    found = parsed_or_error(received)
    return found if isinstance(found, Message) else None


def _parsed(received: ReceivedMessage) -> Message:
    """Parse a message, or raise a ValueError or KeyError that names the problem."""
    key, value = received.key(), received.value()
    if key is None or not value or value[0] or len(value) < FRAME_LENGTH:
        raise ValueError("no key or no Confluent frame")
    pairs = headers(received)
    found = dict(pairs)
    if len(found) != len(pairs):
        _check_unique(pairs)
    fingerprint, datum = _fingerprint(found[SCHEMA]), value[FRAME_LENGTH:]
    return Message(
        received.offset() or 0,
        _index(found[LEAF]),
        fingerprint,
        key,
        datum,
        leaf_hash(leaf_data(fingerprint, key, datum)),
        _sealed(found[CHECKPOINT], found.get(FRONTIER)) if CHECKPOINT in found else None,
        _event_id(found.get(_EVENT_ID)),
    )


def _check_unique(pairs: Iterable[tuple[str, bytes | None]]) -> None:
    """Check that no header of Sinergi occurs twice.

    Raises:
        ValueError: a header occurs twice.
    """
    names = Counter(name for name, _ in pairs)
    for name in _UNIQUE_HEADERS:
        if names[name] > 1:
            raise ValueError(f"the header {name} occurs twice")


def headers(received: ReceivedMessage) -> Sequence[tuple[str, bytes | None]]:
    """The headers of a message, in their order: the first 1,000.

    Further ones are also dropped from the message, which no tool writes with so many: a small batch
    can hold millions, and a reader keeps the messages of a whole chunk.

    Raises:
        ValueError: the name of a header is not UTF-8.
    """
    try:
        found = _headers_of(received) or ()
        if len(found) > MOST_HEADERS:
            found = found[:MOST_HEADERS]
            _set_headers(received, [*found])
    except (SystemError, UnicodeDecodeError):
        # confluent_kafka (2.16) keeps the incomplete list and returns it at the next call; reading
        # that list crashes the process.
        _set_headers(received, [])
        raise ValueError("the name of a header is not text") from None
    return found


def _set_headers(received: ReceivedMessage, headers: list[Any]) -> None:
    set_headers: Callable[[list[Any]], None] | None = getattr(received, "set_headers", None)
    if set_headers:
        set_headers(headers)


class ReceivedMessage(Protocol):
    """The methods of `confluent_kafka.Message` that are used here, without importing the client."""

    def topic(self) -> str | None:
        """The topic's name."""

    def partition(self) -> int | None:
        """The partition's number."""

    def offset(self) -> int | None:
        """The offset on this cluster."""

    def key(self) -> bytes | None:
        """The key's bytes."""

    def value(self) -> bytes | None:
        """The value's bytes."""

    def headers(self) -> Any:
        """The headers in order, as pairs of text and bytes, or None if there are none."""


def _malformed(received: ReceivedMessage, why: str) -> errors.MessageMalformed:
    return errors.MessageMalformed(
        received.topic() or "", received.partition() or 0, received.offset() or 0, why
    )


def _index(text: bytes | None) -> int:
    if not text or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise ValueError(f"{LEAF} is not a plain decimal number")
    if text[0] == _ZERO and len(text) > 1:
        raise ValueError(f"{LEAF} is not a plain decimal number")
    return int(text)


def _event_id(given: bytes | None) -> bytes | None:
    """The id in a header, or None if it is too long. The id is only a hint."""
    return given if given is not None and len(given) <= _MOST_ID_BYTES else None


@lru_cache(maxsize=1024)
def _fingerprint(text: bytes | None) -> bytes:
    found = _hexadecimal(text or b"")
    if found is None or len(found) != FINGERPRINT_LENGTH:
        raise ValueError(f"{SCHEMA} is not 64 hexadecimal digits in lower case")
    return found


def _sealed(note: bytes | None, frontier: bytes | None) -> SignedCheckpoint:
    """The checkpoint and the frontier of the headers. A malformed frontier, a hint, is ignored."""
    if note is None:
        raise ValueError(f"the header {CHECKPOINT} has no value")
    if len(note) > MOST_BYTES:
        raise ValueError(f"{CHECKPOINT} is longer than {MOST_BYTES} bytes")
    hashes = _hexadecimal(frontier or b"") or b""
    if len(hashes) % FINGERPRINT_LENGTH or len(hashes) > _MOST_FRONTIER_BYTES:
        hashes = b""
    return SignedCheckpoint(
        note.decode(),
        [hashes[at : at + 32] for at in range(0, len(hashes), FINGERPRINT_LENGTH)],
    )


def _hexadecimal(text: bytes) -> bytes | None:
    """The bytes of lower-case hexadecimal digits, or None if it is anything else."""
    try:
        found = binascii.unhexlify(text)
    except binascii.Error:
        return None
    return found if text == binascii.hexlify(found) else None


def leaf_data(fingerprint: bytes, key: bytes, datum: bytes) -> bytes:
    """The bytes that a leaf hash covers: fingerprint, length of the key, key, Avro datum."""
    return b"".join((fingerprint, len(key).to_bytes(4, "big"), key, datum))


def frame(schema_id: int, datum: bytes) -> bytes:
    """The value of a message: the Avro datum in Confluent framing."""
    return b"\x00" + schema_id.to_bytes(4, "big") + datum


def schema_uri(fingerprint: bytes) -> str:
    """The name of a schema by the hash of its bytes (RFC 6920), true on every cluster."""
    return f"ni:///sha-256;{urlsafe_b64encode(fingerprint).rstrip(b'=').decode()}"


class HeaderTemplate:
    """The headers that all messages of one topic and schema share.

    First the headers of CloudEvents 1.0 in binary mode (Kafka binding §3.2), then Sinergi's.
    """

    def __init__(self, bus: str, topic: Topic, fingerprint: bytes) -> None:
        self._type = ("ce_type", f"sinergi.{topic.event_type}".encode())
        self._source = ("ce_source", f"/{bus}/{topic.agency}".encode())
        self._schema = (SCHEMA, fingerprint.hex().encode())
        self._schema_uri = ("ce_dataschema", schema_uri(fingerprint).encode())

    def headers(self, key: bytes, index: int, envelope: Envelope) -> list[tuple[str, bytes]]:
        """The headers of a message, in their order."""
        event_id, recorded_at, traceparent = envelope
        found = [
            _VERSION,
            (_EVENT_ID, str(event_id).encode()),
            self._type,
            self._source,
            ("ce_subject", key),
            ("ce_time", recorded_at.isoformat().replace("+00:00", "Z").encode()),
            self._schema_uri,
            _CONTENT_TYPE,
            self._schema,
            (LEAF, b"%d" % index),
        ]
        if traceparent:
            found.append(("traceparent", traceparent.encode()))
        return found


def seal_headers(sealed: SignedCheckpoint) -> list[tuple[str, bytes]]:
    """The two additional headers of the last message of a batch."""
    return [
        (CHECKPOINT, sealed.note.encode()),
        (FRONTIER, b"".join(sealed.frontier).hex().encode()),
    ]
