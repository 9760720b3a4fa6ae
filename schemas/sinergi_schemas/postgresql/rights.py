"""Rights in a database: which of them a user lacks, and the statements that grant them.

A process is a PostgreSQL role with as few rights as it needs. What each needs is listed beside its
statements, so that the owner's GRANTs, the check at the start of the process and the error about a
right that is missing come from one list.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg

RIGHT_MISSING = "42501"  # insufficient_privilege

# Rows of `pg_catalog`, because the functions that take a name fail if its schema is not usable.
_MISSING = """
    SELECT DISTINCT wanted.place FROM unnest(
        %s::integer[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]
    ) AS wanted (place, privilege, kind, schema, name, col)
    LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = wanted.schema
    LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = wanted.name
        AND wanted.kind IN ('TABLE', 'SEQUENCE')
    LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = wanted.col
        AND NOT a.attisdropped
    CROSS JOIN (SELECT coalesce(%s::name, current_user) AS role) AS who
    WHERE NOT coalesce(CASE wanted.kind
        WHEN 'DATABASE' THEN
            pg_catalog.has_database_privilege(role, pg_catalog.current_database(), privilege)
        WHEN 'SCHEMA' THEN pg_catalog.has_schema_privilege(role, n.oid, privilege)
        WHEN 'FUNCTION' THEN (
            SELECT bool_and(pg_catalog.has_function_privilege(role, p.oid, privilege))
            FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = n.oid AND p.proname = wanted.name)
        WHEN 'SEQUENCE' THEN pg_catalog.has_sequence_privilege(role, c.oid, privilege)
        WHEN 'TABLE' THEN CASE WHEN wanted.col IS NULL
            THEN pg_catalog.has_table_privilege(role, c.oid, privilege)
            ELSE pg_catalog.has_column_privilege(role, c.oid, a.attnum, privilege) END
    END, false)
    ORDER BY wanted.place
"""


class ObjectKind(StrEnum):
    """The kinds of objects on which rights are granted, as GRANT names them."""

    DATABASE = "DATABASE"
    SCHEMA = "SCHEMA"
    TABLE = "TABLE"
    SEQUENCE = "SEQUENCE"
    FUNCTION = "FUNCTION"


class DatabaseObject(NamedTuple):
    """An object in a database; the database itself has neither schema nor name.

    Attributes:
        name: its name in the schema, empty for the schema itself.
    """

    kind: ObjectKind
    schema: str = ""
    name: str = ""

    def __str__(self) -> str:
        if self.kind is ObjectKind.DATABASE:
            return "the database"
        names = ".".join(each for each in (self.schema, self.name) if each)
        return names if self.kind is ObjectKind.TABLE else f"{self.kind.lower()} {names}"

    @property
    def in_sql(self) -> str:
        """The object as GRANT takes it; for the database use `current_database()` instead."""
        names = (quoted(each) for each in (self.schema, self.name) if each)
        return f"{self.kind} {'.'.join(names)}"


@dataclass(frozen=True, slots=True)
class DatabaseRight:
    """One right on one object.

    Attributes:
        privilege: as in GRANT: SELECT, INSERT, UPDATE, DELETE, USAGE, EXECUTE, TEMPORARY, CONNECT.
        on: the object.
        columns: if the right is for these columns of a table only.
    """

    privilege: str
    on: DatabaseObject
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self._what(', '.join(self.columns))} on {self.on}"

    @property
    def in_sql(self) -> str:
        """The privilege with its columns, as GRANT takes it."""
        return self._what(", ".join(map(quoted, self.columns)))

    def _what(self, columns: str) -> str:
        return f"{self.privilege} ({columns})" if columns else self.privilege


class RoleRights(NamedTuple):
    """The rights of one of our roles, all that it needs.

    Attributes:
        setting: the key of the setting that names the role.
    """

    setting: str
    rights: tuple[DatabaseRight, ...]

    def refusal(
        self, user: str, missing: Iterable[DatabaseRight], sqlstate: str, what: str
    ) -> errors.GrantMissing:
        """The error that some of them are missing.

        Args:
            user: who lacks them.
            what: how it was found.
        """
        of, _, _ = self.setting.partition(".")
        names = tuple(map(str, missing))
        return errors.GrantMissing(sqlstate, what, user, of, self.setting, names)


def on_table(name: str, *privileges: str, **columns: tuple[str, ...]) -> tuple[DatabaseRight, ...]:
    """Rights on a table.

    Args:
        name: with its schema.
        privileges: those on the whole table.
        columns: privileges on some columns only, for example `UPDATE=("size",)`.
    """
    table = DatabaseObject(ObjectKind.TABLE, *name.split(".", 1))
    return (
        *(DatabaseRight(each, table) for each in privileges),
        *(DatabaseRight(each, table, names) for each, names in columns.items()),
    )


def on_schema(name: str) -> DatabaseRight:
    """The right to use what is in a schema."""
    return DatabaseRight("USAGE", DatabaseObject(ObjectKind.SCHEMA, name))


CONNECT = DatabaseRight("CONNECT", DatabaseObject(ObjectKind.DATABASE))
TEMPORARY = DatabaseRight("TEMPORARY", DatabaseObject(ObjectKind.DATABASE))


def check(connection: psycopg.Connection, needed: RoleRights) -> None:
    """Check that the connection's user has the rights of a role.

    Raises:
        GrantMissing: it lacks some, which are named.
    """
    if lacked := missing(connection, needed.rights):
        raise needed.refusal(
            current_user(connection), lacked, RIGHT_MISSING, "found before anything was done"
        )


def current_user(connection: psycopg.Connection) -> str:
    """The user as whom the connection's statements run, also behind a pooler."""
    found = connection.execute("SELECT current_user").fetchone()
    return str(found[0]) if found else "unknown"


def missing(
    connection: psycopg.Connection, rights: Sequence[DatabaseRight], user: str | None = None
) -> list[DatabaseRight]:
    """Those of the rights that a user lacks, granted to it, to PUBLIC or to a role that it is in.

    Args:
        user: its name, which exists; None is the user of the connection.
    """
    wanted = [
        (place, each.privilege, each.on.kind.value, each.on.schema, each.on.name, column)
        for place, each in enumerate(rights)
        for column in each.columns or (None,)
    ]
    columns = [[row[at] for row in wanted] for at in range(6)]
    return [rights[place] for (place,) in connection.execute(_MISSING, (*columns, user))]


def grants(rights: Iterable[DatabaseRight], user: str) -> list[str]:
    """The statements that grant rights to a role, one for each object."""
    return [
        _grant(on, ", ".join(each.in_sql for each in those), user)
        for on, those in groupby(rights, key=lambda each: each.on)
    ]


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever it holds; a plain one of ours stays as it is."""
    is_plain = name.isascii() and name.replace("_", "a").isalnum() and name.islower()
    return name if is_plain else quoted_always(name)


def quoted_always(name: str) -> str:
    """A name in quotes, since a plain one may be a reserved word."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL takes it, under standard_conforming_strings."""
    return "'" + text.replace("'", "''") + "'"


def block(body: str) -> str:
    """An anonymous block of PL/pgSQL, between marks that its text does not hold."""
    mark = "sinergi"
    while mark in body:
        mark += "_"
    return f"DO ${mark}$ {body} ${mark}$"


def _grant(on: DatabaseObject, privileges: str, user: str) -> str:
    if on.kind is not ObjectKind.DATABASE:
        return f"GRANT {privileges} ON {on.in_sql} TO {quoted_always(user)}"
    # Its owner alone may grant it, and PUBLIC usually has it.
    checks = " AND ".join(
        "pg_catalog.has_database_privilege("
        f"{literal(user)}, pg_catalog.current_database(), {literal(each)})"
        for each in privileges.split(", ")
    )
    return block(
        f"BEGIN IF NOT ({checks}) THEN EXECUTE pg_catalog.format("
        f"'GRANT {privileges} ON DATABASE %I TO %I', pg_catalog.current_database(),"
        f" {literal(user)}); END IF; END"
    )
