"""Kafka transactions of others on an agency's topics: only the seal decides what counts."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from agency_pair import AgencyPair, transfer
from sinergi.status.problems import ProblemKind
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_schemas import topics
from test_relay import until_sent
from test_status import Operator, operator
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.long

__all__ = ["operator"]

NONE: set[str] = set()
STRANGER = {ProblemKind.FOREIGN_WRITER.value}
"""The kinds of problem in the publisher's status while a stranger's messages are near the end."""


def begun(pair: AgencyPair) -> Producer:
    """A transaction with messages on all topics of the two agencies, which nobody ends."""
    producer = Producer(
        {
            "bootstrap.servers": pair.kafka,
            "transactional.id": f"stranger-{secrets.token_hex(4)}",
            "transaction.timeout.ms": 600_000,
        }
    )
    producer.init_transactions(PATIENCE_SECONDS)
    producer.begin_transaction()
    events = [(pair.topic.name, number) for number in range(pair.partitions)]
    others = (topics.control_topic(pair.publisher), topics.receipts_topic(pair.reader))
    for name, number in (*events, *((each, 0) for each in others)):
        producer.produce(name, b"junk", b"key", number)
    assert producer.flush(PATIENCE_SECONDS) == 0
    return producer


def proved(pair: AgencyPair) -> int:
    """How many events a replay shows of a topic that it finds to be what its owner sealed."""
    audit = Audit(pair.bus, pair.topic, Copies())
    shown = sum(each.height for each in audit.events(ReplayFilter()))
    assert audit.is_proved, audit.verdict.findings
    return shown


def told(operator: Operator) -> set[str]:
    """The kinds of problems that the publisher's status names."""
    return {each["kind"] for each in operator.publisher()["problems"]}


def goes_on(operator: Operator, before: int, problems: set[str]) -> None:
    """See that events arrive, and that status and replay find all of them.

    Args:
        before: how many events arrived before.
        problems: the kinds that the publisher's status names once they have arrived.
    """
    pair = operator.pair
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"{before}/{number}") for number in range(10)))
        pair.until_rows("sinergi.transfer_history", before + 10)
        until_sent(pair, before + 10)
        pair.until(lambda: not operator.reader()["problems"], "the reader's side is well")
        pair.until(lambda: told(operator) == problems, "the publisher's side is as expected")
    assert proved(pair) == before + 10


def test_a_transaction_that_a_stranger_leaves_open_stops_nobody_and_changes_no_verdict(
    operator: Operator,
) -> None:
    goes_on(operator, 0, NONE)
    open_ = begun(operator.pair)
    goes_on(operator, 10, STRANGER)
    open_.abort_transaction(PATIENCE_SECONDS)
    goes_on(operator, 20, STRANGER)


@pytest.mark.parametrize("end", [Producer.abort_transaction, Producer.commit_transaction])
def test_a_topic_that_ends_in_the_marker_of_a_transaction_is_read_to_its_end(
    operator: Operator, end: Callable[[Producer, float], None]
) -> None:
    goes_on(operator, 0, NONE)
    end(begun(operator.pair), PATIENCE_SECONDS)
    assert proved(operator.pair) == 10
    goes_on(operator, 10, STRANGER)
