"""The members of a consumer group, as the brokers describe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from sinergi_schemas.kafka.connection import CLIENT_ID
from sinergi_schemas.kafka.conversion import from_client
from sinergi_schemas.plain_text import counted, plain

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sinergi_schemas.kafka.admin import Admin
    from sinergi_schemas.topics import TopicPartition


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a consumer group.

    Attributes:
        client_id: the name that its client has chosen; nothing verifies it.
        host: the address from which it is connected.
        partitions: the topic-partitions that the group has assigned to it.
    """

    client_id: str
    host: str
    partitions: AbstractSet[TopicPartition]

    @property
    def is_ours(self) -> bool:
        """Whether its client id is that of our clients."""
        return self.client_id == CLIENT_ID

    def __str__(self) -> str:
        held = counted(len(self.partitions), "partition")
        return f"{plain(self.client_id)} at {plain(self.host)} with {held}"


def members(admin: Admin, group: str) -> list[Member]:
    """The members of a group; none where no group has that name.

    Raises:
        NotPermitted: the group may not be described.
        SinergiError: see `Admin.answer`.
    """
    asked = admin.describe_consumer_groups([group], request_timeout=admin.answer_seconds)
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
            frozenset(map(from_client, each.assignment.topic_partitions)),
        )
        for each in found
    ]
