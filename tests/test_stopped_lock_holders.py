"""A stopped process loses its database locks once another process has waited for them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy.engine import make_url

from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database, session
from sinergi_schemas.timeouts import DEFAULT, DatabaseTimeouts
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

APPLICATION = "sinergi relay"
IMPATIENT = DatabaseTimeouts(lock=1.0, stalled=0.5)
TAKE = "UPDATE sinergi_producer.lease SET epoch = epoch + 1"


@contextmanager
def stopped_in_a_copy(connection: psycopg.Connection) -> Iterator[None]:
    with connection.cursor().copy("COPY sinergi_producer.head FROM STDIN") as copy:
        connection.pgconn.flush()
        yield
        copy.write(b"")


@contextmanager
def stopped_in_a_pipeline(connection: psycopg.Connection) -> Iterator[None]:
    with connection.pipeline():
        connection.execute("SELECT 1")
        connection.pgconn.send_flush_request()
        connection.pgconn.flush()
        yield


@contextmanager
def holding(url: str, application: str) -> Iterator[psycopg.Connection]:
    """A session that holds what `TAKE` needs."""
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    opened = psycopg.connect(conninfo, application_name=application)
    opened.execute(session.statements(opened.info.server_version, DEFAULT.database))
    opened.execute("SELECT * FROM sinergi_producer.lease FOR UPDATE")
    try:
        yield opened
    finally:
        opened.close()


def is_taken(database: Database) -> bool:
    try:
        with database.serving() as connection:
            connection.execute(TAKE)
    except errors.DatabaseAway:
        return False
    return True


@pytest.mark.parametrize("stopped", [stopped_in_a_copy, stopped_in_a_pipeline])
def test_whoever_needs_its_lock_ends_the_session_of_a_process_that_stands_still(
    stopped: Callable[[psycopg.Connection], AbstractContextManager[None]], postgresql: str
) -> None:
    database = Database(postgresql, APPLICATION, IMPATIENT)
    with (
        pytest.raises(psycopg.OperationalError),
        holding(postgresql, APPLICATION) as holder,
        stopped(holder),
    ):
        until(lambda: is_taken(database), "the lock is given up")
    database.close()


def test_a_session_of_somebody_else_is_only_waited_for(postgresql: str) -> None:
    database = Database(postgresql, APPLICATION, IMPATIENT)
    with holding(postgresql, "the agency's own system") as holder, stopped_in_a_copy(holder):
        assert not is_taken(database)
        assert not is_taken(database)
    assert is_taken(database)
    database.close()


def test_who_holds_locks_is_named_and_the_address_is_not_blamed(postgresql: str) -> None:
    database = Database(postgresql, APPLICATION, IMPATIENT)
    with holding(postgresql, "the agency's own system") as holder:
        pid, role = holder.info.backend_pid, holder.info.user
        with pytest.raises(errors.LockHeld) as found, database.serving() as connection:
            connection.execute(TAKE)
    assert f"pid {pid} (role {role}, application the agency's own system)" in str(found.value)
    assert "address" not in str(found.value)
    assert f"SQLSTATE 55P03: locks here are held by pid {pid}" in found.value.why
