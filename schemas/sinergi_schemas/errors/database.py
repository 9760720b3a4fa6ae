"""Errors of PostgreSQL, and of what is stored there."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Fatal, Refused, ServiceAway, TopicHalted


class TablesMissing(Refused):
    """{what} is not in the database. Run `sinergi db upgrade --role {role}` as its owner."""

    what: str
    role: str


class DatabaseAway(ServiceAway):
    """The database does not serve us ({why}). Look after it, and at its address in the settings
    (`database`); what runs for ever tries again until it does.

    Attributes:
        sqlstate: PostgreSQL's code, or `none` where no connection stood.
        said: what the driver says of a connection that did not come about, or broke.
    """

    sqlstate: str
    said: str = "it does not answer"

    @property
    def why(self) -> str:
        """What was said, behind the code where there is one."""
        return self.said if self.sqlstate == "none" else f"SQLSTATE {self.sqlstate}: {self.said}"


class DatabaseBroken(Fatal):
    """The database refuses the work itself (SQLSTATE {sqlstate}, {what}): a table, column or
    privilege is missing. Run `sinergi db upgrade`, or ask its owner.
    """

    sqlstate: str
    what: str


class ObjectMissing(DatabaseBroken):
    """The database lacks a table, a schema or a function (SQLSTATE {sqlstate}, {what}). Run
    `sinergi db upgrade`, or ask its owner.
    """


class RightMissing(DatabaseBroken):
    """The database refuses this user the work: {what} (SQLSTATE {sqlstate}). Let its owner grant
    the right, or run this as its owner.
    """


class StoredStateInvalid(TopicHalted):
    """{column} of the row {row} is not what was stored there ({what}): somebody wrote over it, or
    the disk did. Restore the database from a backup (docs/runbooks.md); with a row that nothing of
    Sinergi has written, delete it.

    Attributes:
        column: with its schema and table.
        row: the values of its key, which are names of things.
    """

    column: str
    row: str
    what: str


class EncodingRefused(Refused):
    """The database {database} keeps text as {encoding}, which does not hold every name. Make one
    with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name that in sinergi.toml.
    """

    database: str
    encoding: str


class PoolerRefused(Refused):
    """The connection pooler before the database does not serve us ({said}). Set its pool_mode to
    transaction or session, leave `options` out of the URL, and let clients prepare no statements
    (psycopg: prepare_threshold=None); or connect past it.
    """

    said: str


class RowsRefused(Refused):
    """The database refused rows (SQLSTATE {sqlstate}, {what}); mend the events or the table."""

    sqlstate: str
    what: str
