"""Partitions the tables of a history by month, while a materialiser and readers work on.

    1. Refuse what cannot be carried over, by name. Nothing was changed by then.
    2. Give the tables of lists the column of the time. It is -infinity for the rows that are there,
       which PostgreSQL stores once, so no row is rewritten.
    3. Build the unique index of a partition, CONCURRENTLY.
    4. Add a CHECK constraint that all rows fit into the first partition, and validate it. Writers
       go on meanwhile.
    5. In one short transaction: lock the positions and the tables, rename each table, create the
       partitioned one in its place, and attach the old one as its first partition.

Each step looks at the catalogue for what is done already. So a conversion that was broken off goes
on where it was, and each step leaves tables that can be written and read.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import partial
from time import sleep
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from sinergi_consumers.projections.naming import PARTITION_TIME
from sinergi_consumers.projections.projection import SCHEMA
from sinergi_consumers.sinks.postgresql import carried_over, partitions, table_structure, table_swap
from sinergi_consumers.sinks.postgresql.lock_attempts import LockAttempts
from sinergi_consumers.sinks.postgresql.partitions import BOUNDS, Month
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql import Database, translate
from sinergi_schemas.postgresql.address import ascribed, conninfo
from sinergi_schemas.postgresql.connection import open_connection
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from sinergi_consumers.projections.projection import Projection
    from sinergi_schemas.timeouts import DatabaseTimeouts

_APPLICATION = "sinergi db"
_INDEX = """
    SELECT i.indisvalid FROM pg_catalog.pg_index AS i
    WHERE i.indexrelid = pg_catalog.to_regclass(%s)
"""
_LOCK = "SELECT pg_catalog.pg_try_advisory_lock(%s)"
_PAUSE_SECONDS = 0.5
_TURN = int.from_bytes(b"sinergi\0") >> 1


class Partitioning:
    """The partitioning of the histories in one database.

    Args:
        url: with the owner of the tables; see `sinergi_schemas.postgresql.address`.
        projections: those of the database; only histories can be partitioned.
        report: called with each step that is done, in words.
    """

    def __init__(
        self,
        url: str,
        projections: Sequence[Projection],
        report: Callable[[str], None] = lambda _: None,
        timeouts: DatabaseTimeouts = DEFAULT.database,
    ) -> None:
        self._url = url
        self._projections = [each for each in projections if each.may_be_partitioned]
        self._report = report
        self._database = Database(url, _APPLICATION, timeouts)
        self._locks = LockAttempts(self._database, url)

    def convert(self) -> None:
        """Partition the histories that are not partitioned.

        Raises:
            PartitioningRefused: a table has what cannot be carried over, or rows of the far future.
            DatabaseAway: the database does not answer, or others hold locks for too long. What is
                done stays, and the next run goes on from there.
            DatabaseBroken: the user does not own the tables.
        """
        with self._turn():
            with self._database.reading() as connection:
                done = partitions.partitioned_tables(connection)
            wanted = [each for each in self._projections if each.record.name not in done]
            self._check(wanted)
            for each in wanted:
                self._convert(each)

    def _convert(self, each: Projection) -> None:
        end = self._end(each)
        for table in each.tables:
            self._prepare(table, end)
        self._locks.transact(lambda connection: table_swap.swap(connection, each.tables))
        self._report(f"{each.name} is partitioned by month")
        self._analyse(each)

    def extend(self) -> int:
        """Make the partitions of the coming months; how many.

        Raises:
            DatabaseAway, DatabaseBroken: as `convert`.
        """
        with self._turn():
            with self._database.reading() as connection:
                done = partitions.partitioned_tables(connection)
            tables = (table for each in self._projections for table in each.tables)
            return sum(self._extend(table) for table in tables if table.name in done)

    def _extend(self, table: sa.Table) -> int:
        with self._database.reading() as connection:
            found = partitions.partitions_of(connection, table)
        months = list(partitions.coming(found, SYSTEM.now()))
        for month in months:
            make = partial(partitions.create_month, table=table, month=month)
            self._locks.transact(make)
        return len(months)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait while another command partitions tables of this database.

        The lock is tried again and again. A statement that waits for it would have a snapshot, and
        the index of the other command is not ready before all older snapshots are gone. Behind a
        pooler nobody can keep a lock for longer than a transaction, so none is taken.
        """
        with self._database.reading():
            is_pooled = self._database.is_pooled
        with self._alone() as connection:
            while not is_pooled and connection.execute(_LOCK, (_TURN,)).fetchone() != (True,):
                sleep(_PAUSE_SECONDS)
            yield

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def _check(self, projections: Sequence[Projection]) -> None:
        """Step 1.

        Raises:
            PartitioningRefused: naming what is in the way.
        """
        found: list[str] = []
        with self._database.scratch() as connection:
            for table in (table for each in projections for table in each.tables):
                table_structure.create_declared(connection, table)
                structure = table_structure.compare_structure(connection, table)
                what = (*structure.missing, *structure.differing)
                found += [f"{structure.name}: {each}" for each in what]
                found += carried_over.obstacles(connection, table, table_swap.index_name(table))
        if found:
            raise errors.PartitioningRefused(tuple(found))

    def _end(self, projection: Projection) -> datetime:
        """Where the first partition ends: that of a conversion that was broken off, if it will do.

        The months that begin during the conversion must fit in. If there is no row yet, the current
        month gets a partition of its own.
        """
        name = sql.Identifier(SCHEMA, projection.record.name)
        this = Month.of(SYSTEM.now())
        with self._database.reading() as connection:
            bounds = table_swap.bounds_of(connection, projection.record)
            is_empty = connection.execute(
                sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(name)
            ).fetchone() == (True,)
        if bounds is not None and bounds[0] > this.plus(1).start:
            return bounds[0]
        return this.start if is_empty else this.plus(2).start

    def _prepare(self, table: sa.Table, end: datetime) -> None:
        """Steps 2 to 4."""
        if partitions.partition_column(table) == PARTITION_TIME:
            self._locks.transact(lambda connection: table_swap.add_time(connection, table))
        self._build_index(table)
        self._locks.transact(lambda connection: table_swap.add_bounds(connection, table, end))
        try:
            with self._database.serving() as connection:
                validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}")
                name = sql.Identifier(SCHEMA, table.name)
                connection.execute(validate.format(name, sql.Identifier(BOUNDS)))
        except errors.RowsRefused:
            self._locks.transact(lambda connection: table_swap.drop_bounds(connection, table))
            what = f"it has rows of events recorded after {end:%Y-%m-%d}, which is in the future"
            raise errors.PartitioningRefused((f"{SCHEMA}.{table.name}: {what}",)) from None
        self._report(f"{SCHEMA}.{table.name} is ready")

    def _build_index(self, table: sa.Table) -> None:
        """Step 3. An index that an earlier run has left unfinished is built anew."""
        name = table_swap.index_name(table)
        with self._alone() as connection:
            found = connection.execute(_INDEX, (name,)).fetchone()
            if found == (True,):
                return
            index = sql.Identifier(SCHEMA, f"{table.name}_p_key")
            connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(index))
            connection.execute(table_swap.unique_index(table, sql.SQL("CONCURRENTLY")))

    def _analyse(self, projection: Projection) -> None:
        """Autovacuum does not gather the statistics of a partitioned table itself."""
        for table in projection.tables:
            with self._alone() as connection:
                name = sql.Identifier(SCHEMA, table.name)
                connection.execute(sql.SQL("ANALYZE {}").format(name))

    @contextmanager
    def _alone(self) -> Iterator[psycopg.Connection]:
        """A connection for statements that are no part of a transaction."""
        try:
            with closing(open_connection(conninfo(self._url), _APPLICATION)) as connection:
                yield connection
        except psycopg.Error as why:
            raise ascribed(translate(why), self._url) from None
