"""Short transactions that need locks which others may hold for long.

While a transaction waits for a lock, others wait behind it. So it waits for a short time, and tries
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sinergi_schemas import errors
from sinergi_schemas.plain_text import some
from sinergi_schemas.postgresql.address import ascribed

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from sinergi_schemas.postgresql import Database

_ATTEMPTS = 10
_DEADLOCK = "40P01"
_USERS = """
    SELECT a.pid, a.usename, a.application_name FROM pg_catalog.pg_stat_activity AS a
    WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid()
        AND a.usename IS NOT NULL AND EXISTS (
            SELECT FROM pg_catalog.pg_locks AS l
            JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
            JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
            WHERE l.pid = a.pid AND l.granted AND l.database = a.datid
                AND n.nspname IN ('sinergi', 'sinergi_consumer'))
    ORDER BY a.pid
"""

_Result = TypeVar("_Result")


class LockAttempts:
    """Transactions of one database.

    Args:
        url: of the database, for errors.
    """

    def __init__(self, database: Database, url: str) -> None:
        self._database = database
        self._url = url

    def transact(self, work: Callable[[psycopg.Connection], _Result]) -> _Result:
        """Do something in a transaction, again while others hold locks that it needs.

        Raises:
            LockHeld: others hold them for too long; the error names their sessions.
        """
        left = _ATTEMPTS
        while True:
            left -= 1
            try:
                with self._database.serving() as connection:
                    return work(connection)
            except errors.DatabaseAway as why:
                if isinstance(why, errors.LockHeld) and not left:
                    raise ascribed(self._naming_holders(why), self._url) from None
                if not left or not (isinstance(why, errors.LockHeld) or why.sqlstate == _DEADLOCK):
                    raise

    def _naming_holders(self, why: errors.LockHeld) -> errors.DatabaseAway:
        """The error with the sessions that use our tables, if only to read them."""
        with self._database.reading() as connection:
            found = connection.execute(_USERS).fetchall()
        held = some(f"pid {pid} (role {role}, application {name})" for pid, role, name in found)
        return errors.LockHeld(why.sqlstate, f"locks here are held by {held}") if found else why
