"""A message as Kafka carries it: its leaf, its frame and its headers.

Only the leaf decides anything. Frame and headers are conveniences for other people's tools and
hints for ours; whoever reads them checks them against the leaf, or against the seal above it.

    leaf data  = fingerprint (32) ‖ length of the key (4, big-endian) ‖ key ‖ datum
    leaf hash  = SHA-256(0x00 ‖ leaf data)                             RFC 6962 §2.1
    value      = 0x00 ‖ schema id (4, big-endian) ‖ datum              Confluent framing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sinergi_schemas.topics import Topic

FRAME_LENGTH = 5
FINGERPRINT_LENGTH = 32

SCHEMA = "sinergi_schema"
LEAF = "sinergi_leaf"
CHECKPOINT = "sinergi_checkpoint"
FRONTIER = "sinergi_frontier"


@dataclass(frozen=True, slots=True)
class Leaf:
    """What the seal covers of one message."""

    fingerprint: bytes
    key: bytes
    datum: bytes

    @property
    def data(self) -> bytes:
        """The bytes under the leaf hash."""
        return leaf_data(self.fingerprint, self.key, self.datum)

    @classmethod
    def parse(cls, data: bytes) -> Leaf:
        """Take leaf data apart again.

        Raises:
            ValueError: it is shorter than it says.
        """
        end = FINGERPRINT_LENGTH + 4 + int.from_bytes(data[32:36], "big")
        if len(data) < end:
            raise ValueError(f"leaf data of {len(data)} bytes cannot hold a key up to byte {end}")
        return cls(data[:32], data[36:end], data[end:])


@dataclass(frozen=True, slots=True)
class Sealed:
    """The checkpoint that the last message of a batch carries."""

    checkpoint: str
    frontier: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the headers say of an event besides its leaf; all of it also stands inside the datum."""

    event_id: UUID
    recorded_at: datetime
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """One message read from a topic, with its hints parsed and its leaf put together."""

    partition: int
    offset: int
    index: int
    leaf: Leaf
    sealed: Sealed | None


def leaf_data(fingerprint: bytes, key: bytes, datum: bytes) -> bytes:
    """The bytes under the leaf hash, from a schema's fingerprint, a key and a bare Avro datum."""
    return b"".join((fingerprint, len(key).to_bytes(4, "big"), key, datum))


def frame(schema_id: int, datum: bytes) -> bytes:
    """A message's value: Confluent framing around the datum."""
    return b"\x00" + schema_id.to_bytes(4, "big") + datum


def headers(
    bus: str, topic: Topic, key: bytes, fingerprint: bytes, index: int, envelope: Envelope
) -> list[tuple[str, bytes]]:
    """A message's headers: CloudEvents 1.0 in binary mode (Kafka binding §3.2), then ours."""
    found = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(envelope.event_id).encode()),
        ("ce_type", f"sinergi.{topic.event_type}".encode()),
        ("ce_source", f"/{bus}/{topic.agency}".encode()),
        ("ce_subject", key),
        ("ce_time", envelope.recorded_at.isoformat().replace("+00:00", "Z").encode()),
        ("content-type", b"application/avro"),
        (SCHEMA, fingerprint.hex().encode()),
        (LEAF, str(index).encode()),
    ]
    if envelope.traceparent:
        found.append(("traceparent", envelope.traceparent.encode()))
    return found


def seal_headers(sealed: Sealed) -> list[tuple[str, bytes]]:
    """The two headers that the last message of a batch carries besides."""
    return [
        (CHECKPOINT, sealed.checkpoint.encode()),
        (FRONTIER, b"".join(sealed.frontier).hex().encode()),
    ]
