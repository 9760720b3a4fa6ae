"""Ranges of offsets are read to their ends without a group, and silence is reported."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import OFFSET_INVALID, Producer
from confluent_kafka.admin import NewTopic

from sinergi_schemas import errors
from sinergi_schemas.kafka import Connection, ranges
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    import confluent_kafka

TPS = [TopicPartition("a-topic", number) for number in range(2)]


def test_each_range_is_read_to_its_own_end_over_the_markers_of_transactions(
    kafka: str, agency_slug: str
) -> None:
    topic = f"ranges-{agency_slug}"
    admin = open_admin(Connection(kafka))
    admin.create_topics([NewTopic(topic, 3)])[topic].result(PATIENCE_SECONDS)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic})
    producer.init_transactions(PATIENCE_SECONDS)
    for _ in range(2):
        producer.begin_transaction()
        for number in range(15):
            producer.produce(topic, b"value", partition=number % 3)
        producer.commit_transaction(PATIENCE_SECONDS)  # its marker is at offset 5, then at 11
    ranges = {
        TopicPartition(topic, 0): range(2, 6),
        TopicPartition(topic, 1): range(5, 6),
        TopicPartition(topic, 2): range(3, 12),
    }
    with closing(RangeReader(Connection(kafka))) as reader:
        for _ in range(2):
            found: dict[int, list[int | None]] = {}
            for tp, each in reader.messages(ranges):
                found.setdefault(tp.partition, []).append(each.offset())
            assert found == {0: [2, 3, 4], 2: [3, 4, 6, 7, 8, 9, 10]}
        assert not list(reader.parts({tp: range(5, 5) for tp in ranges}))


@pytest.mark.long
def test_batches_that_compaction_has_emptied_are_passed_however_often_one_client_meets_them(
    kafka: str, agency_slug: str
) -> None:
    """Brokers keep the last batch of an idempotent producer, also if none of its messages stays."""
    topic = f"ranges-{agency_slug}"
    admin = open_admin(Connection(kafka))
    segment = 2**20  # no answer goes beyond one, and no two of these fit into one
    cleaned = {"cleanup.policy": "compact", "segment.ms": "1", "max.compaction.lag.ms": "1"}
    cleaned["segment.bytes"] = str(segment)
    admin.create_topics([NewTopic(topic, 1, 1, config=cleaned)])[topic].result(PATIENCE_SECONDS)
    for count, size in ((300, 3_000), (1, 200_000), (1, 200_000)):
        settings = {"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 500}
        producer = Producer(settings)
        for _ in range(count):
            producer.produce(topic, bytes(size), b"key")
        assert producer.flush(PATIENCE_SECONDS) == 0
    whole = {TopicPartition(topic, 0): range(302)}

    def is_compacted() -> bool:
        with closing(RangeReader(Connection(kafka))) as fresh:
            return len([*fresh.messages(whole)]) < 3

    until(is_compacted, "the topic is compacted", look_seconds=1)
    with closing(RangeReader(Connection(kafka))) as reader:
        for _ in range(40):
            assert not [*reader.messages({TopicPartition(topic, 0): range(290, 300)})]
        assert [each.offset() for _, each in reader.messages(whole)][-1] == 301


def test_messages_behind_the_end_of_a_range_do_not_hide_a_silent_partition() -> None:
    reader, consumer = reading([[(0, 0)], [(0, 1)], [(0, 2)]], silent_seconds=0.0)
    read = reader.messages({TPS[0]: range(1), TPS[1]: range(4, 9)})
    assert next(read)[0] == TPS[0]
    with pytest.raises(errors.TopicAway, match="partition 1 is silent at offset 4 of 9"):
        next(read)
    assert consumer.unassigned == [0]


def test_a_suspension_of_the_process_does_not_count_as_silence_of_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges, "SYSTEM", Jumping())
    reader, consumer = reading([], silent_seconds=10 * ranges._POLL_SECONDS - 0.01)
    with pytest.raises(errors.TopicAway):
        next(reader.parts({TPS[0]: range(1)}))
    assert consumer.polls == 10


class Jumping:
    """A clock on which an hour passes between two calls."""

    seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 3_600.0
        return self.seconds


@dataclass
class Delivered:
    """A message as a consumer delivers it."""

    number: int
    at: int

    def error(self) -> None:
        return None

    def value(self) -> None:
        return None

    def key(self) -> None:
        return None

    def headers(self) -> None:
        return None

    def topic(self) -> str:
        return TPS[0].topic

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at


@dataclass
class Scripted:
    """A consumer that delivers given messages, (partition, offset), and then none."""

    script: list[list[tuple[int, int]]]
    passes: int = 0
    polls: int = 0
    unassigned: list[int] = field(default_factory=list)

    def assign(self, _: object) -> None:
        """Every partition is assigned."""

    def incremental_unassign(self, tps: Sequence[confluent_kafka.TopicPartition]) -> None:
        self.unassigned += [each.partition for each in tps]

    def consume(self, *_: object) -> list[Delivered]:
        self.polls += 1
        return [Delivered(*each) for each in self.script.pop(0)] if self.script else []

    def position(
        self, tps: list[confluent_kafka.TopicPartition]
    ) -> list[confluent_kafka.TopicPartition]:
        for each in tps:
            each.offset = OFFSET_INVALID
        return tps


def reading(
    script: list[list[tuple[int, int]]], silent_seconds: float
) -> tuple[RangeReader, Scripted]:
    """A reader with the consumer that it reads from."""
    reader = RangeReader(Connection("127.0.0.1:1"), silent_seconds)
    reader.close()
    consumer: Any = Scripted(script)
    reader._consumer = consumer
    return reader, consumer
