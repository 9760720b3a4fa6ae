"""A PostgreSQL connection that gives up what it holds, and what its errors mean.

The text of a server's message may quote rows, so it is not passed on: an error is told by its
SQLSTATE (PostgreSQL manual, appendix A) and by the name of the table, column or constraint. What
the parts of the server say that know names only is passed on: there those fields are empty.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from sqlalchemy.engine import make_url

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = structlog.get_logger(__name__)

_LOCKED = "55P03"
_ROWS = ("22", "23")
_ROWS_EXACTLY = (
    "54000",  # program_limit_exceeded: a row or its key is too large, whoever wrote it
    "P0001",  # raise_exception: a trigger of the table's owner says no to a row
)
_AWAY = ("08", "40", "53", "57", "58")
_AWAY_EXACTLY = (
    _LOCKED,  # lock_not_available: lock_timeout, somebody holds the row
    "25P03",  # idle_in_transaction_session_timeout: we stood still too long
    "25006",  # read_only_sql_transaction: a standby answers, the primary is elsewhere
)

# Of PostgreSQL's own sources: the rights, the names in a statement, the names of schemas.
_KNOWS_NAMES_ONLY = ("aclchk.c", "parse_relation.c", "namespace.c")

# A stopped process that holds a row must not stop its successor (lock_timeout), and must not hold
# it for ever (idle_in_transaction_session_timeout). Who waits looks after whoever stands still each
# time that the former runs out: what it adds to the latter is how late a successor begins.
_SETTINGS = "SET lock_timeout = '2s'; SET idle_in_transaction_session_timeout = '10s'"

# The latter only counts between statements. A process that was stopped in the midst of a COPY or of
# a pipeline leaves a session that waits for its client for ever, and no timeout of the server ends
# it: whoever cannot get a lock ends such sessions.
_STILL_SECONDS = 10.0
_END_STILL = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user AND application_name = %s
    AND pid <> pg_backend_pid() AND xact_start IS NOT NULL AND wait_event = 'ClientRead'
    AND state_change < clock_timestamp() - %s * interval '1 second'
"""

CONNECT_SECONDS = 10

# A host that vanishes without a word is given up within half a minute; the system's defaults are
# hours. A server that stands still while its system answers is waited for.
_PROBES: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


class Database:
    """One connection to a database, opened when it is needed and again after it broke.

    It serves one thread at a time; another waits.

    Args:
        url: an SQLAlchemy URL.
        application: our name in `pg_stat_activity`.
    """

    def __init__(self, url: str, application: str) -> None:
        self._conninfo = (
            make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        )
        self._application = application
        self._connection: psycopg.Connection | None = None
        self._turn = RLock()

    @contextmanager
    def serving(self) -> Iterator[psycopg.Connection]:
        """The connection, in autocommit, with the driver's errors turned into ours.

        Raises:
            DatabaseAway: try again later.
            DatabaseBroken: a table, a column or a privilege is missing.
            RowsRefused: what was sent does not fit.
        """
        with self._turn:
            try:
                yield self._open()
            except psycopg.Error as error:
                meant = translate(error)
                if isinstance(meant, errors.DatabaseAway):
                    self._give_up(meant)
                raise meant from None
            except errors.DatabaseAway as why:
                self._give_up(why)
                raise

    def close(self) -> None:
        """Give the connection back; the next use opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_up(self, why: errors.DatabaseAway) -> None:
        """Drop the connection; before that, where a lock was not to be had, who stands on it."""
        if why.sqlstate == _LOCKED and self._connection is not None:
            try:
                ended = self._connection.execute(_END_STILL, (self._application, _STILL_SECONDS))
                if (count := ended.fetchone()) and count[0]:
                    _log.warning("ended sessions that stood still", sessions=count[0])
            except psycopg.Error as error:
                _log.warning("sessions that stand still not looked for", why=error.sqlstate)
        self.close()

    def _open(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                application_name=self._application,
                **_PROBES,
            )
            self._connection.execute(_SETTINGS)
        return self._connection


def translate(
    error: psycopg.Error,
) -> errors.RowsRefused | errors.DatabaseAway | errors.DatabaseBroken:
    """The error of ours that stands for a driver's: about rows, away for a while, or broken.

    An error without SQLSTATE is a connection that broke, except where the driver itself refused a
    value before sending it.
    """
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.DataError):
            return errors.RowsRefused("none", "a value that the driver cannot send")
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return errors.DatabaseAway("none", _said(error))
        return errors.DatabaseBroken("none", type(error).__name__)
    if code.startswith(_ROWS) or code in _ROWS_EXACTLY:
        return errors.RowsRefused(code, _named(error))
    if code.startswith(_AWAY) or code in _AWAY_EXACTLY:
        return errors.DatabaseAway(code)
    return errors.DatabaseBroken(code, _named(error))


def _said(error: psycopg.Error) -> str:
    """What libpq says of a connection: addresses, names of database and user, never a row."""
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__


def _named(error: psycopg.Error) -> str:
    diagnostic = error.diag
    if diagnostic.source_file in _KNOWS_NAMES_ONLY and diagnostic.message_primary:
        return diagnostic.message_primary
    names = (diagnostic.table_name, diagnostic.column_name, diagnostic.constraint_name)
    return ", ".join(name for name in names if name) or type(error).__name__
