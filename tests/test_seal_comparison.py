"""What a reader remembers that compares."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_tapes import (
    BATCHES,
    KEY,
    ORIGIN,
    comparing,
    ends,
    false_checkpoints,
    feed,
    finish,
    fresh,
    seal,
)
from sinergi_schemas import errors
from sinergi_schemas.seal import checkpoint, history
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.merkle import leaf_hash
from sinergi_schemas.seal.reader import MOST_KNOWN_ROOTS, MOST_OPEN, TreeReader


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
