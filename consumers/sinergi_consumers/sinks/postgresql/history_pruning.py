"""Removes older events from a history: as whole partitions, or in batches of blocks.

A batch reads some blocks of one table, so it costs the same however many rows the table has, and
needs no index by time.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from sinergi_consumers.projections.projection import RECORDED_AT, SCHEMA
from sinergi_consumers.sinks.postgresql import partitions, retention
from sinergi_schemas import errors
from sinergi_schemas.plain_text import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.postgresql.lock_attempts import LockAttempts
    from sinergi_schemas.postgresql import Database

MOST_BLOCKS = 512
"""A batch reads no more: 4 MiB."""

_IS_THERE = "SELECT to_regclass(%s) IS NOT NULL"
_BLOCKS = """
    SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint
    FROM pg_class AS c WHERE c.oid = to_regclass(%s)
"""
_COUNT = sql.SQL("SELECT count(*) FROM {} WHERE {} < {}")
_OLD = sql.SQL("SELECT {} FROM {} WHERE ctid >= {} AND ctid < {} AND {} < {}")
_DELETE = sql.SQL(
    "DELETE FROM {} AS t USING unnest(%s::text[], %s::text[], %s::integer[]) AS gone ({})"
    " WHERE {} AND {}"
)


class HistoryPruning:
    """Removes the events of one history that were recorded before a time.

    Args:
        projection: it may be partitioned, whether its tables are or not.
        before: the beginning of a month, in UTC.
    """

    def __init__(self, projection: Projection, before: datetime) -> None:
        self._projection = projection
        self._before = before

    @property
    def table(self) -> str:
        """The record table with its schema."""
        return _named(self._projection.record.name)

    def count(self, connection: psycopg.Connection) -> int:
        """How many events there are to remove."""
        return _count(connection, self._projection.record.name, self._before)

    def apply(
        self, database: Database, locks: LockAttempts, decided: tuple[str, str]
    ) -> Iterator[int]:
        """Remove them; how many events each transaction has removed. See `TablePruning.apply`.

        Raises:
            HistoryReferenced: what others have made depends on the rows, as a foreign key.
        """
        for end in self._ends(database):
            yield locks.transact(partial(self._drop, end=end, decided=decided))
        for name in self._undropped(database):
            with database.reading() as connection:
                row = connection.execute(_BLOCKS, (_named(name),)).fetchone()
            for block in range(0, row[0] if row and row[0] else 0, MOST_BLOCKS):
                delete = partial(self._delete, name=name, block=block, decided=decided)
                yield locks.transact(delete)

    def _ends(self, database: Database) -> list[datetime]:
        """When the partitions end that hold nothing but older events."""
        with database.reading() as connection:
            return sorted(
                {
                    part.end
                    for table in self._projection.tables
                    for part in partitions.partitions_of(connection, table)
                    if part.end is not None and part.end <= self._before
                }
            )

    def _undropped(self, database: Database) -> list[str]:
        """The tables with rows that may hold older events: partitions, or the table itself."""
        record = self._projection.record
        with database.reading() as connection:
            if record.name not in partitions.partitioned_tables(connection):
                return [record.name]
            return [
                part.name
                for part in partitions.partitions_of(connection, record)
                if part.start is None or part.start < self._before
            ]

    def _drop(
        self, connection: psycopg.Connection, *, end: datetime, decided: tuple[str, str]
    ) -> int:
        """Drop the partitions of all tables that have an end.

        While the events are counted, only these partitions are locked.
        """
        found = {
            table.name: [p for p in partitions.partitions_of(connection, table) if p.end == end]
            for table in self._projection.tables
        }
        dropped = [each.identifier for some in found.values() for each in some]
        if not dropped:
            return 0  # another run of the command has dropped them
        names = sql.SQL(", ").join(dropped)
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(names))
        record = self._projection.record.name
        rows = sum(_count(connection, each.name, end) for each in found[record])
        with self._naming_dependents():
            connection.execute(sql.SQL("DROP TABLE {}").format(names))
        return self._recorded(connection, end, rows, decided)

    def _delete(
        self, connection: psycopg.Connection, *, name: str, block: int, decided: tuple[str, str]
    ) -> int:
        """Delete the older events whose rows are in some blocks of a table."""
        keys = connection.execute(
            _OLD.format(
                sql.SQL(", ").join(map(sql.Identifier, self._projection.kind.key)),
                sql.Identifier(SCHEMA, name),
                sql.Literal(f"({block},0)"),
                sql.Literal(f"({block + MOST_BLOCKS},0)"),
                sql.Identifier(RECORDED_AT),
                sql.Literal(self._before),
            )
        ).fetchall()
        with self._naming_dependents():
            rows = self._delete_rows(connection, keys) if keys else 0
        return self._recorded(connection, self._before, rows, decided)

    def _delete_rows(
        self, connection: psycopg.Connection, keys: Sequence[tuple[object, ...]]
    ) -> int:
        """Delete all rows of some events, those of lists first; how many events there were."""
        columns = [list(column) for column in zip(*keys, strict=True)]
        partitioned = partitions.partitioned_tables(connection)
        projection, rows = self._projection, 0
        names = projection.kind.key
        same = sql.SQL(" AND ").join(
            sql.SQL("t.{0} = gone.{0}").format(sql.Identifier(name)) for name in names
        )
        for table in (*projection.children, projection.record):
            is_older: sql.Composable = sql.SQL("true")
            if table is projection.record or table.name in partitioned:
                time = sql.Identifier("t", partitions.partition_column(table))
                is_older = sql.SQL("{} < {}").format(time, sql.Literal(self._before))
            key = sql.SQL(", ").join(map(sql.Identifier, names))
            real = sql.Identifier(SCHEMA, table.name)
            rows = connection.execute(_DELETE.format(real, key, same, is_older), columns).rowcount
        return rows

    @contextmanager
    def _naming_dependents(self) -> Iterator[None]:
        """Name what keeps rows from being removed, and not the rows, which PostgreSQL names."""
        try:
            yield
        except psycopg.errors.DependentObjectsStillExist as why:
            dependents = (why.diag.message_detail or str(why)).splitlines()
            raise errors.HistoryReferenced(self.table, some(dependents)) from None
        except (psycopg.errors.ForeignKeyViolation, psycopg.errors.RestrictViolation) as why:
            of = f"{why.diag.schema_name}.{why.diag.table_name}"
            what = f"the foreign key {why.diag.constraint_name} of {of} leads to them"
            raise errors.HistoryReferenced(self.table, what) from None

    def _recorded(
        self, connection: psycopg.Connection, before: datetime, rows: int, decided: tuple[str, str]
    ) -> int:
        """Record how many events were removed, if any were; how many."""
        if rows:
            retention.record(connection, retention.Removal(self.table, before, rows), decided)
        return rows


def is_there(connection: psycopg.Connection, projection: Projection) -> bool:
    """Whether the database has the tables of a projection."""
    names = (_named(each.name) for each in projection.tables)
    return all(connection.execute(_IS_THERE, (name,)).fetchone() == (True,) for name in names)


def _named(name: str) -> str:
    return f"{SCHEMA}.{name}"


def _count(connection: psycopg.Connection, name: str, before: datetime) -> int:
    table, time = sql.Identifier(SCHEMA, name), sql.Identifier(RECORDED_AT)
    row = connection.execute(_COUNT.format(table, time, sql.Literal(before))).fetchone()
    return int(row[0]) if row else 0
