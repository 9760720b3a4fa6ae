"""Who is in a consumer group, as the brokers tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from sinergi_schemas.kafka.connection import CLIENT_ID
from sinergi_schemas.plain_text import counted, plain
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sinergi_schemas.kafka.admin import Admin

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a consumer group.

    Attributes:
        client_id: what its client calls itself; anybody may call himself anything.
        host: from where it is connected.
        partitions: those that the group has given it.
    """

    client_id: str
    host: str
    partitions: AbstractSet[TopicPartition]

    @property
    def is_ours(self) -> bool:
        """Whether it calls itself as our clients do."""
        return self.client_id == CLIENT_ID

    def __str__(self) -> str:
        held = counted(len(self.partitions), "partition")
        return f"{plain(self.client_id)} at {plain(self.host)} with {held}"


def members(admin: Admin, group: str) -> list[Member]:
    """Who is in a group; nobody where there is none of that name.

    Raises:
        NotPermitted: the group may not be described.
        SinergiError: see `Admin.answer`.
    """
    asked = admin.describe_consumer_groups([group], request_timeout=_SECONDS)
    try:
        found = admin.wait_for(asked[group]).members
    except KafkaException as why:
        error = why.args[0]
        if isinstance(error, KafkaError) and error.code() == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        attempt = admin.connection.attempt("Describe", group=group)
        raise admin.fault(why, attempt) from None
    return [
        Member(
            str(each.client_id),
            str(each.host).lstrip("/"),
            frozenset(
                TopicPartition(at.topic, at.partition) for at in each.assignment.topic_partitions
            ),
        )
        for each in found
    ]
