"""A database whose owner is no superuser, and whose processes log in with roles of their own."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import tomli_w
from psycopg import sql
from sqlalchemy.engine import make_url

from sinergi.cli.root import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa

PURPOSES = {"producer": ("application", "relay"), "consumer": ("materialiser", "reader", "auditor")}
# Every right that somebody has on something of ours, as PostgreSQL stores it.
_GIVEN = """
    SELECT pg_get_userbyid(a.grantee), a.privilege_type, n.nspname || '.' || c.relname,
        NULL::text AS col
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,
        aclexplode(c.relacl) AS a WHERE n.nspname LIKE 'sinergi%%' AND a.grantee <> c.relowner
    UNION ALL
    SELECT pg_get_userbyid(a.grantee), a.privilege_type, n.nspname || '.' || c.relname, t.attname
    FROM pg_attribute AS t JOIN pg_class AS c ON c.oid = t.attrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace, aclexplode(t.attacl) AS a
    WHERE n.nspname LIKE 'sinergi%%' AND a.grantee <> c.relowner
    UNION ALL
    SELECT pg_get_userbyid(a.grantee), a.privilege_type, n.nspname || '.' || p.proname, NULL
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace,
        aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
    WHERE n.nspname LIKE 'sinergi%%' AND a.grantee <> p.proowner
    UNION ALL
    SELECT pg_get_userbyid(a.grantee), a.privilege_type, n.nspname, NULL
    FROM pg_namespace AS n, aclexplode(n.nspacl) AS a
    WHERE n.nspname LIKE 'sinergi%%' AND a.grantee <> n.nspowner
    UNION ALL
    SELECT pg_get_userbyid(a.grantee), a.privilege_type, 'database', NULL
    FROM pg_database AS d, aclexplode(d.datacl) AS a
    WHERE d.datname = current_database() AND a.grantee <> d.datdba
"""


@dataclass
class OwnedDatabase:
    """A database, its owner, and the names of its roles, of which none exists yet.

    Attributes:
        server: the URL of a superuser.
        name: of the database; the names of the roles end with it too.
    """

    server: sa.URL
    folder: Path
    name: str = field(default_factory=lambda: f"roles_{secrets.token_hex(5)}")

    def role(self, purpose: str) -> str:
        return f"{purpose}_{self.name}"

    def url(self, purpose: str | None = None) -> str:
        """The database's URL for one of its roles, or for the superuser."""
        found = self.server.set(database=self.name, drivername="postgresql")
        if purpose:
            found = found.set(username=self.role(purpose), password=self.role(purpose))
        return found.render_as_string(hide_password=False)

    def execute(self, *statements: str) -> None:
        """Run statements as the superuser."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            for each in statements:
                connection.execute(each.encode())

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """What the superuser sees."""
        with psycopg.connect(self.url()) as connection:
            return connection.execute(question.encode()).fetchall()

    @property
    def given(self) -> set[tuple[str, str, str, str | None]]:
        """Who has which right on what, and on which column; without what owners have."""
        ends = f"_{self.name}"
        return {
            (who.removesuffix(ends), *rest) for who, *rest in self.rows(_GIVEN.replace("%%", "%"))
        }

    def settings(self, **roles: dict[str, str]) -> Path:
        """The file of an agency whose relay and materialiser log in with roles of their own.

        Args:
            roles: the roles that it names, by table, where they are others.
        """
        document = {
            of: {
                "database": self.url(purposes[-1] if of == "producer" else purposes[0]),
                "owner_database": self.url("owner"),
                "database_roles": {each: self.role(each) for each in purposes},
            }
            for of, purposes in PURPOSES.items()
        }
        for of, named in roles.items():
            document[of]["database_roles"] = named
        file = self.folder / "sinergi.toml"
        file.touch(mode=0o600)
        file.write_text(tomli_w.dumps(document), encoding="utf-8")
        return file

    def upgrade(self, *of: str) -> None:
        """Make tables and roles as the owner, and let each role log in."""
        settings = self.settings()
        for each in of or PURPOSES:
            assert run(["--config", str(settings), "db", "upgrade", "--role", each]) == 0
            for purpose in PURPOSES[each]:
                self.let_in(purpose)

    def let_in(self, purpose: str) -> None:
        role = self.role(purpose)
        self.execute(f"ALTER ROLE {role} PASSWORD '{role}'")


@contextmanager
def owned_database(server: str, folder: Path) -> Iterator[OwnedDatabase]:
    """A database for the block. Nobody but its owner may even connect to it."""
    url = make_url(server)
    made = OwnedDatabase(url, folder)
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        owner = made.role("owner")
        connection.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE PASSWORD '{owner}'".encode())
        connection.execute(f"CREATE DATABASE {made.name} OWNER {owner}".encode())
        connection.execute(f"REVOKE ALL ON DATABASE {made.name} FROM PUBLIC".encode())
        try:
            yield made
        finally:
            connection.execute(f"DROP DATABASE {made.name} WITH (FORCE)".encode())
            named = "SELECT rolname FROM pg_roles WHERE rolname LIKE %s ORDER BY rolname = %s"
            for (name,) in connection.execute(named, (f"%{made.name}%", owner)).fetchall():
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
