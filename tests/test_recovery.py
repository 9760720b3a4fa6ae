"""A database restored from a backup: nothing published is lost, denied or published twice."""

from __future__ import annotations

import json
import secrets
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
import tomli_w
from confluent_kafka import Producer
from sqlalchemy.orm import Session

from agency_pair import BUS, AgencyPair, transfer
from sinergi.cli import root
from sinergi_producers.recovery.recovery import Recovery
from sinergi_producers.relay.sealing import Sealer, TreeKey
from sinergi_producers.relay.store import OutboxStore
from sinergi_producers.relay.watermark import Watermarks
from sinergi_schemas import codec, errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.message import CHECKPOINT, FRONTIER, LEAF
from sinergi_schemas.timeouts import DatabaseTimeouts, Timeouts
from test_moved_topics import cut
from test_relay import expected_messages, messages, relay_of, sent, until_sent, verified
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Services


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.fixture
def narrow(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> AgencyPair:
    """One whose topic has a single partition, so that the order of all leaves is known."""
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


@pytest.fixture
def backup(services: Services) -> Iterator[Callable[[str], str]]:
    """Copies the database of a URL as it is now; the copy's URL."""
    server = sa.create_engine(
        services.postgresql, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    made: list[str] = []

    def copy(url: str) -> str:
        made.append(f"backup_{secrets.token_hex(6)}")
        parts = sa.engine.make_url(url)
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {made[-1]} TEMPLATE {parts.database}"))
        return parts.set(database=made[-1]).render_as_string(hide_password=False)

    yield copy
    with server.connect() as connection:
        for name in made:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def restore(pair: AgencyPair, url: str) -> None:
    """From now on the agency's database is this one."""
    pair.producer_url = url
    pair.producer = sa.create_engine(url, poolclass=sa.NullPool)


def recovery(pair: AgencyPair) -> Recovery:
    return Recovery(pair.relay_setup)


def sealed_only(pair: AgencyPair) -> None:
    """Seal what waits and send nothing: a relay that dies between two steps."""
    store = OutboxStore(pair.producer_url)
    epoch = store.take_lease()
    assert epoch is not None
    store.ensure_trees([TreeKey("transfer", number) for number in range(pair.partitions)], epoch)
    counts = {"transfer": pair.partitions}
    sealer = Sealer(
        BUS,
        pair.publisher,
        [pair.key],
        counts,
        lambda _: True,
        pair.agreements.ring,
        lambda _: None,
    )
    store.commit_batch(sealer.seal(store.unsealed_rows(Watermarks()).rows, store.trees()), epoch)
    store.release_lease(epoch)
    store.close()


def unsigned(headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The headers of a message without its checkpoint."""
    return [each for each in headers if each[0] not in (CHECKPOINT, FRONTIER)]


def produce(pair: AgencyPair, partition: int, found: list[tuple[Any, ...]]) -> None:
    producer = Producer({"bootstrap.servers": pair.kafka})
    for key, value, headers in found:
        producer.produce(pair.topic.name, value, key, partition, headers=headers)
    assert producer.flush(PATIENCE_SECONDS) == 0


def is_whole(pair: AgencyPair) -> None:
    """Outbox, topic and the reader's tables hold the same events, each once, and nothing halted."""
    assert pair.count("sinergi_consumer.halt") == 0
    assert pair.count("sinergi_consumer.quarantine") == 0
    columns = "event_id, record_id, revision"
    ours = pair.ask(f"SELECT {columns} FROM sinergi_producer.outbox ORDER BY 1", pair.producer)
    assert pair.ask(f"SELECT {columns} FROM sinergi.transfer_history ORDER BY 1") == ours
    heads = "SELECT record_id, max(revision) FROM sinergi_producer.outbox GROUP BY 1 ORDER BY 1"
    told = "SELECT record_id, revision FROM sinergi_producer.head ORDER BY 1"
    assert pair.ask(heads, pair.producer) == pair.ask(told, pair.producer)
    assert verified(pair)[0] == len(ours)
    for partition in range(pair.partitions):
        distinct = {
            dict(each.headers() or ())[LEAF]: each for each in messages(pair, None, partition)
        }
        found = [(each.key(), each.value(), each.headers()) for each in distinct.values()]
        assert found == expected_messages(pair, partition)


def test_a_database_restored_from_a_backup_takes_back_what_the_topic_remembers(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    with pair.materialising():
        with pair.relaying():
            pair.publish(*(transfer(f"P/{number}") for number in range(40)))
            until_sent(pair, 40)
        earlier = backup(pair.producer_url)
        with pair.relaying():
            # Each waits for the one before, so that each partition gets several checkpoints.
            pair.publish(*(transfer(f"Q/{number}") for number in range(40)))
            until_sent(pair, 80)
            pair.publish(*(transfer(f"P/{number}", "CORRECTED") for number in range(10)))
            until_sent(pair, 90)
            pair.publish(transfer("P/20", "RETRACTED"))
            until_sent(pair, 91)
        restore(pair, earlier)
        with pytest.raises(errors.OutboxBehindTopic, match="sinergi outbox recover"):
            relay_of(pair).run(Event())
        plan = recovery(pair).plan()
        assert plan.is_needed
        assert sum(each.proved for each in plan.extents) == 51
        assert not any(each.unproved or each.lost for each in plan.extents)
        assert len(plan.settlement.forgotten) == 51
        assert sent(pair) == 40, "a plan changes nothing"
        done = recovery(pair).apply()
        assert {each.event_id for each in done.settlement.forgotten} == {
            each.event_id for each in plan.settlement.forgotten
        }
        assert not recovery(pair).plan().is_needed
        with pair.relaying():
            pair.publish(transfer("P/3", "CORRECTED"), transfer("Q/7", "CORRECTED"))
            pair.publish(transfer("R/1"))
            with pytest.raises(errors.EventsRefused, match="was retracted"):
                pair.publish(transfer("P/20", "CORRECTED"))
            until_sent(pair, 94)
            pair.until_rows("sinergi.transfer_history", 94)
    is_whole(pair)
    assert verified(pair) == (94, 0), "nothing had to be sent again"
    assert pair.ask("SELECT revision FROM sinergi.transfer WHERE record_id = 'P/3'") == [(3,)]


def test_rows_that_the_backup_held_unsealed_get_the_leaves_that_they_had(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(9)))
    pair.publish(transfer("P/0", "CORRECTED"))
    earlier = backup(pair.producer_url)
    with pair.relaying():
        until_sent(pair, 10)
    restore(pair, earlier)
    settlement = recovery(pair).apply().settlement
    assert (len(settlement.known), settlement.forgotten, settlement.renumbered) == (10, [], [])
    with pair.relaying(), pair.materialising():
        pair.publish(transfer("P/9"))
        pair.until_rows("sinergi.transfer_history", 11)
    is_whole(pair)


def test_what_was_published_since_the_restore_follows_what_the_topic_shows(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    again = transfer("again/1")
    with pair.relaying():
        pair.publish(transfer("old/1"), transfer("old/2"), transfer("gone/1"))
        until_sent(pair, 3)
    earlier = backup(pair.producer_url)
    with pair.relaying():
        pair.publish(transfer("new/1"), transfer("old/1", "CORRECTED", risk="LOW"), again)
        pair.publish(transfer("gone/1", "RETRACTED"))
        until_sent(pair, 7)
    restore(pair, earlier)
    pair.publish(transfer("new/1", risk="HIGH"), transfer("new/1", "CORRECTED", risk="LOW"))
    pair.publish(transfer("old/1", "CORRECTED", risk="HIGH"), again)
    pair.publish(transfer("old/2", "CORRECTED"), transfer("gone/1", "CORRECTED"))
    settlement = recovery(pair).apply().settlement
    assert sorted(each.record_id for each in settlement.forgotten) == ["gone/1", "new/1", "old/1"]
    assert [row.record_id for row, _ in settlement.known] == ["again/1"]
    assert sorted((each.row.record_id, each.revision) for each in settlement.renumbered) == [
        *(("new/1", 2), ("new/1", 3), ("old/1", 3)),
    ]
    assert [row.record_id for row in settlement.withheld] == ["gone/1"]
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 11)
    held = "SELECT record_id, held FROM sinergi_producer.outbox WHERE held IS NOT NULL"
    ((record, why),) = pair.ask(held, pair.producer)
    assert record == "gone/1"
    assert "another record_id" in why
    with pair.producer.begin() as connection:
        connection.execute(sa.text("DELETE FROM sinergi_producer.outbox WHERE held IS NOT NULL"))
    is_whole(pair)
    states = "SELECT record_id, revision, action, risk FROM sinergi.transfer ORDER BY record_id"
    assert pair.ask(states) == [
        ("again/1", 1, "RECORDED", None),
        ("gone/1", 2, "RETRACTED", None),
        ("new/1", 3, "CORRECTED", "LOW"),
        ("old/1", 3, "CORRECTED", "HIGH"),
        ("old/2", 2, "CORRECTED", None),
    ]


@pytest.mark.parametrize(("offset", "lost"), [(-1, 9), (4, 4)])
def test_the_first_leaves_that_a_topic_has_lost_are_shown(
    narrow: AgencyPair, offset: int, lost: int
) -> None:
    with narrow.relaying():
        narrow.publish(*(transfer(f"P/{number}") for number in range(9)))
        until_sent(narrow, 9)
    (extent,) = recovery(narrow).plan().extents
    assert (extent.known, extent.proved, extent.unproved, extent.lost) == (9, 0, 0, 0)
    cut(narrow, 0, offset)
    (extent,) = recovery(narrow).plan().extents
    assert (extent.known, extent.proved, extent.unproved, extent.lost) == (9, 0, 0, lost)


def test_what_no_checkpoint_proves_is_taken_on_only_if_a_person_vouches_for_it(
    narrow: AgencyPair, backup: Callable[[str], str]
) -> None:
    """The relay died in the midst of a batch, and readers hold its leaves back already."""
    with narrow.relaying():
        narrow.publish(transfer("P/1"))
        until_sent(narrow, 1)
    earlier = backup(narrow.producer_url)
    with narrow.materialising():
        narrow.publish(*(transfer(f"Q/{number}") for number in range(5)))
        sealed_only(narrow)
        produce(narrow, 0, expected_messages(narrow, 0)[1:-1])
        restore(narrow, earlier)
        (extent,) = recovery(narrow).plan().extents
        assert (extent.known, extent.proved, extent.unproved) == (1, 0, 4)
        done = recovery(narrow).apply()
        assert [each.leaf_index for each in done.left] == [1, 2, 3, 4]
        assert done.settlement.forgotten == []
        assert sent(narrow) == 1
        assert not recovery(narrow).apply(vouched=True).left
        with narrow.relaying():
            narrow.publish(transfer("R/1"))
            until_sent(narrow, 6)
            narrow.until_rows("sinergi.transfer_history", 6)
    is_whole(narrow)


def test_what_nothing_proves_is_left_and_what_is_proved_before_it_is_not(
    narrow: AgencyPair, backup: Callable[[str], str]
) -> None:
    """The tail is a stranger's: the topic is made anew, and its owner sends what is its own."""
    earlier = backup(narrow.producer_url)
    with narrow.relaying():
        narrow.publish(*(transfer(f"P/{number}") for number in range(5)))
        until_sent(narrow, 5)
    later = backup(narrow.producer_url)
    narrow.publish(transfer("X/1"))
    sealed_only(narrow)
    ((key, value, headers),) = expected_messages(narrow, 0)[5:]
    produce(narrow, 0, [(key, value, unsigned(headers))])
    restore(narrow, earlier)
    done = recovery(narrow).apply()
    assert ([each.leaf_index for each in done.left], len(done.settlement.forgotten)) == ([5], 5)
    question = "SELECT size, sent_size, frontier FROM sinergi_producer.tree"
    tree = narrow.ask(question, narrow.producer)
    restore(narrow, later)
    assert tree == narrow.ask(question, narrow.producer)


def test_a_tail_without_a_checkpoint_is_proved_by_the_rows_of_the_backup(
    narrow: AgencyPair, backup: Callable[[str], str]
) -> None:
    narrow.publish(*(transfer(f"Q/{number}") for number in range(5)))
    earlier = backup(narrow.producer_url)
    sealed_only(narrow)
    produce(narrow, 0, expected_messages(narrow, 0)[:-1])
    restore(narrow, earlier)
    recovery(narrow).apply()
    with narrow.relaying(), narrow.materialising():
        narrow.until_rows("sinergi.transfer_history", 5)
    is_whole(narrow)


def test_another_history_than_the_databases_own_is_never_adopted(
    pair: AgencyPair, databases: Callable[[], str]
) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(30)))
    with pair.relaying():
        until_sent(pair, 30)
    restore(pair, databases())
    pair.publish(*(transfer(f"Q/{number}") for number in range(4)))
    sealed_only(pair)
    for attempt in (recovery(pair).plan, recovery(pair).apply):
        with pytest.raises(errors.SealBroken):
            attempt()
    assert pair.ask("SELECT count(*) FROM sinergi_producer.outbox", pair.producer) == [(4,)]


@pytest.mark.parametrize("change", ["datum", "key"])
def test_what_a_stranger_put_behind_a_checkpoint_and_is_no_event_is_not_adopted(
    pair: AgencyPair, change: str
) -> None:
    with pair.relaying():
        pair.publish(transfer("P/1"))
        until_sent(pair, 1)
    ((partition,),) = pair.ask("SELECT partition FROM sinergi_producer.outbox", pair.producer)
    ((key, value, headers),) = expected_messages(pair, partition)
    forged = [(name, b"1" if name == "sinergi_leaf" else said) for name, said in unsigned(headers)]
    message = (key, value + b"\x00", forged) if change == "datum" else (b"P/2", value, forged)
    produce(pair, partition, [message])
    done = recovery(pair).apply(vouched=True)
    assert (done.settlement.forgotten, done.left, done.is_needed) == ([], [], False)
    assert sent(pair) == 1


def test_nobody_recovers_while_a_relay_leads(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    earlier = backup(pair.producer_url)
    with pair.relaying():
        pair.publish(transfer("P/1"))
        until_sent(pair, 1)
    restore(pair, earlier)
    leader = OutboxStore(pair.producer_url)
    epoch = leader.take_lease()
    assert epoch is not None
    with pytest.raises(errors.RecoveryRefused, match="leads; stop it"):
        recovery(pair).apply()
    leader.release_lease(epoch)
    recovery(pair).apply()
    assert sent(pair) == 1
    leader.close()


def test_a_transaction_that_has_published_is_waited_for_and_no_event_of_it_is_passed_over(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    earlier = backup(pair.producer_url)
    with pair.relaying():
        pair.publish(transfer("P/1"))
        until_sent(pair, 1)
    restore(pair, earlier)
    pair.timeouts = Timeouts(database=DatabaseTimeouts(lock=0.2))
    with Session(pair.producer) as session:
        pair.outbox.publish(session, transfer("P/1", risk="HIGH"))
        with pytest.raises(errors.RecoveryRefused, match="is still open; run it again"):
            recovery(pair).apply()
        assert sent(pair) == 0
        session.commit()
    recovery(pair).apply()
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 2)
    is_whole(pair)


def test_an_old_leaf_sent_again_behind_newer_ones_does_not_hide_them(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    """A leader that woke up late resends frozen bytes: the last message is not the newest leaf."""
    with pair.relaying():
        pair.publish(*(transfer(f"P/{number}") for number in range(20)))
        until_sent(pair, 20)
    earlier = backup(pair.producer_url)
    with pair.relaying():
        pair.publish(*(transfer(f"Q/{number}") for number in range(20)))
        until_sent(pair, 40)
    for partition in range(pair.partitions):
        produce(pair, partition, expected_messages(pair, partition)[:3])
    restore(pair, earlier)
    pair.publish(transfer("R/1"))
    with pytest.raises(errors.OutboxBehindTopic):
        relay_of(pair).run(Event())
    recovery(pair).apply()
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 41)
    assert pair.count("sinergi_consumer.halt") == 0
    assert verified(pair) == (41, 6)


def test_the_command_shows_first_and_applies_on_request(
    pair: AgencyPair,
    tmp_path: Path,
    backup: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    earlier = backup(pair.producer_url)
    with pair.relaying():
        pair.publish(transfer("P/1"))
        until_sent(pair, 1)
    restore(pair, earlier)
    pair.publish(transfer("P/1", risk="HIGH"))
    (tmp_path / "keys").mkdir()
    pair.key.save(tmp_path / "keys" / "own.key")
    settings = {
        "agency": pair.publisher,
        "agreements": str(pair.folder),
        "keys": str(tmp_path / "keys"),
        "kafka": {"bootstrap": pair.kafka},
        "producer": {"database": pair.producer_url},
    }
    file = tmp_path / "keys" / "sinergi.toml"
    file.write_text(tomli_w.dumps(settings), encoding="utf-8")

    def run(*flags: str) -> tuple[int, str]:
        capsys.readouterr()
        status = root.run(["--config", str(file), "outbox", "recover", *flags])
        return status, capsys.readouterr().out

    status, out = run()
    assert status == 1
    assert "forgotten here" in out
    status, out = run("--json")
    document = json.loads(out)
    assert (status, document["is_needed"], document["is_applied"]) == (1, True, False)
    assert {(each["outcome"], each["record_id"]) for each in document["events"]} == {
        ("forgotten", "P/1"),
        ("renumbered", "P/1"),
    }
    assert sum(each["proved"] for each in document["partitions"]) == 1
    status, out = run("--apply", "--json")
    assert (status, json.loads(out)["is_applied"]) == (0, True)
    assert run("--json")[0] == 0
    ((datum,),) = pair.ask(
        "SELECT datum FROM sinergi_producer.outbox WHERE leaf_index IS NULL", pair.producer
    )
    told = codec.decode(bytes(datum), Catalog.shipped().newest("transfer"))
    assert (told["revision"], told["action"], told["risk"]) == (2, "CORRECTED", "HIGH")


def test_a_readers_database_restored_from_a_backup_catches_up_by_itself(
    pair: AgencyPair, backup: Callable[[str], str]
) -> None:
    tables = (
        "SELECT record_id, revision, event_id FROM sinergi.transfer ORDER BY 1",
        "SELECT record_id, revision, event_id FROM sinergi.transfer_history ORDER BY 1, 2",
        "SELECT projection, partition, tree_size FROM sinergi_consumer.position ORDER BY 1, 2",
    )
    with pair.relaying():
        with pair.materialising():
            pair.publish(*(transfer(f"P/{number}") for number in range(30)))
            pair.until_rows("sinergi.transfer_history", 30)
        earlier = backup(pair.consumer_url)
        with pair.materialising():
            pair.publish(*(transfer(f"P/{number}", "CORRECTED") for number in range(20)))
            pair.publish(*(transfer(f"Q/{number}") for number in range(30)))
            pair.until_rows("sinergi.transfer_history", 80)
    known = [pair.ask(each) for each in tables]
    pair.consumer_url = earlier
    pair.consumer = sa.create_engine(earlier, poolclass=sa.NullPool)
    assert pair.count("sinergi.transfer_history") == 30
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 80)
    assert [pair.ask(each) for each in tables] == known
    assert pair.count("sinergi_consumer.halt") == pair.count("sinergi_consumer.quarantine") == 0
