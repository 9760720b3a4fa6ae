"""Checkpoints whose signatures are not verified yet, because a later one may cover their leaves.

To verify a signature takes as long as to hash a hundred leaves, and a batch of messages may have a
checkpoint for every few leaves. A checkpoint covers every smaller tree of the same leaves, so one
signature, that of the largest checkpoint, is enough for all of them.

A checkpoint is postponed only if its root is that of the leaves in the order in which they arrived.
So nothing is decided by an unverified checkpoint: the root of a smaller one that was postponed is
that of a tree that the owner has signed with the largest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
    from sinergi_schemas.seal.merkle import Frontier

MOST_LEAVES = 1_000
MOST_CHECKPOINTS = 1_000


class PostponedCheckpoint(NamedTuple):
    """A checkpoint as it arrived, with leaf index and offset of its message."""

    stated: Checkpoint
    sealed: SignedCheckpoint
    leaf_index: int
    offset: int


class PostponedCheckpoints:
    """The postponed checkpoints of one tree, in the order of their sizes.

    Args:
        tree: the verified tree.
    """

    def __init__(self, tree: Frontier) -> None:
        self._tree = tree
        self._root = tree.root()
        self._entries: list[PostponedCheckpoint] = []

    @property
    def size(self) -> int:
        """The tree size of the largest one; that of the verified tree if there is none."""
        return self._tree.size

    @property
    def is_full(self) -> bool:
        """Whether no further one may be added before these are taken."""
        return len(self._entries) >= MOST_CHECKPOINTS

    def add(self, new: PostponedCheckpoint, leaves: Iterable[bytes]) -> bool:
        """Postpone a checkpoint if its root is that of the leaves. Returns whether it is.

        Args:
            new: not smaller than the largest one so far.
            leaves: the leaf hashes from `size` to the size of the new one.
        """
        if new.stated.size > self._tree.size:
            self._tree = self._tree.extend(leaves)
            self._root = self._tree.root()
        if new.stated.root != self._root:
            return False
        self._entries.append(new)
        return True

    def take(self) -> list[PostponedCheckpoint]:
        """Remove all and return them in the order of their sizes."""
        taken, self._entries = self._entries, []
        return taken

    def restart(self, tree: Frontier) -> None:
        """Go on from another verified tree, with none postponed."""
        self._tree, self._root, self._entries = tree, tree.root(), []
