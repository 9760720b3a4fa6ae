"""Names of topics, and which partition a key belongs to.

Sinergi computes the partition itself, because librdkafka and the Java client have different default
partitioners, and an agency may use either client.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import NamedTuple

_AGENCY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_BUS = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_KAFKA = re.compile(r"[A-Za-z0-9._-]{1,249}")
_MURMUR_SEED = 0x9747B28C
_MASK = 0xFFFFFFFF

SCHEMA_KEY = re.compile(rb"schema/[0-9a-f]{64}")
"""What the key of a schema in a control topic looks like."""


def is_slug(text: str) -> bool:
    """Whether `text` is valid for an agency or event type: lower-case words joined by hyphens."""
    return len(text) <= 63 and _AGENCY.fullmatch(text) is not None


def is_bus(text: str) -> bool:
    """Whether `text` is valid as name of a bus: lower-case words joined by dots or hyphens."""
    return _BUS.fullmatch(text) is not None


def is_kafka_name(text: str) -> bool:
    """Whether Kafka accepts `text` as the name of a topic."""
    return text not in (".", "..") and _KAFKA.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, order=True)
class Topic:
    """The topic of one agency and one event type, `sinergi.<agency>.<event-type>`."""

    agency: str
    event_type: str

    @property
    def name(self) -> str:
        """The name on the broker."""
        return f"sinergi.{self.agency}.{self.event_type}"

    @classmethod
    def parse(cls, name: str) -> Topic:
        """Read agency and event type from the name of an event topic.

        Raises:
            ValueError: it is not the name of an event topic.
        """
        head, _, rest = name.partition(".")
        agency, _, event_type = rest.partition(".")
        if head != "sinergi" or not is_slug(agency) or not is_slug(event_type):
            raise ValueError(f"{name!r} is not sinergi.<agency>.<event-type>")
        return cls(agency, event_type)


def is_topic(name: str) -> bool:
    """Whether this is the name of a topic, `sinergi.<agency>.<event-type>`."""
    try:
        Topic.parse(name)
    except ValueError:
        return False
    return True


class TopicPartition(NamedTuple):
    """One partition of a topic: the unit of order, of sealing and of assignment.

    Attributes:
        topic: the name on the broker.
    """

    topic: str
    partition: int

    @property
    def event_topic(self) -> Topic:
        """The agency and event type of the topic.

        Raises:
            ValueError: it is not an event topic.
        """
        return Topic.parse(self.topic)

    def origin(self, bus: str) -> str:
        """The origin of its checkpoints on a bus (C2SP tlog-checkpoint, "Note text")."""
        return f"{bus}/{self}"

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


def control_topic(agency: str) -> str:
    """The name of the compacted topic with an agency's schemas and signed heads."""
    return f"sinergi.{agency}.control"


def schema_key(fingerprint: bytes) -> bytes:
    """The key of a schema in a control topic."""
    return b"schema/" + fingerprint.hex().encode()


def receipts_topic(agency: str) -> str:
    """The name of the compacted topic with an agency's receipts for what it has materialised."""
    return f"sinergi.{agency}.receipts"


def murmur2(data: bytes) -> int:
    """MurmurHash2 as Kafka's Java client computes it (32 bits, unsigned)."""
    length = len(data)
    h = _MURMUR_SEED ^ length
    whole = length & ~3
    for word in struct.unpack_from(f"<{whole // 4}I", data):
        k = (word * 0x5BD1E995) & _MASK
        k ^= k >> 24
        h = (h * 0x5BD1E995) & _MASK ^ ((k * 0x5BD1E995) & _MASK)
    if length != whole:
        h ^= int.from_bytes(data[whole:], "little")
        h = (h * 0x5BD1E995) & _MASK
    h ^= h >> 13
    h = (h * 0x5BD1E995) & _MASK
    return h ^ (h >> 15)


def partition_for(key: bytes, partitions: int) -> int:
    """The partition of a key. The number of partitions of a topic never changes."""
    return 0 if partitions == 1 else (murmur2(key) & 0x7FFFFFFF) % partitions
