"""Which of our errors each error of librdkafka is: one table for all clients."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from sinergi_schemas import errors
from sinergi_schemas.kafka.connection import Attempt
from sinergi_schemas.kafka.diagnosis import diagnose, plain, setting_of
from sinergi_schemas.plain_text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.kafka.connection import Connection

_UNKNOWN = Attempt("User:<unknown>", "<unknown>")

_LOGIN_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
# Missing rights, with the kind of resource as `kafka-acls` names it.
_NOT_PERMITTED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional-id",
    KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED: "delegation-token",
}
# A client that has failed for good gives the cause only in its text.
_CAUSE_IN_TEXT = frozenset({KafkaError._FATAL, KafkaError._GAPLESS_GUARANTEE})
_TOO_LARGE_TEXT = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE).str()
_NOT_PERMITTED_TEXTS = {KafkaError(code).str(): code for code in _NOT_PERMITTED}
_TOO_OLD = frozenset(
    {
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    }
)
_SETTINGS = frozenset({KafkaError._INVALID_ARG, KafkaError._CONFLICT, KafkaError._NOT_CONFIGURED})

# The brokers are away for a while. librdkafka's own `retriable()` is true only for errors after
# which the same request may be repeated at once, so it is not enough.
_AWAY = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._QUEUE_FULL,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._IN_PROGRESS,
        KafkaError._PREV_IN_PROGRESS,
        KafkaError._DESTROY_BROKER,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._RETRY,
        KafkaError._STATE,
        KafkaError._NODE_UPDATE,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_BROKER,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._FENCED,
        KafkaError._LOG_TRUNCATION,
        KafkaError.INCONSISTENT_TOPIC_ID,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.REBOOTSTRAP_REQUIRED,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)

# All that librdkafka says of a request without an answer.
_NO_ANSWER = "Local: Timed out"

_NOT_KNOWN = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID})

# Of these, those that brokers report while another one takes over a partition or a group.
_CHANGING = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        # An admin client has looked for the leaders of partitions and found none.
        KafkaError._NOENT,
    }
)

Fault = (
    errors.LoginRefused
    | errors.NotPermitted
    | errors.BrokerTooOld
    | errors.KafkaSettingsRefused
    | errors.BrokerAway
    | errors.BrokerRefuses
    | errors.MessageTooLarge
)


def translate(error: KafkaError, attempt: Attempt = _UNKNOWN) -> Fault:
    """Our error for one of librdkafka's.

    A person has to mend the cause of LoginRefused, NotPermitted, BrokerTooOld and
    KafkaSettingsRefused. After BrokerAway the work is tried again. BrokerRefuses is everything
    else, also a client that has to be replaced.

    Args:
        attempt: what was tried; NotPermitted names it.
    """
    code, text = error.code(), _text(error)
    kind = _kind(error)
    if kind:
        return _not_permitted(kind, attempt, text)
    if code in _LOGIN_REFUSED:
        return _login_refused(text)
    if code in _TOO_OLD:
        return errors.BrokerTooOld(text)
    if code in _SETTINGS:
        return errors.KafkaSettingsRefused(text, setting_of(text))
    if _is_too_large(error):
        names = some(attempt.topics, ", ")
        return errors.MessageTooLarge(f"{names}: {text}" if names else text)
    if code in _NOT_KNOWN and not error.fatal():
        return errors.TopicNotKnown(text, some(attempt.topics, ", ") or "a topic")
    if not error.fatal() and code in _CHANGING:
        return errors.BrokersChanging(text)
    if not error.fatal() and (code in _AWAY or error.retriable()):
        return errors.BrokerAway(text)
    return errors.BrokerRefuses(text)


def translated(exception: KafkaException, attempt: Attempt = _UNKNOWN) -> Fault:
    """Our error for an exception that a client has raised; see `translate`."""
    error = exception.args[0]
    if not isinstance(error, KafkaError):
        return errors.BrokerRefuses(str(error))
    return translate(error, attempt)


@contextmanager
def translating(attempt: Attempt = _UNKNOWN) -> Iterator[None]:
    """Raise our error in place of an exception that a client raises within the block.

    Raises:
        SinergiError: see `translate`.
    """
    try:
        yield
    except KafkaException as why:
        raise translated(why, attempt) from None


@contextmanager
def opening(connection: Connection) -> Iterator[None]:
    """Raise our error in place of an exception of a client that the block opens.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    try:
        yield
    except KafkaException as why:
        raise connection.cause(translated(why)) from None


def raise_for(error: KafkaError | None, attempt: Attempt = _UNKNOWN) -> None:
    """Raise our error for one of librdkafka's, if there is one.

    Raises:
        SinergiError: see `translate`.
    """
    if error is not None:
        raise translate(error, attempt)


def _kind(error: KafkaError) -> str | None:
    """The kind of resource on which a right is missing; None for any other error."""
    code = error.code()
    if code in _CAUSE_IN_TEXT:
        found = error.str()
        code = next((each for text, each in _NOT_PERMITTED_TEXTS.items() if text in found), code)
    return _NOT_PERMITTED.get(code)


def _is_too_large(error: KafkaError) -> bool:
    if error.code() in _CAUSE_IN_TEXT:
        return _TOO_LARGE_TEXT in error.str()
    return error.code() == KafkaError.MSG_SIZE_TOO_LARGE


def _not_permitted(kind: str, attempt: Attempt, text: str) -> errors.NotPermitted:
    operation = attempt.operation
    if kind == "topic":
        return errors.NotPermitted(attempt.principal, operation, kind, attempt.topics, text)
    if kind == "group" and attempt.group is not None:
        return errors.NotPermitted(attempt.principal, operation, kind, (attempt.group,), text)
    if kind == "cluster" and operation == "Write" and attempt.topics:
        # An idempotent producer needs no right on the cluster if it may write to some topic.
        return errors.NotPermitted(attempt.principal, operation, "topic", attempt.topics, text)
    return errors.NotPermitted(attempt.principal, operation, kind, (), text)


def _login_refused(text: str) -> errors.LoginRefused:
    found = diagnose(text)
    if found is None:
        return errors.LoginRefused(
            "security, mechanism, username and password_file", "the login is refused", text
        )
    return errors.LoginRefused(found.setting, found.what, text)


def _text(error: KafkaError) -> str:
    if error.str() == _NO_ANSWER:
        return "no answer in time"
    return f"{error.name()}: {plain(error.str())}"
