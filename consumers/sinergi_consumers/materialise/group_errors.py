"""The errors that a member of a consumer group receives: missing rights, and a broken client.

A missing right may be given at any time, so it ends nothing. It is logged once, with the name of
the group or of the topic, until topic-partitions are assigned again.
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

# Before a new client joins the group. No setting: each join makes the whole group rebalance, and
# the error that ended the membership is logged at once.
_PAUSE_SECONDS = (1.0, 60.0)
# After one of these, librdkafka does not join the group again by itself.
_ENDS_MEMBERSHIP = frozenset({"_FATAL", "GROUP_AUTHORIZATION_FAILED"})


class GroupErrors:
    """Logs the errors that a consumer in a group delivers besides messages.

    Args:
        topics: the names of the topics that it subscribes to.
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
            topic: the topic that it is about, where the client names one.
        """
        attempt = self._connection.attempt("Read", [topic] if topic else [], self._group)
        found: errors.SinergiError = translate(error, attempt)
        if isinstance(found, errors.NotPermitted) and not found.names:
            found = self._named(found)
        if error.name() in _ENDS_MEMBERSHIP and self._due is None:
            self._due = self._clock.monotonic() + self._pause
            self._pause = min(2 * self._pause, _PAUSE_SECONDS[1])
        if str(found) not in self._logged:
            self._logged.add(str(found))
            _log.warning("consumer group error", topic=topic, why=str(found))

    @property
    def is_left(self) -> bool:
        """Whether an error has ended the membership, and nothing was assigned since."""
        return self._due is not None or self._pause > _PAUSE_SECONDS[0]

    def needs_new_client(self) -> bool:
        """Whether this client cannot go on, and a pause has passed since its error."""
        if self._due is None or self._clock.monotonic() < self._due:
            return False
        self._due = None
        return True

    def clear(self) -> None:
        """Forget all errors: the group has assigned topic-partitions."""
        self._logged.clear()
        self._pause, self._due = _PAUSE_SECONDS[0], None

    def _named(self, found: errors.NotPermitted) -> errors.SinergiError:
        """The same error with the topic's name, which the group's coordinator does not give."""
        if found.kind != "topic":
            return found
        admin = open_admin(self._connection)
        for name in sorted(self._topics):
            try:
                describe(admin, [name])
            except errors.NotPermitted:
                return errors.NotPermitted(
                    found.principal, found.operation, found.kind, (name,), found.reported
                )
            except errors.SinergiError:
                return found  # the other clients meet that error as well, and report it
        return found
