"""What a reader that compares remembers of the tree that it has verified.

It keeps 8 bytes of each leaf hash, which tell a resend from another leaf, and 24 bytes of each
checkpoint, which tell a copy from another history. A checkpoint that neither confirms nor
contradicts one of these is kept, up to a number, to be compared when the topic is read again; the
others are counted.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_schemas.seal.checkpoint import Checkpoint
    from sinergi_schemas.seal.merkle import Frontier

MOST_UNMATCHED = 10_000
_LEAF = 8
# An owner looks for two trees with the same beginning of their roots; 16 bytes are out of reach.
_ROOT = 16


class Memory:
    """The leaves and checkpoints of one tree, from a known frontier onwards.

    Attributes:
        unmatched: roots by size of checkpoints that were not compared.
        unkept: how many more there were.
    """

    def __init__(self, tree: Frontier) -> None:
        self._first = tree.size
        self._leaves = bytearray()
        self._sizes = array("Q", [tree.size])
        self._roots = bytearray(tree.root()[:_ROOT])
        self.unmatched: dict[int, bytes] = {}
        self.unkept = 0

    def add(self, leaves: Iterable[bytes], stated: Checkpoint) -> None:
        """Remember the next verified leaves, and the checkpoint above them."""
        self._leaves += b"".join(leaf[:_LEAF] for leaf in leaves)
        self._sizes.append(stated.size)
        self._roots += stated.root[:_ROOT]
        self.unmatched.pop(stated.size, None)

    def is_other_leaf(self, index: int, leaf: bytes) -> bool:
        """Whether another leaf than this is verified at an index."""
        at = (index - self._first) * _LEAF
        known = self._leaves[at : at + _LEAF] if at >= 0 else b""
        return bool(known) and known != leaf[:_LEAF]

    def is_other_tree(self, stated: Checkpoint) -> bool:
        """Whether another tree of a checkpoint's size was stated or verified."""
        known = self._root(stated.size)
        is_other = known is not None and known != stated.root[:_ROOT]
        return is_other or self.unmatched.get(stated.size, stated.root) != stated.root

    def keep(self, stated: Checkpoint) -> None:
        """Keep a checkpoint that is not tried, unless it is a copy."""
        if self._root(stated.size) is not None or stated.size in self.unmatched:
            return
        if len(self.unmatched) < MOST_UNMATCHED:
            self.unmatched[stated.size] = stated.root
        else:
            self.unkept += 1

    def _root(self, size: int) -> bytearray | None:
        """The beginning of the root under the verified checkpoint of a size, or None."""
        at = bisect_left(self._sizes, size)
        if at == len(self._sizes) or self._sizes[at] != size:
            return None
        return self._roots[at * _ROOT : (at + 1) * _ROOT]
