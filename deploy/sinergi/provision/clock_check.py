"""Whether this machine's clock may decide that a login has ended.

A user that is removed loses its password, and no apply can give that back: its owner has to be
handed another one. A clock that is years ahead would so remove the users of the whole bus. So a
user is removed only if some message on the bus is as late as the end of its last agreement. The
relays of all agencies sign their heads each minute, by their own clocks. Rights are removed without
that: the next apply gives them again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sinergi.provision.access import AccessAction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sinergi.provision.access import AccessStep
    from sinergi_schemas.agreements.collection import Agreements

_NOTHING_AS_LATE = (
    "ended by this machine's clock, but no message on the bus is as late: if the clock is right,"
    " `--clock-is-right` removes it"
)


def removes_users(steps: Iterable[AccessStep]) -> bool:
    """Whether a user is removed."""
    return any(each.action is AccessAction.REMOVE and each.entry is None for each in steps)


def with_kept_users(
    steps: Iterable[AccessStep], agreements: Agreements, latest: datetime | None
) -> Sequence[AccessStep]:
    """The steps, without the removal of users for whose end nothing but the clock speaks.

    Args:
        latest: the latest time of a message on the bus; None if it has none.
    """
    return [_kept(each, agreements, latest) for each in steps]


def _kept(step: AccessStep, agreements: Agreements, latest: datetime | None) -> AccessStep:
    if step.action is not AccessAction.REMOVE or step.entry is not None:
        return step
    ends = [
        each.in_force_until
        for each in agreements
        if each.in_force_until and step.user in dict(each.owners())
    ]
    if latest is not None and ends and latest >= max(ends):
        return step
    return replace(step, action=AccessAction.LEFT, why=_NOTHING_AS_LATE)
