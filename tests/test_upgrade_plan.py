"""`sinergi db upgrade --plan` prints the SQL that a database needs, and only reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic import command

from sinergi import migrate
from sinergi.cli.root import run
from sinergi_schemas.postgresql.engine import engine
from test_db import as_flag, catalogue, conninfo, empty

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["empty"]

ROLES = pytest.mark.parametrize("role", ["producer", "consumer"])


def plan_of(role: str, url: str) -> list[str]:
    return ["db", "upgrade", "--role", role, "--plan", *as_flag(url)]


def execute(url: str, statement: str) -> None:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        connection.execute(statement.encode())


def migrated(url: str, role: migrate.Role, revision: str) -> None:
    """Make the tables of a role as they were at an earlier migration."""
    with engine(conninfo(url), "test") as opened, opened.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {role.schema}")
        config = migrate._config(role)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@ROLES
def test_the_plan_for_an_empty_database_makes_the_tables_of_an_upgrade(
    empty: Callable[[], str], capsys: pytest.CaptureFixture[str], role: str
) -> None:
    by_plan, by_command = empty(), empty()
    assert run(["db", "upgrade", "--role", role, *as_flag(by_command)]) == 0
    capsys.readouterr()
    assert run(plan_of(role, by_plan)) == 1
    planned, said = capsys.readouterr()
    assert "nothing was done" in said
    assert catalogue(by_plan) == []
    execute(by_plan, planned)
    assert catalogue(by_plan) == catalogue(by_command)
    assert run(plan_of(role, by_plan)) == 0
    planned, said = capsys.readouterr()
    assert planned == ""
    assert "up to date" in said


@pytest.mark.parametrize(
    ("role", "revision"),
    [("producer", "0001"), ("producer", "0005"), ("consumer", "0001"), ("consumer", "0011")],
)
def test_the_plan_for_the_tables_of_an_earlier_release_has_only_later_migrations(
    empty: Callable[[], str], capsys: pytest.CaptureFixture[str], role: str, revision: str
) -> None:
    url, by_command = empty(), empty()
    migrated(url, migrate.Role(role), revision)
    assert run(["db", "upgrade", "--role", role, *as_flag(by_command)]) == 0
    capsys.readouterr()
    before = catalogue(url)
    assert run(plan_of(role, url)) == 1
    planned = capsys.readouterr().out
    assert catalogue(url) == before
    execute(url, planned)
    assert catalogue(url) == catalogue(by_command)
    assert run(plan_of(role, url)) == 0


MISSING = {
    "a column": ("consumer", "ALTER TABLE sinergi.transfer DROP COLUMN movement_id", "ADD"),
    "a table of a list": ("consumer", "DROP TABLE sinergi.seizure_exhibits", "CREATE TABLE"),
    "a registered column": ("consumer", "DELETE FROM sinergi_consumer.projection_column", "INSERT"),
    "a registered schema": ("producer", "DELETE FROM sinergi_producer.known_schema", "INSERT"),
}


@pytest.mark.parametrize(("role", "change", "planned"), MISSING.values(), ids=MISSING)
def test_the_plan_names_what_is_missing_and_an_upgrade_then_leaves_nothing_to_plan(
    empty: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
    role: str,
    change: str,
    planned: str,
) -> None:
    url = empty()
    upgrade = ["db", "upgrade", "--role", role, *as_flag(url)]
    assert run(upgrade) == 0
    execute(url, change)
    capsys.readouterr()
    assert run(plan_of(role, url)) == 1
    assert planned in capsys.readouterr().out
    assert run(upgrade) == 0
    assert run(plan_of(role, url)) == 0


def test_a_column_of_another_type_is_said_although_no_upgrade_would_change_it(
    empty: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = empty()
    assert run(["db", "upgrade", "--role", "consumer", *as_flag(url)]) == 0
    execute(url, "ALTER TABLE sinergi.transfer ALTER COLUMN movement_id TYPE varchar(20)")
    capsys.readouterr()
    assert run(plan_of("consumer", url)) == 1
    planned, said = capsys.readouterr()
    assert planned == ""
    what = "sinergi.transfer.movement_id is character varying(20) and is declared text"
    assert f"{what}; an upgrade leaves it as it is\n" in said


@pytest.mark.parametrize("other", ["--sql", "--only-roles", "--partitioned"])
def test_a_plan_with_an_option_that_asks_for_something_else_is_refused(
    capsys: pytest.CaptureFixture[str], other: str
) -> None:
    assert run(["db", "upgrade", "--role", "consumer", "--plan", other]) == 2
    assert "--plan" in capsys.readouterr().err


@ROLES
@pytest.mark.parametrize("option", [[], ["--plan"]], ids=["upgrade", "plan"])
def test_tables_that_a_newer_version_has_migrated_are_refused_and_stay(
    empty: Callable[[], str], capsys: pytest.CaptureFixture[str], role: str, option: list[str]
) -> None:
    url = empty()
    upgrade = ["db", "upgrade", "--role", role, *as_flag(url)]
    assert run(upgrade) == 0
    execute(url, f"UPDATE sinergi_{role}.version SET version_num = '9999'")
    before = catalogue(url)
    capsys.readouterr()
    assert run([*upgrade, *option]) == 2
    planned, said = capsys.readouterr()
    assert (planned, said.count("\n")) == ("", 1)
    assert f"A newer version of Sinergi has migrated the tables of a {role}" in said
    assert "They are at 9999" in said
    assert catalogue(url) == before
