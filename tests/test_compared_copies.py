"""A verdict is about the audited copy alone, and the comparison names the leaf that differs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from agency_pair import BUS, AgencyPair, transfer
from foreign_messages import false_seal_of, leaf
from sinergi.cli import root
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.comparison import why_no_copy
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import ReplayCounts
from sinergi_schemas import errors
from sinergi_schemas.plain_text import leaf_range
from sinergi_schemas.topics import Topic
from test_audit import COUNT, SEAL, audited, copied, messages, nothing, pair, shared, whole, wire
from test_replay import one_byte_changed
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Message

    from foreign_messages import Headers

__all__ = ["pair", "shared"]


class RawMessage:
    """A message as it is written."""

    def __init__(self, value: bytes | None, key: bytes | None, headers: Headers) -> None:
        self._wire = value, key, headers

    def value(self) -> bytes | None:
        return self._wire[0]

    def key(self) -> bytes | None:
        return self._wire[1]

    def headers(self) -> Any:
        return self._wire[2]


def raw(value: bytes | None, key: bytes | None, headers: Headers) -> Any:
    return RawMessage(value, key, headers)


def forged_before(index: int) -> Callable[[list[Message]], list[Any]]:
    """Put a forged message with the index of a leaf before all messages."""
    return lambda all_: [raw(*leaf(index)), *all_]


def dropped(index: int) -> Callable[[list[Message]], list[Message]]:
    return lambda all_: [*all_[:index], *all_[index + 1 :]]


def unsealed(all_: list[Message]) -> list[Any]:
    """Remove the owner's checkpoints."""
    found = []
    for each in all_:
        value, key, headers = wire(each)
        found.append(raw(value, key, [one for one in headers if one[0] not in SEAL]))
    return found


def replayed(
    pair: AgencyPair, capfd: pytest.CaptureFixture[str], *options: str
) -> tuple[int, dict[str, Any], str]:
    """The exit status of a replay, its JSON document and its standard error."""
    capfd.readouterr()
    command = ["--config", str(pair.reader_settings), "replay", pair.topic.name, "--json"]
    status = root.run([*command, *options])
    out, err = capfd.readouterr()
    (document,) = json.loads(out)
    return status, document, err


def test_an_intact_topic_is_not_discredited_by_a_broken_copy(
    pair: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = copied(pair, whole, one_byte_changed(3))
    status, document, err = replayed(pair, capfd, "--against", copy)
    sealed = f"{pair.topic.name} is what {pair.publisher} sealed"
    verdict = f"{sealed}; the other copy, {copy}, is not: leaf 3 of partition 1 differs"
    assert (status, document["holds"], document["findings"]) == (0, True, [])
    assert err.splitlines()[-1] == f"verdict: {verdict}" == f"verdict: {document['verdict']}"
    (finding,) = document["compared"]["findings"]
    assert (finding["partition"], finding["leaf"], finding["leaf_is_missing"]) == (1, 3, False)
    assert "lacks the last" not in err

    status, document, err = replayed(pair, capfd, "--copy", copy, "--against", pair.topic.name)
    assert (status, document["holds"]) == (1, False)
    (finding,) = document["findings"]
    assert (finding["partition"], finding["leaf"], finding["leaf_is_missing"]) == (1, 3, False)
    assert document["compared"]["findings"] == []


def test_a_comparison_is_advised_only_where_none_was_asked_for(
    shared: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    copy, name = copied(shared, whole, one_byte_changed(3)), shared.topic.name
    advice = "`sinergi replay --against` another copy names it"
    assert advice in replayed(shared, capfd, "--copy", copy)[2]
    for other, options in (
        (name, ("--copy", copy, "--against", name)),
        (name, ("--against", copy)),
    ):
        _, _, err = replayed(shared, capfd, *options)
        assert "are not those under its checkpoint" in err
        assert advice not in err
        assert f"the comparison with {other} names it, if that copy has these leaves" in err


def test_a_broken_copy_of_which_no_leaf_is_valid_leaves_the_verdict_as_it_is(
    shared: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = copied(shared, one_byte_changed(0), one_byte_changed(0))
    status, document, err = replayed(shared, capfd, "--against", copy)
    assert (status, document["holds"]) == (0, True)
    assert "leaf 0 of partition 0 differs (and 1 more finding)" in err.splitlines()[-1]


def test_a_forged_message_with_the_index_of_a_leaf_is_not_taken_for_the_leaf(
    shared: AgencyPair,
) -> None:
    forged = copied(shared, whole, forged_before(5), stem="forged")
    _, verdict = audited(shared, Copies(against=forged))
    assert (verdict.findings, verdict.other_findings, verdict.compared) == ([], [], COUNT)

    changed = copied(shared, whole, one_byte_changed(7), stem="changed")
    _, verdict = audited(shared, Copies(changed, forged))
    assert [str(each.difference) for each in verdict.findings] == ["leaf 7 of partition 1 differs"]

    both = copied(
        shared,
        whole,
        lambda all_: [raw(*leaf(5)), *one_byte_changed(7)(all_)],
        stem="both",
    )
    _, verdict = audited(shared, Copies(both, shared.topic.name))
    assert verdict.findings[0].remarks[-1] == f"compared with {shared.topic.name}: leaf 7 differs"
    _, verdict = audited(shared, Copies(against=both))
    assert [each.summary for each in verdict.other_findings] == ["leaf 7 of partition 1 differs"]


def test_leaves_that_arrive_in_both_copies_during_the_audit_are_not_said_to_be_cut_off(
    pair: AgencyPair,
) -> None:
    copy = copied(pair, whole, whole)
    audit = Audit(pair.bus, pair.topic, Copies(against=copy))
    frames = audit.events(ReplayFilter())
    next(frames)  # the end of partition 0 is set now
    pair.publish(*(transfer(f"Q/{number}") for number in range(10)))
    with pair.relaying():
        pair.until(lambda: all_sent(pair, COUNT + 10), "all sent")
    producer = Producer({"bootstrap.servers": pair.kafka})
    for number in range(2):
        for each in messages(pair, number):
            value, key, headers = wire(each)
            producer.produce(copy, value, key, number, headers=headers)
    assert producer.flush(PATIENCE_SECONDS) == 0
    for _ in frames:
        pass
    assert audit.verdict.findings == audit.verdict.other_findings == []
    assert audit.partition_counts[0].verified < len(messages(pair, 0))


def all_sent(pair: AgencyPair, count: int) -> bool:
    sent = "SELECT sum(sent_size) FROM sinergi_producer.tree"
    return pair.ask(sent, pair.producer) == [(count,)]


def test_a_leaf_that_a_copy_lacks_is_said_to_be_missing(
    shared: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = copied(shared, whole, dropped(3))
    status, document, err = replayed(shared, capfd, "--copy", copy, "--against", shared.topic.name)
    assert status == 1
    assert "leaf 3 is missing here and present there" in err
    assert document["findings"][0]["leaf_is_missing"]
    status, _, err = replayed(shared, capfd, "--against", copy)
    assert status == 0
    assert err.splitlines()[-1].endswith("is not: leaf 3 of partition 1 is missing")


def test_leaves_without_their_checkpoint_are_not_said_to_be_cut_off(
    shared: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    size = len(messages(shared, 1))
    copy = copied(shared, whole, unsealed)
    what = f"has {size} leaves, but only 0 of them are covered by a valid checkpoint"
    status, _, err = replayed(shared, capfd, "--copy", copy)
    assert status == 1
    assert what in err
    assert "cut off" not in err
    status, document, err = replayed(shared, capfd, "--against", copy)
    assert (status, document["holds"]) == (0, True)
    assert what in document["compared"]["findings"][0]["why"]
    assert "lacks the last" not in err


def test_an_owners_signature_on_another_tree_in_a_broken_copy_shows_another_history(
    shared: AgencyPair,
) -> None:
    """The leaves under it are missing there; the signature alone is the proof."""
    size = len(messages(shared, 1))
    forked = false_seal_of(shared.key, shared.topic.name, 1, size, b"x" * 32)
    copy = copied(shared, whole, lambda _: [raw(*leaf(size - 1, sealed=forked))])
    _, verdict = audited(shared, Copies(against=copy))
    (finding,) = verdict.findings
    assert f"shows two histories of {size} leaves" in finding.why


def exchanged(pair: AgencyPair) -> str:
    """A copy with the messages of each partition in the other one."""
    return copied(pair, lambda _: messages(pair, 1), lambda _: messages(pair, 0), stem="exchanged")


def of_another_topic(pair: AgencyPair) -> str:
    """A copy of messages whose checkpoints have the origin of another topic."""
    other = pair.topic.name.replace("transfer", "seizure")

    def sealed(number: int) -> Callable[[list[Message]], list[Any]]:
        seal = false_seal_of(pair.key, other, number, 1, b"x" * 32)
        return lambda _: [raw(*leaf(0, sealed=seal))]

    return copied(pair, sealed(0), sealed(1), stem="other")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (exchanged, "its partitions are exchanged, partition 0 has those of {topic}/1"),
        (of_another_topic, "its checkpoints are of {other}/0, {other}/1"),
    ],
)
def test_what_is_no_copy_of_the_topic_is_neither_proved_nor_disproved(
    shared: AgencyPair,
    capfd: pytest.CaptureFixture[str],
    make: Callable[[AgencyPair], str],
    why: str,
) -> None:
    copy = make(shared)
    name = shared.topic.name
    why = why.format(topic=name, other=name.replace("transfer", "seizure"))
    status, document, err = replayed(shared, capfd, "--copy", copy)
    assert (status, document["holds"], document["findings"]) == (2, None, [])
    assert f"it is no copy of {name}: {why}" in err.splitlines()[-1]
    assert "cut off" not in err
    status, document, err = replayed(shared, capfd, "--against", copy)
    assert (status, document["holds"]) == (2, None)
    assert f"{copy} is no copy of {name}: {why}" in err.splitlines()[-1]


def test_one_partition_with_messages_of_another_is_an_attack_and_disproves_the_copy(
    shared: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = copied(shared, whole, lambda _: messages(shared, 0))
    status, document, _ = replayed(shared, capfd, "--copy", copy)
    assert (status, document["holds"]) == (1, False)
    empty = copied(shared, nothing, nothing, stem="empty")
    status, document, _ = replayed(shared, capfd, "--copy", empty)
    assert (status, document["holds"]) == (1, False)


A, B, C, X = (f"{BUS}/sinergi.lapas-x.transfer/{number}" for number in (0, 1, 2, 7))


@pytest.mark.parametrize(
    ("origins", "is_copy"),
    [
        ([{A}, {B}, {C}], True),
        ([set(), set(), set()], True),
        ([{A, X}, {B}, set()], True),
        ([{A}, {A}, {C}], True),  # one partition was replaced
        ([{A}, {C}, {B}], False),
        ([{B}, {C}, {A}], False),
        ([{B}, set(), set()], False),
        ([{X}, {X}, set()], False),
        ([{A, B}, {A}, {C}], True),  # a message of another partition was added to the first one
    ],
)
def test_a_copy_is_recognised_by_the_origins_of_its_checkpoints(
    origins: list[set[str]], *, is_copy: bool
) -> None:
    partitions = [ReplayCounts(at, origins=each) for at, each in enumerate(origins)]
    assert (why_no_copy(Topic("lapas-x", "transfer"), BUS, partitions) == "") is is_copy


def test_one_leaf_is_named_as_one() -> None:
    assert (leaf_range(3, 4), leaf_range(3, 5)) == ("leaf 3", "leaves 3 to 4")
    assert "at leaf 3 are not those" in str(errors.SealMismatch("bus/t/0", 3, 4))
    assert "at leaves 3 to 4 are" in str(errors.SealMismatch("bus/t/0", 3, 5))
