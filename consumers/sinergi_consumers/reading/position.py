"""How far a projection is in one partition, and where on a cluster it goes on.

The truth is the tree: its size and its frontier, stored beside the rows. An offset is only a cache
of it that holds on one cluster and one incarnation of the topic, so that a mirrored or restored
cluster is ordinary: where the ids differ, the leaf index is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sinergi_schemas.seal.merkle import Frontier


@dataclass(frozen=True, slots=True)
class TopicIncarnation:
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
    place: TopicIncarnation | None
    next_offset: int | None

    def offset_at(self, place: TopicIncarnation) -> int | None:
        """The offset to go on from at `place`, or None where it must be looked for."""
        return self.next_offset if self.place == place else None
