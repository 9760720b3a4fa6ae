"""Quarantine is bounded: it keeps an event's bytes once, and a quota for each owner."""

from __future__ import annotations

import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import confluent_kafka
import psycopg
import pytest
import sqlalchemy as sa
import tomli_w
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from agency_pair import AgencyPair, send, signs_nothing_else
from memory_use import peak
from signed_agreement import write_signed
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.decode.batches import RefusedEvent
from sinergi_consumers.quarantine.admin import Quarantine, QuarantineFilter
from sinergi_consumers.quarantine.leaf_reading import LeafReading
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
from test_quarantine import (
    DECISION,
    MENDED,
    NOT_FIVE,
    PROJECTIONS,
    ConsumerDatabase,
    ahead,
    unreadable,
)
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sinergi_consumers.testing.tape import TapeMessage
    from sinergi_schemas.catalog import Catalog

OTHER = "polres-rekaan"
DATUMS = "SELECT leaf_index, key, datum FROM sinergi_consumer.quarantined_datum ORDER BY 1"


@pytest.fixture
def consumer(
    postgresql: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> ConsumerDatabase:
    return ConsumerDatabase(postgresql, capsys, tmp_path / "agreements")


def test_what_two_projections_set_apart_is_kept_once(consumer: ConsumerDatabase) -> None:
    cut = [unreadable(consumer.tape, f"P/{at}") for at in range(3)]
    consumer.take(consumer.tape.write_datums(cut))
    assert len(consumer.states()) == 6
    assert consumer.ask(DATUMS) == [
        (at, key.encode(), datum) for at, (_, key, datum) in enumerate(cut)
    ]


# ReaderWithQuota


SIZE = 10_000  # of a datum
MOST_MIB = 500
ROW = SIZE + len("P/0") + 200
TAKEN = "SELECT coalesce(sum(size), 0)::int FROM sinergi_consumer.quarantined_datum"


def hostile(tape: Tape, count: int, size: int = SIZE) -> list[TapeMessage]:
    """Events that nobody can read, under one checkpoint."""
    event = tape.issued(transfer("P/0"))
    return tape.write_datums([(event.event_id, "P/0", os.urandom(size)) for _ in range(count)])


@dataclass
class ReaderWithQuota:
    """A reader with little reader for quarantine, and the command as its operator runs it."""

    pair: AgencyPair
    capsys: pytest.CaptureFixture[str]

    def take(self, *batches: Sequence[TapeMessage], positions: int = 2) -> None:
        """Put messages on the topic, and have them materialised."""
        for each in batches:
            send(self.pair, each)
        size = max(each.leaf_index for each in parsed(batches[-1])) + 1
        moved = f"SELECT 1 FROM sinergi_consumer.position WHERE tree_size = {size}"
        with self.pair.materialising():
            self.pair.until(lambda: len(self.pair.ask(moved)) == positions, "taken in")

    def do(self, statement: str) -> None:
        with self.pair.consumer.begin() as connection:
            connection.execute(sa.text(statement))

    def sinergi(self, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        status = run(["--config", str(self.pair.reader_settings), "quarantine", *arguments])
        return (status, *self.capsys.readouterr())

    def retry(self, *arguments: str) -> tuple[int, dict[str, int]]:
        status, out, _ = self.sinergi("retry", *arguments, "--why", "mended", "--json")
        return status, json.loads(out)["counts"]

    def remarks(self) -> list[str]:
        """What `sinergi status` remarks."""
        self.capsys.readouterr()
        assert run(["--config", str(self.pair.reader_settings), "status", "--json"]) in (0, 1)
        return list(json.loads(self.capsys.readouterr().out)["remarks"])

    def kept(self) -> list[int]:
        leaves = "SELECT leaf_index FROM sinergi_consumer.quarantined_datum ORDER BY 1"
        return [leaf for (leaf,) in self.pair.ask(leaves)]


def parsed(messages: Sequence[TapeMessage]) -> list[Message]:
    return [message.parse(each) for each in messages]


@pytest.fixture
def make_room(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., ReaderWithQuota]:
    """Makes a reader with so many bytes of reader."""

    def make(quota: int, partitions: int = 1) -> ReaderWithQuota:
        (tmp_path / "pair").mkdir()
        urls = databases(), databases()
        pair = AgencyPair(tmp_path / "pair", kafka, agency_slug, *urls, partitions, quota)
        return ReaderWithQuota(pair, capsys)

    return make


def test_beyond_its_room_only_leaf_and_reason_are_kept_and_what_is_settled_makes_room(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    reader = make_room(3 * ROW)
    tape = reader.pair.tape()
    reader.take(hostile(tape, 5))
    assert reader.kept() == [0, 1, 2]
    remarks, owner = reader.remarks(), reader.pair.publisher
    assert any(f"keeps {3 * ROW:,} bytes of events of {owner}" in each for each in remarks)
    assert reader.pair.count("sinergi_consumer.quarantine WHERE state = 'open'") == 10
    rows = json.loads(reader.sinergi("list", "--json")[1])["rows"]
    assert {(each["leaf_index"], each["kept"]) for each in rows} == {
        (at, at < 3) for at in range(5)
    }
    assert (
        reader.sinergi("discard", "--leaf", "1", "--projection", "transfer", "--why", "x")[0] == 0
    )
    assert reader.kept() == [0, 1, 2]
    assert reader.sinergi("discard", "--leaf", "1", "--why", "x")[0] == 0
    assert reader.kept() == [0, 2]
    reader.take(hostile(tape, 2))
    assert reader.kept() == [0, 2, 5]


def test_a_datum_above_the_contracts_size_is_never_kept(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    reader = make_room(QUARANTINE_BYTES)
    tape = reader.pair.tape()
    large, small = hostile(tape, 1, MOST_DATUM_BYTES + 1), hostile(tape, 1, MOST_DATUM_BYTES)
    reader.take(large, small)
    assert reader.kept() == [1]
    assert reader.retry("--leaf", "0") == (1, {"datum-invalid": 2})
    assert reader.kept() == [1]


@pytest.mark.long
@pytest.mark.parametrize(("count", "size", "kept_mib"), [(200, 900_000, 0), (320, 250_000, 64)])
def test_hostile_events_of_any_size_cost_a_reader_its_quota_and_small_rows(
    make_room: Callable[..., ReaderWithQuota], count: int, size: int, kept_mib: int
) -> None:
    """Also where the worker is killed while it sets them apart; and in bounded memory."""
    reader = make_room(QUARANTINE_BYTES)
    pair = reader.pair
    tape = pair.tape()
    size_of = (
        "SELECT sum(pg_total_relation_size(oid)) / 1048576.0 FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'sinergi_consumer'::regnamespace"
    )
    before = float(pair.ask(size_of.replace(":", r"\:"))[0][0])
    for _ in range(0, count, 8):
        send(pair, hostile(tape, 8, size))
    with pair.worker("first") as worker:
        pair.until(lambda: pair.count("sinergi_consumer.quarantine") > 0, "some are set apart")
        worker.process.kill()
    with pair.worker("second") as worker:
        moved = f"SELECT 1 FROM sinergi_consumer.position WHERE tree_size = {count}"
        pair.until(lambda: len(pair.ask(moved)) == 2, "all are set apart")
        mib = peak(worker.process.pid)
    grown = float(pair.ask(size_of.replace(":", r"\:"))[0][0]) - before
    assert pair.count("sinergi_consumer.quarantine") == 2 * count
    assert len(reader.kept()) == kept_mib * 1024 * 1024 // (size + 203)
    assert grown < kept_mib * 1.1 + 2
    assert mib < MOST_MIB


def test_room_is_shared_by_the_partitions_of_an_owner(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    reader = make_room(3 * ROW, partitions=2)
    for number in (0, 1):
        reader.take(hostile(reader.pair.tape(number), 2), positions=2 * (number + 1))
    assert reader.kept() == [0, 0, 1]


def test_what_is_not_kept_is_shown_from_the_topic(
    make_room: Callable[..., ReaderWithQuota], tmp_path: Path
) -> None:
    reader = make_room(0)
    written = hostile(reader.pair.tape(), 3)
    reader.take(written)
    datum = parsed(written)[1].datum
    status, out, _ = reader.sinergi("show", "--leaf", "1", "--hex", "--json")
    assert (status, {each["datum"] for each in json.loads(out)["rows"]}) == (0, {datum.hex()})
    assert reader.sinergi("show", "--leaf", "1", "--output", str(tmp_path / "datum"))[0] == 0
    assert (tmp_path / "datum").read_bytes() == datum
    assert "10,003, on the topic only" in reader.sinergi("show", "--leaf", "1")[1]


def refused_by_the_history(reader: ReaderWithQuota, count: int = 5) -> list[TapeMessage]:
    """Events that a table refuses until it is mended."""
    reader.do(NOT_FIVE.format("transfer_history"))
    tape = reader.pair.tape()
    written = tape.write([transfer(f"P/{at}", movement_id="5") for at in range(count)])
    reader.take(written)
    assert reader.kept() == []
    reader.do(MENDED.format("transfer_history"))
    return written


def test_what_is_not_kept_is_superseded_by_a_later_revision(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    reader = make_room(0)
    tape = reader.pair.tape()
    reader.take(tape.write_datums([unreadable(tape, "P/1"), unreadable(tape, "P/2")]))
    reader.take(tape.write([transfer("P/1", 2)]))
    states = "SELECT DISTINCT leaf_index, state FROM sinergi_consumer.quarantine ORDER BY 1"
    assert reader.pair.ask(states) == [(0, "superseded"), (1, "open")]


def test_what_is_not_kept_is_tried_again_from_the_topic(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    reader = make_room(0)
    refused_by_the_history(reader)
    assert reader.retry("--leaf", "3") == (0, {"retried": 1})
    assert reader.retry("--state", "open") == (0, {"retried": 4})
    assert reader.pair.count("sinergi.transfer_history") == 5


def test_what_was_discarded_is_taken_back_from_the_topic(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    reader = make_room(QUARANTINE_BYTES)
    reader.do(NOT_FIVE.format("transfer_history"))
    reader.take(reader.pair.tape().write([transfer("P/5", movement_id="5")]))
    assert reader.kept() == [0]
    assert reader.sinergi("discard", "--leaf", "0", "--why", "agreed by letter 7")[0] == 0
    assert reader.kept() == []
    reader.do(MENDED.format("transfer_history"))
    assert reader.retry("1") == (0, {"retried": 1})
    assert reader.pair.count("sinergi.transfer_history") == 1


def test_another_leaf_in_the_place_of_one_is_refused_and_the_others_go_on(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    """Also where many claim the same place before the true one comes."""
    reader = make_room(0)
    written = refused_by_the_history(reader)
    pair = reader.pair
    forger = Tape(BUS, pair.topic, 0, None, pair.key, pair.tape().agreement)
    forged = forger.write([transfer(f"P/{at}", movement_id="forged") for at in range(5)])
    admin = open_admin(pair.connection)
    (done,) = admin.delete_records([confluent_kafka.TopicPartition(pair.topic.name, 0, 5)]).values()
    done.result()
    send(pair, [*forged, *forged, *written[:2], *written[3:]])
    status, out, _ = reader.sinergi("retry", "--state", "open", "--why", "mended", "--json")
    told = json.loads(out)
    assert (status, told["counts"]) == (1, {"retried": 4, "not read": 1})
    (left,) = [each for each in told["rows"] if each["result"] == "not read"]
    assert f"leaf 2 of {pair.topic.name}/0" in left["detail"]
    assert pair.ask("SELECT DISTINCT movement_id FROM sinergi.transfer_history") == [("5",)]
    status, _, err = reader.sinergi("show", "--leaf", "2", "--output", "-")
    said = [line for line in err.splitlines() if "warning" not in line]
    assert (status, len(said)) == (2, 1), err
    assert "does not show the leaf as it was verified" in said[0]
    status, out, err = reader.sinergi("show", "--leaf", "2", "--hex")
    assert status == 1
    assert "rows-refused" in out
    assert "sinergi quarantine discard" in err


def test_a_topic_that_is_away_holds_up_only_what_is_not_kept(
    make_room: Callable[..., ReaderWithQuota], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = make_room(0)
    reader.do(NOT_FIVE.format("transfer_history"))
    written = reader.pair.tape().write([transfer(f"P/{at}", movement_id="5") for at in range(3)])
    first = parsed(written)[0]
    reader.pair.quarantine_bytes = len(first.key) + len(first.datum) + 200
    reader.take(written)
    assert len(reader.kept()) == 1
    reader.do(MENDED.format("transfer_history"))

    def away(*_: Any) -> None:
        raise errors.TopicAway(reader.pair.topic.name, "as a test says")

    monkeypatch.setattr(LeafReading, "read", away)
    status, out, _ = reader.sinergi("retry", "--reason", "rows-refused", "--why", "x", "--json")
    rows = json.loads(out)["rows"]
    assert status == 1
    assert [each["result"] for each in rows] == ["retried", "not read", "not read"]
    assert {each["detail"] for each in rows[1:]} == {
        str(errors.TopicAway(reader.pair.topic.name, "as a test says"))
    }


def test_of_two_who_settle_the_last_rows_of_an_event_at_once_one_gives_its_bytes_up(
    consumer: ConsumerDatabase,
) -> None:
    """Else each would take the row of the other for unsettled, and the bytes would stay."""
    consumer.take(consumer.tape.write_datums([unreadable(consumer.tape, "P/0")]))
    discard = "UPDATE sinergi_consumer.quarantine SET state = 'discarded' WHERE projection = '{}'"
    waits = (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    made = sa.create_engine(consumer.url, poolclass=sa.NullPool)
    with ThreadPoolExecutor(1) as thread:
        with made.begin() as connection:
            connection.execute(sa.text(discard.format("transfer")))
            done = thread.submit(consumer.do, discard.format("transfer_history"))
            until(lambda: bool(consumer.ask(waits)), "the other waits")
        done.result()
    assert consumer.ask(DATUMS) == []


def test_who_has_no_right_in_the_database_keeps_nobody_from_settling_events(
    consumer: ConsumerDatabase,
) -> None:
    """Advisory locks need no right: this is the one that settling took before migration 0008."""
    consumer.take(consumer.tape.write_datums([unreadable(consumer.tape, "P/0")]))
    address = make_url(consumer.url).set(drivername="postgresql")
    role = f"stranger_{secrets.token_hex(5)}"
    with psycopg.connect(address.render_as_string(hide_password=False)) as stranger:
        stranger.execute(f"CREATE ROLE {role}".encode())
        stranger.execute(f"SET LOCAL ROLE {role}".encode())
        key = f"{consumer.tape.topic.name}/0"
        stranger.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege), stranger.transaction():
            stranger.execute("SELECT * FROM sinergi_consumer.release_lock FOR UPDATE")
        for name in NAMES:
            Quarantine(consumer.url).discard(QuarantineFilter(projection=name), DECISION)
        stranger.rollback()
    assert consumer.ask(DATUMS) == []


def test_rows_that_are_deleted_give_their_bytes_up_as_well(consumer: ConsumerDatabase) -> None:
    """As where a projection is filled anew by hand (docs/tutorial-integrator.md)."""
    consumer.take(consumer.tape.write_datums([unreadable(consumer.tape, "P/0")]))
    consumer.do("DELETE FROM sinergi_consumer.quarantine WHERE projection = 'transfer'")
    assert len(consumer.ask(DATUMS)) == 1
    consumer.do("DELETE FROM sinergi_consumer.quarantine")
    assert consumer.ask(DATUMS) == []


LEAVES = [
    Message.of_leaf(at, bytes(32), b"P/%d" % at, os.urandom(size))
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


def act(
    consumer: ConsumerDatabase, sink: PostgresqlSink, action: str, name: str, leaf: int
) -> None:
    if action == "set apart":
        projection = {each.name: each for each in PROJECTIONS}[name]
        tp = TopicPartition(TOPIC.name, 0)
        refused = [RefusedEvent(tp, LEAVES[leaf], "rows-refused", "x")]
        with sink.transaction() as transaction:
            transaction.quarantine(projection, tp, refused)
    elif action == "retry":
        with sink.transaction() as transaction:
            transaction.mark_retried([QuarantineKey(name, TopicPartition(TOPIC.name, 0), leaf)])
    elif action == "discard":
        Quarantine(consumer.url).discard(
            QuarantineFilter(projection=name, leaf_index=leaf), DECISION
        )
    else:
        consumer.do(f"DELETE FROM sinergi_consumer.quarantine WHERE projection = '{name}'")


@pytest.mark.long
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(actions=st.lists(ACTIONS, max_size=15), quota=st.integers(0, 2_500))
def test_whatever_is_done_the_bytes_of_what_is_unsettled_are_kept_within_the_quota(
    consumer: ConsumerDatabase, actions: list[tuple[str, str, int]], quota: int
) -> None:
    consumer.do("TRUNCATE sinergi_consumer.quarantine, sinergi_consumer.quarantined_datum")
    model = Model(quota)
    with (
        closing(PostgresqlSink(consumer.url, PROJECTIONS, quota)) as sink,
        consumer.engine.connect() as own,
    ):
        for each in actions:
            act(consumer, sink, *each)
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
    make_room: Callable[..., ReaderWithQuota], grown: Catalog
) -> None:
    """More than one look takes, some at a time."""
    reader, count = make_room(0), 450
    pair = reader.pair
    tape = pair.tape(catalog=grown)
    reader.take(tape.write_datums([ahead(tape, f"P/{at}") for at in range(count)]))
    assert reader.kept() == []
    pair.bus = replace(pair.bus, catalog=grown)
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", count)
        open_ = "sinergi_consumer.quarantine WHERE state = 'open'"
        pair.until(lambda: pair.count(open_) == 0, "nothing waits")
    assert pair.count("sinergi.transfer") == count
    assert pair.ask("SELECT DISTINCT decided_by, outcome FROM sinergi_consumer.decision") == [
        ("sinergi materialise", "retried")
    ]


def test_what_waited_for_an_agreement_comes_in_by_itself_from_the_topic(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    reader = make_room(0)
    pair = reader.pair
    (first,) = pair.agreements
    later = pair.agreement | {"title": "Addendum", "replaces": [first.hash]}
    later["in_force"] = {"from": datetime(2026, 1, 1, tzinfo=UTC)}
    text = tomli_w.dumps(later)
    tape = pair.tape()
    tape.agreement = parse(pair.folder / "later.toml", text.encode()).hash
    reader.take(tape.write([transfer(f"P/{at}") for at in range(20)]))
    assert pair.count("sinergi_consumer.quarantine WHERE reason = 'not-agreed'") == 40
    (pair.folder / "later.toml").write_text(text, encoding="utf-8")
    del pair.agreements, pair.bus
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 20)


def test_of_what_no_agreement_lets_us_read_quarantine_keeps_no_bytes(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    """A new reader may fetch what was published before it joined, and is not given it."""
    reader = make_room(1_000_000)
    pair = reader.pair
    earlier = deepcopy(pair.agreement)
    earlier["in_force"] = {"from": datetime(2010, 1, 1, tzinfo=UTC)}
    earlier["events"]["transfer"]["readers"] = [OTHER]
    other = signs_nothing_else(OTHER)
    earlier["parties"][OTHER] = {"name": "Polres Rekaan", "keys": [str(other.public)]}
    earlier["numbers"] += [{"party": OTHER, "number": "PKS/3"}]
    text = tomli_w.dumps(earlier)
    before = parse(pair.folder / "earlier.toml", text.encode()).hash
    signers = (*pair.party_keys, other)
    write_signed(pair.folder / "earlier.toml", text, signers)
    write_signed(pair.folder / "pks.toml", pair.agreement | {"replaces": [before]}, signers)
    tape = pair.tape()
    tape.agreement = before
    not_ours = tape.write([transfer("P/0")])
    tape.agreement = "0" * 64
    reader.take(not_ours, tape.write([transfer("P/1")]))
    assert pair.count("sinergi_consumer.quarantine WHERE reason = 'not-agreed'") == 4
    assert reader.kept() == [1]
    details = pair.ask("SELECT DISTINCT detail FROM sinergi_consumer.quarantine")
    assert sum(f"does not let {pair.reader} read it" in each for (each,) in details) == 1


def test_what_is_not_found_is_looked_for_once_and_the_rest_comes_in(
    make_room: Callable[..., ReaderWithQuota], grown: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds up neither new events nor others that wait, and writes nothing."""
    reader = make_room(0)
    pair = reader.pair
    tape = pair.tape(catalog=grown)
    waiting = tape.write_datums([ahead(tape, f"P/{at}") for at in range(6)])
    reader.take(waiting)
    reader.do("UPDATE sinergi_consumer.quarantine SET leaf_hash = '' WHERE leaf_index = 2")
    asked: list[int] = []
    read = LeafReading.read

    def noted(self: LeafReading, *args: Any) -> dict[int, Message]:
        asked.extend(args[1])
        return read(self, *args)

    monkeypatch.setattr(LeafReading, "read", noted)
    pair.bus = replace(pair.bus, catalog=grown)
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 5)
        send(pair, tape.write_datums([ahead(tape, "P/6")]))
        pair.until_rows("sinergi.transfer_history", 6)
    assert asked.count(2) == 1
    assert pair.count("sinergi_consumer.quarantine WHERE state = 'open'") == 2
    assert pair.count("sinergi_consumer.decision WHERE leaf_index = 2") == 0


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
) -> tuple[ConsumerDatabase, list[tuple[Any, ...]]]:
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
    return ConsumerDatabase(url, capsys, tmp_path / "agreements"), rows


def test_rows_of_an_older_version_are_moved(
    old: tuple[ConsumerDatabase, list[tuple[Any, ...]]],
) -> None:
    consumer, rows = old
    fingerprint = Tape(BUS, TOPIC).schema.fingerprint
    kept = {(leaf, key, datum) for _, leaf, _, key, datum in rows if leaf < 3}
    assert consumer.ask(DATUMS) == sorted(kept)
    found = consumer.ask(
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
    assert consumer.ask("SELECT DISTINCT owner FROM sinergi_consumer.quarantined_datum") == [
        (TOPIC.agency,)
    ]
    listed = {each["leaf_index"]: each["kept"] for each in consumer.rows("--state", "all")}
    assert listed == {0: True, 1: True, 2: True, 3: False, 4: False}


def test_what_an_upgrade_does_not_keep_is_tried_again_from_the_topic(
    make_room: Callable[..., ReaderWithQuota],
) -> None:
    reader = make_room(QUARANTINE_BYTES)
    pair = reader.pair
    tape = pair.tape()
    written = tape.write([transfer("P/0"), transfer("P/1")])
    send(pair, written)
    at_version(pair.consumer_url, "0003")
    position = (
        "INSERT INTO sinergi_consumer.position (projection, topic, partition, tree_size)"
        " VALUES ('transfer', :topic, 0, 2)"
    )
    with pair.consumer.begin() as connection:
        connection.execute(sa.text(position), {"topic": pair.topic.name})
        for each, state in zip(parsed(written), ("open", "discarded"), strict=True):
            given = {"projection": "transfer", "leaf": each.leaf_index, "state": state}
            given |= {"topic": pair.topic.name, "fingerprint": each.fingerprint}
            connection.execute(sa.text(BEFORE), given | {"key": each.key, "datum": each.datum})
    migrate.upgrade(pair.consumer_url, migrate.Role.CONSUMER, pair.projections)
    assert reader.kept() == [0]
    assert reader.retry("--state", "all") == (0, {"retried": 2})
    assert pair.ask("SELECT record_id FROM sinergi.transfer ORDER BY 1") == [("P/0",), ("P/1",)]
