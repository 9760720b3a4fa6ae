"""A tree of which all leaf hashes are known: it gives proofs about any of its earlier sizes.

A reader needs only a frontier (`merkle`). Whoever makes evidence needs the path of a leaf under a
checkpoint and under receipts of other sizes. It takes some 40 bytes a leaf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas.seal.merkle import EMPTY_ROOT, HASH_LENGTH, node_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

# Subtrees of two and four leaves are hashed again when they are needed.
_LOWEST_STORED = 3


class LeafTree:
    """An append-only tree (RFC 6962 §2.1).

    Attributes:
        size: the number of leaves.
    """

    def __init__(self) -> None:
        self.size = 0
        self._leaves = bytearray()
        self._levels: list[bytearray] = []

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaf hashes in their order."""
        for each in leaves:
            self._leaves += each
            self.size += 1
            level = _LOWEST_STORED
            while self.size % (1 << level) == 0:
                self._store(level)
                level += 1

    def root(self, size: int) -> bytes:
        """The root of the tree of the first leaves.

        Raises:
            ValueError: there are fewer leaves.
        """
        self._check(size)
        return self._hash(0, size) if size else EMPTY_ROOT

    def inclusion_path(self, index: int, size: int) -> tuple[bytes, ...]:
        """The audit path of a leaf in the tree of the first leaves, RFC 6962 §2.1.1.

        Raises:
            ValueError: there are fewer leaves, or the index is not below the size.
        """
        self._check(size)
        if not 0 <= index < size:
            raise ValueError(f"leaf {index} is not in a tree of size {size}")
        path: list[bytes] = []
        start, length = 0, size
        while length > 1:
            left = _split(length)
            if index < start + left:
                path.append(self._hash(start + left, length - left))
                length = left
            else:
                path.append(self._hash(start, left))
                start, length = start + left, length - left
        return tuple(reversed(path))

    def consistency_path(self, old: int, size: int) -> tuple[bytes, ...]:
        """The proof that the tree of one size extends that of another, RFC 6962 §2.1.2.

        Raises:
            ValueError: there are fewer leaves, or the old size is the larger one.
        """
        self._check(size)
        if not 0 <= old <= size:
            raise ValueError(f"a tree of size {size} does not contain one of size {old}")
        if old in (0, size):
            return ()
        path: list[bytes] = []
        start, length, left_over, is_whole = 0, size, old, True
        while left_over != length:
            left = _split(length)
            if left_over <= left:
                path.append(self._hash(start + left, length - left))
                length = left
            else:
                path.append(self._hash(start, left))
                start, length, left_over = start + left, length - left, left_over - left
                is_whole = False
        if not is_whole:
            path.append(self._hash(start, length))
        return tuple(reversed(path))

    def _check(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise ValueError(f"there are {self.size} leaves, not {size}")

    def _store(self, level: int) -> None:
        """Store the hash of the last perfect subtree of a level."""
        start = self.size - (1 << level)
        half = 1 << (level - 1)
        while len(self._levels) <= level - _LOWEST_STORED:
            self._levels.append(bytearray())
        joined = node_hash(self._hash(start, half), self._hash(start + half, half))
        self._levels[level - _LOWEST_STORED] += joined

    def _hash(self, start: int, length: int) -> bytes:
        """The root over some leaves, as they stand below one node."""
        if length == 1:
            return bytes(self._leaves[start * HASH_LENGTH : (start + 1) * HASH_LENGTH])
        level = length.bit_length() - 1
        stored = level - _LOWEST_STORED
        if length == 1 << level and stored >= 0:
            at = (start >> level) * HASH_LENGTH
            return bytes(self._levels[stored][at : at + HASH_LENGTH])
        left = _split(length)
        return node_hash(self._hash(start, left), self._hash(start + left, length - left))


def _split(length: int) -> int:
    """The largest power of two below a length."""
    return 1 << ((length - 1).bit_length() - 1)
