"""The lease: one leader at a time; a leader whose lease has ended changes nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy.engine import make_url

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql.lease import Lease
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = "sinergi_producer.lease"


def lease(holder: str, seconds: float = 60.0) -> Lease:
    return Lease(TABLE, "relay", holder, seconds)


@pytest.fixture
def conninfo(postgresql: str) -> str:
    return make_url(postgresql).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def connection(conninfo: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(conninfo, autocommit=True) as opened:
        yield opened


def expire(connection: psycopg.Connection) -> None:
    connection.execute(f"UPDATE {TABLE} SET expires_at = clock_timestamp()")


def test_one_of_many_takes_a_free_lease(conninfo: str) -> None:
    def take(number: int) -> int | None:
        with psycopg.connect(conninfo, autocommit=True) as opened:
            return lease(f"holder {number}").take(opened)

    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(take, range(8)))
    assert sorted(taken, key=str) == [1, *[None] * 7]


def test_a_lease_is_free_again_when_it_is_released(connection: psycopg.Connection) -> None:
    first, second = lease("first"), lease("second")
    assert first.take(connection) == 1
    assert second.take(connection) is None
    first.release(connection, 1)
    assert second.take(connection) == 2


def test_a_lease_ends_by_itself_by_the_databases_clock(connection: psycopg.Connection) -> None:
    assert lease("first", seconds=0.2).take(connection) == 1
    end = SYSTEM.monotonic() + PATIENCE_SECONDS
    while (epoch := lease("second").take(connection)) is None:
        assert SYSTEM.monotonic() < end
    assert epoch == 2


def test_renewing_keeps_others_out(connection: psycopg.Connection) -> None:
    first = lease("first")
    assert first.take(connection) == 1
    expire(connection)
    first.renew(connection, 1)
    assert lease("second").take(connection) is None


def test_a_late_leader_is_told_that_it_leads_no_more(connection: psycopg.Connection) -> None:
    first, second = lease("first"), lease("second")
    assert first.take(connection) == 1
    expire(connection)
    assert second.take(connection) == 2
    with pytest.raises(errors.LeaseLost, match="epoch 1"):
        first.renew(connection, 1)
    first.release(connection, 1)
    assert lease("third").take(connection) is None


def test_its_own_holder_takes_it_again_at_once_under_a_new_epoch(
    connection: psycopg.Connection,
) -> None:
    first = lease("first")
    assert [first.take(connection), first.take(connection)] == [1, 2]
    with pytest.raises(errors.LeaseLost):
        first.renew(connection, 1)


def test_time_is_that_of_the_clock_and_not_of_the_transaction(
    connection: psycopg.Connection,
) -> None:
    first = lease("first", seconds=0.1)
    with connection.transaction():
        assert first.take(connection) == 1
        end = SYSTEM.monotonic() + PATIENCE_SECONDS
        while lease("second").take(connection) is None:
            assert SYSTEM.monotonic() < end
