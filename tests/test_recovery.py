"""A database restored from a backup: nothing that was published is lost, denied or told twice."""

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

from sinergi.cli import root
from sinergi_producers.recovery.recovery import Recovery
from sinergi_producers.relay.loop import Identity
from sinergi_producers.relay.sealing import Sealer, TreeKey
from sinergi_producers.relay.store import Backlog
from sinergi_producers.relay.watermark import Floors
from sinergi_schemas import codec, errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.postgresql import session as postgresql_session
from test_relay import expected_messages, messages, relay_of, sent, until_sent, verified
from waiting import PATIENCE_SECONDS
from world import BUS, World, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Services


@pytest.fixture
def world(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> World:
    return World(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.fixture
def narrow(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> World:
    """One whose topic has a single partition, so that the order of all leaves is known."""
    return World(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


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


def restore(world: World, url: str) -> None:
    """From now on the agency's database is this one."""
    world.producer_url = url
    world.producer = sa.create_engine(url, poolclass=sa.NullPool)


def recovery(world: World) -> Recovery:
    identity = Identity(world.publisher, [world.key], lambda: world.agreements)
    return Recovery(identity, world.producer_url, world.connection, Catalog.shipped())


def sealed_only(world: World) -> None:
    """Seal what waits and send nothing: a relay that dies between two steps."""
    backlog = Backlog(world.producer_url)
    epoch = backlog.take()
    assert epoch is not None
    backlog.plant([TreeKey("transfer", number) for number in range(world.partitions)], epoch)
    counts = {"transfer": world.partitions}
    sealer = Sealer(
        BUS,
        world.publisher,
        [world.key],
        counts,
        lambda _: True,
        world.agreements.ring,
        lambda _: None,
    )
    backlog.seal(sealer.seal(backlog.waiting(Floors()).rows, backlog.trees()), epoch)
    backlog.release(epoch)
    backlog.close()


def produce(world: World, partition: int, found: list[tuple[Any, ...]]) -> None:
    producer = Producer({"bootstrap.servers": world.kafka})
    for key, value, headers in found:
        producer.produce(world.topic.name, value, key, partition, headers=headers)
    assert producer.flush(PATIENCE_SECONDS) == 0


def is_whole(world: World) -> None:
    """Outbox, topic and the reader's tables hold the same events, each once, and nothing halted."""
    assert world.count("sinergi_consumer.halt") == 0
    assert world.count("sinergi_consumer.quarantine") == 0
    columns = "event_id, record_id, revision"
    ours = world.ask(f"SELECT {columns} FROM sinergi_producer.outbox ORDER BY 1", world.producer)
    assert world.ask(f"SELECT {columns} FROM sinergi.transfer_history ORDER BY 1") == ours
    heads = "SELECT record_id, max(revision) FROM sinergi_producer.outbox GROUP BY 1 ORDER BY 1"
    told = "SELECT record_id, revision FROM sinergi_producer.head ORDER BY 1"
    assert world.ask(heads, world.producer) == world.ask(told, world.producer)
    assert verified(world)[0] == len(ours)
    for partition in range(world.partitions):
        distinct = {
            tuple(each.headers() or ())[8]: each for each in messages(world, None, partition)
        }
        found = [(each.key(), each.value(), each.headers()) for each in distinct.values()]
        assert found == expected_messages(world, partition)


def test_a_database_restored_from_a_backup_takes_back_what_the_topic_remembers(
    world: World, backup: Callable[[str], str]
) -> None:
    with world.materialising():
        with world.relaying():
            world.publish(*(transfer(f"P/{number}") for number in range(40)))
            until_sent(world, 40)
        earlier = backup(world.producer_url)
        with world.relaying():
            world.publish(*(transfer(f"Q/{number}") for number in range(40)))
            world.publish(*(transfer(f"P/{number}", "CORRECTED") for number in range(10)))
            world.publish(transfer("P/20", "RETRACTED"))
            until_sent(world, 91)
        restore(world, earlier)
        with pytest.raises(errors.OutboxBehindTopic, match="sinergi outbox recover"):
            relay_of(world).run(Event())
        plan = recovery(world).plan()
        assert plan.is_needed
        assert sum(each.shown - each.known for each in plan.extents) == 51
        assert all(each.shown == each.proved for each in plan.extents)
        assert len(plan.settlement.forgotten) == 51
        assert sent(world) == 40, "a plan changes nothing"
        done = recovery(world).apply()
        assert {each.event_id for each in done.settlement.forgotten} == {
            each.event_id for each in plan.settlement.forgotten
        }
        assert not recovery(world).plan().is_needed
        with world.relaying():
            world.publish(transfer("P/3", "CORRECTED"), transfer("Q/7", "CORRECTED"))
            world.publish(transfer("R/1"))
            with pytest.raises(errors.EventsRefused, match="was retracted"):
                world.publish(transfer("P/20", "CORRECTED"))
            until_sent(world, 94)
            world.until_rows("sinergi.transfer_history", 94)
    is_whole(world)
    assert verified(world) == (94, 0), "nothing had to be sent again"
    assert world.ask("SELECT revision FROM sinergi.transfer WHERE record_id = 'P/3'") == [(3,)]


def test_rows_that_the_backup_held_unsealed_get_the_leaves_that_they_had(
    world: World, backup: Callable[[str], str]
) -> None:
    world.publish(*(transfer(f"P/{number}") for number in range(9)))
    world.publish(transfer("P/0", "CORRECTED"))
    earlier = backup(world.producer_url)
    with world.relaying():
        until_sent(world, 10)
    restore(world, earlier)
    settlement = recovery(world).apply().settlement
    assert (len(settlement.known), settlement.forgotten, settlement.renumbered) == (10, [], [])
    with world.relaying(), world.materialising():
        world.publish(transfer("P/9"))
        world.until_rows("sinergi.transfer_history", 11)
    is_whole(world)


def test_what_was_published_since_the_restore_follows_what_the_topic_shows(
    world: World, backup: Callable[[str], str]
) -> None:
    again = transfer("again/1")
    with world.relaying():
        world.publish(transfer("old/1"), transfer("old/2"), transfer("gone/1"))
        until_sent(world, 3)
    earlier = backup(world.producer_url)
    with world.relaying():
        world.publish(transfer("new/1"), transfer("old/1", "CORRECTED", risk="LOW"), again)
        world.publish(transfer("gone/1", "RETRACTED"))
        until_sent(world, 7)
    restore(world, earlier)
    world.publish(transfer("new/1", risk="HIGH"), transfer("new/1", "CORRECTED", risk="LOW"))
    world.publish(transfer("old/1", "CORRECTED", risk="HIGH"), again)
    world.publish(transfer("old/2", "CORRECTED"), transfer("gone/1", "CORRECTED"))
    settlement = recovery(world).apply().settlement
    assert sorted(each.record_id for each in settlement.forgotten) == ["gone/1", "new/1", "old/1"]
    assert [row.record_id for row, _ in settlement.known] == ["again/1"]
    assert sorted((each.row.record_id, each.revision) for each in settlement.renumbered) == [
        *(("new/1", 2), ("new/1", 3), ("old/1", 3)),
    ]
    assert [row.record_id for row in settlement.withheld] == ["gone/1"]
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer_history", 11)
    held = "SELECT record_id, held FROM sinergi_producer.outbox WHERE held IS NOT NULL"
    ((record, why),) = world.ask(held, world.producer)
    assert record == "gone/1"
    assert "another record_id" in why
    with world.producer.begin() as connection:
        connection.execute(sa.text("DELETE FROM sinergi_producer.outbox WHERE held IS NOT NULL"))
    is_whole(world)
    states = "SELECT record_id, revision, action, risk FROM sinergi.transfer ORDER BY record_id"
    assert world.ask(states) == [
        ("again/1", 1, "RECORDED", None),
        ("gone/1", 2, "RETRACTED", None),
        ("new/1", 3, "CORRECTED", "LOW"),
        ("old/1", 3, "CORRECTED", "HIGH"),
        ("old/2", 2, "CORRECTED", None),
    ]


def test_what_no_checkpoint_proves_is_taken_on_only_if_a_person_vouches_for_it(
    narrow: World, backup: Callable[[str], str]
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
        assert (extent.known, extent.proved, extent.shown) == (1, 1, 5)
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
    narrow: World, backup: Callable[[str], str]
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
    produce(narrow, 0, [(key, value, headers[:9])])
    restore(narrow, earlier)
    done = recovery(narrow).apply()
    assert ([each.leaf_index for each in done.left], len(done.settlement.forgotten)) == ([5], 5)
    question = "SELECT size, sent_size, frontier FROM sinergi_producer.tree"
    tree = narrow.ask(question, narrow.producer)
    restore(narrow, later)
    assert tree == narrow.ask(question, narrow.producer)


def test_a_tail_without_a_checkpoint_is_proved_by_the_rows_of_the_backup(
    narrow: World, backup: Callable[[str], str]
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
    world: World, databases: Callable[[], str]
) -> None:
    world.publish(*(transfer(f"P/{number}") for number in range(30)))
    with world.relaying():
        until_sent(world, 30)
    restore(world, databases())
    world.publish(*(transfer(f"Q/{number}") for number in range(4)))
    sealed_only(world)
    for attempt in (recovery(world).plan, recovery(world).apply):
        with pytest.raises(errors.SealBroken):
            attempt()
    assert world.ask("SELECT count(*) FROM sinergi_producer.outbox", world.producer) == [(4,)]


@pytest.mark.parametrize("change", ["datum", "key"])
def test_what_a_stranger_put_behind_a_checkpoint_and_is_no_event_is_not_adopted(
    world: World, change: str
) -> None:
    with world.relaying():
        world.publish(transfer("P/1"))
        until_sent(world, 1)
    ((partition,),) = world.ask("SELECT partition FROM sinergi_producer.outbox", world.producer)
    ((key, value, headers),) = expected_messages(world, partition)
    forged = [(name, b"1" if name == "sinergi_leaf" else said) for name, said in headers[:9]]
    message = (key, value + b"\x00", forged) if change == "datum" else (b"P/2", value, forged)
    produce(world, partition, [message])
    done = recovery(world).apply(vouched=True)
    assert (done.settlement.forgotten, done.left, done.is_needed) == ([], [], False)
    assert sent(world) == 1


def test_nobody_recovers_while_a_relay_leads(world: World, backup: Callable[[str], str]) -> None:
    earlier = backup(world.producer_url)
    with world.relaying():
        world.publish(transfer("P/1"))
        until_sent(world, 1)
    restore(world, earlier)
    leader = Backlog(world.producer_url)
    epoch = leader.take()
    assert epoch is not None
    with pytest.raises(errors.RecoveryRefused, match="leads; stop it"):
        recovery(world).apply()
    leader.release(epoch)
    recovery(world).apply()
    assert sent(world) == 1
    leader.close()


def test_a_transaction_that_has_published_is_waited_for_and_no_event_of_it_is_passed_over(
    world: World, backup: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = backup(world.producer_url)
    with world.relaying():
        world.publish(transfer("P/1"))
        until_sent(world, 1)
    restore(world, earlier)
    monkeypatch.setitem(postgresql_session.SETTINGS, "lock_timeout", "'200ms'")
    with Session(world.producer) as session:
        world.outbox.publish(session, transfer("P/1", risk="HIGH"))
        with pytest.raises(errors.DatabaseAway, match="55P03"):
            recovery(world).apply()
        assert sent(world) == 0
        session.commit()
    recovery(world).apply()
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer_history", 2)
    is_whole(world)


def test_an_old_leaf_sent_again_behind_newer_ones_does_not_hide_them(
    world: World, backup: Callable[[str], str]
) -> None:
    """A leader that woke up late resends frozen bytes: the last message is not the newest leaf."""
    with world.relaying():
        world.publish(*(transfer(f"P/{number}") for number in range(20)))
        until_sent(world, 20)
    earlier = backup(world.producer_url)
    with world.relaying():
        world.publish(*(transfer(f"Q/{number}") for number in range(20)))
        until_sent(world, 40)
    for partition in range(world.partitions):
        produce(world, partition, expected_messages(world, partition)[:3])
    restore(world, earlier)
    world.publish(transfer("R/1"))
    with pytest.raises(errors.OutboxBehindTopic):
        relay_of(world).run(Event())
    recovery(world).apply()
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer_history", 41)
    assert world.count("sinergi_consumer.halt") == 0
    assert verified(world) == (41, 6)


def test_the_command_shows_first_and_applies_on_request(
    world: World,
    tmp_path: Path,
    backup: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    earlier = backup(world.producer_url)
    with world.relaying():
        world.publish(transfer("P/1"))
        until_sent(world, 1)
    restore(world, earlier)
    world.publish(transfer("P/1", risk="HIGH"))
    (tmp_path / "keys").mkdir()
    world.key.save(tmp_path / "keys" / "own.key")
    settings = {
        "agency": world.publisher,
        "agreements": str(world.folder),
        "keys": str(tmp_path / "keys"),
        "kafka": {"bootstrap": world.kafka},
        "producer": {"database": world.producer_url},
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
    assert sum(each["shown"] - each["known"] for each in document["partitions"]) == 1
    status, out = run("--apply", "--json")
    assert (status, json.loads(out)["is_applied"]) == (0, True)
    assert run("--json")[0] == 0
    ((datum,),) = world.ask(
        "SELECT datum FROM sinergi_producer.outbox WHERE leaf_index IS NULL", world.producer
    )
    told = codec.decode(bytes(datum), Catalog.shipped().newest("transfer"))
    assert (told["revision"], told["action"], told["risk"]) == (2, "CORRECTED", "HIGH")


def test_a_readers_database_restored_from_a_backup_catches_up_by_itself(
    world: World, backup: Callable[[str], str]
) -> None:
    tables = (
        "SELECT record_id, revision, event_id FROM sinergi.transfer ORDER BY 1",
        "SELECT record_id, revision, event_id FROM sinergi.transfer_history ORDER BY 1, 2",
        "SELECT projection, partition, tree_size FROM sinergi_consumer.position ORDER BY 1, 2",
    )
    with world.relaying():
        with world.materialising():
            world.publish(*(transfer(f"P/{number}") for number in range(30)))
            world.until_rows("sinergi.transfer_history", 30)
        earlier = backup(world.consumer_url)
        with world.materialising():
            world.publish(*(transfer(f"P/{number}", "CORRECTED") for number in range(20)))
            world.publish(*(transfer(f"Q/{number}") for number in range(30)))
            world.until_rows("sinergi.transfer_history", 80)
    known = [world.ask(each) for each in tables]
    world.consumer_url = earlier
    world.consumer = sa.create_engine(earlier, poolclass=sa.NullPool)
    assert world.count("sinergi.transfer_history") == 30
    with world.materialising():
        world.until_rows("sinergi.transfer_history", 80)
    assert [world.ask(each) for each in tables] == known
    assert world.count("sinergi_consumer.halt") == world.count("sinergi_consumer.quarantine") == 0
