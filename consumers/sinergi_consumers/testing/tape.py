"""A topic without a broker: it returns sealed messages of events, as a consumer receives them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sinergi_schemas import codec, message
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.message import Envelope, HeaderTemplate
from sinergi_schemas.seal.key_ring import KeyRing
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.seal.writer import TreeWriter
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.events import Event
    from sinergi_schemas.topics import Topic

AGREEMENT = "0" * 64


@dataclass(frozen=True, slots=True)
class TapeMessage:
    """A message as the client library returns it; see `sinergi_schemas.message.ReceivedMessage`."""

    topic_name: str
    number: int
    at: int
    key_bytes: bytes | None
    value_bytes: bytes | None
    pairs: tuple[tuple[str, bytes], ...]

    def topic(self) -> str:
        """The topic's name."""
        return self.topic_name

    def partition(self) -> int:
        """The partition's number."""
        return self.number

    def offset(self) -> int:
        """The offset."""
        return self.at

    def key(self) -> bytes | None:
        """The key's bytes."""
        return self.key_bytes

    def value(self) -> bytes | None:
        """The value's bytes."""
        return self.value_bytes

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers in order."""
        return list(self.pairs)

    def with_header(self, name: str, value: bytes) -> TapeMessage:
        """A copy with one changed header."""
        return replace(self, pairs=tuple((n, value if n == name else v) for n, v in self.pairs))


class Tape:
    """One partition that its owner writes.

    Args:
        bus: the name of the bus.
        topic: the event topic.
        number: of the partition.
        catalog: contains the schemas; the shipped ones by default. Events are written with the
            newest schema of the topic's event type; assign another one to `schema` to change that.
        key: the owner's key; a new one by default.
        agreement: the hash of the agreement that its events name.
    """

    def __init__(
        self,
        bus: str,
        topic: Topic,
        number: int = 0,
        catalog: Catalog | None = None,
        key: SigningKey | None = None,
        agreement: str = AGREEMENT,
    ) -> None:
        self.bus = bus
        self.topic = topic
        self.number = number
        self.agreement = agreement
        self.key = key or SigningKey.generate(f"{bus}/{topic.agency}")
        self.catalog = catalog or Catalog.shipped()
        self.schema: Schema = self.catalog.newest(topic.event_type)
        origin = TopicPartition(topic.name, number).origin(bus)
        self._writer = TreeWriter(origin, [self.key], Frontier.empty())
        self._offset = 0

    @property
    def keys(self) -> KeyRing:
        """The owner's public key, as an agreement would name it."""
        return KeyRing.of(self.key.public)

    def write(self, events: Sequence[Event]) -> list[TapeMessage]:
        """The messages of some events. The last one has a checkpoint.

        An event that is not issued yet is issued by the topic's owner; its revision must be set.
        """
        return self.write_datums(
            [
                (each.event_id, each.record_id, codec.encode(self.issued(each), self.schema))
                for each in events
            ]
        )

    def write_datums(self, datums: Sequence[tuple[UUID, str, bytes]]) -> list[TapeMessage]:
        """The messages of event ids, record ids and datums. The datums may be malformed."""
        written = [self._message(*each) for each in datums]
        sealed = message.seal_headers(self._writer.checkpoint())
        written[-1] = replace(written[-1], pairs=(*written[-1].pairs, *sealed))
        return written

    def issued(self, event: Event) -> Event:
        """The event as the topic's owner issues it, with its own revision or 1."""
        if event.is_issued:
            return event
        return event.issued(
            agency=self.topic.agency,
            agreement=self.agreement,
            recorded_at=event.recorded_at or SYSTEM.now(),
            revision=event.revision or 1,
        )

    def _message(self, event_id: UUID, record_id: str, datum: bytes) -> TapeMessage:
        key, fingerprint = record_id.encode(), self.schema.fingerprint
        index = self._writer.add(message.leaf_data(fingerprint, key, datum))
        envelope = Envelope(event_id, SYSTEM.now(), None)
        headers = HeaderTemplate(self.bus, self.topic, fingerprint).headers(key, index, envelope)
        self._offset += 1
        return TapeMessage(
            self.topic.name,
            self.number,
            self._offset - 1,
            key,
            message.frame(self.schema.id, datum),
            tuple(headers),
        )
