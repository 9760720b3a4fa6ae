"""A batch that no client can unpack holds up nobody, and hides no leaf that it held."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import confluent_kafka
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from measured import measured, peak
from sinergi import provision
from sinergi_producers.relay import topic_evidence
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.producer import open_producer
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.limits import MOST_BATCH_BYTES, MOST_DATUM_BYTES, MOST_KEY_BYTES
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS
from world import World, send, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MEGABYTE = 900_000
BEYOND = 5 * 1024 * 1024  # more than a reader unpacks of a zstd batch
EMPTY = 240_000  # so many unpack to less than that
CAUSE = "a batch that cannot be decompressed"
COUNT = 20


@pytest.fixture
def world(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> World:
    return World(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


def bomb(world: World, codec: str, sizes: Sequence[int]) -> None:
    """Write zeros of some sizes as one compressed batch, which costs the broker very little."""
    producer = Producer(
        {
            "bootstrap.servers": world.kafka,
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
        producer.produce(world.topic.name, bytes(size), b"P/1", 0)
    assert producer.flush(PATIENCE_SECONDS) == 0


def plain(world: World, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": world.kafka})
    producer.produce(world.topic.name, value, b"P/1", 0)
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
    world: World, batches: list[int]
) -> None:
    plain(world, b"before")
    firsts = []
    for number, count in enumerate(batches):
        firsts.append(1 + sum(batches[:number]))
        bomb(world, "zstd", spread(BEYOND, count))
    plain(world, b"behind")
    with open_scan(world.connection, TopicPartition(world.topic.name, 0)) as log:
        found = [each for chunk in log.read(*log.bounds()) for each in chunk]
        assert [each.value() for each in found] == [b"before", b"behind"]
        assert found[-1].offset() == 1 + sum(batches)
        assert [(each.offset, each.cause) for each in log.unreadable] == [
            (first, CAUSE) for first in firsts
        ]


def test_a_partition_that_ends_with_an_unreadable_batch_is_read_to_its_end(world: World) -> None:
    plain(world, b"before")
    bomb(world, "zstd", spread(BEYOND, 30))
    with open_scan(world.connection, TopicPartition(world.topic.name, 0)) as log:
        for _ in range(2):  # the second time where it ends is known
            (chunk,) = log.read(*log.bounds())
            assert [each.value() for each in chunk] == [b"before"]
        assert len(log.unreadable) == 1
    with closing(open_consumer(world.connection, None)) as consumer:
        consumer.assign(
            [confluent_kafka.TopicPartition(world.topic.name, 0, 7)]
        )  # in the midst of it
        assert not consumer.consume(1, 1.0)
        assert (
            consumer.position([confluent_kafka.TopicPartition(world.topic.name, 0)])[0].offset == 31
        )


def test_a_materialiser_passes_over_unreadable_batches_and_counts_them(world: World) -> None:
    with world.relaying(), world.materialising():
        bomb(world, "zstd", spread(BEYOND, 30))
        bomb(world, "zstd", [BEYOND])
        world.publish(transfer("P/1"))
        world.until_rows("sinergi.transfer_history", 1)
        bomb(world, "zstd", [BEYOND])
        world.publish(transfer("P/2"))
        world.until_rows("sinergi.transfer_history", 2)
        world.until(lambda: skipped(world) == (3, 0), "three batches are counted")
    assert world.count("sinergi_consumer.halt") == 0


def skipped(world: World) -> tuple[int, int]:
    """How many unreadable batches were counted, and the first offset."""
    found = world.ask(
        f"SELECT messages, first_offset FROM sinergi_consumer.skipped WHERE cause = '{CAUSE}'"
    )
    return found[0] if found else (0, -1)


def test_a_leaf_within_an_unreadable_batch_halts_its_topic_partition_by_name(world: World) -> None:
    tape = world.tape()
    first, second = (world.issued(transfer(f"P/{number}")) for number in range(2))
    _, behind = tape.write_datums(
        [
            (first.event_id, first.record_id, bytes(BEYOND)),
            (second.event_id, second.record_id, b"x"),
        ]
    )
    bomb(world, "zstd", [BEYOND])
    send(world, [behind])
    with world.materialising():
        world.until(lambda: world.count("sinergi_consumer.halt") == 1, "halted")
    ((reason, detail),) = world.ask("SELECT reason, detail FROM sinergi_consumer.halt")
    assert reason == "SealGap"
    assert "leaf 0" in detail
    assert skipped(world)[1] == 0


@pytest.mark.long
def test_a_relay_and_a_recovery_read_behind_unreadable_batches(world: World) -> None:
    world.publish(*(transfer(f"P/{number}") for number in range(COUNT)))
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer_history", COUNT)
    bomb(world, "zstd", spread(BEYOND, 30))
    world.publish(transfer("P/next"))
    with world.relaying(), world.materialising():  # which compares itself with the topic first
        world.until_rows("sinergi.transfer_history", COUNT + 1)
    place = TopicPartition(world.topic.name, 0)
    found = [
        each.offset() for _, each in topic_evidence.messages_beyond(world.connection, {place: 1})
    ]
    assert found == [*range(COUNT), COUNT + 30]
    known = topic_evidence.KnownTree(
        f"{world.bus.agreements.bus}/{place[0]}/0", world.tape().keys, 0
    )
    seen = topic_evidence.evidence(world.connection, {place: known})[place]
    assert seen.size == COUNT + 1
    assert [(each.cause, each.first) for each in seen.noise.skipped if each.cause == CAUSE] == [
        (CAUSE, COUNT)
    ]


@pytest.mark.long
def test_a_replay_and_a_status_name_unreadable_batches_and_end_well(world: World) -> None:
    world.publish(*(transfer(f"P/{number}") for number in range(COUNT)))
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer_history", COUNT)
        bomb(world, "zstd", spread(BEYOND, 30))
        world.until(lambda: skipped(world) == (1, COUNT), "counted")
    read = ("--config", str(world.reader_settings), "replay", world.topic.name)
    done = measured(world.folder, *read, "--output", "ndjson")
    assert (done.status, done.out.count("\n")) == (0, COUNT), done.err
    assert CAUSE in done.err
    assert f"offset {COUNT}" in done.err
    done = measured(world.folder, "--config", str(world.reader_settings), "status")
    assert done.status in (0, 1), done.err


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
    world: World, codec: str, sizes: list[int]
) -> None:
    for _ in range(3):
        bomb(world, codec, sizes)
    with open_scan(world.connection, TopicPartition(world.topic.name, 0)) as log:
        assert log.bounds() == (0, 3 * len(sizes))  # the broker has taken them
    with world.worker("bombed") as worker, world.relaying():
        world.publish(transfer("P/1"))
        world.until_rows("sinergi.transfer_history", 1)
        assert peak(worker.process.pid) < 500
    assert world.count("sinergi_consumer.halt") == 0


@pytest.mark.long
def test_batches_of_hundreds_of_thousands_of_empty_messages_take_bounded_memory(
    world: World,
) -> None:
    """Each is some 10 bytes of a batch, and some 320 in the client."""
    with world.worker("flooded") as worker, world.relaying():
        world.publish(transfer("P/1"))
        world.until_rows("sinergi.transfer_history", 1)
        for _ in range(3):
            bomb(world, "zstd", [0] * EMPTY)
        world.publish(transfer("P/2"))
        world.until_rows("sinergi.transfer_history", 2)
        assert peak(worker.process.pid) < 500
        count = "SELECT messages FROM sinergi_consumer.skipped WHERE cause LIKE 'no key%'"
        world.until(lambda: world.ask(count) == [(3 * EMPTY,)], "every one is counted")


def test_a_topic_takes_the_largest_event_and_whole_batches_of_a_relay(world: World) -> None:
    """As `sinergi provision` sets it up, whatever does not let itself be compressed."""
    limit = {"max.message.bytes": str(MOST_BATCH_BYTES)}
    assert provision._EVENTS.items() >= limit.items() <= provision._LATEST_ONLY.items()
    admin = open_admin(world.connection)
    topic = f"{world.topic.name}.limited"
    admin.create_topics([NewTopic(topic, 1, 1, config=limit)])[topic].result(PATIENCE_SECONDS)
    producer = open_producer(world.connection, gapless=True)
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
