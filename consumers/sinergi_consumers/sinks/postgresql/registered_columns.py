"""The columns that any version of Sinergi has made for a projection, also undeclared ones.

A newer version of a schema adds columns and child tables, and a column that it no longer has stays.
Two instances of a materialiser may be of different versions for a while. A later revision replaces
the whole of an earlier one, so an instance also replaces the values that it does not know: a column
gets its default, and the rows of a child table go. Columns that nobody has registered are the
agency's own, and stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.projections.projection import SCHEMA, ProjectionKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    import psycopg
    import sqlalchemy as sa

    from sinergi_consumers.projections.projection import Projection

_REGISTERED = """
    SELECT r.projection, r.table_name, r.column_name FROM sinergi_consumer.projection_column AS r
    JOIN pg_catalog.pg_class AS c ON c.relname = r.table_name AND c.relkind IN ('r', 'p')
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = %s
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = r.column_name
    WHERE a.attnum > 0 AND NOT a.attisdropped AND r.projection = ANY (%s)
    ORDER BY r.table_name, r.column_name
"""

_ADDED = """
    SELECT max(c.registered_at) FROM sinergi_consumer.projection_column AS c
    WHERE c.table_name = %s AND c.column_name = ANY (%s)
    HAVING min(c.registered_at) > (SELECT min(first.registered_at)
        FROM sinergi_consumer.projection_column AS first WHERE first.projection = %s)
"""


class Undeclared(NamedTuple):
    """The columns of a projection's record table, and child tables, that it does not declare."""

    columns: tuple[str, ...] = ()
    children: tuple[str, ...] = ()


NOTHING = Undeclared()


def undeclared(
    connection: psycopg.Connection, projections: Iterable[Projection]
) -> dict[str, Undeclared]:
    """What the tables of each projection have beside what it declares, by its name.

    A history replaces nothing, so of histories there is nothing to say.
    """
    replacing = {each.name: each for each in projections if each.kind is ProjectionKind.CURRENT}
    found = dict.fromkeys(replacing, NOTHING)
    rows = connection.execute(_REGISTERED, (SCHEMA, [*replacing])).fetchall()
    for name, table, column in rows:
        projection, before = replacing[name], found[name]
        if table == projection.record.name:
            if column not in projection.record.columns:
                found[name] = before._replace(columns=(*before.columns, column))
        elif all(table != each.name for each in projection.children):
            children = dict.fromkeys((*before.children, table))
            found[name] = before._replace(children=tuple(children))
    return found


def added_at(
    connection: psycopg.Connection,
    projection: Projection,
    table: sa.Table,
    columns: Collection[str],
) -> datetime | None:
    """When the last of some columns was added; None if one is as old as the projection."""
    given = (table.name, list(columns), projection.name)
    found = connection.execute(_ADDED, given).fetchone()
    return None if found is None else found[0]
