"""The admin client, and the questions to a cluster: its id, its brokers, topics and offsets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM, from_posix_time
from sinergi_schemas.kafka.conversion import from_client, to_client
from sinergi_schemas.kafka.faults import opening, translated
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from datetime import datetime

    from confluent_kafka.admin._topic import TopicDescription

    from sinergi_schemas.kafka.connection import Attempt, Connection

_END_SECONDS = 2.0
_ABSENT = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})

_WAIT_SECONDS = 0.2
_REFUSED_SECONDS = 2.0

# librdkafka's text where a request that goes to the cluster's controller was not answered.
_NO_CONTROLLER = "waiting for controller"

# With sparse connections, librdkafka 2.16 connects again and again, without the pause that is set,
# to a broker that is away while a request waits for it (docs/reliability.md has the measurement).
_SETTINGS = {"enable.sparse.connections": False}

T = TypeVar("T")


class Admin(AdminClient):
    """An admin client that knows its connection, whose other clients may know why a call fails."""

    def __init__(self, connection: Connection) -> None:
        super().__init__({**connection.settings(), **_SETTINGS})
        self.connection = connection

    @property
    def answer_seconds(self) -> float:
        """How long it waits for the brokers' answer to a request."""
        return self.connection.timeouts.answer

    def answer(self, future: Future[T], attempt: Attempt | None = None) -> T:
        """Wait for the result of a call of this client.

        Args:
            attempt: what the call tries; NotPermitted names it.

        Raises:
            SinergiError: see `faults.translate`; LoginRefused instead of a timeout where the
                brokers have refused the login.
        """
        try:
            value = self.wait_for(future)
        except KafkaException as why:
            raise self.fault(why, attempt) from None
        self.connection.client_errors.clear()
        return value

    def fault(self, why: KafkaException, attempt: Attempt | None = None) -> errors.SinergiError:
        """What an exception of this client means, with what its error callback has reported."""
        self.poll(0)
        found = translated(why, attempt or self.connection.attempt("Describe"))
        no_controller = isinstance(found, errors.BrokerAway) and _NO_CONTROLLER in found.reported
        if no_controller and self._has_broker():
            return errors.ControllerAway(found.reported)
        return self.connection.cause(found)

    def _has_broker(self) -> bool:
        """Whether any broker answers.

        Another thread asks: where confluent_kafka 2.16 raises an exception while another one is
        handled, it never releases that one, which leads back to this client.
        """
        with ThreadPoolExecutor(1) as thread, suppress(KafkaException):
            thread.submit(self.list_topics, timeout=_REFUSED_SECONDS).result()
            return True
        return False

    def wait_for(self, future: Future[T]) -> T:
        """Wait for the result of a call of this client.

        The wait is cut into short ones. A signal may reach a thread of the client library, and the
        main thread handles it only between two waits. Ctrl-C must not wait for a broker that does
        not answer. A login that the brokers have refused ends the wait as well.

        Raises:
            KafkaException: the call has failed.
            LoginRefused: the brokers do not let us in.
        """
        refused_since: float | None = None
        while not future.done():
            # `concurrent.futures.wait` may keep the lock of the future if Ctrl-C comes in it, and
            # the client, which sets the result, could then never be closed.
            with suppress(TimeoutError):
                future.exception(_WAIT_SECONDS)
            self.poll(0)
            now = SYSTEM.monotonic()
            if self.connection.client_errors.login is None:
                refused_since = None
            elif refused_since is None:
                refused_since = now
            elif now - refused_since > _REFUSED_SECONDS:
                # Only now, since another broker of the cluster might have let us in.
                raise self.connection.client_errors.refusal() or errors.BrokerAway("no answer")
        failure = future.exception()
        if isinstance(failure, KafkaException):
            # The future would raise its own exception, whose traceback leads back to the future and
            # to this client: neither would end before a garbage collection.
            raise KafkaException(*failure.args)
        return future.result()


def open_admin(connection: Connection) -> Admin:
    """An admin client.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    with opening(connection):
        return Admin(connection)


def cluster_id(admin: Admin) -> str:
    """The id of the cluster, which its storage has had since it was formatted.

    Raises:
        SinergiError: see `Admin.answer`.
    """
    cluster = admin.answer(admin.describe_cluster(request_timeout=admin.answer_seconds))
    return str(cluster.cluster_id)


def broker_ids(admin: Admin) -> list[int]:
    """The ids of the brokers that the cluster has now.

    Raises:
        SinergiError: see `Admin.answer`.
    """
    cluster = admin.answer(admin.describe_cluster(request_timeout=admin.answer_seconds))
    return [each.id for each in cluster.nodes]


def default_copies(admin: Admin, broker: int) -> int:
    """How many copies of each partition a broker's settings say (default.replication.factor).

    Raises:
        SinergiError: see `Admin.answer`.
    """
    resource = ConfigResource(ResourceType.BROKER, str(broker))
    (future,) = admin.describe_configs([resource], request_timeout=admin.answer_seconds).values()
    found = admin.answer(future, admin.connection.attempt("DescribeConfigs"))
    return int(found["default.replication.factor"].value)


def describe(
    admin: Admin, topics: Iterable[str], right: str = "Describe"
) -> dict[str, TopicDescription]:
    """Describe those of some topics that exist.

    Args:
        right: the right that the caller needs on them, if it needs more. It implies Describe, and
            NotPermitted names it.

    Raises:
        SinergiError: see `Admin.answer`.
    """
    names = sorted(set(topics))
    if not names:
        return {}
    asked = admin.describe_topics(TopicCollection(names), request_timeout=admin.answer_seconds)
    found = {name: _if_present(admin, name, future, right) for name, future in asked.items()}
    return {name: topic for name, topic in found.items() if topic is not None}


def describe_each(
    admin: Admin, topics: Iterable[str]
) -> dict[str, TopicDescription | errors.SinergiError]:
    """Describe topics for a caller who is about to read them; what hinders one hinders no other.

    Returns:
        Each topic with its description, or with the error: TopicMissing, NotPermitted, …

    Raises:
        ServiceAway: the brokers answer for none of them.
    """
    names = sorted(set(topics))
    if not names:
        return {}
    asked = admin.describe_topics(TopicCollection(names), request_timeout=admin.answer_seconds)
    found: dict[str, TopicDescription | errors.SinergiError] = {}
    for name, future in asked.items():
        try:
            found[name] = _if_present(admin, name, future, "Read") or errors.TopicMissing(name)
        except errors.SinergiError as why:
            why.__context__ = None
            found[name] = why.with_traceback(None)  # its frames would keep the client
    unanswered = [
        each
        for each in found.values()
        if isinstance(each, errors.ServiceAway) and not isinstance(each, errors.TopicMissing)
    ]
    if unanswered and len(unanswered) == len(found):
        found.clear()  # what is raised leads to this frame
        raise unanswered.pop()
    return found


def topic_settings(admin: Admin, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings that some topics have, those that the brokers give them included.

    Raises:
        NotPermitted: naming the topic and the right, DescribeConfigs.
        TopicNotKnown: a broker does not know one of them.
        SinergiError: see `Admin.answer`.
    """
    resources = [ConfigResource(ResourceType.TOPIC, each) for each in topics]
    asked = admin.describe_configs(resources, request_timeout=admin.connection.timeouts.change)
    found: dict[str, dict[str, str]] = {}
    for each, future in asked.items():
        attempt = admin.connection.attempt("DescribeConfigs", [each.name])
        settings = admin.answer(future, attempt)
        found[each.name] = {key: str(entry.value) for key, entry in settings.items()}
    return found


def topic_id(admin: Admin, topic: str) -> str:
    """The id of a topic. A topic that is deleted and created again has another id.

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


def ends(admin: Admin, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """The end offset of each topic-partition.

    It is the high watermark: open transactions of others do not hide what lies after them, and our
    consumers read as far.

    Raises:
        NotPermitted, TopicAway: naming the topic.
        SinergiError: see `Admin.answer`.
    """
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the library says no types here
    return _offsets(admin, tps, latest, _END_SECONDS)


def bounds(admin: Admin, tps: Iterable[TopicPartition]) -> dict[TopicPartition, range]:
    """The offsets of each topic-partition, from its first message to its last.

    Raises:
        NotPermitted, TopicAway: naming the topic.
        SinergiError: see `Admin.answer`.
    """
    tps = list(tps)
    seconds = admin.answer_seconds
    low = _offsets(admin, tps, OffsetSpec.earliest(), seconds)  # type: ignore[no-untyped-call]
    high = _offsets(admin, tps, OffsetSpec.latest(), seconds)  # type: ignore[no-untyped-call]
    return {tp: range(low[tp], high[tp]) for tp in high}


def latest_time(admin: Admin, names: Iterable[str]) -> datetime | None:
    """The latest time that a message of some topics bears, by its producer's clock.

    Args:
        names: topics of one partition; those that do not exist are left out.

    Returns:
        None if there is no message.

    Raises:
        NotPermitted: naming the topic.
        SinergiError: see `Admin.answer`.
    """
    latest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]  # as in `ends`
    wanted = {to_client(TopicPartition(each, 0)): latest for each in describe(admin, names)}
    if not wanted:
        return None
    asked = admin.list_offsets(wanted, request_timeout=admin.answer_seconds)
    found = max(admin.answer(each).timestamp for each in asked.values())
    return from_posix_time(found / 1000) if found >= 0 else None


def _offsets(
    admin: Admin, tps: Iterable[TopicPartition], spec: OffsetSpec, seconds: float
) -> dict[TopicPartition, int]:
    wanted = {to_client(tp): spec for tp in tps}
    if not wanted:
        return {}
    asked = admin.list_offsets(wanted, request_timeout=seconds)
    try:
        return {from_client(at): admin.answer(future).offset for at, future in asked.items()}
    except (errors.BrokerRefuses, errors.BrokerAway):
        # The library does not name the topic. One that may not be described looks to it like one
        # without leaders.
        names = {each.topic for each in wanted}
        missing = sorted(names - describe(admin, names).keys())
        if missing:
            raise errors.TopicMissing(missing[0]) from None
        raise


def _one(admin: Admin, topic: str) -> TopicDescription:
    """Describe a topic for a caller who is about to read it."""
    found = describe(admin, [topic], "Read").get(topic)
    if found is None:
        raise errors.TopicMissing(topic)
    return found


def _if_present(
    admin: Admin, name: str, future: Future[TopicDescription], right: str
) -> TopicDescription | None:
    try:
        return admin.wait_for(future)
    except KafkaException as why:
        error = why.args[0]
        if isinstance(error, KafkaError) and error.code() in _ABSENT:
            return None
        raise admin.fault(why, admin.connection.attempt(right, [name])) from None
