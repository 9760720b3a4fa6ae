"""`sinergi status` names members of a reader's consumer group that are not our workers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from agency_pair import DATABASE, AgencyPair, running, transfer
from test_status import Operator, operator
from waiting import until

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

__all__ = ["operator"]


@contextmanager
def squatting(pair: AgencyPair) -> Iterator[None]:
    """A stranger in the reader's group, who is given shares and leaves them alone."""
    settings = {
        "bootstrap.servers": pair.kafka,
        "group.id": f"{pair.reader}.{DATABASE}",
        "group.protocol": "consumer",
        "client.id": "stranger",
    }
    consumer = Consumer(settings)
    given: set[int] = set()

    def take(_: Consumer, partitions: list[TopicPartition]) -> None:
        given.update(each.partition for each in partitions)

    consumer.subscribe([pair.topic.name], on_assign=take)

    def squat(stopping: threading.Event) -> None:
        while not stopping.is_set():
            consumer.poll(0.1)
        consumer.close()

    with running(squat):
        until(lambda: len(given) == pair.partitions, "the stranger has all shares")
        yield


def test_a_stranger_in_the_group_who_takes_the_shares_is_named_by_status(
    operator: Operator,
) -> None:
    pair = operator.pair
    with pair.relaying():
        with squatting(pair):
            pair.publish(transfer("P/1"))
            problems = operator.reader()["problems"]
        with pair.materialising():
            pair.until_rows("sinergi.transfer_history", 1)
            pair.until(lambda: not operator.reader()["problems"], "the reader's side is well")
    (problem,) = (each for each in problems if each["kind"] == "foreign-member")
    assert problem["what"].startswith("stranger at ")
