"""The rights that agreements give: which principal may do what with which topic or group.

    producer   Read and Write on its own event topics; Read and Write on its own control topic;
               Read on the receipts of the readers of its topics
    consumer   Read on the event topics that its agency may read, on the control topics of their
               owners and on the receipts of all their readers; Write on its own receipts; Read on
               the groups whose names begin with its agency's
    auditor    Read on the event topics of its event types, on the control topics of their owners
               and on the receipts of their readers

Read and Write imply Describe (Kafka's documentation, "Authorization and ACLs"). A topic's rights
come from the newest agreement that is in force and covers the topic, as its keys do. A reader's
group is `<agency>.<database>`. No agency's name has a dot, so `lapas.` is not the beginning of a
group of `lapas-dua`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas.topics import control_topic, receipts_topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.topics import Topic

USER = "User:"
NO_GRACE = timedelta()
ANY_HOST = "*"
ALLOW = "ALLOW"
# A national reader has a right on its receipts topic by thousands of agreements.
_FIRST_REASONS = 3


@dataclass(frozen=True, slots=True, order=True)
class AclEntry:
    """An entry of the brokers' access control list, in the words of `kafka-acls`.

    Attributes:
        principal: whom it is about, such as `User:lapas-banyuwangi.producer`.
        resource: TOPIC, GROUP, CLUSTER, …
        name: of the resource.
        pattern: LITERAL or PREFIXED.
        operation: READ, WRITE, …
        permission: ALLOW or DENY.
        host: the address of the client; `*` for any.
    """

    principal: str
    resource: str
    name: str
    pattern: str
    operation: str
    permission: str = ALLOW
    host: str = ANY_HOST

    @property
    def may(self) -> str:
        """What it allows, such as `read topic` or `read groups`; `not read topic` if it denies."""
        kind = f"{self.resource}S" if self.pattern == "PREFIXED" else self.resource
        may = f"{self.operation} {kind}".lower().replace("_", " ")
        return may if self.permission == ALLOW else f"not {may}"

    @property
    def where(self) -> str:
        """The resource's name, or how its name begins, such as `lapas.*`; then the address."""
        name = f"{self.name}*" if self.pattern == "PREFIXED" else self.name
        return name if self.host == ANY_HOST else f"{name} from {self.host}"

    def __str__(self) -> str:
        return f"{self.may} {self.where}"


class GivenRight(NamedTuple):
    """A right, whose it is, and the articles of agreements that give it.

    Attributes:
        owner: the slug of the agency or of the auditor.
        reasons: each a file and a key in it, such as `pks.toml events.transfer.readers`.
    """

    entry: AclEntry
    owner: str
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        """The first reasons, the number of others, and the last one, which says whether it ends."""
        left = len(self.reasons) - _FIRST_REASONS - 1
        if left <= 0:
            return ", ".join(self.reasons)
        return ", ".join((*self.reasons[:_FIRST_REASONS], f"{left:,} more", self.reasons[-1]))


def given_rights(agreements: Agreements, at: datetime | None = None) -> dict[AclEntry, GivenRight]:
    """The rights that agreements give, sorted.

    Args:
        at: the time at which they are in force; None for all that any agreement ever gives.
    """
    found: dict[AclEntry, tuple[str, dict[str, None]]] = {}
    for agreement, topic in _covering(agreements, at):
        # A replay compares a topic with the receipts of all that were ever its readers.
        receipts = {
            receipts_topic(reader): f"{by.path.name} events.{topic.event_type}.readers"
            for reader, by in agreements.readers_since(topic, at).items()
            if reader != topic.agency
        }
        for entry, owner, reason in _of_topic(agreement, topic, receipts):
            _, reasons = found.get(entry, (owner, {}))
            reasons[reason] = None
            found[entry] = owner, reasons
    return {
        entry: GivenRight(entry, owner, tuple(reasons))
        for entry, (owner, reasons) in sorted(found.items())
    }


def rights_with_grace(
    agreements: Agreements, at: datetime, grace: timedelta
) -> dict[AclEntry, GivenRight]:
    """The rights in force at a time, and those that were in force shortly before.

    The reasons of the latter say so.

    Args:
        grace: how long before.
    """
    in_force = given_rights(agreements, at)
    since = at - grace
    # Rights change at these moments only. What holds at the end of the grace is given no more.
    moments = [since, *agreements.changes_between(since, at)] if grace else []
    found: dict[AclEntry, GivenRight] = {}
    ended: dict[AclEntry, datetime] = {}
    for moment, end in zip(moments, [*moments[1:], at], strict=False):
        given = given_rights(agreements, moment)
        found |= given
        ended |= dict.fromkeys(given, end)
    found |= in_force
    for entry, right in found.items():
        if entry not in in_force:
            reasons = (*right.reasons, kept_until(ended[entry], grace))
            found[entry] = right._replace(reasons=reasons)
    return dict(sorted(found.items()))


def kept_until(ended: datetime, grace: timedelta) -> str:
    """Why a right or a login is still there although it has ended, and until when."""
    return f"ended at {shown_time(ended)}, kept until {shown_time(ended + grace)}"


def shown_time(at: datetime) -> str:
    """A time for people, to the second."""
    return at.isoformat(sep=" ", timespec="seconds")


def _covering(agreements: Agreements, at: datetime | None) -> Iterator[tuple[Agreement, Topic]]:
    """Each topic with the agreement that gives its rights; without a time, with each that may."""
    for topic in agreements.topics(at):
        if at is None:
            yield from ((each, topic) for each in agreements.covering_ever(topic))
        elif newest := agreements.covering(topic.agency, topic.event_type, at):
            yield newest, topic


def _of_topic(
    agreement: Agreement, topic: Topic, receipts: Mapping[str, str]
) -> Iterator[tuple[AclEntry, str, str]]:
    """The rights about one topic, each with its owner and the article that gives it.

    Args:
        receipts: the receipts topics of all that any agreement has ever let read the topic, each
            with the article that does.
    """
    owner, event = topic.agency, f"{agreement.path.name} events.{topic.event_type}"
    control = control_topic(owner)
    for principal in agreement.parties[owner].principals.producer:
        for name in (topic.name, control):
            yield _topic(principal, "READ", name), owner, f"{event}.publishers"
            yield _topic(principal, "WRITE", name), owner, f"{event}.publishers"
        for name, article in receipts.items():
            yield _topic(principal, "READ", name), owner, article
    for reader in [each for each in agreement.readers(topic) if each != owner]:
        yield from _of_reader(agreement, topic, reader, receipts)
    for auditor in agreement.auditors_of(topic.event_type):
        article = f"{agreement.path.name} auditors.{auditor.auditor}.reads"
        for principal in auditor.principals:
            for name in (topic.name, control, *receipts):
                yield _topic(principal, "READ", name), auditor.auditor, article


def _of_reader(
    agreement: Agreement, topic: Topic, reader: str, receipts: Mapping[str, str]
) -> Iterator[tuple[AclEntry, str, str]]:
    """As `_of_topic`, for one agency that reads the topic."""
    article = f"{agreement.path.name} events.{topic.event_type}.readers"
    for principal in agreement.parties[reader].principals.consumer:
        for name in (topic.name, control_topic(topic.agency)):
            yield _topic(principal, "READ", name), reader, article
        for name, of_co_reader in receipts.items():
            yield _topic(principal, "READ", name), reader, of_co_reader
        yield _topic(principal, "WRITE", receipts_topic(reader)), reader, article
        group = AclEntry(f"{USER}{principal}", "GROUP", f"{reader}.", "PREFIXED", "READ")
        yield group, reader, article


def _topic(principal: str, operation: str, name: str) -> AclEntry:
    return AclEntry(f"{USER}{principal}", "TOPIC", name, "LITERAL", operation)
