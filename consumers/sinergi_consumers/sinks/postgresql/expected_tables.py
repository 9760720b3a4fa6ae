"""Temporary tables with the rows that the tables of projections should have.

Events are merged into them by the same statements as into the tables themselves, within a
transaction that sees both. They have the columns, CHECK constraints and unique indexes of the
tables, so that they refuse the same rows. Foreign keys and triggers of a table are not among them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from psycopg import sql

from sinergi_consumers.sinks.postgresql import merge
from sinergi_consumers.sinks.postgresql.merge import Merge, real
from sinergi_consumers.sinks.postgresql.quarantine_rows import (
    REFUSED,
    REFUSED_VALUES,
    refused_columns,
)
from sinergi_consumers.sinks.postgresql.table_structure import (
    compare_structure,
    create_declared,
    declared,
)
from sinergi_consumers.sinks.postgresql.transaction import PostgresqlTransaction
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg
    import sqlalchemy as sa

    from sinergi_consumers.decode.decoder import RefusedEvent
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import Leaves
    from sinergi_consumers.sinks.postgresql.table_structure import TableStructure

REFUSALS = sql.Identifier("pg_temp", "sinergi_expected_refusal")

_MAKE_REFUSALS = sql.SQL(
    "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM sinergi_consumer.quarantine"
    " WITH NO DATA"
).format(REFUSALS, sql.SQL(REFUSED))
_REFUSE = sql.SQL("INSERT INTO {} ({}) {}").format(
    REFUSALS, sql.SQL(REFUSED), sql.SQL(REFUSED_VALUES)
)


def expected(table: sa.Table) -> sql.Identifier:
    """The temporary table with the rows that a table should have."""
    return sql.Identifier("pg_temp", f"expected_{table.name}")


class ExpectedMerge(Merge):
    """The statements that merge rows into the temporary tables. Quarantine stays as it is."""

    def target(self, table: sa.Table) -> sql.Identifier:
        """The temporary table."""
        return expected(table)

    @cached_property
    def supersede_by_arrived(self) -> sql.Composed:
        """Nothing."""
        return sql.Composed([sql.SQL("SELECT")])


class ExpectedTransaction(PostgresqlTransaction):
    """Merges into the temporary tables, and remembers which events are refused.

    Args:
        connection: in a transaction.
        projections: those whose rows are to be merged; `create` has made their temporary tables.
    """

    def __init__(self, connection: psycopg.Connection, projections: Sequence[Projection]) -> None:
        merges = {each.name: ExpectedMerge(each) for each in projections}
        super().__init__(connection, merges, 0)
        connection.execute(_MAKE_REFUSALS)
        connection.execute(merge.create_temporary_tables(merges.values(), persistent=False))

    def quarantine(
        self, projection: Projection, leaves: Leaves, refused: Sequence[RefusedEvent]
    ) -> None:
        """Remember the events that could not become rows of a projection."""
        tp = TopicPartition(leaves.topic.name, leaves.partition)
        columns = zip(*map(refused_columns, refused), strict=True)
        self._connection.execute(_REFUSE, [projection.name, *tp, *map(list, columns)])

    def analyse(self) -> None:
        """Give the server statistics of the temporary tables, before they are compared."""
        for each in self._merges.values():
            for table in each.projection.tables:
                self._connection.execute(sql.SQL("ANALYZE {}").format(expected(table)))


def create(connection: psycopg.Connection, projection: Projection) -> Mapping[str, TableStructure]:
    """Make the temporary tables of a projection.

    Returns:
        How each of its tables differs from its declaration.
    """
    structures = {}
    for table in projection.tables:
        create_declared(connection, table)
        found = structures[table.name] = compare_structure(connection, table)
        if found.is_as_declared:
            make = "DROP TABLE {}; CREATE TEMPORARY TABLE {} (LIKE {} {}) ON COMMIT DROP"
            like = sql.SQL("INCLUDING CONSTRAINTS INCLUDING INDEXES")
            names = declared(table), expected(table), real(table)
            connection.execute(sql.SQL(make).format(*names, like))
        else:
            rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
            name = sql.Identifier(f"expected_{table.name}")
            connection.execute(rename.format(declared(table), name))
    return structures
