"""The position of a projection in one partition.

The position is the size and the frontier of the materialised tree, stored in the database of the
rows. The offset is only a cache. It is valid on one cluster and for one incarnation of the topic;
on another one, such as a mirror, the reader searches for the leaf index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sinergi_schemas.seal.merkle import Frontier


@dataclass(frozen=True, slots=True)
class TopicIncarnation:
    """One incarnation of a topic on one cluster. Offsets are valid only within it."""

    cluster_id: str
    topic_id: str


@dataclass(frozen=True, slots=True)
class Position:
    """The position of one projection in one partition.

    Attributes:
        frontier: of the tree of materialised leaves.
        epoch: the fencing token of the claim; only this claim may move the position.
        incarnation: the topic incarnation of `next_offset`; None if there is no offset yet.
        next_offset: the offset after the last materialised message.
    """

    frontier: Frontier
    epoch: int
    incarnation: TopicIncarnation | None
    next_offset: int | None

    def offset_at(self, incarnation: TopicIncarnation) -> int | None:
        """The offset to continue from in a topic incarnation, or None if it is unknown there."""
        return self.next_offset if self.incarnation == incarnation else None
