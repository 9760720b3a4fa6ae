"""How many partitions a topic has, held against its agreement.

The agreement's count decides to which partition a key goes, so a partition that somebody adds can
hold nothing of the owner's. Kafka takes no partition away: what is added is left aside, and the
others are read and written as before. Where one is missing nothing can be done without it.
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
    """What is to be said of a topic with more partitions than agreed; None where it has not."""
    if found <= agreed:
        return None
    return (
        f"{topic} has {counted(found, 'partition')} where the agreement says {agreed}: the further"
        " ones hold nothing of its owner's and are not read. Kafka takes none away; leave them, or"
        " make the topic anew (docs/runbooks.md)"
    )


class PartitionCheck:
    """Holds topics against the agreement; what is to be said of one is logged once."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def check(self, admin: Admin, topic: str, agreed: int) -> None:
        """See that a topic has the partitions that the agreement says.

        Raises:
            PartitionsDiffer: it has fewer.
            TopicAway, BrokerAway, NotPermitted, …: the brokers do not say.
        """
        found = partition_count(admin, topic)
        if found < agreed:
            raise errors.PartitionsDiffer(topic, found, agreed)
        why = added(topic, found, agreed)
        if why and topic not in self._logged:
            self._logged.add(topic)
            _log.warning("partitions left aside", topic=topic, why=why)
