"""The trees are those of RFC 6962 at every size, and no false proof is accepted."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinergi_schemas.seal.merkle import (
    EMPTY_ROOT,
    Frontier,
    appended_inclusion_proof,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent / "vectors/seal/merkle/rfc6962.json").read_text()
)
LARGEST = 130
LEAVES = [leaf_hash(b"%d" % at) for at in range(LARGEST)]


def unhex(hashes: list[str]) -> list[bytes]:
    return list(map(bytes.fromhex, hashes))


# The slow reference: RFC 6962 §2.1 word for word, over a range of LEAVES.


@cache
def reference_root(start: int, end: int) -> bytes:
    if start == end:
        return sha256(b"").digest()
    if end - start == 1:
        return LEAVES[start]
    k = reference_split(end - start)
    left, right = reference_root(start, start + k), reference_root(start + k, end)
    return sha256(b"\x01" + left + right).digest()


def reference_split(size: int) -> int:
    k = 1
    while k * 2 < size:
        k *= 2
    return k


def reference_path(index: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    k = reference_split(end - start)
    if index < k:
        return [*reference_path(index, start, start + k), reference_root(start + k, end)]
    return [*reference_path(index - k, start + k, end), reference_root(start, start + k)]


def reference_subproof(old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
    if old == end - start:
        return [] if whole else [reference_root(start, end)]
    k = reference_split(end - start)
    if old <= k:
        left = reference_subproof(old, start, start + k, whole=whole)
        return [*left, reference_root(start + k, end)]
    right = reference_subproof(old - k, start + k, end, whole=False)
    return [*right, reference_root(start, start + k)]


# Published vectors


def test_the_published_roots_and_frontiers_come_out() -> None:
    leaves = [leaf_hash(bytes.fromhex(each)) for each in VECTORS["leaves"]]
    assert leaves == unhex(VECTORS["leaf_hashes"])
    for size, root in enumerate(unhex(VECTORS["roots"])):
        tree = Frontier.empty().extend(leaves[:size])
        assert (tree.root(), list(tree.hashes)) == (root, unhex(VECTORS["frontiers"][size]))
        assert root_of(leaves[:size]) == root


def test_the_published_inclusion_proofs_come_out_and_verify() -> None:
    leaves, roots = unhex(VECTORS["leaf_hashes"]), unhex(VECTORS["roots"])
    for case in VECTORS["inclusion"]:
        index, size, proof = case["index"], case["size"], unhex(case["proof"])
        assert inclusion_proof(leaves[:size], index) == proof
        assert verify_inclusion(leaves[index], index, size, proof, roots[size])


def test_the_published_consistency_proofs_come_out_and_verify() -> None:
    leaves, roots = unhex(VECTORS["leaf_hashes"]), unhex(VECTORS["roots"])
    for case in VECTORS["consistency"]:
        old, new, proof = case["old"], case["new"], unhex(case["proof"])
        assert consistency_proof(leaves[:new], old) == proof
        assert verify_consistency(old, new, roots[old], roots[new], proof)


# Every size up to 130 against the slow reference


def test_every_root_is_that_of_the_reference_however_the_leaves_arrive() -> None:
    one_by_one = Frontier.empty()
    for size in range(LARGEST + 1):
        assert one_by_one.size == size
        assert one_by_one.root() == reference_root(0, size)
        assert Frontier.empty().extend(LEAVES[:size]) == one_by_one
        assert Frontier.parse(size, one_by_one.to_bytes()) == one_by_one
        if size < LARGEST:
            one_by_one = one_by_one.append(LEAVES[size])


def test_every_tree_grows_into_every_larger_one() -> None:
    trees = [Frontier.empty().extend(LEAVES[:size]) for size in range(LARGEST + 1)]
    for old in range(LARGEST + 1):
        for new in range(old, LARGEST + 1):
            assert trees[old].extend(LEAVES[old:new]) == trees[new]


def test_every_inclusion_proof_is_that_of_the_reference_and_verifies() -> None:
    for size in range(1, LARGEST + 1):
        root = reference_root(0, size)
        for index in range(size):
            proof = inclusion_proof(LEAVES[:size], index)
            assert proof == reference_path(index, 0, size)
            assert verify_inclusion(LEAVES[index], index, size, proof, root)


def test_every_consistency_proof_is_that_of_the_reference_and_verifies() -> None:
    for new in range(LARGEST + 1):
        for old in range(new + 1):
            proof = consistency_proof(LEAVES[:new], old)
            if old > 0:
                assert proof == reference_subproof(old, 0, new, whole=True)
            assert verify_consistency(
                old, new, reference_root(0, old), reference_root(0, new), proof
            )


# Attacks

SIZES = st.integers(min_value=1, max_value=LARGEST)


def mutations(proof: list[bytes], other: bytes) -> list[list[bytes]]:
    """Wrong proofs of every kind out of a right one."""
    wrong = [[*proof, other], [other, *proof], [*proof, b""], [b"", *proof]]
    for at, step in enumerate(proof):
        flipped = bytes([step[0] ^ 1]) + step[1:]
        wrong += [
            [*proof[:at], *proof[at + 1 :]],
            [*proof[:at], flipped, *proof[at + 1 :]],
            [*proof[:at], step, *proof[at:]],
            [*proof[:at], step[:-1], *proof[at + 1 :]],
            [*proof[:at], step + b"\0", *proof[at + 1 :]],
        ]
    if len(proof) > 1:
        wrong += [proof[::-1], [b"".join(proof)]]
    return [each for each in wrong if each != proof]


@settings(deadline=None)
@given(SIZES, st.data())
def test_no_changed_inclusion_proof_verifies(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    root, leaf = reference_root(0, size), LEAVES[index]
    proof = reference_path(index, 0, size)
    for wrong in mutations(proof, root):
        assert not verify_inclusion(leaf, index, size, wrong, root)
    for at in range(size + 2):
        assert verify_inclusion(leaf, at, size, proof, root) == (at == index)
    assert not verify_inclusion(leaf, -1, size, proof, root)
    assert not verify_inclusion(leaf_hash(b"another"), index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, proof, leaf_hash(b"another"))


@settings(deadline=None)
@given(SIZES, st.data())
def test_no_changed_consistency_proof_verifies(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(min_value=1, max_value=new))
    first, second = reference_root(0, old), reference_root(0, new)
    proof = consistency_proof(LEAVES[:new], old)
    for wrong in mutations(proof, first):
        assert not verify_consistency(old, new, first, second, wrong)
    assert not verify_consistency(old, new, leaf_hash(b"another"), second, proof)
    assert not verify_consistency(old, new, first, leaf_hash(b"another"), proof)
    assert not verify_consistency(new + 1, new, first, second, proof)
    assert not verify_consistency(-1, new, first, second, proof)
    if old != new:
        assert not verify_consistency(old, new, second, first, proof)
        assert not verify_consistency(new, old, second, first, proof)


@settings(deadline=None)
@given(SIZES, st.data())
def test_no_proof_is_taken_for_one_of_a_tree_that_is_deeper(size: int, data: st.DataObject) -> None:
    deeper = 2 << size.bit_length()
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    root = reference_root(0, size)
    path = reference_path(index, 0, size)
    assert not verify_inclusion(LEAVES[index], index, deeper, path, root)
    old, proof = index + 1, consistency_proof(LEAVES[:size], index + 1)
    assert not verify_consistency(old, deeper, reference_root(0, old), root, proof)


def test_a_proof_that_goes_on_above_the_root_is_refused() -> None:
    assert verify_inclusion(LEAVES[1], 1, 2, [LEAVES[0]], reference_root(0, 2))
    assert not verify_inclusion(LEAVES[1], 0, 1, [LEAVES[0]], reference_root(0, 2))


def test_an_index_at_the_size_is_refused_before_anything_is_hashed() -> None:
    assert not verify_inclusion(LEAVES[0], 1, 1, [], LEAVES[0])
    assert not verify_inclusion(EMPTY_ROOT, 0, 0, [], EMPTY_ROOT)


def test_a_node_cannot_be_passed_off_as_a_leaf() -> None:
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])


@pytest.mark.parametrize(("size", "data"), [(0, b"\0" * 32), (1, b""), (3, b"\0" * 32), (-1, b"")])
def test_a_frontier_of_another_size_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="not a frontier"):
        Frontier.parse(size, data)


def test_a_frontier_of_broken_hashes_is_refused() -> None:
    with pytest.raises(ValueError, match="not a sequence"):
        Frontier.parse(1, b"\0" * 33)


@pytest.mark.parametrize("index", [-1, 3])
def test_no_inclusion_proof_is_made_for_a_leaf_outside_the_tree(index: int) -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_proof(LEAVES[:3], index)


@pytest.mark.parametrize("old", [-1, 4])
def test_no_consistency_proof_is_made_from_a_larger_tree(old: int) -> None:
    with pytest.raises(ValueError, match="does not contain"):
        consistency_proof(LEAVES[:3], old)


def test_the_path_of_an_appended_leaf_needs_no_leaf_from_before() -> None:
    for size in range(1, 40):
        for start in range(size):
            tree, appended = Frontier.empty().extend(LEAVES[:start]), LEAVES[start:size]
            for index in range(start, size):
                path = appended_inclusion_proof(tree, appended, index)
                assert path == inclusion_proof(LEAVES[:size], index)
    for index in (2, 5):
        with pytest.raises(ValueError, match="is not among those from 3 to 4"):
            appended_inclusion_proof(Frontier.empty().extend(LEAVES[:3]), LEAVES[3:5], index)
