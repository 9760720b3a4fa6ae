"""The topics of a cluster are read with few clients, and each scan reads what is there then."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from sinergi_consumers.reading import source
from sinergi_consumers.reading.source import KafkaSource
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.kafka.scan import PartitionScan

TOPICS, EVENTS = 3, 5


class CountedReader(RangeReader):
    """A reader that counts how many of its kind were opened and closed."""

    opened = closed = 0

    def __init__(self, connection: Connection, silent_seconds: float | None = None) -> None:
        super().__init__(connection, silent_seconds)
        CountedReader.opened += 1

    def close(self) -> None:
        super().close()
        CountedReader.closed += 1


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # the sources of earlier tests
    monkeypatch.setattr(source, "RangeReader", CountedReader)
    monkeypatch.setattr(CountedReader, "opened", 0)
    monkeypatch.setattr(CountedReader, "closed", 0)


@pytest.fixture
def tps(kafka: str, topic_name: Callable[[], str]) -> list[TopicPartition]:
    """Topics with some messages each: their own name and a number."""
    names = [topic_name() for _ in range(TOPICS)]
    for name in names:
        make(kafka, name)
    return [TopicPartition(name, 0) for name in names]


def make(kafka: str, topic: str, value: str = "first") -> None:
    admin = open_admin(Connection(kafka))
    admin.create_topics([NewTopic(topic, 1)])[topic].result(PATIENCE_SECONDS)
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(EVENTS):
        producer.produce(topic, f"{value} {topic} {number}".encode(), partition=0)
    assert producer.flush(PATIENCE_SECONDS) == 0


def values(scan: PartitionScan) -> list[str]:
    """The values of all messages; a reader in the middle of another topic would give others."""
    found = [each for chunk in scan.read(*scan.bounds()) for each in chunk]
    return [(each.value() or b"").decode() for each in found]


def expected(tp: TopicPartition, value: str = "first") -> list[str]:
    return [f"{value} {tp.topic} {number}" for number in range(EVENTS)]


def test_scans_one_after_another_share_a_client(kafka: str, tps: list[TopicPartition]) -> None:
    read = KafkaSource(Connection(kafka))
    for tp in (*tps, *tps):
        with read.open_scan(tp) as scan:
            assert values(scan) == expected(tp)
    assert (CountedReader.opened, CountedReader.closed) == (1, 0)
    assert read.partition_counts(each.topic for each in tps) == {each.topic: 1 for each in tps}
    assert set(read.offsets(tps).values()) == {range(EVENTS)}


def test_scans_at_the_same_time_have_a_client_each(kafka: str, tps: list[TopicPartition]) -> None:
    read = KafkaSource(Connection(kafka))
    with read.open_scan(tps[0]) as first, read.open_scan(tps[1]) as second:
        chunks = zip(first.read(0, EVENTS, most=1), second.read(0, EVENTS, most=1), strict=True)
        for number, ((one,), (other,)) in enumerate(chunks):
            assert one.value() == expected(tps[0])[number].encode()
            assert other.value() == expected(tps[1])[number].encode()
    assert CountedReader.opened == 2
    with read.open_scan(tps[2]) as scan:
        assert values(scan) == expected(tps[2])
    assert CountedReader.opened == 2


def test_a_scan_that_is_given_up_in_its_middle_leaves_nothing_to_the_next_one(
    kafka: str, tps: list[TopicPartition]
) -> None:
    read = KafkaSource(Connection(kafka))
    for tp in tps:
        with read.open_scan(tp) as scan:
            assert next(scan.read(0, EVENTS, most=1))
    with pytest.raises(ZeroDivisionError), read.open_scan(tps[0]) as scan:
        1 / len([*scan.read(0, 0)])
    assert (CountedReader.opened, CountedReader.closed) == (1, 1)
    with read.open_scan(tps[1]) as scan:
        assert values(scan) == expected(tps[1])


def test_a_topic_that_is_made_anew_between_two_scans_is_read_from_its_beginning(
    kafka: str, tps: list[TopicPartition]
) -> None:
    read, (tp, *_) = KafkaSource(Connection(kafka)), tps
    with read.open_scan(tp) as scan:
        assert values(scan) == expected(tp)
    admin = open_admin(Connection(kafka))
    admin.delete_topics([tp.topic])[tp.topic].result(PATIENCE_SECONDS)
    until(lambda: not describe(admin, [tp.topic]), "the topic is gone")
    make(kafka, tp.topic, "second")
    with read.open_scan(tp) as scan:
        assert values(scan) == expected(tp, "second")


def test_the_clients_are_closed_when_nobody_uses_the_source_any_more(
    kafka: str, tps: list[TopicPartition]
) -> None:
    read = KafkaSource(Connection(kafka))
    with read.open_scan(tps[0]) as scan:
        assert values(scan) == expected(tps[0])
    del read, scan
    gc.collect()
    assert (CountedReader.opened, CountedReader.closed) == (1, 1)
