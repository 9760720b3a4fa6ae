"""Members of a reader's consumer group that take shares from its workers are seen and named."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, TopicPartition
from structlog.testing import capture_logs

from sinergi_consumers import assignment
from test_status import Desk, desk, kinds
from waiting import until
from world import DATABASE, World, running, transfer

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, MutableMapping

    import pytest

    Log = list[MutableMapping[str, Any]]

__all__ = ["desk"]

FOREIGN = "members of the group are no materialisers of ours"
NO_SHARE = "no share for this worker: others hold them"


@contextmanager
def squatting(world: World) -> Iterator[None]:
    """A stranger in the reader's group, who is given shares and leaves them alone."""
    settings = {
        "bootstrap.servers": world.kafka,
        "group.id": f"{world.reader}.{DATABASE}",
        "group.protocol": "consumer",
        "client.id": "stranger",
    }
    consumer = Consumer(settings)
    given: set[int] = set()

    def take(_: Consumer, partitions: list[TopicPartition]) -> None:
        given.update(each.partition for each in partitions)

    consumer.subscribe([world.topic.name], on_assign=take)

    def squat(stopping: threading.Event) -> None:
        while not stopping.is_set():
            consumer.poll(0.1)
        consumer.close()

    with running(squat):
        until(lambda: len(given) == world.partitions, "the stranger has all shares")
        yield


def events(logs: Log) -> list[str]:
    return [each["event"] for each in logs if each["event"] in (FOREIGN, NO_SHARE)]


def test_a_stranger_in_the_group_who_takes_the_shares_is_named_by_the_worker_and_by_status(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "LOOK_SECONDS", 0.2)
    world = desk.world
    with world.relaying():
        with squatting(world):
            world.publish(transfer("P/1"))
            with capture_logs() as logs, world.materialising():
                world.until(lambda: FOREIGN in events(logs), "the worker names the stranger")
            # The command sets up logging anew, so that nothing is captured behind it.
            problems = desk.reader()["problems"]
        with world.materialising():
            world.until_rows("sinergi.transfer_history", 1)
            world.until(lambda: not desk.reader()["problems"], "the reader's side is well")
    (problem,) = (each for each in problems if each["kind"] == "foreign-member")
    name = "stranger at "
    assert problem["what"].startswith(name)
    (warning,) = (each for each in logs if each["event"] == FOREIGN)
    assert (warning["log_level"], warning["named"][0][: len(name)]) == ("warning", name)


def test_a_worker_for_which_no_share_is_left_says_once_who_holds_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assignment, "LOOK_SECONDS", 0.2)
    world = desk.world
    with ExitStack() as workers, capture_logs() as logs:
        for _ in range(3):
            workers.enter_context(world.materialising())
        world.until(lambda: NO_SHARE in events(logs), "the third one says it")
        said = [each for each in logs if each["event"] == NO_SHARE]
        world.until(lambda: desk.reader()["reading"]["workers"] == 3, "three are there")
        assert "foreign-member" not in kinds(desk.reader())
    assert all(name.startswith("sinergi at ") for each in said for name in each["named"])
    assert len(said) <= 3, "each worker says it once"
