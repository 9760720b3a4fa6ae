"""What PostgreSQL's errors mean.

The text of a server's message may quote rows, so it is not passed on: an error is told by its
SQLSTATE (PostgreSQL manual, appendix A) and by the name of the table, column or constraint. What
the parts of the server say that know names only is passed on: there those fields are empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg.errors import lookup

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

LOCKED = "55P03"
_READ_ONLY = "25006"
_UNSUPPORTED = "0A000"  # feature_not_supported; from guc.c: READ WRITE on a standby
_RIGHT_MISSING = "42501"  # insufficient_privilege
ROW_CLASSES = ("22", "23")  # data_exception, integrity_constraint_violation
ROW_CODES = (
    "54000",  # program_limit_exceeded: a row or its key is too large, whoever wrote it
    "P0001",  # raise_exception: a trigger of the table's owner says no to a row
)
_AWAY = ("08", "40", "53", "57", "58")
_AWAY_EXACTLY = (
    LOCKED,  # lock_not_available: lock_timeout, somebody holds the row
    "25P03",  # idle_in_transaction_session_timeout: we stood still too long
    "25P04",  # transaction_timeout
    _READ_ONLY,  # read_only_sql_transaction: a standby answers, the primary is elsewhere
)

# Of PostgreSQL's own sources: the rights, the names in a statement, the names of schemas, the
# policies of tables.
_KNOWS_NAMES_ONLY = ("aclchk.c", "parse_relation.c", "namespace.c", "rls.c")

_ON_DATABASE = "permission denied for database "

# Of PgBouncer: what it says where its configuration does not serve us. And what the server says
# where a prepared statement stayed behind in another session, or another's stands in this one.
_POOLER_SAYS = ("pooling mode", "unsupported startup parameter")
_PREPARED = ("26000", "42P05")  # invalid_sql_statement_name, duplicate_prepared_statement


def translate(
    error: psycopg.Error,
) -> errors.RowsRefused | errors.DatabaseAway | errors.DatabaseBroken | errors.PoolerRefused:
    """The error of ours that stands for a driver's: about rows, away for a while, or broken.

    An error without SQLSTATE is a connection that broke, except where the driver itself refused a
    value before sending it.
    """
    code = error.sqlstate
    if code in _PREPARED:
        return errors.PoolerRefused(f"SQLSTATE {code}: a prepared statement does not outlast it")
    if isinstance(error, psycopg.OperationalError) and any(
        each in str(error) for each in _POOLER_SAYS
    ):
        return errors.PoolerRefused(_said(error))
    if code is None:
        if isinstance(error, psycopg.DataError):
            return errors.RowsRefused("none", "a value that the driver cannot send")
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return errors.DatabaseAway("none", _said(error))
        return errors.DatabaseBroken("none", type(error).__name__)
    if code.startswith(ROW_CLASSES) or code in ROW_CODES:
        return errors.RowsRefused(code, _named(error))
    if code.startswith(_AWAY) or code in _AWAY_EXACTLY:
        return errors.DatabaseAway(code)
    if code == _UNSUPPORTED and error.diag.source_file == "guc.c":
        return errors.DatabaseAway(_READ_ONLY, "a standby answers, which takes nothing in")
    if code == _RIGHT_MISSING:
        return errors.RightMissing(code, _right(error))
    return errors.DatabaseBroken(code, _named(error))


def _said(error: psycopg.Error) -> str:
    """What libpq says of a connection: addresses, names of database and user, never a row."""
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__


def _right(error: psycopg.Error) -> str:
    """What a user may not do; on a whole database a statement needs but one right."""
    said = _named(error)
    return f"{said}, the right CREATE on it" if said.startswith(_ON_DATABASE) else said


def _named(error: psycopg.Error) -> str:
    diagnostic = error.diag
    if diagnostic.source_file in _KNOWS_NAMES_ONLY and diagnostic.message_primary:
        return diagnostic.message_primary
    names = (diagnostic.table_name, diagnostic.column_name, diagnostic.constraint_name)
    return _listed(names) or type(error).__name__


def rows_refused(code: str, names: Iterable[str | None]) -> errors.RowsRefused:
    """The error for rows that the server refused within a statement of ours.

    Args:
        code: the SQLSTATE, of `ROW_CLASSES` or `ROW_CODES`.
        names: table, column and constraint, as far as the server names them.
    """
    return errors.RowsRefused(code, _listed(names) or _condition(code))


def _listed(names: Iterable[str | None]) -> str:
    return ", ".join(name for name in names if name)


def _condition(code: str) -> str:
    """A code's name; an unknown one is that of another server's, or of a trigger."""
    try:
        return lookup(code).__name__
    except KeyError:
        return psycopg.DatabaseError.__name__
