"""What an error of PostgreSQL means for us, by its SQLSTATE (PostgreSQL manual, appendix A).

The text of a server's message may quote rows, so nothing here passes it on: an error is told by
its code and by the name of the table, column or constraint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas import errors

if TYPE_CHECKING:
    import psycopg

_ROWS = ("22", "23")
_AWAY = ("08", "40", "53", "57", "58")
_AWAY_EXACTLY = (
    "55P03",  # lock_not_available: lock_timeout, somebody holds the row
    "25P03",  # idle_in_transaction_session_timeout: we stood still too long
    "25006",  # read_only_sql_transaction: a standby answers, the primary is elsewhere
)


def translate(
    error: psycopg.Error,
) -> errors.RowsRefused | errors.DatabaseAway | errors.DatabaseBroken:
    """The error of ours that stands for a driver's: about rows, away for a while, or broken.

    An error without SQLSTATE is a connection that broke, except where the driver itself refused a
    value before sending it.
    """
    import psycopg  # noqa: PLC0415 - only a process that talks to PostgreSQL needs its driver

    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.DataError):
            return errors.RowsRefused("none", "a value that the driver cannot send")
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return errors.DatabaseAway("none")
        return errors.DatabaseBroken("none", type(error).__name__)
    if code.startswith(_ROWS):
        return errors.RowsRefused(code, _named(error))
    if code.startswith(_AWAY) or code in _AWAY_EXACTLY:
        return errors.DatabaseAway(code)
    return errors.DatabaseBroken(code, _named(error))


def _named(error: psycopg.Error) -> str:
    diagnostic = error.diag
    names = (diagnostic.table_name, diagnostic.column_name, diagnostic.constraint_name)
    return ", ".join(name for name in names if name) or type(error).__name__
