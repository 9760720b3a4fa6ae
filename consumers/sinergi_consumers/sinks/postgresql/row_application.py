"""Puts the rows of a table right: the differences of `row_comparison`, applied as DML.

Rows are updated in place and not written anew, so that foreign keys to them hold. Views, grants,
foreign keys and triggers stay as they are, and triggers fire. Differences that a foreign key, a
trigger or a rule of the table may be the cause of are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from sinergi_consumers.projections.naming import PARTITION_TIME
from sinergi_consumers.projections.projection import RECORDED_AT
from sinergi_consumers.sinks.postgresql import merge
from sinergi_consumers.sinks.postgresql.expected_tables import REFUSALS, expected, is_split
from sinergi_consumers.sinks.postgresql.merge import Merge, real
from sinergi_consumers.sinks.postgresql.quarantine_rows import REFUSED, storing
from sinergi_consumers.sinks.postgresql.row_comparison import typed_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.postgresql.row_comparison import TableComparison
    from sinergi_consumers.sinks.protocol import Decision

_REFUSE = sql.SQL(
    storing(f"SELECT {REFUSED} FROM {{}} AS r WHERE r.projection = %s AND NOT {{}}")  # noqa: S608 - ours
).format(REFUSALS, is_split("r"))
_RETRIED = sql.SQL("""
    WITH done AS (
        UPDATE sinergi_consumer.quarantine AS q SET state = 'retried'
        FROM sinergi_consumer.position AS p
        WHERE q.projection = {name} AND q.state <> 'retried' AND p.projection = q.projection
            AND p.topic = q.topic AND p.partition = q.partition AND q.leaf_index < p.tree_size
            AND NOT (q.reason = 'rows-refused' AND {may_refuse_more})
            AND NOT {is_split} AND NOT EXISTS (
                SELECT FROM {refusals} AS r WHERE r.projection = q.projection
                    AND r.topic = q.topic AND r.partition = q.partition
                    AND r.leaf_index = q.leaf_index
            )
        RETURNING q.projection, q.topic, q.partition, q.leaf_index
    )
    INSERT INTO sinergi_consumer.decision
        (projection, topic, partition, leaf_index, action, outcome, decided_by, why)
    SELECT done.*, 'retry', 'retried', {by}, {why} FROM done
""")


class AppliedRows(NamedTuple):
    """How many rows of all tables were written."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    def __add__(self, other: object) -> AppliedRows:
        assert isinstance(other, AppliedRows)
        return AppliedRows(*(one + more for one, more in zip(self, other, strict=True)))


def lock(connection: psycopg.Connection, projection: Projection) -> None:
    """Keep others from writing to the tables of a projection until the commit. They can read."""
    tables = sql.SQL(", ").join(map(real, projection.tables))
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(tables))


def apply(connection: psycopg.Connection, comparisons: Sequence[TableComparison]) -> AppliedRows:
    """Apply the differences of a projection's tables.

    A foreign key of the agency's may lead from a child table to the record table. So rows of the
    record table come first and go last.

    Args:
        comparisons: of all tables, the record table first.

    Raises:
        psycopg.Error: the database refuses a row.
    """
    record, *children = comparisons
    done = _put(connection, record)
    for each in children:
        done += _delete(connection, each)
        done += _put(connection, each)
    return done + _delete(connection, record)


def settle_quarantine(
    connection: psycopg.Connection,
    projection: Projection,
    decision: Decision,
    *,
    may_refuse_more: bool,
) -> int:
    """Bring quarantine to the state that goes with the expected rows.

    Events that are refused are in quarantine. Events that are not refused are retried, also those
    that somebody had discarded: their rows are there now.

    Args:
        may_refuse_more: whether a foreign key, a trigger or a rule of the tables may have refused
            rows. Events that are in quarantine for such a reason stay there.

    Returns:
        How many events are retried.
    """
    connection.execute(_REFUSE, (projection.name,))
    retried = connection.execute(
        _RETRIED.format(
            name=sql.Literal(projection.name),
            may_refuse_more=sql.Literal(may_refuse_more),
            refusals=REFUSALS,
            is_split=is_split("q"),
            by=sql.Literal(decision.by),
            why=sql.Literal(decision.why),
        )
    )
    connection.execute(Merge(projection).supersede_by(expected(projection.record)))
    return retried.rowcount


def _put(connection: psycopg.Connection, comparison: TableComparison) -> AppliedRows:
    """Update the changed rows and insert the missing ones; without a key only insert."""
    table, names = comparison.table, merge.columns(comparison.table)
    if not comparison.structure.has_declared_key:
        time, its_time = _partition_time(comparison)
        inserted = connection.execute(
            sql.SQL(
                "INSERT INTO {real} ({names}{time}) SELECT {names}{its_time} FROM {expected} AS e"
                " WHERE EXISTS (SELECT FROM {differs} AS d WHERE {record}"
                " AND d.hold <> 'undecided')"
            ).format(
                real=real(table),
                names=names,
                time=time,
                its_time=its_time,
                expected=expected(table),
                differs=comparison.differences,
                record=_same_record(comparison, "e"),
            )
        )
        return AppliedRows(inserted=inserted.rowcount)
    source = sql.SQL("{expected} AS e JOIN {differs} AS d ON {key}").format(
        expected=expected(table), differs=comparison.differences, key=_same_key(comparison, "e")
    )
    changes = sql.SQL(", ").join(
        sql.SQL("{0} = e.{0}").format(sql.Identifier(column.name))
        for column in table.columns
        if column.name not in comparison.key
    )
    updated = connection.execute(
        sql.SQL(
            "UPDATE {} AS f SET {} FROM {}"
            " WHERE {} AND d.kind = 'changed' AND d.hold <> 'undecided'"
        ).format(real(table), changes, source, _same_key(comparison, "f"))
    )
    values = sql.SQL(", ").join(sql.Identifier("e", column.name) for column in table.columns)
    inserted = connection.execute(
        sql.SQL(
            "INSERT INTO {} ({}) SELECT {} FROM {}"
            " WHERE d.kind = 'missing' AND d.hold <> 'undecided'"
        ).format(real(table), names, values, source)
    )
    return AppliedRows(inserted=inserted.rowcount, updated=updated.rowcount)


def _partition_time(comparison: TableComparison) -> tuple[sql.Composed, sql.Composed]:
    """The column by which a partitioned table of a list is partitioned, and its value."""
    if not comparison.structure.is_partitioned:
        return sql.Composed([]), sql.Composed([])
    record = comparison.projection.record
    return sql.SQL(", {}").format(sql.Identifier(PARTITION_TIME)), sql.SQL(
        ", (SELECT r.{} FROM {} AS r WHERE {})"
    ).format(
        sql.Identifier(RECORDED_AT),
        expected(record),
        sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("r", name), sql.Identifier("e", name))
            for name in comparison.projection.kind.key
        ),
    )


def _delete(connection: psycopg.Connection, comparison: TableComparison) -> AppliedRows:
    """Delete the extra rows; without a key all rows of each record that differs."""
    has_key = comparison.structure.has_declared_key
    same = _same_key(comparison, "f") if has_key else _same_record(comparison, "f")
    deleted = connection.execute(
        sql.SQL(
            "DELETE FROM {} AS f USING {} AS d WHERE {} AND d.hold <> 'undecided' AND {}"
        ).format(
            real(comparison.table),
            comparison.differences,
            same,
            sql.SQL("d.kind = 'extra'" if has_key else "true"),
        )
    )
    return AppliedRows(deleted=deleted.rowcount)


def _same_key(comparison: TableComparison, side: str) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(
            sql.Identifier(side, name), sql.Identifier("d", typed_key(number))
        )
        for number, name in enumerate(comparison.key)
    )


def _same_record(comparison: TableComparison, side: str) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(side, name), sql.Identifier("d", name))
        for name in comparison.projection.kind.key
    )
