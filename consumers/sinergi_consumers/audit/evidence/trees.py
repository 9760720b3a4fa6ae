"""Verifies the trees of a bundle: the owners' checkpoints and heads."""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_consumers.audit.evidence import places
from sinergi_consumers.audit.evidence.checks import BundleChecks, Disproved, first_valid
from sinergi_consumers.audit.evidence.verdict import ProvedTree
from sinergi_schemas import errors
from sinergi_schemas.plain_text import first_sentence
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.seal.merkle import EMPTY_ROOT, HASH_LENGTH, verify_consistency
from sinergi_schemas.seal.note import parse_base64, parse_size
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinergi_consumers.audit.evidence.places import PlacedFile
    from sinergi_schemas.seal.heads import SignedHeads

_LONGEST_PROOF = 2 * 63
_FIELDS = {"topic", "partition", "size", "root", "matching"}


class SearchedTree(NamedTuple):
    """A topic-partition as `search.json` states it.

    Attributes:
        root: in hex.
        matching: the number of its events in the bundle.
    """

    tp: TopicPartition
    size: int
    root: str
    matching: int


class ConsistencyProof(NamedTuple):
    """A proof that a tree extends a smaller one, in the form of C2SP tlog-witness.

    old <size>
    <base64 of a hash>                      any number of them
                                            an empty line
    <the checkpoint's note>
    """

    old: int
    path: tuple[bytes, ...]
    note: str

    @classmethod
    def parse(cls, text: str) -> ConsistencyProof:
        """Read a proof from its text. It verifies nothing.

        Raises:
            NoteMalformed: the text is not such a proof.
        """
        head, _, note = text.partition("\n\n")
        first, *lines = head.split("\n")
        path = tuple(map(parse_base64, lines))
        if not first.startswith("old ") or len(path) > _LONGEST_PROOF:
            raise errors.NoteMalformed("a proof begins with the size of the smaller tree")
        if any(len(each) != HASH_LENGTH for each in path):
            raise errors.NoteMalformed("the path of a proof is not a list of SHA-256 hashes")
        return cls(parse_size(first.removeprefix("old ")), path, note)

    def __str__(self) -> str:
        steps = (base64.b64encode(each).decode() for each in self.path)
        return "\n".join([f"old {self.old}", *steps]) + f"\n\n{self.note}"


class TreeChecks(BundleChecks):
    """Step 4: each tree that was searched."""

    def run(
        self, trees: Sequence[SearchedTree], files: Mapping[str, PlacedFile]
    ) -> dict[TopicPartition, str]:
        """Verify the trees that `search.json` lists.

        Args:
            trees: see `searched`.
            files: the files of the payload.

        Returns:
            The checkpoint of each tree, whether it is valid or not.
        """
        self._check_places({each.tp for each in trees}, files)
        counts = Counter(each.tp for each in files.values() if each.kind == "leaf")
        signed = {
            agency: self.attempt(self._heads, agency)
            for agency in sorted({places.topic_of(each.tp).agency for each in trees})
        }
        for each in trees:
            if counts[each.tp] != each.matching:
                self.attempt(_refuse, f"counts other events of {each.tp} than there are")
            proved = self.attempt(self._tree, each, signed[places.topic_of(each.tp).agency])
            self.verdict.trees += [proved] if proved else []
        checkpoints = {each.tp: places.checkpoint_path(each.tp) for each in trees}
        return {
            tp: self.payload[path].decode(errors="replace")
            for tp, path in checkpoints.items()
            if path in self.payload
        }

    def _check_places(self, trees: set[TopicPartition], files: Mapping[str, PlacedFile]) -> None:
        """Report files of trees and agencies that `search.json` does not list."""
        owners = {places.topic_of(tp).agency for tp in trees}
        for path, each in files.items():
            is_of_tree = each.kind in ("checkpoint", "consistency", "leaf")
            if (is_of_tree and each.tp not in trees) or (
                each.kind == "heads" and each.parts[0] not in owners
            ):
                self.attempt(_refuse, f"does not list the tree of {path}")

    def _tree(self, tree: SearchedTree, signed: SignedHeads | None) -> ProvedTree | None:
        """The tree if it is proved; None if a key is missing.

        Raises:
            Disproved: it is not what its owner sealed.
        """
        path = places.checkpoint_path(tree.tp)
        if tree.size == 0:
            return self._empty_tree(tree, signed)
        note = self.text(path)
        try:
            parsed = checkpoint.parse_receipt(note)
            stated = checkpoint.parse(parsed)
        except errors.NoteMalformed as why:
            raise Disproved(path, f"is not a checkpoint: {why.what}") from None
        if (stated.size, stated.root.hex()) != (tree.size, tree.root):
            raise Disproved(path, f"states another tree than {places.SEARCH}")
        rings, origin = self.owner_rings(path, tree.tp, parsed), tree.tp.origin(self.bus)
        if not rings:
            return None
        what = "is not valid under the given keys"
        first_valid(rings, lambda ring: checkpoint.verify(note, origin, ring), path, what)
        line = _line(signed, tree.tp)
        if signed is None or line is None:
            return ProvedTree(str(tree.tp), tree.size, None, None)
        path = places.consistency_path(tree.tp)
        text = self.text(path)
        try:
            proof = ConsistencyProof.parse(text)
        except errors.NoteMalformed as why:
            raise Disproved(path, f"is not a proof: {why.what}") from None
        if proof.note != note or proof.old != line.size or str(proof) != text:
            raise Disproved(path, "is a proof about other trees")
        if not verify_consistency(line.size, stated.size, line.root, stated.root, proof.path):
            raise Disproved(path, "does not show that the tree extends that of the heads")
        return ProvedTree(str(tree.tp), tree.size, signed.posix_time, line.size)

    def _empty_tree(self, tree: SearchedTree, signed: SignedHeads | None) -> ProvedTree | None:
        """A topic-partition without leaves: only heads show that it is empty."""
        path = places.heads_path(places.topic_of(tree.tp).agency)
        for each in (places.checkpoint_path(tree.tp), places.consistency_path(tree.tp)):
            if each in self.payload:
                raise Disproved(each, f"is of a tree that is empty in {places.SEARCH}")
        if tree.root != EMPTY_ROOT.hex():
            raise Disproved(places.SEARCH, f"states a root of {tree.tp}, which is empty")
        line = _line(signed, tree.tp)
        if signed is None or line is None:
            if path not in self.payload or signed is not None:
                self.leave(places.SEARCH, f"states that {tree.tp} is empty; no heads show it")
            return None
        if line.size:
            raise Disproved(path, f"states leaves of {tree.tp}, which is empty in the search")
        return ProvedTree(str(tree.tp), 0, signed.posix_time, 0)

    def _heads(self, agency: str) -> SignedHeads | None:
        """The verified heads of an agency; None without heads or without a key.

        Raises:
            Disproved: they do not hold.
        """
        path = places.heads_path(agency)
        if path not in self.payload:
            return None
        keys = self.trusted.of_agency(self.bus, agency)
        try:
            note = heads.parse_note(self.text(path))
            if not self.is_checkable(path, note, f"{self.bus}/{agency}", keys):
                return None
            return heads.verify_parsed(note, self.bus, agency, keys)
        except errors.SealBroken as why:
            what = f"is not valid under the given keys: {first_sentence(str(why))}"
            raise Disproved(path, what) from None


def searched(trees: Any) -> list[SearchedTree]:
    """The trees of `search.json`.

    Args:
        trees: its member of that name, as it was read.

    Raises:
        Disproved: the list is not well-formed.
    """
    if not isinstance(trees, list) or not trees:
        _refuse("lists no tree")
    found = []
    for each in trees:
        if not isinstance(each, dict) or each.keys() != _FIELDS:
            _refuse("has a tree with other fields")
        numbers = [each["partition"], each["size"], each["matching"]]
        if any(type(number) is not int or not 0 <= number < 1 << 53 for number in numbers):
            _refuse("has a number that is none of a tree")
        tp = TopicPartition(str(each["topic"]), each["partition"])
        if places.placed(places.checkpoint_path(tp)) is None:
            _refuse("names a topic that is none of events")
        found.append(SearchedTree(tp, each["size"], str(each["root"]), each["matching"]))
    order = [each.tp for each in found]
    if order != sorted(set(order)):
        _refuse("does not list each tree once, sorted by topic and partition")
    return found


def _line(signed: SignedHeads | None, tp: TopicPartition) -> heads.TreeHead | None:
    """The line of a topic-partition in heads."""
    if signed is None:
        return None
    return next((each for each in signed.heads if each.partition_path == str(tp)), None)


def _refuse(what: str) -> None:
    raise Disproved(places.SEARCH, what)
