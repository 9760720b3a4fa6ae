"""What has to be done about rights and users: pure decisions, without a connection.

An entry of the access control list is Sinergi's if some agreement in the folder gives that right,
in force or not. It is created while one in force gives it and removed otherwise. A user is
Sinergi's if some agreement gives its principal a right. It is created when an agreement that has
not ended names it, also before that begins, and removed when all of them have ended. Both are kept
for some time after an end: an event that was recorded before it may still be on its way, and the
clocks of agencies differ.

Every other entry and user, and the user of this program itself, is foreign: it is shown, and never
changed. What Sinergi has made under a file that is gone is foreign too, since an entry does not say
who has made it.

A user does say it: its password has the number of iterations that only Sinergi sets. If an
agreement names a user that somebody else has made, or a principal that has foreign rights and no
user yet, this principal is refused. Otherwise whoever writes its name into an agreement would get
its password, and with that the foreign rights.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sinergi.provision.rights import (
    ALLOW,
    NO_GRACE,
    USER,
    given_rights,
    kept_until,
    rights_with_grace,
    shown_time,
)
from sinergi_schemas import errors
from sinergi_schemas.agreements.principals import is_subject
from sinergi_schemas.near_names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime, timedelta

    from sinergi.provision.rights import AclEntry, GivenRight
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.agreements.model import Agreement

FOREIGN = "no agreement in the folder gives it"
_NOT_OURS = (
    "Sinergi did not make this user, and does not touch it: let the agreement name another"
    " principal, or delete the user (kafka-configs), and apply makes it"
)
_HAS_RIGHTS = (
    "this principal has rights that no agreement gives, and a password would give them away: let"
    " the agreement name another one, or remove the rights (kafka-acls)"
)
_REFUSED = "its user is refused"
_OWN = "this command logs in as it, so no agreement may change it"


class AccessAction(StrEnum):
    """What has to be done about a right or a user."""

    OK = "ok"
    CREATE = "create"
    REMOVE = "remove"
    LEFT = "left"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AccessStep:
    """A right or a user, and what has to be done about it.

    Attributes:
        owner: the slug of the agency or of the auditor; empty for what is foreign.
        principal: as Kafka writes it, with `User:`.
        entry: the right; None for a user.
        why: the articles that give it, or why it is removed or left.
    """

    owner: str
    principal: str
    entry: AclEntry | None
    action: AccessAction
    why: str

    @property
    def user(self) -> str:
        """The name of the SCRAM user."""
        return self.principal.removeprefix(USER)


@dataclass(frozen=True, slots=True)
class FoundAccess:
    """The access control of a cluster.

    Attributes:
        entries: all entries of its access control list.
        users: those whose SCRAM-SHA-512 password Sinergi has set.
        own_user: the principal of this program, without `User:`.
        other_users: those with another SCRAM password.
        unfinished: those of `users` whose making was interrupted, so that nobody has their
            password.
    """

    entries: AbstractSet[AclEntry]
    users: AbstractSet[str]
    own_user: str = ""
    other_users: AbstractSet[str] = frozenset()
    unfinished: AbstractSet[str] = frozenset()

    def shows(self, step: AccessStep) -> bool:
        """Whether a right or a user that was created is there, or one that was removed is not."""
        is_there = step.user in self.users if step.entry is None else step.entry in self.entries
        return is_there == (step.action is AccessAction.CREATE)


def access_steps(
    agreements: Agreements, at: datetime, found: FoundAccess, grace: timedelta = NO_GRACE
) -> list[AccessStep]:
    """What has to be done: users and rights by their owners, then what is foreign.

    Args:
        at: the time of which the agreements in force count.
        found: what the cluster has.
        grace: for how long after an agreement's end its rights and users are kept.
    """
    ever = given_rights(agreements)
    given = rights_with_grace(agreements, at, grace)
    users = [*_users(agreements, at, grace, found, ever)]
    refused = {each.principal for each in users if each.action is AccessAction.REFUSED}
    return sorted([*users, *_rights(given, ever, found, refused)], key=_order)


def users_of(agreements: Agreements, owner: str, found: FoundAccess) -> list[str]:
    """The users of an agency or of an auditor that the cluster has.

    Raises:
        RotationRefused: no agreement names such an owner, or the cluster has none of its users.
    """
    named = {(right.owner, right.entry.principal) for right in given_rights(agreements).values()}
    owners = {name for name, _ in named}
    if owner not in owners:
        raise errors.RotationRefused(owner, f"no agreement names it; {did_you_mean(owner, owners)}")
    names = {principal.removeprefix(USER) for of, principal in named if of == owner}
    if found.own_user in names:
        raise errors.RotationRefused(owner, "this command logs in as one of its users")
    users = sorted(names & found.users)
    if not users and (foreign := sorted(names & found.other_users)):
        raise errors.RotationRefused(owner, f"{foreign[0]}: {_NOT_OURS}")
    if not users:
        what = "the brokers have none of its users; `sinergi provision apply` makes them"
        raise errors.RotationRefused(owner, what)
    return users


def _order(step: AccessStep) -> tuple[object, ...]:
    what = (step.entry is not None, str(step.entry))
    return (step.action is AccessAction.LEFT, step.owner, step.principal, *what)


def _rights(
    given: Mapping[AclEntry, GivenRight],
    ever: Mapping[AclEntry, GivenRight],
    found: FoundAccess,
    refused: AbstractSet[str],
) -> Iterator[AccessStep]:
    """The rights that are given, and all others that the cluster has.

    Args:
        refused: the principals that get no right.
    """
    for entry, right in given.items():
        action, why = AccessAction.CREATE, right.why
        if entry in found.entries:
            action = AccessAction.OK
        elif entry.principal in refused:
            action, why = AccessAction.REFUSED, _REFUSED
        yield AccessStep(right.owner, entry.principal, entry, action, why)
    for entry in found.entries - given.keys():
        if entry in ever and entry.principal.removeprefix(USER) not in found.other_users:
            why = f"no agreement in force gives it; {ever[entry].why} did"
            yield AccessStep(ever[entry].owner, entry.principal, entry, AccessAction.REMOVE, why)
        else:
            yield AccessStep("", entry.principal, entry, AccessAction.LEFT, FOREIGN)


def _users(
    agreements: Agreements,
    at: datetime,
    grace: timedelta,
    found: FoundAccess,
    ever: Mapping[AclEntry, GivenRight],
) -> Iterator[AccessStep]:
    """A user keeps its password between two agreements, of which the second is in the folder.

    The subject of a certificate is no user. An agreement that has not ended for as long as the
    grace gives its users their logins.
    """
    owners = {entry.principal.removeprefix(USER): right.owner for entry, right in ever.items()}
    owners = {name: owner for name, owner in owners.items() if not is_subject(name)}
    naming: dict[str, list[tuple[Agreement, str]]] = {}
    for each in agreements:
        if each.in_force_until is None or at - grace < each.in_force_until:
            for name, article in each.owners():
                if name in owners:
                    naming.setdefault(name, []).append((each, f"{each.path.name} {article}"))
    wanted = {name: _why_user(of, at, grace) for name, of in naming.items()}
    foreign = {
        each.principal.removeprefix(USER)
        for each in found.entries - ever.keys()
        if each.permission == ALLOW
    }
    for name, article in wanted.items():
        action, why = _wanted_user(name, article, found, foreign)
        yield AccessStep(owners[name], f"{USER}{name}", None, action, why)
    for name in sorted((found.users | found.other_users) - wanted.keys()):
        if name in owners and name in found.users and name != found.own_user:
            why = "every agreement that names it has ended or was replaced"
            yield AccessStep(owners[name], f"{USER}{name}", None, AccessAction.REMOVE, why)
        else:
            yield AccessStep("", f"{USER}{name}", None, AccessAction.LEFT, FOREIGN)


def _wanted_user(
    name: str, article: str, found: FoundAccess, foreign: AbstractSet[str]
) -> tuple[AccessAction, str]:
    """What has to be done about a user that an agreement names, and why.

    Args:
        article: the part of the agreement that names it.
        foreign: the principals that have rights which no agreement gives.
    """
    if name == found.own_user:
        return AccessAction.LEFT, _OWN
    if name in found.users:
        is_finished = name not in found.unfinished
        return (AccessAction.OK if is_finished else AccessAction.CREATE), article
    if name in found.other_users:
        return AccessAction.REFUSED, _NOT_OURS
    return (
        (AccessAction.REFUSED, _HAS_RIGHTS) if name in foreign else (AccessAction.CREATE, article)
    )


def _why_user(naming: Sequence[tuple[Agreement, str]], at: datetime, grace: timedelta) -> str:
    """Why a user has its login, and from or until when if that is not simply now.

    Args:
        naming: the agreements that give it, the newest first, each with its article.
    """
    for agreement, article in naming:
        if agreement.in_force(at):
            return article
    coming = [(each, article) for each, article in naming if at < each.starts]
    if coming:
        agreement, article = min(coming, key=lambda pair: pair[0].starts)
        return f"{article}, which begins at {shown_time(agreement.starts)}"
    ends = [each.in_force_until for each, _ in naming if each.in_force_until is not None]
    return f"{naming[0][1]}, {kept_until(max(ends), grace)}"
