"""A question to a cluster that is asked again while its brokers replace one that has gone away.

A broker that is killed may have been the controller. The others elect another one within seconds,
and still name the lost broker to clients for some more. A client that has begun to wait for the
lost broker does not look for another one; a new client does.
"""

from __future__ import annotations

from dataclasses import replace
from time import sleep
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import KafkaException

from sinergi_schemas import errors
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.client_errors import ClientErrors

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.kafka.admin import Admin
    from sinergi_schemas.kafka.connection import Connection

TRIES = 4
_SHORT_SECONDS = 10.0
_PAUSE_SECONDS = 2.0
_ANSWER_SECONDS = 2.0

T = TypeVar("T")


def ask(connection: Connection, question: Callable[[Admin], T], report: Callable[[int], None]) -> T:
    """The answer to a question that changes nothing.

    All tries but the last wait for a short time.

    Args:
        report: called before each further try, with the number of tries that are left.

    Raises:
        SinergiError: the question's, if it is none about brokers that are away, if no broker
            answers at all, or if it is that of the last try.
    """
    for left in range(TRIES - 1, 0, -1):
        admin = open_admin(_short(connection))
        try:
            return question(admin)
        except errors.BrokerAway:
            if not _some_answer(admin):
                raise
        report(left)
        sleep(_PAUSE_SECONDS)
    return question(open_admin(connection))


def _short(connection: Connection) -> Connection:
    given = connection.timeouts
    short = {
        name: min(seconds, _SHORT_SECONDS)
        for name, seconds in (("answer", given.answer), ("change", given.change))
    }
    # Its clients' errors are about this try only.
    return replace(
        connection, timeouts=given.model_copy(update=short), client_errors=ClientErrors()
    )


def _some_answer(admin: Admin) -> bool:
    try:
        admin.list_topics(timeout=_ANSWER_SECONDS)
    except KafkaException:
        return False
    return True
