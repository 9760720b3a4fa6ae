"""What an error of the client library means for us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaError

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable

_log = structlog.get_logger(__name__)

_REFUSED = {
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._INVALID_ARG,
}
_TOPIC_AWAY = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_ID,
}


def translate(error: KafkaError, topic: str = "") -> errors.SinergiError:
    """The error of ours that stands for one of the client library's."""
    if error.code() in _REFUSED:
        return errors.BrokerRefused(error.name())
    if error.code() in _TOPIC_AWAY:
        return errors.TopicAway(topic or "a topic", error.name())
    return errors.BrokerAway(error.name())


def raise_for(error: KafkaError | None, topic: str = "") -> None:
    """Raise the error of ours, where there is one.

    Raises:
        BrokerRefused: the broker knows us and says no.
        TopicAway: the topic is not there.
        BrokerAway: anything else: it may be well again in a moment.
    """
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise translate(error, topic)


def on_error(client: str) -> Callable[[KafkaError], None]:
    """A callback for what the library says on its own account.

    A wrong password shows here only: what was to be sent merely times out.
    """

    def heard(error: KafkaError) -> None:
        level = "error" if error.code() in _REFUSED else "warning"
        getattr(_log, level)("broker", client=client, why=error.name())

    return heard
