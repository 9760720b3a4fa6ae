"""A batch that no client can unpack blocks no reader, and hides no leaf that it held."""

from __future__ import annotations

import json
import os
from contextlib import closing
from typing import TYPE_CHECKING

import confluent_kafka
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from agency_pair import DATABASE, AgencyPair, send, transfer
from memory_use import measured, peak
from sinergi.provision import topics as provisioned
from sinergi_consumers.materialise.assignment import Assignment
from sinergi_producers.relay import topic_evidence
from sinergi_schemas import topics
from sinergi_schemas.kafka import consumer
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.consumer import ReadingConsumer, open_consumer
from sinergi_schemas.kafka.producer import open_producer
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.limits import MOST_BATCH_BYTES, MOST_DATUM_BYTES, MOST_KEY_BYTES
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MEGABYTE = 900_000
BEYOND = 5 * 1024 * 1024  # more than a reader unpacks of a zstd batch
EMPTY = 240_000  # so many unpack to less than that
CAUSE = "a batch that cannot be decompressed"
COUNT = 20


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


def bomb(
    pair: AgencyPair,
    codec: str,
    sizes: Sequence[int],
    topic: str | None = None,
    partition: int = 0,
) -> None:
    """Write zeros of some sizes as one compressed batch, which costs the broker very little."""
    producer = Producer(
        {
            "bootstrap.servers": pair.kafka,
            "compression.type": codec,
            "enable.idempotence": True,  # a broker may take so long that it is sent again
            "message.max.bytes": 10**9,
            "batch.size": 2**31 - 1,
            "queue.buffering.max.kbytes": 2**31 - 1,
            "batch.num.messages": 10**6,
            "queue.buffering.max.messages": 10**6,
            "linger.ms": 2_000,
        }
    )
    for size in sizes:
        producer.produce(topic or pair.topic.name, bytes(size), b"P/1", partition)
    assert producer.flush(PATIENCE_SECONDS) == 0


def plain(pair: AgencyPair, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": pair.kafka})
    producer.produce(pair.topic.name, value, b"P/1", 0)
    assert producer.flush(PATIENCE_SECONDS) == 0


def spread(total: int, count: int) -> list[int]:
    return [total // count + 1] * count


@pytest.mark.long
@pytest.mark.parametrize(
    "batches",
    [[1], [2], [3], [150], [1, 1, 1, 1], [5, 1, 64, 2], [4_097]],
    ids=lambda batches: "-".join(map(str, batches)),
)
def test_reading_goes_on_at_the_very_next_message_behind_unreadable_batches(
    pair: AgencyPair, batches: list[int]
) -> None:
    plain(pair, b"before")
    firsts = []
    for number, count in enumerate(batches):
        firsts.append(1 + sum(batches[:number]))
        bomb(pair, "zstd", spread(BEYOND, count))
    plain(pair, b"behind")
    with open_scan(pair.connection, TopicPartition(pair.topic.name, 0)) as scan:
        found = [each for chunk in scan.read(*scan.bounds()) for each in chunk]
        assert [each.value() for each in found] == [b"before", b"behind"]
        assert found[-1].offset() == 1 + sum(batches)
        assert [(each.offset, each.cause) for each in scan.drain_unreadable()] == [
            (first, CAUSE) for first in firsts
        ]


def test_a_partition_that_ends_with_an_unreadable_batch_is_read_to_its_end(
    pair: AgencyPair,
) -> None:
    plain(pair, b"before")
    bomb(pair, "zstd", spread(BEYOND, 30))
    with open_scan(pair.connection, TopicPartition(pair.topic.name, 0)) as scan:
        for _ in range(2):  # the second time where it ends is known
            (chunk,) = scan.read(*scan.bounds())
            assert [each.value() for each in chunk] == [b"before"]
        assert len(scan.drain_unreadable()) == 1
    with closing(open_consumer(pair.connection, None)) as reader:
        reader.assign([confluent_kafka.TopicPartition(pair.topic.name, 0, 7)])  # in the midst of it
        assert not reader.consume(1, 1.0)
        assert reader.position([confluent_kafka.TopicPartition(pair.topic.name, 0)])[0].offset == 31


def test_a_materialiser_passes_over_unreadable_batches_and_counts_them(pair: AgencyPair) -> None:
    with pair.relaying(), pair.materialising():
        bomb(pair, "zstd", spread(BEYOND, 30))
        bomb(pair, "zstd", [BEYOND])
        pair.publish(transfer("P/1"))
        pair.until_rows("sinergi.transfer_history", 1)
        bomb(pair, "zstd", [BEYOND])
        pair.publish(transfer("P/2"))
        pair.until_rows("sinergi.transfer_history", 2)
        pair.until(lambda: skipped(pair) == (3, 0), "three batches are counted")
    assert pair.count("sinergi_consumer.halt") == 0


def skipped(pair: AgencyPair) -> tuple[int, int]:
    """How many unreadable batches were counted, and the first offset."""
    found = pair.ask(
        f"SELECT messages, first_offset FROM sinergi_consumer.skipped WHERE cause = '{CAUSE}'"
    )
    return found[0] if found else (0, -1)


def test_a_leaf_within_an_unreadable_batch_halts_its_topic_partition_by_name(
    pair: AgencyPair,
) -> None:
    tape = pair.tape()
    first, second = (pair.issued(transfer(f"P/{number}")) for number in range(2))
    _, behind = tape.write_datums(
        [
            (first.event_id, first.record_id, bytes(BEYOND)),
            (second.event_id, second.record_id, b"x"),
        ]
    )
    bomb(pair, "zstd", [BEYOND])
    send(pair, [behind])
    with pair.materialising():
        pair.until(lambda: pair.count("sinergi_consumer.halt") == 1, "halted")
    ((reason, detail),) = pair.ask("SELECT reason, detail FROM sinergi_consumer.halt")
    assert reason == "SealGap"
    assert "leaf 0" in detail
    assert skipped(pair)[1] == 0


@pytest.mark.long
def test_a_relay_and_a_recovery_read_behind_unreadable_batches(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(COUNT)))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", COUNT)
    bomb(pair, "zstd", spread(BEYOND, 30))
    pair.publish(transfer("P/next"))
    with pair.relaying(), pair.materialising():  # which compares itself with the topic first
        pair.until_rows("sinergi.transfer_history", COUNT + 1)
    place = TopicPartition(pair.topic.name, 0)
    found = [
        each.offset() for _, each in topic_evidence.messages_beyond(pair.connection, {place: 1})
    ]
    assert found == [*range(COUNT), COUNT + 30]
    known = topic_evidence.KnownTree(f"{pair.bus.agreements.bus}/{place[0]}/0", pair.tape().keys, 0)
    seen = topic_evidence.evidence(pair.connection, {place: known})[place]
    assert seen.size == COUNT + 1
    assert [(each.cause, each.first) for each in seen.skipped.causes if each.cause == CAUSE] == [
        (CAUSE, COUNT)
    ]


@pytest.mark.long
def test_a_replay_and_a_status_name_unreadable_batches_and_end_well(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(COUNT)))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", COUNT)
        bomb(pair, "zstd", spread(BEYOND, 30))
        pair.until(lambda: skipped(pair) == (1, COUNT), "counted")
    read = ("--config", str(pair.reader_settings), "replay", pair.topic.name)
    done = measured(pair.folder, *read, "--output", "ndjson")
    assert (done.status, done.out.count("\n")) == (0, COUNT), done.err
    assert CAUSE in done.err
    assert f"offset {COUNT}" in done.err
    done = measured(pair.folder, "--config", str(pair.reader_settings), "status")
    assert done.status in (0, 1), done.err


@pytest.mark.long
def test_unreadable_batches_among_signed_statements_are_named_by_replay_and_status(
    pair: AgencyPair,
) -> None:
    """They may have held heads or receipts, without which a missing end is not detected."""
    control, receipts = topics.control_topic(pair.publisher), topics.receipts_topic(pair.reader)
    pair.publish(transfer("P/1"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 1)
    firsts = {}
    for topic in (control, receipts):
        with open_scan(pair.connection, TopicPartition(topic, 0)) as scan:
            _, firsts[topic] = scan.bounds()
        for _ in range(2):
            bomb(pair, "zstd", spread(BEYOND, 3), topic)
    said = {
        topic: f"2 batches of {topic}/0, the first at offset {first}, skipped: {CAUSE}"
        for topic, first in firsts.items()
    }
    read = ("--config", str(pair.reader_settings))
    replayed = measured(pair.folder, *read, "replay", pair.topic.name)
    assert said[control] in " ".join(replayed.err.split())
    assert said[receipts] in " ".join(replayed.err.split())
    assert said[control] in " ".join(measured(pair.folder, *read, "status").out.split())
    own = measured(pair.folder, "--config", str(pair.agency_settings), "status")
    assert said[receipts] in " ".join(own.out.split())


@pytest.mark.long
@pytest.mark.parametrize(
    ("codec", "sizes"),
    [
        ("gzip", [MEGABYTE] * 280),
        ("lz4", [MEGABYTE] * 75),
        ("snappy", [MEGABYTE] * 6),
        ("zstd", [MEGABYTE] * 4),
    ],
)
def test_a_batch_that_unpacks_to_many_times_its_bytes_takes_bounded_memory(
    pair: AgencyPair, codec: str, sizes: list[int]
) -> None:
    for _ in range(3):
        bomb(pair, codec, sizes)
    with open_scan(pair.connection, TopicPartition(pair.topic.name, 0)) as scan:
        assert scan.bounds() == (0, 3 * len(sizes))  # the broker has taken them
    with pair.worker("bombed") as worker, pair.relaying():
        pair.publish(transfer("P/1"))
        pair.until_rows("sinergi.transfer_history", 1)
        assert peak(worker.process.pid) < 500
    assert pair.count("sinergi_consumer.halt") == 0


@pytest.mark.long
def test_batches_on_several_topic_partitions_are_not_unpacked_at_once(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> None:
    """One at a time, however long the reader writes to its database in between."""
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=3)
    for partition in range(3):
        bomb(pair, "gzip", [MEGABYTE] * 280, partition=partition)
    with pair.worker("bombed") as worker, pair.relaying():
        pair.publish(*(transfer(f"P/{number}") for number in range(COUNT)))
        pair.until_rows("sinergi.transfer_history", COUNT)
        assert peak(worker.process.pid) < 500
    assert pair.count("sinergi_consumer.halt") == 0


def test_nothing_is_fetched_of_a_topic_partition_before_it_is_claimed(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two unpacked batches are in memory: its own, and that of the search for a leaf."""
    plain(pair, b"before")
    received: list[int] = []

    def count(statistics: str) -> None:
        topic = json.loads(statistics)["topics"].get(pair.topic.name, {"partitions": {}})
        received.extend(each["rxmsgs"] for each in topic["partitions"].values())

    def pause_late(self: ReadingConsumer, tps: list[confluent_kafka.TopicPartition]) -> None:
        with open_scan(pair.connection, TopicPartition(pair.topic.name, 0)) as scan:
            for _ in range(3):  # so long that a fetch is answered several times
                assert sum(map(len, scan.read(*scan.bounds()))) == 1
        confluent_kafka.Consumer.pause(self, tps)

    with monkeypatch.context() as patched:  # not of the scans
        patched.setitem(consumer._SETTINGS, "statistics.interval.ms", 50)
        patched.setitem(consumer._SETTINGS, "stats_cb", count)
        assignment = Assignment(pair.connection, f"{pair.reader}.{DATABASE}", {pair.topic.name: 1})
    monkeypatch.setattr(ReadingConsumer, "pause", pause_late)
    assignment.subscribe()

    def is_assigned() -> bool:
        assert all(not arrival.messages for arrival in assignment.poll(lambda: False))
        return bool(assignment.claimable and received)

    until(is_assigned, "the topic-partition is assigned, and the client has counted")
    assignment.close()
    assert not any(received)


@pytest.mark.long
def test_batches_of_hundreds_of_thousands_of_empty_messages_take_bounded_memory(
    pair: AgencyPair,
) -> None:
    """Each is some 10 bytes of a batch, and some 320 in the client."""
    with pair.worker("flooded") as worker, pair.relaying():
        pair.publish(transfer("P/1"))
        pair.until_rows("sinergi.transfer_history", 1)
        for _ in range(3):
            bomb(pair, "zstd", [0] * EMPTY)
        pair.publish(transfer("P/2"))
        pair.until_rows("sinergi.transfer_history", 2)
        assert peak(worker.process.pid) < 500
        count = "SELECT messages FROM sinergi_consumer.skipped WHERE cause LIKE 'no key%'"
        pair.until(lambda: pair.ask(count) == [(3 * EMPTY,)], "every one is counted")


def test_a_topic_takes_the_largest_event_and_whole_batches_of_a_relay(pair: AgencyPair) -> None:
    """As `sinergi provision` sets it up, whatever does not let itself be compressed."""
    limit = {"max.message.bytes": str(MOST_BATCH_BYTES)}
    assert provisioned._EVENTS.items() >= limit.items() <= provisioned._LATEST_ONLY.items()
    admin = open_admin(pair.connection)
    topic = f"{pair.topic.name}.limited"
    admin.create_topics([NewTopic(topic, 1, 1, config=limit)])[topic].result(PATIENCE_SECONDS)
    producer = open_producer(pair.connection, gapless=True)
    refused: list[object] = []
    headers: list[tuple[str, bytes]] = [("a checkpoint and more", os.urandom(16 * 1024))]

    def told(error: object, _: object) -> None:
        refused.extend([error] if error else [])

    for size in (MOST_DATUM_BYTES, *[1_000] * 2_000, *[100_000] * 9, MOST_DATUM_BYTES):
        value, key = os.urandom(size), os.urandom(MOST_KEY_BYTES)
        producer.produce(topic, value, key, 0, headers=list(headers), on_delivery=told)
        headers = []
    assert producer.flush(PATIENCE_SECONDS) == 0
    assert not refused
