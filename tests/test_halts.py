"""A halted topic-partition continues by itself once the cause of the halt is gone.

Each cause is created under a running materialiser, and then removed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from agency_pair import AgencyPair, send, transfer
from foreign_messages import contradict, false_seal, leaf, write_all
from sinergi_consumers.materialise.pauses import Pauses
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import TopicPartition
from test_moved_topics import deleted, held, made, materialised
from test_relay import until_sent
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from confluent_kafka import Message

TP = TopicPartition("sinergi.lapas-rekaan.transfer", 0)


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


def halt(pair: AgencyPair) -> tuple[str, int, datetime | None]:
    """Reason, number of looks and time of the next one; empty where nothing is halted."""
    rows = pair.ask("SELECT reason, looks, looks_at FROM sinergi_consumer.halt")
    return rows[0] if rows else ("", 0, None)


def until_halted(pair: AgencyPair, reason: str, looks: int = 1) -> None:
    pair.until(
        lambda: halt(pair)[0] == reason and halt(pair)[1] >= looks,
        f"halted by {reason} at look {looks}",
    )


def until_sound(pair: AgencyPair, rows: int) -> None:
    pair.until(lambda: halt(pair)[0] == "", "no partition is halted")
    pair.until_rows("sinergi.transfer_history", rows)
    assert len(materialised(pair)) == len(set(materialised(pair))) == rows
    assert pair.count("sinergi_consumer.quarantine") == 0


def filled(pair: AgencyPair, count: int = 20) -> list[Message]:
    """The messages of a topic that holds some events."""
    with pair.relaying():
        pair.publish(*(transfer(f"P/{number}") for number in range(count)))
        until_sent(pair, count)
    return held(pair, pair.topic.name, 0)


def put_back(pair: AgencyPair, messages: Iterable[Message], **changes: Any) -> None:
    """Write messages of the owner's into its topic again."""
    producer = Producer({"bootstrap.servers": pair.kafka, "enable.idempotence": True})
    for each in messages:
        fields = {"value": each.value(), "key": each.key(), "headers": each.headers(), **changes}
        producer.produce(pair.topic.name, partition=0, **fields)
    assert producer.flush(30) == 0


def made_anew(pair: AgencyPair) -> None:
    deleted(pair)
    made(pair)


@pytest.mark.long
def test_leaves_that_are_missing_in_a_restored_topic_are_read_once_they_are_put_there(
    pair: AgencyPair,
) -> None:
    messages = filled(pair)
    made_anew(pair)
    put_back(pair, messages[:5])
    put_back(pair, messages[7:])
    with pair.materialising():
        until_halted(pair, "SealGap", looks=2)
        assert pair.count("sinergi.transfer_history") == 0
        (_, _, looks_at) = halt(pair)
        assert looks_at
        assert looks_at > datetime(2026, 1, 1, tzinfo=UTC)
        put_back(pair, messages[5:7])
        until_sound(pair, 20)


@pytest.mark.long
def test_a_leaf_that_was_changed_in_a_restored_topic_is_read_once_the_true_one_is_put_there(
    pair: AgencyPair,
) -> None:
    messages = filled(pair)
    made_anew(pair)
    put_back(pair, messages[:5])
    put_back(pair, messages[5:6], value=b"\0\0\0\0\1another")
    put_back(pair, messages[6:])
    with pair.materialising():
        until_halted(pair, "SealMismatch")
        assert pair.count("sinergi.transfer_history") == 0
        put_back(pair, messages[5:6])
        until_sound(pair, 20)


@pytest.mark.long
def test_leaves_that_the_broker_deleted_are_read_once_their_owner_sends_them_again(
    pair: AgencyPair,
) -> None:
    with pair.materialising():
        messages = filled(pair, 5)
        pair.until_rows("sinergi.transfer_history", 5)
    with pair.relaying():
        pair.publish(*(transfer(f"Q/{number}") for number in range(10)))
        until_sent(pair, 15)
    cut = confluent_kafka.TopicPartition(pair.topic.name, 0, len(messages) + 5)
    admin = open_admin(pair.connection)
    for done in admin.delete_records([cut]).values():
        done.result(timeout=30)
    with pair.materialising():
        until_halted(pair, "OffsetGone")
        made_anew(pair)
        with pair.relaying():
            pair.publish(transfer("R/1"))
            until_sound(pair, 16)


def test_deleted_leaves_are_named_also_where_there_are_more_than_one_checkpoint_covers(
    pair: AgencyPair,
) -> None:
    tape = pair.tape()
    batches = [tape.write([transfer(f"P/{at}/{each}") for each in range(1_500)]) for at in range(5)]
    send(pair, batches[0])
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 1_500)
    send(pair, list(chain(*batches[1:])))
    records_deleted(pair, 7_400)
    with pair.materialising():
        until_halted(pair, "OffsetGone")


def records_deleted(pair: AgencyPair, before: int) -> None:
    admin = open_admin(pair.connection)
    cut = confluent_kafka.TopicPartition(pair.topic.name, 0, before)
    for done in admin.delete_records([cut]).values():
        done.result(timeout=PATIENCE_SECONDS)


@pytest.mark.long
def test_all_messages_deleted_and_sent_again_into_the_same_topic_end_the_halt(
    pair: AgencyPair,
) -> None:
    with pair.materialising():
        filled(pair, 5)
        pair.until_rows("sinergi.transfer_history", 5)
    with pair.relaying():
        pair.publish(*(transfer(f"Q/{number}") for number in range(5)))
        until_sent(pair, 10)
    records_deleted(pair, 10)
    with pair.materialising():
        until_halted(pair, "OffsetGone")
        with pair.relaying():
            pair.publish(transfer("R/1"))
            until_sound(pair, 11)


def test_messages_deleted_under_a_running_reader_are_read_where_their_owner_sends_them_again(
    pair: AgencyPair,
) -> None:
    with pair.materialising():
        messages = filled(pair, 5)
        pair.until_rows("sinergi.transfer_history", 5)
        # None of these is a leaf, so the reader loses nothing with them.
        write_all(pair, 0, [leaf(99)] * 5)
        records_deleted(pair, 10)
        put_back(pair, messages)
        with pair.relaying():
            pair.publish(transfer("Q/1"))
            until_sound(pair, 6)


@pytest.mark.long
@pytest.mark.parametrize("offset", [3, 12, 15, 1_000])
def test_an_offset_that_no_longer_holds_leads_to_the_leaf_and_to_no_halt(
    pair: AgencyPair, offset: int
) -> None:
    """As where a log was cut on disk and sent again, so that other leaves lie there."""
    with pair.materialising():
        filled(pair, 5)
        pair.until_rows("sinergi.transfer_history", 5)
    with pair.relaying():
        pair.publish(*(transfer(f"Q/{number}") for number in range(10)))
        until_sent(pair, 15)
    with pair.consumer.begin() as connection:
        connection.exec_driver_sql(f"UPDATE sinergi_consumer.position SET next_offset = {offset}")
    with capture_logs() as logs, pair.materialising():
        if offset == 15:  # nothing lies behind it, so only the next leaf shows what is missing
            with pair.relaying():
                pair.publish(transfer("R/1"))
                until_sound(pair, 16)
        else:
            until_sound(pair, 15)
            assert "topic-partition halted" not in {each["event"] for each in logs}


def test_a_checkpoint_of_more_than_five_thousand_leaves_is_passed_once_the_topic_is_made_anew(
    pair: AgencyPair,
) -> None:
    messages = filled(pair)
    made_anew(pair)
    leaves = [leaf(index) for index in range(WINDOW)]
    write_all(pair, 0, [*leaves, leaf(WINDOW, sealed=false_seal(pair, 0, WINDOW + 1))])
    with pair.materialising():
        until_halted(pair, "CheckpointTooWide")
        made_anew(pair)
        put_back(pair, messages)
        until_sound(pair, 20)


def test_two_histories_that_the_owner_signed_halt_until_the_topic_is_made_anew(
    pair: AgencyPair,
) -> None:
    messages = filled(pair)
    size = len(messages)
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 20)
        contradict(pair, 0, size)
        until_halted(pair, "SealFork")
        assert pair.count("sinergi.transfer_history") == 20
    made_anew(pair)
    put_back(pair, messages)
    with pair.materialising():
        until_sound(pair, 20)


def test_what_halts_one_partition_leaves_the_others_alone(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> None:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=2)
    with pair.materialising(), pair.relaying():
        pair.publish(*(transfer(f"P/{number}") for number in range(20)))
        pair.until_rows("sinergi.transfer_history", 20)
        contradict(pair, 0, 4_000)
        until_halted(pair, "SealGap")
        pair.publish(*(transfer(f"Q/{number}") for number in range(20)))
        until_sent(pair, 40)
        (size,) = pair.ask(
            "SELECT size FROM sinergi_producer.tree WHERE partition = 1", pair.producer
        )[0]
        pair.until_rows("sinergi.transfer_history", size)
    assert {number for (number,) in pair.ask("SELECT partition FROM sinergi_consumer.halt")} == {0}


class ManualClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


def test_pauses_double_up_to_five_minutes_and_begin_anew_once_it_goes_on() -> None:
    clock = ManualClock()
    first, most = DEFAULT.materialiser.retry_first, DEFAULT.materialiser.retry_most
    pauses = Pauses(clock, first, most)
    lengths = [pauses.begin(TP) for _ in range(10)]
    assert lengths[:4] == [first, 4.0, 8.0, 16.0]
    assert max(lengths) == lengths[-1] == most == 300.0
    assert pauses.over() == []
    clock.seconds = 300.0
    assert pauses.over() == [TP]
    assert pauses.over() == []
    pauses.forget(TP)
    assert pauses.begin(TP) == first
