"""How far a projection is in one partition, and where on a cluster it goes on.

The truth is the tree: its size and its frontier, stored beside the rows. An offset is only a cache
of it that holds on one cluster and one incarnation of the topic, so that a mirrored or restored
cluster is ordinary: where the ids differ, the leaf index is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.seal.merkle import Frontier


@dataclass(frozen=True, slots=True)
class Place:
    """One incarnation of a topic on one cluster: offsets mean something only together with it."""

    cluster_id: str
    topic_id: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far one projection is in one partition.

    Attributes:
        frontier: the tree of the leaves that are materialised.
        epoch: the claim under which it may be moved.
        place: where `next_offset` was true, if it was ever known.
        next_offset: the offset behind the last materialised message there.
    """

    frontier: Frontier
    epoch: int
    place: Place | None
    next_offset: int | None

    def offset_at(self, place: Place) -> int | None:
        """The offset to go on from at `place`, or None where it must be looked for."""
        return self.next_offset if self.place == place else None


def find_offset(low: int, high: int, index: int, index_at: Callable[[int], int | None]) -> int:
    """An offset from which reading onwards meets the leaf `index`, by bisection.

    A relay that starts again resends from an earlier leaf, so that leaf indexes along a topic go
    up by one or fall back, but never jump forward. From any offset that holds a leaf at or below
    `index`, reading onwards therefore passes `index` itself, be it when a resend that is under way
    has gone on: the search need not find its first occurrence.

    Args:
        low: the first offset of the partition.
        high: the offset behind its last message.
        index: the leaf looked for.
        index_at: the leaf index of the first message at or behind an offset, None behind the last.

    Returns:
        `low` where nothing at or below `index` is left: the reader then finds the gap and says so.
    """
    while high - low > 1:
        middle = (low + high) // 2
        found = index_at(middle)
        if found is not None and found <= index:
            low = middle
        else:
            high = middle
    return low
