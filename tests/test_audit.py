"""An audit: nothing that does not hold hides another such thing, and a missing tail is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from sinergi_consumers.audit import Audit, Copies
from sinergi_consumers.log import open_log
from sinergi_consumers.replay import Wanted
from sinergi_consumers.witnesses import Witness, objection
from sinergi_schemas import errors, topics
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin
from test_replay import one_byte_changed
from waiting import PATIENCE_SECONDS
from world import World, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from confluent_kafka import Message

    from sinergi_consumers.audit import Verdict
    from test_replay import Changed

    Change = Callable[[list[Message]], Sequence[Message | Changed]]

COUNT = 30


@pytest.fixture
def world(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> World:
    """A topic of two partitions that a reader has materialised."""
    made = World(tmp_path, kafka, agency_slug, databases(), databases())
    made.publish(*(transfer(f"P/{number}") for number in range(COUNT)))
    with made.relaying(), made.materialising():
        made.until_rows("sinergi.transfer_history", COUNT)
        made.until(
            lambda: made.count("sinergi_consumer.receipt WHERE published_at IS NULL") == 0,
            "receipts published",
        )
    return made


def copied(world: World, *changes: Change) -> str:
    """A copy of the topic, each partition after its change."""
    name = f"copy.{world.topic.name}"
    admin = open_admin(world.connection)
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(PATIENCE_SECONDS)
    producer = Producer({"bootstrap.servers": world.kafka})
    for number, change in enumerate(changes):
        for each in change(messages(world, number)):
            producer.produce(name, each.value(), each.key(), number, headers=each.headers())
    assert producer.flush(PATIENCE_SECONDS) == 0
    return name


def messages(world: World, number: int) -> list[Message]:
    with open_log(world.connection, world.topic.name, number) as log:
        return [each for chunk in log.read(*log.bounds()) for each in chunk]


def whole(all_: list[Message]) -> list[Message]:
    return all_


def nothing(_: list[Message]) -> list[Message]:
    return []


def audited(world: World, copies: Copies) -> tuple[int, Verdict]:
    audit = Audit(world.bus, world.topic, copies)
    shown = sum(frame.height for frame in audit.events(Wanted()))
    return shown, audit.verdict


def test_whatever_holds_is_shown_and_one_finding_does_not_hide_the_next(world: World) -> None:
    name = world.topic.name
    shown, verdict = audited(world, Copies(against=name))
    assert (shown, verdict.findings, verdict.compared) == (COUNT, [], COUNT)
    assert verdict.testimony.has_heads
    assert [each.kind for each in verdict.testimony.of(0)] == ["heads", "receipt"]

    copy = copied(world, one_byte_changed(0), one_byte_changed(1))
    _, verdict = audited(world, Copies(copy, name))
    assert len(verdict.findings) == 2
    for number, finding in enumerate(verdict.findings):
        assert f"/{number} are not those under its checkpoint" in finding.why
        assert finding.remarks[-1] == f"compared with {name}: leaf {number} differs"

    shown, verdict = audited(world, Copies(against=copy))
    assert shown == COUNT
    for finding in verdict.findings:
        assert finding.why.startswith(f"{copy} does not hold itself: The leaves 0 to ")


def test_an_end_that_was_cut_off_is_known_by_heads_by_receipts_and_by_another_copy(
    world: World,
) -> None:
    size = len(messages(world, 1))
    copy = copied(world, whole, nothing)
    _, verdict = audited(world, Copies(copy))
    (finding,) = verdict.findings
    assert f"/1 ends at 0 leaves, but by the heads that {world.bus.agreements.bus}" in finding.why
    assert f"it has {size}:" in finding.why
    (remark,) = finding.remarks
    assert f"receipt that {world.receipt_key.name} signed" in remark

    _, verdict = audited(world, Copies(copy, world.topic.name))
    _, second = verdict.findings
    assert f"by {world.topic.name} it has {size}:" in second.why
    assert verdict.compared == len(messages(world, 0))


def test_heads_that_were_tampered_with_are_a_finding_and_missing_ones_are_told(
    world: World,
) -> None:
    control = topics.control_topic(world.publisher)
    producer = Producer({"bootstrap.servers": world.kafka})
    for value in (b"nonsense", "a\n1\nx\n\n— b AAAAAAAA\n".encode()):
        producer.produce(control, value, b"heads", 0)
        assert producer.flush(PATIENCE_SECONDS) == 0
        _, verdict = audited(world, Copies())
        (finding,) = verdict.findings
        assert finding.why.startswith(f"In {control}: ")
    producer.produce(control, None, b"heads", 0)
    assert producer.flush(PATIENCE_SECONDS) == 0
    shown, verdict = audited(world, Copies())
    assert (shown, verdict.findings) == (COUNT, [])
    assert not verdict.testimony.has_heads


@pytest.mark.parametrize(
    ("size", "root", "kind"),
    [
        (7, b"a", None),
        (7, b"b", errors.SealFork),
        (8, b"a", errors.TailMissing),
        (6, b"b", None),  # no checkpoint was met at that size: nothing to compare
    ],
)
def test_a_witness_objects_to_a_longer_or_another_history(
    size: int, root: bytes, kind: type[errors.SealBroken] | None
) -> None:
    witness = Witness("bus/a", "heads", 0, size, root, SYSTEM.now(), "")
    found = objection(witness, "bus/t/0", 7, {7: b"a"})
    assert (None if found is None else type(found)) is kind
