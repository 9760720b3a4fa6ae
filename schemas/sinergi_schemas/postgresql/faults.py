"""What an error of PostgreSQL means: the one place where an SQLSTATE is classified.

A server's message may quote rows, so its text is not passed on. An error of ours gives the SQLSTATE
(PostgreSQL manual, appendix A) and the names of the table, column or constraint. Some parts of the
server know nothing but names, and leave those fields empty; their messages are passed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg.errors import lookup

from sinergi_schemas import errors
from sinergi_schemas.postgresql.rights import RIGHT_MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.exc import DBAPIError

LOCKED = "55P03"  # lock_not_available: lock_timeout, another session holds the lock
_READ_ONLY = "25006"
_UNSUPPORTED = "0A000"  # feature_not_supported; from guc.c: READ WRITE on a standby
_OBJECT_MISSING = (
    "3F000",  # invalid_schema_name
    "42P01",  # undefined_table
    "42883",  # undefined_function
)
ROW_CLASSES = ("22", "23")  # data_exception, integrity_constraint_violation
ROW_CODES = (
    "54000",  # program_limit_exceeded: a row or its key is too large, whoever wrote it
    "P0001",  # raise_exception: a trigger of the table's owner refuses a row
)
_AWAY = (
    "08",  # connection_exception
    "40",  # transaction_rollback, for example after a deadlock
    "53",  # insufficient_resources: too many connections, no memory, a full disk
    "57",  # operator_intervention: the server shuts down, or somebody cancelled the statement
    "58",  # system_error: outside of PostgreSQL, for example of its disk
)
_AWAY_EXACTLY = (
    "25P03",  # idle_in_transaction_session_timeout: this process stood still for too long
    "25P04",  # transaction_timeout
    _READ_ONLY,  # read_only_sql_transaction: a standby answers, the primary is elsewhere
)

# Source files of PostgreSQL whose messages hold names and no values: rights, names in a statement,
# names of schemas, policies of tables.
_KNOWS_NAMES_ONLY = ("aclchk.c", "parse_relation.c", "namespace.c", "rls.c")

_ON_DATABASE = "permission denied for database "

# Messages of PgBouncer where its configuration does not suit us; and the server's codes where a
# prepared statement stayed in another session, or this session has another one of the same name.
_POOLER_SAYS = ("pooling mode", "unsupported startup parameter")
_PREPARED = ("26000", "42P05")  # invalid_sql_statement_name, duplicate_prepared_statement

PostgresqlFault = (
    errors.RowsRefused | errors.DatabaseAway | errors.DatabaseBroken | errors.PoolerRefused
)


# Libpq gives no SQLSTATE for a connection that failed. Another language of the server leaves only
# the general error, with the message in that language.
_REFUSED_CONNECTIONS: tuple[tuple[str, type[errors.DatabaseAway]], ...] = (
    ("password authentication failed", errors.DatabaseLoginRefused),
    ("no password supplied", errors.DatabaseLoginRefused),
    ("FATAL: role ", errors.DatabaseLoginRefused),
    ("FATAL: permission denied for database ", errors.DatabaseLoginRefused),  # CONNECT
    ("FATAL: database ", errors.DatabaseUnknown),
    ("could not translate host name", errors.DatabaseHostUnknown),
    ("failed to resolve host", errors.DatabaseHostUnknown),
)


def translate(error: psycopg.Error) -> PostgresqlFault:
    """The error of ours that stands for one of the driver's.

    `RowsRefused` is about the rows that were sent. `DatabaseAway` passes by itself; it is a
    `LockHeld` if another session has a lock. `PoolerRefused` is about the pooler's configuration.
    Everything else is a `DatabaseBroken`: `ObjectMissing` if a table, schema or function is
    missing, `RightMissing` if a privilege is.
    """
    code = error.sqlstate
    if code in _PREPARED:
        return errors.PoolerRefused(f"SQLSTATE {code}: a prepared statement does not outlast it")
    if isinstance(error, psycopg.OperationalError) and any(
        each in str(error) for each in _POOLER_SAYS
    ):
        return errors.PoolerRefused(_connection_message(error))
    if code is None:
        return _without_code(error)
    if code.startswith(ROW_CLASSES) or code in ROW_CODES:
        return errors.RowsRefused(code, _names(error))
    if code == LOCKED:
        return errors.LockHeld(code)
    if code.startswith(_AWAY) or code in _AWAY_EXACTLY:
        return errors.DatabaseAway(code)
    if code == _UNSUPPORTED and error.diag.source_file == "guc.c":
        return errors.DatabaseAway(_READ_ONLY, "a standby answers, which takes nothing in")
    return _broken(code, error)


def translate_wrapped(error: DBAPIError) -> PostgresqlFault:
    """The same for an error of SQLAlchemy's, which wraps one of the driver's."""
    if isinstance(error.orig, psycopg.Error):
        return translate(error.orig)
    return errors.DatabaseAway("none")


def _without_code(error: psycopg.Error) -> PostgresqlFault:
    """A connection that broke; or a value that the driver itself refused before sending it."""
    if isinstance(error, psycopg.DataError):
        return errors.RowsRefused("none", "a value that the driver cannot send")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        message = _connection_message(error)
        found = next((kind for text, kind in _REFUSED_CONNECTIONS if text in message), None)
        return (found or errors.DatabaseAway)("none", message)
    return errors.DatabaseBroken("none", type(error).__name__)


def _broken(code: str, error: psycopg.Error) -> errors.DatabaseBroken:
    if code == RIGHT_MISSING:
        return errors.RightMissing(code, _right(error))
    if code in _OBJECT_MISSING:
        return errors.ObjectMissing(code, _names(error))
    return errors.DatabaseBroken(code, _names(error))


def _connection_message(error: psycopg.Error) -> str:
    """Libpq's message about a connection: addresses, names of database and user, never a row."""
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__


def _right(error: psycopg.Error) -> str:
    """The right that is missing. On a whole database our statements need only CREATE."""
    message = _names(error)
    return f"{message}, the right CREATE on it" if message.startswith(_ON_DATABASE) else message


def _names(error: psycopg.Error) -> str:
    diagnostic = error.diag
    if diagnostic.source_file in _KNOWS_NAMES_ONLY and diagnostic.message_primary:
        return diagnostic.message_primary
    names = (diagnostic.table_name, diagnostic.column_name, diagnostic.constraint_name)
    return _joined(names) or type(error).__name__


def rows_refused(code: str, names: Iterable[str | None]) -> errors.RowsRefused:
    """The error for rows that the server refused within a statement of ours.

    Args:
        code: the SQLSTATE, of `ROW_CLASSES` or `ROW_CODES`.
        names: table, column and constraint, as far as the server names them.
    """
    return errors.RowsRefused(code, _joined(names) or _condition(code))


def _joined(names: Iterable[str | None]) -> str:
    return ", ".join(name for name in names if name)


def _condition(code: str) -> str:
    """The name of a code. An unknown one comes from another server's version, or from a trigger."""
    try:
        return lookup(code).__name__
    except KeyError:
        return psycopg.DatabaseError.__name__
