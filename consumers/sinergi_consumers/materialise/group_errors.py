"""What the brokers say to a member of a consumer group: rights that it lacks, and a broken client.

A missing right may be given at any time, so that it ends nothing. It is logged once, with the name
of the group or of the topic, until topic-partitions are assigned again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.faults import translate

if TYPE_CHECKING:
    from collections.abc import Collection

    from confluent_kafka import KafkaError

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection

_log = structlog.get_logger(__name__)

_PAUSE_SECONDS = (1.0, 60.0)
# Behind these librdkafka does not join the group by itself again.
_BREAKS_OFF = frozenset({"_FATAL", "GROUP_AUTHORIZATION_FAILED"})


class GroupErrors:
    """The errors that a consumer in a group delivers besides messages.

    Args:
        topics: the names of those that it subscribes.
    """

    def __init__(
        self, connection: Connection, group: str, topics: Collection[str], clock: Clock
    ) -> None:
        self._connection = connection
        self._group = group
        self._topics = topics
        self._clock = clock
        self._logged: set[str] = set()
        self._pause = _PAUSE_SECONDS[0]
        self._due: float | None = None

    def observe(self, error: KafkaError, topic: str | None = None) -> None:
        """Log an error that was not logged yet.

        Args:
            topic: the one that it is about, where the client says so.
        """
        attempt = self._connection.attempt("Read", [topic] if topic else [], self._group)
        found: errors.SinergiError = translate(error, attempt)
        if isinstance(found, errors.NotPermitted) and not found.names:
            found = self._named(found)
        if error.name() in _BREAKS_OFF and self._due is None:
            self._due = self._clock.monotonic() + self._pause
            self._pause = min(2 * self._pause, _PAUSE_SECONDS[1])
        if str(found) not in self._logged:
            self._logged.add(str(found))
            _log.warning("broker says", topic=topic, why=str(found))

    def needs_new_client(self) -> bool:
        """Whether this client is of no more use, and has rested for a while."""
        if self._due is None or self._clock.monotonic() < self._due:
            return False
        self._due = None
        return True

    def clear(self) -> None:
        """The group has given us topic-partitions."""
        self._logged.clear()
        self._pause, self._due = _PAUSE_SECONDS[0], None

    def _named(self, found: errors.NotPermitted) -> errors.SinergiError:
        """The same with the topic's name, which the group's coordinator does not say."""
        if found.kind != "topic":
            return found
        admin = open_admin(self._connection)
        for name in sorted(self._topics):
            try:
                describe(admin, [name])
            except errors.NotPermitted:
                return errors.NotPermitted(
                    found.principal, found.operation, found.kind, (name,), found.said
                )
            except errors.SinergiError:
                return found  # whatever it is, everybody else meets it too
        return found
