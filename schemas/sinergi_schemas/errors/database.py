"""Errors of PostgreSQL, and of what is stored there."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Fatal, Refused, ServiceAway, TopicHalted
from sinergi_schemas.plain_text import some


class TablesMissing(Refused):
    """{what} is not in the database. Run `sinergi db upgrade --role {role}` as its owner."""

    what: str
    role: str


class TablesNewer(Refused):
    """A newer version of Sinergi has migrated the tables of a {role}, and nothing was done.
    They are at {revision}, and this version knows them up to {known}. Run `sinergi db upgrade` with
    the newer version. Relay and materialiser of this version go on with these tables.
    """

    role: str
    revision: str
    known: str


class DatabaseAway(ServiceAway):
    """The database is not available ({why}). Check it, and its address, given by {origin}.

    Attributes:
        sqlstate: PostgreSQL's code, or `none` if there was no connection.
        reported: what the driver reports of a connection that failed or broke.
        origin: the setting or the option that gave the address.
    """

    sqlstate: str
    reported: str = "it does not answer"
    origin: str = "the settings (`database`)"

    @property
    def why(self) -> str:
        """What was reported, after the code if there is one."""
        if self.sqlstate == "none":
            return self.reported
        return f"SQLSTATE {self.sqlstate}: {self.reported}"


class LockHeld(DatabaseAway):
    """The database given by {origin} answers, but another session holds a lock that is needed
    ({why}). Let that session end its transaction; its role or a superuser ends the session with
    `SELECT pg_terminate_backend(…)`.

    Attributes:
        reported: which sessions hold locks in this database.
    """

    reported: str = "`SELECT * FROM pg_locks` shows who holds locks"


class DatabaseLoginRefused(DatabaseAway):
    """The database refuses the login ({why}). Mend the user or the password in its address, given
    by {origin}, or ask the database's owner.
    """


class DatabaseUnknown(DatabaseAway):
    """The server has no such database ({why}). Mend the name in its address, given by {origin}, or
    let its owner create it.
    """


class DatabaseHostUnknown(DatabaseAway):
    """The host of the database is unknown ({why}). Mend the host in its address, given by
    {origin}.
    """


class DatabaseBroken(Fatal):
    """The database refuses the statement (SQLSTATE {sqlstate}, {what}). If a table, a column or a
    privilege is missing, run `sinergi db upgrade`, or ask the database's owner. Otherwise look up
    the code in PostgreSQL's manual (appendix A); the server's log has the statement.
    """

    sqlstate: str
    what: str


class ObjectMissing(DatabaseBroken):
    """The database lacks a table, a schema or a function (SQLSTATE {sqlstate}, {what}). Run
    `{upgrade}`, or ask the database's owner.
    """

    @property
    def upgrade(self) -> str:
        """The command that makes it."""
        role = "producer" if "sinergi_producer" in self.what else "consumer"
        return f"sinergi db upgrade --role {role}"


class RightMissing(DatabaseBroken):
    """The database user lacks a right: {what} (SQLSTATE {sqlstate}). Let the database's owner grant
    the right, or run this as its owner.
    """


class GrantMissing(RightMissing):
    """The database user {user} lacks {rights} (SQLSTATE {sqlstate}, {what}). Let the database's
    owner run `sinergi db upgrade --role {role}`, which grants it if {setting} names that user; or
    use the user that it names (docs/runbooks.md).

    Attributes:
        setting: the key of the setting that names the user who has these rights.
        missing: the rights, each with its object.
    """

    user: str
    role: str
    setting: str
    missing: tuple[str, ...]

    @property
    def rights(self) -> str:
        """The first of the rights, and how many others there are."""
        return some(self.missing)


class RolesRefused(Refused):
    """The roles of the database cannot be set up, and nothing was done:{listing}"""

    listing: str


class SchemasRefused(Refused):
    """Somebody else has made the schemas for the tables, and nothing was done:{listing}"""

    listing: str


class StoredStateInvalid(TopicHalted):
    """{column} of the row {row} is not what was stored there ({what}): somebody wrote over it, or
    the disk did. Restore the database from a backup (docs/runbooks.md). If Sinergi has never
    written that row, delete it.

    Attributes:
        column: the column with its schema and table.
        row: the values of the row's key, which are names of things.
    """

    column: str
    row: str
    what: str


class EncodingRefused(Refused):
    """The database {database} keeps text as {encoding}, which cannot hold every name. Create one
    with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in sinergi.toml.
    """

    database: str
    encoding: str


class PoolerRefused(Refused):
    """The connection pooler in front of the database cannot be used ({reported}). Set its pool_mode
    to transaction or session, leave `options` out of the URL, and let clients prepare no statements
    (psycopg: prepare_threshold=None); or connect to the database directly.
    """

    reported: str


class RowsRefused(Refused):
    """The database refused rows (SQLSTATE {sqlstate}, {what}). Correct the events or the table."""

    sqlstate: str
    what: str


class PartitioningRefused(Refused):
    """Tables cannot be partitioned while {what}. Change that as the owner of the tables, and run
    `sinergi db upgrade --partitioned` again. The tables are used as before.

    Attributes:
        found: what is in the way, a line each, with the table.
    """

    found: tuple[str, ...]

    @property
    def what(self) -> str:
        """The first of them, and how many others there are."""
        return some(self.found)


class TableNameTaken(Refused):
    """No table can be made where {what}, and nothing was done. Drop or rename that as the
    database's owner; if the table was renamed before, give it its name again. Then run
    `sinergi db upgrade` again, and `sinergi rebuild` for rows that are missing.

    Attributes:
        found: what stands in place of each table, as `sinergi.transfer is a view`.
    """

    found: tuple[str, ...]

    @property
    def what(self) -> str:
        """The first of them, and how many others there are."""
        return some(self.found)
