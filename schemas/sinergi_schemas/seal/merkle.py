"""Merkle trees as RFC 6962 §2.1 defines them, over SHA-256.

An append-only tree is represented by its frontier: the roots of its perfect subtrees, largest
first. A frontier has at most 63 hashes. It is sufficient to append leaves and to compute the root,
so nobody has to store all leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HASH_LENGTH = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 ‖ data)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree by its size and the roots of its perfect subtrees, largest first.

    Raises:
        ValueError: a tree of that size has another number of perfect subtrees.
    """

    size: int
    hashes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise ValueError(f"{len(self.hashes)} hashes are not a frontier of {self.size} leaves")

    @classmethod
    def empty(cls) -> Frontier:
        """The tree without leaves."""
        return cls(0, ())

    @classmethod
    def parse(cls, size: int, data: bytes) -> Frontier:
        """Read a frontier from the concatenation of its hashes.

        Raises:
            ValueError: a tree of that size has another number of perfect subtrees.
        """
        if len(data) % HASH_LENGTH:
            raise ValueError(f"{len(data)} bytes are not a sequence of SHA-256 hashes")
        steps = range(0, len(data), HASH_LENGTH)
        return cls(size, tuple(data[at : at + HASH_LENGTH] for at in steps))

    def to_bytes(self) -> bytes:
        """The concatenation of the hashes."""
        return b"".join(self.hashes)

    def append(self, leaf: bytes) -> Frontier:
        """The tree with one more leaf hash."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """The tree with more leaf hashes, in their order.

        It works level by level, which is faster than leaf by leaf. At each level, an old subtree
        without a sibling becomes the sibling of the first new node. A last node without a sibling
        goes into the new frontier.
        """
        nodes = list(leaves)
        size = self.size + len(nodes)
        old, without_sibling = self.size, list(self.hashes)
        frontier: list[bytes] = []
        while nodes or without_sibling:
            if old & 1:
                nodes.insert(0, without_sibling.pop())
            if len(nodes) & 1:
                frontier.append(nodes.pop())
            pairs = iter(nodes)
            nodes = [sha256(b"\x01" + a + b).digest() for a, b in zip(pairs, pairs, strict=True)]
            old >>= 1
        return Frontier(size, tuple(reversed(frontier)))

    def root(self) -> bytes:
        """The Merkle tree hash."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for subtree in reversed(self.hashes[:-1]):
            root = node_hash(subtree, root)
        return root


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of a list of leaf hashes."""
    return Frontier.empty().extend(leaves).root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of a leaf in the tree of these leaf hashes, RFC 6962 §2.1.1.

    Raises:
        ValueError: the index is not below the size.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"leaf {index} is not in a tree of size {len(leaves)}")
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*inclusion_proof(leaves[:k], index), root_of(leaves[k:])]
    return [*inclusion_proof(leaves[k:], index - k), root_of(leaves[:k])]


def appended_inclusion_proof(tree: Frontier, leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of a leaf that is appended to a tree, in the tree with all that is appended.

    It needs no leaf hash from before: a subtree that lies beside the path on the left is one of the
    frontier's, or begins with some of them.

    Args:
        tree: the frontier before.
        leaves: all leaf hashes that are appended to it.
        index: of the leaf in the whole tree.

    Raises:
        ValueError: the index is not that of an appended leaf.
    """
    size = tree.size + len(leaves)
    if not tree.size <= index < size:
        raise ValueError(f"leaf {index} is not among those from {tree.size} to {size - 1}")
    subtrees, at = {}, 0
    for each in tree.hashes:
        length = 1 << ((tree.size - at).bit_length() - 1)
        subtrees[at, length] = each
        at += length

    def root(start: int, length: int) -> bytes:
        if (start, length) in subtrees:
            return subtrees[start, length]
        if start >= tree.size:
            return root_of(leaves[start - tree.size : start - tree.size + length])
        left = _split(length)
        return node_hash(root(start, left), root(start + left, length - left))

    path: list[bytes] = []
    start, length = 0, size
    while length > 1:
        left = _split(length)
        if index < start + left:
            path.append(root(start + left, length - left))
            length = left
        else:
            path.append(root(start, left))
            start, length = start + left, length - left
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether a proof shows that a root covers a leaf hash at an index, RFC 9162 §2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(step, node)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            node = node_hash(node, step)
        at >>= 1
        last >>= 1
    return last == 0 and node == root


def consistency_proof(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """The proof that the tree of all leaves extends that of the first `old`, RFC 6962 §2.1.2.

    Raises:
        ValueError: `old` is larger than the number of leaf hashes.
    """
    if not 0 <= old <= len(leaves):
        raise ValueError(f"a tree of size {len(leaves)} does not contain one of size {old}")
    return [] if old in (0, len(leaves)) else _subproof(leaves, old, whole=True)


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether a proof shows that a larger tree extends a smaller one, RFC 9162 §2.1.4.2."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old < new or not proof:
        return False
    steps = [old_root, *proof] if old.bit_count() == 1 else list(proof)
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            second = node_hash(second, step)
        at >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == new_root


def _subproof(leaves: Sequence[bytes], old: int, *, whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [root_of(leaves)]
    k = _split(len(leaves))
    if old <= k:
        return [*_subproof(leaves[:k], old, whole=whole), root_of(leaves[k:])]
    return [*_subproof(leaves[k:], old - k, whole=False), root_of(leaves[:k])]


def _split(size: int) -> int:
    """The largest power of two below a size."""
    return 1 << ((size - 1).bit_length() - 1)
