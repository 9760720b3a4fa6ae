"""The ends of topics as `sinergi status` sees them: cut off, hidden, or not to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from foreign import write_all
from sinergi.status import broker
from sinergi.status.judgement import judge
from sinergi_schemas import topics
from sinergi_schemas.kafka.admin import describe, open_admin
from test_moved import deleted, held, made
from test_status import TOPIC, Desk, desk, kinds, reading, shares, until_sent
from waiting import PATIENCE_SECONDS
from world import World, transfer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from confluent_kafka import Message

__all__ = ["desk"]

SHORT = "topic shows less than is materialised: cut off, restored, or written to by others"


def published(world: World, stem: str, count: int) -> None:
    world.publish(*(transfer(f"{stem}/{number}") for number in range(count)))


def partitions(world: World) -> list[list[Message]]:
    return [held(world, world.topic.name, number) for number in range(world.partitions)]


def appended(world: World, kept: Sequence[Sequence[Message]], times: int = 1) -> None:
    """Put messages as they are behind the others of their partitions."""
    for number, messages in enumerate(kept):
        wire = [(each.value(), each.key(), [*(each.headers() or ())]) for each in messages]
        write_all(world, number, wire * times)


def appended_last(world: World, kept: Sequence[Sequence[Message]], times: int) -> None:
    """Put the last message of each partition, which bears a checkpoint, behind the others."""
    appended(world, [messages[-1:] for messages in kept], times)


def available(document: dict[str, Any]) -> list[int | None]:
    return [each["available"] for each in shares(document)]


def signed(desk: Desk, count: int) -> bool:
    return sum(each["signed"] or 0 for each in shares(desk.reader())) == count


def test_old_messages_at_the_end_of_a_topic_neither_cut_it_nor_hide_what_waits(desk: Desk) -> None:
    world = desk.world
    with world.relaying():
        with world.materialising():
            published(world, "P", 20)
            world.until_rows("sinergi.transfer_history", 20)
        old = partitions(world)
        published(world, "Q", 80)
        until_sent(world, 100)
        world.until(lambda: signed(desk, 100), "the heads are there")
        appended_last(world, old, broker.FIRST_MESSAGES + 10)
        document = desk.reader()
    assert sum(each or 0 for each in available(document)) == 100
    assert kinds(document) == {"no-materialiser"}
    assert document["lines"][0].startswith("80 events of ")
    assert all(each["seconds_behind"] > 0 for each in shares(document))


def test_however_many_old_messages_lie_at_the_end_what_is_materialised_is_found(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the place where reading goes on; where that does not hold, nothing can be told."""
    world = desk.world
    with world.relaying(), world.materialising():
        published(world, "P", 20)
        world.until_rows("sinergi.transfer_history", 20)
        old = partitions(world)
        published(world, "Q", 80)
        world.until_rows("sinergi.transfer_history", 100)
        world.until(lambda: signed(desk, 100), "the heads are there")
        monkeypatch.setattr(broker, "MOST_MESSAGES", broker.FIRST_MESSAGES)
        appended_last(world, old, broker.FIRST_MESSAGES + 10)
        assert desk.reader()["exit_status"] == 0
        with world.consumer.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE sinergi_consumer.position SET cluster_id = 'another'"
            )
        document = desk.reader()
    assert document["exit_status"] == 2
    assert kinds(document) == {"untold"}
    assert "all is well" not in document["lines"][0]
    assert "cannot be told" in document["lines"][0]
    assert available(document) == [None, None]
    assert [each["at_least"] for each in shares(document)] == [len(each) for each in old]


def test_an_old_copy_of_a_topic_and_of_its_owners_heads_is_told_by_what_is_materialised(
    desk: Desk,
) -> None:
    """The brokers' operator puts both back: status says so, and a materialiser's log."""
    world = desk.world
    control = topics.control_topic(world.publisher)
    with world.relaying(), world.materialising():
        published(world, "P", 20)
        world.until_rows("sinergi.transfer_history", 20)
        old = partitions(world)
        published(world, "Q", 40)
        world.until_rows("sinergi.transfer_history", 60)
    admin = open_admin(world.connection)
    deleted(world)
    for gone in admin.delete_topics([control]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    world.until(lambda: not describe(admin, [control]), "the heads are gone")
    made(world)
    appended(world, old)
    with capture_logs() as logs, world.materialising():
        world.until(lambda: sum(each["event"] == SHORT for each in logs) == 2, "it is told")
        world.until(lambda: desk.reader()["reading"]["workers"] == 1, "it is in the group")
        document = desk.reader()
    assert document["exit_status"] == 1
    assert kinds(document) == {"cut"}
    for each, line in zip(shares(document), document["lines"], strict=False):
        known = max(each["materialised"].values())
        assert f"where this database has verified {known} under its owner's seal" in line
        assert each["available"] < known
    told = {(each["partition"], each["shown"]) for each in logs if each["event"] == SHORT}
    assert told == {(number, len(messages)) for number, messages in enumerate(old)}


def test_a_topic_is_cut_off_where_it_shows_less_than_was_signed_or_verified() -> None:
    verdict = judge(reading(available=4))
    assert (verdict.exit_status, [each.kind for each in verdict.problems]) == (1, ["cut"])
    assert verdict.lines[0].startswith(f"{TOPIC}/0 shows 4 leaves where its owner signed 10: its")
    for less in (4, None):
        verdict = judge(reading(available=4, signed=less))
        assert verdict.exit_status == 1
        said = f"{TOPIC}/0 shows 4 leaves where this database has verified 10 under its owner's"
        assert verdict.lines[0].startswith(said)


def test_what_cannot_be_told_is_neither_well_nor_cut_off_and_hides_nothing_that_is_certain() -> (
    None
):
    untold = reading(available=None, at_least=4, seconds_behind=None)
    verdict = judge(untold)
    assert (verdict.exit_status, [each.kind for each in verdict.problems]) == (2, ["untold"])
    (line,) = verdict.lines
    said = "is whole cannot be told: its last messages show 4 leaves where its owner signed 10;"
    assert f"whether {TOPIC}/0 {said}" in line
    nothing = judge(reading(available=None, at_least=0, signed=None, materialised={}))
    assert nothing.exit_status == 2
    assert "show 0 leaves; others have written there" in nothing.lines[0]
    held_up = judge(reading(available=None, at_least=4, quarantined={"datum-invalid": 1}))
    assert held_up.exit_status == 1
    assert [each.kind for each in held_up.problems] == ["untold", "quarantined"]
