"""A reader returns exactly what the owner sealed, whoever writes to the topic."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from sinergi_schemas import errors
from sinergi_schemas.message import leaf_data
from sinergi_schemas.seal import checkpoint, history, skipped
from sinergi_schemas.seal.candidates import MOST_CANDIDATES_PER_LEAF, WINDOW
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.hash_budget import FULL_BUDGET, FULL_TRY, PER_MESSAGE, HashBudget
from sinergi_schemas.seal.key_ring import KeyRing, KeySpan
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.seal.merkle import Frontier, leaf_hash, root_of
from sinergi_schemas.seal.reader import MOST_KNOWN_ROOTS, MOST_OPEN, TreeReader, VerifiedLeaves
from sinergi_schemas.seal.writer import TreeWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ORIGIN = "sinergi.example/sinergi.lapas-banyuwangi.transfer/0"
KEY = SigningKey.generate("sinergi.example/lapas-banyuwangi")
STRANGER = SigningKey.generate("sinergi.example/lapas-banyuwangi")
FINGERPRINT = bytes(range(32))


@dataclass(frozen=True)
class StubMessage:
    """A message, as far as a reader sees it."""

    index: int
    key: bytes
    datum: bytes
    fingerprint: bytes = FINGERPRINT
    sealed: SignedCheckpoint | None = None

    @property
    def data(self) -> bytes:
        return leaf_data(self.fingerprint, self.key, self.datum)


def seal(
    batches: Iterable[Sequence[bytes]],
    origin: str = ORIGIN,
    key: SigningKey = KEY,
    tree: Frontier | None = None,
) -> list[StubMessage]:
    """The tape of an honest owner: a checkpoint at the end of each batch."""
    writer = TreeWriter(origin, [key], tree or Frontier.empty())
    tape = []
    for batch in batches:
        for datum in batch:
            sent = StubMessage(writer.size, b"record-%d" % writer.size, datum)
            writer.add(sent.data)
            tape.append(sent)
        if batch:
            tape[-1] = replace(tape[-1], sealed=writer.checkpoint())
    return tape


def fresh(tree: Frontier | None = None) -> TreeReader:
    return TreeReader(ORIGIN, KeyRing.of(KEY.public), tree or Frontier.empty())


def feed(reader: TreeReader, tape: Iterable[StubMessage]) -> list[VerifiedLeaves]:
    """Feed messages at offsets that go on from the last ones; what became verified."""
    found = []
    for sent in tape:
        at = OFFSETS[reader] = OFFSETS.get(reader, -1) + 1
        verified = reader.feed(sent.index, leaf_hash(sent.data), sent.sealed, at)
        while verified:
            found.append(verified)
            verified = reader.try_open_checkpoint()
    return found


def finish(reader: TreeReader, tape: Iterable[StubMessage]) -> list[VerifiedLeaves]:
    """The same for a topic that ends there; an objection that stands is raised."""
    found = feed(reader, tape)
    while verified := reader.try_open_checkpoint(final=True):
        found.append(verified)
    if reader.unresolved:
        raise reader.unresolved
    return found


def causes(reader: TreeReader) -> dict[str, int]:
    return {each.cause: each.count for each in reader.skipped.causes}


OFFSETS: WeakKeyDictionary[TreeReader, int] = WeakKeyDictionary()
DATUMS = st.binary(max_size=6)
BATCHES = st.lists(st.lists(DATUMS, min_size=1, max_size=6), min_size=1, max_size=5)
FIVE = seal([[b"a", b"b"], [b"c", b"d", b"e"]])


def ends(tape: Sequence[StubMessage]) -> list[int]:
    return [sent.index + 1 for sent in tape if sent.sealed]


def end_before(tape: Sequence[StubMessage], index: int) -> int:
    """The last checkpoint at or before a leaf: what may be verified when that leaf is bad."""
    return max((end for end in ends(tape) if end <= index), default=0)


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
        assert reader.feed(size - 1, leaf_hash(data), sealed)
        if size <= last:
            assert before.feed(size - 1, leaf_hash(data), sealed)


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


# Contradictions: what the owner has signed, and the topic does not bear out


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


# Owner, adversary, reader


class SealMachine(RuleBasedStateMachine):
    """An owner who seals, somebody on the way who holds all messages, and a reader.

    Whatever arrives, what the reader gives out is a beginning of what its owner sealed, and as soon
    as all true messages have arrived it has given out everything.
    """

    tampered = Bundle("tampered")
    mutable: ClassVar = ["index", "key", "datum", "fingerprint", "sealed", "frontier", "note"]

    @initialize()
    def begin(self) -> None:
        self.writer = TreeWriter(ORIGIN, [KEY], Frontier.empty())
        self.sealed: list[StubMessage] = []
        self.foreign = seal([[b"a", b"b"], [b"c"]], origin=ORIGIN[:-1] + "1")
        self.reader = fresh()
        self.given: list[VerifiedLeaves] = []

    @rule(datums=st.lists(DATUMS, min_size=1, max_size=4))
    def the_owner_publishes(self, datums: list[bytes]) -> None:
        for datum in datums:
            sent = StubMessage(self.writer.size, b"record-%d" % self.writer.size, datum)
            self.writer.add(sent.data)
            self.sealed.append(sent)
        self.sealed[-1] = replace(self.sealed[-1], sealed=self.writer.checkpoint())

    def deliver(self, sent: StubMessage) -> None:
        self.given += feed(self.reader, [sent])

    @precondition(lambda self: self.sealed)
    @rule(count=st.integers(min_value=1, max_value=5))
    def the_next_messages_arrive(self, count: int) -> None:
        at = self.reader.size + self.reader.pending
        for sent in self.sealed[at : at + count]:
            self.deliver(sent)

    @precondition(lambda self: self.sealed)
    @rule(data=st.data())
    def any_message_arrives(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(self.sealed)))

    @rule(data=st.data())
    def a_message_of_another_partition_arrives(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(self.foreign)))

    @precondition(lambda self: self.sealed)
    @rule(target=tampered, data=st.data(), what=st.sampled_from(mutable))
    def a_message_is_tampered_with(self, data: st.DataObject, what: str) -> StubMessage:
        at = min(self.reader.size + self.reader.pending, len(self.sealed) - 1)
        sent = data.draw(st.sampled_from([self.sealed[at], *self.sealed]))
        if what == "index":
            return replace(sent, index=data.draw(st.integers(min_value=0, max_value=30)))
        if what in ("key", "datum", "fingerprint"):
            new = data.draw(st.binary(min_size=32, max_size=32))
            return replace(sent, **{what: new})  # type: ignore[arg-type]
        others = [each.sealed for each in [*self.sealed, *self.foreign] if each.sealed]
        other = data.draw(st.sampled_from(others))
        if what == "sealed":
            return replace(sent, sealed=data.draw(st.sampled_from([None, other])))
        if what == "frontier" and sent.sealed:
            return replace(sent, sealed=SignedCheckpoint(sent.sealed.note, other.frontier))
        size = data.draw(st.integers(min_value=0, max_value=30))
        forged = Checkpoint(ORIGIN, size, root_of([leaf_hash(sent.data)] * size))
        return replace(
            sent, sealed=SignedCheckpoint(checkpoint.sign(forged, [STRANGER]), other.frontier)
        )

    @rule(sent=consumes(tampered))
    def a_tampered_message_arrives(self, sent: StubMessage) -> None:
        self.deliver(sent)

    @invariant()
    def what_is_given_out_is_a_beginning_of_what_was_sealed(self) -> None:
        end = 0
        for each in self.given:
            assert each.start == end < each.end <= len(self.sealed)
            end = each.end
        if self.given:
            leaves = [leaf_hash(sent.data) for sent in self.sealed[:end]]
            assert self.given[-1].root == root_of(leaves) == self.reader.frontier.root()
            sealed = self.sealed[end - 1].sealed
            assert sealed
            assert self.given[-1].note == sealed.note

    def teardown(self) -> None:
        if hasattr(self, "reader"):
            for sent in self.sealed[self.reader.size :]:
                self.deliver(sent)
            self.given += finish(self.reader, [])
            assert self.reader.size == len(self.sealed)
            self.what_is_given_out_is_a_beginning_of_what_was_sealed()


TestSeal = SealMachine.TestCase
TestSeal.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


def test_a_flood_of_copies_before_a_batch_changes_nothing() -> None:
    tape = seal([[b"a"], [b"%d" % number for number in range(300)]])
    flood = [replace(each, datum=b"%d" % turn) for each in tape[1:] for turn in range(70)]
    reader = fresh()
    assert [each.end for each in finish(reader, [tape[0], *flood, *tape[1:]])] == [1, 301]


# What a reader spends on checkpoints that are not borne out


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each tree that was tried: how many leaves were hashed for it."""
    found: list[int] = []
    extend = Frontier.extend

    def counted(self: Frontier, leaves: Iterable[bytes]) -> Frontier:
        these = list(leaves)
        found.append(len(these))
        return extend(self, these)

    monkeypatch.setattr(Frontier, "extend", counted)
    return found


def most_hashed(messages: int) -> int:
    """What the reader's allowance lets some messages cost, the last try of each kind over it."""
    return FULL_BUDGET + PER_MESSAGE * messages + 2 * (FULL_TRY + WINDOW)


def false_checkpoints(sizes: Iterable[int]) -> list[StubMessage]:
    """Signed by the owner, over trees that it does not have."""
    stated = [Checkpoint(ORIGIN, size, leaf_hash(b"%d" % size)) for size in sizes]
    return [
        StubMessage(
            each.size - 1, b"k", b"x", sealed=SignedCheckpoint(checkpoint.sign(each, [KEY]), ())
        )
        for each in stated
    ]


@pytest.mark.parametrize("doubled", [0, 300])
def test_signed_checkpoints_of_falling_sizes_cost_a_few_hashes_each(
    hashed: list[int], doubled: int
) -> None:
    heard = [StubMessage(at, b"k", b"x") for at in range(WINDOW - 1)]
    heard += [StubMessage(at % 100 * 49, b"k", b"y%d" % at) for at in range(doubled)]
    heard += false_checkpoints(range(WINDOW - 1, WINDOW - 1_001, -1))
    with pytest.raises(errors.SealMismatch):
        finish(fresh(), heard)
    assert sum(hashed) < most_hashed(len(heard))


@pytest.mark.parametrize("step", [1, -1])
def test_true_checkpoints_on_forged_leaves_cost_a_few_hashes_each_and_hold_in_the_end(
    hashed: list[int], step: int
) -> None:
    """Who runs a broker holds single-leaf batches back, and shows their checkpoints alone."""
    tape = seal([[b"%d" % number] for number in range(400)])
    doubles = [replace(sent, datum=b"y%d" % at, sealed=None) for sent in tape for at in range(2)]
    forged = [replace(sent, datum=b"forged") for sent in tape]
    heard = doubles + forged[::step]
    reader = fresh()
    feed(reader, heard)
    assert sum(hashed) < most_hashed(len(heard))
    assert finish(reader, tape)[-1].end == len(tape)


@settings(deadline=None)
@given(BATCHES, st.data())
def test_a_reader_in_debt_takes_every_true_checkpoint_that_is_there(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    """Whatever was wasted before, and whatever stands before the true leaves."""
    tape = seal(batches)
    forged = [replace(sent, datum=b"forged") for sent in tape]
    doubles = [replace(sent, datum=b"double", sealed=None) for sent in tape]
    heard = data.draw(st.permutations([*forged, *doubles]))
    reader = fresh()
    reader._budget.spend(data.draw(st.sampled_from([FULL_BUDGET, 2 * FULL_BUDGET])))
    feed(reader, heard)
    assert finish(reader, tape)[-1].end == len(tape)
    assert reader.frontier.root() == root_of([leaf_hash(sent.data) for sent in tape])


@given(st.lists(st.tuples(st.integers(1, 2_000), st.integers(1, WINDOW)), max_size=40))
def test_what_is_spent_is_earned_but_for_a_few_tries(turns: list[tuple[int, int]]) -> None:
    """Each turn: so many messages arrive, then a checkpoint of so many leaves is tried in vain."""
    budget, spent, earned = HashBudget(), 0, 0
    for messages, leaves in turns:
        budget.add_messages(messages)
        earned += PER_MESSAGE * messages
        if budget.is_left:
            budget.begin_try(leaves)
            budget.spend_on_preparation(leaves)
            while not budget.is_try_exhausted:
                budget.spend(leaves)
                spent += leaves
    assert spent <= FULL_BUDGET + earned + FULL_TRY + WINDOW


def test_a_last_try_is_in_full_once_and_then_little_until_the_debt_is_paid() -> None:
    budget, tries = HashBudget(), []
    budget.spend(FULL_BUDGET)
    for earned in (0, 0, 2 * FULL_TRY // PER_MESSAGE):
        budget.add_messages(earned)
        budget.begin_try(10)
        spent = 0
        while not budget.is_try_exhausted:
            budget.spend(10)
            spent += 10
        tries.append(spent)
    assert tries[0] > FULL_TRY > 10 * tries[1]
    assert tries[2] > FULL_TRY


# What a reader that compares remembers


def comparing() -> TreeReader:
    return TreeReader(ORIGIN, KeyRing.of(KEY.public), Frontier.empty(), compare=True)


def unmatched(reader: TreeReader) -> tuple[set[int], int]:
    assert reader.history
    return set(reader.history.unmatched), reader.history.unmatched_beyond_limit


def test_copies_of_checkpoints_hide_no_second_history_however_many_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "MOST_UNMATCHED", 20)
    tape = seal([[b"x"]] * (MOST_KNOWN_ROOTS + 100))
    reader = comparing()
    feed(reader, [*tape, *tape[:21]])
    assert unmatched(reader) == (set(), 0)
    with pytest.raises(errors.SealFork) as refused:
        feed(reader, false_checkpoints([50]))
    assert refused.value.size == 50


def test_checkpoints_of_sizes_that_were_not_verified_are_kept_up_to_a_number_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "MOST_UNMATCHED", 20)
    reader = comparing()
    feed(reader, [*seal([[b"x"] * 50]), *false_checkpoints([*range(1, 28), 5, 50 - 1])])
    assert unmatched(reader) == (set(range(1, 21)), 8)


@settings(deadline=None)
@given(BATCHES.filter(lambda batches: max(map(len, batches)) > 1), st.data())
def test_a_second_history_is_a_fork_or_is_kept_to_be_compared_wherever_it_stands(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    """Not even the true checkpoint of that size, or many others, make the reader forget it."""
    tape = seal(batches)
    size = data.draw(st.integers(min_value=1, max_value=len(tape)))
    (false,) = false_checkpoints([size])
    true = seal([[sent.datum for sent in tape[:size]]])[-1]
    more = data.draw(st.lists(st.sampled_from([false, true, *tape]), max_size=6))
    reader = comparing()
    with suppress(errors.SealFork):
        feed(reader, [*tape, *data.draw(st.permutations([false, *more]))])
        assert size not in ends(tape)
        assert true not in more
        assert reader.history
        assert reader.history.unmatched[size] == leaf_hash(b"%d" % size)


def test_a_checkpoint_that_others_crowd_out_is_kept_to_be_compared() -> None:
    tape = seal([[b"x"]] * 40 + [[b"x"] * 20])
    crowd = [replace(tape[at], datum=b"forged") for at in range(MOST_OPEN)]
    last = replace(tape[-1], datum=b"forged")
    reader = comparing()
    finish(reader, [last, *false_checkpoints([50]), *crowd, *tape])
    assert reader.size == 60
    assert 50 in unmatched(reader)[0]


def test_an_open_checkpoint_is_not_replaced_by_another_of_its_size() -> None:
    """Though so many others were stated since that it is not remembered for itself."""
    sizes = [WINDOW, *range(MOST_KNOWN_ROOTS + 2, 1, -1)]
    reader = fresh()
    feed(reader, false_checkpoints(sizes))
    another = Checkpoint(ORIGIN, WINDOW, leaf_hash(b"another"))
    sealed = SignedCheckpoint(checkpoint.sign(another, [KEY]), ())
    with pytest.raises(errors.SealFork):
        reader.feed(WINDOW - 1, leaf_hash(b"x"), sealed, 10_000)
