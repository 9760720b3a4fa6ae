"""The tables of projections in PostgreSQL: what must be made or added, as statements.

A projection's tables follow its schema: a newer version only ever adds nullable columns and child
tables, and what it no longer has stays with its old rows and may be empty from then on. So bringing
tables up to date never rewrites a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from sinergi_consumers.projections.projection import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sinergi_consumers.projections.projection import Projection

# With the default style of parameters, SQLAlchemy doubles each % in a name or comment.
DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call] # it has no types


def columns_in(connection: sa.Connection) -> dict[str, dict[str, bool]]:
    """The tables in the schema `sinergi` of a database, their columns, and which may be null."""
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
    """What brings the tables of projections up to date, given those that are there already."""
    for projection in projections:
        for table in projection.tables:
            if table.name not in found:
                yield from _create(table)
            else:
                yield from _extend(table, found[table.name])


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
        if name not in table.columns and not nullable:
            yield f"ALTER TABLE {target} ALTER {quote(name)} DROP NOT NULL"


def _comment(column: sa.Column[object]) -> Iterator[str]:
    if column.comment:
        yield _text(SetColumnComment(column))


def _text(element: sa.schema.DDLElement) -> str:
    return str(element.compile(dialect=DIALECT)).strip()
