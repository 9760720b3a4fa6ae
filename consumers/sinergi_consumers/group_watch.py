"""Members of a consumer group that take shares which this agency's workers should have.

Whoever has the right to read by a group can join it, and the group gives him shares. Nobody
materialises those, and no error says so. So a worker looks now and then who is in its group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka.groups import Member

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 30.0
_MOST_NAMED = 10


class GroupWatch:
    """Looks at a group from time to time, and logs once what keeps shares from its workers.

    Args:
        ask: gives the members of the group.
    """

    def __init__(
        self, group: str, ask: Callable[[], Sequence[Member]], clock: Clock, seconds: float
    ) -> None:
        self._group = group
        self._ask = ask
        self._clock = clock
        self._seconds = seconds
        self._due = clock.monotonic() + seconds
        self._logged: set[str] = set()

    def look(self, *, has_share: bool) -> None:
        """Look at the members, where it is time.

        Args:
            has_share: whether this worker has any share now.
        """
        now = self._clock.monotonic()
        if now < self._due:
            return
        self._due = now + self._seconds
        try:
            found = self._ask()
        except errors.SinergiError as why:
            # Whatever it is, reading meets it too, and knows whether it is to end for it.
            _log.info("not looked who is in the group", why=str(why))
            return
        foreign = [each for each in found if not each.is_ours]
        holders = [each for each in found if each.partitions]
        self._log("members of the group are no materialisers of ours", foreign)
        self._log("no share for this worker: others hold them", [] if has_share else holders)

    def _log(self, what: str, found: Sequence[Member]) -> None:
        if not found:
            self._logged.discard(what)
        elif what not in self._logged:
            self._logged.add(what)
            named = [str(each) for each in found[:_MOST_NAMED]]
            _log.warning(what, group=self._group, members=len(found), named=named)
