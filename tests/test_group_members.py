"""`sinergi status` names members of a reader's consumer group that are not our workers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition

from agency_pair import DATABASE, AgencyPair, running, transfer
from raw_group_member import assignment, joined
from sinergi.status import gathering
from sinergi_schemas import errors
from test_status import Operator, operator, shares
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


def test_a_stranger_who_takes_topics_whose_names_are_not_text_is_named_and_the_rest_shown(
    operator: Operator,
) -> None:
    pair = operator.pair
    assigned = assignment([(b"\xff\xfe", [0]), (pair.topic.name.encode(), [0, 1])])
    with joined(pair.kafka, f"{pair.reader}.{DATABASE}", assigned, client_id=b"\xff\xfe"):
        document = operator.reader()
    (problem,) = (each for each in document["problems"] if each["kind"] == "foreign-member")
    assert "with 3 partitions is in the group " in problem["what"]
    assert (document["exit_status"], document["away"]) == (1, [])
    assert [each["available"] for each in shares(document)] == [0, 0]


@pytest.mark.parametrize("kind", [b"connect", b"consumer"])
def test_others_who_hold_the_group_for_something_else_are_named_and_the_rest_shown(
    operator: Operator, kind: bytes
) -> None:
    pair = operator.pair
    group = f"{pair.reader}.{DATABASE}"
    with joined(pair.kafka, group, b"\xff" * 40, protocol_type=kind, protocol=b"x"):
        document = operator.reader()
    (problem,) = document["problems"]
    assert problem["kind"] == "foreign-member"
    assert problem["what"].startswith(f"others hold the group {group}: ")
    assert (document["exit_status"], document["away"]) == (1, [])
    assert document["reading"]["workers"] is None
    assert [each["available"] for each in shares(document)] == [0, 0]


def test_a_group_that_may_not_be_described_hides_nothing_else(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object, name: str) -> None:
        raise errors.NotPermitted("User:x", "Describe", "group", (name,), "no")

    monkeypatch.setattr(gathering, "consumer_group", refuse)
    document = operator.reader()
    (away,) = document["away"]
    assert (document["exit_status"], away["answers"]) == (2, True)
    assert document["reading"]["workers"] is None
    assert [each["available"] for each in shares(document)] == [0, 0]
