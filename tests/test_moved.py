"""Topics that are not where, or what, they were: what moved is found, what is gone is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import confluent_kafka
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions, NewTopic
from structlog.testing import capture_logs

from foreign import write
from sinergi.local import Local
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.replay import ReplayFilter
from sinergi_schemas import topics
from sinergi_schemas.kafka.admin import describe, open_admin, partition_count
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.topics import TopicPartition
from test_relay import until_sent, verified
from test_status import Desk, desk
from waiting import PATIENCE_SECONDS
from world import World, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from confluent_kafka import Message

__all__ = ["desk"]

HALTS = "SELECT partition, reason FROM sinergi_consumer.halt ORDER BY partition"


@pytest.fixture
def world(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> World:
    return World(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.fixture
def second(tmp_path: Path) -> Iterator[str]:
    """Where another Kafka is."""
    with Local(tmp_path / "second") as local:
        yield local.bootstrap


def held(world: World, topic: str, partition: int) -> list[Message]:
    with open_scan(world.connection, TopicPartition(topic, partition)) as log:
        low, high = log.bounds()
        return [each for chunk in log.read(low, high) for each in chunk]


def left_behind(world: World) -> None:
    """The reader has 20 of the 60 leaves that are on the topic."""
    with world.relaying(), world.materialising():
        world.publish(*(transfer(f"P/{number}") for number in range(20)))
        world.until_rows("sinergi.transfer_history", 20)
    with world.relaying():
        world.publish(*(transfer(f"Q/{number}") for number in range(40)))
        until_sent(world, 60)


def copied(world: World, bootstrap: str) -> None:
    """Copy the topics to another cluster, where each message has another offset.

    Messages at the head come twice, as from a mirror that was started again.
    """
    old = {
        (name, number): held(world, name, number)
        for name, count in (
            (world.topic.name, world.partitions),
            (topics.control_topic(world.publisher), 1),
            (topics.receipts_topic(world.reader), 1),
        )
        for number in range(count)
    }
    world.kafka = bootstrap
    del world.connection, world.bus
    world._make_topics()
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for (name, number), kept in old.items():
        for each in (*kept[:5], *kept):
            producer.produce(name, each.value(), each.key(), number, headers=each.headers())
    assert producer.flush(PATIENCE_SECONDS) == 0


def deleted(world: World) -> None:
    admin = open_admin(world.connection)
    for gone in admin.delete_topics([world.topic.name]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    world.until(lambda: not describe(admin, [world.topic.name]), "the topic is gone")


def made(world: World, partitions: int | None = None) -> None:
    admin = open_admin(world.connection)
    topic = NewTopic(world.topic.name, partitions or world.partitions, 1)
    for done in admin.create_topics([topic]).values():
        done.result(timeout=PATIENCE_SECONDS)
    world.until(lambda: bool(describe(admin, [world.topic.name])), "the topic is there again")


def materialised(world: World) -> list[tuple[str, int]]:
    return world.ask("SELECT record_id, revision FROM sinergi.transfer_history ORDER BY 1, 2")


@pytest.mark.long
def test_on_another_cluster_with_other_offsets_everybody_goes_on_by_leaf_index(
    world: World, second: str
) -> None:
    with world.relaying(), world.materialising():
        world.publish(*(transfer(f"P/{number}") for number in range(40)))
        world.until_rows("sinergi.transfer_history", 40)
        until_sent(world, 40)
    offsets = "SELECT partition, next_offset, cluster_id FROM sinergi_consumer.position ORDER BY 1"
    before = world.ask(offsets)
    copied(world, second)
    with world.relaying(), world.materialising():
        world.publish(*(transfer(f"P/{number}", "CORRECTED") for number in range(10)))
        world.until_rows("sinergi.transfer_history", 50)
        until_sent(world, 50)
    assert {cluster for *_, cluster in before}.isdisjoint(
        cluster for *_, cluster in world.ask(offsets)
    )
    assert len(materialised(world)) == len(set(materialised(world))) == 50
    assert world.count("sinergi_consumer.halt") == world.count("sinergi_consumer.quarantine") == 0
    assert verified(world) == (50, 10), "the ten are those that were copied twice"


def test_a_topic_made_anew_is_read_on_once_its_owner_has_sent_everything_again(
    world: World,
) -> None:
    with world.relaying(), world.materialising():
        world.publish(*(transfer(f"P/{number}") for number in range(20)))
        world.until_rows("sinergi.transfer_history", 20)
        until_sent(world, 20)
    deleted(world)
    made(world)
    # Who comes first is open: a reader that claims a partition whose next leaf its owner has not
    # sent again yet halts it, and goes on once the leaf is there.
    with world.materialising(), world.relaying():
        world.publish(transfer("Q/1"))
        world.until_rows("sinergi.transfer_history", 21)
        world.until(lambda: world.count("sinergi_consumer.halt") == 0, "no partition is halted")
    assert verified(world) == (21, 0)
    assert len(materialised(world)) == len(set(materialised(world))) == 21


def test_a_topic_made_anew_under_a_running_reader_loses_and_doubles_nothing(world: World) -> None:
    """It may halt, since its next leaf is not there yet; started again it goes on."""
    with world.materialising():
        with world.relaying():
            world.publish(*(transfer(f"P/{number}") for number in range(20)))
            world.until_rows("sinergi.transfer_history", 20)
            until_sent(world, 20)
        deleted(world)
        made(world)
        with world.relaying():
            world.publish(*(transfer(f"Q/{number}") for number in range(20)))
            until_sent(world, 40)
    with world.materialising():
        world.until_rows("sinergi.transfer_history", 40)
        world.until(lambda: world.count("sinergi_consumer.halt") == 0, "no partition is halted")
    assert len(materialised(world)) == len(set(materialised(world))) == 40


def test_a_topic_made_anew_in_which_leaves_are_missing_halts_and_skips_nothing(
    world: World,
) -> None:
    left_behind(world)
    kept = [held(world, world.topic.name, number) for number in range(world.partitions)]
    deleted(world)
    made(world)
    producer = Producer({"bootstrap.servers": world.kafka})
    for number, all_ in enumerate(kept):
        for each in all_[-3:]:
            producer.produce(
                world.topic.name, each.value(), each.key(), number, headers=each.headers()
            )
    assert producer.flush(PATIENCE_SECONDS) == 0
    with world.materialising():
        world.until(lambda: world.count("sinergi_consumer.halt") == 2, "both partitions halt")
    assert world.ask(HALTS) == [(0, "SealGap"), (1, "SealGap")]
    assert len(materialised(world)) == 20


@pytest.mark.long
def test_leaves_that_the_broker_has_deleted_halt_their_partition_and_no_other(
    world: World,
) -> None:
    left_behind(world)
    end = len(held(world, world.topic.name, 0))
    whole = len(held(world, world.topic.name, 1))
    admin = open_admin(world.connection)
    cut = confluent_kafka.TopicPartition(world.topic.name, 0, end - 1)
    for done in admin.delete_records([cut]).values():
        done.result(timeout=PATIENCE_SECONDS)
    ends = "SELECT DISTINCT tree_size FROM sinergi_consumer.position WHERE partition = {}".format
    (known,) = world.ask(ends(0))
    with world.materialising():
        world.until(lambda: world.count("sinergi_consumer.halt") == 1, "the partition halts")
        world.until(lambda: world.ask(ends(1)) == [(whole,)], "the other goes on")
    assert world.ask(HALTS) == [(0, "OffsetGone")]
    assert world.ask(ends(0)) == [known]
    ((why,),) = world.ask("SELECT detail FROM sinergi_consumer.halt")
    assert f"Leaf {known[0]} of {world.topic.name}/0" in why


def partitions_added(world: World, count: int) -> None:
    admin = open_admin(world.connection)
    for done in admin.create_partitions([NewPartitions(world.topic.name, count)]).values():
        done.result(timeout=PATIENCE_SECONDS)
    world.until(lambda: partition_count(admin, world.topic.name) == count, "they are there")


def test_partitions_added_behind_our_back_are_left_aside_and_told_and_all_goes_on(
    desk: Desk,
) -> None:
    world = desk.world
    with world.relaying(), world.materialising():
        world.publish(*(transfer(f"P/{number}") for number in range(20)))
        world.until_rows("sinergi.transfer_history", 20)
        partitions_added(world, world.partitions + 1)
        world.publish(*(transfer(f"Q/{number}") for number in range(20)))
        world.until_rows("sinergi.transfer_history", 40)
    write(world, world.partitions)
    with capture_logs() as logs, world.relaying(), world.materialising():
        world.publish(*(transfer(f"R/{number}") for number in range(20)))
        world.until_rows("sinergi.transfer_history", 60)
        until_sent(world, 60)
        world.until(lambda: not desk.reader()["problems"], "the reader's side is well")
        remarks = [desk.reader()["remarks"], desk.publisher()["remarks"]]
    assert world.count("sinergi_consumer.halt") == 0
    told = [each for each in logs if each["event"] == "partitions left aside"]
    assert len(told) == 2, "the relay once, and the materialiser once"
    said = f"{world.topic.name} has 3 partitions where the agreement says 2"
    assert all(any(said in each for each in lines) for lines in remarks)
    audit = Audit(world.bus, world.topic, Copies())
    assert sum(each.height for each in audit.events(ReplayFilter())) == 60
    assert audit.holds
    assert said in audit.remarks[0]


def test_a_topic_that_lacks_a_partition_is_waited_for_until_it_is_added(world: World) -> None:
    with world.relaying(), world.materialising():
        world.publish(*(transfer(f"P/{number}") for number in range(20)))
        world.until_rows("sinergi.transfer_history", 20)
        until_sent(world, 20)
    deleted(world)
    made(world, 1)
    with capture_logs() as logs, world.relaying(), world.materialising():
        world.publish(*(transfer(f"Q/{number}") for number in range(20)))
        world.until(
            lambda: any(
                each["event"] == "waiting" and "has 1 partition where" in each["why"]
                for each in logs
            ),
            "the relay waits",
        )
        world.until(lambda: (0, "PartitionsDiffer") in world.ask(HALTS), "the reader halts")
        partitions_added(world, 2)
        world.until_rows("sinergi.transfer_history", 40)
        until_sent(world, 40)
        world.until(lambda: world.count("sinergi_consumer.halt") == 0, "no partition is halted")
    assert len(materialised(world)) == len(set(materialised(world))) == 40
