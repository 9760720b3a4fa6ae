"""From an agency's transaction to another agency's tables, on real services."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agency_pair import AgencyPair, transfer
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay
from sinergi_schemas.seal.checkpoint import verify_cosignature
from sinergi_schemas.seal.note import parse_note

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


def test_what_an_agency_commits_stands_once_in_the_readers_tables(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(500)))
    pair.publish(*(transfer(f"P/{number}", "CORRECTED", risk="HIGH") for number in range(100)))
    pair.publish(transfer("P/7", "RETRACTED"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 601)
    assert pair.ask("SELECT count(*), count(DISTINCT event_id) FROM sinergi.transfer_history") == [
        (601, 601)
    ]
    assert pair.ask(
        "SELECT revision, action, count(*) FROM sinergi.transfer GROUP BY 1, 2 ORDER BY 1"
    ) == [(1, "RECORDED", 400), (2, "CORRECTED", 99), (3, "RETRACTED", 1)]
    assert pair.count("sinergi.transfer_escort") == 500
    assert pair.count("sinergi_consumer.quarantine") == 0
    assert pair.ask(
        "SELECT sum(size), sum(sent_size) FROM sinergi_producer.tree", pair.producer
    ) == [(601, 601)]


def test_a_rolled_back_transaction_publishes_nothing(pair: AgencyPair) -> None:
    with pair.producer.connect() as connection:
        pair.outbox.publish(connection, transfer("P/1"))
        connection.rollback()
    pair.publish(transfer("P/2"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 1)
    assert pair.ask("SELECT record_id FROM sinergi.transfer_history") == [("P/2",)]


def test_a_materialiser_that_starts_again_goes_on_where_its_rows_end(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(50)))
    with pair.relaying():
        with pair.materialising():
            pair.until_rows("sinergi.transfer", 50)
        pair.publish(*(transfer(f"Q/{number}") for number in range(50)))
        with pair.materialising():
            pair.until_rows("sinergi.transfer", 100)
    assert pair.count("sinergi.transfer_history") == 100
    assert pair.count("sinergi_consumer.quarantine") == 0


def test_receipts_answer_for_what_was_materialised(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(20)))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer", 20)
        pair.until(
            lambda: (
                pair.ask("SELECT count(*) FROM sinergi_consumer.receipt WHERE published_at IS NULL")
                == [(0,)]
            ),
            "all receipts published",
        )
    notes = [note for (note,) in pair.ask("SELECT note FROM sinergi_consumer.receipt")]
    assert notes
    for note in notes:
        assert verify_cosignature(parse_note(note), pair.receipt_key.public) is not None


def test_a_replay_shows_what_was_published_and_verifies_all_of_it(pair: AgencyPair) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(30)))
    with pair.relaying():
        pair.until(
            lambda: (
                pair.ask("SELECT sum(sent_size) FROM sinergi_producer.tree", pair.producer)
                == [(30,)]
            ),
            "30 leaves sent",
        )
    run = Replay(pair.bus, pair.topic)
    found = [row for frame in run.events(ReplayFilter(record_id="P/3")) for row in frame.to_dicts()]
    assert [row["record_id"] for row in found] == ["P/3"]
    assert sum(each.verified for each in run.partition_counts) == 30
    assert not any(each.unsealed for each in run.partition_counts)
