"""Foreign messages on an agency's topics stop neither its relay nor its recovery."""

from __future__ import annotations

import random
import secrets
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import NewTopic
from structlog.testing import capture_logs

import raw_produce
from agency_pair import BUS, AgencyPair, transfer
from foreign_messages import Headers, contradict, false_seal, leaf, write_all
from sinergi_producers.relay import topic_evidence
from sinergi_producers.relay.comparison import Comparison
from sinergi_producers.relay.sealing import TreeKey
from sinergi_producers.relay.store import OutboxStore
from sinergi_schemas import errors, message
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.keys import SigningKey
from test_recovery import backup, produce, recovery, restore, sealed_only
from test_relay import expected_messages, messages, relay_of, sent, until_sent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["backup"]

Wire = tuple[bytes | None, bytes | None, Headers]


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """One topic-partition, so that the order of all leaves is known."""
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


def noise(pair: AgencyPair, known: int) -> list[Wire]:
    """Messages of every kind that no checkpoint of the owner covers.

    Args:
        known: leaves that the owner has sent.
    """
    stranger = SigningKey.generate(f"{BUS}/{pair.publisher}")
    own = [(value, key, headers) for key, value, headers in expected_messages(pair, 0)]
    value, key, headers = own[-1]
    name = message.LEAF
    unsigned = [each for each in headers if each[0] not in (message.CHECKPOINT, message.FRONTIER)]

    def numbered(text: bytes) -> Wire:
        return value, key, [(at, text if at == name else said) for at, said in headers]

    elsewhere = Checkpoint(f"{BUS}/{pair.topic.name}/7", known + 5, secrets.token_bytes(32))
    return [
        leaf(999),
        leaf(known, sealed=false_seal(pair, 0, known + 1, stranger)),
        leaf(known, sealed=SignedCheckpoint(checkpoint.sign(elsewhere, [pair.key]), ())),
        leaf(known, sealed=SignedCheckpoint("no note", ())),
        leaf(known - 1, datum=b"altered"),
        *own,
        (None, b"P/1", []),
        (b"", b"P/1", []),
        (value, None, headers),
        (value, key, []),
        (value, key, [*headers, (name, b"0")]),
        (value, key, [(at, None) for at, _ in headers]),
        *map(numbered, (b"007", b"+7", b" 7", b"-1", b"9" * 30, b"\xd9\xa7", b"")),
        # A copy of an event of ours that is whole, under the next leaf.
        (value, key, [(at, b"%d" % known if at == name else said) for at, said in unsigned]),
    ]


def raw_noise(pair: AgencyPair, known: int) -> None:
    """What no client library sends."""
    index = b"%d" % known
    for headers in (
        [(b"\xff\xfe", b"x")],
        [(b"\xff\xfe", None), (b"sinergi_leaf", index)],
        [(b"sinergi_leaf", index), (b"sinergi_leaf", None)],
    ):
        raw_produce.produce(pair.kafka, pair.topic.name, 0, b"\0\0\0\0\1x", b"P/1", headers)
    raw_produce.produce(pair.kafka, pair.topic.name, 0, None, None)


def skipped(logs: list[Any]) -> list[dict[str, Any]]:
    return [each for each in list(logs) if each["event"] == "messages skipped"]


def test_noise_of_every_kind_neither_ends_a_relay_nor_hides_what_it_has_sent(
    pair: AgencyPair,
) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    with pair.relaying():
        until_sent(pair, 9)
    write_all(pair, 0, noise(pair, 9))
    raw_noise(pair, 9)
    with capture_logs() as logs, pair.materialising():
        with pair.relaying():
            pair.publish(transfer("P/9"))
            until_sent(pair, 10)
            pair.until_rows("sinergi.transfer_history", 10)
        assert pair.count("sinergi_consumer.halt") == 0
    found = [each for each in skipped(logs) if "topic" in each]
    assert {each["topic"] for each in found} == {pair.topic.name}
    assert all(each["messages"] > 0 and each["offset"] >= 9 for each in found)
    assert not [each for each in logs if each["event"].startswith("topic has lost")]


def test_header_names_that_are_not_text_never_crash_a_process(pair: AgencyPair) -> None:
    """The client library hands out broken headers for them, in a hot loop without a word."""
    with pair.relaying():
        pair.publish(*(transfer(f"P/{number}") for number in range(100)))
        until_sent(pair, 100)
    for _ in range(20):
        raw_noise(pair, 100)
    refused = 0
    for each in messages(pair):
        for _ in range(2):
            try:
                message.parse(each)
            except errors.MessageMalformed:
                refused += 1
    assert refused == 2 * 20 * 4


def test_each_cause_is_reported_once_however_often_the_relay_begins_anew(pair: AgencyPair) -> None:
    pair.publish(transfer("P/1"))
    with pair.relaying():
        until_sent(pair, 1)
    write_all(pair, 0, [leaf(999), leaf(998), (None, b"x", []), (None, b"y", [])])
    with closing(OutboxStore(pair.producer_url)) as store, capture_logs() as logs:
        comparison = Comparison(store, pair.connection, pair.publisher)
        for _ in range(3):
            assert comparison.leaves_on_topics(pair.agreements, {TreeKey("transfer", 0): 1}) == {
                ("transfer", 0): 1
            }
    assert [(each["why"], each["offset"], each["messages"]) for each in skipped(logs)] == [
        (topic_evidence.UNKNOWN_LEAF, 1, 2),
        ("no key or no Confluent frame", 3, 2),
    ]


def test_a_valid_checkpoint_beyond_the_outbox_is_found_behind_any_noise(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    with pair.relaying():
        until_sent(pair, 9)
    write_all(pair, 0, noise(pair, 9))
    contradict(pair, 0, 12)
    write_all(pair, 0, noise(pair, 9) * 20)
    with pytest.raises(errors.OutboxBehindTopic, match="shows 12 leaves, this outbox has 9"):
        relay_of(pair).run(Event())


def test_another_tree_of_a_size_that_the_outbox_has_signed_is_a_fork(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    with pair.relaying():
        until_sent(pair, 9)
    contradict(pair, 0, 9)
    with pytest.raises(errors.OutboxForked, match=r"transfer/0 has two histories of 9 leaves"):
        relay_of(pair).run(Event())


def test_much_junk_at_the_end_is_passed_over(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    with pair.relaying():
        until_sent(pair, 9)
    write_all(pair, 0, [leaf(number, datum=b"x") for number in range(10, 30_000)])
    began = SYSTEM.monotonic()
    with capture_logs() as logs, pair.relaying():
        pair.publish(transfer("P/9"))
        until_sent(pair, 10)
    assert SYSTEM.monotonic() - began < 30
    assert sum(each["messages"] for each in skipped(logs)) == 29_990


def test_junk_from_before_the_last_leaf_is_not_read_again(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.publish(transfer("P/0"))
    with pair.relaying():
        until_sent(pair, 1)
    write_all(pair, 0, [leaf(number) for number in range(10, 3_000)])
    with pair.relaying():
        pair.publish(transfer("P/1"))
        until_sent(pair, 2)
    monkeypatch.setattr(topic_evidence, "_CLOCKS_DIFFER", topic_evidence._CLOCKS_DIFFER * 0)
    parsed: list[int] = []
    parse = message.parse

    def counted(received: Any) -> Any:
        parsed.append(received.offset())
        return parse(received)

    monkeypatch.setattr(message, "parse", counted)
    compare(pair, 2, 2)
    assert sorted(parsed) == [0, 2_991], "the first leaf and the last one"


@pytest.mark.parametrize("hours", [-3, 3])
def test_clocks_that_differ_cost_time_and_nothing_else(pair: AgencyPair, hours: int) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    with pair.relaying():
        until_sent(pair, 9)
    with pair.producer.begin() as connection:
        # What was signed is guarded against every change.
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(
            "UPDATE sinergi_producer.checkpoint"
            f" SET sealed_at = sealed_at + interval '{hours} hours'"
        )
    write_all(pair, 0, noise(pair, 9))
    compare(pair, 9, 9)


def compare(pair: AgencyPair, known: int, shown: int) -> None:
    """See how many leaves the topic shows to an outbox."""
    with closing(OutboxStore(pair.producer_url)) as store:
        comparison = Comparison(store, pair.connection, pair.publisher)
        found = comparison.leaves_on_topics(pair.agreements, {TreeKey("transfer", 0): known})
    assert found == {("transfer", 0): shown}


def test_a_copy_of_the_last_message_does_not_hide_that_a_topic_was_lost(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    with pair.relaying():
        until_sent(pair, 9)
    last = expected_messages(pair, 0)[-1]
    admin = open_admin(pair.connection)
    for gone in admin.delete_topics([pair.topic.name]).values():
        gone.result(timeout=30)
    pair.until(lambda: not describe(admin, [pair.topic.name]), "the topic is gone")
    for made in admin.create_topics([NewTopic(pair.topic.name, 1, 1)]).values():
        made.result(timeout=30)
    pair.until(lambda: bool(describe(admin, [pair.topic.name])), "the topic is there")
    produce(pair, 0, [last])
    with pair.relaying(), pair.materialising():
        pair.publish(transfer("P/9"))
        until_sent(pair, 10)
        pair.until_rows("sinergi.transfer_history", 10)
    assert len(messages(pair)) == 11


# Recovery


def test_recovery_takes_back_what_the_topic_proves_from_among_noise_of_every_kind(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    with pair.relaying():
        pair.publish(*(transfer(f"P/{number}") for number in range(5)))
        until_sent(pair, 5)
    earlier = backup(pair.producer_url)
    # Forged copies of the next leaves stand before the true ones.
    write_all(pair, 0, noise(pair, 5) + [leaf(number) for number in range(5, 9)])
    raw_noise(pair, 5)
    with pair.relaying():
        pair.publish(*(transfer(f"Q/{number}") for number in range(4)))
        until_sent(pair, 9)
    write_all(pair, 0, noise(pair, 9))
    raw_noise(pair, 9)
    restore(pair, earlier)
    with pytest.raises(errors.OutboxBehindTopic, match="shows 9 leaves, this outbox has 5"):
        relay_of(pair).run(Event())
    with capture_logs() as logs:
        done = recovery(pair).apply()
    assert sorted(each.record_id for each in done.settlement.forgotten) == [
        f"Q/{number}" for number in range(4)
    ]
    assert skipped(logs)
    assert not recovery(pair).plan().is_needed
    assert sent(pair) == 9
    with pair.relaying():
        pair.publish(transfer("R/1"))
        until_sent(pair, 10)


def test_noise_alone_is_nothing_to_recover(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    with pair.relaying():
        until_sent(pair, 9)
    write_all(pair, 0, noise(pair, 9))
    raw_noise(pair, 9)
    for vouched in (False, True):
        plan = recovery(pair).apply(vouched=vouched)
        assert not plan.is_needed
        assert not plan.left
        assert (plan.settlement.forgotten, plan.settlement.known) == ([], [])
    assert sent(pair) == 9


def test_a_checkpoint_whose_leaves_are_not_there_is_never_adopted(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    with pair.relaying():
        until_sent(pair, 9)
    contradict(pair, 0, 12)
    with pytest.raises(errors.SealBroken):
        recovery(pair).apply(vouched=True)
    assert sent(pair) == 9


def test_leaves_that_no_checkpoint_covers_do_not_hold_the_relay(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    """A relay died in the midst of a batch, and its database was restored to before it."""
    with pair.relaying():
        pair.publish(transfer("P/1"))
        until_sent(pair, 1)
    earlier = backup(pair.producer_url)
    pair.publish(*(transfer(f"Q/{number}") for number in range(5)))
    sealed_only(pair)
    produce(pair, 0, expected_messages(pair, 0)[1:-1])
    restore(pair, earlier)
    with pair.relaying(), pair.materialising():
        pair.publish(transfer("R/1"), transfer("R/2"))
        until_sent(pair, 3)
        pair.until_rows("sinergi.transfer_history", 3)
        assert pair.count("sinergi_consumer.halt") == 0
    found = pair.ask("SELECT record_id FROM sinergi.transfer_history ORDER BY 1")
    assert found == [("P/1",), ("R/1",), ("R/2",)]


def test_mixed_at_random_noise_never_changes_what_is_recovered(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    dice = random.Random(20260609)  # noqa: S311 - a seed for a test
    earlier = backup(pair.producer_url)
    for batch in range(6):
        with pair.relaying():
            pair.publish(*(transfer(f"{batch}/{number}") for number in range(dice.randint(1, 8))))
            total = pair.ask("SELECT count(*) FROM sinergi_producer.outbox", pair.producer)[0][0]
            until_sent(pair, total)
        strays = noise(pair, total)
        write_all(pair, 0, [dice.choice(strays) for _ in range(dice.randint(0, 30))])
    restore(pair, earlier)
    assert len(recovery(pair).apply().settlement.forgotten) == total
    assert sent(pair) == total
