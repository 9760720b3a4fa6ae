"""The members of a consumer group, as the brokers describe it.

Anybody who may use a group's name can write what is read here: the client id, the assignments of
all members, and the kind of the group itself. So no content of it is an error; it is described.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.connection import CLIENT_ID
from sinergi_schemas.kafka.conversion import from_client
from sinergi_schemas.plain_text import counted, plain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    import confluent_kafka

    from sinergi_schemas.kafka.admin import Admin
    from sinergi_schemas.topics import TopicPartition

# The client refuses a group of another kind, as those of Kafka Connect, by the first code, and an
# assignment that has not the form of Kafka's consumers by the second.
_UNREADABLE = {
    KafkaError._INVALID_ARG: "it is not a group of consumers",
    KafkaError._DESTROY: "an assignment in it is not one of Kafka's consumers",
    KafkaError._BAD_MSG: "an assignment in it is not one of Kafka's consumers",
}

_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a consumer group.

    Attributes:
        id: the member's id in the group.
        client_id: the name that its client has chosen; nothing verifies it.
        host: the address from which it is connected.
        partitions: the topic-partitions that the group has assigned to it.
        unnamed: assigned topic-partitions whose topic is not UTF-8, so that no topic has that name.
    """

    id: str
    client_id: str
    host: str
    partitions: AbstractSet[TopicPartition]
    unnamed: int = 0

    @property
    def is_ours(self) -> bool:
        """Whether its client id is that of our clients."""
        return self.client_id == CLIENT_ID

    def __str__(self) -> str:
        held = counted(len(self.partitions) + self.unnamed, "partition")
        return f"{plain(self.client_id)} at {plain(self.host)} with {held}"


@dataclass(frozen=True, slots=True)
class GroupMembers:
    """The members of a group.

    Attributes:
        unreadable: why they are unknown: others use the group for something else. None if they are
            known.
    """

    members: tuple[Member, ...]
    unreadable: str | None = None


def members(admin: Admin, group: str) -> GroupMembers:
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
        code = error.code() if isinstance(error, KafkaError) else None
        if code == KafkaError.GROUP_ID_NOT_FOUND:
            return GroupMembers(())
        if code in _UNREADABLE:
            return GroupMembers((), _UNREADABLE[code])
        attempt = admin.connection.attempt("Describe", group=group)
        raise admin.fault(why, attempt) from None
    return GroupMembers(
        tuple(
            Member(
                str(each.member_id),
                str(each.client_id),
                str(each.host).lstrip("/"),
                *_assigned(each.assignment.topic_partitions),
            )
            for each in found
        )
    )


def settled_members(admin: Admin, group: str) -> GroupMembers:
    """The members of a group. While brokers come and go, the group is passed on from one to another
    for seconds; the question is asked again until then.

    Raises:
        BrokersChanging: it was still being passed on after `admin.answer_seconds`.
        SinergiError: see `members`.
    """
    deadline = SYSTEM.monotonic() + admin.answer_seconds
    while True:
        try:
            return members(admin, group)
        except errors.BrokersChanging:
            if SYSTEM.monotonic() > deadline:
                raise
            sleep(_PAUSE_SECONDS)


def _assigned(
    found: Iterable[confluent_kafka.TopicPartition],
) -> tuple[frozenset[TopicPartition], int]:
    """The topic-partitions of an assignment, and how many others have a name that is not UTF-8."""
    named: set[TopicPartition] = set()
    unnamed = 0
    for each in found:
        try:
            named.add(from_client(each))
        except UnicodeDecodeError:
            unnamed += 1
    return frozenset(named), unnamed
