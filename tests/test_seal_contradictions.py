"""A reader refuses what contradicts the owner's checkpoints, and says where."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_tapes import (
    BATCHES,
    FIVE,
    KEY,
    ORIGIN,
    StubMessage,
    end_before,
    ends,
    feed,
    finish,
    fresh,
    seal,
)
from sinergi_schemas import errors
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.merkle import Frontier, leaf_hash
from sinergi_schemas.seal.reader import MOST_KNOWN_ROOTS


@settings(deadline=None)
@given(BATCHES, st.data())
def test_a_dropped_message_is_a_gap_and_what_follows_is_not_given_out(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    tape = seal(batches)
    at = data.draw(st.integers(min_value=0, max_value=len(tape) - 1))
    held_back = not any(end > at for end in ends(tape[:at] + tape[at + 1 :]))
    reader = fresh()
    if held_back:
        finish(reader, tape[:at] + tape[at + 1 :])
    else:
        with pytest.raises(errors.SealGap) as refused:
            finish(reader, tape[:at] + tape[at + 1 :])
        assert refused.value.index == at
    assert reader.size == end_before(tape, at)


@settings(deadline=None)
@given(BATCHES, st.data())
def test_a_cut_off_tail_stays_pending_and_is_never_verified(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    tape = seal(batches)
    cut = data.draw(st.integers(min_value=0, max_value=len(tape) - 1))
    reader = fresh()
    finish(reader, tape[:cut])
    assert reader.size == end_before(tape, cut)
    assert reader.pending == cut - reader.size


@settings(deadline=None)
@given(BATCHES.filter(lambda batches: sum(map(len, batches)) > 1), st.data())
def test_messages_that_exchange_their_leaves_are_refused_by_batch(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    tape = seal(batches)
    at = data.draw(st.integers(min_value=0, max_value=len(tape) - 2))
    one, two = tape[at], tape[at + 1]
    swapped = [
        replace(one, key=two.key, datum=two.datum),
        replace(two, key=one.key, datum=one.datum),
    ]
    reader = fresh()
    with pytest.raises(errors.SealMismatch) as refused:
        finish(reader, [*tape[:at], *swapped, *tape[at + 2 :]])
    assert refused.value.start <= at < refused.value.end
    assert reader.size == refused.value.start == end_before(tape, at)


@settings(deadline=None)
@given(BATCHES, st.sampled_from(["fingerprint", "key", "datum", "border"]), st.data())
def test_a_changed_key_fingerprint_or_value_names_its_batch(
    batches: list[list[bytes]], what: str, data: st.DataObject
) -> None:
    tape = seal(batches)
    at = data.draw(st.integers(min_value=0, max_value=len(tape) - 1))
    sent = tape[at]
    if what == "border":  # the last byte of the key becomes the first one of the value
        changed = replace(sent, key=sent.key[:-1], datum=sent.key[-1:] + sent.datum)
    else:
        old = bytes(getattr(sent, what)) or b"\0"
        bit = data.draw(st.integers(min_value=0, max_value=len(old) * 8 - 1))
        new = bytearray(old)
        new[bit // 8] ^= 1 << bit % 8
        changed = replace(sent, **{what: bytes(new)})  # type: ignore[arg-type]
    reader = fresh()
    with pytest.raises(errors.SealMismatch) as refused:
        finish(reader, [*tape[:at], changed, *tape[at + 1 :]])
    end = min(end for end in ends(tape) if end > at)
    assert (refused.value.start, refused.value.end) == (end_before(tape, at), end)
    assert reader.size == end_before(tape, at)


@pytest.mark.parametrize("index", [0, 2, 4, 10**17])
def test_a_changed_index_header_leaves_a_gap_that_is_named(index: int) -> None:
    reader = fresh()
    with pytest.raises(errors.SealGap) as refused:
        finish(reader, [*FIVE[:3], replace(FIVE[3], index=index), FIVE[4]])
    assert (refused.value.index, reader.size) == (3, 2)


def test_a_message_put_in_with_all_others_moved_up_is_refused_at_the_checkpoint() -> None:
    moved = [replace(each, index=each.index + 1) for each in FIVE[2:]]
    reader = fresh()
    with pytest.raises(errors.SealMismatch):
        finish(reader, [*FIVE[:2], StubMessage(2, b"record-2", b"never published"), *moved])
    assert reader.size == 2


def test_a_checkpoint_that_covers_more_than_the_window_is_refused() -> None:
    wide = seal([[b"x"] * (WINDOW + 1), [b"y"]])
    reader = fresh()
    with pytest.raises(errors.CheckpointTooWide) as refused:
        finish(reader, wide)
    assert (refused.value.size, refused.value.known, reader.size) == (WINDOW + 1, 0, 0)
    assert [each.end for each in finish(fresh(), seal([[b"x"] * WINDOW]))] == [WINDOW]


@pytest.mark.parametrize("cut", [1, WINDOW, WINDOW + 500])
def test_messages_deleted_at_the_beginning_are_missing_and_not_a_checkpoint_that_is_too_wide(
    cut: int,
) -> None:
    sealed = seal([[b"x"] * 4_000] * 2)
    reader = fresh()
    with pytest.raises(errors.SealGap) as refused:
        finish(reader, sealed[cut:])
    assert (refused.value.index, reader.size) == (0, 0)


def test_no_later_checkpoint_is_taken_before_one_that_is_open() -> None:
    """Its owner has signed both, and they do not belong to one history."""
    other = seal([[b"a", b"b"], [b"another", b"history"]])
    heard = [*FIVE[:3], replace(FIVE[3], sealed=other[3].sealed), FIVE[4]]
    reader = fresh()
    with pytest.raises(errors.SealMismatch) as refused:
        finish(reader, heard)
    assert (refused.value.end, reader.size) == (4, 2)


def test_two_checkpoints_of_one_size_are_a_fork() -> None:
    reader = fresh()
    feed(reader, FIVE)
    other = seal([[b"a", b"another"]])
    with pytest.raises(errors.SealFork) as refused:
        feed(reader, other)
    assert refused.value.size == 2
    with pytest.raises(errors.SealFork) as again:
        feed(reader, FIVE)
    assert again.value is refused.value
    assert reader.size == 5


def test_a_fork_at_the_tree_that_the_reader_started_from_is_seen() -> None:
    tree = Frontier.empty().extend(leaf_hash(sent.data) for sent in FIVE[:2])
    with pytest.raises(errors.SealFork):
        feed(fresh(tree), seal([[b"a", b"another"]]))


def test_another_history_that_the_owner_signed_does_not_follow_ours() -> None:
    reader = fresh()
    feed(reader, FIVE[:2])
    other = seal([[b"a", b"another", b"c"]])
    with pytest.raises(errors.SealMismatch):
        finish(reader, [replace(FIVE[2], sealed=other[2].sealed)])
    assert reader.size == 2


def test_as_many_checkpoints_are_remembered_as_is_said_and_no_more() -> None:
    tape = seal([[b"x"]] * (MOST_KNOWN_ROOTS + 1))
    forked = [Checkpoint(ORIGIN, sent.index + 1, b"\1" * 32) for sent in tape]
    old, known, new = (
        SignedCheckpoint(checkpoint.sign(forked[at], [KEY]), ()) for at in (0, 1, MOST_KNOWN_ROOTS)
    )
    for at, sealed in ((1, known), (MOST_KNOWN_ROOTS, new)):
        reader = fresh()
        feed(reader, tape)
        assert reader.feed(0, leaf_hash(tape[0].data), old) is None
        with pytest.raises(errors.SealFork):
            reader.feed(at, leaf_hash(tape[at].data), sealed)


def test_every_error_names_the_topic_and_partition() -> None:
    for tape in (
        FIVE[1:],
        [FIVE[0], replace(FIVE[1], datum=b"x")],
        [*FIVE, *seal([[b"a", b"another"]])],
        seal([[b"x"] * (WINDOW + 1)]),
    ):
        with pytest.raises(errors.SealBroken) as refused:
            finish(fresh(), tape)
        assert ORIGIN in str(refused.value)
