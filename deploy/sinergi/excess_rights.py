"""The rights that a role has on our tables beyond what it needs, whoever granted them.

`sinergi db upgrade` revokes nothing. But a right that somebody granted by hand, to the role, to a
group that it is in, or to PUBLIC, may let an application forge what it is to publish only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas.plain_text import plain, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

    from sinergi.database_roles import DatabaseRole
    from sinergi_schemas.postgresql.rights import DatabaseRight

_HELD = """
    SELECT who.name, privilege, n.nspname, '' AS object, '' AS col
    FROM unnest(%(roles)s::name[]) AS who (name), pg_catalog.pg_namespace AS n,
        unnest('{USAGE,CREATE}'::text[]) AS privilege
    WHERE n.nspname = ANY(%(schemas)s)
        AND pg_catalog.has_schema_privilege(who.name, n.oid, privilege)
    UNION ALL
    SELECT who.name, 'EXECUTE', n.nspname, p.proname, ''
    FROM unnest(%(roles)s::name[]) AS who (name), pg_catalog.pg_proc AS p
        JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = ANY(%(schemas)s)
        AND pg_catalog.has_function_privilege(who.name, p.oid, 'EXECUTE')
    UNION ALL
    SELECT who.name, privilege, n.nspname, c.relname, ''
    FROM unnest(%(roles)s::name[]) AS who (name), pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
        unnest('{USAGE,SELECT,UPDATE}'::text[]) AS privilege
    WHERE n.nspname = ANY(%(schemas)s) AND c.relkind = 'S'
        AND CASE c.relkind WHEN 'S'
            THEN pg_catalog.has_sequence_privilege(who.name, c.oid, privilege) END
    UNION ALL
    SELECT who.name, privilege, n.nspname, c.relname, ''
    FROM unnest(%(roles)s::name[]) AS who (name), pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
        unnest('{DELETE,TRUNCATE,TRIGGER}'::text[]) AS privilege
    WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND pg_catalog.has_table_privilege(who.name, c.oid, privilege)
    UNION ALL
    SELECT who.name, privilege, n.nspname, c.relname, a.attname
    FROM unnest(%(roles)s::name[]) AS who (name), pg_catalog.pg_attribute AS a
        JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace,
        unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) AS privilege
    WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND a.attnum > 0 AND NOT a.attisdropped
        AND pg_catalog.has_column_privilege(who.name, c.oid, a.attnum, privilege)
"""


class ExcessRights(NamedTuple):
    """What a role may do beyond what it needs."""

    role: DatabaseRole
    rights: Sequence[str]

    def __str__(self) -> str:
        who = f"{self.role.purpose} {plain(self.role.name)}"
        whence = "the role itself has them, a role that it is a member of, or PUBLIC"
        return f"{who} has rights that it does not need: {some(self.rights)}; revoke them: {whence}"


def excess(
    connection: psycopg.Connection, roles: Sequence[DatabaseRole], schemas: Sequence[str]
) -> Iterator[ExcessRights]:
    """The roles that have more rights in some schemas than they need.

    Tables that no role needs are left out: somebody else made them, or a projection that is not
    installed here. To read the tables of people is what a reader is for.
    """
    if not roles:
        return
    given = {"roles": [each.name for each in roles], "schemas": list(schemas)}
    held = connection.execute(_HELD, given).fetchall()
    known = {(right.on.schema, right.on.name) for each in roles for right in each.rights}
    for role in roles:
        needed = set(_needed(role.rights))
        found = {
            f"{privilege} on {schema}.{name}" if name else f"{privilege} on schema {schema}"
            for who, privilege, schema, name, column in held
            if who == role.name
            and (privilege, schema, name, "") not in needed
            and (privilege, schema, name, column) not in needed
            and (schema != "sinergi" or not name or (schema, name) in known)
        }
        if found:
            yield ExcessRights(role, sorted(found))


def _needed(rights: Iterable[DatabaseRight]) -> Iterator[tuple[str, str, str, str]]:
    for each in rights:
        for column in each.columns or ("",):
            yield each.privilege, each.on.schema, each.on.name, column
