"""What an error of librdkafka means for us: one table, so that every room judges alike."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from sinergi_schemas import errors

_NO_ENTRY = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_NOT_PERMITTED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SECURITY_DISABLED,
    }
)
_TOO_OLD = frozenset(
    {
        KafkaError.UNSUPPORTED_VERSION,
        KafkaError._UNSUPPORTED_FEATURE,
        KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
    }
)
_SETTINGS = frozenset({KafkaError._INVALID_ARG, KafkaError._CONFLICT, KafkaError._NOT_CONFIGURED})

# Away for a while. librdkafka's own `retriable()` is true only for what a request may repeat at
# once, so it is asked besides and not instead.
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
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
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

Fault = (
    errors.LoginRefused
    | errors.NotPermitted
    | errors.BrokerTooOld
    | errors.KafkaSettingsRefused
    | errors.BrokerAway
    | errors.BrokerRefuses
)


def translate(error: KafkaError) -> Fault:
    """The error of ours that stands for one of librdkafka's.

    LoginRefused, NotPermitted, BrokerTooOld and KafkaSettingsRefused want a person; BrokerAway is
    tried again; BrokerRefuses is everything else, also a client that has to be thrown away.
    """
    code, said = error.code(), _said(error)
    if code in _NO_ENTRY:
        return errors.LoginRefused(said)
    if code in _NOT_PERMITTED:
        return errors.NotPermitted(said)
    if code in _TOO_OLD:
        return errors.BrokerTooOld(said)
    if code in _SETTINGS:
        return errors.KafkaSettingsRefused(said)
    if not error.fatal() and (code in _AWAY or error.retriable()):
        return errors.BrokerAway(said)
    return errors.BrokerRefuses(said)


def translated(exception: KafkaException) -> Fault:
    """The same for an exception that a client has raised."""
    error = exception.args[0]
    return translate(error) if isinstance(error, KafkaError) else errors.BrokerRefuses(str(error))


def raise_for(error: KafkaError | None) -> None:
    """Raise what an error means, if there is one.

    Raises:
        SinergiError: see `translate`.
    """
    if error is not None:
        raise translate(error)


def _said(error: KafkaError) -> str:
    return f"{error.name()}: {error.str()}"
