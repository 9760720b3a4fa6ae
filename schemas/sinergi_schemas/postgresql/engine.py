"""An SQLAlchemy engine whose transactions state the same settings as all of ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from sinergi_schemas.postgresql import session
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.postgresql.connection import open_connection
from sinergi_schemas.timeouts import DatabaseTimeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

# A person waits for the command, and transactions of others may hold a lock for longer than a
# running process would wait.
_TIMEOUTS = DatabaseTimeouts(lock=30.0, idle=60.0)


@contextmanager
def engine(url: str, application: str) -> Iterator[sa.Engine]:
    """An engine with one connection, closed at the end of the block.

    Args:
        url: where the database is; see `sinergi_schemas.postgresql.address`.
        application: our name in `pg_stat_activity`.

    Raises:
        EncodingRefused: while it is used: the database cannot hold every text.
    """
    address = conninfo(url)

    def connect() -> psycopg.Connection:
        """A connection that is in a transaction already: SQLAlchemy queries it before it begins
        one.
        """
        made = open_connection(address, application)
        made.autocommit = False
        made.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        made.read_only = made.deferrable = False
        made.execute(session.statements(made.info.server_version, _TIMEOUTS))
        return made

    found = sa.create_engine(
        "postgresql+psycopg://", creator=connect, pool_size=1, use_native_hstore=False
    )

    @sa.event.listens_for(found, "begin")
    def state(connection: sa.Connection) -> None:
        own = connection.connection.driver_connection
        assert isinstance(own, psycopg.Connection)
        own.execute(session.statements(own.info.server_version, _TIMEOUTS))

    try:
        yield found
    finally:
        found.dispose()
