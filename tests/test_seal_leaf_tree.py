"""A tree of which all leaves are known gives the roots and proofs of every earlier size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinergi_schemas.seal.leaf_tree import LeafTree
from sinergi_schemas.seal.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(bytes([number])) for number in range(70)]


def tree_of(size: int) -> LeafTree:
    tree = LeafTree()
    tree.extend(LEAVES[:size])
    return tree


@given(st.data())
def test_its_roots_and_proofs_are_those_of_the_lists_of_leaves(data: st.DataObject) -> None:
    whole = data.draw(st.integers(1, 70))
    size = data.draw(st.integers(1, whole))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    tree, leaves = tree_of(whole), LEAVES[:size]
    assert tree.root(size) == root_of(leaves)
    assert list(tree.inclusion_path(index, size)) == inclusion_proof(leaves, index)
    assert list(tree.consistency_path(old, size)) == consistency_proof(leaves, old)
    path = tree.inclusion_path(index, size)
    assert verify_inclusion(LEAVES[index], index, size, path, tree.root(size))
    extends = tree.consistency_path(old, size)
    assert verify_consistency(old, size, tree.root(old), tree.root(size), extends)


def test_leaves_that_come_in_parts_make_the_same_tree() -> None:
    tree = LeafTree()
    for at in range(0, 70, 7):
        tree.extend(LEAVES[at : at + 7])
    assert (tree.size, tree.root(70)) == (70, root_of(LEAVES))
    assert tree.root(0) == EMPTY_ROOT


def test_sizes_that_it_does_not_have_are_refused() -> None:
    tree = tree_of(5)
    with pytest.raises(ValueError, match="5 leaves, not 6"):
        tree.root(6)
    with pytest.raises(ValueError, match="leaf 3 is not in a tree of size 3"):
        tree.inclusion_path(3, 3)
    with pytest.raises(ValueError, match="does not contain one of size 4"):
        tree.consistency_path(4, 3)
