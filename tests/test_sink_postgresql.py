"""The PostgreSQL sink keeps the promises of every sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from sinergi import migrate
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.testing.sinks import PROJECTIONS, SinkContract
from sinergi_consumers.testing.together import StoredTogetherContract
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi_consumers.sinks.protocol import Sink


@pytest.fixture(scope="module")
def plain(databases_of_module: Callable[[], str]) -> str:
    """The URL of a database with the tables, to be copied."""
    found = databases_of_module()
    migrate.upgrade(found, migrate.Role.CONSUMER, PROJECTIONS)
    return found


@pytest.fixture(scope="module")
def partitioned(databases_of_module: Callable[[], str]) -> str:
    """The same with a history that is partitioned."""
    found = databases_of_module()
    migrate.upgrade(found, migrate.Role.CONSUMER, PROJECTIONS)
    migrate.partition(found, PROJECTIONS, lambda _: None, is_wanted=True)
    return found


class TestPostgresql(SinkContract, StoredTogetherContract):
    """Run on a database of its own for each test."""

    @pytest.fixture
    def prepared(self, databases: Callable[..., str], plain: str) -> str:
        """The URL of a database with the tables."""
        return databases(plain)

    @pytest.fixture
    def open_sink(self, prepared: str) -> Iterator[Callable[[], Sink]]:
        opened: list[PostgresqlSink] = []

        def make() -> PostgresqlSink:
            opened.append(PostgresqlSink(prepared, PROJECTIONS))
            return opened[-1]

        yield make
        for each in opened:
            each.close()

    @pytest.fixture
    def rows(self, prepared: str) -> Callable[[str], list[tuple[Any, ...]]]:
        engine = sa.create_engine(prepared, poolclass=sa.NullPool)

        def ask(question: str) -> list[tuple[Any, ...]]:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(sa.text(question))]

        return ask


class TestPartitionedPostgresql(TestPostgresql):
    """The same with a history that is partitioned."""

    @pytest.fixture
    def prepared(self, databases: Callable[..., str], partitioned: str) -> str:
        return databases(partitioned)


def test_a_database_without_tables_is_told_apart_and_the_command_named(postgresql: str) -> None:
    sink = PostgresqlSink(postgresql, PROJECTIONS)
    with pytest.raises(errors.TablesMissing, match="sinergi db upgrade --role consumer"):
        sink.check()
    sink.close()


def test_upgrading_twice_changes_nothing(postgresql: str) -> None:
    assert migrate.upgrade(postgresql, migrate.Role.CONSUMER, PROJECTIONS).tables
    assert migrate.upgrade(postgresql, migrate.Role.CONSUMER, PROJECTIONS).tables == []


def test_a_column_that_a_newer_schema_brings_is_added_to_the_table(postgresql: str) -> None:
    migrate.upgrade(postgresql, migrate.Role.CONSUMER, PROJECTIONS)
    engine = sa.create_engine(postgresql, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sinergi.transfer DROP COLUMN movement_id"))
    done = migrate.upgrade(postgresql, migrate.Role.CONSUMER, PROJECTIONS).tables
    assert done[0] == "ALTER TABLE sinergi.transfer ADD movement_id TEXT"
    sink = PostgresqlSink(postgresql, PROJECTIONS)
    sink.check()
    sink.close()
