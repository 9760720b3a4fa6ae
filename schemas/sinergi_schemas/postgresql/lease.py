"""A lease: one leader at a time, by the clock of the database.

A process that takes the lease raises its epoch, and every write of a leader names its epoch. A
leader that was suspended and goes on late finds a higher epoch, and can change nothing any more.
The statements use `clock_timestamp()`, since `now()` does not advance within a transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.postgresql import stored

if TYPE_CHECKING:
    import psycopg

_TAKE = """
    UPDATE {table} SET epoch = epoch + 1, holder = %(holder)s,
        expires_at = clock_timestamp() + %(seconds)s * interval '1 second'
    WHERE name = %(name)s AND (expires_at <= clock_timestamp() OR holder = %(holder)s)
    RETURNING epoch
"""
_RENEW = """
    UPDATE {table} SET expires_at = clock_timestamp() + %(seconds)s * interval '1 second'
    WHERE name = %(name)s AND epoch = %(epoch)s
"""
_RELEASE = """
    UPDATE {table} SET expires_at = '-infinity', holder = NULL
    WHERE name = %(name)s AND epoch = %(epoch)s
"""


class Lease:
    """A named lease in a table `(name, epoch, holder, expires_at)`.

    Args:
        table: the name of the table, with its schema; it is put into SQL as it is.
        holder: a name of this process that no other process has; people read it.
        seconds: how long the lease lasts.
    """

    def __init__(self, table: str, name: str, holder: str, seconds: float) -> None:
        self._take, self._renew, self._release = (
            statement.format(table=table) for statement in (_TAKE, _RENEW, _RELEASE)
        )
        self._table = table
        self._values = {"name": name, "holder": holder, "seconds": seconds}
        self.seconds = seconds

    def take(self, connection: psycopg.Connection) -> int | None:
        """Take the lease if it is free or already ours.

        Call it in the transaction that raises the epoch of everything that the lease guards.

        Returns:
            The new epoch; None while another process holds the lease.

        Raises:
            StoredStateInvalid: its epoch cannot be raised.
        """
        with stored.raising_epoch(self._table, f"({self._values['name']})"):
            taken = connection.execute(self._take, self._values).fetchone()
        return None if taken is None else int(taken[0])

    def renew(self, connection: psycopg.Connection, epoch: int) -> None:
        """Hold the lease for another term.

        Raises:
            LeaseLost: another process has taken it.
        """
        renewed = connection.execute(self._renew, {**self._values, "epoch": epoch})
        if renewed.rowcount != 1:
            raise errors.LeaseLost(str(self._values["name"]), epoch)

    def release(self, connection: psycopg.Connection, epoch: int) -> None:
        """Give the lease back, so that another process need not wait for its end."""
        connection.execute(self._release, {**self._values, "epoch": epoch})
