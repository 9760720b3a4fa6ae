"""Whoever makes our schemas before the upgrade does gets no outbox in them."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import psycopg
import pytest

from sinergi import migrate
from sinergi.cli.root import run
from sinergi_schemas import errors
from test_db import as_flag, conninfo, empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Services

__all__ = ["empty"]


@pytest.fixture
def stranger(services: Services) -> Iterator[str]:
    """A user who may make schemas. Ask for it first: a database of his is dropped before him."""
    name = f"stranger_{secrets.token_hex(4)}"
    with psycopg.connect(conninfo(services.postgresql), autocommit=True) as server:
        server.execute(f"CREATE ROLE {name}".encode())
    yield name
    with psycopg.connect(conninfo(services.postgresql), autocommit=True) as server:
        server.execute(f"DROP ROLE {name}".encode())


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        for each in statements:
            connection.execute(each.encode())


@pytest.mark.parametrize("role", migrate.Role)
def test_a_schema_that_somebody_else_has_made_before_is_refused_and_nothing_is_done(
    stranger: str, empty: Callable[[], str], role: migrate.Role
) -> None:
    """A superuser upgrades, to whom PostgreSQL refuses nothing there."""
    url = empty()
    schema = role.schemas[-1]
    execute(url, f"CREATE SCHEMA {schema} AUTHORIZATION {stranger}")
    why = f"the schema {schema} belongs to {stranger}, who may change and drop all that is in it"
    with pytest.raises(errors.SchemasRefused, match=why):
        migrate.upgrade(url, role)
    with (
        psycopg.connect(conninfo(url), autocommit=True) as dba,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match=why),
    ):
        dba.execute(migrate.script(role).encode())
    with psycopg.connect(conninfo(url)) as connection:
        tables = "SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text ~ '^sinergi'"
        assert connection.execute(tables).fetchall() == []
    execute(url, f"DROP SCHEMA {schema}")
    assert migrate.upgrade(url, role).foreign == []


def test_a_superuser_who_upgrades_the_tables_of_somebody_else_is_told_whose_they_are(
    stranger: str, empty: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """All may have been made by a stranger, also the table that says what was migrated."""
    url = empty()
    upgrade = ["db", "upgrade", "--role", "producer", *as_flag(url)]
    assert run(upgrade) == 0
    assert "belongs to" not in capsys.readouterr().err
    execute(url, f"ALTER SCHEMA sinergi_producer OWNER TO {stranger}")
    assert run(upgrade) == 0
    assert f"sinergi: the schema sinergi_producer belongs to {stranger}" in capsys.readouterr().err
