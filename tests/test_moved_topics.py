"""Topics that were moved, truncated or recreated: leaves are found again, or named as missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import confluent_kafka
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewPartitions, NewTopic
from structlog.testing import capture_logs

from agency_pair import AgencyPair, transfer
from foreign_messages import write
from long_cases import long_after
from sinergi.local import Local
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_schemas import errors, topics
from sinergi_schemas.kafka.admin import describe, open_admin, partition_count
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.topics import TopicPartition
from test_relay import until_sent, verified
from test_status import Operator, operator
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from confluent_kafka import Message

__all__ = ["operator"]

HALTS = "SELECT partition, reason FROM sinergi_consumer.halt ORDER BY partition"


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.fixture
def second(tmp_path: Path) -> Iterator[str]:
    """Where another Kafka is."""
    with Local(tmp_path / "second", is_secured=False) as local:
        yield local.bootstrap


def held(pair: AgencyPair, topic: str, partition: int) -> list[Message]:
    with open_scan(pair.connection, TopicPartition(topic, partition)) as scan:
        low, high = scan.bounds()
        return [each for chunk in scan.read(low, high) for each in chunk]


def left_behind(pair: AgencyPair) -> None:
    """The reader has 20 of the 60 leaves that are on the topic."""
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"P/{number}") for number in range(20)))
        pair.until_rows("sinergi.transfer_history", 20)
    with pair.relaying():
        pair.publish(*(transfer(f"Q/{number}") for number in range(40)))
        until_sent(pair, 60)


def copied(pair: AgencyPair, bootstrap: str) -> None:
    """Copy the topics to another cluster, where each message has another offset.

    Messages at the head come twice, as from a mirror that was started again.
    """
    old = {
        (name, number): held(pair, name, number)
        for name, count in (
            (pair.topic.name, pair.partitions),
            (topics.control_topic(pair.publisher), 1),
            (topics.receipts_topic(pair.reader), 1),
        )
        for number in range(count)
    }
    pair.kafka = bootstrap
    del pair.connection, pair.bus
    pair._make_topics()
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for (name, number), kept in old.items():
        for each in (*kept[:5], *kept):
            producer.produce(name, each.value(), each.key(), number, headers=each.headers())
    assert producer.flush(PATIENCE_SECONDS) == 0


def deleted(pair: AgencyPair) -> None:
    admin = open_admin(pair.connection)
    for gone in admin.delete_topics([pair.topic.name]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    pair.until(lambda: not describe(admin, [pair.topic.name]), "the topic is gone")


def made(
    pair: AgencyPair, partitions: int | None = None, config: dict[str, str] | None = None
) -> None:
    admin = open_admin(pair.connection)
    count = partitions or pair.partitions
    topic = NewTopic(pair.topic.name, count, 1, config=config or {})
    for done in admin.create_topics([topic]).values():
        done.result(timeout=PATIENCE_SECONDS)
    pair.until(lambda: bool(describe(admin, [pair.topic.name])), "the topic is there again")
    pair.until(lambda: are_led(pair, count), "a broker answers for each partition")


def are_led(pair: AgencyPair, partitions: int) -> bool:
    """Whether a broker leads each partition: a new topic is described before that."""
    try:
        for partition in range(partitions):
            with open_scan(pair.connection, TopicPartition(pair.topic.name, partition)) as scan:
                scan.bounds()
    except errors.BrokersChanging:
        return False
    return True


def materialised(pair: AgencyPair) -> list[tuple[str, int]]:
    return pair.ask("SELECT record_id, revision FROM sinergi.transfer_history ORDER BY 1, 2")


@pytest.mark.long
def test_on_another_cluster_with_other_offsets_everybody_goes_on_by_leaf_index(
    pair: AgencyPair, second: str
) -> None:
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"P/{number}") for number in range(40)))
        pair.until_rows("sinergi.transfer_history", 40)
        until_sent(pair, 40)
    offsets = "SELECT partition, next_offset, cluster_id FROM sinergi_consumer.position ORDER BY 1"
    before = pair.ask(offsets)
    copied(pair, second)
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"P/{number}", "CORRECTED") for number in range(10)))
        pair.until_rows("sinergi.transfer_history", 50)
        until_sent(pair, 50)
    assert {cluster for *_, cluster in before}.isdisjoint(
        cluster for *_, cluster in pair.ask(offsets)
    )
    assert len(materialised(pair)) == len(set(materialised(pair))) == 50
    assert pair.count("sinergi_consumer.halt") == pair.count("sinergi_consumer.quarantine") == 0
    assert verified(pair) == (50, 10), "the ten are those that were copied twice"


def test_a_topic_made_anew_is_read_on_once_its_owner_has_sent_everything_again(
    pair: AgencyPair,
) -> None:
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"P/{number}") for number in range(20)))
        pair.until_rows("sinergi.transfer_history", 20)
        until_sent(pair, 20)
    deleted(pair)
    made(pair)
    # Who comes first is open: a reader that claims a partition whose next leaf its owner has not
    # sent again yet halts it, and goes on once the leaf is there.
    with pair.materialising(), pair.relaying():
        pair.publish(transfer("Q/1"))
        pair.until_rows("sinergi.transfer_history", 21)
        pair.until(lambda: pair.count("sinergi_consumer.halt") == 0, "no partition is halted")
    assert verified(pair) == (21, 0)
    assert len(materialised(pair)) == len(set(materialised(pair))) == 21


def test_a_topic_made_anew_under_a_running_reader_loses_and_doubles_nothing(
    pair: AgencyPair,
) -> None:
    """It may halt, since its next leaf is not there yet; started again it goes on."""
    with pair.materialising():
        with pair.relaying():
            pair.publish(*(transfer(f"P/{number}") for number in range(20)))
            pair.until_rows("sinergi.transfer_history", 20)
            until_sent(pair, 20)
        deleted(pair)
        made(pair)
        with pair.relaying():
            pair.publish(*(transfer(f"Q/{number}") for number in range(20)))
            until_sent(pair, 40)
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 40)
        pair.until(lambda: pair.count("sinergi_consumer.halt") == 0, "no partition is halted")
    assert len(materialised(pair)) == len(set(materialised(pair))) == 40


def test_a_topic_made_anew_in_which_leaves_are_missing_halts_and_skips_nothing(
    pair: AgencyPair,
) -> None:
    left_behind(pair)
    kept = [held(pair, pair.topic.name, number) for number in range(pair.partitions)]
    deleted(pair)
    made(pair)
    producer = Producer({"bootstrap.servers": pair.kafka})
    for number, all_ in enumerate(kept):
        for each in all_[-3:]:
            producer.produce(
                pair.topic.name, each.value(), each.key(), number, headers=each.headers()
            )
    assert producer.flush(PATIENCE_SECONDS) == 0
    with pair.materialising():
        pair.until(lambda: pair.count("sinergi_consumer.halt") == 2, "both partitions halt")
    assert pair.ask(HALTS) == [(0, "SealGap"), (1, "SealGap")]
    assert len(materialised(pair)) == 20


@pytest.mark.long
def test_leaves_that_the_broker_has_deleted_halt_their_partition_and_no_other(
    pair: AgencyPair,
) -> None:
    left_behind(pair)
    end = len(held(pair, pair.topic.name, 0))
    whole = len(held(pair, pair.topic.name, 1))
    admin = open_admin(pair.connection)
    cut = confluent_kafka.TopicPartition(pair.topic.name, 0, end - 1)
    for done in admin.delete_records([cut]).values():
        done.result(timeout=PATIENCE_SECONDS)
    ends = "SELECT DISTINCT tree_size FROM sinergi_consumer.position WHERE partition = {}".format
    (known,) = pair.ask(ends(0))
    with pair.materialising():
        pair.until(lambda: pair.count("sinergi_consumer.halt") == 1, "the partition halts")
        pair.until(lambda: pair.ask(ends(1)) == [(whole,)], "the other goes on")
    assert pair.ask(HALTS) == [(0, "OffsetGone")]
    assert pair.ask(ends(0)) == [known]
    ((why,),) = pair.ask("SELECT detail FROM sinergi_consumer.halt")
    assert f"Leaf {known[0]} of {pair.topic.name}/0" in why


def cut(pair: AgencyPair, partition: int, offset: int) -> None:
    """Let the broker delete the messages before an offset; -1 means all."""
    before = confluent_kafka.TopicPartition(pair.topic.name, partition, offset)
    admin = open_admin(pair.connection)
    for done in admin.delete_records([before]).values():
        done.result(timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "offset", long_after(1, [-1, 10]), ids=["all messages", "the first messages"]
)
def test_a_relay_that_starts_sends_first_leaves_again_and_a_halted_reader_goes_on(
    pair: AgencyPair, offset: int
) -> None:
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"P/{number}") for number in range(10)))
        pair.until_rows("sinergi.transfer_history", 10)
    with pair.relaying():
        pair.publish(*(transfer(f"Q/{number}") for number in range(40)))
        until_sent(pair, 50)
        cut(pair, 0, offset)
        pair.publish(*(transfer(f"R/{number}") for number in range(20)))
        until_sent(pair, 70)
    with pair.materialising():
        pair.until(lambda: pair.ask(HALTS) == [(0, "OffsetGone")], "the partition halts")
        with pair.relaying():
            pair.until_rows("sinergi.transfer_history", 70)
            pair.until(lambda: pair.count("sinergi_consumer.halt") == 0, "no partition is halted")
    assert len(materialised(pair)) == len(set(materialised(pair))) == 70
    sizes = [len(held(pair, pair.topic.name, number)) for number in range(pair.partitions)]
    with capture_logs() as logs, pair.relaying():
        pair.publish(transfer("S/1"))
        until_sent(pair, 71)
    assert not [each for each in logs if "lost" in each["event"]], "the second time all is there"
    assert sum(len(held(pair, pair.topic.name, number)) for number in (0, 1)) == sum(sizes) + 1


def test_messages_of_others_before_the_first_leaf_make_no_relay_send_again(
    pair: AgencyPair,
) -> None:
    for number in range(pair.partitions):
        write(pair, number)
    for records, count in (("P", 20), ("Q", 40)):
        with capture_logs() as logs, pair.relaying():
            pair.publish(*(transfer(f"{records}/{number}") for number in range(20)))
            until_sent(pair, count)
        assert not [each for each in logs if "lost" in each["event"]]
    assert sum(len(held(pair, pair.topic.name, number)) for number in (0, 1)) == 40 + 2


def partitions_added(pair: AgencyPair, count: int) -> None:
    admin = open_admin(pair.connection)
    for done in admin.create_partitions([NewPartitions(pair.topic.name, count)]).values():
        done.result(timeout=PATIENCE_SECONDS)
    pair.until(lambda: partition_count(admin, pair.topic.name) == count, "they are there")


def test_partitions_added_behind_our_back_are_left_aside_and_told_and_all_goes_on(
    operator: Operator,
) -> None:
    pair = operator.pair
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"P/{number}") for number in range(20)))
        pair.until_rows("sinergi.transfer_history", 20)
        partitions_added(pair, pair.partitions + 1)
        pair.publish(*(transfer(f"Q/{number}") for number in range(20)))
        pair.until_rows("sinergi.transfer_history", 40)
    write(pair, pair.partitions)
    with capture_logs() as logs, pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"R/{number}") for number in range(20)))
        pair.until_rows("sinergi.transfer_history", 60)
        until_sent(pair, 60)
        pair.until(lambda: not operator.reader()["problems"], "the reader's side is well")
        remarks = [operator.reader()["remarks"], operator.publisher()["remarks"]]
    assert pair.count("sinergi_consumer.halt") == 0
    told = [each for each in logs if each["event"] == "added partitions ignored"]
    assert len(told) == 2, "the relay once, and the materialiser once"
    said = f"{pair.topic.name} has 3 partitions where the agreement says 2"
    assert all(any(said in each for each in lines) for lines in remarks)
    audit = Audit(pair.bus, pair.topic, Copies())
    assert sum(each.height for each in audit.events(ReplayFilter())) == 60
    assert audit.is_proved
    assert said in audit.remarks[0]


def test_a_topic_that_lacks_a_partition_is_waited_for_until_it_is_added(pair: AgencyPair) -> None:
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"P/{number}") for number in range(20)))
        pair.until_rows("sinergi.transfer_history", 20)
        until_sent(pair, 20)
    deleted(pair)
    made(pair, 1)
    with capture_logs() as logs, pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"Q/{number}") for number in range(20)))
        pair.until(
            lambda: any(
                each["event"] == "waiting" and "has 1 partition where" in each["why"]
                for each in logs
            ),
            "the relay waits",
        )
        pair.until(lambda: (0, "PartitionsDiffer") in pair.ask(HALTS), "the reader halts")
        partitions_added(pair, 2)
        pair.until_rows("sinergi.transfer_history", 40)
        until_sent(pair, 40)
        pair.until(lambda: pair.count("sinergi_consumer.halt") == 0, "no partition is halted")
    assert len(materialised(pair)) == len(set(materialised(pair))) == 40
