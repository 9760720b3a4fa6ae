"""The statements that turn tables into the first partitions of partitioned ones.

What is done before `swap` leaves a table that can be written and read as before. `swap` is one
short transaction.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psycopg import sql

from sinergi_consumers.projections.naming import PARTITION_TIME
from sinergi_consumers.projections.projection import SCHEMA
from sinergi_consumers.sinks.postgresql import carried_over, partitions
from sinergi_consumers.sinks.postgresql.partitions import BOUNDS, Month
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    import sqlalchemy as sa

    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.postgresql.carried_over import CarriedOver, View

_COMMENT = "When the publisher recorded the event; -infinity in rows from before the partitions."
_BOUNDS_OF = """
    SELECT pg_catalog.pg_get_constraintdef(k.oid), k.convalidated
    FROM pg_catalog.pg_constraint AS k
    WHERE k.conrelid = pg_catalog.to_regclass(%s) AND k.conname = %s
"""
_KEY_NAME = """
    SELECT k.conname FROM pg_catalog.pg_constraint AS k
    WHERE k.conrelid = pg_catalog.to_regclass(%s) AND k.contype = 'p'
"""
_TIME = re.compile(r"'([^']+)'::timestamp")


def swap(connection: psycopg.Connection, tables: Sequence[sa.Table]) -> None:
    """Step 5: put a partitioned table in the place of each table.

    A materialiser holds a lock on its positions while it writes, so it sees either all tables
    before it or all after it.

    Args:
        connection: in a transaction.
    """
    names = [sql.Identifier(SCHEMA, table.name) for table in tables]
    connection.execute("LOCK TABLE sinergi_consumer.position IN EXCLUSIVE MODE")
    connection.execute(
        sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.SQL(", ").join(names))
    )
    views: dict[int, View] = {}
    for table in tables:
        found = carried_over.read(connection, table)
        views |= {view.oid: view for view in found.views}
        _replace(connection, table, found)
    for view in views.values():
        connection.execute(view.statement)


def follow(connection: psycopg.Connection, projections: Sequence[Projection]) -> None:
    """Partition the tables of lists that a newer schema has brought to a partitioned history.

    Args:
        connection: in the transaction that has created them.
    """
    done = partitions.partitioned_tables(connection)
    for each in projections:
        added = [table for table in each.children if table.name not in done]
        if not each.may_be_partitioned or each.record.name not in done or not added:
            continue
        ends = [part.end for part in partitions.partitions_of(connection, each.record)]
        end = next((found for found in ends if found), Month.of(SYSTEM.now()).start)
        for table in added:
            add_time(connection, table)
            connection.execute(unique_index(table, sql.SQL("")))
            add_bounds(connection, table, end)
        swap(connection, added)


def _replace(connection: psycopg.Connection, table: sa.Table, found: CarriedOver) -> None:
    """Rename a table, create the partitioned one, and attach the old one to it."""
    bounds = bounds_of(connection, table)
    assert bounds is not None
    old, new = partitions.older(table, bounds[0]), sql.Identifier(SCHEMA, table.name)
    column = sql.Identifier(partitions.partition_column(table))
    key = sql.SQL(", ").join(sql.Identifier(each.name) for each in table.primary_key)
    ((primary,),) = connection.execute(_KEY_NAME, (new.as_string(connection),)).fetchall()
    texts = [
        "ALTER TABLE {new} RENAME TO {old_name}",
        "ALTER TABLE {old} DROP CONSTRAINT {primary}",
        "ALTER TABLE {old} ADD CONSTRAINT {index} PRIMARY KEY USING INDEX {index}",
        (
            "CREATE TABLE {new} (LIKE {old} INCLUDING COMMENTS INCLUDING CONSTRAINTS"
            " INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING DEFAULTS,"
            " PRIMARY KEY ({key}, {column})) PARTITION BY RANGE ({column})"
        ),
        "ALTER TABLE {new} DROP CONSTRAINT {bounds}, ALTER {column} DROP DEFAULT",
        "ALTER TABLE {new} OWNER TO {owner}",
    ]
    values = {
        "new": new,
        "old": old.identifier,
        "old_name": sql.Identifier(old.name),
        "primary": sql.Identifier(primary),
        "index": sql.Identifier(f"{table.name}_p_key"),
        "key": key,
        "column": column,
        "bounds": sql.Identifier(BOUNDS),
        "owner": sql.Identifier(found.owner),
    }
    for text in texts:
        connection.execute(sql.SQL(text).format(**values))
    _carry_before(connection, new, old.identifier, found)
    partitions.attach(connection, table, old)
    drop = sql.SQL("ALTER TABLE {old} DROP CONSTRAINT {bounds}")
    connection.execute(drop.format(**values))
    other = partitions.default(table)
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} (LIKE {} INCLUDING CONSTRAINTS INCLUDING STORAGE"
            " INCLUDING COMPRESSION INCLUDING DEFAULTS)"
        ).format(other.identifier, new)
    )
    partitions.own(connection, other.identifier, new)
    partitions.attach(connection, table, other)
    for month in partitions.coming([old], SYSTEM.now()):
        partitions.create_month(connection, table, month)
    for _, text in found.triggers:
        connection.execute(text.encode())
    for grant in found.grants:
        connection.execute(grant.statement(new))


def _carry_before(
    connection: psycopg.Connection, new: sql.Identifier, old: sql.Identifier, found: CarriedOver
) -> None:
    """Give the partitioned table what an attached table must have too, or must not."""
    for name, _ in found.triggers:
        connection.execute(sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(name), old))
    for name, text in found.foreign_keys:
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
        connection.execute(add.format(new, sql.Identifier(name), sql.SQL(text)))
    for name, text, about in found.indexes:
        index = sql.Identifier(SCHEMA, name)
        renamed = sql.Identifier(f"{name[:54]}_p_older")
        connection.execute(sql.SQL("ALTER INDEX {} RENAME TO {}").format(index, renamed))
        connection.execute(text.encode())
        if about:
            connection.execute(
                sql.SQL("COMMENT ON INDEX {} IS {}").format(index, sql.Literal(about))
            )
    if found.comment:
        connection.execute(
            sql.SQL("COMMENT ON TABLE {} IS {}").format(new, sql.Literal(found.comment))
        )
    for grantee in {grant.role: grant.grantee for grant in found.grants}.values():
        connection.execute(sql.SQL("REVOKE ALL ON {} FROM {} CASCADE").format(old, grantee))


def unique_index(table: sa.Table, how: sql.SQL) -> sql.Composed:
    """The statement that builds the unique index of the first partition."""
    key = [each.name for each in table.primary_key]
    return sql.SQL("CREATE UNIQUE INDEX {} {} ON {} ({})").format(
        how,
        sql.Identifier(f"{table.name}_p_key"),
        sql.Identifier(SCHEMA, table.name),
        sql.SQL(", ").join(map(sql.Identifier, [*key, partitions.partition_column(table)])),
    )


def add_time(connection: psycopg.Connection, table: sa.Table) -> None:
    """Add the column of the time to the table of a list. No row is rewritten."""
    name, column = sql.Identifier(SCHEMA, table.name), sql.Identifier(PARTITION_TIME)
    connection.execute(
        sql.SQL(
            "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} timestamptz NOT NULL DEFAULT '-infinity'"
        ).format(name, column)
    )
    connection.execute(
        sql.SQL("COMMENT ON COLUMN {}.{} IS {}").format(name, column, sql.Literal(_COMMENT))
    )


def add_bounds(connection: psycopg.Connection, table: sa.Table, end: datetime) -> None:
    """Add the constraint, unless it is there with the same end."""
    found = bounds_of(connection, table)
    if found is not None and found[0] == end:
        return
    drop_bounds(connection, table)
    column = sql.Identifier(partitions.partition_column(table))
    connection.execute(
        sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK ({} < {}) NOT VALID").format(
            sql.Identifier(SCHEMA, table.name), sql.Identifier(BOUNDS), column, sql.Literal(end)
        )
    )


def drop_bounds(connection: psycopg.Connection, table: sa.Table) -> None:
    """Drop the constraint, if it is there."""
    connection.execute(
        sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}").format(
            sql.Identifier(SCHEMA, table.name), sql.Identifier(BOUNDS)
        )
    )


def bounds_of(connection: psycopg.Connection, table: sa.Table) -> tuple[datetime, bool] | None:
    """The end of the first partition by the constraint, and whether that is validated."""
    name = sql.Identifier(SCHEMA, table.name).as_string(connection)
    row = connection.execute(_BOUNDS_OF, (name, BOUNDS)).fetchone()
    found = row and _TIME.search(row[0])
    return (datetime.fromisoformat(found[1]).astimezone(UTC), row[1]) if row and found else None


def index_name(table: sa.Table) -> str:
    """The unique index of the first partition, with its schema."""
    return sql.Identifier(SCHEMA, f"{table.name}_p_key").as_string(None)
