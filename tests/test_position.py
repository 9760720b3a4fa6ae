"""Where a reader continues: a leaf is found on any cluster, also among resent messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sinergi_schemas.kafka.leaf_search import find_offset

if TYPE_CHECKING:
    from collections.abc import Sequence


@st.composite
def tapes(draw: st.DrawFn) -> list[int]:
    """Leaf indexes along a topic: up by one, or back to a leaf sent before; no resend left open."""
    tape = [draw(st.integers(0, 5))]
    for back in draw(st.lists(st.integers(0, 12), max_size=60)):
        tape.append(max(tape[0], tape[-1] + 1 - back) if back > 6 else tape[-1] + 1)
    return [*tape, *range(tape[-1] + 1, max(tape) + 1)]


def _find(tape: Sequence[int], first_offset: int, index: int) -> int:
    return find_offset(
        first_offset,
        first_offset + len(tape),
        index,
        lambda offset: tape[offset - first_offset] if offset - first_offset < len(tape) else None,
    )


@given(tapes(), st.integers(0, 1000), st.data())
def test_reading_on_from_the_found_offset_meets_the_leaf(
    tape: list[int], first: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(tape[0], max(tape)))
    at = _find(tape, first, index) - first
    assert tape[at] <= index
    assert index in tape[at:]


@given(tapes(), st.integers(0, 1000))
def test_a_leaf_still_to_come_is_met_after_everything_there_is(tape: list[int], first: int) -> None:
    at = _find(tape, first, max(tape) + 1) - first
    assert 0 <= at < len(tape)


def test_a_leaf_that_is_gone_gives_the_first_offset_so_that_the_reader_sees_the_gap() -> None:
    assert _find([7, 8, 9], 100, 3) == 100


def test_an_empty_partition_is_read_from_its_first_offset() -> None:
    assert _find([], 40, 0) == 40
