"""A PostgreSQL connection on which every transaction states its own settings.

All work is done in short transactions that depend on nothing of the session, so that it makes no
difference whether a connection pooler hands each of them to another one.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict

from sinergi_schemas import errors
from sinergi_schemas.postgresql import session
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.postgresql.faults import LOCKED, translate
from sinergi_schemas.postgresql.times import MomentLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = structlog.get_logger(__name__)

# The server's timeout for transactions that are idle only counts between statements. A process that
# was stopped in the midst of a COPY or of a pipeline leaves a session that waits for its client for
# ever, and no timeout of the server ends it: whoever cannot get a lock ends such sessions.
_STILL_SECONDS = 10.0
_END_STILL = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name = %s
    AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND wait_event = 'ClientRead'
    AND state_change < clock_timestamp() - %s * interval '1 second'
"""

_ENCODING = "UTF8"

# Where the address says nothing else. A host that vanishes without a word is given up within half a
# minute; the system's defaults are hours. A server that stands still while its system answers is
# waited for.
DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


class Database:
    """One connection to a database, opened when it is needed and again after it broke.

    It serves one thread at a time; another waits.

    Args:
        url: where it is; see `sinergi_schemas.postgresql.address`.
        application: our name in `pg_stat_activity`.
        row_security: whether policies of its tables may hide rows from us. Where they may not, a
            table with policies for our role is an error.
    """

    def __init__(self, url: str, application: str, *, row_security: bool = False) -> None:
        self._conninfo = conninfo(url)
        self._application = application
        self._row_security = row_security
        self._connection: psycopg.Connection | None = None
        self._is_pooled = False
        self._turn = RLock()

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler stands before the server, so that a session is ours for no longer than
        a transaction. Known once a transaction has begun.
        """
        return self._is_pooled

    @contextmanager
    def serving(self) -> Iterator[psycopg.Connection]:
        """A transaction: committed at the end of the block, rolled back where it raises.

        The driver's errors become ours.

        Raises:
            DatabaseAway: try again later.
            DatabaseBroken: a table, a column or a privilege is missing.
            RowsRefused: what was sent does not fit.
            EncodingRefused: the database cannot hold every text.
            PoolerRefused: the pooler before it does not give transactions.
        """
        with self._transaction(session.WRITING) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[psycopg.Connection]:
        """A transaction that sees one state of the database and changes nothing; on a standby too.

        Raises:
            DatabaseAway, DatabaseBroken, EncodingRefused, PoolerRefused: as `serving`.
        """
        with self._transaction(session.READING) as connection:
            yield connection

    def close(self) -> None:
        """Give the connection back; the next use opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[psycopg.Connection]:
        with self._turn:
            try:
                connection = self._begin(mode)
                try:
                    yield connection
                except BaseException:
                    _roll_back(connection)
                    raise
                connection.commit()
            except psycopg.Error as error:
                meant = translate(error)
                if isinstance(meant, errors.DatabaseAway):
                    self._give_up(meant)
                raise meant from None
            except errors.DatabaseAway as why:
                self._give_up(why)
                raise

    def _begin(self, mode: str) -> psycopg.Connection:
        """Begin a transaction, on another connection where ours broke while nobody used it."""
        is_new = self._connection is None
        connection = self._open()
        try:
            self._state(connection, mode)
        except psycopg.OperationalError:
            if is_new or not connection.closed:
                raise
            connection = self._open()
            self._state(connection, mode)
        return connection

    def _state(self, connection: psycopg.Connection, mode: str) -> None:
        version = connection.info.server_version
        connection.execute(session.begin(mode, version, row_security=self._row_security))
        for name, value in session.REPORTED.items():
            # The driver reads and writes values by what was reported last.
            if connection.pgconn.parameter_status(name) != value:
                connection.close()
                raise errors.PoolerRefused(f"it does not report {name.decode()} of the session")

    def _open(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = open_connection(self._conninfo, self._application)
            found = self._connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
            # A pooler hands out keys of its own for cancelling, since sessions change.
            self._is_pooled = found != (self._connection.info.backend_pid,)
        return self._connection

    def _give_up(self, why: errors.DatabaseAway) -> None:
        """Drop the connection; before that, where a lock was not to be had, who stands on it."""
        if why.sqlstate == LOCKED and self._connection is not None:
            try:
                self._state(self._connection, session.WRITING)
                ended = self._connection.execute(_END_STILL, (self._application, _STILL_SECONDS))
                count = ended.fetchone()
                self._connection.commit()
                if count and count[0]:
                    _log.warning("ended sessions that stood still", sessions=count[0])
            except psycopg.Error as error:
                _log.warning("sessions that stand still not looked for", why=error.sqlstate)
        self.close()


def open_connection(address: str, application: str) -> psycopg.Connection:
    """A connection in autocommit, to a database that can hold every text.

    Statements are never prepared: a pooler executes them in a session where they are not.

    Args:
        address: libpq's key/value pairs.
        application: our name in `pg_stat_activity`.

    Raises:
        EncodingRefused: the database's encoding is not UTF8.
        psycopg.Error: it does not serve us.
    """
    said = conninfo_to_dict(address)
    connection = psycopg.connect(
        address,
        autocommit=True,
        prepare_threshold=None,
        application_name=application,
        **{name: value for name, value in DEFAULTS.items() if name not in said},
    )
    connection.adapters.register_loader("timestamptz", MomentLoader)
    try:
        _check_encoding(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_encoding(connection: psycopg.Connection) -> None:
    # Asked of libpq: for some encodings Python has no codec, and the driver would say no more.
    pgconn = connection.pgconn
    encoding = (pgconn.parameter_status(b"server_encoding") or b"").decode()
    if not encoding:  # a pooler may not report it
        found = connection.execute(b"SHOW server_encoding").fetchone()
        encoding = str(found[0]) if found else "unknown"
    if encoding != _ENCODING:
        raise errors.EncodingRefused(pgconn.db.decode(errors="replace"), encoding)


def _roll_back(connection: psycopg.Connection) -> None:
    """End a transaction that failed; what cannot be ended is closed."""
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()
