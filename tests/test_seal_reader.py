"""A reader returns exactly what the owner sealed, whoever writes to the topic."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_tapes import (
    BATCHES,
    DATUMS,
    FINGERPRINT,
    FIVE,
    KEY,
    ORIGIN,
    STRANGER,
    StubMessage,
    causes,
    ends,
    feed,
    finish,
    fresh,
    seal,
    takes,
)
from sinergi_schemas import errors
from sinergi_schemas.message import leaf_data
from sinergi_schemas.seal import checkpoint, skipped
from sinergi_schemas.seal.candidates import MOST_CANDIDATES_PER_LEAF, WINDOW
from sinergi_schemas.seal.checkpoint import SignedCheckpoint
from sinergi_schemas.seal.key_ring import KeyRing, KeySpan
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.seal.merkle import Frontier, leaf_hash, root_of
from sinergi_schemas.seal.reader import TreeReader
from sinergi_schemas.seal.writer import TreeWriter

# An honest topic


@settings(deadline=None)
@given(BATCHES)
def test_every_batch_of_an_honest_topic_is_verified_once(batches: list[list[bytes]]) -> None:
    tape = seal(batches)
    reader = fresh()
    verified = feed(reader, tape)
    assert [each.end for each in verified] == ends(tape)
    assert [each.start for each in verified] == [0, *ends(tape)[:-1]]
    for each in verified:
        assert each.root == root_of([leaf_hash(sent.data) for sent in tape[: each.end]])
        assert each.frontier.root() == each.root
        assert checkpoint.verify(each.note, ORIGIN, KeyRing.of(KEY.public)).size == each.end
    assert (reader.size, reader.pending, reader.resends) == (len(tape), 0, 0)


@settings(deadline=None)
@given(BATCHES, st.data())
def test_a_reader_may_start_at_any_checkpoint(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    tape = seal(batches)
    start = data.draw(st.sampled_from([0, *ends(tape)]))
    tree = Frontier.empty().extend(leaf_hash(sent.data) for sent in tape[:start])
    reader = fresh(tree)
    assert [each.end for each in feed(reader, tape[start:])] == [
        end for end in ends(tape) if end > start
    ]
    assert reader.frontier == Frontier.empty().extend(leaf_hash(sent.data) for sent in tape)


@settings(deadline=None)
@given(BATCHES, st.data())
def test_identical_resends_are_ignored_and_counted(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    tape = seal(batches)
    heard, at, resent = [], 0, 0
    while at < len(tape):
        heard.append(tape[at])
        at += 1
        back = data.draw(st.integers(min_value=0, max_value=at))
        heard += tape[at - back : at]
        resent += back
    reader = fresh()
    assert [each.end for each in feed(reader, heard)] == ends(tape)
    assert (reader.size, reader.resends) == (len(tape), resent)


def test_a_checkpoint_that_comes_with_the_resend_closes_the_batch() -> None:
    reader = fresh()
    feed(reader, [FIVE[0], replace(FIVE[1], sealed=None), FIVE[2]])
    assert (reader.size, reader.pending) == (0, 3)
    assert [each[:2] for each in feed(reader, [FIVE[1]])] == [(0, 2)]
    assert (reader.size, reader.pending) == (2, 1)
    assert [each[:2] for each in feed(reader, FIVE[3:])] == [(2, 5)]


def test_a_lost_checkpoint_is_made_good_by_the_next() -> None:
    reader = fresh()
    verified = feed(reader, [FIVE[0], replace(FIVE[1], sealed=None), *FIVE[2:]])
    assert [each[:2] for each in verified] == [(0, 5)]


@pytest.mark.parametrize("last", [1, 2, 3, 9])
def test_a_topic_is_read_across_the_replacement_of_its_owners_key(last: int) -> None:
    """Both sign up to the old one's last size; readers of either agreement follow as far."""
    new = SigningKey.generate(KEY.name)
    ring = KeyRing((KeySpan(KEY.public, last), KeySpan(new.public)))
    reader, before = TreeReader(ORIGIN, ring, Frontier.empty()), fresh()
    writer = TreeWriter(ORIGIN, [KEY], Frontier.empty())
    for size in range(1, 6):
        writer = TreeWriter(ORIGIN, ring.signers(ORIGIN, size, [KEY, new]), writer.frontier)
        data = leaf_data(FINGERPRINT, b"key", b"%d" % size)
        writer.add(data)
        sealed = writer.checkpoint()
        assert takes(reader, size - 1, leaf_hash(data), sealed)
        if size <= last:
            assert takes(before, size - 1, leaf_hash(data), sealed)


# Foreign messages: what no checkpoint covers decides nothing


@settings(deadline=None)
@given(BATCHES, st.data())
def test_forged_leaves_before_and_behind_the_true_ones_change_nothing(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    tape = seal(batches)
    heard: list[StubMessage] = []
    for sent in tape:
        for _ in range(data.draw(st.integers(min_value=0, max_value=2))):
            index = data.draw(st.integers(min_value=0, max_value=len(tape) + 2))
            heard.append(StubMessage(index, b"forged", data.draw(DATUMS)))
        heard.append(sent)
    reader = fresh()
    assert [each.end for each in finish(reader, heard)] == ends(tape)
    assert reader.frontier.root() == root_of([leaf_hash(sent.data) for sent in tape])


@pytest.mark.parametrize("before", [0, 1, 40])
def test_forged_copies_of_every_leaf_of_a_large_batch_change_nothing(before: int) -> None:
    tape = seal([[b"%d" % number for number in range(1_000)]])
    forged = [replace(sent, datum=b"forged", sealed=None) for sent in tape]
    heard = [*forged[:before], *tape[:500], *forged, *tape[500:]]
    reader = fresh()
    (verified,) = finish(reader, heard)
    assert [heard[at].datum for at in verified.offsets] == [sent.datum for sent in tape]
    assert causes(reader) == {skipped.ALTERED: 1_000}


def test_forged_copies_between_all_leaves_of_small_batches_change_nothing() -> None:
    tape = seal([[b"a"], [b"b"], [b"c", b"d"], [b"e"] * 5])
    heard = []
    for sent in tape:
        one, two = (replace(sent, datum=b"x%d" % number, sealed=None) for number in range(2))
        heard += [one, sent, two]
    reader = fresh()
    assert [each.end for each in finish(reader, heard)] == ends(tape)


def test_a_leaf_far_ahead_is_skipped_and_counted() -> None:
    reader = fresh()
    stray = StubMessage(WINDOW, b"stray", b"x"), StubMessage(10**17, b"stray", b"x")
    assert [each.end for each in finish(reader, [*stray, *FIVE])] == [2, 5]
    assert causes(reader) == {skipped.OUTSIDE: 2}
    ((first, index), (second, _)) = reader.skipped.causes[0].places
    assert (first, index, second) == (0, WINDOW, 1)


def test_a_stray_leaf_within_the_window_waits_for_its_turn() -> None:
    reader = fresh()
    assert [each.end for each in finish(reader, [StubMessage(4, b"stray", b"x"), *FIVE])] == [2, 5]
    assert causes(reader) == {skipped.ALTERED: 1}


def test_another_leaf_at_a_pending_index_is_skipped_at_the_checkpoint() -> None:
    reader = fresh()
    assert [each.end for each in finish(reader, [*FIVE[:4], replace(FIVE[3], datum=b"y"), FIVE[4]])]
    assert (reader.size, causes(reader)) == (5, {skipped.ALTERED: 1})


def test_another_leaf_under_a_sealed_index_is_told_from_a_resend_where_asked_for() -> None:
    heard = [*FIVE, FIVE[1], replace(FIVE[1], datum=b"another", sealed=None)]
    reader = TreeReader(ORIGIN, KeyRing((KeySpan(KEY.public),)), Frontier.empty(), compare=True)
    finish(reader, heard)
    assert (reader.resends, causes(reader)) == (1, {skipped.ALTERED: 1})
    assert reader.skipped.causes[0].places == [(6, 1)]


def test_messages_in_another_order_are_put_in_order_by_their_checkpoint() -> None:
    for order in permutations(range(5)):
        assert [each.end for each in finish(fresh(), [FIVE[at] for at in order])][-1] == 5


@pytest.mark.parametrize(
    "frontier",
    [(), (b"\0" * 32,), (b"\0" * 32, b"\0" * 32), (b"\0" * 32,) * 3],
    ids=len,
)
def test_a_changed_frontier_header_decides_nothing(frontier: tuple[bytes, ...]) -> None:
    sealed = FIVE[4].sealed
    assert sealed
    reader = fresh()
    changed = replace(FIVE[4], sealed=SignedCheckpoint(sealed.note, frontier))
    assert [each.end for each in finish(reader, [*FIVE[:4], changed])] == [2, 5]
    assert causes(reader) == {skipped.FALSE_FRONTIER: 1}


def foreign_seals() -> list[SignedCheckpoint]:
    """Checkpoints that are none of this owner and origin."""
    receipts = SigningKey.generate(KEY.name, Algorithm.COSIGNATURE)
    found = [SignedCheckpoint("no note", ()), SignedCheckpoint("", ())]
    for origin in (
        ORIGIN[:-1] + "1",
        "sinergi.example/sinergi.lapas-banyuwangi.seizure/0",
        "sinergi.example/sinergi.bnnk-banyuwangi.transfer/0",
        "other.example/sinergi.lapas-banyuwangi.transfer/0",
    ):
        found += [each.sealed for each in seal([[b"a"]], origin=origin) if each.sealed]
    (by_stranger,) = [each.sealed for each in seal([[b"a"]], key=STRANGER) if each.sealed]
    only_receipt = SignedCheckpoint(
        checkpoint.cosign(by_stranger.note, receipts, 1), by_stranger.frontier
    )
    return [*found, by_stranger, only_receipt]


@pytest.mark.parametrize("sealed", foreign_seals(), ids=range(8))
def test_a_checkpoint_that_is_not_the_owners_decides_nothing_wherever_it_stands(
    sealed: SignedCheckpoint,
) -> None:
    for at in range(5):
        reader = fresh()
        stray = replace(FIVE[at], sealed=sealed)
        assert [each.end for each in finish(reader, [*FIVE[:at], stray, *FIVE[at:]])] == [2, 5]
        assert [cause.partition(" (")[0] for cause in causes(reader)] == [
            skipped.FOREIGN_CHECKPOINT
        ]
    assert finish(fresh(), seal([[b"a", b"b"]], key=STRANGER)) == []


def test_a_reader_keeps_no_signature_but_its_owners() -> None:
    """A false line under a reader's own name would spoil the receipt that the reader gives."""
    (last,) = [each.sealed for each in FIVE[4:] if each.sealed]
    receipts = SigningKey.generate("sinergi.example/bnnk/main", Algorithm.COSIGNATURE)
    spoilt = checkpoint.cosign(last.note, receipts, 1)
    changed = replace(FIVE[4], sealed=replace(last, note=spoilt))
    found = finish(fresh(), [*FIVE[:4], changed])
    assert [each.end for each in found] == [2, 5]
    assert found[-1].note == last.note != spoilt


def test_an_old_checkpoint_under_a_later_leaf_decides_nothing() -> None:
    reader = fresh()
    finish(reader, [*FIVE[:4], replace(FIVE[4], sealed=FIVE[1].sealed)])
    assert (reader.size, reader.pending) == (2, 3)
    finish(reader, FIVE[4:])
    assert reader.size == 5


def test_a_later_checkpoint_under_an_earlier_leaf_holds_once_its_leaves_are_there() -> None:
    reader = fresh()
    feed(reader, [*FIVE[:3], replace(FIVE[3], sealed=FIVE[4].sealed)])
    assert (reader.size, type(reader.unresolved)) == (2, errors.SealGap)
    assert [each.end for each in finish(reader, [replace(FIVE[4], sealed=None)])] == [5]


def test_a_valid_checkpoint_copied_onto_a_forged_leaf_holds_once_the_true_one_is_there() -> None:
    reader = fresh()
    feed(reader, [*FIVE[:4], replace(FIVE[4], datum=b"forged")])
    assert (reader.size, type(reader.unresolved)) == (2, errors.SealMismatch)
    assert [each.end for each in finish(reader, [FIVE[4]])] == [5]


def test_a_checkpoint_that_was_tried_in_vain_holds_though_more_keeps_arriving() -> None:
    reader = fresh()
    feed(reader, [replace(FIVE[1], datum=b"forged"), replace(FIVE[0], datum=b"forged")])
    assert [each.end for each in feed(reader, [*FIVE, replace(FIVE[4], index=9)])] == [2, 5]


def test_candidates_are_bounded_whatever_arrives() -> None:
    reader = fresh()
    feed(reader, (StubMessage(at % 7, b"f", b"%d" % at) for at in range(5_000)))
    kept = reader._candidates
    assert sum(map(len, kept._others.values())) <= 7 * MOST_CANDIDATES_PER_LEAF
    assert [each.end for each in finish(reader, FIVE)] == [2, 5]
