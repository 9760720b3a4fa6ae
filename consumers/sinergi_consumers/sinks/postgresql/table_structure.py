"""How a table in the database differs from its declaration, and who may change its rows.

A table may have been replaced by a view that hides or changes rows, a column may have a type that
rounds values, and a collation may take different texts for equal. None of that shows in a
comparison of rows alone. An empty temporary table is made of the declaration, so that PostgreSQL
itself says which types the declaration means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from psycopg import sql

from sinergi_consumers.projections import ddl
from sinergi_consumers.projections.naming import PARTITION_TIME
from sinergi_consumers.projections.projection import RECORDED_AT, SCHEMA
from sinergi_consumers.sinks.postgresql.partitions import partition_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg

_TABLES = {"r": "a table", "p": "a partitioned table"}
_KIND = """
    SELECT c.oid, c.relkind::text, EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS k
            WHERE k.conrelid = ANY (parts.oids) AND k.contype = 'f'
        ) OR EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS t
            WHERE t.tgrelid = ANY (parts.oids) AND NOT t.tgisinternal
        ) OR EXISTS (SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = ANY (parts.oids))
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
        LATERAL (SELECT c.oid || ARRAY(
            SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = c.oid
        ) AS oids) AS parts
    WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
    SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
        coalesce(k.collisdeterministic, true)
    FROM pg_catalog.pg_attribute AS a
    LEFT JOIN pg_catalog.pg_collation AS k ON k.oid = a.attcollation
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
_KEY = """
    SELECT a.attname FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_attribute AS a
        ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indisprimary AND i.indisvalid AND i.indrelid = %s
"""
_OWN_TABLE = """
    SELECT c.oid FROM pg_catalog.pg_class AS c
    WHERE c.relname = %s AND c.relnamespace = pg_catalog.pg_my_temp_schema()
"""
# A superuser may do everything, and a right on one column or one partition suffices to change a
# value.
_WRITERS = """
    SELECT r.rolname FROM pg_catalog.pg_roles AS r WHERE r.rolcanlogin AND EXISTS (
        SELECT FROM (SELECT %(table)s::oid AS oid UNION ALL SELECT i.inhrelid
            FROM pg_catalog.pg_inherits AS i WHERE i.inhparent = %(table)s::oid) AS part
        WHERE pg_catalog.has_table_privilege(r.oid, part.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
            OR pg_catalog.has_any_column_privilege(r.oid, part.oid, 'UPDATE')
    ) ORDER BY r.rolname
"""


class TableStructure(NamedTuple):
    """How a table is, compared with its declaration.

    Attributes:
        name: with its schema.
        kind: what it is in place of a table; empty for a table.
        missing: it or the columns of it that are not there.
        differing: how its columns and its key differ, a line each.
        types: the type of each declared column, as PostgreSQL writes it.
        has_declared_key: whether it has the declared primary key, so that no row is there twice.
            In a partitioned record table the time belongs to the key. A partitioned table of a list
            has no such key, since its time is not declared.
        may_refuse_more: whether it has foreign keys, triggers or rules, which the temporary tables
            do not have.
        writers: the users that may change its rows.
        is_partitioned: whether it is partitioned by time.
    """

    name: str
    kind: str
    missing: tuple[str, ...]
    differing: tuple[str, ...]
    types: Mapping[str, str]
    has_declared_key: bool
    may_refuse_more: bool
    writers: tuple[str, ...]
    is_partitioned: bool = False

    @property
    def is_as_declared(self) -> bool:
        """Whether rows of it can be merged as they are merged into the table."""
        return not (self.kind or self.missing or self.differing)


class _Column(NamedTuple):
    type: str
    not_null: bool
    is_deterministic: bool


def declared(table: sa.Table) -> sql.Identifier:
    """The temporary table that is made of a declaration."""
    return sql.Identifier("pg_temp", _declared(table))


def create_declared(connection: psycopg.Connection, table: sa.Table) -> None:
    """Make an empty temporary table of a declaration, with its columns and its primary key."""
    columns: list[sa.Column[object]] = [
        sa.Column(
            each.name,
            each.type,
            nullable=each.nullable,
            primary_key=each.primary_key,
            autoincrement=False,
        )
        for each in table.columns
    ]
    alike = sa.Table(_declared(table), sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    alike.dialect_options["postgresql"]["on_commit"] = "DROP"
    connection.execute(str(sa.schema.CreateTable(alike).compile(dialect=ddl.DIALECT)).encode())


def compare_structure(connection: psycopg.Connection, table: sa.Table) -> TableStructure:
    """Compare a table with the temporary one of `create_declared`."""
    name = f"{SCHEMA}.{table.name}"
    own = connection.execute(_OWN_TABLE, (_declared(table),)).fetchone()
    assert own is not None
    wanted = _columns(connection, own[0])
    types = {column: each.type for column, each in wanted.items()}
    key = {column.name for column in table.primary_key}
    there = connection.execute(_KIND, (SCHEMA, table.name)).fetchone()
    if there is None:
        return TableStructure(
            name,
            kind="",
            missing=(name,),
            differing=(),
            types=types,
            has_declared_key=bool(key),
            may_refuse_more=False,
            writers=(),
        )
    oid, kind, may_refuse_more = there
    found = _columns(connection, oid)
    found_key = {column for (column,) in connection.execute(_KEY, (oid,))}
    is_partitioned = kind == "p" and partition_column(table) in found_key
    if is_partitioned:
        found_key -= {partition_column(table)}
    return TableStructure(
        name,
        "" if kind in _TABLES else ddl.OTHER_KINDS[kind],
        tuple(f"{name}.{column}" for column in wanted if column not in found),
        (*_differing(wanted, found), *_of_key(key, found_key)),
        types,
        bool(key)
        and key == found_key
        and (not is_partitioned or partition_column(table) == RECORDED_AT),
        may_refuse_more,
        tuple(writer for (writer,) in connection.execute(_WRITERS, {"table": oid})),
        is_partitioned,
    )


def _differing(wanted: Mapping[str, _Column], found: Mapping[str, _Column]) -> list[str]:
    lines = []
    for column, each in found.items():
        declaration = wanted.get(column)
        if declaration is None:
            if each.not_null and column != PARTITION_TIME:
                lines.append(f"{column} is not declared, and is NOT NULL")
        elif each.type != declaration.type:
            lines.append(f"{column} is {each.type}, and is declared {declaration.type}")
        elif not each.is_deterministic:
            lines.append(f"{column} has a collation that takes different texts for equal")
        elif each.not_null and not declaration.not_null:
            lines.append(f"{column} is NOT NULL, and is declared to be null at times")
    return lines


def _of_key(wanted: set[str], found: set[str]) -> list[str]:
    if wanted in (set(), found):
        return []
    is_, should = (", ".join(sorted(each)) or "none" for each in (found, wanted))
    return [f"its primary key is ({is_}), and is declared ({should})"]


def _columns(connection: psycopg.Connection, oid: int) -> dict[str, _Column]:
    return {name: _Column(*rest) for name, *rest in connection.execute(_COLUMNS, (oid,))}


def _declared(table: sa.Table) -> str:
    return f"declared_{table.name}"
