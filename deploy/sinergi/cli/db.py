"""`sinergi db upgrade`: make and migrate the tables in an agency's database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sinergi import migrate
from sinergi.cli import root, terminal
from sinergi.cli.options import command_group
from sinergi.exit_status import ExitStatus
from sinergi.migrate import Role
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from sinergi_consumers.projections.projection import Projection

app = command_group("db", "Make and migrate the tables in a database.")


@app.command()
def upgrade(
    role: Annotated[Role, typer.Option(help="What the database is for.")],
    database: Annotated[
        str | None,
        typer.Option(metavar="URL", help="As an owner who may create; else that of the settings."),
    ] = None,
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL for an empty database; touch none.")
    ] = False,
) -> None:
    """Make the tables that are missing and migrate the others; a second run changes nothing.

    Relay and materialiser need no right to create anything: run this as the database's owner.
    Columns that are there stay as they are; those that differ from what their projection declares
    are listed.

    Exit status 0: the tables are made; 1: a column is such that rows may be refused; 2: it could
    not be done.

    Examples:
      sinergi db upgrade --role producer --database postgresql://owner@/sdp
      sinergi db upgrade --role consumer --sql > sinergi.sql
    """
    projections = _projections() if role is Role.CONSUMER else ()
    if as_sql:
        terminal.show_bytes(f"{migrate.script(role, projections)}\n".encode())
        return
    url = _url(database, role)
    done = migrate.upgrade(url, role, projections)
    changed = f"; {counted(len(done), 'statement')} for the projections' tables" if done else ""
    differing = migrate.differences(url, projections)
    if not differing:
        terminal.note(f"sinergi: the tables of a {role.value} are up to date{changed}")
        return
    what = f"the tables of a {role.value} are there{changed}, and not all are as declared"
    terminal.note(f"sinergi: {what}:")
    for each in differing:
        terminal.note(f"  {each}")
    if any(each.breaks for each in differing):
        remedy = "alter them as the database's owner, or give the projection another table"
        terminal.note(f"sinergi: rows may be refused for this: {remedy}")
        raise typer.Exit(ExitStatus.NEGATIVE)


def _url(database: str | None, role: Role) -> str:
    if database is not None:
        from sinergi.settings.settings import load  # noqa: PLC0415 - only with --database

        values = load(flags={f"{role.value}.database": database}, option="--database")
    else:
        values = root.settings()
    return values.producer_database if role is Role.PRODUCER else values.consumer_database


def _projections() -> Sequence[Projection]:
    from sinergi_consumers.projections.projection import projections_of  # noqa: PLC0415 - it needs polars
    from sinergi_schemas.catalog import Catalog  # noqa: PLC0415

    catalog = Catalog.shipped()
    return projections_of(catalog, catalog.event_types)
