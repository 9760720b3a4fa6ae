"""Logins and rights that end while an audit reads: it names them, and gives no verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from agency_pair import AgencyPair, send
from sinergi_schemas import errors
from sinergi_schemas.kafka import scan
from sinergi_schemas.timeouts import KafkaTimeouts
from sinergi_schemas.topics import control_topic, receipts_topic
from test_changed_topics import changed_meanwhile, sealed
from test_reauthentication import set_password

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from secured_kafka import Secured
    from sinergi_consumers.audit.audit import Audit

pytestmark = pytest.mark.long

TOPIC, READ = ResourceType.TOPIC, AclOperation.READ


@pytest.fixture
def pair(
    broker: Secured,
    tmp_path: Path,
    agency_slug: str,
    databases: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> AgencyPair:
    """A pair whose topic is read in small chunks, by a login with a password."""
    monkeypatch.setattr(scan, "_CHUNK_BYTES", 20_000)
    made = AgencyPair(
        tmp_path, broker.bootstrap, agency_slug, databases(), databases(), partitions=1
    )
    send(made, sealed(made, 200))
    set_password(broker, "first")
    for name in (made.topic.name, control_topic(made.publisher), receipts_topic(made.reader)):
        broker.permit(TOPIC, name, READ)
    return made


def audited(broker: Secured, pair: AgencyPair, change: Callable[[], None], processes: int) -> Audit:
    """An audit of the topic, during which a login or right changes."""
    login = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_password": "first"}
    timeouts = KafkaTimeouts(silence=6, answer=6)
    connection = replace(broker.connection(**login), timeouts=timeouts)
    return changed_meanwhile(pair, change, processes, connection, part=400)


@pytest.mark.parametrize("processes", [0, 2])
def test_a_right_that_is_revoked_while_a_topic_is_read_is_named(
    broker: Secured, pair: AgencyPair, processes: int
) -> None:
    with pytest.raises(errors.NotPermitted) as why:
        audited(broker, pair, broker.forget, processes)
    assert pair.topic.name in str(why.value)


@pytest.mark.parametrize("processes", [0, 2])
def test_a_password_that_is_replaced_while_a_topic_is_read_is_named(
    broker: Secured, pair: AgencyPair, processes: int
) -> None:
    def replaced() -> None:
        set_password(broker, "second")
        broker.process.kill()
        broker.process.restart()  # every connection logs in anew

    with pytest.raises(errors.LoginRefused):
        audited(broker, pair, replaced, processes)
    set_password(broker, "first")
    assert audited(broker, pair, lambda: None, processes).is_proved
