"""What the operator of the brokers sees with `sinergi status`: brokers, topics, readers' groups."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sinergi.cli import terminal
from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi.provision.topics import wanted
from sinergi.status import copies
from sinergi.status.copies import PartitionCopies
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import broker_ids, describe, open_admin
from sinergi_schemas.kafka.groups import settled_members
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sinergi.settings.settings import Settings
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka.admin import Admin

_TOPICS = (
    TableColumn("topic", ColumnKind.HEADING),
    TableColumn("partitions", ColumnKind.NUMBER),
    TableColumn("copies", ColumnKind.NUMBER),
    TableColumn("least in sync", ColumnKind.NUMBER),
)
_GROUPS = (
    TableColumn("group of a reader", ColumnKind.HEADING),
    TableColumn("members", ColumnKind.NUMBER),
    TableColumn("why unknown", ColumnKind.PROSE),
)


@dataclass(frozen=True, slots=True)
class TopicCopies:
    """An agreed topic on the brokers; no partitions if it is missing."""

    topic: str
    partitions: int
    copies: int
    least_in_sync: int


@dataclass(frozen=True, slots=True)
class ReaderGroup:
    """The consumer group of a reader's database.

    Attributes:
        why_unknown: why its members are unknown; None if they are known.
    """

    group: str
    members: int | None
    why_unknown: str | None


@dataclass(frozen=True, slots=True)
class BusView:
    """What the brokers tell of themselves.

    Attributes:
        brokers: the ids of those that run.
        problems: a line for each.
    """

    brokers: Sequence[int]
    topics: Sequence[TopicCopies]
    groups: Sequence[ReaderGroup]
    problems: Sequence[str]


def show(settings: Settings, *, as_json: bool) -> ExitStatus:
    """Show the bus, and give the exit status.

    Raises:
        AgencyCommand: the login is an auditor's.
        AgreementRefused: an agreement cannot be used.
        SinergiError: the brokers do not answer, or do not let us look.
    """
    connection = settings.connection()
    admin = open_admin(connection)
    try:
        agreements = settings.agreements()
    except errors.AgreementFolderRefused as why:  # as before the first agreement
        view = BusView(sorted(broker_ids(admin)), (), (), [str(why)])
    else:
        if agreements.audited_by(connection.principal.removeprefix("User:")):
            raise errors.AgencyCommand("status")
        view = _look(admin, agreements, SYSTEM.now())
    if as_json:
        terminal.show_json(asdict(view))
    else:
        _print(view)
    return ExitStatus.NEGATIVE if view.problems else ExitStatus.SUCCESS


def _look(admin: Admin, agreements: Agreements, now: datetime) -> BusView:
    names = [each.name for each in wanted(agreements, now)]
    found = {
        name: [(each.replicas, each.isr) for each in topic.partitions]
        for name, topic in describe(admin, names).items()
    }
    alive = sorted(broker_ids(admin))
    in_sync = {
        name: [PartitionCopies(len(replicas), len(isr)) for replicas, isr in partitions]
        for name, partitions in found.items()
    }
    holders = {node.id for of in found.values() for replicas, _ in of for node in replicas}
    problems = [
        f"broker {each} does not run, and has copies of partitions: look at its log and start it"
        for each in sorted(holders - {*alive})
    ]
    problems += map(str, copies.under_replicated(in_sync.items()))
    problems += [
        f"{name} is not on the brokers: `sinergi provision apply` makes it"
        for name in names
        if name not in found
    ]
    return BusView(alive, _topics(names, in_sync), _groups(admin, agreements, now), problems)


def _topics(
    names: Sequence[str], in_sync: Mapping[str, Sequence[PartitionCopies]]
) -> list[TopicCopies]:
    return [
        TopicCopies(
            name,
            len(in_sync.get(name, ())),
            min((each.wanted for each in in_sync.get(name, ())), default=0),
            min((each.in_sync for each in in_sync.get(name, ())), default=0),
        )
        for name in names
    ]


def _groups(admin: Admin, agreements: Agreements, now: datetime) -> list[ReaderGroup]:
    """The group of each database that an agreement in force names: `<agency>.<database>`."""
    names = sorted(
        {
            f"{party.agency}.{key.database}"
            for each in agreements
            if each.in_force(now)
            for party in each.parties.values()
            if agreements.read_by(party.agency, now)
            for key in party.receipt_keys
        }
    )
    found = []
    for name in names:
        group = settled_members(admin, name)
        count = None if group.unreadable else len(group.members)
        found.append(ReaderGroup(name, count, group.unreadable))
    return found


def _print(view: BusView) -> None:
    ids = ", ".join(map(str, view.brokers))
    what = "all partitions have all copies in sync"
    if view.problems:
        what = counted(len(view.problems), "problem")
        if view.topics:
            what += "; nothing is lost, but below min.insync.replicas writing waits"
    terminal.show_line(f"{counted(len(view.brokers), 'broker')} ({ids}): {what}")
    for each in view.problems:
        terminal.show_line(f"  {each}")
    if view.topics:
        terminal.show_line("")
        terminal.show_table(
            _TOPICS,
            (
                [each.topic, str(each.partitions), str(each.copies), str(each.least_in_sync)]
                for each in view.topics
            ),
        )
    if view.groups:
        terminal.show_line("")
        terminal.show_table(
            _GROUPS,
            (
                [
                    each.group,
                    "?" if each.members is None else str(each.members),
                    each.why_unknown or "",
                ]
                for each in view.groups
            ),
        )
