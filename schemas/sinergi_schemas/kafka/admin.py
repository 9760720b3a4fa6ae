"""The admin client, and what is asked of a cluster: who it is, and what its topics are."""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.faults import translated

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from confluent_kafka.admin._topic import TopicDescription

    from sinergi_schemas.kafka.connection import Attempt, Connection

_SECONDS = 10.0
_LOOK_SECONDS = 2.0
_ABSENT = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})

_AWAKE_SECONDS = 0.2
_REFUSED_SECONDS = 2.0

T = TypeVar("T")


class Admin(AdminClient):
    """An admin client that knows its connection, for what the brokers say on the side."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.settings())
        self.connection = connection

    def answer(self, future: Future[T], attempt: Attempt | None = None) -> T:
        """Wait for what a call of this client gives.

        Args:
            attempt: what the call tries, for NotPermitted to say.

        Raises:
            SinergiError: see `faults.translate`; a refused login is said instead of a timeout.
        """
        try:
            value = self.wait_for(future)
        except KafkaException as why:
            raise self.fault(why, attempt) from None
        self.connection.client_errors.clear()
        return value

    def fault(self, why: KafkaException, attempt: Attempt | None = None) -> errors.SinergiError:
        """What an exception of this client means, once what was said on the side is heard too."""
        self.poll(0)
        found = translated(why, attempt or self.connection.attempt("Describe"))
        return self.connection.away(found.said) if isinstance(found, errors.BrokerAway) else found

    def wait_for(self, future: Future[T]) -> T:
        """Wait for what a call of this client gives, or for the exception that it raises.

        It is awake now and then. A signal may reach a thread of the client library; the main thread
        hears of it only between two waits, and Ctrl-C is not to take as long as a broker that does
        not answer. Nor is a login that the brokers have refused.
        """
        refused_since: float | None = None
        while not future.done():
            wait([future], _AWAKE_SECONDS)
            self.poll(0)
            now = SYSTEM.monotonic()
            if self.connection.client_errors.login is None:
                refused_since = None
            elif refused_since is None:
                refused_since = now
            elif now - refused_since > _REFUSED_SECONDS:
                # Another broker of the cluster may still let us in; none has so far.
                raise self.connection.client_errors.refusal() or errors.BrokerAway("no answer")
        return future.result()


def open_admin(connection: Connection) -> Admin:
    """An admin client.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    try:
        return Admin(connection)
    except KafkaException as why:
        raise translated(why) from None


def cluster_id(admin: Admin) -> str:
    """The id that the cluster gave itself when its storage was formatted.

    Raises:
        SinergiError: see `Admin.answer`.
    """
    cluster = admin.answer(admin.describe_cluster(request_timeout=_SECONDS))
    return str(cluster.cluster_id)


def broker_count(admin: Admin) -> int:
    """How many brokers the cluster has at this moment.

    Raises:
        SinergiError: see `Admin.answer`.
    """
    cluster = admin.answer(admin.describe_cluster(request_timeout=_SECONDS))
    return len(cluster.nodes)


def describe(admin: Admin, topics: Iterable[str]) -> dict[str, TopicDescription]:
    """The topics among these that exist.

    Raises:
        SinergiError: see `Admin.answer`.
    """
    names = sorted(set(topics))
    if not names:
        return {}
    asked = admin.describe_topics(TopicCollection(names), request_timeout=_SECONDS)
    found = {name: _if_present(admin, name, future) for name, future in asked.items()}
    return {name: topic for name, topic in found.items() if topic is not None}


def topic_id(admin: Admin, topic: str) -> str:
    """The id of a topic: one that is deleted and made anew has another.

    Raises:
        TopicAway: there is no such topic.
        SinergiError: see `Admin.answer`.
    """
    return str(_one(admin, topic).topic_id)


def partition_count(admin: Admin, topic: str) -> int:
    """How many partitions a topic has.

    Raises:
        TopicAway: there is no such topic.
        SinergiError: see `Admin.answer`.
    """
    return len(_one(admin, topic).partitions)


def ends(admin: Admin, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
    """The same partitions, each with the offset behind its last message; it is asked in passing.

    Raises:
        SinergiError: see `offsets`.
    """
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the library says no types here
    return offsets(admin, partitions, latest, _LOOK_SECONDS)


def offsets(
    admin: Admin,
    partitions: Iterable[TopicPartition],
    spec: OffsetSpec,
    seconds: float = _SECONDS,
) -> list[TopicPartition]:
    """The same partitions, each with an offset that the brokers know.

    By default, which this keeps, the end is the high watermark: open transactions of others do not
    hide what lies behind them, and consumers of ours read as far.

    Raises:
        NotPermitted, TopicAway: naming the topic, of which the library says nothing.
        SinergiError: see `Admin.answer`.
    """
    wanted = {TopicPartition(each.topic, each.partition): spec for each in partitions}
    if not wanted:
        return []
    asked = admin.list_offsets(wanted, request_timeout=seconds)
    try:
        return [
            TopicPartition(at.topic, at.partition, admin.answer(future).offset)
            for at, future in asked.items()
        ]
    except (errors.BrokerRefuses, errors.BrokerAway):
        # A topic that may not be described looks like one without leaders.
        names = {each.topic for each in wanted}
        missing = sorted(names - describe(admin, names).keys())
        if missing:
            raise errors.TopicAway(missing[0], "the brokers do not have it") from None
        raise


def _one(admin: Admin, topic: str) -> TopicDescription:
    found = describe(admin, [topic]).get(topic)
    if found is None:
        raise errors.TopicAway(topic, "the brokers do not have it")
    return found


def _if_present(
    admin: Admin, name: str, future: Future[TopicDescription]
) -> TopicDescription | None:
    try:
        return admin.wait_for(future)
    except KafkaException as why:
        error = why.args[0]
        if isinstance(error, KafkaError) and error.code() in _ABSENT:
            return None
        raise admin.fault(why, admin.connection.attempt("Describe", [name])) from None
