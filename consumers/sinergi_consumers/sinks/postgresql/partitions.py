"""The partitions of a history: one for each month, by the time at which events were recorded.

Whether a table is partitioned is read from the catalogue. A publisher signs the time, so it is the
same in every database. Of a table `T`, with the record table partitioned by `recorded_at` and the
tables of lists by `event_recorded_at`:

    T_p2027_02   the events recorded in that month, in UTC
    T_p_older    the rows from before the table was partitioned, up to a month
    T_p_other    the default: whatever no other partition takes, so that every event has a place

Rows of T_p_older in the table of a list have the time -infinity.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from sinergi_consumers.decode.layout import POSITION
from sinergi_consumers.projections.naming import PARTITION_TIME
from sinergi_consumers.projections.projection import RECORDED_AT, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    import sqlalchemy as sa

BOUNDS = "sinergi_partition_bounds"
"""The CHECK constraint on a table that is being converted: its rows fit into `T_p_older`."""

MONTHS_AHEAD = 12

_PARTITIONED = """
    SELECT c.relname FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind = 'p'
"""
_PARTITIONS = """
    SELECT p.relname, pg_catalog.pg_get_expr(p.relpartbound, p.oid)
    FROM pg_catalog.pg_inherits AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.inhparent
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class AS p ON p.oid = i.inhrelid
    WHERE n.nspname = %s AND c.relname = %s
"""
_BOUND = re.compile(r"FROM \((?:'([^']+)'|MINVALUE)\) TO \('([^']+)'\)")


class Month(NamedTuple):
    """A month in UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, at: datetime) -> Month:
        """The month of a time."""
        at = at.astimezone(UTC)
        return cls(at.year, at.month)

    def plus(self, months: int) -> Month:
        """So many months later."""
        years, month = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(years, month + 1)

    @property
    def start(self) -> datetime:
        """Its first instant."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def name(self) -> str:
        """As in the names of partitions."""
        return f"{self.year:04}_{self.number:02}"


class TablePartition(NamedTuple):
    """A partition of a table.

    Attributes:
        start: when its first event may have been recorded; None without a bound.
        end: when the events after it were recorded; None for the default partition.
    """

    name: str
    start: datetime | None
    end: datetime | None

    @property
    def identifier(self) -> sql.Identifier:
        """Its name as SQL."""
        return sql.Identifier(SCHEMA, self.name)


def partition_column(table: sa.Table) -> str:
    """The column by which a table of a history can be partitioned."""
    return PARTITION_TIME if POSITION in table.primary_key.columns else RECORDED_AT


def monthly(table: sa.Table, month: Month) -> TablePartition:
    """The partition of a month."""
    return TablePartition(f"{table.name}_p{month.name}", month.start, month.plus(1).start)


def older(table: sa.Table, end: datetime) -> TablePartition:
    """The partition with the rows from before a table was partitioned."""
    return TablePartition(f"{table.name}_p_older", None, end)


def default(table: sa.Table) -> TablePartition:
    """The default partition."""
    return TablePartition(f"{table.name}_p_other", None, None)


def partitioned_tables(connection: psycopg.Connection) -> set[str]:
    """The tables of people that are partitioned, by name."""
    return {name for (name,) in connection.execute(_PARTITIONED, (SCHEMA,))}


def partitions_of(connection: psycopg.Connection, table: sa.Table) -> list[TablePartition]:
    """The partitions of a table, the default first and then the oldest first."""
    found = [
        TablePartition(name, *_bounds(text))
        for name, text in connection.execute(_PARTITIONS, (SCHEMA, table.name))
    ]
    return sorted(found, key=lambda each: (each.end or _NEVER, each.name))


def coming(found: list[TablePartition], now: datetime) -> Iterator[Month]:
    """The months, from this one to `MONTHS_AHEAD`, that no partition covers."""
    first = Month.of(now)
    for month in (first.plus(number) for number in range(MONTHS_AHEAD + 1)):
        if not any(
            each.end is not None
            and month.start < each.end
            and (each.start is None or each.start <= month.start)
            for each in found
        ):
            yield month


def create_month(connection: psycopg.Connection, table: sa.Table, month: Month) -> int:
    """Make the partition of a month, with the rows that the default partition has of it.

    Args:
        connection: in a transaction whose time zone is UTC.

    Returns:
        How many rows were moved.
    """
    made, column = monthly(table, month), sql.Identifier(partition_column(table))
    parent, other = sql.Identifier(SCHEMA, table.name), default(table).identifier
    bounds = {"start": sql.Literal(made.start), "end": sql.Literal(made.end)}
    connection.execute(
        sql.SQL(
            "CREATE TABLE {made} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
            " INCLUDING STORAGE INCLUDING COMPRESSION); LOCK TABLE {other} IN ACCESS EXCLUSIVE MODE"
        ).format(made=made.identifier, parent=parent, other=other)
    )
    own(connection, made.identifier, parent)
    moved = connection.execute(
        sql.SQL(
            "WITH moved AS (DELETE FROM {other} WHERE {column} >= {start} AND {column} < {end}"
            " RETURNING *) INSERT INTO {made} SELECT * FROM moved"
        ).format(other=other, column=column, made=made.identifier, **bounds)
    ).rowcount
    attach(connection, table, made)
    return moved


def attach(connection: psycopg.Connection, table: sa.Table, partition: TablePartition) -> None:
    """Attach a table as a partition."""
    start = sql.SQL("MINVALUE") if partition.start is None else sql.Literal(partition.start)
    bounds = sql.SQL("FOR VALUES FROM ({}) TO ({})").format(start, sql.Literal(partition.end))
    connection.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} {}").format(
            sql.Identifier(SCHEMA, table.name),
            partition.identifier,
            sql.SQL("DEFAULT") if partition.end is None else bounds,
        )
    )


def own(connection: psycopg.Connection, made: sql.Identifier, alike: sql.Identifier) -> None:
    """Give a table to the owner of another one."""
    row = connection.execute(
        "SELECT pg_catalog.pg_get_userbyid(relowner) FROM pg_catalog.pg_class"
        " WHERE oid = %s::regclass",
        (alike.as_string(connection),),
    ).fetchone()
    assert row is not None
    connection.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(made, sql.Identifier(row[0])))


_NEVER = datetime.min.replace(tzinfo=UTC)


def _bounds(text: str) -> tuple[datetime | None, datetime | None]:
    """The bounds in a partition's expression, in a session whose time zone is UTC."""
    found = _BOUND.search(text)
    if found is None:
        return None, None
    start, end = (None if each is None else datetime.fromisoformat(each) for each in found.groups())
    return start, end
