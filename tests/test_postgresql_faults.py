"""Errors of PostgreSQL: rows are quarantined, the worker waits, or it halts."""

from __future__ import annotations

import os
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from agency_pair import AgencyPair
from agency_pair import transfer as published
from sinergi import migrate
from sinergi_consumers.materialise.ready_batches import ClaimedBatch
from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.projections.projection import projection
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
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
from sinergi_schemas import codec, errors
from sinergi_schemas.postgresql import Database, translate
from sinergi_schemas.timeouts import DEFAULT
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from conftest import Services
    from sinergi_consumers.materialise.ready_batches import ReadyBatches
    from sinergi_consumers.projections.projection import Projection
    from sinergi_schemas.events import Transfer

SECRET = "Slamet Riyadi 3510101708450001"  # a made-up person's


@projection(
    "transfer",
    table=sa.Table(
        "escort_limits",
        sa.MetaData(),
        sa.Column("escort_agency", sa.Text, nullable=False),
        sa.Column("escorts", sa.Integer, nullable=False),
        sa.UniqueConstraint("escort_agency", deferrable=True, initially="DEFERRED"),
    ),
)
def ESCORTS(events: pl.DataFrame) -> pl.DataFrame:  # noqa: N802 - a projection is a constant
    """An integrator's: its table wants each escorting agency once, and says so at COMMIT."""
    escorts = events.explode("escort").drop_nulls("escort").unnest("escort")
    return escorts.select("event_id", "escort_agency", pl.col("count").alias("escorts"))


PROJECTIONS = (CURRENT, HISTORY, ESCORTS)


class ConsumerDatabase:
    """A consumer's database with a worker on it, and its owner's hands."""

    def __init__(self, url: str, projections: Sequence[Projection] = PROJECTIONS) -> None:
        self.url = url
        self.owner = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        migrate.upgrade(url, migrate.Role.CONSUMER, projections)
        self.projections = projections
        self.tape = Tape(BUS, TOPIC)

    @contextmanager
    def working(self, url: str | None = None) -> Iterator[Worker]:
        with closing(PostgresqlSink(url or self.url, self.projections)) as sink:
            yield Worker(sink, self.tape, self.projections)

    def do(self, *statements: str) -> None:
        with self.owner.connect() as connection:
            for each in statements:
                connection.execute(sa.text(each))

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        with self.owner.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(question))]

    def quarantine(self) -> list[tuple[Any, ...]]:
        return self.ask(
            "SELECT projection, leaf_index, reason FROM sinergi_consumer.quarantine ORDER BY 1, 2"
        )


@pytest.fixture
def consumer(postgresql: str) -> ConsumerDatabase:
    return ConsumerDatabase(postgresql)


# Every class of SQLSTATE


REFUSED, AWAY, BROKEN = errors.RowsRefused, errors.DatabaseAway, errors.DatabaseBroken
MEANINGS: dict[str, type[errors.SinergiError]] = {
    "22P02": REFUSED,  # invalid_text_representation
    "22021": REFUSED,  # character_not_in_repertoire
    "22003": REFUSED,  # numeric_value_out_of_range
    "23502": REFUSED,  # not_null_violation
    "23505": REFUSED,  # unique_violation
    "23514": REFUSED,  # check_violation
    "54000": REFUSED,  # program_limit_exceeded
    "P0001": REFUSED,  # raise_exception
    "08003": AWAY,  # connection_does_not_exist
    "08006": AWAY,  # connection_failure
    "40001": AWAY,  # serialization_failure
    "40P01": AWAY,  # deadlock_detected
    "53100": AWAY,  # disk_full
    "53200": AWAY,  # out_of_memory
    "53300": AWAY,  # too_many_connections
    "55P03": errors.LockHeld,  # lock_not_available
    "57014": AWAY,  # query_canceled, by statement_timeout
    "57P01": AWAY,  # admin_shutdown
    "57P02": AWAY,  # crash_shutdown
    "57P03": AWAY,  # cannot_connect_now
    "58030": AWAY,  # io_error
    "25006": AWAY,  # read_only_sql_transaction
    "25P04": AWAY,  # transaction_timeout
    "25P03": AWAY,  # idle_in_transaction_session_timeout
    "25P02": BROKEN,  # in_failed_sql_transaction
    "26000": errors.PoolerRefused,  # invalid_sql_statement_name
    "42P05": errors.PoolerRefused,  # duplicate_prepared_statement
    "28P01": BROKEN,  # invalid_password
    "3D000": BROKEN,  # invalid_catalog_name
    "3F000": BROKEN,  # invalid_schema_name
    "42501": BROKEN,  # insufficient_privilege
    "42703": BROKEN,  # undefined_column
    "42P01": BROKEN,  # undefined_table
    "42804": BROKEN,  # datatype_mismatch
    "54011": BROKEN,  # too_many_columns
    "55000": BROKEN,  # object_not_in_prerequisite_state
    "P0000": BROKEN,  # plpgsql_error
    "XX000": BROKEN,  # internal_error
    "XX001": BROKEN,  # data_corrupted
}


@pytest.mark.parametrize(("sqlstate", "meaning"), MEANINGS.items())
def test_the_server_is_understood_by_its_sqlstate(
    services: Services, sqlstate: str, meaning: type[errors.SinergiError]
) -> None:
    statement = (
        "DO $$ BEGIN RAISE EXCEPTION USING"
        f" ERRCODE = '{sqlstate}', MESSAGE = '{SECRET}', DETAIL = '{SECRET}', HINT = '{SECRET}';"
        " END $$"
    )
    with (
        closing(Database(services.postgresql, "test")) as database,
        pytest.raises(meaning) as caught,
        database.serving() as connection,
    ):
        connection.execute(statement)
    assert sqlstate in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (psycopg.OperationalError("the connection is lost"), AWAY),
        (psycopg.InterfaceError("the connection is closed"), AWAY),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), REFUSED),
        (psycopg.ProgrammingError("no such placeholder"), BROKEN),
        (psycopg.NotSupportedError("not in this version"), BROKEN),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else each.__name__,
)
def test_an_error_without_sqlstate_is_a_connection_unless_the_driver_refused_a_value(
    error: psycopg.Error, meaning: type[errors.SinergiError]
) -> None:
    assert isinstance(translate(error), meaning)


# Rows that the database refuses: they alone are set apart


def test_a_deferred_constraint_speaks_while_its_row_can_still_be_found(
    consumer: ConsumerDatabase,
) -> None:
    names = [f"Brimob {number}" for number in range(10)]
    names[7] = names[3]
    with consumer.working() as worker:
        worker.store(worker.work([escorted(f"P/{at}", name) for at, name in enumerate(names)]))
    assert consumer.quarantine() == [("escort_limits", 7, "rows-refused")]
    assert consumer.ask("SELECT count(*) FROM sinergi.escort_limits") == [(9,)]
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer") == [(10,)]


def test_a_trigger_that_says_no_sets_its_own_event_apart(consumer: ConsumerDatabase) -> None:
    consumer.do(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.escort_agency = 'Brimob 5' THEN"
        f" RAISE EXCEPTION 'not here: {SECRET}'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON sinergi.escort_limits"
        " FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    with consumer.working() as worker:
        worker.store(worker.work([escorted(f"P/{at}", f"Brimob {at}") for at in range(9)]))
    assert consumer.quarantine() == [("escort_limits", 5, "rows-refused")]
    ((detail,),) = consumer.ask("SELECT detail FROM sinergi_consumer.quarantine")
    assert "P0001" in detail
    assert SECRET not in detail


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("movement_id", "SP\0001"),  # U+0000, which PostgreSQL cannot store
        ("record_id", "P/\0"),
        ("movement_id", "SP/" + secrets.token_hex(8_000)),  # too long for an index on it
    ],
    ids=["nul-in-a-text", "nul-in-the-record-id", "text-too-long-for-an-index"],
)
def test_an_event_that_only_another_kind_of_producer_could_write_is_set_apart_alone(
    consumer: ConsumerDatabase, field: str, value: str
) -> None:
    consumer.do(
        "CREATE INDEX ON sinergi.transfer (movement_id)",
        "CREATE INDEX ON sinergi.transfer_history (movement_id)",
    )
    events = [transfer(f"P/{number}") for number in range(9)]
    datums = [hand_made(each, consumer.tape) for each in events]
    datums[4] = hand_made(events[4], consumer.tape, **{field: value})
    with consumer.working() as worker:
        assert isinstance(worker.store(worker.received(consumer.tape.write_datums(datums))), Stored)
    both = [(name, 4, "rows-refused") for name in ("transfer", "transfer_history")]
    assert [each for each in consumer.quarantine() if each[0] != "escort_limits"] == both
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer") == [(8,)]
    assert consumer.ask("SELECT min(tree_size) FROM sinergi_consumer.position") == [(9,)]
    for (detail,) in consumer.ask("SELECT detail FROM sinergi_consumer.quarantine"):
        assert value not in detail


def test_every_row_that_is_refused_for_itself_is_found_and_no_other(postgresql: str) -> None:
    """Also behind texts of many lines, side by side, at both ends, and in a child table."""
    consumer = ConsumerDatabase(postgresql, (CURRENT,))
    consumer.do("ALTER TABLE sinergi.transfer ADD CHECK (movement_id <> 'not here')")
    changes: list[dict[str, Any]] = [
        {"movement_id": 'a\n"b"\r\n,\n' if number % 3 else "plain"} for number in range(1_200)
    ]
    guilty = (0, 499, 500, 501, 502, 777, 1_198, 1_199)
    for number in guilty[::2]:
        changes[number] = {"movement_id": "two\nlines and\0"}
    for number in guilty[1::2]:
        changes[number] = {"movement_id": "not here"}
    changes[640] = {"escort": [{"escort_agency": "\n\0", "count": 1}] * 2}
    datums = [
        hand_made(transfer(f"P/{at}"), consumer.tape, **each) for at, each in enumerate(changes)
    ]
    with consumer.working() as worker:
        work = worker.received(consumer.tape.write_datums(datums))
        with worker.sink.transaction() as transaction:
            found = transaction.find_refused(CURRENT, CURRENT.rows(events_of(work)))
        assert sorted(found) == sorted([*guilty, 640])
        codes = {index: why.sqlstate for index, why in found.items()}
        assert {codes[each] for each in (*guilty[::2], 640)} == {"22021"}
        assert {codes[each] for each in guilty[1::2]} == {"23514"}
        assert isinstance(worker.store(work), Stored)
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer") == [(1_200 - len(guilty) - 1,)]
    held = [index for _, index, _ in consumer.quarantine()]
    assert held == sorted([*guilty, 640])


def escorted(record_id: str, by: str) -> Transfer:
    return transfer(record_id, escort=({"escort_agency": by, "count": 1},))


def hand_made(event: Transfer, tape: Tape, **changes: Any) -> tuple[Any, str, bytes]:
    """An event that no model has checked, as `Tape.write_datums` takes it."""
    document = tape.issued(event).model_dump() | changes
    datum = codec.encode_document(document, tape.schema)
    return event.event_id, document["record_id"], datum


# A database that does not serve: it is waited for, and nothing is quarantined


# What the log then says, what makes the database so, and what mends it; both for new sessions.
SICK = {
    "too many connections": (
        "ALTER DATABASE {name} CONNECTION LIMIT 0",
        "ALTER DATABASE {name} CONNECTION LIMIT -1",
    ),
    "57014": (  # query_canceled
        (
            "CREATE FUNCTION cancel() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION USING ERRCODE = 'query_canceled'; END $$;"
            " CREATE TRIGGER cancel BEFORE INSERT ON sinergi.transfer"
            " FOR EACH ROW EXECUTE FUNCTION cancel()"
        ),
        "DROP TRIGGER cancel ON sinergi.transfer",
    ),
    "53100": (  # disk_full
        (
            "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION USING ERRCODE = 'disk_full'; END $$;"
            " CREATE TRIGGER fill BEFORE INSERT ON sinergi.transfer"
            " FOR EACH ROW EXECUTE FUNCTION fill()"
        ),
        "DROP TRIGGER fill ON sinergi.transfer",
    ),
}


@pytest.mark.parametrize(("said", "sick", "mended"), [(k, *v) for k, v in SICK.items()])
def test_a_sick_database_is_waited_for(
    consumer: ConsumerDatabase, said: str, sick: str, mended: str
) -> None:
    url = sa.engine.make_url(consumer.url)
    with clerk_of(consumer.owner) as clerk:
        names = {"name": url.database, "clerk": clerk}
        own = url.set(username=clerk, password=clerk).render_as_string(hide_password=False)
        with consumer.working(own) as worker:
            worker.store(worker.work([escorted("P/1", "P/1")]))
            work = worker.work([escorted("P/2", "P/2")])
            consumer.do(sick.format(**names), OFF)
            with stored_meanwhile(worker, work) as retried:
                try:
                    retried(said)
                finally:
                    consumer.do(mended.format(**names), OFF)
    assert consumer.ask("SELECT record_id FROM sinergi.transfer ORDER BY 1") == [("P/1",), ("P/2",)]
    assert consumer.quarantine() == []


def test_a_disk_that_fills_while_rows_are_set_apart_sets_none_of_the_others_apart(
    consumer: ConsumerDatabase,
) -> None:
    sick, mended = SICK["53100"]
    events = [transfer(f"P/{number}") for number in range(9)]
    datums = [hand_made(each, consumer.tape) for each in events]
    datums[4] = hand_made(events[4], consumer.tape, movement_id="SP\0001")
    with consumer.working() as worker:
        work = worker.received(consumer.tape.write_datums(datums))
        consumer.do(sick)
        with stored_meanwhile(worker, work) as retried:
            retried("53100")
            assert consumer.quarantine() == []
            consumer.do(mended)
    both = [(name, 4, "rows-refused") for name in ("transfer", "transfer_history")]
    assert [each for each in consumer.quarantine() if each[0] != "escort_limits"] == both
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer") == [(8,)]


def test_connections_that_are_cut_lose_nothing(consumer: ConsumerDatabase) -> None:
    with consumer.working() as worker:
        for number in range(3):
            worker.store(worker.work([escorted(f"P/{number}", f"P/{number}")]))
            consumer.do(OFF)
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [(3,)]
    assert consumer.quarantine() == []


def test_a_host_that_vanishes_without_a_word_is_given_up_within_half_a_minute(
    postgresql: str,
) -> None:
    with closing(Database(postgresql, "test")) as database, database.serving() as connection:
        mine = os.dup(connection.fileno())
        with socket.socket(fileno=mine) as tcp:
            assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle, interval, count, unheard = (
                tcp.getsockopt(socket.IPPROTO_TCP, each)
                for each in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
    assert idle + interval * count <= 30
    assert unheard <= 30_000


def test_a_row_held_longer_than_our_patience_is_waited_for(
    consumer: ConsumerDatabase,
) -> None:
    with consumer.working() as worker:
        worker.store(worker.work([escorted("P/1", "P/1")]))
        work = worker.work([escorted("P/2", "P/2")])
        engine = sa.create_engine(consumer.url, poolclass=sa.NullPool)
        holder = engine.connect()
        holder.execute(sa.text("SELECT * FROM sinergi_consumer.position FOR UPDATE"))
        with stored_meanwhile(worker, work) as retried, holder:
            retried("55P03")
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer") == [(2,)]
    assert consumer.quarantine() == []


def test_a_transaction_that_stood_still_too_long_is_begun_again(
    consumer: ConsumerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after SIGSTOP: the server has given up the rows that it held."""
    with consumer.working() as worker:
        database = worker.sink._database  # type: ignore[attr-defined]
        work = worker.work([escorted("P/1", "P/1")])
        stood: list[int] = []
        merge = ESCORTS.rows

        def rows(events: pl.DataFrame) -> Any:
            if not stood:
                stood.append(1)
                own = "application_name = 'sinergi materialise' AND datname = current_database()"
                until(
                    lambda: not consumer.ask(f"SELECT 1 FROM pg_stat_activity WHERE {own}"), "cut"
                )
                # Only the first attempt stands still: a slow machine pauses for 50 ms by itself.
                monkeypatch.setattr(database, "_timeouts", DEFAULT.database)
            return merge(events)

        slow = replace(ESCORTS, rows=rows)
        delayed = Worker(worker.sink, consumer.tape, (CURRENT, HISTORY, slow))
        monkeypatch.setattr(
            database, "_timeouts", DEFAULT.database.model_copy(update={"idle": 0.05})
        )
        again = [ClaimedBatch(delayed.claim, each.batch) for each in work.claimed]
        assert isinstance(delayed.store(replace(work, claimed=again)), Stored)
    assert stood
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [(1,)]
    assert consumer.quarantine() == []


# Everybody else's connections to this database, ours excepted
OFF = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@contextmanager
def stored_meanwhile(worker: Worker, work: ReadyBatches) -> Iterator[Callable[[str], None]]:
    """Store on a thread while the block lasts; what it hands out waits for a retry's reason."""
    with capture_logs() as logs, ThreadPoolExecutor(1) as thread:
        done = thread.submit(worker.store, work)
        yield lambda sqlstate: until(
            lambda: any(sqlstate in str(each) for each in list(logs)),
            f"a second attempt after {sqlstate}",
        )
        assert isinstance(done.result(), Stored)


# A database that lacks something: the worker ends, and says what


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.fixture
def clerk(pair: AgencyPair) -> Iterator[str]:
    """The URL of the reader's database for a user who may do what a materialiser must."""
    with clerk_of(pair.consumer) as name:
        url = sa.engine.make_url(pair.consumer_url).set(username=name, password=name)
        yield url.render_as_string(hide_password=False)


@contextmanager
def clerk_of(engine: sa.Engine) -> Iterator[str]:
    """A user, and its password of the same name, with the rights of a materialiser."""
    name = f"clerk_{secrets.token_hex(4)}"
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'"))
        for schema in ("sinergi", "sinergi_consumer"):
            connection.execute(sa.text(f"GRANT USAGE ON SCHEMA {schema} TO {name}"))
            rights = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA"
            connection.execute(sa.text(f"GRANT {rights} {schema} TO {name}"))
    yield name
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {name}"))
        connection.execute(sa.text(f"DROP ROLE {name}"))


@pytest.mark.parametrize("missing", ["transfer_history", "transfer_escort"])
def test_a_missing_privilege_ends_the_worker_and_is_named(
    pair: AgencyPair, clerk: str, missing: str
) -> None:
    user = sa.engine.make_url(clerk).username
    with pair.consumer.begin() as connection:
        connection.execute(sa.text(f"REVOKE INSERT ON sinergi.{missing} FROM {user}"))
    pair.consumer_url = clerk
    pair.publish(published("P/1"))
    with (
        pair.relaying(),
        pytest.raises(errors.GrantMissing, match=rf"lacks INSERT on sinergi\.{missing} "),
    ):
        pair.materialiser(Event()).run(Event())
    assert pair.count("sinergi.transfer") == 0
    assert pair.count("sinergi_consumer.quarantine") == 0


def test_a_user_with_the_rights_of_a_materialiser_needs_no_more(
    pair: AgencyPair, clerk: str
) -> None:
    pair.consumer_url = clerk
    pair.publish(*(published(f"P/{number}") for number in range(5)))
    pair.publish(published("P/1", "CORRECTED"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 6)
    assert pair.count("sinergi_consumer.quarantine") == 0


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        ("DROP TABLE sinergi.transfer_escort", "sinergi.transfer_escort"),
        ("ALTER TABLE sinergi.transfer DROP COLUMN movement_id", "sinergi.transfer.movement_id"),
        ("DROP TABLE sinergi_consumer.quarantine", "sinergi_consumer.quarantine"),
        ("DROP SCHEMA sinergi_consumer CASCADE", "sinergi_consumer.position"),
    ],
)
def test_a_missing_table_ends_the_worker_and_the_command_that_makes_it_is_named(
    pair: AgencyPair, loss: str, named: str
) -> None:
    with pair.consumer.begin() as connection:
        connection.execute(sa.text(loss))
    with pytest.raises(errors.TablesMissing) as caught:
        pair.materialiser(Event()).run(Event())
    assert named in str(caught.value)
    assert "sinergi db upgrade --role consumer" in str(caught.value)


def test_a_table_that_vanishes_while_it_is_filled_ends_the_worker_and_is_named(
    pair: AgencyPair,
) -> None:
    stopping = Event()
    pair.publish(published("P/1"))
    with pair.relaying(), ThreadPoolExecutor(1) as thread:
        done = thread.submit(pair.materialiser(stopping).run, stopping)
        pair.until_rows("sinergi.transfer", 1)
        with pair.consumer.begin() as connection:
            connection.execute(sa.text("DROP TABLE sinergi.transfer_escort"))
        pair.publish(published("P/2"))
        with pytest.raises(errors.DatabaseBroken, match=r"sinergi\.transfer_escort"):
            done.result(PATIENCE_SECONDS)
    assert pair.count("sinergi.transfer_history") == 1
    assert pair.count("sinergi_consumer.quarantine") == 0
