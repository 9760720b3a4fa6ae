"""The comparison of a table with the temporary table of its expected rows, within PostgreSQL.

Rows with a primary key are joined by it. Rows without one are compared as a multiset, and what is
left over of a record is paired in the order of its values. Texts are compared byte by byte,
whatever the collation of their column. Each difference becomes a row of a temporary table, so that
memory stays bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from sinergi_consumers.projections.projection import RECORDED_AT, SCHEMA
from sinergi_consumers.sinks.postgresql.expected_tables import expected
from sinergi_consumers.sinks.postgresql.merge import real

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg
    import sqlalchemy as sa

    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.postgresql.retention import Retention
    from sinergi_consumers.sinks.postgresql.table_structure import TableStructure

UNCHECKED = sql.Identifier("pg_temp", "sinergi_unchecked")
HELD = sql.Identifier("pg_temp", "sinergi_held")

# Types whose values are equal only if they print the same. Others are compared as text.
_EXACT = (
    "bigint",
    "boolean",
    "bytea",
    "date",
    "double precision",
    "integer",
    "smallint",
    "timestamp with time zone",
    "uuid",
)
_PLACE = ("topic", "partition", "leaf_index")
_NUMBERS = frozenset({"revision", "partition", "leaf_index"})
_AS_NUMBER = sql.SQL("CASE WHEN {0}::text ~ '^[0-9]{{1,18}}$' THEN {0}::text::bigint END")
_RECORD = ("agency", "record_id", "revision")
_C = sql.SQL(' COLLATE "C"')
_ROWS_AT_ONCE = 500


def typed_key(number: int) -> str:
    """The column of a table of differences that has a column of the key, by its place there."""
    return f"sinergi_key_{number}"


class RowDifferenceKind(StrEnum):
    """How the rows of a table differ from what the events give."""

    MISSING = "missing"
    EXTRA = "extra"
    CHANGED = "changed"


class QuarantineHold(StrEnum):
    """Whether quarantine has the event that a row should come from."""

    NONE = ""
    # It becomes a row when it is tried now.
    HELD = "held"
    # A foreign key, trigger or rule of the table may have refused it, which is not tried. Or two
    # partitions have the revision, and the one that the reader got first has the row.
    UNDECIDED = "undecided"


class RowDifference(NamedTuple):
    """A row that is not what the events give.

    Attributes:
        table: with its schema.
        hold: whether quarantine has the event that the row should come from.
        topic, partition, leaf_index: of the event that the expected row comes from; for an extra
            row what the row itself names. The numbers are None where it names none.
        key: the columns that identify the row, as text.
        columns: the names of all columns.
        expected, found: their values as text; None where there is no such row.
    """

    table: str
    kind: RowDifferenceKind
    hold: QuarantineHold
    topic: str
    partition: int | None
    leaf_index: int | None
    key: tuple[tuple[str, str | None], ...]
    columns: tuple[str, ...]
    expected: tuple[str | None, ...] | None
    found: tuple[str | None, ...] | None

    @property
    def changes(self) -> list[tuple[str, str | None, str | None]]:
        """The columns that differ, each with the expected value and the one that was found."""
        if self.expected is None or self.found is None:
            return []
        values = zip(self.columns, self.expected, self.found, strict=True)
        return [each for each in values if each[1] != each[2]]


class DifferenceCount(NamedTuple):
    """How many rows differ in one way."""

    kind: RowDifferenceKind
    hold: QuarantineHold
    rows: int

    @property
    def is_certain(self) -> bool:
        """Whether the table is wrong, and has not refused the row for a reason of its own."""
        return self.hold is not QuarantineHold.UNDECIDED


@dataclass(frozen=True)
class TableComparison:
    """The comparison of one table.

    Attributes:
        projection: that fills the table.
        table: its declaration.
        structure: how the table is.
        is_partial: whether some of its rows are not compared; see `UNCHECKED`.
        retention: what was removed from the table; None if nothing was, or if more is missing.
    """

    projection: Projection
    table: sa.Table
    structure: TableStructure
    is_partial: bool = False
    retention: Retention | None = None

    @property
    def name(self) -> str:
        """The table with its schema."""
        return f"{SCHEMA}.{self.table.name}"

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that identify a row; of a table without a primary key those of its record."""
        if not self.structure.has_declared_key:
            return _RECORD
        time = (RECORDED_AT,) if self.structure.is_partitioned else ()
        return (*(column.name for column in self.table.primary_key), *time)

    @property
    def differences(self) -> sql.Identifier:
        """The temporary table with the differences."""
        return sql.Identifier("pg_temp", f"differs_{self.table.name}")

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.table.columns)

    def run(self, connection: psycopg.Connection, topics: Sequence[str] | None) -> None:
        """Find all differences, and mark those of records whose event is held in quarantine.

        Args:
            connection: in the transaction of the expected rows.
            topics: rows that name another topic are left out; None for no such limit.
        """
        statement = self._by_key if self.structure.has_declared_key else self._as_multiset
        chosen = statement(topics)
        make = "DROP TABLE IF EXISTS {0}; CREATE TEMPORARY TABLE {0} ON COMMIT DROP AS {1}"
        connection.execute(sql.SQL(make).format(self.differences, chosen))
        connection.execute(
            sql.SQL("UPDATE {} AS d SET hold = h.hold FROM {} AS h WHERE {}").format(
                self.differences, HELD, self._same_record("d", "h")
            )
        )

    def count_removed(self, connection: psycopg.Connection, removed: Retention) -> int:
        """How many of the missing rows a removal can be the reason for."""
        count = sql.SQL("SELECT count(*) FROM {} AS d, {} AS r WHERE {}")
        row = connection.execute(count.format(*self._missing_before(removed))).fetchone()
        return int(row[0]) if row else 0

    def forget_removed(self, connection: psycopg.Connection) -> int:
        """Forget the rows that are missing because they were removed; how many there were."""
        if self.retention is None:
            return 0
        forget = sql.SQL("DELETE FROM {} AS d USING {} AS r WHERE {}")
        return connection.execute(forget.format(*self._missing_before(self.retention))).rowcount

    def _missing_before(
        self, removed: Retention
    ) -> tuple[sql.Identifier, sql.Identifier, sql.Composed]:
        """The missing rows of events from before a removal: two tables and a condition.

        A row of a list is missing for that reason only if the record table has no row of its event.
        An event that quarantine holds never had a row.
        """
        record = self.projection.record
        condition = sql.SQL(
            "d.kind = 'missing' AND d.hold = '' AND {same} AND r.{time} < {before}"
            " AND NOT EXISTS (SELECT FROM {real} AS f WHERE {stored} OFFSET 0)"
        ).format(
            same=self._same_record("d", "r"),
            time=sql.Identifier(RECORDED_AT),
            before=sql.Literal(removed.before),
            real=real(record),
            stored=self._same_record("r", "f"),
        )
        return self.differences, expected(record), condition

    def counts(self, connection: psycopg.Connection) -> list[DifferenceCount]:
        """How many rows differ, by kind."""
        rows = connection.execute(
            sql.SQL("SELECT kind, hold, count(*) FROM {} GROUP BY 1, 2 ORDER BY 1, 2").format(
                self.differences
            )
        )
        return [
            DifferenceCount(RowDifferenceKind(kind), QuarantineHold(hold), count)
            for kind, hold, count in rows
        ]

    def column_counts(self, connection: psycopg.Connection) -> dict[str, int]:
        """In how many changed rows each column differs."""
        rows = connection.execute(
            sql.SQL(
                "SELECT n, count(*) FROM {}, generate_subscripts(expected, 1) AS n"
                " WHERE kind = 'changed' AND expected[n] IS DISTINCT FROM found[n]"
                " GROUP BY n ORDER BY n"
            ).format(self.differences)
        )
        return {self._names[number - 1]: count for number, count in rows}

    def compared(self, connection: psycopg.Connection) -> int:
        """How many rows are expected."""
        row = connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(expected(self.table))
        ).fetchone()
        return int(row[0]) if row else 0

    def rows(
        self, connection: psycopg.Connection, most: int | None = None
    ) -> Iterator[RowDifference]:
        """The differences in the order of their leaves; at most so many."""
        statement = sql.SQL(
            "SELECT kind, hold, topic, partition, leaf_index, key, expected, found FROM {}"
            " ORDER BY topic, partition, leaf_index, key LIMIT {}"
        ).format(self.differences, sql.Literal(most))
        with connection.cursor(name="sinergi_differences") as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            cursor.execute(statement)
            for kind, hold, topic, partition, leaf, key, *sides in cursor:
                wanted, found = (None if each is None else tuple(each) for each in sides)
                yield RowDifference(
                    self.name,
                    RowDifferenceKind(kind),
                    QuarantineHold(hold),
                    topic,
                    partition,
                    leaf,
                    tuple(zip(self.key, key, strict=True)),
                    self._names,
                    wanted,
                    found,
                )

    def _by_key(self, topics: Sequence[str] | None) -> sql.Composed:
        """Join the rows by their primary key."""
        join = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(self._value("e", name), self._value("f", name))
            for name in self.key
        )
        differs = sql.SQL(" OR ").join(
            sql.SQL("{} IS DISTINCT FROM {}").format(self._value("e", name), self._value("f", name))
            for name in self._names
        )
        sources = sql.SQL("{} AS e FULL JOIN {} AS f ON {}").format(
            expected(self.table), real(self.table), join
        )
        return self._selected(sources, differs, topics)

    def _as_multiset(self, topics: Sequence[str] | None) -> sql.Composed:
        """Pair the rows of each record that are left over on either side."""
        names = sql.SQL(", ").join(map(sql.Identifier, self._names))
        key = sql.SQL(", ").join(map(sql.Identifier, self.projection.kind.key))
        rows = sql.SQL("SELECT {} FROM {} AS r")
        values = [
            sql.SQL("{} AS {}").format(self._value("r", name), sql.Identifier(name))
            for name in self._names
        ]
        of_expected, of_found = (
            rows.format(sql.SQL(", ").join(values), source)
            for source in (expected(self.table), real(self.table))
        )
        left_over = sql.SQL(
            "(SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY {names})"
            " AS sinergi_number FROM ({one} EXCEPT ALL {other}) AS r)"
        )
        sources = sql.SQL(
            "{} AS e FULL JOIN {} AS f ON {} AND e.sinergi_number = f.sinergi_number"
        ).format(
            left_over.format(key=key, names=names, one=of_expected, other=of_found),
            left_over.format(key=key, names=names, one=of_found, other=of_expected),
            self._same_record("e", "f"),
        )
        return self._selected(sources, sql.SQL("true"), topics)

    def _selected(
        self, sources: sql.Composed, differs: sql.Composable, topics: Sequence[str] | None
    ) -> sql.Composed:
        conditions: list[sql.Composable] = [
            sql.SQL("(e.event_id IS NULL OR f.event_id IS NULL OR {})").format(differs)
        ]
        if topics is not None:
            conditions.append(
                sql.SQL("(e.event_id IS NOT NULL OR f.topic = ANY({}))").format(
                    sql.Literal(list(topics))
                )
            )
        if self.is_partial:
            unchecked = sql.SQL("NOT EXISTS (SELECT FROM {} AS u WHERE {})").format(
                UNCHECKED,
                sql.SQL(" AND ").join(
                    sql.SQL("u.{} = {}").format(sql.Identifier(name), self._either(name))
                    for name in self.projection.kind.key
                ),
            )
            conditions.append(unchecked)
        return sql.SQL(
            "SELECT CASE WHEN e.event_id IS NULL THEN 'extra' WHEN f.event_id IS NULL"
            " THEN 'missing' ELSE 'changed' END AS kind, '' AS hold, {either}, {typed},"
            " ARRAY[{key}] AS key,"
            " CASE WHEN e.event_id IS NOT NULL THEN ARRAY[{e}] END AS expected,"
            " CASE WHEN f.event_id IS NOT NULL THEN ARRAY[{f}] END AS found"
            " FROM {sources} WHERE {where}"
        ).format(
            either=sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(self._either(name), sql.Identifier(name))
                for name in (*_RECORD, *_PLACE)
            ),
            typed=sql.SQL(", ").join(
                sql.SQL("coalesce(e.{0}, f.{0}) AS {1}").format(
                    sql.Identifier(name), sql.Identifier(typed_key(number))
                )
                for number, name in enumerate(self.key)
            ),
            key=sql.SQL(", ").join(
                sql.SQL("coalesce(e.{0}, f.{0})::text").format(sql.Identifier(name))
                for name in self.key
            ),
            e=self._texts("e"),
            f=self._texts("f"),
            sources=sources,
            where=sql.SQL(" AND ").join(conditions),
        )

    def _either(self, name: str) -> sql.Composed:
        """The value of the expected row, or else of the one that was found."""
        either = sql.SQL("coalesce(e.{0}, f.{0})").format(sql.Identifier(name))
        return safe_value(either, name, self.structure)

    def _same_record(self, one: str, other: str) -> sql.Composed:
        return sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(one, name), sql.Identifier(other, name))
            for name in self.projection.kind.key
        )

    def _texts(self, side: str) -> sql.Composed:
        return sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier(side, name)) for name in self._names
        )

    def _value(self, side: str, name: str) -> sql.Composed:
        """A value as it is compared."""
        value = sql.Identifier(side, name)
        kind = self.structure.types[name]
        if self.structure.is_as_declared and (kind in _EXACT or kind.startswith("numeric(")):
            return sql.Composed([value])
        return sql.SQL("{}::text").format(value) + _C


def safe_value(value: sql.Composable, name: str, structure: TableStructure) -> sql.Composed:
    """A value of a record's key or place that can be compared, whatever the table's columns are.

    A view may give its columns any type. What is no number is null then.

    Args:
        value: the value as SQL.
        name: of the column.
    """
    if structure.is_as_declared:
        return sql.Composed([value])
    form = _AS_NUMBER if name in _NUMBERS else sql.SQL("{0}::text")
    return form.format(value)
