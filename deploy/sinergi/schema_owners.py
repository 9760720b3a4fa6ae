"""Whose the SQL schemas are that our tables are in.

The owner of a schema may drop whatever is in it, also what others have made there, and add tables
and functions. Whoever may create schemas in a database could so make ours before the upgrade does,
and own the outbox of an agency by that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.plain_text import listing, plain
from sinergi_schemas.postgresql import rights

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

_FOREIGN = """
    SELECT n.nspname, pg_catalog.pg_get_userbyid(n.nspowner) AS owner
    FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname IN ({names}) AND pg_catalog.pg_get_userbyid(n.nspowner) <> current_user
    ORDER BY 1
"""
_HAS_TABLES = "SELECT pg_catalog.to_regclass(%s) IS NOT NULL"
_MAY = "who may change and drop all that is in it"
_REMEDY = "drop the schema if nothing in it is needed, or let its owner run the upgrade"


class ForeignSchema(NamedTuple):
    """A schema of ours that does not belong to the user who upgrades.

    Attributes:
        name: of the schema.
        owner: the role to which it belongs.
    """

    name: str
    owner: str

    def __str__(self) -> str:
        return f"the schema {self.name} belongs to {plain(self.owner)}, {_MAY}"


def foreign_schemas(
    connection: psycopg.Connection, schemas: Sequence[str], versions: str
) -> list[ForeignSchema]:
    """The schemas that somebody else has made: a superuser may upgrade the tables of their owner.

    Args:
        schemas: those that hold our tables.
        versions: the table that says which migrations were made.

    Raises:
        SchemasRefused: there are such schemas, and none of our tables is there yet.
    """
    question = _FOREIGN.format(names=_names(schemas))
    found = [ForeignSchema(*row) for row in connection.execute(question.encode())]
    has_tables = connection.execute(_HAS_TABLES, (versions,)).fetchone()
    if found and not (has_tables and has_tables[0]):
        raise errors.SchemasRefused(listing(f"{each}; {_REMEDY}" for each in found))
    return found


def statement(schemas: Sequence[str]) -> str:
    """The SQL that refuses an empty database in which somebody else has made the schemas."""
    what = rights.literal(f", {_MAY}; {_REMEDY}")
    return rights.block(
        "DECLARE it record; BEGIN"
        f" FOR it IN {_FOREIGN.format(names=_names(schemas)).strip()}"
        " LOOP RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',"
        f" MESSAGE = 'the schema ' || it.nspname || ' belongs to ' || it.owner || {what};"
        " END LOOP; END"
    )


def _names(schemas: Iterable[str]) -> str:
    return ", ".join(map(rights.literal, schemas))
