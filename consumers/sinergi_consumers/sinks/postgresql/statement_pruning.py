"""Removes older checkpoints and receipts, in batches, in the order of the primary key.

Both tables are found by topic, partition and size. Of each topic-partition the last one from before
the time stays: so the newest always does, and the state at every later time can still be shown.
Receipts that are not published stay too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.sinks.postgresql import retention, stored_statements
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import psycopg

    from sinergi_consumers.sinks.postgresql.lock_attempts import LockAttempts
    from sinergi_schemas.postgresql import Database

MOST_ROWS = 1_000
"""A batch reads no more."""


_NEXT = """
    SELECT count(*) FILTER (WHERE is_old), max(size) FILTER (WHERE is_old) FROM (
        SELECT size, {is_old} AS is_old FROM {table}
        WHERE topic = %(topic)s AND partition = %(partition)s AND size >= %(start)s
        ORDER BY size LIMIT %(most)s
    ) AS batch
"""
_DELETE = """
    WITH gone AS (
        DELETE FROM {table} WHERE topic = %(topic)s AND partition = %(partition)s
            AND size >= %(start)s AND size < %(last)s AND {is_old} RETURNING size
    )
    SELECT count(*), max(size) FROM gone
"""


class _Batch(NamedTuple):
    """The next rows of a topic-partition.

    Attributes:
        start: the size from which they were read.
        rows: how many older rows there are, without the last one, which stays for now.
        last: the size of the last older row; `start` if there is none after it.
    """

    start: int
    rows: int
    last: int

    @property
    def is_last(self) -> bool:
        """Whether no older row was found after the one at which it starts."""
        return self.last == self.start


_ALL = _Batch(start=-2, rows=0, last=-1)  # what is before the first batch


class StatementPruning:
    """Removes the older rows of one table.

    Args:
        table: with its schema.
        is_old: the condition for a row, with the parameter `before`.
        before: the time.

    Attributes:
        table: as it was given.
    """

    def __init__(self, table: str, is_old: str, before: datetime) -> None:
        self.table = table
        self._next = _NEXT.format(table=table, is_old=is_old).encode()
        self._delete = _DELETE.format(table=table, is_old=is_old).encode()
        self._before = before

    def count(self, connection: psycopg.Connection) -> int:
        """How many rows there are to remove."""
        return sum(
            batch.rows for tp in self._places(connection) for batch in self._batches(connection, tp)
        )

    def apply(
        self, database: Database, locks: LockAttempts, decided: tuple[str, str]
    ) -> Iterator[int]:
        """Remove them; how many rows each transaction has removed. See `TablePruning.apply`."""
        with database.reading() as connection:
            places = self._places(connection)
        for tp in places:
            batch = _ALL
            while not batch.is_last:
                delete = partial(self._delete_batch, tp=tp, start=batch.last, decided=decided)
                batch, removed = locks.transact(delete)
                if removed:
                    yield removed

    def _delete_batch(
        self,
        connection: psycopg.Connection,
        *,
        tp: TopicPartition,
        start: int,
        decided: tuple[str, str],
    ) -> tuple[_Batch, int]:
        """Delete the older rows of the next batch; how many there were."""
        batch = self._batch(connection, tp, start)
        if not batch.rows:
            return batch, 0
        values = self._values(tp, start) | {"last": batch.last}
        ((rows, largest),) = connection.execute(self._delete, values).fetchall()
        if rows:
            removal = retention.Removal(self.table, self._before, rows, tp, largest)
            retention.record(connection, removal, decided)
        return batch, rows

    def _batches(self, connection: psycopg.Connection, tp: TopicPartition) -> Iterator[_Batch]:
        batch = _ALL
        while not batch.is_last:
            batch = self._batch(connection, tp, batch.last)
            yield batch

    def _batch(self, connection: psycopg.Connection, tp: TopicPartition, start: int) -> _Batch:
        ((count, last),) = connection.execute(self._next, self._values(tp, start)).fetchall()
        return _Batch(start, count - 1, last) if count else _Batch(start, 0, start)

    def _places(self, connection: psycopg.Connection) -> list[TopicPartition]:
        found = stored_statements.newest(connection, self.table, "size")
        return [TopicPartition(topic, number) for topic, number, _ in found]

    def _values(self, tp: TopicPartition, start: int) -> dict[str, object]:
        return tp._asdict() | {"start": start, "most": MOST_ROWS, "before": self._before}


def of_checkpoints(before: datetime) -> StatementPruning:
    """Removes checkpoints that were seen before a time."""
    return StatementPruning(stored_statements.CHECKPOINTS, "seen_at < %(before)s", before)


def of_receipts(before: datetime) -> StatementPruning:
    """Removes published receipts that were signed before a time."""
    is_old = "signed_at < %(before)s AND published_at IS NOT NULL"
    return StatementPruning(stored_statements.RECEIPTS, is_old, before)
