"""Whatever others have written, no process takes more memory than it has reason to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from measured import measured, peak
from sinergi_consumers import witnesses
from sinergi_consumers.log import open_log
from sinergi_consumers.witnesses import Junk
from sinergi_schemas import message, topics
from waiting import PATIENCE_SECONDS
from world import World, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

COUNT = 30
MOST_MIB = 400
MEGABYTE = 900_000


@pytest.fixture
def world(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> World:
    """A topic of one partition that a reader has materialised."""
    made = World(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    made.publish(*(transfer(f"P/{number}") for number in range(COUNT)))
    with made.relaying(), made.materialising():
        made.until_rows("sinergi.transfer_history", COUNT)
        made.until(
            lambda: made.count("sinergi_consumer.receipt WHERE published_at IS NULL") == 0,
            "receipts published",
        )
    return made


def write(world: World, topic: str, values: Iterable[bytes], compression: str = "none") -> None:
    """Write values to the only partition of a topic, each under a key of its own."""
    producer = Producer(
        {"bootstrap.servers": world.kafka, "compression.type": compression, "linger.ms": 0}
    )
    for number, value in enumerate(values):
        producer.produce(topic, value, b"%d" % number, 0)  # a batch each: it holds a megabyte
        if number % 50 == 0:
            producer.flush(30)
    assert producer.flush(PATIENCE_SECONDS) == 0


def test_a_receipts_topic_full_of_junk_is_passed_over_in_bounded_memory(world: World) -> None:
    receipts = topics.receipts_topic(world.reader)
    noise = os.urandom(MEGABYTE)
    write(world, receipts, (noise for _ in range(60)))
    write(world, receipts, (bytes(MEGABYTE) for _ in range(500)), "zstd")

    command = ("--config", str(world.reader_settings), "replay", world.topic.name)
    done = measured(world.folder, *command, "--output", "ndjson")
    assert (done.status, done.out.count("\n")) == (0, COUNT)
    assert "1 receipt" in done.err
    assert done.mib < MOST_MIB

    found = witnesses.gather(world.bus, world.topic)
    assert found.junk[receipts].count == 560
    assert not found.claims
    assert [each.kind for each in found.of(0)] == ["heads", "receipt"]


def test_what_a_reader_says_of_other_topics_is_no_junk(world: World) -> None:
    receipts = topics.receipts_topic(world.reader)
    producer = Producer({"bootstrap.servers": world.kafka})
    for key in (b"main/sinergi.polres-rekaan.visit/3", b"other/x/1", b"\xff"):
        producer.produce(receipts, b"nonsense", key, 0)
    assert producer.flush(PATIENCE_SECONDS) == 0
    found = witnesses.gather(world.bus, world.topic)
    with open_log(world.connection, receipts, 0) as log:
        _, end = log.bounds()
    assert found.junk == {receipts: Junk(end - 2, 2)}


def test_a_status_looks_at_ends_full_of_junk_in_bounded_memory(world: World) -> None:
    for topic in (topics.control_topic(world.publisher), world.topic.name):
        write(world, topic, (bytes(MEGABYTE) for _ in range(200)), "zstd")
    done = measured(world.folder, "--config", str(world.reader_settings), "status", "--json")
    assert done.status in (0, 1), done.err
    assert done.mib < MOST_MIB


@pytest.mark.parametrize("claimed", [0, 10**17])
def test_messages_that_claim_any_leaf_do_not_hide_a_leaf_that_is_looked_for(
    world: World, claimed: int
) -> None:
    name = world.topic.name
    producer = Producer({"bootstrap.servers": world.kafka})
    headers: list[Any] = [(message.LEAF, b"%d" % claimed), (message.SCHEMA, b"0" * 64)]
    for number in range(200):
        value = b"\0" * 9 if number % 2 else b"junk"
        producer.produce(name, value, b"P/1", 0, headers=headers)
    assert producer.flush(PATIENCE_SECONDS) == 0
    with open_log(world.connection, name, 0) as log:
        _, end = log.bounds()
        for leaf in range(COUNT):
            (first,) = next(log.read(log.find(leaf), end, most=1))
            assert message.parse(first).leaf_index <= leaf
        assert log.find(10**6) <= end


def test_thousands_of_unsealed_leaves_do_not_fill_the_memory_of_a_reader(world: World) -> None:
    """They cost the broker some 180 KB, and would take more than 3 GB."""
    producer = Producer(
        {"bootstrap.servers": world.kafka, "compression.type": "zstd", "linger.ms": 5}
    )
    for number in range(4_000):
        headers: list[Any] = [
            (message.LEAF, b"%d" % (COUNT + number)),
            (message.SCHEMA, b"ab" * 32),
        ]
        value = message.frame(1, bytes(MEGABYTE))
        producer.produce(world.topic.name, value, b"P/1", 0, headers=headers)
        if number % 50 == 0:
            producer.flush(30)
    assert producer.flush(30) == 0
    with world.worker("flooded") as worker:
        world.until(lambda: worker.claimed == {0}, "the topic is claimed")
        with world.relaying():
            world.publish(*(transfer(f"Q/{number}") for number in range(COUNT)))
            world.until_rows("sinergi.transfer_history", 2 * COUNT)
        assert peak(worker.process.pid) < 500  # it would take more than 3 GB
    assert world.count("sinergi_consumer.halt") == 0
