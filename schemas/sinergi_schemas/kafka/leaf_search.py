"""Where in a topic-partition a leaf lies. Nothing here reads, and nothing verifies a seal.

Anybody who may write to a topic can put a message there that claims any leaf index. So a search may
end too early in the topic, which costs time, and must not end too late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas.message import parsed_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sinergi_schemas.message import ReceivedMessage


def claimed_leaf(received: ReceivedMessage) -> int | None:
    """The leaf index that a message claims; None where it is no Sinergi message."""
    found = parsed_or_none(received)
    return None if found is None else found.leaf_index


def find_offset(low: int, high: int, index: int, index_at: Callable[[int], int | None]) -> int:
    """An offset from which reading onwards meets the leaf `index`, by bisection.

    A relay that starts again resends from an earlier leaf. So leaf indexes along a topic go up by
    one or fall back, and never jump forward. Reading onwards from any offset that holds a leaf at
    or below `index` therefore passes `index` itself, if necessary when a resend that is under way
    has gone on. The search need not find the first occurrence of the leaf.

    Args:
        low: the first offset of the partition.
        high: its end offset.
        index: the leaf index to find.
        index_at: the leaf index of the first message at or after an offset, None after the last.

    Returns:
        `low` where no leaf at or below `index` is left: the reader then finds the gap.
    """
    while high - low > 1:
        middle = (low + high) // 2
        found = index_at(middle)
        if found is not None and found <= index:
            low = middle
        else:
            high = middle
    return low


def counted_offset(low: int, high: int, index: int, first: Iterable[tuple[int, int | None]]) -> int:
    """The lowest offset at which the leaf `index` can lie, unless leaves before it are missing.

    Each message carries one leaf at most, so a leaf never lies before as many messages as its
    index. Of the first messages, the one that claims the highest leaf says with which leaf the
    partition begins. A false claim can make that leaf too high, and the offset too low, but never
    the other way round.

    Args:
        low: the first offset of the partition.
        high: its end offset.
        first: the offsets of the first messages, each with the leaf index that it claims.
    """
    begins = max((leaf - (at - low) for at, leaf in first if leaf is not None), default=low)
    return min(high, low + max(0, index - max(begins, low)))
