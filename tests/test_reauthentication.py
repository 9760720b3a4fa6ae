"""Open connections log in again and again, so that a replaced password does not outlast its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import (
    AclOperation,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from secured_kafka import USER, Secured, secured
from sinergi_schemas.clock import SYSTEM
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

MILLISECONDS = 2_000
TOPIC = "events"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker whose connections log in again within two seconds."""
    folder = tmp_path_factory.mktemp("reauthentication")
    with secured(folder, connections_max_reauth_ms=str(MILLISECONDS)) as found:
        found.topic(TOPIC)
        found.permit(ResourceType.TOPIC, TOPIC, AclOperation.READ, AclOperation.WRITE)
        found.permit(ResourceType.GROUP, "group", AclOperation.READ)
        yield found


def set_password(broker: Secured, password: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(USER, info, password.encode())
    broker.admin.alter_user_scram_credentials([change])[USER].result(PATIENCE_SECONDS)


def test_clients_go_on_over_many_logins_until_their_password_is_replaced(broker: Secured) -> None:
    set_password(broker, "first")
    login = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_password": "first"}
    settings = broker.connection(**login).settings()
    told: list[KafkaError] = []
    settings |= {"error_cb": told.append}
    producer = Producer(settings | {"enable.idempotence": True})
    consumer = Consumer(settings | {"group.id": "group", "auto.offset.reset": "earliest"})
    consumer.subscribe([TOPIC])
    failed: list[KafkaError] = []
    read: list[bytes | None] = []

    def delivered(why: KafkaError | None, _: Message) -> None:
        if why is not None:
            failed.append(why)

    def go_on() -> None:
        producer.produce(TOPIC, b"event", on_delivery=delivered)
        producer.flush(PATIENCE_SECONDS)
        message = consumer.poll(0.2)
        if message is not None:
            assert message.error() is None
            read.append(message.value())

    end = SYSTEM.monotonic() + 4 * MILLISECONDS / 1000
    while SYSTEM.monotonic() < end:
        go_on()
    assert read
    assert not failed
    assert not told, "no connection was closed"
    set_password(broker, "second")

    def is_refused() -> bool:
        producer.produce(TOPIC, b"event")
        producer.poll(0.2)
        return KafkaError._AUTHENTICATION in {each.code() for each in told}

    until(is_refused, "the open connection with the old password ends")
    consumer.close()
