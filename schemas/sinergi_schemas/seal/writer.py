"""The writing side of the seal: it adds leaves to a tree and signs checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.seal.merkle import Frontier


class TreeWriter:
    """The tree of one topic-partition, for its owner, who adds leaves.

    Args:
        origin: `<bus>/<topic>/<partition>`.
        keys: the private keys that sign; the old and the new one during a key rotation.
        frontier: of the tree before the first new leaf.
    """

    def __init__(self, origin: str, keys: Sequence[SigningKey], frontier: Frontier) -> None:
        self._origin = origin
        self._keys = keys
        self._frontier = frontier
        self._pending: list[bytes] = []

    @property
    def size(self) -> int:
        """The size of the tree with all leaves added so far."""
        return self._frontier.size + len(self._pending)

    @property
    def frontier(self) -> Frontier:
        """The tree with all leaves added so far."""
        if self._pending:
            self._frontier = self._frontier.extend(self._pending)
            self._pending = []
        return self._frontier

    def add(self, leaf_data: bytes) -> int:
        """Add a leaf. Returns its index."""
        index = self.size
        self._pending.append(leaf_hash(leaf_data))
        return index

    def checkpoint(self) -> SignedCheckpoint:
        """Sign the tree with all leaves added so far."""
        frontier = self.frontier
        stated = Checkpoint(self._origin, frontier.size, frontier.root())
        return SignedCheckpoint(checkpoint.sign(stated, self._keys), frontier.hashes)
