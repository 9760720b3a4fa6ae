"""A message as Kafka carries it: its leaf, its frame and its headers.

Only the leaf decides anything. Frame and headers are conveniences for other people's tools and
hints for ours; whoever reads them checks them against the leaf, or against the seal above it.

    leaf data  = fingerprint (32) ‖ length of the key (4, big-endian) ‖ key ‖ datum
    leaf hash  = SHA-256(0x00 ‖ leaf data)                             RFC 6962 §2.1
    value      = 0x00 ‖ schema id (4, big-endian) ‖ datum              Confluent framing
"""

from __future__ import annotations

import binascii
from collections import Counter
from functools import lru_cache
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sinergi_schemas import errors
from sinergi_schemas.seal.checkpoint import MOST_BYTES, SignedCheckpoint

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

# Called as a method, in a loop that has become hot, CPython 3.11 does not look whether the library
# has reported an error, and goes on with headers that crash the process.
_headers_of = methodcaller("headers")
_READ = frozenset({SCHEMA, LEAF, CHECKPOINT, FRONTIER, _EVENT_ID})
_VERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/avro")


class Envelope(NamedTuple):
    """What the headers say of an event besides its leaf; all of it also stands inside the datum."""

    event_id: UUID | str
    recorded_at: datetime
    traceparent: str | None


class Message(NamedTuple):
    """One message read from a topic: where it lay, its leaf, and the checkpoint it carries.

    A named tuple and not a dataclass, since a batch holds 20,000 of them.

    Attributes:
        event_id: as a header has it, for people who look for an event; no seal covers it. None
            where it is longer than any id.
    """

    offset: int
    leaf_index: int
    fingerprint: bytes
    key: bytes
    datum: bytes
    sealed: SignedCheckpoint | None
    event_id: bytes | None = None

    @property
    def size(self) -> int:
        """The bytes that it takes as long as it is kept, its checkpoint included."""
        size = len(self.key) + len(self.datum)
        if self.sealed is None:
            return size
        return size + len(self.sealed.note) + FINGERPRINT_LENGTH * len(self.sealed.frontier)

    @property
    def leaf_data(self) -> bytes:
        """The bytes under the leaf hash."""
        return leaf_data(self.fingerprint, self.key, self.datum)


def parse(received: Received) -> Message:
    """Take apart a message as the client library hands it over.

    Headers of ours are read in one form only, each at most once. Headers of others may be anything.

    Raises:
        MessageMalformed: no key, no Confluent frame, or a header of ours is missing, stands twice
            or is not in its form. Nothing else is raised, whatever the message holds.
    """
    try:
        return _parsed(received)
    except KeyError as why:
        raise _malformed(received, f"the header {why.args[0]} is missing") from None
    except UnicodeDecodeError:
        raise _malformed(received, "a header is not text") from None
    except ValueError as why:
        raise _malformed(received, str(why)) from None


def _parsed(received: Received) -> Message:
    """The message, or a ValueError or KeyError that says what is wrong with it."""
    key, value = received.key(), received.value()
    if key is None or not value or value[0] or len(value) < FRAME_LENGTH:
        raise ValueError("no key or no Confluent frame")
    pairs = headers(received)
    found = dict(pairs)
    if len(found) != len(pairs):
        _check_doubles(pairs)
    return Message(
        received.offset() or 0,
        _index(found[LEAF]),
        _fingerprint(found[SCHEMA]),
        key,
        value[FRAME_LENGTH:],
        _sealed(found[CHECKPOINT], found.get(FRONTIER)) if CHECKPOINT in found else None,
        _event_id(found.get(_EVENT_ID)),
    )


def _check_doubles(pairs: Iterable[tuple[str, bytes | None]]) -> None:
    """Refuse a message in which a header of ours stands twice; others may.

    Raises:
        ValueError: one does.
    """
    names = Counter(name for name, _ in pairs)
    for name in _READ:
        if names[name] > 1:
            raise ValueError(f"the header {name} stands twice")


def headers(received: Received) -> Sequence[tuple[str, bytes | None]]:
    """The headers of a message, in their order.

    Raises:
        ValueError: the name of one is not UTF-8.
    """
    try:
        return _headers_of(received) or ()
    except (SystemError, UnicodeDecodeError):
        # confluent_kafka (2.16) keeps what it has made of them so far, and hands it out when it is
        # asked again: whoever looks at that crashes the process.
        forget: Callable[[list[Any]], None] | None = getattr(received, "set_headers", None)
        if forget:
            forget([])
        raise ValueError("the name of a header is not text") from None


class Received(Protocol):
    """The part of `confluent_kafka.Message` that is read here, where no Kafka client is known."""

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
        """The headers in order, as pairs of text and bytes; none where there are none."""


def _malformed(received: Received, why: str) -> errors.MessageMalformed:
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
    """The id that a header states: a hint, so that one of any other length counts as absent."""
    return given if given is not None and len(given) <= _MOST_ID_BYTES else None


@lru_cache(maxsize=1024)
def _fingerprint(text: bytes | None) -> bytes:
    found = _hexadecimal(text or b"")
    if found is None or len(found) != FINGERPRINT_LENGTH:
        raise ValueError(f"{SCHEMA} is not 64 hexadecimal digits in lower case")
    return found


def _sealed(note: bytes | None, frontier: bytes | None) -> SignedCheckpoint:
    """A checkpoint with the frontier stated beside it, which is only a hint and may be anything."""
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
    """Bytes out of lower-case hexadecimal digits; None where it is anything else."""
    try:
        found = binascii.unhexlify(text)
    except binascii.Error:
        return None
    return found if text == binascii.hexlify(found) else None


def leaf_data(fingerprint: bytes, key: bytes, datum: bytes) -> bytes:
    """The bytes under the leaf hash, from a schema's fingerprint, a key and a bare Avro datum."""
    return b"".join((fingerprint, len(key).to_bytes(4, "big"), key, datum))


def frame(schema_id: int, datum: bytes) -> bytes:
    """A message's value: Confluent framing around the datum."""
    return b"\x00" + schema_id.to_bytes(4, "big") + datum


class HeaderTemplate:
    """What is the same in the headers of all messages of one topic and schema.

    CloudEvents 1.0 in binary mode (Kafka binding §3.2), then ours.
    """

    def __init__(self, bus: str, topic: Topic, fingerprint: bytes) -> None:
        self._type = ("ce_type", f"sinergi.{topic.event_type}".encode())
        self._source = ("ce_source", f"/{bus}/{topic.agency}".encode())
        self._schema = (SCHEMA, fingerprint.hex().encode())

    def headers(self, key: bytes, index: int, envelope: Envelope) -> list[tuple[str, bytes]]:
        """A message's headers, in their order."""
        event_id, recorded_at, traceparent = envelope
        found = [
            _VERSION,
            (_EVENT_ID, str(event_id).encode()),
            self._type,
            self._source,
            ("ce_subject", key),
            ("ce_time", recorded_at.isoformat().replace("+00:00", "Z").encode()),
            _CONTENT_TYPE,
            self._schema,
            (LEAF, b"%d" % index),
        ]
        if traceparent:
            found.append(("traceparent", traceparent.encode()))
        return found


def seal_headers(sealed: SignedCheckpoint) -> list[tuple[str, bytes]]:
    """The two headers that the last message of a batch carries besides."""
    return [
        (CHECKPOINT, sealed.note.encode()),
        (FRONTIER, b"".join(sealed.frontier).hex().encode()),
    ]
