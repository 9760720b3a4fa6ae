"""Messages that the harness writes in others' names, and the owners' messages that it reads."""

from __future__ import annotations

from collections import defaultdict, deque
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition

import raw_produce

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import KafkaError, Message

    from foreign_messages import Wire

_KEPT = 60
_LISTEN_SECONDS = 0.2
_DELIVERED_SECONDS = 120.0
_LARGE = 500_000

Place = tuple[str, int]


class ForeignMessage(NamedTuple):
    """One message for one topic-partition; `raw` ones have header names that are not UTF-8."""

    place: Place
    wire: Wire
    raw: bool = False


class ForeignWriter:
    """Writes messages, and notes where each of them lies: what lies elsewhere is others'."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._plain = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})
        # A megabyte of zeros is a hundred bytes on the broker.
        self._zeros = Producer(
            {"bootstrap.servers": bootstrap, "compression.type": "zstd", "log_level": 0}
        )
        self._lock = Lock()
        self._written: dict[str, set[tuple[int, int]]] = defaultdict(set)
        self._undelivered: list[str] = []

    def written(self, topic: str) -> frozenset[tuple[int, int]]:
        """Partition and offset of each message in a topic."""
        with self._lock:
            return frozenset(self._written[topic])

    def write(self, messages: Iterable[ForeignMessage]) -> int:
        """Write messages in their order, and wait until they lie there; how many."""
        count = 0
        for each in messages:
            count += 1
            self._write(each)
        for producer in (self._plain, self._zeros):
            if producer.flush(_DELIVERED_SECONDS):
                raise RuntimeError("messages are not delivered")
        if self._undelivered:
            raise RuntimeError(f"messages are not delivered: {self._undelivered[0]}")
        return count

    def _write(self, message: ForeignMessage) -> None:
        (topic, partition), (value, key, headers) = message.place, message.wire
        if message.raw:
            pairs = [
                (b"\xff\xfe", b"x"),
                *((name.encode(), _bytes(content)) for name, content in headers),
            ]
            offset = raw_produce.produce(self.bootstrap, topic, partition, value, key, pairs)
            self._note(topic, partition, offset)
            return
        producer = self._zeros if value and len(value) > _LARGE else self._plain
        producer.produce(topic, value, key, partition, headers=headers, on_delivery=self._arrived)
        producer.poll(0)

    def _arrived(self, error: KafkaError | None, delivered: Message) -> None:
        if error:
            self._undelivered.append(error.str())
        else:
            topic, partition, offset = (
                delivered.topic() or "", delivered.partition() or 0, delivered.offset() or 0
            )  # fmt: skip
            self._note(topic, partition, offset)

    def _note(self, topic: str, partition: int, offset: int) -> None:
        with self._lock:
            self._written[topic].add((partition, offset))


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


class OwnersMessages:
    """What the true owners have written, the newest messages of each topic-partition."""

    def __init__(self, writer: ForeignWriter, places: Iterable[Place]) -> None:
        self._post = writer
        self._found: dict[Place, deque[Wire]] = {each: deque(maxlen=_KEPT) for each in places}
        settings = {
            "bootstrap.servers": writer.bootstrap,
            "group.id": "overhearing",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 64 * 1024,
        }
        self._consumer = Consumer(settings)
        self._consumer.assign([TopicPartition(*each, 0) for each in self._found])

    def close(self) -> None:
        """Give the client back."""
        self._consumer.close()

    def listen(self) -> None:
        """Take in what has come since the last time."""
        written = {topic: self._post.written(topic) for topic, _ in self._found}
        while some := self._consumer.consume(500, _LISTEN_SECONDS):
            for each in some:
                place = (each.topic() or "", each.partition() or 0)
                at = (place[1], each.offset() or 0)
                if each.error() is None and at not in written[place[0]]:
                    wire = (each.value(), each.key(), [*(each.headers() or [])])
                    self._found[place].append(wire)

    def at(self, place: Place) -> list[Wire]:
        """The newest messages of a topic-partition, the newest last."""
        return [*self._found[place]]
