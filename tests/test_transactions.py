"""Transactions of strangers on an agency's topics: only the seal decides what counts."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.replay import ReplayFilter
from sinergi_schemas import topics
from test_relay import until_sent
from test_status import Desk, desk
from waiting import PATIENCE_SECONDS
from world import World, transfer

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.long

__all__ = ["desk"]


def begun(world: World) -> Producer:
    """A transaction with messages on all topics of the two agencies, which nobody ends."""
    producer = Producer(
        {
            "bootstrap.servers": world.kafka,
            "transactional.id": f"stranger-{secrets.token_hex(4)}",
            "transaction.timeout.ms": 600_000,
        }
    )
    producer.init_transactions(PATIENCE_SECONDS)
    producer.begin_transaction()
    events = [(world.topic.name, number) for number in range(world.partitions)]
    others = (topics.control_topic(world.publisher), topics.receipts_topic(world.reader))
    for name, number in (*events, *((each, 0) for each in others)):
        producer.produce(name, b"junk", b"key", number)
    assert producer.flush(PATIENCE_SECONDS) == 0
    return producer


def proved(world: World) -> int:
    """How many events a replay shows of a topic that it finds to be what its owner sealed."""
    audit = Audit(world.bus, world.topic, Copies())
    shown = sum(each.height for each in audit.events(ReplayFilter()))
    assert audit.holds, audit.verdict.findings
    return shown


def goes_on(desk: Desk, before: int) -> None:
    """See that events arrive, and that status and replay find all of them."""
    world = desk.world
    with world.relaying(), world.materialising():
        world.publish(*(transfer(f"{before}/{number}") for number in range(10)))
        world.until_rows("sinergi.transfer_history", before + 10)
        until_sent(world, before + 10)
        world.until(lambda: not desk.reader()["problems"], "the reader's side is well")
        world.until(lambda: not desk.publisher()["problems"], "the publisher's side is well")
    assert proved(world) == before + 10


def test_a_transaction_that_a_stranger_leaves_open_stops_nobody_and_changes_no_verdict(
    desk: Desk,
) -> None:
    goes_on(desk, 0)
    open_ = begun(desk.world)
    goes_on(desk, 10)
    open_.abort_transaction(PATIENCE_SECONDS)
    goes_on(desk, 20)


@pytest.mark.parametrize("end", [Producer.abort_transaction, Producer.commit_transaction])
def test_a_topic_that_ends_in_the_marker_of_a_transaction_is_read_to_its_end(
    desk: Desk, end: Callable[[Producer, float], None]
) -> None:
    goes_on(desk, 0)
    end(begun(desk.world), PATIENCE_SECONDS)
    assert proved(desk.world) == 10
    goes_on(desk, 10)
