"""The relay keeps its readers' receipts, since their topics keep the newest ones only."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from agency_pair import BUS, DATABASE, AgencyPair, transfer
from sinergi_producers.relay import receipt_history
from sinergi_producers.relay.receipt_history import MOST_MESSAGES, ReceiptHistory
from sinergi_producers.relay.receipt_store import ReceiptStore
from sinergi_schemas import topics
from sinergi_schemas.agreements import receipts
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.seal.note import parse_note
from sinergi_schemas.timeouts import RelayTimeouts, Timeouts
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEPT = "SELECT partition, size, note, signed_by_reader_at FROM sinergi_producer.seen_receipt"
QUICK = Timeouts(relay=RelayTimeouts(receipts=0.1))


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    urls = databases(), databases()
    return AgencyPair(tmp_path, kafka, agency_slug, *urls, partitions=1, timeouts=QUICK)


@pytest.fixture
def history(pair: AgencyPair) -> Iterator[ReceiptHistory]:
    """The history of a publisher whose relay does not run."""
    store = ReceiptStore(pair.producer_url)
    made = ReceiptHistory(pair.publisher, pair.connection, store, timeouts=QUICK.relay)
    with closing(made):
        yield made


def kept(pair: AgencyPair) -> list[Any]:
    return sorted(pair.ask(KEPT, pair.producer))


def put(pair: AgencyPair, *values: str | bytes) -> None:
    """Write values to the reader's receipts topic."""
    producer = Producer({"bootstrap.servers": pair.kafka})
    for each in values:
        producer.produce(topics.receipts_topic(pair.reader), each, b"any key")
        producer.poll(0)
    assert producer.flush(PATIENCE_SECONDS) == 0


def receipt(
    pair: AgencyPair, size: int, at: datetime, *, owner: SigningKey | None = None, **other: Any
) -> str:
    """A receipt of the reader for a tree of so many leaves."""
    origin = f"{BUS}/{pair.topic.name}/{other.get('partition', 0)}"
    stated = checkpoint.Checkpoint(origin, size, bytes([size]) * 32)
    note = checkpoint.sign(stated, [owner or pair.key])
    return checkpoint.cosign(note, other.get("reader", pair.receipt_key), int(at.timestamp()))


NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)


def test_each_receipt_that_a_reader_publishes_is_kept_with_both_times(pair: AgencyPair) -> None:
    with pair.relaying(), pair.materialising():
        for number in range(3):
            pair.publish(transfer(f"P/{number}"))
            pair.until(lambda: len(kept(pair)) > number, "its receipt is kept")  # noqa: B023
    at_reader = pair.ask(
        "SELECT partition, size, note, date_trunc('second', signed_at)"
        " FROM sinergi_consumer.receipt ORDER BY size"
    )
    assert kept(pair) == at_reader
    both = "SELECT reader, signed_by_reader_at, seen_by_owner_at FROM sinergi_producer.seen_receipt"
    for reader, signed, seen in pair.ask(both, pair.producer):
        assert reader == f"{pair.reader}/{DATABASE}"
        assert seen > signed
    # A relay that begins anew reads the topic again, and keeps nothing twice.
    with pair.relaying():
        pair.publish(transfer("P/4"))
        pair.until(lambda: sent(pair) == 4, "it is sent")
    assert kept(pair) == at_reader


def sent(pair: AgencyPair) -> int:
    (row,) = pair.ask("SELECT sum(sent_size)::int FROM sinergi_producer.tree", pair.producer)
    return int(row[0])


def test_what_is_no_receipt_of_a_reader_for_our_topic_is_passed_over(
    pair: AgencyPair, history: ReceiptHistory
) -> None:
    true = receipt(pair, 7, NOON)
    parsed = parse_note(true)
    stranger = SigningKey.generate(f"{BUS}/{pair.reader}/{DATABASE}", Algorithm.COSIGNATURE)
    other_owner = SigningKey.generate(f"{BUS}/{pair.publisher}")
    junk: list[str | bytes] = [
        b"",
        b"\xff\xfe junk",
        "x" * 100_000,
        true.replace("\n7\n", "\n8\n"),
        receipt(pair, 9, NOON, partition=1),
        receipt(pair, 10, NOON, owner=other_owner),
        receipt(pair, 11, NOON, reader=stranger),
        true.replace(pair.publisher, "lapas-lain"),
        *(str(replace(parsed, signatures=(each,))) for each in parsed.signatures),
    ]
    put(pair, *junk, true)
    assert not history.step(pair.agreements)
    assert [(size, at) for _, size, _, at in kept(pair)] == [(7, NOON)]
    (note,) = [note for _, _, note, _ in kept(pair)]
    assert note == true
    assert parse_note(note).signatures[-1].name == f"{BUS}/{pair.reader}/{DATABASE}"


def test_a_step_is_bounded_and_the_next_one_goes_on(
    pair: AgencyPair, history: ReceiptHistory
) -> None:
    put(pair, *["junk"] * MOST_MESSAGES, receipt(pair, 7, NOON))
    assert history.step(pair.agreements)
    assert kept(pair) == []
    assert not history.step(pair.agreements)
    assert [size for _, size, *_ in kept(pair)] == [7]


def test_of_a_topic_full_of_junk_the_oldest_and_the_newest_messages_are_read(
    pair: AgencyPair, history: ReceiptHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipt_history, "MOST_MESSAGES", 10)
    monkeypatch.setattr(receipt_history, "MOST_BEHIND", 30)
    put(pair, receipt(pair, 3, NOON), *["junk"] * 500, receipt(pair, 5, NOON))
    put(pair, *["junk"] * 500, receipt(pair, 7, NOON))
    with capture_logs() as logs:
        steps = 1
        while history.step(pair.agreements):
            steps += 1
    assert steps <= 7
    assert [size for _, size, *_ in kept(pair)] == [3, 7]
    (said,) = [each for each in logs if each["event"] == "receipts topic too long to read"]
    assert said["messages_skipped"] > 900


def test_a_smaller_receipt_that_was_signed_later_adds_nothing(
    pair: AgencyPair, history: ReceiptHistory
) -> None:
    put(pair, receipt(pair, 7, NOON))
    history.step(pair.agreements)
    put(
        pair,
        receipt(pair, 3, NOON + timedelta(days=30)),
        receipt(pair, 2, NOON - timedelta(hours=1)),
        receipt(pair, 9, NOON + timedelta(days=30)),
    )
    history.step(pair.agreements)
    assert [size for _, size, *_ in kept(pair)] == [2, 7, 9]


def test_a_topic_that_is_away_is_named_once_and_the_relay_goes_on(pair: AgencyPair) -> None:
    name = topics.receipts_topic(pair.reader)
    admin = open_admin(pair.connection)
    admin.delete_topics([name])[name].result(PATIENCE_SECONDS)
    with capture_logs() as logs, pair.relaying():
        pair.until(lambda: any("receipts" in each["event"] for each in logs), "it is named")
        for number in range(3):
            pair.publish(transfer(f"P/{number}"))
            pair.until(lambda: sent(pair) == number + 1, "sent")  # noqa: B023
    named = [each for each in logs if each["event"].startswith("receipts cannot be read")]
    assert [each["topic"] for each in named] == [name]


def test_a_note_of_another_agency_is_no_claim(pair: AgencyPair) -> None:
    assert receipts.claimed(pair.agreements, pair.publisher, receipt(pair, 7, NOON)) == []
    (found,) = receipts.claimed(pair.agreements, pair.reader, receipt(pair, 7, NOON))
    assert (found.tp.partition, found.reader, found.size) == (0, f"{pair.reader}/{DATABASE}", 7)
