"""A PostgreSQL connection on which every transaction states its own settings.

All work is done in short transactions that do not depend on the session. So a connection pooler may
give each of them another session.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict

from sinergi_schemas import errors
from sinergi_schemas.plain_text import some
from sinergi_schemas.postgresql import rights, session
from sinergi_schemas.postgresql.address import ascribed, conninfo, passfile_fault
from sinergi_schemas.postgresql.faults import translate
from sinergi_schemas.postgresql.times import MomentLoader
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.postgresql.rights import RoleRights
    from sinergi_schemas.timeouts import DatabaseTimeouts

_log = structlog.get_logger(__name__)

# The server's timeout for idle transactions counts only between statements. A process that is
# stopped during a COPY or a pipeline leaves a session that waits for its client for ever, and no
# timeout of the server ends it. So a process that cannot get a lock ends such sessions.
_END_STALLED = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name = %s
    AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND wait_event = 'ClientRead'
    AND state_change < clock_timestamp() - %s * interval '1 second'
"""

# Once a lock was not given, nobody knows any more whose it was. These are those that it may be of.
# Every role may see the pid, the role and the application of all sessions.
_HOLDERS = """
    SELECT a.pid, a.usename, a.application_name FROM pg_stat_activity AS a
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND EXISTS (
        SELECT FROM pg_locks AS l
        LEFT JOIN pg_class AS c ON c.oid = l.relation
        LEFT JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE l.pid = a.pid AND l.granted AND l.database = a.datid AND (l.locktype = 'advisory'
            OR l.mode <> 'AccessShareLock' AND n.nspname LIKE 'sinergi%'))
    ORDER BY a.pid
"""

_ENCODING = "UTF8"
_UNSUPPLIED = "no password supplied"  # as libpq says it

# These hold unless the address says otherwise. A host that disappears is given up within half a
# minute; the defaults of the system are hours. A server that does not answer while its host does is
# waited for.
DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


class Database:
    """One connection to a database, opened when it is needed, and again after it broke.

    One thread uses it at a time; another waits until the transaction of the first ends.

    Args:
        url: where it is; see `sinergi_schemas.postgresql.address`.
        application: our name in `pg_stat_activity`.
        timeouts: what its transactions wait for.
        row_security: whether policies of its tables may hide rows from us. If not, a table with
            policies for our role is an error.
        statement_seconds: after which the server cancels a statement; 0 for never.
        needed: the rights that its transactions need, for the error that one of them is missing.
    """

    def __init__(
        self,
        url: str,
        application: str,
        timeouts: DatabaseTimeouts = DEFAULT.database,
        *,
        row_security: bool = False,
        statement_seconds: float = 0.0,
        needed: RoleRights | None = None,
    ) -> None:
        self._statement_seconds = statement_seconds
        self._timeouts = timeouts
        self._url = url
        self._conninfo = conninfo(url)
        self._application = application
        self._row_security = row_security
        self._needed = needed
        self._connection: psycopg.Connection | None = None
        self._is_pooled = False
        self._turn = RLock()

    @property
    def is_pooled(self) -> bool:
        """Whether there is a pooler before the server, so that a session lasts for one transaction.

        This is known once a transaction has begun.
        """
        return self._is_pooled

    @contextmanager
    def serving(self) -> Iterator[psycopg.Connection]:
        """A transaction, committed at the end of the block, or rolled back if it raises.

        Errors of the driver become ours.

        Raises:
            DatabaseAway: try again later; `LockHeld` names who holds locks.
            DatabaseBroken: a table, a column or a privilege is missing; `GrantMissing` names the
                right if the transactions' rights are known.
            RowsRefused: rows that were sent do not fit.
            EncodingRefused: the database cannot hold every text.
            PoolerRefused: the pooler before it does not give transactions.
        """
        with self._transaction(session.WRITING) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[psycopg.Connection]:
        """A transaction that sees one state of the database and changes nothing, also on a standby.

        Raises:
            DatabaseAway, DatabaseBroken, EncodingRefused, PoolerRefused: as `serving`.
        """
        with self._transaction(session.READING) as connection:
            yield connection

    @contextmanager
    def scratch(self) -> Iterator[psycopg.Connection]:
        """A transaction that sees one state of the database, and fills temporary tables at most.

        It is rolled back at the end of the block, whatever was written.

        Raises:
            DatabaseAway, DatabaseBroken, EncodingRefused, PoolerRefused: as `serving`.
        """
        with self._transaction(session.SCRATCH) as connection:
            yield connection
            connection.rollback()

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
                    raise ascribed(self._given_up(meant), self._url) from None
                raise self._naming_rights(meant) from None
            except errors.RightMissing as why:
                raise self._naming_rights(why) from None
            except errors.DatabaseAway as why:
                self.close()
                ascribed(why, self._url)
                raise

    def _naming_rights(self, why: errors.SinergiError) -> errors.SinergiError:
        """The error, or in its place one that names the rights that are missing.

        PostgreSQL names only the table, not what is missing on it.
        """
        connection, needed = self._connection, self._needed
        if type(why) is not errors.RightMissing or connection is None or needed is None:
            return why
        try:
            self._state(connection, session.READING)
            lacked = rights.missing(connection, needed.rights)
            user = rights.current_user(connection)
            connection.commit()
        except psycopg.Error as error:
            _log.warning("missing rights not looked for", why=error.sqlstate)
            return why
        return needed.refusal(user, lacked, why.sqlstate, why.what) if lacked else why

    def _begin(self, mode: str) -> psycopg.Connection:
        """Begin a transaction, on a new connection if the old one broke while it was not used."""
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
        connection.execute(
            session.begin(
                mode,
                version,
                self._timeouts,
                row_security=self._row_security,
                statement_seconds=self._statement_seconds,
            )
        )
        for name, value in session.REPORTED.items():
            # The driver reads and writes values according to what was reported last.
            if connection.pgconn.parameter_status(name) != value:
                connection.close()
                raise errors.PoolerRefused(f"it does not report {name.decode()} of the session")

    def _open(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = open_connection(self._conninfo, self._application)
            found = self._connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
            # A pooler gives clients process numbers of its own, since sessions change.
            self._is_pooled = found != (self._connection.info.backend_pid,)
        return self._connection

    def _given_up(self, why: errors.DatabaseAway) -> errors.DatabaseAway:
        """Drop the connection; the error, which names who holds locks if one could not be had.

        Sessions of ours that stand still are ended, so that they hold none the next time.
        """
        if isinstance(why, errors.LockHeld) and self._connection is not None:
            try:
                self._state(self._connection, session.WRITING)
                holders = self._connection.execute(_HOLDERS).fetchall()
                ended = self._connection.execute(
                    _END_STALLED, (self._application, self._timeouts.stalled)
                )
                count = ended.fetchone()
                self._connection.commit()
            except psycopg.Error as error:
                _log.warning("sessions that hold locks not looked for", why=error.sqlstate)
            else:
                if count and count[0]:
                    _log.warning("ended sessions that stood still", sessions=count[0])
                if holders:
                    named = f"locks here are held by {some(map(_described, holders))}"
                    why = errors.LockHeld(why.sqlstate, named)
        self.close()
        return why


def _described(session_row: tuple[int, str | None, str | None]) -> str:
    pid, role, application = session_row
    called = f", application {application}" if application else ""
    return f"pid {pid} (role {role}{called})"


def open_connection(address: str, application: str) -> psycopg.Connection:
    """A connection in autocommit, to a database that can hold every text.

    Statements are never prepared: behind a pooler they would run in a session that lacks them.

    Args:
        address: libpq's key/value pairs.
        application: our name in `pg_stat_activity`.

    Raises:
        EncodingRefused: the database's encoding is not UTF8.
        psycopg.Error: it is unavailable, or refuses the connection.
    """
    said = conninfo_to_dict(address)
    try:
        connection = psycopg.connect(
            address,
            autocommit=True,
            prepare_threshold=None,
            application_name=application,
            **{name: value for name, value in DEFAULTS.items() if name not in said},
        )
    except psycopg.OperationalError as why:
        if _UNSUPPLIED in str(why) and (fault := passfile_fault(said)):
            raise psycopg.OperationalError(f"{why}; {fault}") from None
        raise
    connection.adapters.register_loader("timestamptz", MomentLoader)
    try:
        _check_encoding(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_encoding(connection: psycopg.Connection) -> None:
    # libpq is asked, since Python has no codec for some encodings, and the driver would fail.
    pgconn = connection.pgconn
    encoding = (pgconn.parameter_status(b"server_encoding") or b"").decode()
    if not encoding:  # a pooler may not report it
        found = connection.execute(b"SHOW server_encoding").fetchone()
        encoding = str(found[0]) if found else "unknown"
    if encoding != _ENCODING:
        raise errors.EncodingRefused(pgconn.db.decode(errors="replace"), encoding)


def _roll_back(connection: psycopg.Connection) -> None:
    """Roll back a transaction that failed, or close its connection if that fails too."""
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()
