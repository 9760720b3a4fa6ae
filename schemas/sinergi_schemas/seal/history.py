"""Prefixes of all verified leaf hashes and roots of a tree, for a reader that compares.

8 bytes of each leaf hash distinguish a resend from another leaf with the same index. 24 bytes of
each checkpoint distinguish a copy of it from a checkpoint of another history. Checkpoints of other
sizes are stored up to a limit, and compared when the topic is read again; the rest is counted.
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
_LEAF_PREFIX = 8
# A dishonest owner could search for two trees whose roots have the same prefix. Nobody can do that
# for 16 bytes.
_ROOT_PREFIX = 16


class VerifiedHistory:
    """The verified leaves and checkpoints of one tree, from a known frontier on.

    Attributes:
        unmatched: roots of checkpoints that could not be compared, by tree size.
        unmatched_beyond_limit: the number of further ones, which were not stored.
    """

    def __init__(self, tree: Frontier) -> None:
        self._first = tree.size
        self._leaves = bytearray()
        self._sizes = array("Q", [tree.size])
        self._roots = bytearray(tree.root()[:_ROOT_PREFIX])
        self.unmatched: dict[int, bytes] = {}
        self.unmatched_beyond_limit = 0

    def add(self, leaves: Iterable[bytes], stated: Iterable[Checkpoint]) -> None:
        """Store the next verified leaves, and the checkpoints of their trees by rising size."""
        self._leaves += b"".join(leaf[:_LEAF_PREFIX] for leaf in leaves)
        for each in stated:
            self._sizes.append(each.size)
            self._roots += each.root[:_ROOT_PREFIX]
            self.unmatched.pop(each.size, None)

    def is_other_leaf(self, index: int, leaf: bytes) -> bool:
        """Whether the verified leaf with this index is another leaf."""
        at = (index - self._first) * _LEAF_PREFIX
        known = self._leaves[at : at + _LEAF_PREFIX] if at >= 0 else b""
        return bool(known) and known != leaf[:_LEAF_PREFIX]

    def is_other_tree(self, stated: Checkpoint) -> bool:
        """Whether another tree of the checkpoint's size was stated or verified before."""
        known = self._root(stated.size)
        is_other = known is not None and known != stated.root[:_ROOT_PREFIX]
        return is_other or self.unmatched.get(stated.size, stated.root) != stated.root

    def add_unmatched(self, stated: Checkpoint) -> None:
        """Store a checkpoint that the reader did not try, unless it is a copy."""
        if self._root(stated.size) is not None or stated.size in self.unmatched:
            return
        if len(self.unmatched) < MOST_UNMATCHED:
            self.unmatched[stated.size] = stated.root
        else:
            self.unmatched_beyond_limit += 1

    def _root(self, size: int) -> bytearray | None:
        """The prefix of the root in the verified checkpoint of a size, or None."""
        at = bisect_left(self._sizes, size)
        if at == len(self._sizes) or self._sizes[at] != size:
            return None
        return self._roots[at * _ROOT_PREFIX : (at + 1) * _ROOT_PREFIX]
