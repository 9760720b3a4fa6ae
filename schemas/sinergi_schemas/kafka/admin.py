"""Questions to the cluster itself: what it is, and what its topics are."""

from __future__ import annotations

import logging
from concurrent.futures import TimeoutError as WaitedTooLong
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from sinergi_schemas import errors
from sinergi_schemas.kafka.faults import on_error, translate

if TYPE_CHECKING:
    from confluent_kafka.admin import TopicDescription

    from sinergi_schemas.kafka import Connection

ANSWER_SECONDS = 10.0


def open_admin(connection: Connection) -> AdminClient:
    """A client for questions."""
    return AdminClient(
        {**connection.settings("sinergi admin"), "error_cb": on_error("admin")},
        logger=logging.getLogger("sinergi.kafka"),
    )


def describe_topic(admin: AdminClient, topic: str) -> TopicDescription:
    """What the cluster says of a topic: its id and its partitions.

    Raises:
        TopicAway: it is not there.
        BrokerAway: the cluster does not answer.
    """
    asked = admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS)
    try:
        return asked[topic].result(timeout=ANSWER_SECONDS + 1)
    except KafkaException as why:
        raise translate(why.args[0], topic) from None
    except WaitedTooLong:
        raise errors.BrokerAway("no answer") from None


def cluster_id(admin: AdminClient) -> str:
    """The cluster's own id.

    Raises:
        BrokerAway: the cluster does not answer.
    """
    try:
        found = admin.describe_cluster(request_timeout=ANSWER_SECONDS).result(ANSWER_SECONDS + 1)
    except KafkaException as why:
        raise translate(why.args[0]) from None
    except WaitedTooLong:
        raise errors.BrokerAway("no answer") from None
    return str(found.cluster_id)
