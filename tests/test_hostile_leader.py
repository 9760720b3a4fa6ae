"""A member that leads the consumer group (classic protocol) assigns what is not ours to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agency_pair import DATABASE, AgencyPair, Worker, transfer
from group_leader import leading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from group_leader import Assigned

IGNORED = "assigned topic-partitions ignored: they are not ours to read"


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """A reader whose members divide the work among themselves."""
    found = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    text = found.reader_settings.read_text(encoding="utf-8")
    classic = text.replace("[kafka]", '[kafka]\ngroup_protocol = "classic"')
    found.reader_settings.write_text(classic, encoding="utf-8")
    return found


def hostile(topic: bytes) -> list[Assigned]:
    """What no honest leader assigns: other topics, names of no topic, and partitions of none."""
    return [
        (b"some.other.topic", (0,)),
        (b"", (0,)),
        (b"\xff\xfe", (0,)),
        (b"\x1b[2J" * 500, (0,)),
        (topic, (-1, 2, 2**31 - 1)),
    ]


def ignored(worker: Worker) -> list[list[str]]:
    return [each["first"] for each in worker.said if each["event"] == IGNORED]


def test_a_leader_who_assigns_what_is_not_ours_ends_no_worker_and_is_named(
    pair: AgencyPair,
) -> None:
    group, topic = f"{pair.reader}.{DATABASE}", pair.topic.name
    assigned = hostile(topic.encode())
    with pair.relaying(), pair.worker("worker") as worker:
        with leading(pair.kafka, group, topic, assigned):
            pair.until(lambda: bool(ignored(worker)), "the worker logs what it ignores")
        pair.publish(transfer("P/1"))
        pair.until_rows("sinergi.transfer_history", 1)
        assert worker.process.poll() is None
    first = ["some.other.topic/0", *3 * ["a name that no topic can have"], f"{topic}/-1"]
    assert ignored(worker) == [first]
    assert "Traceback" not in worker.log.read_text(encoding="utf-8")


def test_what_is_ours_is_read_though_the_leader_assigns_other_things_beside_it(
    pair: AgencyPair,
) -> None:
    group, topic = f"{pair.reader}.{DATABASE}", pair.topic.name
    assigned = [*hostile(topic.encode()), (topic.encode(), (0, 1, 0))]
    with (
        leading(pair.kafka, group, topic, assigned) as leader,
        pair.relaying(),
        pair.worker("worker") as worker,
    ):
        pair.publish(*(transfer(f"P/{number}") for number in range(20)))
        pair.until_rows("sinergi.transfer_history", 20)
        assert leader.rounds >= 1
        assert worker.process.poll() is None
    partitions = pair.ask("SELECT DISTINCT partition FROM sinergi_consumer.position ORDER BY 1")
    assert partitions == [(0,), (1,)]
