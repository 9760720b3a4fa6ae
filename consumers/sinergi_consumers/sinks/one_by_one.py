"""Merging events one at a time within PostgreSQL, so that each can be refused alone.

What a unique or foreign key, a trigger or an index of the real table says of a row shows when the
row is put in, and the statement fails with all its rows. So each event is put in by statements of
its own. They run within one block of PL/pgSQL: an EXCEPTION clause is a savepoint that costs no
round trip, and a statement for one event costs a tenth of one for a batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.errors import lookup

from sinergi_consumers.sinks import merge
from sinergi_schemas import errors

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy as sa

    from sinergi_consumers.sinks.merge import Merge

_REFUSED = sql.Identifier("pg_temp", "sinergi_refused")

# `program_limit_exceeded` stands for a class of which 54000 alone speaks of a row; see
# `sinergi_schemas.postgresql.faults`, which knows the same ones.
_BLOCK = sql.SQL("""
#variable_conflict use_column
DECLARE
    sinergi_event record;
    sinergi_replaced boolean;
    sinergi_state text;
    sinergi_table text;
    sinergi_column text;
    sinergi_constraint text;
BEGIN
    FOR sinergi_event IN
        SELECT leaf_index, agency, record_id FROM {incoming} ORDER BY leaf_index
    LOOP
        BEGIN
            {let_in} RETURNING stored.xmax <> 0 INTO sinergi_replaced;
            IF FOUND THEN
                {children}
            END IF;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR raise_exception
            OR program_limit_exceeded
        THEN
            GET STACKED DIAGNOSTICS sinergi_state = RETURNED_SQLSTATE,
                sinergi_table = TABLE_NAME, sinergi_column = COLUMN_NAME,
                sinergi_constraint = CONSTRAINT_NAME;
            IF sinergi_state LIKE '54%' AND sinergi_state <> '54000' THEN
                RAISE;
            END IF;
            INSERT INTO {refused}
            VALUES (sinergi_event.leaf_index, sinergi_state,
                ARRAY[sinergi_table, sinergi_column, sinergi_constraint]);
        END;
    END LOOP;
END
""")

_CHILD = sql.SQL("""
                IF sinergi_replaced THEN
                    DELETE FROM {real} AS stored WHERE stored.agency = sinergi_event.agency
                        AND stored.record_id = sinergi_event.record_id;
                END IF;
                INSERT INTO {real} ({columns}) SELECT {columns} FROM {incoming} AS arrived
                    WHERE arrived.leaf_index = sinergi_event.leaf_index;
""")


def merge_arrived(
    connection: psycopg.Connection, statements: Merge
) -> dict[int, errors.RowsRefused]:
    """Merge what stands in the temporary tables, in the order of the leaves; who is refused, why.

    Raises:
        psycopg.Error: what is wrong is no row. The transaction, or its savepoint, is to be left.
    """
    tables = statements.projection.tables
    connection.execute(_prepare(tables))
    connection.execute(_block(statements))
    found = {
        leaf: errors.RowsRefused(state, _named(state, names))
        for leaf, state, names in connection.execute(
            sql.SQL("SELECT leaf_index, state, names FROM {} ORDER BY leaf_index").format(_REFUSED)
        )
    }
    connection.execute(_clear(tables))
    return found


def _block(statements: Merge) -> sql.Composed:
    record = statements.projection.record
    one = sql.SQL("leaf_index = sinergi_event.leaf_index")
    block = _BLOCK.format(
        incoming=merge.incoming(record),
        let_in=statements.let_in(one),
        children=sql.SQL("").join(
            _CHILD.format(
                real=merge.real(child),
                columns=merge.columns(child),
                incoming=merge.incoming(child),
            )
            for child in statements.projection.children
        )
        if statements.projection.children
        else sql.SQL("NULL;"),
        refused=_REFUSED,
    )
    return sql.SQL("DO {}").format(sql.Literal(block.as_string(None)))


def _prepare(tables: tuple[sa.Table, ...]) -> sql.Composed:
    """Each event is looked for in every table: an index finds it."""
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


def _named(state: str, names: list[str]) -> str:
    """As `sinergi_schemas.postgresql.faults` names it."""
    said = ", ".join(name for name in names if name)
    try:
        return said or lookup(state).__name__
    except KeyError:
        return "DatabaseError"
