"""What a reader spends on checkpoints that are not borne out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seal_tapes import (
    BATCHES,
    StubMessage,
    false_checkpoints,
    feed,
    finish,
    fresh,
    seal,
)
from sinergi_schemas import errors
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.seal.hash_budget import FULL_BUDGET, FULL_TRY, PER_MESSAGE, HashBudget
from sinergi_schemas.seal.merkle import Frontier, leaf_hash, root_of

if TYPE_CHECKING:
    from collections.abc import Iterable


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
