"""Quarantine: each event is reported, retried, discarded or superseded once, and recorded."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from hashlib import sha256
from secrets import token_hex
from threading import Barrier
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pytest
import sqlalchemy as sa
from psycopg import sql

from agency_pair import AgencyPair, agreement, signs_nothing_else
from signed_agreement import write_signed
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.decode.decoder import Decoders
from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.projections.projection import projection
from sinergi_consumers.quarantine.admin import Quarantine, QuarantineFilter
from sinergi_consumers.quarantine.leaf_reading import LeafReading
from sinergi_consumers.quarantine.retry import QuarantineRetry
from sinergi_consumers.sinks.postgresql.merge import Merge, create_temporary_tables
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.sinks.postgresql.transaction import PostgresqlTransaction
from sinergi_consumers.sinks.protocol import Decision, PositionMove, QuarantineKey
from sinergi_consumers.testing.sinks import (
    BUS,
    CURRENT,
    HISTORY,
    TOPIC,
    Worker,
    events_of,
    transfer,
)
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import codec, errors, postgresql
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.codes import PersonRole
from sinergi_schemas.events import Person
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.topics import TopicPartition
from test_personal_data import NAME, NIK, found_in, send
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from uuid import UUID

    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.source import TopicSource
    from sinergi_consumers.testing.tape import TapeMessage
    from sinergi_schemas.events import Transfer

READER = "bnnk-rekaan"
PROJECTIONS = (CURRENT, HISTORY)
DECISION = Decision("a test", "to see what comes of it")
NOT_FIVE = "ALTER TABLE sinergi.{} ADD CONSTRAINT not_five CHECK (movement_id IS DISTINCT FROM '5')"
MENDED = "ALTER TABLE sinergi.{} DROP CONSTRAINT not_five"


def no_broker() -> TopicSource:
    raise AssertionError("all bytes are kept, and no topic is read")


NOTHING_READ = LeafReading(no_broker)


class ConsumerDatabase:
    """A consumer's database, a worker on it, and the command as its operator runs it."""

    def __init__(
        self,
        url: str,
        capsys: pytest.CaptureFixture[str],
        agreements: Path,
        projections: Sequence[Projection] = PROJECTIONS,
    ) -> None:
        self.url = url
        self.agreements = agreements
        self.capsys = capsys
        self.projections = projections
        key = SigningKey.generate(f"{BUS}/{TOPIC.agency}")
        receipts = SigningKey.generate(f"{BUS}/{READER}/main", Algorithm.COSIGNATURE)
        file = agreements / "pks.toml"
        agreements.mkdir()
        signing = [key, signs_nothing_else(READER)]
        write_signed(file, agreement(key.public, receipts.public), signing)
        self.tape = Tape(BUS, TOPIC, key=key, agreement=sha256(file.read_bytes()).hexdigest())
        self.engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        migrate.upgrade(url, migrate.Role.CONSUMER, projections)

    @contextmanager
    def sink(self) -> Iterator[PostgresqlSink]:
        with closing(PostgresqlSink(self.url, self.projections)) as sink:
            yield sink

    def take(self, *batches: Sequence[TapeMessage]) -> None:
        """Materialise messages, as a worker that has just claimed the partition."""
        with self.sink() as sink:
            worker = Worker(sink, self.tape, self.projections)
            for each in batches:
                assert isinstance(worker.store(worker.received(each)), Stored)

    def take_in(self, *transfers: Transfer) -> None:
        self.take(self.tape.write(transfers))

    def do(self, *statements: str) -> None:
        with self.engine.connect() as connection:
            for each in statements:
                connection.execute(sa.text(each))

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(question))]

    def states(self) -> list[tuple[Any, ...]]:
        return self.ask(
            "SELECT projection, leaf_index, state, reason FROM sinergi_consumer.quarantine"
            " ORDER BY 1, 2"
        )

    def sinergi(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of `sinergi quarantine …`."""
        self.capsys.readouterr()
        given = {"consumer.database": self.url, "agreements": self.agreements, "agency": READER}
        flags = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        status = run([*flags, "quarantine", *arguments])
        return (status, *self.capsys.readouterr())

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        status, out, _ = self.sinergi("list", *arguments, "--json")
        assert status == 0
        return list(json.loads(out)["rows"])

    def retry(self, *arguments: str) -> tuple[int, dict[str, int]]:
        status, out, _ = self.sinergi("retry", *arguments, "--why", "mended", "--json")
        return status, json.loads(out)["counts"]

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all projections' tables."""
        tables = [table.name for each in self.projections for table in each.tables]
        return {name: sorted(self.ask(f"SELECT t::text FROM sinergi.{name} t")) for name in tables}


@pytest.fixture
def consumer(
    postgresql: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> ConsumerDatabase:
    return ConsumerDatabase(postgresql, capsys, tmp_path / "agreements")


@pytest.fixture
def one_bad(consumer: ConsumerDatabase) -> ConsumerDatabase:
    """Nine events, of which the one at leaf 5 was refused by the table of the history."""
    consumer.do(NOT_FIVE.format("transfer_history"))
    consumer.take_in(*(transfer(f"P/{at}", movement_id=str(at)) for at in range(9)))
    assert consumer.states() == [("transfer_history", 5, "open", "rows-refused")]
    return consumer


def unreadable(tape: Tape, record_id: str) -> tuple[UUID, str, bytes]:
    """An event that is cut off, as `Tape.write_datums` takes it."""
    event = tape.issued(transfer(record_id))
    return event.event_id, record_id, codec.encode(event, tape.schema)[:-1]


# What is told


def test_each_way_of_choosing_lists_what_was_meant_and_nothing_else(
    consumer: ConsumerDatabase,
) -> None:
    consumer.do(NOT_FIVE.format("transfer_history"))
    bad = transfer("P/5", movement_id="5")
    cut = unreadable(consumer.tape, "P/2")
    consumer.take(consumer.tape.write_datums([cut]), consumer.tape.write([transfer("P/1"), bad]))
    both = ["transfer", "transfer_history"]
    for arguments, expected in {
        (): [*((name, 0) for name in both), (both[1], 2)],
        ("--event", str(cut[0])): [(name, 0) for name in both],
        ("--event", str(bad.event_id)): [(both[1], 2)],
        ("--reason", "rows-refused"): [(both[1], 2)],
        ("--projection", "transfer"): [(both[0], 0)],
        ("--topic", TOPIC.name, "--partition", "0", "--leaf", "2"): [(both[1], 2)],
        ("--topic", "sinergi.lapas-lain.transfer"): [],
        ("--partition", "1"): [],
        ("--state", "discarded"): [],
        ("--limit", "1"): [(both[0], 0)],
    }.items():
        found = [(each["projection"], each["leaf_index"]) for each in consumer.rows(*arguments)]
        assert sorted(found) == sorted(expected), arguments


def test_a_list_fits_a_hundred_columns_and_says_how_many_there_are(
    consumer: ConsumerDatabase,
) -> None:
    consumer.take(
        consumer.tape.write_datums([unreadable(consumer.tape, f"P/{at}") for at in range(30)])
    )
    status, out, err = consumer.sinergi("list", "--limit", "7")
    assert status == 0
    assert err == "sinergi: 60 in all, 7 shown\n"
    assert max(map(len, out.splitlines())) <= 100
    assert out.count("datum-invalid") == 7
    status, out, _ = consumer.sinergi("show", "--leaf", "3")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100


def test_a_persons_name_is_shown_to_none_but_who_asks_for_the_bytes(
    consumer: ConsumerDatabase,
) -> None:
    person = Person(role=PersonRole.CONVICT, name=NAME, nik=NIK)
    event = consumer.tape.issued(transfer(NIK, inmate=person))
    datum = codec.encode(event, consumer.tape.schema)
    consumer.take(consumer.tape.write_datums([(event.event_id, NIK, datum + b"\0")]))
    said = [
        consumer.sinergi(*arguments)
        for arguments in (
            ["list"],
            ["list", "--json"],
            ["show", "--leaf", "0"],
            ["show", "--leaf", "0", "--json"],
            ["retry", "--leaf", "0", "--why", "to see"],
            ["retry", "--leaf", "0", "--why", "to see", "--json"],
        )
    ]
    assert found_in(str(said)) == []
    status, out, _ = consumer.sinergi("show", "--projection", "transfer", "--hex", "--json")
    (row,) = json.loads(out)["rows"]
    assert (status, bytes.fromhex(row["key"]).decode()) == (0, NIK)
    assert bytes.fromhex(row["datum"]) == datum + b"\0"
    assert NIK.encode().hex() in consumer.sinergi("show", "--leaf", "0", "--hex")[1].replace(
        "\n", ""
    )
    assert found_in(str(consumer.sinergi("discard", "--leaf", "0", "--why", "to see"))) == []


def test_the_bytes_of_one_event_go_to_a_file_of_its_owners_or_into_a_pipe(
    postgresql: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    consumer = ConsumerDatabase(postgresql, cast("Any", capfdbinary), tmp_path / "agreements")
    cut, other = unreadable(consumer.tape, "P/1"), unreadable(consumer.tape, "P/2")
    consumer.take(consumer.tape.write_datums([cut, other]))
    file = tmp_path / "event.avro"
    command = ["--set", f"consumer.database={consumer.url}", "quarantine", "show", "--leaf", "0"]
    capfdbinary.readouterr()
    assert run([*command, "--output", str(file)]) == 0
    assert capfdbinary.readouterr() == (b"", b"")
    assert file.read_bytes() == cut[2]
    assert file.stat().st_mode & 0o777 == 0o600
    assert run([*command, "--output", "-"]) == 0
    assert capfdbinary.readouterr() == (cut[2], b"")
    file.write_bytes(b"somebody's")
    for arguments, said in {
        ("--output", str(file)): "already exists, and is not overwritten",
        (
            "--output",
            str(tmp_path / "none" / "event"),
        ): "/none does not exist); make it",
        ("--output", str(file / "event")): f"({file} is no folder)",
        ("--output", "-", "--hex"): "leave --hex and --json",
    }.items():
        assert run([*command, *arguments]) == 2, arguments
        out, err = capfdbinary.readouterr()
        assert out == b""
        assert said in err.decode()
        assert err.count(b"\n") == 1
    assert file.read_bytes() == b"somebody's"
    assert run([*command[:-2], "--projection", "transfer", "--output", "-"]) == 2
    assert b"takes one event" in capfdbinary.readouterr().err


def test_what_cannot_be_done_is_one_clear_line(one_bad: ConsumerDatabase) -> None:
    consumer = one_bad
    for arguments, said in {
        ("retry", "--why", "x"): "say which rows",
        ("discard", "--why", "x"): "say which rows",
        ("discard", "--state", "open", "--why", " "): "--why says nothing",
        ("retry", "99", "--why", "x"): "no such row",
        ("show", "99"): "Nothing is shown: no such row",
        ("show", "--reason", "x"): "Nothing is shown: no such row",
        ("retry", "1"): "Missing option '--why'",
        ("list", "--event", "x"): "Invalid value for '--event'",
        ("list", "--state", "x"): "Invalid value for '--state'",
    }.items():
        status, out, err = consumer.sinergi(*arguments)
        assert (status, out) == (2, ""), arguments
        assert said in err
    consumer.do("DROP TABLE sinergi_consumer.quarantine")
    status, _, err = consumer.sinergi("list")
    assert status == 2
    assert "sinergi db upgrade" in err


# What is tried again


def test_what_was_mended_comes_in_once_and_it_is_known_who_has_done_it(
    one_bad: ConsumerDatabase,
) -> None:
    consumer = one_bad
    assert consumer.retry("--reason", "rows-refused") == (1, {"rows-refused": 1})
    assert consumer.states() == [("transfer_history", 5, "open", "rows-refused")]
    consumer.do(MENDED.format("transfer_history"))
    assert consumer.retry("--reason", "rows-refused") == (0, {"retried": 1})
    assert consumer.states() == [("transfer_history", 5, "retried", "rows-refused")]
    assert consumer.ask(
        "SELECT count(*), count(DISTINCT leaf_index) FROM sinergi.transfer_history"
    ) == [(9, 9)]
    assert consumer.rows() == []
    assert consumer.retry("1") == (1, {"not held": 1})
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [(9,)]
    status, out, _ = consumer.sinergi("show", "1", "--json")
    decisions = json.loads(out)["rows"][0]["decisions"]
    assert [each[:2] for each in decisions] == [["retry", "rows-refused"], ["retry", "retried"]]
    assert all("@" in who and why == "mended" for _, _, who, why, _ in decisions)
    assert status == 0


def test_the_tables_are_those_in_which_nothing_was_ever_set_apart(
    databases: Callable[[], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Also where later revisions, and a rival of the same revision, have come in meanwhile."""
    lived, smooth = (
        ConsumerDatabase(databases(), capsys, tmp_path / name) for name in ("lived", "smooth")
    )
    lived.tape, lived.agreements = smooth.tape, smooth.agreements
    batches = [
        smooth.tape.write(batch)
        for batch in (
            [transfer("P/1", movement_id="5"), transfer("P/2", movement_id="5")],
            [transfer("P/2", 2, escort=()), transfer("P/3"), transfer("P/3", 2, movement_id="5")],
            [transfer("P/3", 3), transfer("P/4", movement_id="5", escort=())],
        )
    ]
    smooth.take(*batches)
    for each in ("transfer", "transfer_history"):
        lived.do(NOT_FIVE.format(each))
    lived.take(*batches)
    assert lived.contents() != smooth.contents()
    for each in ("transfer", "transfer_history"):
        lived.do(MENDED.format(each))
    assert lived.retry("--state", "unsettled") == (0, {"retried": 8})
    assert lived.contents() == smooth.contents()


def test_a_rival_of_the_same_revision_stays_out_however_often_it_is_tried(
    consumer: ConsumerDatabase,
) -> None:
    consumer.take_in(transfer("P/1"), transfer("P/1"))
    assert consumer.states() == [("transfer_history", 1, "open", "revision-conflict")]
    assert consumer.retry("--leaf", "1") == (1, {"revision-conflict": 1})
    assert consumer.ask("SELECT leaf_index FROM sinergi.transfer_history") == [(0,)]


def test_of_two_retries_at_once_each_event_comes_in_by_one(consumer: ConsumerDatabase) -> None:
    consumer.do(NOT_FIVE.format("transfer_history"))
    consumer.take_in(*(transfer(f"P/{at}", movement_id="5") for at in range(50)))
    consumer.do(MENDED.format("transfer_history"))
    entries = [
        QuarantineKey("transfer_history", TopicPartition(TOPIC.name, 0), at) for at in range(50)
    ]
    together = Barrier(2)

    def retry() -> list[str]:
        with consumer.sink() as sink:
            quarantine_retry = QuarantineRetry(
                sink, PROJECTIONS, Decoders(Catalog.shipped(), None), NOTHING_READ
            )
            together.wait()
            return [each.result for each in quarantine_retry.retry(entries, DECISION)]

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.submit(retry), threads.submit(retry)
        results = sorted([*one.result(), *other.result()])
    assert results == ["not held"] * 50 + ["retried"] * 50
    assert consumer.ask("SELECT count(*) FROM sinergi_consumer.decision") == [(50,)]
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [(50,)]


def test_a_retry_that_breaks_off_has_changed_nothing(
    one_bad: ConsumerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = one_bad
    consumer.do(MENDED.format("transfer_history"))

    def away(*_: Any) -> None:
        raise errors.DatabaseAway("57P01")

    with monkeypatch.context() as patch:
        patch.setattr(PostgresqlTransaction, "record_decisions", away)
        status, out, err = consumer.sinergi("retry", "--leaf", "5", "--why", "mended")
    assert (status, out) == (2, "")
    assert "57P01" in err
    assert consumer.states() == [("transfer_history", 5, "open", "rows-refused")]
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [(8,)]
    assert consumer.retry("--leaf", "5") == (0, {"retried": 1})


def test_a_worker_and_a_retry_do_not_come_between_each_other(one_bad: ConsumerDatabase) -> None:
    """The worker goes on under the claim that it had, and its batches and the retry all stand."""
    consumer = one_bad
    consumer.do(MENDED.format("transfer_history"))
    with consumer.sink() as sink:
        worker = Worker(sink, consumer.tape, PROJECTIONS)
        work = worker.work([transfer("P/9")])
        assert consumer.retry("--leaf", "5") == (0, {"retried": 1})
        assert isinstance(worker.store(work), Stored)
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [(10,)]


def test_what_a_projection_that_was_set_back_will_read_anew_is_left_to_it(
    one_bad: ConsumerDatabase,
) -> None:
    consumer = one_bad
    consumer.do(
        "TRUNCATE sinergi.transfer_history, sinergi.transfer_history_escort,"
        " sinergi.transfer_history_related",
        "UPDATE sinergi_consumer.position SET tree_size = 0, frontier = ''",
    )
    assert consumer.retry("--leaf", "5") == (1, {"not held": 1})
    tape = Tape(BUS, TOPIC, key=consumer.tape.key, agreement=consumer.tape.agreement)
    consumer.tape = tape
    consumer.take_in(*(transfer(f"P/{at}", movement_id=str(at)) for at in range(9)))
    assert consumer.states() == [("transfer_history", 5, "open", "rows-refused")]
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [(8,)]


def test_an_event_of_a_projection_that_is_gone_is_told_so(one_bad: ConsumerDatabase) -> None:
    one_bad.do("UPDATE sinergi_consumer.quarantine SET projection = 'grams'")
    status, _, err = one_bad.sinergi("retry", "--leaf", "5", "--why", "x")
    assert status == 2
    assert "grams cannot be used: it is not installed here" in err


def test_a_name_that_no_row_has_is_told_with_those_there_are(one_bad: ConsumerDatabase) -> None:
    for option, name in ("--topic", "sinergi.x.y"), ("--reason", "rows"), ("--projection", "no"):
        status, _, err = one_bad.sinergi("list", option, name)
        assert status == 0
        assert f"no row has the {option[2:]} {name}; there are: " in err
    _, _, err = one_bad.sinergi("list", "--reason", "rows-refused", "--state", "retried")
    assert "no row has" not in err


# What is given up


def test_what_is_discarded_stays_with_who_and_why(one_bad: ConsumerDatabase) -> None:
    consumer = one_bad
    status, out, _ = consumer.sinergi("discard", "--leaf", "5", "--why", "agreed by letter 7")
    assert (status, out) == (0, "1 discarded\n")
    assert consumer.states() == [("transfer_history", 5, "discarded", "rows-refused")]
    assert consumer.rows() == []
    assert consumer.ask("SELECT action, outcome, why FROM sinergi_consumer.decision") == [
        ("discard", "discarded", "agreed by letter 7")
    ]
    status, out, err = consumer.sinergi("discard", "1", "--why", "again")
    assert (status, out) == (1, "0 discarded\n")
    assert "row 1 was discarded before, and stays so" in err
    status, out, err = consumer.sinergi("retry", "1", "--why", "its bytes are on the topic only")
    assert (status, out) == (2, "")
    assert "kafka.bootstrap" in err


def test_who_discards_waits_for_a_worker_and_neither_is_broken_off(
    consumer: ConsumerDatabase,
) -> None:
    """The worker supersedes the later row first; by themselves they are discarded in order."""
    both = [unreadable(consumer.tape, name) for name in ("P/1", "P/2")]
    consumer.take(consumer.tape.write_datums(both))
    locked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname ="
    with consumer.sink() as sink, ThreadPoolExecutor(1) as thread:
        worker = Worker(sink, consumer.tape, PROJECTIONS)
        work = worker.work([transfer("P/2", 2), transfer("P/1", 2)])
        with sink.transaction() as transaction:
            position = worker.claim.positions[CURRENT.name]
            batch, incarnation = work.claimed[0].batch, worker.claim.incarnation
            transaction.advance([PositionMove(CURRENT.name, position, batch, incarnation)])
            second, first = (CURRENT.rows(events_of(work)[at : at + 1]) for at in (0, 1))
            transaction.merge(CURRENT, second)
            done = thread.submit(
                Quarantine(consumer.url).discard, QuarantineFilter(projection="transfer"), DECISION
            )
            until(lambda: bool(consumer.ask(f"{locked} current_database()")), "it waits")
            transaction.merge(CURRENT, first)
        assert done.result() == 2
    assert [row[2] for row in consumer.states() if row[0] == "transfer"] == ["discarded"] * 2
    assert consumer.ask("SELECT count(*) FROM sinergi_consumer.decision") == [(2,)]


# What is superseded


def test_a_later_revision_supersedes_what_could_not_be_read(consumer: ConsumerDatabase) -> None:
    """In the same batch, in a later one, and of the same record alone."""
    cut = [unreadable(consumer.tape, name) for name in ("P/1", "P/2", "P/3")]
    second = consumer.tape.issued(transfer("P/1", 2))
    good = (second.event_id, "P/1", codec.encode(second, consumer.tape.schema))
    consumer.take(consumer.tape.write_datums([*cut, good]))
    both = ("transfer", "transfer_history")
    found = {(name, leaf): state for name, leaf, state, _ in consumer.states()}
    assert {found[name, 0] for name in both} == {"superseded"}
    assert {found[name, leaf] for name in both for leaf in (1, 2)} == {"open"}
    consumer.take_in(transfer("P/2", 2), transfer("P/9"))
    found = {(name, leaf): state for name, leaf, state, _ in consumer.states()}
    assert {found[name, 1] for name in both} == {"superseded"}
    assert {found[name, 2] for name in both} == {"open"}


def test_a_revision_refused_behind_a_later_one_is_superseded_at_once(
    consumer: ConsumerDatabase,
) -> None:
    consumer.do(NOT_FIVE.format("transfer"), NOT_FIVE.format("transfer_history"))
    consumer.take_in(transfer("P/1", 3))
    consumer.take_in(transfer("P/1", 2, movement_id="5"), transfer("P/1", 4, movement_id="5"))
    assert consumer.states() == [
        (name, leaf, state, "rows-refused")
        for name in ("transfer", "transfer_history")
        for leaf, state in ((1, "superseded"), (2, "open"))
    ]


def test_an_earlier_revision_that_comes_later_supersedes_nothing(
    consumer: ConsumerDatabase,
) -> None:
    consumer.do(NOT_FIVE.format("transfer"))
    consumer.take_in(transfer("P/1", 3, movement_id="5"))
    consumer.take_in(transfer("P/1", 2))
    assert consumer.states() == [("transfer", 0, "open", "rows-refused")]
    consumer.do(MENDED.format("transfer"))
    assert consumer.retry("--leaf", "0") == (0, {"retried": 1})
    assert consumer.ask("SELECT revision FROM sinergi.transfer") == [(3,)]


def test_who_arrives_is_looked_up_by_key_however_many_are_in_quarantine(
    consumer: ConsumerDatabase,
) -> None:
    consumer.take(consumer.tape.write_datums([unreadable(consumer.tape, "P/1")]))
    consumer.do(
        "INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index, reason,"
        " detail, fingerprint, key_hash, leaf_hash, size) SELECT projection, topic, partition, n,"
        " reason, detail, fingerprint, sha256(convert_to('Q/' || n, 'UTF8')), leaf_hash, size"
        " FROM sinergi_consumer.quarantine, generate_series(1, 2000) AS n"
    )
    question = sql.SQL("EXPLAIN {}").format(Merge(CURRENT).supersede_by_arrived)
    with (
        closing(postgresql.Database(consumer.url, "a test")) as database,
        database.serving() as own,
    ):
        own.execute(create_temporary_tables([Merge(CURRENT)], persistent=True))
        steps = [line for (line,) in own.execute(question)]
    assert any("Index Scan using quarantine_by_revision" in line for line in steps), steps
    assert not any("Seq Scan on quarantine" in line for line in steps), steps


def test_a_key_of_any_length_is_kept(consumer: ConsumerDatabase) -> None:
    key = token_hex(20_000)  # an index of sorted keys would take some 2,700 bytes
    event = consumer.tape.issued(transfer("P/1"))
    datum = codec.encode(event, consumer.tape.schema)
    consumer.take(consumer.tape.write_datums([(event.event_id, key, datum)]))
    assert {row[2:] for row in consumer.states()} == {("open", "foreign-key")}
    assert consumer.ask("SELECT key FROM sinergi_consumer.quarantined_datum") == [(key.encode(),)]


def test_poison_is_set_apart_by_its_class_and_everything_else_comes_in(
    consumer: ConsumerDatabase,
) -> None:
    """A hundred bad events of five kinds in ten thousand, half of them corrected afterwards."""
    tape, count = consumer.tape, 10_000
    good = tape.issued(transfer("P/0"))

    faults: list[dict[str, Any]] = [
        {},  # cut off below
        {},  # lengthened below
        {"agency": "lapas-lain"},
        {"revision": 0},
        {"movement_id": "SP\0"},
    ]

    def written(at: int) -> tuple[UUID, str, bytes]:
        kind = at // 100 % 5 if at % 100 == 7 else None
        document = good.model_dump() | {"record_id": f"P/{at}"} | faults[kind or 0]
        datum = codec.encode_document(document, tape.schema)
        damaged = {0: datum[:-1], 1: datum + b"\0"}
        return good.event_id, f"P/{at}", datum if kind is None else damaged.get(kind, datum)

    datums = [written(at) for at in range(count)]
    for start in range(0, count, 2_500):
        consumer.take(tape.write_datums(datums[start : start + 2_500]))
    consumer.take_in(*(transfer(f"P/{at}", 2) for at in range(7, count // 2, 100)))
    for name in ("transfer", "transfer_history"):
        assert consumer.ask(
            "SELECT reason, state, count(*) FROM sinergi_consumer.quarantine"
            f" WHERE projection = '{name}' GROUP BY 1, 2 ORDER BY 1, 2"
        ) == [
            (reason, state, number)
            for reason, number in (
                ("datum-invalid", 20),
                ("foreign-agency", 10),
                ("revision-invalid", 10),
                ("rows-refused", 10),
            )
            for state in ("open", "superseded")
        ]
        expected = count - 100 + 50
        assert consumer.ask(f"SELECT count(*) FROM sinergi.{name}") == [(expected,)]


# What waited for a schema


def ahead(tape: Tape, record_id: str) -> tuple[UUID, str, bytes]:
    """An event of the grown schema."""
    event = tape.issued(transfer(record_id))
    document = event.model_dump() | {"remark": "of the second version"}
    return event.event_id, record_id, codec.encode_document(document, tape.schema)


def test_what_waited_for_a_schema_comes_in_by_itself_after_an_upgrade(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    grown: Catalog,
) -> None:
    (tmp_path / "pair").mkdir()
    pair = AgencyPair(tmp_path / "pair", kafka, agency_slug, databases(), databases(), partitions=1)
    tape = pair.tape(catalog=grown)
    send(pair, tape.write_datums([ahead(tape, f"P/{at}") for at in range(20)]))
    waiting = "SELECT 1 FROM sinergi_consumer.quarantine WHERE state = 'open'"
    with pair.materialising():
        pair.until(lambda: len(pair.ask(waiting)) == 40, "all of them wait")
    with pair.materialising():  # the same program once more changes nothing
        again = "SELECT 1 FROM sinergi_consumer.position WHERE epoch = 2"
        pair.until(lambda: len(pair.ask(again)) == 2, "claimed once more")
    assert len(pair.ask(waiting)) == 40
    assert pair.count("sinergi.transfer") == 0
    pair.bus = replace(pair.bus, catalog=grown)
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 20)
    assert pair.ask(waiting) == []
    assert pair.count("sinergi.transfer") == 20
    assert pair.ask("SELECT DISTINCT decided_by, outcome FROM sinergi_consumer.decision") == [
        ("sinergi materialise", "retried")
    ]


def test_a_schema_that_is_still_unknown_is_waited_for_when_tried_by_hand(
    consumer: ConsumerDatabase, grown: Catalog
) -> None:
    consumer.tape = Tape(BUS, TOPIC, catalog=grown, agreement=consumer.tape.agreement)
    consumer.take(consumer.tape.write_datums([ahead(consumer.tape, "P/1")]))
    assert consumer.retry("--reason", "awaiting-schema") == (1, {"awaiting-schema": 2})
    assert {state for _, _, state, _ in consumer.states()} == {"open"}


# An integrator's own


def test_a_mended_projection_of_an_integrators_takes_its_own_events_back(
    postgresql: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mended: list[bool] = []
    table = sa.Table("own", sa.MetaData(), sa.Column("number", sa.Integer, nullable=False))

    @projection("transfer", table=table)
    def own(events: pl.DataFrame) -> pl.DataFrame:
        if not mended and events["movement_id"].is_in(["5"]).any():
            raise ValueError(NAME)
        return events.select("event_id", pl.col("movement_id").cast(pl.Int32).alias("number"))

    consumer = ConsumerDatabase(postgresql, capsys, tmp_path / "agreements", (CURRENT, own))
    consumer.take_in(*(transfer(f"P/{at}", movement_id=str(at)) for at in range(9)))
    assert consumer.states() == [("own", 5, "open", "projection-failed")]
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer") == [(9,)]
    mended.append(True)
    with consumer.sink() as sink:
        quarantine_retry = QuarantineRetry(
            sink, consumer.projections, Decoders(Catalog.shipped(), None), NOTHING_READ
        )
        (outcome,) = quarantine_retry.retry(
            [QuarantineKey("own", TopicPartition(TOPIC.name, 0), 5)], DECISION
        )
    assert outcome.is_merged
    assert consumer.ask("SELECT number FROM sinergi.own ORDER BY 1") == [(at,) for at in range(9)]
