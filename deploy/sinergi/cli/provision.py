"""`sinergi provision`: show and make what the agreements in force need: topics, users, rights."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from sinergi.cli import password_reports, provision_output, root, terminal
from sinergi.cli.monitoring import Listen, observed
from sinergi.cli.options import AsJson, Force, command_group
from sinergi.exit_status import ExitStatus
from sinergi.provision import repeated_question
from sinergi.provision.access import users_of
from sinergi.provision.coming import coming_changes
from sinergi.provision.passwords import PasswordFolder
from sinergi.provision.plan import ProvisionPlan, check_unchanged, kept_plan
from sinergi.provision.provisioner import Provisioner
from sinergi.provision.strimzi import (
    Exposure,
    StrimziCluster,
    as_yaml,
    is_cluster_name,
    is_disk_size,
    strimzi_export,
)
from sinergi.provision.topics import remarks, unagreed_types
from sinergi.provision.watch import ProvisionWatch
from sinergi.signals import stopping as on_signals
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.files.output_file import STANDARD_OUTPUT, OutputFile
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sinergi.provision.plan import KeptPlan
    from sinergi.settings.settings import Settings
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka.admin import Admin

T = TypeVar("T")

_NO_AUTHORIZER = (
    "sinergi: no broker has an authorizer, so that whoever reaches them may read and write"
    " everything; no user and no right was planned (authorizer.class.name in the brokers' settings)"
)

UnknownTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--unknown-type",
        metavar="EVENT_TYPE",
        help="Make its topics although this version does not know it. May be repeated.",
    ),
]


ClockIsRight = Annotated[
    bool,
    typer.Option(
        "--clock-is-right",
        help="Remove users that have ended although no message on the bus is as late.",
    ),
]


class ExportFormat(StrEnum):
    """What the resources are for."""

    STRIMZI = "strimzi"


_EXPORTS = {ExportFormat.STRIMZI: strimzi_export}

app = command_group(
    "provision", "Make the topics, users and rights that the agreements in force need."
)


@app.command()
def plan(
    unknown_types: UnknownTypes = None,
    clock_is_right: ClockIsRight = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Keep the plan for `apply FILE`. `-` is standard output, which gets nothing else.",
        ),
    ] = None,
    force: Force = False,
    changes: Annotated[
        bool, typer.Option("--changes", help="Show only what would be done.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what would be done; do nothing.

    A right or a user is created or removed only if an agreement in the folder names it; all others
    are shown as left. A user that Sinergi did not make is refused with its rights. Last stands what
    agreements that begin or end within 30 days will change.

    Exit status: 0 nothing is left to do, 1 something is, 2 a topic or a user is refused, a topic
    waits for brokers, or a broker has no access control.

    Example: sinergi provision plan --out plan.json
    """
    agreements, _, found = _planned(unknown_types or (), clock_is_right=clock_is_right)
    if out is not None:
        with OutputFile.open(out, force=force) as file:
            file.write(found.data)
    if out != STANDARD_OUTPUT:  # a program reads the plan there, and nothing else
        _show(agreements, found, only_changes=changes, as_json=as_json)
    if not found.is_possible:
        if found.open_brokers and found.hindrance:
            terminal.note(f"sinergi: {found.hindrance}")
        raise typer.Exit(ExitStatus.ERROR)
    if not found.is_done:
        raise typer.Exit(ExitStatus.NEGATIVE)


@app.command()
def apply(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A kept plan; left out: what `plan` would show now."),
    ] = None,
    unknown_types: UnknownTypes = None,
    clock_is_right: ClockIsRight = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Go on: apply again each minute, and when rights begin or end."
        ),
    ] = False,
    listen: Listen = None,
    as_json: AsJson = False,
) -> None:
    """Remove rights that have ended, make what is missing, and mend what differs.

    It first removes what has ended, even if something cannot be made afterwards.

    A kept plan is refused if the cluster or the agreements have changed since it was made.

    A user whose agreements have ended by this machine's clock is kept, without rights, until some
    message on the bus is as late: no apply can give a password back.

    A topic that has fewer partitions than it should is refused and left as it is; the others are
    made and mended. Partitions beyond those agreed are listed, and do no harm. A topic of an event
    type that this version does not know is not made, unless --unknown-type names the type: it may
    be misspelt in the agreement, and a topic is never deleted.

    The password of each new user goes into a file of its own in the folder `provision.passwords`.
    Hand it over to the agency, and delete it here.

    With --watch it runs until SIGTERM or Ctrl-C and logs what it does.

    Exit status: 0 done, 2 a topic or a user is refused, a topic waits for brokers, a broker has no
    access control, or something failed.
    """
    if watch:
        if clock_is_right:
            raise typer.BadParameter("not with --watch", param_hint="--clock-is-right")
        _watch(file, unknown_types or (), listen, as_json=as_json)
        return
    if listen is not None:
        raise typer.BadParameter(
            "only a process that goes on has it: --watch", param_hint="--listen"
        )
    if file is not None and unknown_types:
        raise typer.BadParameter("a kept plan has its own", param_hint="--unknown-type")
    kept = None if file is None else kept_plan(file)
    agreements, provisioner, found = _planned(
        unknown_types or (), kept, clock_is_right=clock_is_right
    )
    if kept is not None:
        check_unchanged(kept, found)
    _show(agreements, found, as_json=as_json)
    with provision_output.applying(found) as progress:
        provisioner.apply(found, progress)
    found.check_refused()


@app.command()
def export(
    kind: Annotated[
        ExportFormat, typer.Option("--format", help="For what.")
    ] = ExportFormat.STRIMZI,
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="NAME", help="The name of the Kafka resource.")
    ] = "sinergi",
    expose: Annotated[
        Exposure, typer.Option("--expose", help="How agencies reach the brokers.")
    ] = Exposure.INTERNAL,
    disk: Annotated[
        str, typer.Option("--disk", metavar="SIZE", help="The disk of each broker, such as 500Gi.")
    ] = "100Gi",
    unknown_types: UnknownTypes = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to; `-` is standard output.")
    ] = STANDARD_OUTPUT,
    force: Force = False,
) -> None:
    """Write what the agreements need as resources for Strimzi, which runs Kafka on Kubernetes.

    Kafka and KafkaNodePool describe three brokers, each of which is a controller too. KafkaTopic
    and KafkaUser are the topics, users and rights that `plan` shows. Export and apply again when an
    agreement has begun or ended: a user whose agreements have ended is still written, without
    rights. No password is written, since Strimzi makes them. It asks no broker.

    Strimzi knows a SCRAM user by the name of its KafkaUser, and a certificate by CN= and that name.
    What cannot be written so is named on standard error.

    Exit status: 0 everything is written, 1 something could not be, 2 nothing was written.

    Example: sinergi provision export --format strimzi --out bus.yaml
    """
    if not is_cluster_name(cluster):
        what = "write at most 32 small letters, digits and hyphens"
        raise typer.BadParameter(f"{cluster!r} is no name; {what}", param_hint="--cluster")
    if not is_disk_size(disk):
        raise typer.BadParameter(f"{disk!r} is no size; write 500Gi or 2Ti", param_hint="--disk")
    settings = root.settings()
    agreements, now = settings.agreements(), SYSTEM.now()
    for remark in remarks(agreements, now):
        terminal.note(f"sinergi: {remark}")
    _check_types(agreements, unknown_types or ())
    values = settings.values.provision
    described = StrimziCluster(cluster, expose, disk, values.replication)
    found = _EXPORTS[kind](agreements, now, described, unknown_types or (), values.grace)
    with OutputFile.open(out, force=force) as file:
        file.write(as_yaml(found.resources))
    for each in found.left_out:
        terminal.note(f"sinergi: not exported: {each}")
    if found.left_out:
        raise typer.Exit(ExitStatus.NEGATIVE)


@app.command()
def rotate(
    owner: Annotated[
        str, typer.Argument(metavar="AGENCY", help="An agency or an auditor of the agreements.")
    ],
    as_json: AsJson = False,
) -> None:
    """Give the users of an agency or of an auditor new passwords.

    Kafka holds one password of a user for a mechanism (SCRAM-SHA-512): from then on only the new
    one logs in. Connections that are open go on for ten minutes at most (connections.max.reauth.ms
    of the brokers), so hand the new passwords over at once. Each is in a file of its own.

    Example: sinergi provision rotate lapas-banyuwangi
    """
    settings = root.settings()
    _tell_whose_command(settings)
    agreements = settings.agreements()
    provisioner = _provisioner()
    found = _answer(lambda admin: replace(provisioner, admin=admin).access_control.read())
    if found is None:
        raise errors.RotationRefused(owner, "no broker has an authorizer, and there are no users")
    users = users_of(agreements, owner, found)
    _tell_interrupted(provisioner, users)
    provisioner.access_control.rotate(users)
    if as_json:
        files = {user: str(provisioner.passwords.file(user)) for user in users}
        terminal.show_json([{"user": user, "file": file} for user, file in files.items()])


def _tell_whose_command(settings: Settings) -> None:
    """Say it to an agency, whose settings let it change nothing on the brokers."""
    whose = "`sinergi provision` is for the operator of the brokers; name his settings by --config"
    if settings.values.agency:
        terminal.note(f"sinergi: these are the settings of {settings.values.agency}; {whose}")
    elif settings.file is None and settings.values.kafka.bootstrap is None:
        terminal.note(f"sinergi: there is no settings file here; {whose}")


def _provisioner(unknown_types: Sequence[str] = (), *, is_logged: bool = False) -> Provisioner:
    """The provisioner that the settings describe.

    Args:
        is_logged: it tells of passwords in the log, since it goes on.
    """
    settings = root.settings()
    values = settings.values.provision
    admin = open_admin(settings.connection())
    passwords = PasswordFolder(
        values.passwords,
        password_reports.log_password if is_logged else password_reports.tell_password,
    )
    return Provisioner(
        admin, passwords, values.replication, unknown_types, values.grace, values.open_brokers
    )


def _tell_interrupted(provisioner: Provisioner, renewed: Collection[str]) -> None:
    """Say whose password may be the old or the new one, but for users who get a new one anyway."""
    for user in provisioner.passwords.unset():
        if user not in renewed:
            password_reports.tell_interrupted(user)


def _show(
    agreements: Agreements,
    found: ProvisionPlan,
    *,
    only_changes: bool = False,
    as_json: bool,
) -> None:
    coming = coming_changes(agreements, SYSTEM.now())
    provision_output.show(found, coming, only_changes=only_changes, as_json=as_json)


def _answer(question: Callable[[Admin], T]) -> T:
    """The cluster's answer to a question, which is asked again while it replaces a broker."""
    return repeated_question.ask(root.settings().connection(), question, _tell_repeated)


def _tell_repeated(left: int) -> None:
    terminal.note(
        "sinergi: some brokers answer, and some do not: if one has just gone away, another takes"
        f" over within seconds; asking again ({counted(left, 'try', 'tries')} left)"
    )


def _planned(
    unknown_types: Sequence[str], kept: KeptPlan | None = None, *, clock_is_right: bool
) -> tuple[Agreements, Provisioner, ProvisionPlan]:
    _tell_whose_command(root.settings())
    agreements, now = root.settings().agreements(), SYSTEM.now()
    for remark in remarks(agreements, now):
        terminal.note(f"sinergi: {remark}")
    if kept is None:
        _check_types(agreements, unknown_types)
    else:
        unknown_types = kept.unknown_types
        for why in unagreed_types(agreements, unknown_types):
            raise errors.PlanRefused(str(kept.path), f"cannot be used: in `unknown_types`, {why}")
    provisioner = replace(_provisioner(unknown_types), trusts_clock=clock_is_right)
    found = _answer(lambda admin: replace(provisioner, admin=admin).plan(agreements, now))
    if found.access is None:
        terminal.note(_NO_AUTHORIZER)
    _tell_interrupted(provisioner, found.new_users)
    return agreements, provisioner, found


def _check_types(agreements: Agreements, unknown_types: Sequence[str]) -> None:
    """Refuse an event type that no agreement has: it may be misspelt."""
    for why in unagreed_types(agreements, unknown_types):
        raise typer.BadParameter(why, param_hint="--unknown-type")
    for name in unknown_types:
        if name in Catalog.shipped().event_types:
            terminal.warn(f"this version knows the event type {name}: leave out --unknown-type")


def _watch(
    file: Path | None, unknown_types: Sequence[str], listen: str | None, *, as_json: bool
) -> None:
    if file is not None or as_json:
        raise typer.BadParameter("it cannot be combined with FILE or --json", param_hint="--watch")
    settings = root.settings()
    # Reads the password, perhaps from a pipe, before the signals only ask for an orderly stop.
    settings.connection()
    _check_types(settings.agreements(), unknown_types)
    stopping = on_signals()
    seconds = settings.values.timeouts.provision.look
    with observed("provision", listen, settings) as observer:
        provisioner = _provisioner(unknown_types, is_logged=True)
        watch = ProvisionWatch(provisioner, settings.agreements, SYSTEM, seconds, observer)
        watch.run(stopping)
