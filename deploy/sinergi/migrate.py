"""Makes and migrates the tables in a database, for `sinergi db upgrade`.

The migrations of each role are named SQL files beside the code that uses the tables. The database's
owner runs them; relay and materialiser need no right to create anything.
"""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from importlib.metadata import version
from importlib.resources import files
from io import StringIO
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from sinergi import database_roles, excess_rights, schema_owners
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.postgresql import session, translate, translate_wrapped
from sinergi_schemas.postgresql.address import ascribed
from sinergi_schemas.postgresql.engine import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinergi.database_roles import DatabaseRole, GivenRole
    from sinergi.excess_rights import ExcessRights
    from sinergi.schema_owners import ForeignSchema
    from sinergi_consumers.projections.differences import Difference
    from sinergi_consumers.projections.projection import Projection


# The head of a script: one transaction, which leaves no settings behind in the session.
_PREAMBLE = f"""BEGIN;

SET LOCAL search_path = {session.SEARCH_PATH};

SET LOCAL standard_conforming_strings = on;

DO $$ BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = 'this database keeps text as ' || current_setting('server_encoding')
                || ', which does not hold every name: make one with ENCODING UTF8';
    END IF;
END $$;

SET LOCAL client_encoding = 'UTF8';

"""

# Alembic keeps the connection of a migration in a module.
_migrating = Lock()

_SCHEMA_THERE, _TABLE_THERE, _NOT_UNIQUE = "42P06", "42P07", "23505"
# Once the first of several upgrades has committed, the others find what it has made.
_MOST_TRIES = 3
# Later upgrades of one database wait here. Whoever may not lock it has nothing to write to it.
_LOCK = """
DO $$ BEGIN
    IF has_table_privilege(to_regclass('{0}.version'), 'UPDATE') THEN
        LOCK TABLE {0}.version IN SHARE ROW EXCLUSIVE MODE;
    END IF;
END $$
"""


class Upgraded(NamedTuple):
    """What an upgrade has done.

    Attributes:
        tables: the SQL statements that changed the projections' tables.
        roles: those that were created or got rights.
        excess: the rights that roles have and do not need.
        foreign: the schemas that belong to another user.
    """

    tables: list[str]
    roles: list[GivenRole]
    excess: list[ExcessRights]
    foreign: list[ForeignSchema]


class Role(StrEnum):
    """What a database is for; one may be both."""

    PRODUCER = "producer"
    CONSUMER = "consumer"

    @property
    def schema(self) -> str:
        """The SQL schema of the role's own tables."""
        return f"sinergi_{self.value}"

    @property
    def schemas(self) -> Sequence[str]:
        """All SQL schemas that it makes."""
        return (self.schema,) if self is Role.PRODUCER else (self.schema, "sinergi")


def upgrade(
    url: str,
    role: Role,
    projections: Sequence[Projection] = (),
    roles: Sequence[DatabaseRole] = (),
) -> Upgraded:
    """Make or migrate the tables of a role, and those of projections, and give roles their rights.

    All of it is one transaction. Of several upgrades at once, each waits for the one before.

    Args:
        url: the database's address, with a user who may create schemas; see
            `sinergi_schemas.postgresql.address`.
        projections: for a consumer, the projections of this database.
        roles: the roles of PostgreSQL that use the tables.

    Raises:
        DatabaseAway: the database does not answer.
        DatabaseBroken: the user may not create what is missing.
        EncodingRefused: the database cannot hold every text.
        PoolerRefused: the pooler before it does not give transactions.
        RolesRefused: a role cannot be made or granted; nothing was done.
        SchemasRefused: somebody else has made the schemas; nothing was done.
        TableNameTaken: something else has the name of a table; nothing was done.
        TablesNewer: a newer version has migrated them; nothing was done.
    """
    try:
        with engine(url, "sinergi db") as opened:
            for _ in range(_MOST_TRIES - 1):
                try:
                    return _upgrade(opened, role, projections, roles)
                except (sa.exc.DBAPIError, psycopg.Error) as why:
                    if not _was_made_meanwhile(why):
                        raise
            return _upgrade(opened, role, projections, roles)
    except sa.exc.DBAPIError as why:
        raise ascribed(translate_wrapped(why), url) from None
    except psycopg.Error as why:
        raise ascribed(translate(why), url) from None


def differences(url: str, projections: Sequence[Projection]) -> list[Difference]:
    """Where the tables of projections differ from what these declare. It changes nothing.

    Raises:
        DatabaseAway: the database does not answer.
        DatabaseBroken: the user may not make temporary tables.
    """
    if not projections:
        return []
    from sinergi_consumers.projections import differences as found  # noqa: PLC0415 - as in `script`

    try:
        with engine(url, "sinergi db") as opened, opened.begin() as connection:
            return list(found.differences(connection, projections))
    except sa.exc.DBAPIError as why:
        raise ascribed(translate_wrapped(why), url) from None


def script(
    role: Role, projections: Sequence[Projection] = (), roles: Sequence[DatabaseRole] = ()
) -> str:
    """The SQL that `upgrade` would run on an empty database, for a DBA to read and run."""
    output = StringIO()
    output.write(_PREAMBLE)
    output.write(f"{schema_owners.statement(role.schemas)};\n\n")
    config = _config(role)
    config.attributes["output"] = output
    with _migrating:
        command.upgrade(config, "head", sql=True)
    if role is Role.PRODUCER:
        output.write(f"{_registration()};\n\n")
    if projections:
        from sinergi_consumers.projections import ddl  # noqa: PLC0415 - a producer's host may lack polars

        for statement in (*ddl.statements(projections, {}), ddl.registration(projections)):
            output.write(f"{statement};\n\n")
    output.write(_of_roles(roles))
    output.write("COMMIT;\n")
    return output.getvalue()


def plan(url: str, role: Role, projections: Sequence[Projection] = ()) -> str:
    """The SQL that `upgrade` would run on a database as it is now; empty if there is none to run.

    The database is only read, and nothing waits for it. Roles, their rights, and the partitions of
    coming months are not part of it.

    Raises:
        DatabaseAway: the database does not answer.
        DatabaseBroken: the user may not read what is there.
        SchemasRefused, TableNameTaken, TablesNewer: as `upgrade`.
    """
    try:
        with engine(url, "sinergi db") as opened, opened.begin() as connection:
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            found = (
                f"{_pending_migrations(connection, role)}{_pending(connection, role, projections)}"
            )
    except sa.exc.DBAPIError as why:
        raise ascribed(translate_wrapped(why), url) from None
    except psycopg.Error as why:
        raise ascribed(translate(why), url) from None
    return f"{_PREAMBLE}{found}COMMIT;\n" if found else ""


def _pending_migrations(connection: sa.Connection, role: Role) -> str:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    schema_owners.foreign_schemas(driver, role.schemas, f"{role.schema}.version")
    config, output = _config(role), StringIO()
    done = _revision(connection, role, config)
    if done == ScriptDirectory.from_config(config).get_current_head():
        return ""
    config.attributes["output"] = output
    with _migrating:
        command.upgrade(config, f"{done}:head" if done else "head", sql=True)
    return output.getvalue()


def _revision(connection: sa.Connection, role: Role, config: Config) -> str | None:
    """The newest migration that was run; None if none was.

    Raises:
        TablesNewer: this version does not have it.
    """
    versions = {"version_table": "version", "version_table_schema": role.schema}
    done = MigrationContext.configure(connection, opts=versions).get_current_revision()
    revisions = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    if done is not None and done not in revisions:
        raise errors.TablesNewer(role.value, done, revisions[0])
    return done


def _pending(connection: sa.Connection, role: Role, projections: Sequence[Projection]) -> str:
    """What is to be done beside migrations: tables, columns, and what is registered of them."""
    found: list[str] = []
    if role is Role.PRODUCER:
        found += [_registration()] if _lacks_schemas(connection) else []
    elif projections:
        from sinergi_consumers.projections import ddl  # noqa: PLC0415 - as in `script`

        ddl.check_names(connection, projections)
        found += ddl.statements(projections, ddl.columns_in(connection))
        if not ddl.is_registered(connection, projections):
            found.append(ddl.registration(projections))
    return "".join(f"{each};\n\n" for each in found)


def _lacks_schemas(connection: sa.Connection) -> bool:
    if not sa.inspect(connection).has_table("known_schema", "sinergi_producer"):
        return True
    columns = sa.inspect(connection).get_columns("known_schema", "sinergi_producer")
    if "text" not in {each["name"] for each in columns}:
        return True
    rows = connection.exec_driver_sql(
        "SELECT fingerprint, text, event_type, version, id FROM sinergi_producer.known_schema"
    )
    known = {tuple(row) for row in rows}
    return any(
        (each.fingerprint, each.text, each.event_type, each.version, each.id) not in known
        for each in Catalog.shipped().all()
    )


def script_of_roles(roles: Sequence[DatabaseRole]) -> str:
    """The SQL for roles alone, on a database that has the tables; it may be run again."""
    return f"{_PREAMBLE}{_of_roles(roles)}COMMIT;\n"


def _of_roles(roles: Sequence[DatabaseRole]) -> str:
    return "".join(f"{each};\n\n" for each in database_roles.statements(roles))


def _registration() -> str:
    """The SQL that stores the schemas of this version, so that an older relay can use them.

    What an application has said of a schema is replaced: the owner of the database knows better.
    """
    rows = ", ".join(
        f"(pg_catalog.decode('{each.fingerprint.hex()}', 'hex'), '{each.event_type}',"
        f" {each.version}, {each.id}, '{version('sinergi')}',"
        f" pg_catalog.decode('{each.text.hex()}', 'hex'))"
        for each in Catalog.shipped().all()
    )
    return (
        "INSERT INTO sinergi_producer.known_schema AS k"  # noqa: S608 - our own schemas
        f" (fingerprint, event_type, version, id, sinergi, text) VALUES {rows}"
        " ON CONFLICT (fingerprint) DO UPDATE"
        " SET text = EXCLUDED.text, event_type = EXCLUDED.event_type,"
        " version = EXCLUDED.version, id = EXCLUDED.id"
        " WHERE (k.text, k.event_type, k.version, k.id)"
        " IS DISTINCT FROM (EXCLUDED.text, EXCLUDED.event_type, EXCLUDED.version, EXCLUDED.id)"
    )


def _upgrade(
    opened: sa.Engine, role: Role, projections: Sequence[Projection], roles: Sequence[DatabaseRole]
) -> Upgraded:
    """Upgrade a database in one transaction; see `upgrade`."""
    with opened.begin() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        versions = f"{role.schema}.version"
        foreign = schema_owners.foreign_schemas(driver, role.schemas, versions)
        if sa.inspect(connection).has_schema(role.schema):
            connection.execute(sa.text(_LOCK.format(role.schema)))
        else:
            connection.execute(sa.text(f"CREATE SCHEMA {role.schema}"))
        config = _config(role)
        _revision(connection, role, config)
        config.attributes["connection"] = connection
        with _migrating:
            command.upgrade(config, "head")
        if role is Role.PRODUCER:
            connection.exec_driver_sql(_registration())
        made = _projection_tables(connection, driver, projections)
        given = database_roles.give(driver, roles, role.schemas)
        return Upgraded(made, given, [*excess_rights.excess(driver, roles, role.schemas)], foreign)


def _was_made_meanwhile(why: sa.exc.DBAPIError | psycopg.Error) -> bool:
    """Whether another upgrade has made a schema or table after this one had not found it."""
    found = why.orig if isinstance(why, sa.exc.DBAPIError) else why
    if not isinstance(found, psycopg.Error):
        return False
    if found.sqlstate == _NOT_UNIQUE:
        return found.diag.schema_name == "pg_catalog"
    return found.sqlstate in (_SCHEMA_THERE, _TABLE_THERE)


def partition(
    url: str,
    projections: Sequence[Projection],
    report: Callable[[str], None],
    *,
    is_wanted: bool,
) -> int:
    """Partition the histories by month if that is wanted, and make the partitions to come.

    Args:
        report: called with each step that is done, in words.

    Returns:
        How many partitions were made of histories that are partitioned.

    Raises:
        PartitioningRefused: a table has what cannot be carried over; it is as it was.
        DatabaseAway, DatabaseBroken: as `upgrade`; the next run goes on where this one was.
    """
    from sinergi_consumers.sinks.postgresql.partitioning import Partitioning  # noqa: PLC0415 - as in `script`

    with closing(Partitioning(url, projections, report)) as partitioning:
        if is_wanted:
            partitioning.convert()
        return partitioning.extend()


def _projection_tables(
    connection: sa.Connection, driver: psycopg.Connection, projections: Sequence[Projection]
) -> list[str]:
    if not projections:
        return []
    from sinergi_consumers.projections import ddl  # noqa: PLC0415 - a producer's host may lack polars
    from sinergi_consumers.sinks.postgresql import table_swap  # noqa: PLC0415 - likewise

    ddl.check_names(connection, projections)
    done = list(ddl.statements(projections, ddl.columns_in(connection)))
    for statement in done:
        connection.exec_driver_sql(statement.replace("%", "%%"))
    connection.exec_driver_sql(ddl.registration(projections).replace("%", "%%"))
    table_swap.follow(driver, projections)
    return done


def _config(role: Role) -> Config:
    versions = files(f"sinergi_{role.value}s") / "sql" / "versions"
    options = {
        "script_location": str(files("sinergi") / "migrations"),
        "version_locations": str(versions),
        "path_separator": "newline",  # a path may hold any other character
    }
    config = Config()
    for name, value in options.items():
        config.set_main_option(name, value.replace("%", "%%"))  # % interpolates there
    config.attributes["schema"] = role.schema
    return config
