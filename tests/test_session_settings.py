"""Our transactions state every setting that they depend on, whatever the session inherits."""

from __future__ import annotations

import secrets
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo
from psycopg.pq import DiagnosticField

from agency_pair import AgencyPair, transfer
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.postgresql.engine import engine
from sinergi_schemas.timeouts import DatabaseTimeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Services

# What a transaction of ours finds, and what somebody has set instead.
STATED = {
    "statement_timeout": ("0", "'1h'"),
    "lock_timeout": ("2s", "0"),
    "idle_in_transaction_session_timeout": ("10s", "0"),
    "transaction_timeout": ("0", "'1h'"),
    "search_path": ("pg_catalog, pg_temp", "public, pg_catalog"),
    "client_encoding": ("UTF8", "'WIN1252'"),
    "datestyle": ("ISO, YMD", "'German, DMY'"),
    "intervalstyle": ("postgres", "'iso_8601'"),
    "timezone": ("UTC", "'Asia/Jakarta'"),
    "standard_conforming_strings": ("on", "off"),
    "escape_string_warning": ("on", "off"),
    "backslash_quote": ("safe_encoding", "on"),
    "array_nulls": ("on", "off"),
    "bytea_output": ("hex", "'escape'"),
    "extra_float_digits": ("1", "-15"),
    "xmloption": ("content", "document"),
    "xmlbinary": ("base64", "hex"),
    "row_security": ("off", "on"),
    "transform_null_equals": ("off", "on"),
    "exit_on_error": ("off", "on"),
    "check_function_bodies": ("on", "off"),
    "synchronous_commit": ("on", "off"),
    "transaction_isolation": ("read committed", None),
    "transaction_read_only": ("off", None),
    "transaction_deferrable": ("off", None),
    # By these a transaction comes to the three above.
    "default_transaction_isolation": (None, "'serializable'"),
    "default_transaction_read_only": (None, "on"),
    "default_transaction_deferrable": (None, "on"),
    # Long enough for a command of its own on a busy machine, between two statements.
    "idle_session_timeout": (None, "'5s'"),
}
FOUND = {name: found for name, (found, _) in STATED.items() if found is not None}
OTHERWISE = {name: other for name, (_, other) in STATED.items() if other is not None}


def admin(url: str) -> psycopg.Connection:
    return psycopg.connect(conninfo(url), autocommit=True)


def settings_of(connection: psycopg.Connection) -> dict[str, str]:
    names = "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name"
    return dict(connection.execute(names, [[*FOUND]]).fetchall())


def set_on_the_database(url: str) -> str:
    """Everything set otherwise for a database, and so for whoever connects to it."""
    with admin(url) as connection:
        name = connection.info.dbname
        for setting, value in OTHERWISE.items():
            connection.execute(f"ALTER DATABASE {name} SET {setting} = {value}".encode())
    return url


@pytest.fixture
def role(services: Services) -> Iterator[str]:
    """A superuser's role of its own with everything set otherwise."""
    name = f"role_{secrets.token_hex(4)}"
    with admin(services.postgresql) as connection:
        connection.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{name}'".encode())
        for setting, value in OTHERWISE.items():
            connection.execute(f"ALTER ROLE {name} SET {setting} = {value}".encode())
        yield name
        connection.execute(f"DROP ROLE {name}".encode())


def as_role(url: str, role: str) -> str:
    return make_conninfo(conninfo(url), user=role, password=role)


def set_in_the_url(url: str, *settings: str) -> str:
    """Settings set otherwise by the options of the address; without names, all of them."""
    parts = [
        f"-c {name}={OTHERWISE[name].strip(chr(39)).replace(' ', chr(92) + ' ')}"
        for name in settings or OTHERWISE
    ]
    return make_conninfo(conninfo(url), options=" ".join(parts), client_encoding="latin1")


@pytest.mark.parametrize("where", ["database", "role", "url"])
def test_every_setting_is_ours_in_every_transaction_whoever_set_it_otherwise(
    postgresql: str, role: str, where: str
) -> None:
    url = {
        "database": lambda: set_on_the_database(postgresql),
        "role": lambda: as_role(postgresql, role),
        "url": lambda: set_in_the_url(postgresql),
    }[where]()
    with psycopg.connect(conninfo(url)) as other:
        assert {
            name: value for name, value in settings_of(other).items() if value == FOUND[name]
        } == {}
    with closing(Database(url, "a test")) as database:
        for _ in range(2):
            with database.serving() as connection:
                assert settings_of(connection) == FOUND
        with database.reading() as connection:
            reading = {"transaction_isolation": "repeatable read", "transaction_read_only": "on"}
            assert settings_of(connection) == FOUND | reading
    with engine(url, "a test") as opened:
        patient = {"lock_timeout": "30s", "idle_in_transaction_session_timeout": "1min"}
        for _ in range(2):
            with opened.begin() as begun:
                own = begun.connection.driver_connection
                assert isinstance(own, psycopg.Connection)
                assert settings_of(own) == FOUND | patient


def test_the_durations_of_a_process_are_those_of_its_transactions(services: Services) -> None:
    timeouts = DatabaseTimeouts(lock=0.25, idle=90.0)
    with (
        closing(Database(services.postgresql, "a test", timeouts)) as database,
        database.serving() as connection,
    ):
        own = {"lock_timeout": "250ms", "idle_in_transaction_session_timeout": "90s"}
        assert settings_of(connection) == FOUND | own


@pytest.mark.parametrize("setting", OTHERWISE)
def test_a_setting_holds_though_it_alone_is_set_otherwise(services: Services, setting: str) -> None:
    url = set_in_the_url(services.postgresql, setting)
    with closing(Database(url, "a test")) as database, database.serving() as connection:
        assert settings_of(connection) == FOUND


def test_a_setting_holds_though_the_environment_of_the_process_sets_it_otherwise(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGOPTIONS": "-c search_path=public -c statement_timeout=1h",
        "PGCLIENTENCODING": "LATIN1",
        "PGDATESTYLE": "German",
        "PGTZ": "Asia/Jakarta",
    }.items():
        monkeypatch.setenv(name, value)
    with closing(Database(services.postgresql, "a test")) as database, database.serving() as own:
        assert settings_of(own) == FOUND


def test_a_commit_that_waits_for_more_than_the_disk_stays_so(services: Services) -> None:
    for found, kept in (("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")):
        url = make_conninfo(conninfo(services.postgresql), options=f"-c synchronous_commit={found}")
        with closing(Database(url, "a test")) as database, database.serving() as connection:
            assert settings_of(connection)["synchronous_commit"] == kept


def test_what_is_stated_ends_with_its_transaction(postgresql: str) -> None:
    with closing(Database(set_on_the_database(postgresql), "a test")) as database:
        with database.serving() as connection:
            own = connection
        before = settings_of(own)
        for name, value in before.items():
            assert value != FOUND[name], name
        with pytest.raises(errors.DatabaseBroken), database.serving() as connection:
            connection.execute("SELECT nothing")
        assert settings_of(own) == before


def test_a_connection_that_was_cut_while_it_was_idle_is_replaced_without_a_word(
    postgresql: str,
) -> None:
    with closing(Database(postgresql, "a test")) as database:
        with database.serving() as connection:
            pid = connection.info.backend_pid
        with admin(postgresql) as other:
            assert other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone() == (
                True,
            )
        with database.serving() as connection:
            assert connection.info.backend_pid != pid


# A whole bus on databases whose settings are all others


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.mark.parametrize("where", ["database", "role"])
def test_events_arrive_though_every_setting_of_the_databases_is_another(
    pair: AgencyPair, role: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names of every script, through publishing, relay, materialiser, status and the lists."""
    names = ["Đỗ Thị Bưởi", "Ārija €", "ꦱꦩꦺꦠ꧀", "\\x41 'a' \\", "NULL", "😀"]
    pair.publish(*(transfer(f"P/{at}", reason_as_written=name) for at, name in enumerate(names)))
    urls = (pair.producer_url, pair.consumer_url)
    usual = {"client_encoding": "utf8"}
    pair.consumer = sa.create_engine(urls[1], poolclass=sa.NullPool, connect_args=usual)
    if where == "database":
        pair.producer_url, pair.consumer_url = map(set_on_the_database, urls)
    else:
        pair.producer_url, pair.consumer_url = (as_role(each, role) for each in urls)
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", len(names))
    found = dict(pair.ask("SELECT record_id, reason_as_written FROM sinergi.transfer"))
    assert found == {f"P/{at}": name for at, name in enumerate(names)}
    assert pair.count("sinergi_consumer.quarantine") == 0
    for settings, command in (
        (pair.agency_settings, ["status", "--json"]),
        (pair.agency_settings, ["outbox", "list", "--json"]),
        (pair.reader_settings, ["quarantine", "list", "--json"]),
    ):
        assert run(["--config", str(settings), *command]) in (0, 1), command
        assert '"' in capsys.readouterr().out


# Databases that cannot hold every name


@pytest.fixture
def foreign(services: Services) -> Iterator[Callable[[str], str]]:
    """Makes databases of other encodings."""
    with ExitStack() as stack, admin(services.postgresql) as server:

        def make(encoding: str) -> str:
            name = f"foreign_{secrets.token_hex(4)}"
            server.execute(
                f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
                " LOCALE_PROVIDER libc LOCALE 'C'".encode()
            )
            stack.callback(server.execute, f"DROP DATABASE {name} WITH (FORCE)".encode())
            return (
                sa.make_url(services.postgresql)
                .set(database=name)
                .render_as_string(hide_password=False)
            )

        yield make
        stack.close()


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1252", "SQL_ASCII", "EUC_JP", "MULE_INTERNAL"])
def test_a_database_of_another_encoding_is_refused_by_name(
    foreign: Callable[[str], str], encoding: str
) -> None:
    url = foreign(encoding)
    with (
        closing(Database(url, "a test")) as database,
        pytest.raises(errors.EncodingRefused, match=f"foreign_.* {encoding}.*ENCODING 'UTF8'"),
        database.serving(),
    ):
        pass
    for role in migrate.Role:
        with pytest.raises(errors.EncodingRefused, match=encoding):
            migrate.upgrade(url, role)
        with admin(url) as connection:
            refused = connection.pgconn.exec_(migrate.script(role).encode())
            assert refused.error_field(DiagnosticField.SQLSTATE) == b"0A000"


def test_every_command_refuses_a_database_of_another_encoding_in_one_line(
    pair: AgencyPair, foreign: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    pair.producer_url = pair.consumer_url = foreign("LATIN1")
    refused = [
        (pair.agency_settings, ["relay"]),
        (pair.agency_settings, ["outbox", "list"]),
        (pair.agency_settings, ["db", "upgrade", "--role", "producer"]),
        (pair.reader_settings, ["db", "upgrade", "--role", "consumer"]),
        (pair.reader_settings, ["materialise"]),
        (pair.reader_settings, ["quarantine", "list"]),
    ]
    for settings, command in refused:
        assert run(["--config", str(settings), *command]) == 2, command
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "keeps text as LATIN1" in said, command
    assert run(["--config", str(pair.reader_settings), "status"]) == 2
    assert "LATIN1" in capsys.readouterr().out
