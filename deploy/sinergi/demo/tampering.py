"""A topic is copied with one byte changed, as the broker's operator could do.

1. read the whole topic, and pick a leaf in the longest batch under one checkpoint
2. copy every message unchanged, but in that leaf change one byte of a weight
3. replay the copy: the seal refuses the batch
4. compare the copy with the original: that names the leaf
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi.demo.errors import DemoFailed
from sinergi.provision.cluster import Cluster
from sinergi.provision.topics import wanted
from sinergi_consumers.audit.comparison import first_difference
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.reading.source import KafkaSource
from sinergi_schemas import codec, errors, message
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.faults import raise_for
from sinergi_schemas.kafka.producer import open_producer, serve
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from decimal import Decimal

    from confluent_kafka import KafkaError, Message

    from sinergi.demo.agencies import DemoBus
    from sinergi_schemas.topics import Topic

_FLUSH_SECONDS = 60.0
_PLACES = 4


@dataclass(frozen=True, slots=True)
class Tampered:
    """The change in the copy, and the refusal.

    Attributes:
        start, end: the batch `[start, end)` that the seal refused.
        leaf: the leaf that differs.
        refusal: the message of the refusal.
        before, after: the weight in that leaf in grams, as sealed and as changed.
    """

    topic: Topic
    copy: str
    partition: int
    start: int
    end: int
    leaf: int
    refusal: str
    before: Decimal
    after: Decimal

    def document(self) -> dict[str, Any]:
        """The result as JSON: `from` is the batch's first leaf, `to` the leaf after its last."""
        return {
            "topic": self.topic.name,
            "partition": self.partition,
            "from": self.start,
            "to": self.end,
            "leaf": self.leaf,
        }


class _Change(NamedTuple):
    """A message with one byte of its value changed, and the weight that this changes."""

    original: Message
    value: bytes
    before: Decimal
    after: Decimal


def tamper(demo: DemoBus, topic: Topic) -> Tampered:
    """Copy a topic of seizures with one byte changed, and replay the copy.

    Raises:
        DemoFailed: the replay accepted it, or the comparison named another leaf.
    """
    messages = _read(demo, topic)  # 1
    change = _lighter(demo, _victim(messages))
    copy = f"copy.{topic.name}"
    # No agreement lets anybody read the copy.
    operated = replace(demo.bus, source=KafkaSource(demo.operator))
    _copy(demo, topic, copy, messages, change)  # 2
    try:
        list(Replay(operated, topic, copy).events(ReplayFilter()))  # 3
    except errors.SealMismatch as why:
        partition = int(why.origin.rpartition("/")[2])
        batch = range(why.start, why.end)
        original = Replay(demo.bus, topic, keeps_leaves=True).verify(partition)
        difference = first_difference(operated, copy, original, batch)  # 4
        leaf = None if difference is None else difference.leaf
        changed = message.parse(change.original)
        if leaf is None or (partition, leaf) != (change.original.partition(), changed.leaf_index):
            raise DemoFailed(
                "the comparison named another leaf than the changed one", copy
            ) from None
        return Tampered(
            topic, copy, partition, batch.start, batch.stop, leaf, str(why), *change[2:]
        )
    raise DemoFailed("a replay accepted a changed byte", copy)


def _read(demo: DemoBus, topic: Topic) -> list[Message]:
    """Every message of a topic, partition by partition."""
    found: list[Message] = []
    for number in range(demo.agreements.partitions(topic)):
        with demo.bus.source.open_scan(TopicPartition(topic.name, number)) as scan:
            for chunk in scan.read(*scan.bounds()):
                found.extend(chunk)
    return found


def _victim(messages: list[Message]) -> Message:
    """The message in the middle of the longest batch."""
    batches: list[list[Message]] = [[]]
    for each in messages:
        batches[-1].append(each)
        if message.parse(each).sealed:
            batches.append([])
    longest = max(batches, key=len)
    return longest[len(longest) // 2]


def _lighter(demo: DemoBus, victim: Message) -> _Change:
    """Set one byte to zero so that the first exhibit weighs less."""
    parsed = message.parse(victim)
    schema = demo.bus.catalog.by_fingerprint(parsed.fingerprint)
    if schema is None:
        raise DemoFailed("a message has an unknown schema", parsed.fingerprint.hex())
    sealed = codec.decode(parsed.datum, schema)
    before: Decimal = sealed["exhibits"][0]["gross_weight_g"]
    number = int(before.scaleb(_PLACES))
    stored = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    place = parsed.datum.find(stored)
    while place >= 0:
        datum = parsed.datum[:place] + b"\0" + parsed.datum[place + 1 :]
        after: Decimal = codec.decode(datum, schema)["exhibits"][0]["gross_weight_g"]
        if after < before:
            return _Change(victim, message.frame(schema.id, datum), before, after)
        place = parsed.datum.find(stored, place + 1)
    raise DemoFailed("no weight was found to change", parsed.key.decode())


def _copy(demo: DemoBus, topic: Topic, copy: str, messages: list[Message], change: _Change) -> None:
    """Create the topic `copy` and send it every message unchanged, except the changed one."""
    cluster = Cluster(open_admin(demo.operator))
    like = {each.name: each for each in wanted(demo.agreements, SYSTEM.now())}
    cluster.apply(cluster.plan([replace(like[topic.name], name=copy)]))
    producer = open_producer(demo.operator)
    failures: list[KafkaError] = []

    def reported(error: KafkaError | None, _: Message) -> None:
        failures.extend([error] if error else [])

    for each in messages:
        producer.produce(
            copy,
            change.value if each is change.original else each.value(),
            each.key(),
            each.partition() or 0,
            on_delivery=reported,
            headers=each.headers(),
        )
    serve(producer, _FLUSH_SECONDS, demo.operator.attempt("Write", [copy]))
    raise_for(failures[0] if failures else None)
    if left := len(producer):
        raise DemoFailed(f"{left} messages of the copy were not delivered", copy)
