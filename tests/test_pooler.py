"""Everything works behind a connection pooler in transaction mode, and leaves no session state."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from agency_pair import AgencyPair, transfer
from pooler import Pooler, pooling
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.testing.sinks import BUS, CURRENT, HISTORY, TOPIC, Worker
from sinergi_consumers.testing.sinks import transfer as at_revision
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.postgresql.engine import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SESSIONS = 4
PRODUCER = ("--role", "producer")

# What somebody who knows nothing of us has left in a session, some of it under our names.
LEFT = """
    SET search_path = public; SET statement_timeout = '1h'; SET bytea_output = 'escape';
    SET standard_conforming_strings = off; SET default_transaction_isolation = 'serializable';
    CREATE TEMPORARY TABLE IF NOT EXISTS incoming_transfer (nothing integer);
    CREATE TEMPORARY TABLE IF NOT EXISTS sinergi_winner (nothing integer);
    CREATE TEMPORARY TABLE IF NOT EXISTS pg_class (nothing integer);
    CREATE TEMPORARY TABLE IF NOT EXISTS "position" (nothing integer);
    DEALLOCATE ALL; PREPARE p AS SELECT 1;
"""
# What a session holds that outlasts a transaction.
HELD = """
    SELECT pg_catalog.pg_backend_pid(),
        (SELECT count(*) FROM pg_catalog.pg_prepared_statements),
        (SELECT array_agg(relname::text ORDER BY relname) FROM pg_catalog.pg_class
            WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND relkind = 'r'),
        (SELECT array_agg(name ORDER BY name) FROM pg_catalog.pg_settings WHERE source = 'session')
"""


def behind(pooler: Pooler, url: str) -> str:
    """The same database through a pooler."""
    return sa.make_url(url).set(port=pooler.port).render_as_string(hide_password=False)


@pytest.fixture
def pooled(postgresql: str) -> Iterator[Pooler]:
    with pooling(postgresql, SESSIONS) as pooler:
        yield pooler


def everywhere(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Do something in each session of a pooler; what it gives."""
    with psycopg.connect(conninfo(url), autocommit=True, prepare_threshold=None) as connection:
        found = []
        for _ in range(SESSIONS):
            cursor = connection.execute(statement.encode())
            found += cursor.fetchall() if cursor.description else []
        return sorted(found)


def test_each_transaction_is_in_another_session(pooled: Pooler, postgresql: str) -> None:
    """That is what the other tests here stand on."""
    url = behind(pooled, postgresql)
    pids = [pid for pid, *_ in everywhere(url, HELD)]
    assert len(set(pids)) == SESSIONS
    with closing(Database(url, "a test")) as database:
        found = []
        for _ in range(SESSIONS):
            with database.serving() as connection:
                found += [connection.execute(HELD).fetchone() for _ in range(2)]
    assert {each[0] for each in found if each} == set(pids)
    assert found[::2] == found[1::2]


def test_a_pooler_is_seen_and_so_is_its_absence(pooled: Pooler, postgresql: str) -> None:
    for url, is_pooled in ((postgresql, False), (behind(pooled, postgresql), True)):
        with closing(Database(url, "a test")) as database:
            with database.serving():
                pass
            assert database.is_pooled is is_pooled


@contextmanager
def poolers(pair: AgencyPair) -> Iterator[None]:
    """Everybody of a bus behind poolers, whose sessions are full of what others left there."""
    with (
        pooling(pair.producer_url, SESSIONS) as producers,
        pooling(pair.consumer_url, SESSIONS) as consumers,
    ):
        pair.producer_url = behind(producers, pair.producer_url)
        pair.consumer_url = behind(consumers, pair.consumer_url)
        for url in (pair.producer_url, pair.consumer_url):
            everywhere(url, LEFT)
        yield


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.mark.long
def test_publish_relay_materialise_and_the_commands_work_and_leave_nothing_in_a_session(
    pair: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    with poolers(pair):
        before = everywhere(pair.producer_url, HELD), everywhere(pair.consumer_url, HELD)
        own = {"prepare_threshold": None}
        pair.producer = sa.create_engine(
            pair.producer_url, poolclass=sa.NullPool, connect_args=own, use_native_hstore=False
        )
        migrate.upgrade(pair.consumer_url, migrate.Role.CONSUMER, pair.projections)
        assert run(["--config", str(pair.agency_settings), "db", "upgrade", *PRODUCER]) == 0
        with pair.relaying(), pair.materialising():
            for number in range(12):
                pair.publish(transfer(f"P/{number}"))
            pair.publish(*(transfer(f"Q/{number}") for number in range(200)))
            pair.publish(transfer("P/1", "CORRECTED"), transfer("P/2", "RETRACTED"))
            pair.until_rows("sinergi.transfer_history", 214)
            pair.until_rows("sinergi.transfer", 212)
        for settings, command in (
            (pair.agency_settings, ["status"]),
            (pair.reader_settings, ["status"]),
            (pair.agency_settings, ["outbox", "list"]),
            (pair.agency_settings, ["outbox", "recover"]),
            (pair.reader_settings, ["quarantine", "list"]),
        ):
            assert run(["--config", str(settings), *command]) in (0, 1), command
            assert "Traceback" not in capsys.readouterr().err
        after = everywhere(pair.producer_url, HELD), everywhere(pair.consumer_url, HELD)
        assert pair.count("sinergi_consumer.quarantine") == 0
    shed = {"incoming_transfer", "sinergi_winner"}
    for then, now in zip(before, after, strict=True):
        for (pid, prepared, tables, names), found in zip(then, now, strict=True):
            kept = [each for each in tables if each not in shed]
            assert found[:2] == (pid, prepared)
            assert set(kept) <= set(found[2]) <= set(tables)
            assert found[3] == names


@pytest.mark.long
def test_rows_are_set_apart_and_retried_behind_a_pooler(pooled: Pooler, postgresql: str) -> None:
    """With savepoints that are rolled back, and temporary tables made in each transaction."""
    site = sa.create_engine(postgresql, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    projections = (CURRENT, HISTORY)
    migrate.upgrade(postgresql, migrate.Role.CONSUMER, projections)
    with site.connect() as connection:
        connection.execute(
            sa.text("ALTER TABLE sinergi.transfer ADD CHECK (record_id NOT IN ('P/3', 'P/7'))")
        )
    tape = Tape(BUS, TOPIC)
    with closing(PostgresqlSink(behind(pooled, postgresql), projections)) as sink:
        worker = Worker(sink, tape, projections)
        for _ in range(3):
            events = [at_revision(f"P/{number}") for number in range(10)]
            assert isinstance(worker.store(worker.work(events)), Stored)
    with site.connect() as connection:
        found = connection.execute(
            sa.text("SELECT projection, leaf_index FROM sinergi_consumer.quarantine ORDER BY 2, 1")
        ).all()
        count = connection.execute(sa.text("SELECT count(*) FROM sinergi.transfer")).scalar()
    assert ("transfer", 3) in found
    assert ("transfer", 7) in found
    assert count == 8


def test_a_pooler_in_statement_mode_is_refused_at_the_start_by_every_command(
    pair: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        pooling(pair.producer_url, statements=True) as producers,
        pooling(pair.consumer_url, statements=True) as consumers,
    ):
        pair.producer_url = behind(producers, pair.producer_url)
        pair.consumer_url = behind(consumers, pair.consumer_url)
        for settings, command in (
            (pair.agency_settings, ["relay"]),
            (pair.agency_settings, ["outbox", "list"]),
            (pair.reader_settings, ["materialise"]),
            (pair.reader_settings, ["quarantine", "list"]),
        ):
            assert run(["--config", str(settings), *command]) == 2, command
            said = capsys.readouterr().err.strip().splitlines()[-1]
            assert "statement pooling mode" in said, command
            assert "pool_mode to transaction or session" in said, command


def test_options_that_a_pooler_does_not_take_are_named(pooled: Pooler, postgresql: str) -> None:
    url = make_conninfo(conninfo(behind(pooled, postgresql)), options="-c work_mem=8MB")
    with (
        closing(Database(url, "a test")) as database,
        pytest.raises(errors.PoolerRefused, match="parameter: options"),
        database.serving(),
    ):
        pass


def read_in_each_session(database: Database) -> None:
    for _ in range(2 * SESSIONS):
        with database.serving() as connection:
            assert connection.execute("SELECT 'é€'").fetchone() == ("é€",)


def test_a_pooler_that_does_not_report_a_sessions_settings_is_refused_and_nothing_is_read_wrongly(
    pooled: Pooler, postgresql: str
) -> None:
    """One session's client_encoding is another, and the client is told of it too late."""
    url = behind(pooled, postgresql)
    with psycopg.connect(conninfo(url), autocommit=True, prepare_threshold=None) as connection:
        connection.execute("SET client_encoding = 'LATIN1'")

    with (
        closing(Database(url, "a test")) as database,
        pytest.raises(errors.PoolerRefused, match="does not report client_encoding"),
    ):
        read_in_each_session(database)


def test_an_engine_of_ours_works_behind_a_pooler(pooled: Pooler, postgresql: str) -> None:
    with engine(behind(pooled, postgresql), "a test") as opened:
        for _ in range(SESSIONS + 2):
            with opened.begin() as connection:
                assert connection.exec_driver_sql("SHOW search_path").scalar() == (
                    "pg_catalog, pg_temp"
                )
    for _, prepared, tables, names in everywhere(behind(pooled, postgresql), HELD):
        assert (prepared, tables, names) == (0, None, None)
