"""None of our processes runs objects that somebody has created in the schema `public`.

A role without special rights creates functions, operators, casts and types with the names of
PostgreSQL's own. Each one leaves a mark when it runs; all databases search `public` first.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa

from agency_pair import AgencyPair, transfer
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.projections.projection import projections_of
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.postgresql.address import conninfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Services

# Functions that are called in our SQL, by what they take and give. A planted one is chosen where
# its schema is looked at first, or where its types are nearer to those of the arguments.
_FUNCTIONS = {
    "convert_to": ("text, name", "bytea"),
    "length": ("bytea", "integer"),
    "count": ("boolean", "bigint"),
    "clock_timestamp": ("", "timestamptz"),
    "now": ("", "timestamptz"),
    "set_config": ("text, text, boolean", "text"),
    "current_setting": ("text", "text"),
    "to_regclass": ("text", "regclass"),
    "pg_get_serial_sequence": ("text, text", "text"),
    "pg_sequence_last_value": ("regclass", "bigint"),
    "pg_snapshot_xmin": ("pg_snapshot", "xid8"),
    "pg_current_xact_id": ("", "xid8"),
    "pg_current_snapshot": ("", "pg_snapshot"),
    "pg_backend_pid": ("", "integer"),
    "pg_terminate_backend": ("integer, bigint", "boolean"),
    "isfinite": ("timestamptz", "boolean"),
    "encode": ("bytea, text", "text"),
    "decode": ("text, text", "bytea"),
    "set_byte": ("bytea, integer, integer", "bytea"),
    "version": ("", "text"),
    "current_schema": ("", "name"),
    "unnest": ("text[]", "SETOF text"),
    "format_type": ("oid, integer", "text"),
    "obj_description": ("oid, name", "text"),
    "pg_table_is_visible": ("oid", "boolean"),
    "pg_get_expr": ("pg_node_tree, oid", "text"),
    "pg_get_indexdef": ("oid", "text"),
}
# Operators, also for pairs of types that PostgreSQL compares by a cast, which makes theirs nearer.
_OPERATORS = [
    (operator, left, right, given)
    for operator, given in (
        ("=", "boolean"),
        ("<>", "boolean"),
        ("<", "boolean"),
        ("<=", "boolean"),
        (">", "boolean"),
        (">=", "boolean"),
    )
    for left, right in (
        ("text", "text"),
        ("text", "varchar"),
        ("varchar", "varchar"),
        ("varchar", "text"),
        ("bigint", "bigint"),
        ("bigint", "integer"),
        ("integer", "integer"),
        ("integer", "bigint"),
        ("bytea", "bytea"),
        ("uuid", "uuid"),
        ("timestamptz", "timestamptz"),
        ("timestamptz", "timestamp"),
        ("name", "text"),
        ("name", "name"),
        ("oid", "oid"),
        ("boolean", "boolean"),
        ('"char"', '"char"'),
    )
] + [
    ("+", "bigint", "integer", "bigint"),
    ("+", "bigint", "bigint", "bigint"),
    ("+", "timestamptz", "interval", "timestamptz"),
    ("-", "bigint", "bigint", "bigint"),
    ("-", "bigint", "integer", "bigint"),
    ("-", "timestamptz", "interval", "timestamptz"),
    ("*", "double precision", "interval", "interval"),
    ("*", "numeric", "interval", "interval"),
    ("*", "integer", "interval", "interval"),
    ("||", "text", "text", "text"),
    ("||", "bytea", "bytea", "bytea"),
    ("||", "text", "bigint", "text"),
]
_TYPES = ("text", "bytea", "uuid", "int4", "int8", "bool", "timestamptz", "oid", "regclass", "name")
_RELATIONS = ("pg_class", "pg_type", "pg_attribute", "pg_namespace", "pg_stat_activity", "version")


@dataclass(frozen=True)
class FunctionHijacker:
    """Somebody who may create in `public`, and nothing more."""

    name: str

    def hijack(self, url: str) -> None:
        """Put everything into a database, and its `public` before all else for everybody."""
        with psycopg.connect(conninfo(url), autocommit=True) as owner:
            database = owner.info.dbname
            for statement in (
                f"GRANT CREATE, USAGE ON SCHEMA public TO {self.name}",
                "CREATE SCHEMA marks",
                "CREATE TABLE marks.run (what text, as_whom text DEFAULT session_user)",
                "GRANT USAGE ON SCHEMA marks TO PUBLIC",
                "GRANT INSERT ON marks.run TO PUBLIC",
                f"ALTER DATABASE {database} SET search_path = public, pg_catalog",
            ):
                owner.execute(statement.encode())
        with psycopg.connect(
            conninfo(url), autocommit=True, options="-c search_path=pg_catalog"
        ) as own:
            own.execute(f"SET SESSION AUTHORIZATION {self.name}".encode())
            for statement in self._statements():
                own.execute(statement.encode())

    def _statements(self) -> Iterator[str]:
        body = (
            "LANGUAGE plpgsql AS $$ BEGIN INSERT INTO marks.run (what) VALUES ({}); RETURN {};"
            " END $$"
        )
        for name, (takes, gives) in _FUNCTIONS.items():
            nothing = "" if gives.startswith("SETOF") else "NULL"
            made = body.format(f"'{name}'", nothing)
            yield f"CREATE FUNCTION public.{name}({takes}) RETURNS {gives} {made}"
        for number, (operator, left, right, gives) in enumerate(_OPERATORS):
            made = body.format(f"'{left} {operator} {right}'", "NULL")
            yield f"CREATE FUNCTION public.o{number}({left}, {right}) RETURNS {gives} {made}"
            yield (
                f"CREATE OPERATOR public.{operator} (FUNCTION = public.o{number},"
                f" LEFTARG = {left}, RIGHTARG = {right})"
            )
        for name in _TYPES:
            made = body.format(f"'domain {name}'", "true")
            yield f"CREATE FUNCTION public.is_{name}(pg_catalog.{name}) RETURNS boolean {made}"
            yield (
                f'CREATE DOMAIN public."{name}" AS pg_catalog.{name}'
                f" CHECK (public.is_{name}(VALUE))"
            )
        for name in _RELATIONS:
            made = body.format(f"'relation {name}'", "'x'")
            yield f"CREATE FUNCTION public.of_{name}() RETURNS pg_catalog.text {made}"
            yield f"CREATE VIEW public.{name} AS SELECT public.of_{name}() AS relname"
            yield f"GRANT SELECT ON public.{name} TO PUBLIC"
        # A cast of a type of one's own to one of PostgreSQL's, taken without being asked for.
        yield "CREATE TYPE public.own AS (what pg_catalog.text)"
        made = body.format("'cast'", "'x'")
        yield f"CREATE FUNCTION public.own_text(public.own) RETURNS pg_catalog.text {made}"
        yield (
            "CREATE CAST (public.own AS pg_catalog.text)"
            " WITH FUNCTION public.own_text(public.own) AS IMPLICIT"
        )


@pytest.fixture
def hijacker(services: Services) -> Iterator[FunctionHijacker]:
    made = FunctionHijacker(f"planter_{secrets.token_hex(4)}")
    with psycopg.connect(conninfo(services.postgresql), autocommit=True) as server:
        server.execute(f"CREATE ROLE {made.name}".encode())
    yield made
    with psycopg.connect(conninfo(services.postgresql), autocommit=True) as server:
        server.execute(f"DROP ROLE {made.name}".encode())


def marks(url: str) -> list[str]:
    """What has been run of all that was planted."""
    with psycopg.connect(conninfo(url), options="-c search_path=pg_catalog") as connection:
        return [what for (what,) in connection.execute("SELECT DISTINCT what FROM marks.run")]


@pytest.fixture
def empty(services: Services) -> Iterator[Callable[[], str]]:
    made: list[str] = []
    with psycopg.connect(conninfo(services.postgresql), autocommit=True) as server:

        def make() -> str:
            made.append(f"planted_{secrets.token_hex(6)}")
            server.execute(f"CREATE DATABASE {made[-1]}".encode())
            return (
                sa.make_url(services.postgresql)
                .set(database=made[-1])
                .render_as_string(hide_password=False)
            )

        yield make
        for name in made:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_what_is_planted_is_run_by_whoever_looks_at_public_first(
    hijacker: FunctionHijacker, empty: Callable[[], str]
) -> None:
    """Else the tests here would prove nothing."""
    url = empty()
    hijacker.hijack(url)
    with psycopg.connect(conninfo(url), autocommit=True) as victim:
        for question in (
            "SELECT convert_to('x'::pg_catalog.text, 'UTF8'::pg_catalog.name)",
            "SELECT 'x'::pg_catalog.text = 'y'::pg_catalog.text",
            "SELECT 'x'::text",
            "SELECT relname FROM pg_class",
            "SELECT pg_catalog.length(ROW('x')::public.own)",
        ):
            victim.execute(question.encode())
    assert {"convert_to", "text = text", "domain text", "relation pg_class"} <= set(marks(url))


@pytest.mark.parametrize("role", migrate.Role)
def test_migrations_run_nothing_that_somebody_planted(
    hijacker: FunctionHijacker, empty: Callable[[], str], role: migrate.Role
) -> None:
    by_command, by_hand = empty(), empty()
    projections = projections_of(Catalog.shipped(), ["transfer"])
    for url in (by_command, by_hand):
        hijacker.hijack(url)
    for _ in range(2):
        migrate.upgrade(by_command, role, projections if role is migrate.Role.CONSUMER else ())
    with psycopg.connect(conninfo(by_hand), autocommit=True) as dba:
        dba.execute(migrate.script(role).encode())
    assert (marks(by_command), marks(by_hand)) == ([], [])


def test_publish_relay_materialiser_and_the_commands_run_nothing_that_somebody_planted(
    hijacker: FunctionHijacker,
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    both = (pair.producer_url, pair.consumer_url)
    for url in both:
        hijacker.hijack(url)
    # The application's own session is its own to state; these are our processes.
    usual = {"options": "-c search_path=pg_catalog"}
    pair.producer, pair.consumer = (
        sa.create_engine(url, poolclass=sa.NullPool, connect_args=usual) for url in both
    )
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"P/{number}") for number in range(20)))
        pair.publish(transfer("P/1", "CORRECTED"), transfer("P/2", "RETRACTED"))
        pair.until_rows("sinergi.transfer_history", 22)
    for settings, command in (
        (pair.agency_settings, ["status"]),
        (pair.reader_settings, ["status"]),
        (pair.agency_settings, ["outbox", "list"]),
        (pair.agency_settings, ["outbox", "recover", "--apply"]),
        (pair.reader_settings, ["quarantine", "list"]),
        (pair.reader_settings, ["quarantine", "discard", "--state", "open", "--why", "a test"]),
    ):
        run(["--config", str(settings), *command])
        assert "Traceback" not in capsys.readouterr().err, command
    assert [marks(url) for url in both] == [[], []]


@pytest.mark.parametrize("role", migrate.Role)
def test_every_function_of_ours_pins_its_search_path(postgresql: str, role: migrate.Role) -> None:
    with psycopg.connect(conninfo(postgresql)) as connection:
        found = connection.execute(
            "SELECT p.oid::regprocedure::text, proconfig FROM pg_proc AS p"
            " WHERE pronamespace::regnamespace::text = %s",
            [role.schema],
        ).fetchall()
    pinned = "search_path=pg_catalog, pg_temp"
    assert [name for name, settings in found if pinned not in (settings or ())] == []
