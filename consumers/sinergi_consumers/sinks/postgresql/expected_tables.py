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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    import psycopg
    import sqlalchemy as sa

    from sinergi_consumers.decode.batches import RefusedEvent
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.postgresql.table_structure import TableStructure
    from sinergi_schemas import errors
    from sinergi_schemas.topics import TopicPartition

REFUSALS = sql.Identifier("pg_temp", "sinergi_expected_refusal")

_MAKE_REFUSALS = sql.SQL(
    "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM sinergi_consumer.quarantine"
    " WITH NO DATA"
).format(REFUSALS, sql.SQL(REFUSED))
_REFUSE = sql.SQL("INSERT INTO {} ({}) {}").format(
    REFUSALS, sql.SQL(REFUSED), sql.SQL(REFUSED_VALUES)
)
# Records of which two partitions have the same revision, each by the projection's name.
SPLIT = sql.Identifier("pg_temp", "sinergi_split")
_MAKE_SPLIT = sql.SQL(
    "CREATE TEMPORARY TABLE {} (projection text, agency text, record_id text) ON COMMIT DROP"
).format(SPLIT)
_FIND_SPLIT = sql.SQL(
    "INSERT INTO {split} SELECT DISTINCT {name}, arrived.agency, arrived.record_id"
    " FROM {incoming} AS arrived JOIN {target} AS stored USING ({key})"
    " WHERE stored.partition <> arrived.partition AND stored.revision = arrived.revision"
)


def is_split(event: str) -> sql.Composed:
    """Whether two partitions have the revision of the record of a refused or quarantined event.

    Args:
        event: the alias of a table with its projection and the hash of its key.
    """
    return sql.SQL(
        "EXISTS (SELECT FROM {split} AS s WHERE s.projection = {event}.projection"
        " AND sha256(convert_to(s.record_id, 'UTF8')) = {event}.key_hash)"
    ).format(split=SPLIT, event=sql.Identifier(event))


def expected(table: sa.Table) -> sql.Identifier:
    """The temporary table with the rows that a table should have."""
    return sql.Identifier("pg_temp", f"expected_{table.name}")


class ExpectedMerge(Merge):
    """The statements that merge rows into the temporary tables. Quarantine stays as it is."""

    @property
    def may_be_partitioned(self) -> bool:
        """A temporary table is not partitioned, whatever the table itself is."""
        return False

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
        connection.execute(_MAKE_SPLIT)
        connection.execute(merge.create_temporary_tables(merges.values(), persistent=False))

    def merge(self, projection: Projection, rows: Mapping[str, pl.DataFrame]) -> Sequence[int]:
        """As `PostgresqlTransaction.merge`; records in two partitions are remembered."""
        found = super().merge(projection, rows)
        self._find_split(projection)
        return found

    def merge_one_by_one(
        self, projection: Projection, rows: Mapping[str, pl.DataFrame]
    ) -> Mapping[int, errors.RowsRefused | None]:
        """As `PostgresqlTransaction.merge_one_by_one`; records in two partitions are remembered."""
        found = super().merge_one_by_one(projection, rows)
        self._find_split(projection)
        return found

    def _find_split(self, projection: Projection) -> None:
        """Remember records that the last merge found in another partition, at the same revision.

        Partitions have no order between them: the one that a reader gets first has the row. An
        honest publisher never does this.
        """
        record = projection.record
        self._connection.execute(
            _FIND_SPLIT.format(
                split=SPLIT,
                name=sql.Literal(projection.name),
                incoming=merge.incoming(record),
                target=expected(record),
                key=sql.SQL(", ").join(map(sql.Identifier, projection.kind.key)),
            )
        )

    def quarantine(
        self, projection: Projection, tp: TopicPartition, refused: Sequence[RefusedEvent]
    ) -> None:
        """Remember the events that could not become rows of a projection."""
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
        if found.is_as_declared and found.is_partitioned:
            _create_unpartitioned(connection, table)
        elif found.is_as_declared:
            make = "DROP TABLE {}; CREATE TEMPORARY TABLE {} (LIKE {} {}) ON COMMIT DROP"
            like = sql.SQL("INCLUDING CONSTRAINTS INCLUDING INDEXES")
            names = declared(table), expected(table), real(table)
            connection.execute(sql.SQL(make).format(*names, like))
        else:
            rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
            name = sql.Identifier(f"expected_{table.name}")
            connection.execute(rename.format(declared(table), name))
    return structures


def _create_unpartitioned(connection: psycopg.Connection, table: sa.Table) -> None:
    """Make the temporary table of one that is partitioned, with the key that is declared."""
    connection.execute(
        sql.SQL(
            "DROP TABLE {}; CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING CONSTRAINTS)"
            " ON COMMIT DROP; {}; ALTER TABLE {} ADD PRIMARY KEY ({})"
        ).format(
            declared(table),
            expected(table),
            real(table),
            merge.without_partitioning(expected(table)),
            expected(table),
            sql.SQL(", ").join(sql.Identifier(each.name) for each in table.primary_key),
        )
    )
