"""What agreements will give and take at the times at which they begin, end or are replaced."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from sinergi.provision.rights import given_rights
from sinergi.provision.topics import wanted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sinergi.provision.rights import AclEntry
    from sinergi_schemas.agreements.collection import Agreements

_SHOWN = timedelta(days=30)


class ComingChange(NamedTuple):
    """What changes at a time.

    Attributes:
        why: which agreements begin or end then.
        topics: the names of topics that are wanted then, and not before.
        given, ended: rights; one that ends is taken away after the grace.
    """

    at: datetime
    why: str
    topics: Sequence[str]
    given: Sequence[AclEntry]
    ended: Sequence[AclEntry]


def coming_changes(agreements: Agreements, now: datetime) -> list[ComingChange]:
    """The changes of the next 30 days that give or take something, the first one first."""
    found = []
    before, topics = given_rights(agreements, now), _topics(agreements, now)
    for at in dict.fromkeys(agreements.changes_between(now, _horizon(now))):
        after, topics_after = given_rights(agreements, at), _topics(agreements, at)
        change = ComingChange(
            at,
            _why(agreements, at),
            sorted(topics_after - topics),
            [each for each in after if each not in before],
            [each for each in before if each not in after],
        )
        if change.topics or change.given or change.ended:
            found.append(change)
        before, topics = after, topics | topics_after
    return found


def _horizon(now: datetime) -> datetime:
    try:
        return now + _SHOWN
    except OverflowError:
        return now.max.replace(tzinfo=now.tzinfo)


def _topics(agreements: Agreements, at: datetime) -> set[str]:
    return {each.name for each in wanted(agreements, at)}


def _why(agreements: Agreements, at: datetime) -> str:
    events = []
    for each in agreements:
        if each.starts == at:
            events.append(f"{each.path.name} begins")
        if each.in_force_until == at:
            ends = "is replaced" if each.replaced_at == at else "ends"
            events.append(f"{each.path.name} {ends}")
    return ", ".join(events)
