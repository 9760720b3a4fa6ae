"""The ends of topics in `sinergi status`: cut off, hidden, or impossible to determine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from agency_pair import AgencyPair, transfer
from foreign_messages import write_all
from sinergi.status import broker
from sinergi.status.facts import ShownLeaves
from sinergi.status.judgement import judge
from sinergi_schemas import topics
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.leaf_search import claimed_leaf
from test_moved_topics import deleted, held, made
from test_status import (
    TOPIC,
    Operator,
    kinds,
    operator,
    publishing,
    reading,
    shares,
    until_sent,
)
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from confluent_kafka import Message

__all__ = ["operator"]

SHORT = "topic shows less than is materialised: cut off, restored, or written to by others"


def published(pair: AgencyPair, stem: str, count: int) -> None:
    pair.publish(*(transfer(f"{stem}/{number}") for number in range(count)))


def partitions(pair: AgencyPair) -> list[list[Message]]:
    return [held(pair, pair.topic.name, number) for number in range(pair.partitions)]


def appended(pair: AgencyPair, kept: Sequence[Sequence[Message]], times: int = 1) -> None:
    """Put messages as they are behind the others of their partitions."""
    for number, messages in enumerate(kept):
        wire = [(each.value(), each.key(), [*(each.headers() or ())]) for each in messages]
        write_all(pair, number, wire * times)


def appended_last(pair: AgencyPair, kept: Sequence[Sequence[Message]], times: int) -> None:
    """Put the last message of each partition, which bears a checkpoint, behind the others."""
    appended(pair, [messages[-1:] for messages in kept], times)


def available(document: dict[str, Any]) -> list[int | None]:
    return [each["available"] for each in shares(document)]


def signed(operator: Operator, count: int) -> bool:
    return sum(each["signed"] or 0 for each in shares(operator.reader())) == count


def test_old_messages_at_the_end_of_a_topic_neither_cut_it_nor_hide_what_waits(
    operator: Operator,
) -> None:
    pair = operator.pair
    with pair.relaying():
        with pair.materialising():
            published(pair, "P", 20)
            pair.until_rows("sinergi.transfer_history", 20)
        old = partitions(pair)
        published(pair, "Q", 80)
        until_sent(pair, 100)
        pair.until(lambda: signed(operator, 100), "the heads are there")
        appended_last(pair, old, broker.FIRST_MESSAGES + 10)
        document = operator.reader()
    assert sum(each or 0 for each in available(document)) == 100
    assert kinds(document) == {"no-materialiser"}
    assert document["lines"][0].startswith("80 events of ")
    assert all(each["seconds_behind"] > 0 for each in shares(document))


def test_however_many_old_messages_lie_at_the_end_what_is_materialised_is_found(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the place where reading goes on; where that does not hold, nothing can be told."""
    pair = operator.pair
    with pair.relaying(), pair.materialising():
        published(pair, "P", 20)
        pair.until_rows("sinergi.transfer_history", 20)
        old = partitions(pair)
        published(pair, "Q", 80)
        pair.until_rows("sinergi.transfer_history", 100)
        pair.until(lambda: signed(operator, 100), "the heads are there")
        monkeypatch.setattr(broker, "MOST_MESSAGES", broker.FIRST_MESSAGES)
        appended_last(pair, old, broker.FIRST_MESSAGES + 10)
        assert operator.reader()["exit_status"] == 0
        with pair.consumer.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE sinergi_consumer.position SET cluster_id = 'another'"
            )
        document = operator.reader()
    assert document["exit_status"] == 2
    assert kinds(document) == {"undecided"}
    assert "all is well" not in document["lines"][0]
    assert "it is not known whether" in document["lines"][0]
    assert available(document) == [None, None]
    assert [each["at_least"] for each in shares(document)] == [len(each) for each in old]


def test_an_old_copy_of_a_topic_and_of_its_owners_heads_is_told_by_what_is_materialised(
    operator: Operator,
) -> None:
    """The brokers' operator puts both back: status says so, and a materialiser's log."""
    pair = operator.pair
    control = topics.control_topic(pair.publisher)
    with pair.relaying(), pair.materialising():
        published(pair, "P", 20)
        pair.until_rows("sinergi.transfer_history", 20)
        old = partitions(pair)
        published(pair, "Q", 40)
        pair.until_rows("sinergi.transfer_history", 60)
    admin = open_admin(pair.connection)
    deleted(pair)
    for gone in admin.delete_topics([control]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    pair.until(lambda: not describe(admin, [control]), "the heads are gone")
    made(pair)
    appended(pair, old)
    with capture_logs() as logs, pair.materialising():
        pair.until(lambda: sum(each["event"] == SHORT for each in logs) == 2, "it is told")
        pair.until(lambda: operator.reader()["reading"]["workers"] == 1, "it is in the group")
        document = operator.reader()
    assert document["exit_status"] == 1
    assert kinds(document) == {"cut"}
    for each, line in zip(shares(document), document["lines"], strict=False):
        known = max(each["materialised"].values())
        assert f"where this database has verified {known} under its owner's seal" in line
        assert each["available"] < known
    told = {(each["partition"], each["shown"]) for each in logs if each["event"] == SHORT}
    assert told == {(number, len(messages)) for number, messages in enumerate(old)}


def test_a_hole_in_a_topic_is_named_to_owner_and_readers_also_after_new_events(
    operator: Operator,
) -> None:
    """A topic was created again with its first leaves only, and the relay sends on behind them."""
    pair = operator.pair
    with pair.relaying(), pair.materialising():
        published(pair, "P", 40)
        pair.until_rows("sinergi.transfer_history", 40)
    kept = [messages[:5] for messages in partitions(pair)]
    deleted(pair)
    made(pair)
    appended(pair, kept)
    owner = operator.publisher()
    assert {"cut", "no-relay"} == kinds(owner)
    assert "where the broker has confirmed" in owner["lines"][0]
    with pair.relaying():
        published(pair, "Q", 40)
        until_sent(pair, 80)
    leaves = [{claimed_leaf(each): each for each in messages} for messages in partitions(pair)]
    deleted(pair)
    made(pair)
    holed = [[of[leaf] for leaf in range(len(of)) if leaf not in range(5, 15)] for of in leaves]
    appended(pair, holed)
    for document in (operator.publisher(), operator.reader()):
        cut = [each["what"] for each in document["problems"] if each["kind"] == "cut"]
        assert len(cut) == pair.partitions
        assert all("lacks 10 of " in each for each in cut)
        assert document["exit_status"] == 1


def test_a_control_topic_that_is_not_there_is_named_to_its_owner(operator: Operator) -> None:
    control = topics.control_topic(operator.pair.publisher)
    admin = open_admin(operator.pair.connection)
    for gone in admin.delete_topics([control]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    operator.pair.until(lambda: not describe(admin, [control]), "the heads are gone")
    document = operator.publisher()
    assert kinds(document) == {"topic", "no-relay"}
    assert f"{control} is not on the broker: run `sinergi provision" in document["lines"][0]


def test_a_topic_lacks_leaves_where_it_has_fewer_messages_or_begins_with_another_leaf() -> None:
    for facts in (reading, publishing):
        short = judge(facts(shown=ShownLeaves(10, is_complete=True, messages=6)))
        assert [each.kind for each in short.problems] == ["cut"]
        assert short.lines[0].startswith(f"{TOPIC}/0 lacks 4 of 10 leaves: it has only 6 messages;")
        late = judge(facts(shown=ShownLeaves(10, is_complete=True, messages=12, first_leaf=3)))
        assert late.lines[0].startswith(f"{TOPIC}/0 lacks its first 3 leaves: ")
        assert late.exit_status == 1
        unsure = judge(
            facts(
                shown=ShownLeaves(
                    10, is_complete=True, messages=12, first_leaf=3, is_searched=False
                )
            )
        )
        assert unsure.exit_status == 0
        (remark,) = unsure.remarks
        assert remark.startswith(f"{TOPIC}/0 begins with leaf 3 and not with leaf 0: only `sinergi")
        assert (
            judge(facts(shown=ShownLeaves(10, is_complete=True, messages=12)))
            .lines[0]
            .startswith("all is well")
        )


def test_an_owner_sees_that_a_topic_of_its_own_was_cut_off() -> None:
    verdict = judge(publishing(shown=ShownLeaves(4, is_complete=True, messages=4)))
    assert (verdict.exit_status, [each.kind for each in verdict.problems]) == (1, ["cut"])
    said = f"{TOPIC}/0 shows 4 leaves where the broker has confirmed 10: its end was cut off"
    assert verdict.lines[0].startswith(said)
    unsure = judge(publishing(shown=ShownLeaves(4, is_complete=False, messages=20_000)))
    assert unsure.exit_status == 2
    assert f"not known whether {TOPIC}/0 is complete" in unsure.lines[0]


def test_a_topic_is_cut_off_where_it_shows_less_than_was_signed_or_verified() -> None:
    verdict = judge(reading(available=4))
    assert (verdict.exit_status, [each.kind for each in verdict.problems]) == (1, ["cut"])
    assert verdict.lines[0].startswith(f"{TOPIC}/0 shows 4 leaves where its owner signed 10: its")
    for less in (4, None):
        verdict = judge(reading(available=4, signed=less))
        assert verdict.exit_status == 1
        said = f"{TOPIC}/0 shows 4 leaves where this database has verified 10 under its owner's"
        assert verdict.lines[0].startswith(said)


def test_what_is_undecided_is_neither_well_nor_cut_off_and_hides_nothing_that_is_certain() -> None:
    undecided = reading(available=None, at_least=4, seconds_behind=None)
    verdict = judge(undecided)
    assert (verdict.exit_status, [each.kind for each in verdict.problems]) == (2, ["undecided"])
    (line,) = verdict.lines
    said = "is complete: its last messages show 4 leaves where its owner signed 10;"
    assert f"not known whether {TOPIC}/0 {said}" in line
    nothing = judge(reading(available=None, at_least=0, signed=None, materialised={}))
    assert nothing.exit_status == 2
    assert "show 0 leaves; others have written there" in nothing.lines[0]
    held_up = judge(reading(available=None, at_least=4, quarantined={"datum-invalid": 1}))
    assert held_up.exit_status == 1
    assert [each.kind for each in held_up.problems] == ["undecided", "quarantined"]
