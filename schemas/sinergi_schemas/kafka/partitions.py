"""Compares how many partitions a topic has with its agreement.

The agreement's count decides to which partition a key goes, so a partition that somebody adds holds
nothing of the owner's. Kafka cannot remove partitions: added ones are ignored, and the others are
read and written as before. A topic with fewer partitions can be neither read nor written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors
from sinergi_schemas.kafka.admin import partition_count
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from sinergi_schemas.kafka.admin import Admin

_log = structlog.get_logger(__name__)


def added(topic: str, found: int, agreed: int) -> str | None:
    """A warning about a topic with more partitions than agreed; None where it has no more."""
    if found <= agreed:
        return None
    return (
        f"{topic} has {counted(found, 'partition')} where the agreement says {agreed}: the added"
        " ones hold nothing of the owner's and are not read. Kafka cannot remove partitions; leave"
        " them, or create the topic again (docs/runbooks.md)"
    )


class PartitionCheck:
    """Compares topics with the agreement, and logs the warning about each one once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def check(self, admin: Admin, topic: str, agreed: int, file: str) -> None:
        """Check that a topic has the partitions that the agreement says.

        Args:
            file: the agreement.

        Raises:
            PartitionsDiffer: it has fewer.
            TopicAway, BrokerAway, NotPermitted, …: the brokers do not describe it.
        """
        self.compare(topic, partition_count(admin, topic), agreed, file)

    def compare(self, topic: str, found: int, agreed: int, file: str) -> None:
        """As `check`, where it is known how many partitions the topic has.

        Raises:
            PartitionsDiffer: it has fewer.
        """
        if found < agreed:
            raise errors.PartitionsDiffer(topic, found, agreed, file)
        why = added(topic, found, agreed)
        if why and topic not in self._logged:
            self._logged.add(topic)
            _log.warning("added partitions ignored", topic=topic, why=why)
