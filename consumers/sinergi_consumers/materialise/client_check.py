"""Whether this worker's Kafka client still works, asked of the brokers by another client.

librdkafka (2.16) sometimes stops for ever if a broker goes away at the wrong moment, and reports no
error: it never fetches a topic-partition again (see `stall_detection`), or it never reaches the
group's coordinator again, so that the group assigns it nothing. Only another client works then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaException

from sinergi_consumers.materialise.stall_detection import StallDetector
from sinergi_schemas import errors
from sinergi_schemas.kafka.admin import ends
from sinergi_schemas.kafka.conversion import from_client, to_client
from sinergi_schemas.kafka.groups import members

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from confluent_kafka import Consumer

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka.admin import Admin
    from sinergi_schemas.topics import TopicPartition

    AskAdmin = Callable[[Callable[[Admin], str | None]], str | None]

_log = structlog.get_logger(__name__)

# A member that is joining may be absent from one or two looks.
_FEWEST_ABSENCES = 3


class AbsenceCounter:
    """Counts in how many looks in a row the group did not list this client."""

    def __init__(self) -> None:
        self._absences = 0

    def observe(self, *, is_member: bool) -> bool:
        """Whether the client is to be replaced: after 3 absences in a row, then 5, 9, 17 and so on.

        Where a new client is not listed either, the group itself may be unable to take members; so
        it is less and less often a reason for a new client.
        """
        self._absences = 0 if is_member else self._absences + 1
        repeats = self._absences - 1
        return self._absences >= _FEWEST_ABSENCES and repeats.bit_count() == 1


class ClientCheck:
    """Looks from time to time whether a client in a consumer group is to be replaced.

    Args:
        look_seconds: the time between two looks.

    Attributes:
        due: when the next look is due, on the monotonic clock.
    """

    def __init__(self, group: str, clock: Clock, look_seconds: float) -> None:
        self._group = group
        self._clock = clock
        self._look_seconds = look_seconds
        self._stalls = StallDetector()
        self._absence = AbsenceCounter()
        self.due = 0.0

    def why_replace(
        self, client: Consumer, reading: Mapping[TopicPartition, int], ask: AskAdmin
    ) -> str | None:
        """Why the client is to be replaced; None if it works, if that is unknown, or if no look is
        due.

        Args:
            reading: the topic-partitions that are being read, each with its start offset.
            ask: lets an admin client answer.
        """
        if self._clock.monotonic() < self.due:
            return None
        self.due = self._clock.monotonic() + self._look_seconds
        try:
            if reading:
                self._absence.observe(is_member=True)  # the client leaves it when it is expelled
                return ask(lambda admin: self._stalled(client, reading, admin))
            return ask(lambda admin: self._absent(client, admin))
        except (KafkaException, errors.SinergiError) as why:
            # The read path raises and handles the same error.
            _log.info("not known whether the consumer works", why=str(why))
            return None

    def _stalled(
        self, client: Consumer, reading: Mapping[TopicPartition, int], admin: Admin
    ) -> str | None:
        """Which topic-partitions hold more, and are not read on."""
        found = client.position([to_client(tp) for tp in reading])
        # Until its first message the client reports no position; the start offset is used.
        offsets = {tp: max(at.offset, reading[tp]) for at in found for tp in [from_client(at)]}
        stalled = self._stalls.observe(offsets, ends(admin, reading))
        if not stalled:
            return None
        return f"it does not read on in {', '.join(sorted(map(str, stalled)))}"

    def _absent(self, client: Consumer, admin: Admin) -> str | None:
        """That the group does not list this client."""
        found = members(admin, self._group)
        if found.unreadable is not None:
            return None
        own = client.memberid()
        if not self._absence.observe(is_member=any(each.id == own for each in found.members)):
            return None
        return f"the brokers do not list it as a member of the group {self._group}"
