"""The main road: from an agency's transaction to another agency's tables, on real services."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sinergi_consumers.audit.replay import Replay, ReplayFilter
from sinergi_schemas.seal.checkpoint import verify_cosignature
from sinergi_schemas.seal.note import parse_note
from world import World, transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> World:
    return World(tmp_path, kafka, agency_slug, databases(), databases())


def test_what_an_agency_commits_stands_once_in_the_readers_tables(world: World) -> None:
    world.publish(*(transfer(f"P/{number}") for number in range(500)))
    world.publish(*(transfer(f"P/{number}", "CORRECTED", risk="HIGH") for number in range(100)))
    world.publish(transfer("P/7", "RETRACTED"))
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer_history", 601)
    assert world.ask("SELECT count(*), count(DISTINCT event_id) FROM sinergi.transfer_history") == [
        (601, 601)
    ]
    assert world.ask(
        "SELECT revision, action, count(*) FROM sinergi.transfer GROUP BY 1, 2 ORDER BY 1"
    ) == [(1, "RECORDED", 400), (2, "CORRECTED", 99), (3, "RETRACTED", 1)]
    assert world.count("sinergi.transfer_escort") == 500
    assert world.count("sinergi_consumer.quarantine") == 0
    assert world.ask(
        "SELECT sum(size), sum(sent_size) FROM sinergi_producer.tree", world.producer
    ) == [(601, 601)]


def test_a_rolled_back_transaction_publishes_nothing(world: World) -> None:
    with world.producer.connect() as connection:
        world.outbox.publish(connection, transfer("P/1"))
        connection.rollback()
    world.publish(transfer("P/2"))
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer_history", 1)
    assert world.ask("SELECT record_id FROM sinergi.transfer_history") == [("P/2",)]


def test_a_materialiser_that_starts_again_goes_on_where_its_rows_end(world: World) -> None:
    world.publish(*(transfer(f"P/{number}") for number in range(50)))
    with world.relaying():
        with world.materialising():
            world.until_rows("sinergi.transfer", 50)
        world.publish(*(transfer(f"Q/{number}") for number in range(50)))
        with world.materialising():
            world.until_rows("sinergi.transfer", 100)
    assert world.count("sinergi.transfer_history") == 100
    assert world.count("sinergi_consumer.quarantine") == 0


def test_receipts_answer_for_what_was_materialised(world: World) -> None:
    world.publish(*(transfer(f"P/{number}") for number in range(20)))
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer", 20)
        world.until(
            lambda: (
                world.ask(
                    "SELECT count(*) FROM sinergi_consumer.receipt WHERE published_at IS NULL"
                )
                == [(0,)]
            ),
            "all receipts published",
        )
    notes = [note for (note,) in world.ask("SELECT note FROM sinergi_consumer.receipt")]
    assert notes
    for note in notes:
        assert verify_cosignature(parse_note(note), world.receipt_key.public) is not None


def test_a_replay_shows_what_was_published_and_verifies_all_of_it(world: World) -> None:
    world.publish(*(transfer(f"P/{number}") for number in range(30)))
    with world.relaying():
        world.until(
            lambda: (
                world.ask("SELECT sum(sent_size) FROM sinergi_producer.tree", world.producer)
                == [(30,)]
            ),
            "30 leaves sent",
        )
    run = Replay(world.bus, world.topic)
    found = [row for frame in run.events(ReplayFilter(record_id="P/3")) for row in frame.to_dicts()]
    assert [row["record_id"] for row in found] == ["P/3"]
    assert sum(each.verified for each in run.tallies) == 30
    assert not any(each.unsealed for each in run.tallies)
