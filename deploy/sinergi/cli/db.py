"""`sinergi db upgrade`: make and migrate the tables in an agency's database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sinergi import migrate
from sinergi.cli import reader_prune_output, root, terminal
from sinergi.cli.options import AsJson, Why, command_group
from sinergi.database_roles import roles_of
from sinergi.exit_status import ExitStatus
from sinergi.migrate import Role
from sinergi.settings.model import BusRole, refused
from sinergi_consumers.projections import projection
from sinergi_schemas import catalog
from sinergi_schemas.plain_text import counted
from sinergi_schemas.postgresql.address import DatabaseAddress, conninfo

if TYPE_CHECKING:
    from sinergi.database_roles import DatabaseRole
    from sinergi_consumers.projections.projection import Projection

app = command_group("db", "Make and migrate the tables in a database; prune a reader's.")


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
    partitioned: Annotated[
        bool,
        typer.Option(
            "--partitioned", help="Partition the histories by month, while materialisers work on."
        ),
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print the SQL that this database still needs; only read it."),
    ] = False,
    only_roles: Annotated[
        bool,
        typer.Option("--only-roles", help="With --sql: print the SQL for the roles alone."),
    ] = False,
) -> None:
    """Make the tables that are missing and migrate the others; a second run changes nothing.

    Relay and materialiser need no right to create anything: run this as the database's owner.
    Columns that are there stay as they are; those that differ from what their projection declares
    are listed.

    With --partitioned each history is partitioned by month, by the time at which its events were
    recorded; what is in a table stays and becomes its first partition. It can be stopped at any
    moment, and goes on the next time. Later upgrades need no such option, and make the partitions
    of the coming twelve months.

    The roles that the settings name under database_roles get the rights that they need; those that
    do not exist are created without a password. Nothing is dropped or revoked; rights that a role
    has on these tables and does not need are listed.

    --plan shows what an upgrade would do, while everything works on: a new column is nullable, so
    that no row is rewritten; older rows have it empty until `sinergi rebuild`. Roles, rights and
    partitions of coming months are not shown.

    Exit status 0: the tables are made; 1: a column is such that rows may be refused, or with --plan
    something is left to do; 2: it could not be done.

    Examples:
      sinergi db upgrade --role producer --database postgresql://owner@/sdp
      sinergi db upgrade --role consumer --sql > sinergi.sql
      sinergi db upgrade --role consumer --plan
      sinergi db upgrade --role consumer --partitioned
    """
    _check_plan(plan=plan, excluded=as_sql or partitioned or only_roles)
    projections = _projections() if role is Role.CONSUMER else ()
    roles = roles_of(root.settings().values, BusRole(role.value), projections)
    if only_roles:
        _check_only_roles(roles, as_sql=as_sql)
    _check_partitioned(role, partitioned=partitioned, as_sql=as_sql)
    if as_sql:
        made = (
            migrate.script_of_roles(roles)
            if only_roles
            else migrate.script(role, projections, roles)
        )
        terminal.show_bytes(f"{made}\n".encode())
        return
    url = _url(database, role)
    if plan:
        _show_plan(url, role, projections)
        return
    done = migrate.upgrade(url, role, projections, roles)
    for each in (*done.roles, *done.excess, *done.foreign):
        terminal.note(f"sinergi: {each}")
    changed = (
        f"; {counted(len(done.tables), 'statement')} for the projections' tables"
        if done.tables
        else ""
    )
    if projections:
        coming = migrate.partition(url, projections, _report, is_wanted=partitioned)
        if coming:
            terminal.note(f"sinergi: {counted(coming, 'partition')} made for histories")
    differing = migrate.differences(url, projections)
    if not differing:
        terminal.note(f"sinergi: the tables of a {role.value} are up to date{changed}")
        return
    what = f"the tables of a {role.value} are there{changed}, and not all are as declared"
    terminal.note(f"sinergi: {what}:")
    for difference in differing:
        terminal.note(f"  {difference}")
    if any(each.breaks for each in differing):
        remedy = "alter them as the database's owner, or give the projection another table"
        terminal.note(f"sinergi: rows may be refused for this: {remedy}")
        raise typer.Exit(ExitStatus.NEGATIVE)


@app.command()
def prune(
    apply: Annotated[bool, typer.Option("--apply", help="Do it, and not only show it.")] = False,
    why: Why = None,
    as_json: AsJson = False,
) -> None:
    """Remove what is older than the settings keep from a reader's database.

    consumer.retention says for how many months the events of histories, checkpoints and receipts
    are kept; what it does not name is kept for ever. Partitions of a history are dropped as a
    whole; elsewhere rows are deleted in batches. Of the checkpoints and receipts of a
    topic-partition the last older one stays, and receipts that are not published. Current tables,
    tables of your own projections and quarantine are not touched. What was removed is recorded in
    sinergi_consumer.retention, by which `sinergi verify` tells it from rows that somebody has
    deleted.

    With --apply it runs as the database's owner (`consumer.owner_database`), while materialisers
    run or not, and shows the state afterwards. Repeated, it goes on where it was stopped. Runbook:
    docs/runbooks.md.

    Exit status: 0 nothing is left to do, 1 something is, 2 it could not be done or checked.

    Example: sinergi db prune --apply --why "five years, regulation 12"
    """
    status = reader_prune_output.prune(
        root.settings(), _projections(), why, apply=apply, as_json=as_json
    )
    if status is not ExitStatus.SUCCESS:
        raise typer.Exit(status)


def _check_only_roles(roles: Sequence[DatabaseRole], *, as_sql: bool) -> None:
    if not as_sql:
        raise typer.BadParameter("it needs --sql too", param_hint="--only-roles")
    if not roles:
        what = "the settings name no role under database_roles"
        raise typer.BadParameter(what, param_hint="--only-roles")


def _check_partitioned(role: Role, *, partitioned: bool, as_sql: bool) -> None:
    if partitioned and (as_sql or role is not Role.CONSUMER):
        what = "it changes the tables of a consumer's database, and so excludes --sql"
        raise typer.BadParameter(what, param_hint="--partitioned")


def _check_plan(*, plan: bool, excluded: bool) -> None:
    if plan and excluded:
        what = (
            "it shows what this database needs, and so excludes --sql, --only-roles, --partitioned"
        )
        raise typer.BadParameter(what, param_hint="--plan")


def _show_plan(url: str, role: Role, projections: Sequence[Projection]) -> None:
    """Print what an upgrade would run, and note what it would leave as it is."""
    wanted = migrate.plan(url, role, projections)
    terminal.show_bytes(wanted.encode())
    if wanted:
        terminal.note(f"sinergi: the tables of a {role.value} are to be upgraded; nothing was done")
    else:
        terminal.note(f"sinergi: the tables of a {role.value} are up to date")
    differing = [each for each in migrate.differences(url, projections) if not each.is_missing]
    for each in differing:
        terminal.note(f"sinergi: {each}; an upgrade leaves it as it is")
    if wanted or any(each.breaks for each in differing):
        raise typer.Exit(ExitStatus.NEGATIVE)


def _report(done: str) -> None:
    terminal.note(f"sinergi: {done}")


def _url(database: str | None, role: Role) -> str:
    if database is None:
        return root.settings().owner_database(BusRole(role.value))
    try:
        conninfo(database)
    except ValueError as why:
        raise refused(f"--database: {why}") from None
    return DatabaseAddress(database, "--database")


def _projections() -> Sequence[Projection]:
    shipped = catalog.Catalog.shipped()
    return projection.projections_of(shipped, shipped.event_types)
