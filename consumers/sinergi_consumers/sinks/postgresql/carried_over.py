"""What a table has beside its rows, for the partitioned table that takes its place.

Grants, comments, views, foreign keys, CHECK constraints, further indexes and triggers are carried
over. What PostgreSQL does not permit on a partitioned table, or what would go on with the old table
unnoticed, is an obstacle that is named before anything is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from sinergi_consumers.projections.projection import SCHEMA

if TYPE_CHECKING:
    import psycopg
    import sqlalchemy as sa

_OID = "pg_catalog.to_regclass(%(table)s)"
_OBSTACLES = f"""
    SELECT 'the foreign key ' || k.conname || ' of ' || k.conrelid::regclass || ' leads to it'
    FROM pg_catalog.pg_constraint AS k WHERE k.confrelid = {_OID} AND k.contype = 'f'
    UNION ALL
    SELECT 'it has the unique index ' || i.indexrelid::regclass
        || ', and a partitioned table has none without the time'
    FROM pg_catalog.pg_index AS i WHERE i.indrelid = {_OID} AND NOT i.indisprimary
        AND (i.indisunique OR i.indisexclusion)
        AND i.indexrelid IS DISTINCT FROM pg_catalog.to_regclass(%(own)s)
    UNION ALL
    SELECT 'it has the rule ' || r.rulename FROM pg_catalog.pg_rewrite AS r
    WHERE r.ev_class = {_OID}
    UNION ALL
    SELECT 'it has row-level security' FROM pg_catalog.pg_class AS c
    WHERE c.oid = {_OID} AND (c.relrowsecurity OR EXISTS (
        SELECT FROM pg_catalog.pg_policy AS p WHERE p.polrelid = c.oid))
    UNION ALL
    SELECT 'it is not an ordinary, permanent table' FROM pg_catalog.pg_class AS c
    WHERE c.oid = {_OID} AND (c.relkind <> 'r' OR c.relpersistence <> 'p')
    UNION ALL
    SELECT 'it inherits, or is inherited from: ' || i.inhrelid::regclass || ' from '
        || i.inhparent::regclass FROM pg_catalog.pg_inherits AS i
    WHERE {_OID} IN (i.inhrelid, i.inhparent)
    UNION ALL
    SELECT 'the publication ' || b.pubname || ' names it' FROM pg_catalog.pg_publication_rel AS r
    JOIN pg_catalog.pg_publication AS b ON b.oid = r.prpubid WHERE r.prrelid = {_OID}
    UNION ALL
    SELECT 'it has the extended statistics ' || s.stxname FROM pg_catalog.pg_statistic_ext AS s
    WHERE s.stxrelid = {_OID}
    UNION ALL
    SELECT 'its trigger ' || t.tgname || ' is disabled, a constraint trigger, or names transition'
        ' tables for each row'
    FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = {_OID} AND NOT t.tgisinternal
        AND (t.tgenabled <> 'O' OR t.tgconstraint <> 0
            OR t.tgtype & 1 = 1 AND (t.tgoldtable IS NOT NULL OR t.tgnewtable IS NOT NULL))
    UNION ALL
    SELECT 'the function ' || d.objid::regprocedure || ' depends on it'
    FROM pg_catalog.pg_depend AS d
    WHERE d.refobjid = {_OID} AND d.refclassid = 'pg_catalog.pg_class'::regclass
        AND d.classid = 'pg_catalog.pg_proc'::regclass
    UNION ALL
    SELECT DISTINCT CASE v.relkind WHEN 'v'
            THEN 'the view ' || v.oid::regclass || ' on it belongs to somebody else'
            ELSE v.oid::regclass || ', which is no view, depends on it' END
    FROM pg_catalog.pg_depend AS d
    JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
    JOIN pg_catalog.pg_class AS v ON v.oid = r.ev_class
    WHERE d.refobjid = {_OID} AND d.refclassid = 'pg_catalog.pg_class'::regclass
        AND d.classid = 'pg_catalog.pg_rewrite'::regclass AND v.oid <> d.refobjid
        AND (v.relkind <> 'v'
            OR NOT pg_catalog.pg_has_role(current_user, v.relowner, 'USAGE'))
    UNION ALL
    SELECT 'it belongs to ' || pg_catalog.pg_get_userbyid(c.relowner) FROM pg_catalog.pg_class AS c
    WHERE c.oid = {_OID} AND NOT pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE')
"""  # noqa: S608 - our own text

_COMMENT = "SELECT pg_catalog.obj_description(c.oid, 'pg_class'), pg_catalog.pg_get_userbyid"
_COMMENT += f"(c.relowner) FROM pg_catalog.pg_class AS c WHERE c.oid = {_OID}"
_GRANTS = f"""
    SELECT g.privilege_type, NULL::name AS col, coalesce(r.rolname, ''), g.is_grantable, c.relowner
    FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS g
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = g.grantee
    WHERE c.oid = {_OID} AND g.grantee <> c.relowner
    UNION ALL
    SELECT g.privilege_type, a.attname, coalesce(r.rolname, ''), g.is_grantable, c.relowner
    FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid,
        pg_catalog.aclexplode(a.attacl) AS g
    LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = g.grantee
    WHERE a.attrelid = {_OID} AND NOT a.attisdropped AND g.grantee <> c.relowner
"""  # noqa: S608 - our own text
_VIEWS = f"""
    SELECT DISTINCT v.oid, n.nspname, v.relname, pg_catalog.array_to_string(v.reloptions, ', '),
        pg_catalog.pg_get_viewdef(v.oid)
    FROM pg_catalog.pg_depend AS d
    JOIN pg_catalog.pg_rewrite AS r ON r.oid = d.objid
    JOIN pg_catalog.pg_class AS v ON v.oid = r.ev_class
    JOIN pg_catalog.pg_namespace AS n ON n.oid = v.relnamespace
    WHERE d.refobjid = {_OID} AND d.refclassid = 'pg_catalog.pg_class'::regclass
        AND d.classid = 'pg_catalog.pg_rewrite'::regclass AND v.relkind = 'v'
"""  # noqa: S608 - our own text
_FOREIGN_KEYS = f"""
    SELECT k.conname, pg_catalog.pg_get_constraintdef(k.oid) FROM pg_catalog.pg_constraint AS k
    WHERE k.conrelid = {_OID} AND k.contype = 'f' AND k.conparentid = 0
"""  # noqa: S608 - our own text
_INDEXES = f"""
    SELECT c.relname, pg_catalog.pg_get_indexdef(i.indexrelid),
        pg_catalog.obj_description(i.indexrelid, 'pg_class')
    FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = {_OID} AND NOT i.indisunique AND NOT i.indisexclusion
"""  # noqa: S608 - our own text
_TRIGGERS = f"""
    SELECT t.tgname, pg_catalog.pg_get_triggerdef(t.oid) FROM pg_catalog.pg_trigger AS t
    WHERE t.tgrelid = {_OID} AND NOT t.tgisinternal ORDER BY t.tgname
"""  # noqa: S608 - our own text


class View(NamedTuple):
    """A view that reads a table.

    Attributes:
        options: as `security_barrier=true`; empty for none.
        query: as PostgreSQL writes it, with the schema of each table.
    """

    oid: int
    schema: str
    name: str
    options: str
    query: str

    @property
    def statement(self) -> sql.Composed:
        """The statement that makes it read the table that now has the name."""
        options = sql.SQL(f" WITH ({self.options})" if self.options else "")
        query = sql.SQL(self.query)
        name = sql.Identifier(self.schema, self.name)
        return sql.SQL("CREATE OR REPLACE VIEW {}{} AS {}").format(name, options, query)


class Grant(NamedTuple):
    """A right on a table or on one of its columns; an empty role is PUBLIC."""

    privilege: str
    column: str | None
    role: str
    is_grantable: bool

    @property
    def grantee(self) -> sql.Composable:
        """The role as SQL."""
        return sql.Identifier(self.role) if self.role else sql.SQL("PUBLIC")

    def statement(self, table: sql.Identifier) -> sql.Composed:
        """The statement that grants it on a table."""
        of = sql.SQL("({})").format(sql.Identifier(self.column)) if self.column else sql.SQL("")
        option = sql.SQL(" WITH GRANT OPTION" if self.is_grantable else "")
        return sql.SQL("GRANT {}{} ON {} TO {}{}").format(
            sql.SQL(self.privilege), of, table, self.grantee, option
        )


class CarriedOver(NamedTuple):
    """What is carried over from a table to the partitioned one.

    Attributes:
        indexes: each with its definition and its comment.
        foreign_keys, triggers: each with its definition.
    """

    comment: str | None
    owner: str
    grants: list[Grant]
    views: list[View]
    foreign_keys: list[tuple[str, str]]
    indexes: list[tuple[str, str, str | None]]
    triggers: list[tuple[str, str]]


def obstacles(connection: psycopg.Connection, table: sa.Table, own: str) -> list[str]:
    """What keeps a table from being partitioned, a line each.

    Args:
        own: a unique index of ours, with its schema, which need not be there.
    """
    name = f"{SCHEMA}.{table.name}"
    found = connection.execute(_OBSTACLES, {"table": _quoted(table), "own": own}).fetchall()
    return [f"{name}: {what}" for (what,) in found]


def read(connection: psycopg.Connection, table: sa.Table) -> CarriedOver:
    """Read what a table has.

    The search path of our transactions holds no schema of tables, so PostgreSQL writes each name
    with its schema.
    """
    named = {"table": _quoted(table)}

    def rows(statement: str) -> list[tuple[str, ...]]:
        return connection.execute(statement.encode(), named).fetchall()

    ((comment, owner),) = rows(_COMMENT)
    return CarriedOver(
        comment,
        owner,
        [Grant(*row[:4]) for row in rows(_GRANTS)],  # type: ignore[arg-type]
        [View(*row) for row in rows(_VIEWS)],  # type: ignore[arg-type]
        [(name, text) for name, text in rows(_FOREIGN_KEYS)],
        [(name, text, about) for name, text, about in rows(_INDEXES)],
        [(name, text) for name, text in rows(_TRIGGERS)],
    )


def _quoted(table: sa.Table) -> str:
    """The table's name as `to_regclass` reads it."""
    return sql.Identifier(SCHEMA, table.name).as_string(None)
