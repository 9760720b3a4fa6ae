"""A reader notices rows that its database has lost, and reads them again, also on a quiet topic."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psycopg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from agency_pair import AgencyPair, transfer
from chaos.services import Server, Starter, _state
from sinergi.local.postgresql import LocalPostgresql
from sinergi_consumers.materialise.position_check import PositionCheck
from sinergi_consumers.reading.position import Position
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import Services

TOPIC = Topic("lapas-rekaan", "transfer")
TP = TopicPartition(TOPIC.name, 0)


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


def test_a_database_that_is_restored_under_a_running_reader_is_filled_again_though_nothing_arrives(
    pair: AgencyPair, services: Services, databases: Callable[[], str]
) -> None:
    live, spare = (sa.make_url(each).database for each in (pair.consumer_url, databases()))
    with psycopg.connect(conninfo(services.postgresql), autocommit=True) as server:

        def do(*statements: str) -> None:
            for each in statements:
                server.execute(each.encode())

        cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{}'"
        with pair.relaying():
            with pair.materialising():
                pair.publish(*(transfer(f"P/{number}") for number in range(20)))
                pair.until_rows("sinergi.transfer_history", 20)
            do(f"DROP DATABASE {spare}", f"CREATE DATABASE {spare} TEMPLATE {live}")
            with pair.materialising():
                pair.publish(*(transfer(f"Q/{number}") for number in range(20)))
                pair.until_rows("sinergi.transfer_history", 40)
                # As an operator does: users out, the old one aside, the backup in its place.
                do(
                    f"ALTER DATABASE {live} ALLOW_CONNECTIONS false",
                    cut.format(live),
                    f"ALTER DATABASE {live} RENAME TO {live}_old",
                    f"ALTER DATABASE {spare} RENAME TO {live}",
                )
                assert pair.count("sinergi.transfer_history") == 20
                pair.until_rows("sinergi.transfer_history", 40)
        do(
            f"ALTER DATABASE {live}_old ALLOW_CONNECTIONS true",
            f"ALTER DATABASE {live}_old RENAME TO {spare}",
        )
    assert pair.count("sinergi_consumer.halt") == pair.count("sinergi_consumer.quarantine") == 0


# What is found, and what it means


@dataclass
class Clock:
    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class FakeSink:
    rows: dict[tuple[str, str, int], tuple[int, int]] | None

    def progress(self, topics: Sequence[str]) -> dict[tuple[str, str, int], tuple[int, int]]:
        assert topics == [TOPIC.name]
        if self.rows is None:
            raise errors.DatabaseAway("none")
        return self.rows


@dataclass
class FakeClaim:
    positions: dict[str, Position]


def at(size: int, epoch: int) -> Position:
    frontier = Frontier.parse(size, bytes(32 * size.bit_count()))
    return Position(frontier, epoch, None, None)


CURRENT, HISTORY = ("transfer", TOPIC.name, 0), ("transfer_history", TOPIC.name, 0)


@pytest.mark.parametrize(
    ("rows", "lost", "said"),
    [
        ({CURRENT: (5, 2), HISTORY: (7, 2)}, None, False),
        ({CURRENT: (5, 2), HISTORY: (6, 2)}, "transfer_history", True),
        ({CURRENT: (5, 2), HISTORY: (7, 1)}, "transfer_history", False),
        ({CURRENT: (5, 2), HISTORY: (9, 3)}, "transfer_history", False),
        ({CURRENT: (5, 2)}, "transfer_history", True),
        ({}, "transfer", True),
    ],
    ids=["kept", "went back", "older epoch", "another worker", "row gone", "all rows gone"],
)
def test_a_position_that_is_another_one_is_lost_and_rows_that_went_back_are_told(
    rows: dict[tuple[str, str, int], tuple[int, int]], lost: str | None, *, said: bool
) -> None:
    clock = Clock()
    check = PositionCheck(cast("Any", FakeSink(rows)), cast("Any", clock))
    claims = cast("Any", {TP: FakeClaim({"transfer": at(5, 2), "transfer_history": at(7, 2)})})
    assert check.lost(claims) == []  # not yet
    clock.seconds = 5.0
    with capture_logs() as logs:
        found = check.lost(claims)
    assert [each.projection for each in found] == ([] if lost is None else [lost])
    assert bool(logs) is said
    assert check.lost(claims) == []  # not again at once
    assert check.lost({}) == []


def test_a_database_that_is_away_is_looked_at_again_after_the_usual_time() -> None:
    clock, sink = Clock(), FakeSink(None)
    check = PositionCheck(cast("Any", sink), cast("Any", clock))
    claims = cast("Any", {TP: FakeClaim({"transfer": at(5, 2)})})
    clock.seconds = 5.0
    with pytest.raises(errors.DatabaseAway):
        check.lost(claims)
    sink.rows = {}
    assert check.lost(claims) == []
    clock.seconds = 10.0
    assert len(check.lost(claims)) == 1


# A server that commits before anything is on its disk


def test_what_we_commit_outlives_a_crash_of_a_server_that_commits_asynchronously() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="crash-", ignore_cleanup_errors=True) as name,
        closing(Starter()) as starter,
    ):
        server = Server(service := LocalPostgresql(*_state(Path(name) / "server")), starter)
        server.start()
        try:
            url = service.database("agency")
            with service.connect() as admin:
                admin.execute("ALTER SYSTEM SET synchronous_commit = off")
                admin.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
                admin.execute("SELECT pg_reload_conf()")
            with closing(Database(url, "a test")) as database:
                for statement in (
                    "CREATE SCHEMA kept",
                    "CREATE TABLE kept.row (number integer)",
                    "INSERT INTO kept.row VALUES (1)",
                ):
                    with database.serving() as connection:
                        connection.execute(statement.encode())
                server.crash()
                server.start()
                with database.serving() as connection:
                    assert connection.execute("SELECT number FROM kept.row").fetchone() == (1,)
                    assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        finally:
            server.stop()
