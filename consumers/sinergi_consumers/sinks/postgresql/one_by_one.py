"""Merge events one by one within PostgreSQL, so that each can be refused alone.

If a unique or foreign key, a trigger or an index of the target table refuses a row, the whole
statement fails. So each event has its own statements. They run in one PL/pgSQL block, where an
EXCEPTION clause is a savepoint without a round trip, and a statement for one event costs a tenth of
a statement for a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from sinergi_consumers.projections.naming import PARTITION_TIME
from sinergi_consumers.sinks.postgresql import merge
from sinergi_schemas.postgresql import faults

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy as sa

    from sinergi_consumers.sinks.postgresql.merge import Merge
    from sinergi_schemas import errors

_REFUSED = sql.Identifier("pg_temp", "sinergi_refused")

_BLOCK = sql.SQL("""
#variable_conflict use_column
DECLARE
    sinergi_event record;
    sinergi_replaced boolean;
    sinergi_recorded_at timestamptz;
    sinergi_state text;
    sinergi_table text;
    sinergi_column text;
    sinergi_constraint text;
BEGIN
    FOR sinergi_event IN
        SELECT leaf_index, agency, record_id FROM {incoming} ORDER BY leaf_index
    LOOP
        BEGIN
            {insert} RETURNING {replaced}, {recorded_at}
                INTO sinergi_replaced, sinergi_recorded_at;
            IF FOUND THEN
                {children}
            END IF;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS sinergi_state = RETURNED_SQLSTATE,
                sinergi_table = TABLE_NAME, sinergi_column = COLUMN_NAME,
                sinergi_constraint = CONSTRAINT_NAME;
            IF NOT (left(sinergi_state, 2) IN ({classes}) OR sinergi_state IN ({codes})) THEN
                RAISE;
            END IF;
            INSERT INTO {refused}
            VALUES (sinergi_event.leaf_index, sinergi_state,
                ARRAY[sinergi_table, sinergi_column, sinergi_constraint]);
        END;
    END LOOP;
END
""")

_CHILD_OF_REPLACED = sql.SQL("""
                IF sinergi_replaced THEN
                    DELETE FROM {real} AS stored WHERE stored.agency = sinergi_event.agency
                        AND stored.record_id = sinergi_event.record_id;
                END IF;
""")

_CHILD = sql.SQL("""
                INSERT INTO {real} ({columns}{time}) SELECT {columns}{its_time}
                    FROM {incoming} AS arrived
                    WHERE arrived.leaf_index = sinergi_event.leaf_index;
""")


def merge_arrived(
    connection: psycopg.Connection, statements: Merge
) -> dict[int, errors.RowsRefused]:
    """Merge the rows of the temporary tables, in the order of the leaves.

    Returns:
        The refused leaves and the reason.

    Raises:
        psycopg.Error: the cause is not a row. The caller must roll back.
    """
    tables = statements.projection.tables
    connection.execute(_prepare(tables))
    connection.execute(_block(statements))
    found = {
        leaf: faults.rows_refused(state, names)
        for leaf, state, names in connection.execute(
            sql.SQL("SELECT leaf_index, state, names FROM {} ORDER BY leaf_index").format(_REFUSED)
        )
    }
    connection.execute(_clear(tables))
    return found


def _block(statements: Merge) -> sql.Composed:
    record = statements.projection.record
    one = sql.SQL("leaf_index = sinergi_event.leaf_index")
    time, its_time = sql.Composed([]), sql.SQL("")
    if statements.is_partitioned:
        time = sql.SQL(", {}").format(sql.Identifier(PARTITION_TIME))
        its_time = sql.SQL(", sinergi_recorded_at")
    block = _BLOCK.format(
        incoming=merge.incoming(record),
        insert=statements.insert_winners(one),
        replaced=statements.replaced,
        recorded_at=statements.recorded_at,
        children=sql.SQL("").join(
            [
                *(_CHILD_OF_REPLACED.format(real=each) for each in statements.child_targets),
                *(
                    _CHILD.format(
                        real=statements.target(child),
                        columns=merge.columns(child),
                        incoming=merge.incoming(child),
                        time=time,
                        its_time=its_time,
                    )
                    for child in statements.projection.children
                ),
                sql.SQL("NULL;"),
            ]
        ),
        refused=_REFUSED,
        classes=sql.SQL(", ").join(faults.ROW_CLASSES),
        codes=sql.SQL(", ").join(faults.ROW_CODES),
    )
    return sql.SQL("DO {}").format(sql.Literal(block.as_string(None)))


def _prepare(tables: tuple[sa.Table, ...]) -> sql.Composed:
    """Create the indexes by which the block finds the rows of each event."""
    make = sql.SQL("CREATE TEMPORARY TABLE {} (leaf_index bigint, state text, names text[])")
    index = sql.SQL("CREATE INDEX {} ON {} (leaf_index)")
    return sql.SQL("; ").join(
        [
            make.format(_REFUSED),
            *(
                index.format(sql.Identifier(_index(number)), merge.incoming(table))
                for number, table in enumerate(tables)
            ),
        ]
    )


def _clear(tables: tuple[sa.Table, ...]) -> sql.Composed:
    names = [sql.Identifier("pg_temp", _index(number)) for number in range(len(tables))]
    return sql.SQL("DROP TABLE {}; DROP INDEX {}").format(_REFUSED, sql.SQL(", ").join(names))


def _index(number: int) -> str:
    return f"sinergi_by_leaf_{number}"
