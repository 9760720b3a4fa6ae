"""What quarantine keeps has bounds: an event's bytes once, and so much of each owner."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest
import sqlalchemy as sa
import tomli_w
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from measured import peak
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.decode.decoder import Unfit
from sinergi_consumers.quarantine.admin import Quarantine, QuarantineFilter
from sinergi_consumers.quarantine.leaf_reading import LeafReading
from sinergi_consumers.quarantine.retry import HeldLeaves
from sinergi_consumers.sinks.postgresql.sink import QUARANTINE_BYTES, PostgresqlSink
from sinergi_consumers.sinks.protocol import QuarantineKey
from sinergi_consumers.testing.sinks import BUS, TOPIC, transfer
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import errors, message
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.limits import MOST_DATUM_BYTES
from sinergi_schemas.message import Message, leaf_data
from sinergi_schemas.postgresql.engine import engine
from sinergi_schemas.seal.merkle import leaf_hash
from sinergi_schemas.topics import TopicPartition
from test_quarantine import DECISION, MENDED, NOT_FIVE, PROJECTIONS, Site, ahead, unreadable
from waiting import until
from world import World, send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sinergi_consumers.testing.tape import TapeMessage
    from sinergi_schemas.catalog import Catalog

DATUMS = "SELECT leaf_index, key, datum FROM sinergi_consumer.quarantined_datum ORDER BY 1"


@pytest.fixture
def site(postgresql: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Site:
    return Site(postgresql, capsys, tmp_path / "agreements")


def test_what_two_projections_set_apart_is_kept_once(site: Site) -> None:
    cut = [unreadable(site.tape, f"P/{at}") for at in range(3)]
    site.take(site.tape.write_datums(cut))
    assert len(site.states()) == 6
    assert site.ask(DATUMS) == [(at, key.encode(), datum) for at, (_, key, datum) in enumerate(cut)]


# Room


SIZE = 10_000  # of a datum
MOST_MIB = 500
ROW = SIZE + len("P/0") + 200
TAKEN = "SELECT coalesce(sum(size), 0)::int FROM sinergi_consumer.quarantined_datum"


def hostile(tape: Tape, count: int, size: int = SIZE) -> list[TapeMessage]:
    """Events that nobody can read, under one checkpoint."""
    event = tape.issued(transfer("P/0"))
    return tape.write_datums([(event.event_id, "P/0", os.urandom(size)) for _ in range(count)])


@dataclass
class Room:
    """A reader with little room for quarantine, and the command as its operator runs it."""

    world: World
    capsys: pytest.CaptureFixture[str]

    def take(self, *batches: Sequence[TapeMessage], positions: int = 2) -> None:
        """Put messages on the topic, and have them materialised."""
        for each in batches:
            send(self.world, each)
        size = max(each.leaf_index for each in parsed(batches[-1])) + 1
        moved = f"SELECT 1 FROM sinergi_consumer.position WHERE tree_size = {size}"
        with self.world.materialising():
            self.world.until(lambda: len(self.world.ask(moved)) == positions, "taken in")

    def do(self, statement: str) -> None:
        with self.world.consumer.begin() as connection:
            connection.execute(sa.text(statement))

    def sinergi(self, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        status = run(["--config", str(self.world.reader_settings), "quarantine", *arguments])
        return (status, *self.capsys.readouterr())

    def retry(self, *arguments: str) -> tuple[int, dict[str, int]]:
        status, out, _ = self.sinergi("retry", *arguments, "--why", "mended", "--json")
        return status, json.loads(out)["counts"]

    def remarks(self) -> list[str]:
        """What `sinergi status` remarks."""
        self.capsys.readouterr()
        assert run(["--config", str(self.world.reader_settings), "status", "--json"]) in (0, 1)
        return list(json.loads(self.capsys.readouterr().out)["remarks"])

    def kept(self) -> list[int]:
        leaves = "SELECT leaf_index FROM sinergi_consumer.quarantined_datum ORDER BY 1"
        return [leaf for (leaf,) in self.world.ask(leaves)]


def parsed(messages: Sequence[TapeMessage]) -> list[Message]:
    return [message.parse(each) for each in messages]


@pytest.fixture
def make_room(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Room]:
    """Makes a reader with so many bytes of room."""

    def make(quota: int, partitions: int = 1) -> Room:
        (tmp_path / "world").mkdir()
        urls = databases(), databases()
        world = World(tmp_path / "world", kafka, agency_slug, *urls, partitions, quota)
        return Room(world, capsys)

    return make


def test_beyond_its_room_only_leaf_and_reason_are_kept_and_what_is_settled_makes_room(
    make_room: Callable[..., Room],
) -> None:
    room = make_room(3 * ROW)
    tape = room.world.tape()
    room.take(hostile(tape, 5))
    assert room.kept() == [0, 1, 2]
    remarks, owner = room.remarks(), room.world.publisher
    assert any(f"keeps {3 * ROW:,} bytes of events of {owner}" in each for each in remarks)
    assert room.world.count("sinergi_consumer.quarantine WHERE state = 'open'") == 10
    rows = json.loads(room.sinergi("list", "--json")[1])["rows"]
    assert {(each["leaf_index"], each["kept"]) for each in rows} == {
        (at, at < 3) for at in range(5)
    }
    assert room.sinergi("discard", "--leaf", "1", "--projection", "transfer", "--why", "x")[0] == 0
    assert room.kept() == [0, 1, 2]
    assert room.sinergi("discard", "--leaf", "1", "--why", "x")[0] == 0
    assert room.kept() == [0, 2]
    room.take(hostile(tape, 2))
    assert room.kept() == [0, 2, 5]


def test_a_datum_above_the_contracts_size_is_never_kept(make_room: Callable[..., Room]) -> None:
    room = make_room(QUARANTINE_BYTES)
    tape = room.world.tape()
    large, small = hostile(tape, 1, MOST_DATUM_BYTES + 1), hostile(tape, 1, MOST_DATUM_BYTES)
    room.take(large, small)
    assert room.kept() == [1]
    assert room.retry("--leaf", "0") == (1, {"datum-invalid": 2})
    assert room.kept() == [1]


@pytest.mark.long
@pytest.mark.parametrize(("count", "size", "kept_mib"), [(200, 900_000, 0), (320, 250_000, 64)])
def test_hostile_events_of_any_size_cost_a_reader_its_quota_and_small_rows(
    make_room: Callable[..., Room], count: int, size: int, kept_mib: int
) -> None:
    """Also where the worker is killed while it sets them apart; and in bounded memory."""
    room = make_room(QUARANTINE_BYTES)
    world = room.world
    tape = world.tape()
    size_of = (
        "SELECT sum(pg_total_relation_size(oid)) / 1048576.0 FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'sinergi_consumer'::regnamespace"
    )
    before = float(world.ask(size_of.replace(":", r"\:"))[0][0])
    for _ in range(0, count, 8):
        send(world, hostile(tape, 8, size))
    with world.worker("first") as worker:
        world.until(lambda: world.count("sinergi_consumer.quarantine") > 0, "some are set apart")
        worker.process.kill()
    with world.worker("second") as worker:
        moved = f"SELECT 1 FROM sinergi_consumer.position WHERE tree_size = {count}"
        world.until(lambda: len(world.ask(moved)) == 2, "all are set apart")
        mib = peak(worker.process.pid)
    grown = float(world.ask(size_of.replace(":", r"\:"))[0][0]) - before
    assert world.count("sinergi_consumer.quarantine") == 2 * count
    assert len(room.kept()) == kept_mib * 1024 * 1024 // (size + 203)
    assert grown < kept_mib * 1.1 + 2
    assert mib < MOST_MIB


def test_room_is_shared_by_the_partitions_of_an_owner(make_room: Callable[..., Room]) -> None:
    room = make_room(3 * ROW, partitions=2)
    for number in (0, 1):
        room.take(hostile(room.world.tape(number), 2), positions=2 * (number + 1))
    assert room.kept() == [0, 0, 1]


def test_what_is_not_kept_is_shown_from_the_topic(
    make_room: Callable[..., Room], tmp_path: Path
) -> None:
    room = make_room(0)
    written = hostile(room.world.tape(), 3)
    room.take(written)
    datum = parsed(written)[1].datum
    status, out, _ = room.sinergi("show", "--leaf", "1", "--hex", "--json")
    assert (status, {each["datum"] for each in json.loads(out)["rows"]}) == (0, {datum.hex()})
    assert room.sinergi("show", "--leaf", "1", "--output", str(tmp_path / "datum"))[0] == 0
    assert (tmp_path / "datum").read_bytes() == datum
    assert "10,003, on the topic only" in room.sinergi("show", "--leaf", "1")[1]


def refused_by_the_history(room: Room, count: int = 5) -> list[TapeMessage]:
    """Events that a table refuses until it is mended."""
    room.do(NOT_FIVE.format("transfer_history"))
    tape = room.world.tape()
    written = tape.write([transfer(f"P/{at}", movement_id="5") for at in range(count)])
    room.take(written)
    assert room.kept() == []
    room.do(MENDED.format("transfer_history"))
    return written


def test_what_is_not_kept_is_superseded_by_a_later_revision(make_room: Callable[..., Room]) -> None:
    room = make_room(0)
    tape = room.world.tape()
    room.take(tape.write_datums([unreadable(tape, "P/1"), unreadable(tape, "P/2")]))
    room.take(tape.write([transfer("P/1", 2)]))
    states = "SELECT DISTINCT leaf_index, state FROM sinergi_consumer.quarantine ORDER BY 1"
    assert room.world.ask(states) == [(0, "superseded"), (1, "open")]


def test_what_is_not_kept_is_tried_again_from_the_topic(make_room: Callable[..., Room]) -> None:
    room = make_room(0)
    refused_by_the_history(room)
    assert room.retry("--leaf", "3") == (0, {"retried": 1})
    assert room.retry("--state", "open") == (0, {"retried": 4})
    assert room.world.count("sinergi.transfer_history") == 5


def test_what_was_discarded_is_taken_back_from_the_topic(make_room: Callable[..., Room]) -> None:
    room = make_room(QUARANTINE_BYTES)
    room.do(NOT_FIVE.format("transfer_history"))
    room.take(room.world.tape().write([transfer("P/5", movement_id="5")]))
    assert room.kept() == [0]
    assert room.sinergi("discard", "--leaf", "0", "--why", "agreed by letter 7")[0] == 0
    assert room.kept() == []
    room.do(MENDED.format("transfer_history"))
    assert room.retry("1") == (0, {"retried": 1})
    assert room.world.count("sinergi.transfer_history") == 1


def test_another_leaf_in_the_place_of_one_is_refused_and_the_others_go_on(
    make_room: Callable[..., Room],
) -> None:
    """Also where many claim the same place before the true one comes."""
    room = make_room(0)
    written = refused_by_the_history(room)
    world = room.world
    forger = Tape(BUS, world.topic, 0, None, world.key, world.tape().agreement)
    forged = forger.write([transfer(f"P/{at}", movement_id="forged") for at in range(5)])
    admin = open_admin(world.connection)
    (done,) = admin.delete_records(
        [confluent_kafka.TopicPartition(world.topic.name, 0, 5)]
    ).values()
    done.result()
    send(world, [*forged, *forged, *written[:2], *written[3:]])
    status, out, _ = room.sinergi("retry", "--state", "open", "--why", "mended", "--json")
    told = json.loads(out)
    assert (status, told["counts"]) == (1, {"retried": 4, "not read": 1})
    (left,) = [each for each in told["rows"] if each["result"] == "not read"]
    assert f"leaf 2 of {world.topic.name}/0" in left["detail"]
    assert world.ask("SELECT DISTINCT movement_id FROM sinergi.transfer_history") == [("5",)]
    status, _, err = room.sinergi("show", "--leaf", "2", "--output", "-")
    said = [line for line in err.splitlines() if "warning" not in line]
    assert (status, len(said)) == (2, 1), err
    assert "does not show the leaf as it was verified" in said[0]
    status, out, err = room.sinergi("show", "--leaf", "2", "--hex")
    assert status == 1
    assert "rows-refused" in out
    assert "sinergi quarantine discard" in err


def test_a_topic_that_is_away_holds_up_only_what_is_not_kept(
    make_room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room(0)
    room.do(NOT_FIVE.format("transfer_history"))
    written = room.world.tape().write([transfer(f"P/{at}", movement_id="5") for at in range(3)])
    first = parsed(written)[0]
    room.world.quarantine_bytes = len(first.key) + len(first.datum) + 200
    room.take(written)
    assert len(room.kept()) == 1
    room.do(MENDED.format("transfer_history"))

    def away(*_: Any) -> None:
        raise errors.TopicAway(room.world.topic.name, "as a test says")

    monkeypatch.setattr(LeafReading, "read", away)
    status, out, _ = room.sinergi("retry", "--reason", "rows-refused", "--why", "x", "--json")
    rows = json.loads(out)["rows"]
    assert status == 1
    assert [each["result"] for each in rows] == ["retried", "not read", "not read"]
    assert {each["detail"] for each in rows[1:]} == {
        str(errors.TopicAway(room.world.topic.name, "as a test says"))
    }


def test_of_two_who_settle_the_last_rows_of_an_event_at_once_one_gives_its_bytes_up(
    site: Site,
) -> None:
    """Else each would take the row of the other for unsettled, and the bytes would stay."""
    site.take(site.tape.write_datums([unreadable(site.tape, "P/0")]))
    discard = "UPDATE sinergi_consumer.quarantine SET state = 'discarded' WHERE projection = '{}'"
    waits = (
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    made = sa.create_engine(site.url, poolclass=sa.NullPool)
    with ThreadPoolExecutor(1) as thread:
        with made.begin() as connection:
            connection.execute(sa.text(discard.format("transfer")))
            done = thread.submit(site.do, discard.format("transfer_history"))
            until(lambda: bool(site.ask(waits)), "the other waits")
        done.result()
    assert site.ask(DATUMS) == []


def test_rows_that_are_deleted_give_their_bytes_up_as_well(site: Site) -> None:
    """As where a projection is filled anew by hand (docs/tutorial-integrator.md)."""
    site.take(site.tape.write_datums([unreadable(site.tape, "P/0")]))
    site.do("DELETE FROM sinergi_consumer.quarantine WHERE projection = 'transfer'")
    assert len(site.ask(DATUMS)) == 1
    site.do("DELETE FROM sinergi_consumer.quarantine")
    assert site.ask(DATUMS) == []


LEAVES = [
    Message(at, at, bytes(32), b"P/%d" % at, os.urandom(size), None)
    for at, size in enumerate((0, 100, 300, 300, 700))
]
NAMES = ("transfer", "transfer_history")
ACTIONS = st.tuples(
    st.sampled_from(["set apart", "set apart", "retry", "discard", "delete"]),
    st.sampled_from(NAMES),
    st.integers(0, len(LEAVES) - 1),
)


@dataclass
class Model:
    """What quarantine promises: the state of each row, and of which leaves it keeps the bytes."""

    quota: int
    states: dict[tuple[str, int], str] = field(default_factory=dict)
    kept: dict[int, int] = field(default_factory=dict)

    def do(self, action: str, name: str, leaf: int) -> None:
        state = self.states.get((name, leaf))
        if action == "set apart":
            self.states[name, leaf] = "discarded" if state == "discarded" else "open"
            size = len(LEAVES[leaf].key) + len(LEAVES[leaf].datum) + 200
            there = self.is_unsettled(leaf) and leaf not in self.kept
            if there and sum(self.kept.values()) + size <= self.quota:
                self.kept[leaf] = size
        elif action == "delete":
            self.states = {key: each for key, each in self.states.items() if key[0] != name}
        elif action == "retry" and state:
            self.states[name, leaf] = "retried"
        elif action == "discard" and state == "open":
            self.states[name, leaf] = "discarded"
        self.kept = {at: size for at, size in self.kept.items() if self.is_unsettled(at)}

    def is_unsettled(self, leaf: int) -> bool:
        return any(self.states.get((name, leaf)) == "open" for name in NAMES)


def act(site: Site, sink: PostgresqlSink, action: str, name: str, leaf: int) -> None:
    if action == "set apart":
        projection = {each.name: each for each in PROJECTIONS}[name]
        unfit = [Unfit(LEAVES[leaf], "rows-refused", "x")]
        with sink.transaction() as transaction:
            transaction.quarantine(projection, HeldLeaves(TOPIC, 0, [LEAVES[leaf]]), unfit)
    elif action == "retry":
        with sink.transaction() as transaction:
            transaction.retried([QuarantineKey(name, TopicPartition(TOPIC.name, 0), leaf)])
    elif action == "discard":
        Quarantine(site.url).discard(QuarantineFilter(projection=name, leaf_index=leaf), DECISION)
    else:
        site.do(f"DELETE FROM sinergi_consumer.quarantine WHERE projection = '{name}'")


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(actions=st.lists(ACTIONS, max_size=15), quota=st.integers(0, 2_500))
def test_whatever_is_done_the_bytes_of_what_is_unsettled_are_kept_within_the_quota(
    site: Site, actions: list[tuple[str, str, int]], quota: int
) -> None:
    site.do("TRUNCATE sinergi_consumer.quarantine, sinergi_consumer.quarantined_datum")
    model = Model(quota)
    with (
        closing(PostgresqlSink(site.url, PROJECTIONS, quota)) as sink,
        site.engine.connect() as own,
    ):
        for each in actions:
            act(site, sink, *each)
            model.do(*each)
            found = own.execute(
                sa.text("SELECT projection, leaf_index, state FROM sinergi_consumer.quarantine")
            )
            assert {(name, leaf): state for name, leaf, state in found} == model.states
            rows = own.execute(
                sa.text("SELECT leaf_index, size FROM sinergi_consumer.quarantined_datum")
            )
            assert dict(map(tuple, rows)) == model.kept


# What the materialiser tries again by itself


@pytest.mark.long
def test_what_waited_for_a_schema_comes_in_by_itself_from_the_topic(
    make_room: Callable[..., Room], grown: Catalog
) -> None:
    """More than one look takes, some at a time."""
    room, count = make_room(0), 450
    world = room.world
    tape = world.tape(catalog=grown)
    room.take(tape.write_datums([ahead(tape, f"P/{at}") for at in range(count)]))
    assert room.kept() == []
    world.bus = replace(world.bus, catalog=grown)
    with world.materialising():
        world.until_rows("sinergi.transfer_history", count)
        open_ = "sinergi_consumer.quarantine WHERE state = 'open'"
        world.until(lambda: world.count(open_) == 0, "nothing waits")
    assert world.count("sinergi.transfer") == count
    assert world.ask("SELECT DISTINCT decided_by, outcome FROM sinergi_consumer.decision") == [
        ("sinergi materialise", "retried")
    ]


def test_what_waited_for_an_agreement_comes_in_by_itself_from_the_topic(
    make_room: Callable[..., Room],
) -> None:
    room = make_room(0)
    world = room.world
    (first,) = world.agreements
    later = world.agreement | {"title": "Addendum", "replaces": [first.hash]}
    later["in_force"] = {"from": datetime(2026, 1, 1, tzinfo=UTC)}
    text = tomli_w.dumps(later)
    tape = world.tape()
    tape.agreement = parse(world.folder / "later.toml", text.encode()).hash
    room.take(tape.write([transfer(f"P/{at}") for at in range(20)]))
    assert world.count("sinergi_consumer.quarantine WHERE reason = 'not-agreed'") == 40
    (world.folder / "later.toml").write_text(text, encoding="utf-8")
    del world.agreements, world.bus
    with world.materialising():
        world.until_rows("sinergi.transfer_history", 20)


def test_what_is_not_found_is_looked_for_once_and_the_rest_comes_in(
    make_room: Callable[..., Room], grown: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up neither new events nor others that wait, and writes nothing."""
    room = make_room(0)
    world = room.world
    tape = world.tape(catalog=grown)
    waiting = tape.write_datums([ahead(tape, f"P/{at}") for at in range(6)])
    room.take(waiting)
    room.do("UPDATE sinergi_consumer.quarantine SET leaf_hash = '' WHERE leaf_index = 2")
    asked: list[int] = []
    read = LeafReading.read

    def noted(self: LeafReading, *args: Any) -> dict[int, Message]:
        asked.extend(args[1])
        return read(self, *args)

    monkeypatch.setattr(LeafReading, "read", noted)
    world.bus = replace(world.bus, catalog=grown)
    with world.materialising():
        world.until_rows("sinergi.transfer_history", 5)
        send(world, tape.write_datums([ahead(tape, "P/6")]))
        world.until_rows("sinergi.transfer_history", 6)
    assert asked.count(2) == 1
    assert world.count("sinergi_consumer.quarantine WHERE state = 'open'") == 2
    assert world.count("sinergi_consumer.decision WHERE leaf_index = 2") == 0


# The tables as version 0003 has them


BEFORE = """
    INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index, state,
        reason, detail, fingerprint, key, datum)
    VALUES (:projection, :topic, 0, :leaf, :state, 'rows-refused', 'x', :fingerprint, :key, :datum)
"""


def at_version(url: str, version: str) -> None:
    """Make a consumer's own tables anew, at a version."""
    with engine(url, "a test") as opened, opened.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA sinergi_consumer CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA sinergi_consumer"))
        config = migrate._config(migrate.Role.CONSUMER)
        config.attributes["connection"] = connection
        command.upgrade(config, version)


@pytest.fixture
def old(
    postgresql: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> tuple[Site, list[tuple[Any, ...]]]:
    """A database with rows of version 0003, upgraded; and what was in it."""
    url = postgresql
    at_version(url, "0003")
    schema = Tape(BUS, TOPIC).schema
    rows = [
        (name, leaf, state, key, datum)
        for leaf, key, datum, *states in (
            (0, b"P/0", b"cut", "open", "superseded"),
            (1, b"P/1", os.urandom(200_000), "discarded", "superseded"),
            (2, os.urandom(9_000), b"", "open", "retried"),
            (3, b"P/3", b"settled", "retried", "discarded"),
            (4, b"P/4", os.urandom(MOST_DATUM_BYTES + 1), "open", "open"),
        )
        for name, state in zip(("transfer", "transfer_history"), states, strict=True)
    ]
    made = sa.create_engine(url, poolclass=sa.NullPool)
    with made.begin() as connection:
        for name, leaf, state, key, datum in rows:
            given = {"projection": name, "leaf": leaf, "state": state, "key": key, "datum": datum}
            more = {"topic": TOPIC.name, "fingerprint": schema.fingerprint}
            connection.execute(sa.text(BEFORE), given | more)
    return Site(url, capsys, tmp_path / "agreements"), rows


def test_rows_of_an_older_version_are_moved(old: tuple[Site, list[tuple[Any, ...]]]) -> None:
    site, rows = old
    fingerprint = Tape(BUS, TOPIC).schema.fingerprint
    kept = {(leaf, key, datum) for _, leaf, _, key, datum in rows if leaf < 3}
    assert site.ask(DATUMS) == sorted(kept)
    found = site.ask(
        "SELECT projection, leaf_index, state, key_hash, leaf_hash, size"
        " FROM sinergi_consumer.quarantine ORDER BY id"
    )
    assert found == [
        (
            name,
            leaf,
            state,
            sha256(key).digest(),
            leaf_hash(leaf_data(fingerprint, key, datum)),
            len(key) + len(datum),
        )
        for name, leaf, state, key, datum in rows
    ]
    assert site.ask("SELECT DISTINCT owner FROM sinergi_consumer.quarantined_datum") == [
        (TOPIC.agency,)
    ]
    listed = {each["leaf_index"]: each["kept"] for each in site.rows("--state", "all")}
    assert listed == {0: True, 1: True, 2: True, 3: False, 4: False}


def test_what_an_upgrade_does_not_keep_is_tried_again_from_the_topic(
    make_room: Callable[..., Room],
) -> None:
    room = make_room(QUARANTINE_BYTES)
    world = room.world
    tape = world.tape()
    written = tape.write([transfer("P/0"), transfer("P/1")])
    send(world, written)
    at_version(world.consumer_url, "0003")
    position = (
        "INSERT INTO sinergi_consumer.position (projection, topic, partition, tree_size)"
        " VALUES ('transfer', :topic, 0, 2)"
    )
    with world.consumer.begin() as connection:
        connection.execute(sa.text(position), {"topic": world.topic.name})
        for each, state in zip(parsed(written), ("open", "discarded"), strict=True):
            given = {"projection": "transfer", "leaf": each.leaf_index, "state": state}
            given |= {"topic": world.topic.name, "fingerprint": each.fingerprint}
            connection.execute(sa.text(BEFORE), given | {"key": each.key, "datum": each.datum})
    migrate.upgrade(world.consumer_url, migrate.Role.CONSUMER, world.projections)
    assert room.kept() == [0]
    assert room.retry("--state", "all") == (0, {"retried": 2})
    assert world.ask("SELECT record_id FROM sinergi.transfer ORDER BY 1") == [("P/0",), ("P/1",)]
