"""The leaves that have arrived and that no checkpoint covers yet.

Everybody who may write to a topic can write a message with any leaf index, so one index may have
several candidates. The owner's next checkpoint decides which one is the leaf. The number of leaves
and candidates in memory is limited.

`Candidates.choose` looks for the candidates that lead to the root of the checkpoint. It tries them
in this order, within the reader's budget of hashes (see `hash_budget`):

    1. The first candidate of each leaf. On a topic without forged messages there are no others.
    2. Backwards from the checkpoint: at each leaf the candidate whose offset is the highest one
       below the offset of the following leaf, because the owner's messages of one batch usually
       lie next to each other.
    3. Step 2 again, with a different candidate at one leaf, then at two leaves, and so on. It
       starts with the leaves for which no candidate is at the offset directly before the next leaf.

If the message states the frontier of the checkpoint's tree, and that frontier has the signed root,
each perfect subtree is searched separately. That keeps step 3 short. The budget is enough for
foreign messages between the owner's messages. It is not enough for many forged copies between every
two leaves of a batch; but only the broker's operator can write those, and he can hold back a batch
in easier ways.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas.seal.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi_schemas.seal.checkpoint import Checkpoint
    from sinergi_schemas.seal.hash_budget import HashBudget

WINDOW = 5_000
MOST_CANDIDATES_PER_LEAF = 64
_MOST_QUEUED_PATHS = 1_000
# Costs in units of one hash: the fixed cost of trying a path, and of sorting one candidate.
_PATH_COST = 8
_CANDIDATE_COST = 2


class Candidate(NamedTuple):
    """A leaf that has arrived: its hash, and the offset of its message."""

    leaf: bytes
    offset: int


class ChosenLeaves(NamedTuple):
    """The candidates that a checkpoint covers, and the tree that they lead to.

    Attributes:
        frontier: the tree of the checkpoint.
        leaves, offsets: leaf hashes and offsets of the messages, in the order of the leaves.
        rejected: index and offset of each candidate that the checkpoint does not cover.
    """

    frontier: Frontier
    leaves: Sequence[bytes]
    offsets: Sequence[int]
    rejected: Sequence[tuple[int, int]]


class Candidates:
    """The candidates for the leaves that follow a verified tree.

    Args:
        start: the size of that tree, which is the index of the next leaf.

    Attributes:
        next: the first index, counted from the start, without a candidate in `_leaves`.
    """

    def __init__(self, start: int) -> None:
        self._start = start
        self._end = start + WINDOW
        self.next = start
        self._leaves: list[bytes] = []
        self._offsets: list[int] = []
        self._others: dict[int, dict[bytes, int]] = {}

    @property
    def count(self) -> int:
        """The number of leaf indexes with at least one candidate."""
        reached = self.next
        return len(self._leaves) + sum(index >= reached for index in self._others)

    @property
    def are_single(self) -> bool:
        """Whether no leaf index has several candidates, and none is above a missing one."""
        return not self._others

    def first(self, size: int) -> Sequence[bytes]:
        """The first candidate of each leaf below a tree size, as far as none is missing."""
        return self._leaves[: size - self._start]

    def add(self, index: int, leaf: bytes, offset: int) -> bool:
        """Store a candidate for a leaf. Returns whether it was new.

        Raises:
            ValueError: the index is below the start or beyond the window.
        """
        if index == self.next and index < self._end:
            self._leaves.append(leaf)
            self._offsets.append(offset)
            self.next += 1
            return True
        at = index - self._start
        if not 0 <= at < WINDOW:
            raise ValueError(f"leaf {index} lies outside the window")
        if at < len(self._leaves) and self._leaves[at] == leaf:
            self._offsets[at] = offset
            return False
        offsets = self._others.setdefault(index, {})
        known = leaf in offsets
        if not known and len(offsets) == MOST_CANDIDATES_PER_LEAF:
            del offsets[next(iter(offsets))]
        offsets[leaf] = offset
        return not known

    def first_missing(self, size: int) -> int | None:
        """The first leaf index below a tree size without a candidate, or None."""
        return next((at for at in range(self.next, size) if at not in self._others), None)

    def choose(
        self, tree: Frontier, checkpoint: Checkpoint, stated: Sequence[bytes], budget: HashBudget
    ) -> ChosenLeaves | None:
        """Find the candidates that lead from a verified tree to the tree of a checkpoint.

        Args:
            tree: the verified tree; its size is the start.
            checkpoint: larger than the verified tree, and signed by the owner.
            stated: the frontier that the message states. Nobody has signed it.
            budget: limits the search.

        Returns:
            The candidates, or None if the search found none.
        """
        count = checkpoint.size - self._start
        budget.begin_try(count)
        budget.spend_on_preparation(_PATH_COST + count)
        if len(self._leaves) >= count:
            frontier = tree.extend(self._leaves[:count])
            if frontier.root() == checkpoint.root:
                rejected = self._rejected(frontier.size, {})
                return ChosenLeaves(frontier, self._leaves[:count], self._offsets[:count], rejected)
        if not self._others or self.first_missing(checkpoint.size) is not None:
            return None
        return self._search(tree, checkpoint, stated, budget)

    def advance(self, size: int) -> None:
        """Set the start to a tree size, and remove the candidates below it."""
        count = size - self._start
        del self._leaves[:count]
        del self._offsets[:count]
        for index in range(self._start, size):
            self._others.pop(index, None)
        self._start, self._end = size, size + WINDOW
        self.next = size + len(self._leaves)
        while (offsets := self._others.get(self.next)) and self.next < self._end:
            leaf = next(iter(offsets))
            offset = offsets.pop(leaf)
            if not offsets:
                del self._others[self.next]
            self.add(self.next, leaf, offset)

    def lowest_offset(self) -> int | None:
        """The lowest offset of a candidate, or None if there are no candidates."""
        others = (min(offsets.values()) for offsets in self._others.values())
        return min([*self._offsets[:1], *others], default=None)

    def _search(
        self, tree: Frontier, checkpoint: Checkpoint, stated: Sequence[bytes], budget: HashBudget
    ) -> ChosenLeaves | None:
        """Steps 2 and 3, for one perfect subtree after another."""
        options = [self._all(index) for index in range(tree.size, checkpoint.size)]
        budget.spend_on_preparation(_CANDIDATE_COST * sum(map(len, options)))
        paths = _CandidatePaths(options, tree.size)
        chosen: list[Candidate] = []
        for size, expected in _known_trees(tree.size, checkpoint, stated):
            for path, choices in paths.between(tree.size, size):
                budget.spend(_PATH_COST + len(path) + choices)
                extended = tree.extend(each.leaf for each in path)
                if extended.hashes == expected or (
                    expected is None and extended.root() == checkpoint.root
                ):
                    break
                if budget.is_try_exhausted:
                    return None
            else:
                return None
            tree = extended
            chosen += path
        chosen_leaves = {self._start + at: each.leaf for at, each in enumerate(chosen)}
        rejected = self._rejected(tree.size, chosen_leaves)
        leaves, offsets = zip(*chosen, strict=True)
        return ChosenLeaves(tree, leaves, offsets, rejected)

    def _all(self, index: int) -> list[Candidate]:
        """The candidates of a leaf, in the order of their offsets."""
        found = [Candidate(*each) for each in self._others.get(index, {}).items()]
        if index < self.next:
            at = index - self._start
            found.append(Candidate(self._leaves[at], self._offsets[at]))
        return sorted(found, key=_offset)

    def _rejected(self, size: int, chosen: Mapping[int, bytes]) -> list[tuple[int, int]]:
        """Index and offset of the candidates below a tree size that were not chosen.

        If `chosen` has no entry for an index, the first candidate was chosen.
        """
        if not self._others:
            return []
        found = []
        for index in range(self._start, size):
            others = self._others.get(index, {})
            first = (
                {self._leaves[index - self._start]: self._offsets[index - self._start]}
                if index < self.next
                else {}
            )
            leaf_hash = chosen.get(index, next(iter(first), b""))
            found += [(index, at) for leaf, at in {**first, **others}.items() if leaf != leaf_hash]
        return found


class _CandidatePaths:
    """The paths through the candidates of consecutive leaves, the likeliest first.

    A path has one candidate for each leaf. It is built backwards: at each leaf it takes the
    candidate with the closest lower offset. `alternatives` describes how a path differs from that:
    at which leaf index it takes the second closest candidate (1), the third closest (2), and so on.

    Args:
        options: the candidates of each leaf, in the order of their offsets.
        start: the index of the first leaf.
    """

    def __init__(self, options: Sequence[Sequence[Candidate]], start: int) -> None:
        self._options = options
        self._start = start

    def between(self, start: int, stop: int) -> Iterator[tuple[list[Candidate], int]]:
        """The paths between two tree sizes: with no alternative, with one, with two, and so on.

        Yields:
            A path, and the number of its leaves with more than one candidate.
        """
        queue: deque[dict[int, int]] = deque([{}])
        while queue:
            alternatives = queue.popleft()
            path, gaps, others = self._path(start, stop, alternatives)
            yield path, len(gaps) + len(others)
            last = min(alternatives, default=stop)
            for index in (*gaps, *others):
                if index < last and len(queue) < _MOST_QUEUED_PATHS:
                    count = len(self._options[index - self._start])
                    queue.extend({**alternatives, index: nth} for nth in range(1, count))

    def _path(
        self, start: int, stop: int, alternatives: Mapping[int, int]
    ) -> tuple[list[Candidate], list[int], list[int]]:
        """One path, and its leaves with more than one candidate.

        Returns:
            The path; the leaves where no candidate lies directly before the next leaf; the others.
        """
        path: list[Candidate] = []
        gaps: list[int] = []
        others: list[int] = []
        next_offset: int | None = None
        for index in reversed(range(start, stop)):
            options = self._options[index - self._start]
            at = 0
            if len(options) > 1:
                at = len(options)
                if next_offset is not None:
                    at = bisect_left(options, next_offset, key=_offset)
                is_adjacent = at > 0 and options[at - 1].offset + 1 == next_offset
                (others if is_adjacent else gaps).append(index)
                # A negative index takes the candidates with a higher offset last.
                at -= 1 + alternatives.get(index, 0)
            next_offset = options[at].offset
            path.append(options[at])
        path.reverse()
        return path, gaps, others


def _offset(candidate: Candidate) -> int:
    return candidate.offset


def _known_trees(
    start: int, checkpoint: Checkpoint, stated: Sequence[bytes]
) -> list[tuple[int, tuple[bytes, ...] | None]]:
    """Tree sizes up to a checkpoint's, each with the hashes of the frontier at that size.

    The stated frontier also contains the frontiers of the smaller trees that end with one of its
    perfect subtrees. If the stated frontier does not have the signed root, only the checkpoint's
    size is returned, with None: its root is known, and no frontier.
    """
    size, hashes = checkpoint.size, tuple(stated)
    if len(hashes) != size.bit_count() or Frontier(size, hashes).root() != checkpoint.root:
        return [(size, None)]
    found: list[tuple[int, tuple[bytes, ...] | None]] = []
    end = 0
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            end += 1 << bit
            if end > start:
                found.append((end, hashes[: end.bit_count()]))
    return found
