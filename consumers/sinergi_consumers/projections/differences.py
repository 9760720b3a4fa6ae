"""Where the tables of a database differ from what their projections declare.

An upgrade only adds to an existing table. A change of a column's type or nullability, or of the
primary key, does not reach it. To compare a table with its declaration, an empty temporary table is
made of the declaration: so PostgreSQL itself says which types the declaration means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from sinergi_consumers.projections.ddl import DIALECT
from sinergi_consumers.projections.naming import PARTITION_TIME
from sinergi_consumers.projections.projection import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sinergi_consumers.projections.projection import Projection

_DECLARED = "sinergi_declared"
_MISSING = "is not there"
_COLUMNS = sa.text(
    "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull"
    " FROM pg_catalog.pg_attribute AS a"
    " JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE c.relname = :name AND a.attnum > 0 AND NOT a.attisdropped"
    " AND (n.nspname = CAST(:schema AS text)"
    " OR CAST(:schema AS text) IS NULL AND n.oid = pg_catalog.pg_my_temp_schema())"
)
_KEY = sa.text(
    "SELECT a.attname FROM pg_catalog.pg_index AS i"
    " JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
    " WHERE i.indisprimary AND n.nspname = :schema AND c.relname = :name"
)

# The key of a partitioned table holds the time by which it is partitioned.
_PARTITIONED_BY = sa.text(
    "SELECT a.attname FROM pg_catalog.pg_partitioned_table AS p"
    " JOIN pg_catalog.pg_class AS c ON c.oid = p.partrelid"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = ANY (p.partattrs)"
    " WHERE n.nspname = :schema AND c.relname = :name"
)


class Difference(NamedTuple):
    """One difference between a table and its declaration.

    Attributes:
        where: the table, or the table and the column joined by a dot.
        what: how it is, and how it is declared.
        breaks: whether PostgreSQL may refuse rows because of it.
    """

    where: str
    what: str
    breaks: bool

    def __str__(self) -> str:
        return f"{self.where} {self.what}"

    @property
    def is_missing(self) -> bool:
        """Whether it is a table or column that an upgrade would make."""
        return self.what == _MISSING


class _Column(NamedTuple):
    kind: str
    nullable: bool


def differences(
    connection: sa.Connection, projections: Iterable[Projection]
) -> Iterator[Difference]:
    """All differences in the tables of projections, in the order of their columns.

    Raises:
        SQLAlchemyError: the database fails.
    """
    for projection in projections:
        for table in projection.tables:
            yield from _of(connection, table)


def _of(connection: sa.Connection, table: sa.Table) -> Iterator[Difference]:
    name = f"{SCHEMA}.{table.name}"
    found = _columns(connection, table.name, SCHEMA)
    if not found:
        yield Difference(name, _MISSING, breaks=True)
        return
    declared = _declared(connection, table)
    for column, wanted in declared.items():
        if column not in found:
            yield Difference(f"{name}.{column}", _MISSING, breaks=True)
        else:
            yield from _compared(f"{name}.{column}", found[column], wanted)
    for column, there in found.items():
        if column not in declared and column != PARTITION_TIME:
            what = "is not declared; its rows stay, and new ones leave it empty"
            yield Difference(f"{name}.{column}", what, breaks=not there.nullable)
    key = set(connection.execute(_KEY, {"schema": SCHEMA, "name": table.name}).scalars())
    key -= set(
        connection.execute(_PARTITIONED_BY, {"schema": SCHEMA, "name": table.name}).scalars()
    )
    wanted_key = {column.name for column in table.primary_key}
    if key != wanted_key:
        what = f"has the key ({_listed(key)}) and is declared with ({_listed(wanted_key)})"
        yield Difference(name, what, breaks=True)


def _compared(where: str, found: _Column, wanted: _Column) -> Iterator[Difference]:
    if found.kind != wanted.kind:
        what = f"is {found.kind} and is declared {wanted.kind}"
        yield Difference(where, what, breaks=True)
    if found.nullable and not wanted.nullable:
        yield Difference(where, "may be null and is declared NOT NULL", breaks=False)
    if wanted.nullable and not found.nullable:
        yield Difference(where, "is NOT NULL and is declared to be null at times", breaks=True)


def _declared(connection: sa.Connection, table: sa.Table) -> Mapping[str, _Column]:
    """The columns that PostgreSQL makes of a declaration."""
    columns: list[sa.Column[object]] = [
        sa.Column(each.name, each.type, nullable=each.nullable) for each in table.columns
    ]
    alike = sa.Table(_DECLARED, sa.MetaData(), *columns, prefixes=["TEMPORARY"])
    statement = str(CreateTable(alike).compile(dialect=DIALECT)).replace("%", "%%")
    connection.exec_driver_sql(statement)
    found = _columns(connection, _DECLARED, None)
    connection.exec_driver_sql(f"DROP TABLE pg_temp.{_DECLARED}")
    return found


def _columns(connection: sa.Connection, name: str, schema: str | None) -> Mapping[str, _Column]:
    rows = connection.execute(_COLUMNS, {"name": name, "schema": schema})
    return {column: _Column(kind, nullable) for column, kind, nullable in rows}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
