"""The statements that create and extend the tables of projections in PostgreSQL.

The tables of a projection follow its schema. A newer version of the schema can only add nullable
columns and child tables. A column that it no longer has stays, with the values of the old rows, and
becomes nullable. So an upgrade of the tables never rewrites a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from sinergi_consumers.projections.naming import PARTITION_TIME
from sinergi_consumers.projections.projection import SCHEMA
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sinergi_consumers.projections.projection import Projection

# In its default parameter style SQLAlchemy doubles each % in names and comments.
DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call] # it has no types

OTHER_KINDS = {
    "v": "a view",
    "m": "a materialised view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a type",
}
"""What may have the name of a table, by its `relkind`."""

_OTHERS = """
    SELECT c.relname, c.relkind::text
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = ANY (:names) AND c.relkind NOT IN ('r', 'p')
    ORDER BY c.relname
"""


def check_names(connection: sa.Connection, projections: Iterable[Projection]) -> None:
    """Refuse to go on where something else has the name of a table.

    Raises:
        TableNameTaken: naming it.
    """
    names = [table.name for projection in projections for table in projection.tables]
    there = connection.execute(sa.text(_OTHERS), {"schema": SCHEMA, "names": names})
    found = tuple(f"{SCHEMA}.{name} is {OTHER_KINDS.get(kind, 'no table')}" for name, kind in there)
    if found:
        raise errors.TableNameTaken(found)


def columns_in(connection: sa.Connection) -> dict[str, dict[str, bool]]:
    """The tables in the schema `sinergi` of a database: table → column → whether it is nullable."""
    inspector = sa.inspect(connection)
    return {
        table: {
            column["name"]: column["nullable"]
            for column in inspector.get_columns(table, schema=SCHEMA)
        }
        for table in inspector.get_table_names(schema=SCHEMA)
    }


def statements(
    projections: Iterable[Projection], found: Mapping[str, Mapping[str, bool]]
) -> Iterator[str]:
    """The statements that bring the tables of projections up to date.

    Args:
        projections: the projections that are wanted.
        found: the tables that exist, as `columns_in` returns them.
    """
    for projection in projections:
        for table in projection.tables:
            if table.name not in found:
                yield from _create(table)
            else:
                yield from _extend(table, found[table.name])


def is_registered(connection: sa.Connection, projections: Iterable[Projection]) -> bool:
    """Whether `registration` would change nothing."""
    if not sa.inspect(connection).has_table("projection_column", "sinergi_consumer"):
        return False
    rows = connection.exec_driver_sql(
        "SELECT projection, table_name, column_name FROM sinergi_consumer.projection_column"
    )
    known = {tuple(row) for row in rows}
    return known.issuperset(_registered_columns(projections))


def registration(projections: Iterable[Projection]) -> str:
    """The statement that registers the columns of projections, for materialisers of others."""
    rows = [
        f"('{projection}', '{table}', {sql.Literal(column).as_string()})"
        for projection, table, column in _registered_columns(projections)
    ]
    return (
        "INSERT INTO sinergi_consumer.projection_column (projection, table_name, column_name)"  # noqa: S608 - literals
        f" VALUES {', '.join(rows)} ON CONFLICT (table_name, column_name)"
        " DO UPDATE SET projection = EXCLUDED.projection"
        " WHERE projection_column.projection <> EXCLUDED.projection"
    )


def _registered_columns(projections: Iterable[Projection]) -> Iterator[tuple[str, str, str]]:
    for projection in projections:
        for table in projection.tables:
            for column in table.columns:
                yield projection.name, table.name, column.name


def _create(table: sa.Table) -> Iterator[str]:
    yield _text(CreateTable(table))
    for index in table.indexes:
        yield _text(CreateIndex(index))
    if table.comment:
        yield _text(SetTableComment(table))
    for column in table.columns:
        yield from _comment(column)


def _extend(table: sa.Table, found: Mapping[str, bool]) -> Iterator[str]:
    target = DIALECT.identifier_preparer.format_table(table)
    quote = DIALECT.identifier_preparer.quote
    for column in table.columns:
        if column.name not in found:
            kind = column.type.compile(DIALECT)
            yield f"ALTER TABLE {target} ADD {quote(column.name)} {kind}"
            yield from _comment(column)
    for name, nullable in found.items():
        if name not in table.columns and not nullable and name != PARTITION_TIME:
            yield f"ALTER TABLE {target} ALTER {quote(name)} DROP NOT NULL"


def _comment(column: sa.Column[object]) -> Iterator[str]:
    if column.comment:
        yield _text(SetColumnComment(column))


def _text(element: sa.schema.DDLElement) -> str:
    return str(element.compile(dialect=DIALECT)).strip()
