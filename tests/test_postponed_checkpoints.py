"""A reader verifies one signature for many checkpoints, and decides nothing by the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_tapes import (
    BATCHES,
    FINGERPRINT,
    KEY,
    ORIGIN,
    STRANGER,
    StubMessage,
    causes,
    comparing,
    ends,
    feed,
    finish,
    fresh,
    seal,
)
from sinergi_schemas import errors
from sinergi_schemas.message import leaf_data
from sinergi_schemas.seal import checkpoint, postponed, skipped
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.key_ring import KeyRing, KeySpan
from sinergi_schemas.seal.keys import SigningKey, VerifyingKey
from sinergi_schemas.seal.merkle import Frontier, leaf_hash, root_of
from sinergi_schemas.seal.reader import TreeReader
from sinergi_schemas.seal.writer import TreeWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@pytest.fixture
def signatures(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The signatures that were verified."""
    found: list[bytes] = []
    verify = VerifyingKey.verify

    def counted(self: VerifyingKey, signature: bytes, text: bytes) -> bool:
        found.append(signature)
        return verify(self, signature, text)

    monkeypatch.setattr(VerifyingKey, "verify", counted)
    return found


def note(sent: StubMessage) -> str:
    assert sent.sealed
    return sent.sealed.note


def singles(count: int) -> list[StubMessage]:
    """The tape of an owner who seals each event alone."""
    return seal([[b"%d" % number] for number in range(count)])


def with_signer(sent: StubMessage, leaves: Sequence[bytes], key: SigningKey) -> StubMessage:
    """A message with a checkpoint over these leaves, signed by another key."""
    stated = Checkpoint(ORIGIN, len(leaves), root_of(leaves))
    return replace(sent, sealed=SignedCheckpoint(checkpoint.sign(stated, [key]), ()))


def falsified(tape: Sequence[StubMessage], at: int) -> StubMessage:
    """A message with a checkpoint over the true leaves, which its owner has not signed."""
    return with_signer(tape[at], [leaf_hash(sent.data) for sent in tape[: at + 1]], STRANGER)


def test_one_signature_is_verified_for_the_checkpoints_that_arrived_together(
    signatures: list[bytes],
) -> None:
    tape = singles(50)
    reader = fresh()
    assert feed(reader, tape, together=True) == []
    (verified,) = finish(reader, [])
    assert (verified.start, verified.end) == (0, 50)
    assert verified.note == note(tape[-1])
    assert len(signatures) == 1


@pytest.mark.parametrize(
    "most", [postponed.MOST_LEAVES, postponed.MOST_CHECKPOINTS], ids=["leaves", "checkpoints"]
)
def test_leaves_are_verified_before_more_have_arrived_than_a_reader_keeps(
    signatures: list[bytes], most: int
) -> None:
    tape = singles(2 * most + 3)
    reader = fresh()
    found = feed(reader, tape, together=True)
    assert found[-1].end >= 2 * most
    assert [each.end for each in finish(reader, [])] == [len(tape)]
    assert len(signatures) <= 4
    assert not causes(reader)


def test_a_batch_as_large_as_the_window_fits_behind_postponed_checkpoints() -> None:
    tape = seal([*([b"x"] for _ in range(postponed.MOST_LEAVES - 1)), [b"y"] * WINDOW])
    reader = fresh()
    found = feed(reader, tape, together=True) + finish(reader, [])
    assert found[-1].end == len(tape)
    assert not causes(reader)


def test_copies_without_new_leaves_are_not_kept_without_limit(signatures: list[bytes]) -> None:
    tape = singles(1)
    reader = fresh()
    copies = [falsified(tape, 0)] * (3 * postponed.MOST_CHECKPOINTS)
    feed(reader, copies, together=True)
    assert len(reader._postponed._entries) <= postponed.MOST_CHECKPOINTS
    assert [each.end for each in finish(reader, tape)] == [1]
    assert len(signatures) <= 1  # a stranger's signature names another key


@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_checkpoint_that_its_owner_has_not_signed_hides_no_true_one(at: int) -> None:
    tape = singles(10)
    heard = [*tape[:at], falsified(tape, at), *tape[at:]]
    reader = fresh()
    found = feed(reader, heard, together=True) + finish(reader, [])
    assert found[-1].end == 10
    assert found[-1].note == note(tape[-1])


def test_where_the_largest_checkpoint_is_false_the_next_smaller_one_holds() -> None:
    tape = singles(10)
    heard = [*tape[:8], falsified(tape, 8), falsified(tape, 9)]
    reader = fresh()
    found = feed(reader, heard, together=True) + finish(reader, [])
    assert [each.end for each in found] == [8]
    assert reader.pending == 2
    assert causes(reader) == {f"{skipped.FOREIGN_CHECKPOINT} (SignatureMissing)": 2}


def test_leaves_that_only_false_checkpoints_cover_are_not_verified() -> None:
    tape = [replace(each, sealed=None) for each in singles(10)]
    false = [falsified(tape, at) for at in range(10)]
    reader = fresh()
    assert feed(reader, false, together=True) + finish(reader, []) == []
    assert (reader.size, reader.pending) == (0, 10)


def test_a_smaller_checkpoint_with_another_root_is_refused_although_a_larger_one_holds() -> None:
    tape = singles(10)
    other = with_signer(tape[4], [leaf_hash(b"other")] * 5, KEY)
    reader = fresh()
    found = feed(reader, [*tape[:4], other, *tape[5:]], together=True)
    with pytest.raises(errors.SealMismatch) as refused:
        finish(reader, [])
    assert [each.end for each in found] == [4]
    assert (refused.value.start, refused.value.end) == (4, 5)


def test_leaves_that_were_verified_before_a_fork_are_returned_before_it_is_raised() -> None:
    tape = singles(10)
    other = with_signer(tape[4], [leaf_hash(b"other")] * 5, KEY)
    reader = fresh()
    found = feed(reader, [*tape[:8], other], together=True)
    assert [each.end for each in found] == [8]
    with pytest.raises(errors.SealFork):
        feed(reader, tape[8:9], together=True)
    with pytest.raises(errors.SealFork):
        finish(reader, [])


@pytest.mark.parametrize("size", [1, 4, 9])
def test_another_checkpoint_of_a_size_that_a_larger_one_covered_is_a_fork(size: int) -> None:
    tape = singles(10)
    other = with_signer(tape[size - 1], [leaf_hash(b"other")] * size, KEY)
    for reader in (fresh(), comparing()):
        assert finish(reader, []) == []
        feed(reader, tape, together=True)
        assert reader.try_open_checkpoint()
        with pytest.raises(errors.SealFork):
            feed(reader, [other])


def test_the_roots_that_a_checkpoint_covers_count_as_compared() -> None:
    tape = singles(10)
    reader = comparing()
    feed(reader, tape, together=True)
    finish(reader, [])
    feed(reader, tape)  # copies
    assert reader.history
    assert reader.history.unmatched == {}
    assert [*reader.stated_roots] == [0, 10, *range(1, 10)]


@pytest.mark.parametrize("last", [1, 5, 9])
def test_each_replaced_key_must_have_signed_its_own_leaves(last: int) -> None:
    """A thief of the newer key cannot cover older leaves, whatever arrived together."""
    old, new = KEY, SigningKey.generate(KEY.name)
    ring = KeyRing((KeySpan(old.public, last), KeySpan(new.public)))
    tape, writer = [], TreeWriter(ORIGIN, [old], Frontier.empty())
    for size in range(1, 11):
        writer = TreeWriter(ORIGIN, [old if size <= last else new], writer.frontier)
        data = leaf_data(FINGERPRINT, b"key", b"%d" % size)
        writer.add(data)
        tape.append(StubMessage(size - 1, b"key", b"%d" % size, sealed=writer.checkpoint()))
    reader = TreeReader(ORIGIN, ring, Frontier.empty())
    found = feed(reader, tape, together=True) + finish(reader, [])
    assert [each.end for each in found] == [last, 10]


@settings(deadline=None)
@given(BATCHES, st.data())
def test_messages_that_arrive_together_give_the_same_tree_as_one_after_the_other(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    tape = seal(batches)
    true = [leaf_hash(sent.data) for sent in tape]
    tamper: list[Callable[[StubMessage], StubMessage]] = [
        lambda sent: sent,
        lambda sent: replace(sent, datum=b"forged", sealed=None),
        lambda sent: replace(sent, sealed=None),
        lambda sent: with_signer(sent, true[: sent.index + 1], STRANGER),
        lambda sent: with_signer(sent, [leaf_hash(b"x")] * (sent.index + 1), STRANGER),
    ]
    extra = data.draw(
        st.lists(st.tuples(st.sampled_from(tape), st.sampled_from(tamper)), max_size=12)
    )
    heard = data.draw(st.permutations([*tape, *(change(sent) for sent, change in extra)]))
    single, together = comparing(), comparing()
    by_one = finish(single, heard)
    at_once = []
    while heard:
        count = data.draw(st.integers(1, len(heard)))
        part, heard = heard[:count], heard[count:]
        at_once += feed(together, part, together=True)
        while verified := together.try_open_checkpoint():
            at_once.append(verified)
    at_once += finish(together, [])
    assert together.frontier == single.frontier
    assert together.size == len(tape) == ends(tape)[-1]
    for found in (by_one, at_once):
        assert [leaf for each in found for leaf in each.leaves] == true
        assert [each.start for each in found] == [0, *(each.end for each in found[:-1])]
        assert all(each.root == root_of(true[: each.end]) for each in found)
        assert all(checkpoint.verify(each.note, ORIGIN, KeyRing.of(KEY.public)) for each in found)
