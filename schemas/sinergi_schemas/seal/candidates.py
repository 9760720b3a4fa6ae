"""The leaves that have arrived and that no checkpoint covers yet.

Whoever can write to a topic can write a message under any leaf index, so several candidates may
stand at one index. None of them decides anything: the owner's next checkpoint does. How many
leaves and candidates are kept is bounded, whatever arrives.

The checkpoint is tried in this order, within the reader's allowance of hashes (see `effort`):

    1. the first candidate of each leaf; on an undisturbed topic there are no others
    2. backwards from the checkpoint, from each leaf to the candidate that lies closest before it:
       what an owner sends in one go lies together
    3. the same with another candidate at one place, then at two, and so on; first at the places
       where no candidate lies directly before

Where the message states the frontier of the checkpoint's tree, and that frontier has the signed
root, each of its perfect subtrees is decided by itself, which keeps 3 short. The allowance suffices
for noise between the owner's messages as a broker stores them. It does not for many forged copies
between every two leaves of a batch; who runs the broker can hold back a batch in easier ways.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas.seal.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi_schemas.seal.checkpoint import Checkpoint
    from sinergi_schemas.seal.effort import Effort

WINDOW = 5_000
MOST_AT_ONE_LEAF = 64
_MOST_WAITING = 1_000
# What a way costs whatever its length, and to put a candidate in order, in the time of a hash.
_A_WAY = 8
_AN_OPTION = 2


class Candidate(NamedTuple):
    """A leaf that has arrived: its hash, and the offset of its message."""

    leaf: bytes
    offset: int


class Chosen(NamedTuple):
    """The candidates that a checkpoint covers, and the tree that they lead to.

    Attributes:
        leaves, offsets: their hashes and the offsets of their messages, in the order of the leaves.
        rejected: index and offset of the candidates that the checkpoint has decided against.
    """

    frontier: Frontier
    leaves: Sequence[bytes]
    offsets: Sequence[int]
    rejected: Sequence[tuple[int, int]]


class Candidates:
    """The leaves behind a verified tree.

    Args:
        start: the size of that tree, which is the index of the next leaf.

    Attributes:
        next: the first index that no unbroken row of candidates reaches.
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
        """At how many indexes at least one candidate stands."""
        reached = self.next
        return len(self._leaves) + sum(index >= reached for index in self._others)

    def add(self, index: int, leaf: bytes, offset: int) -> bool:
        """Keep a candidate at or behind the start; whether it was new.

        Raises:
            ValueError: the index lies outside the window.
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
        here = self._others.setdefault(index, {})
        known = leaf in here
        if not known and len(here) == MOST_AT_ONE_LEAF:
            del here[next(iter(here))]
        here[leaf] = offset
        return not known

    def missing(self, size: int) -> int | None:
        """The first index below a tree size at which no candidate stands, or None."""
        return next((at for at in range(self.next, size) if at not in self._others), None)

    def choose(
        self, tree: Frontier, checkpoint: Checkpoint, stated: Sequence[bytes], effort: Effort
    ) -> Chosen | None:
        """The candidates that continue a tree to a checkpoint's, or None where none are found.

        Args:
            tree: the verified tree, of the size of the start.
            checkpoint: of a size above the start, and signed by the owner.
            stated: the frontier that the message states, which proves nothing.
            effort: what it may cost.
        """
        count = checkpoint.size - self._start
        effort.begin(count)
        effort.prepare(_A_WAY + count)
        if len(self._leaves) >= count:
            frontier = tree.extend(self._leaves[:count])
            if frontier.root() == checkpoint.root:
                rejected = self._rejected(frontier.size, {})
                return Chosen(frontier, self._leaves[:count], self._offsets[:count], rejected)
        if not self._others or self.missing(checkpoint.size) is not None:
            return None
        return self._search(tree, checkpoint, stated, effort)

    def advance(self, size: int) -> None:
        """Forget the candidates below a tree size."""
        count = size - self._start
        del self._leaves[:count]
        del self._offsets[:count]
        for index in range(self._start, size):
            self._others.pop(index, None)
        self._start, self._end = size, size + WINDOW
        self.next = size + len(self._leaves)
        while (here := self._others.get(self.next)) and self.next < self._end:
            leaf = next(iter(here))
            offset = here.pop(leaf)
            if not here:
                del self._others[self.next]
            self.add(self.next, leaf, offset)

    def earliest(self) -> int | None:
        """The lowest offset of a candidate, or None where there are none."""
        offsets = [*self._offsets[:1], *(min(here.values()) for here in self._others.values())]
        return min(offsets, default=None)

    def _search(
        self, tree: Frontier, checkpoint: Checkpoint, stated: Sequence[bytes], effort: Effort
    ) -> Chosen | None:
        """Steps 2 and 3, from one stop to the next."""
        options = [self._all(index) for index in range(tree.size, checkpoint.size)]
        effort.prepare(_AN_OPTION * sum(map(len, options)))
        ways = _Ways(options, tree.size)
        chosen: list[Candidate] = []
        for stop, wanted in _stops(tree.size, checkpoint, stated):
            for path, choices in ways.between(tree.size, stop):
                effort.spend(_A_WAY + len(path) + choices)
                grown = tree.extend(each.leaf for each in path)
                if grown.hashes == wanted or (wanted is None and grown.root() == checkpoint.root):
                    break
                if effort.is_over:
                    return None
            else:
                return None
            tree = grown
            chosen += path
        taken = {self._start + at: each.leaf for at, each in enumerate(chosen)}
        rejected = self._rejected(tree.size, taken)
        leaves, offsets = zip(*chosen, strict=True)
        return Chosen(tree, leaves, offsets, rejected)

    def _all(self, index: int) -> list[Candidate]:
        """The candidates of a leaf, in the order of their offsets."""
        found = [Candidate(*each) for each in self._others.get(index, {}).items()]
        if index < self.next:
            at = index - self._start
            found.append(Candidate(self._leaves[at], self._offsets[at]))
        return sorted(found, key=_offset)

    def _rejected(self, size: int, taken: dict[int, bytes]) -> list[tuple[int, int]]:
        """What is known of the leaves below a size and was not taken; the first one by default."""
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
            kept = taken.get(index, next(iter(first), b""))
            found += [(index, at) for leaf, at in {**first, **others}.items() if leaf != kept]
        return found


class _Ways:
    """The ways through the candidates of a row of leaves, the likeliest first.

    A way goes backwards, from each leaf to the candidate closest before it. It is described by its
    turns: at which leaf another candidate is taken, and which, by nearness.

    Args:
        options: the candidates of each leaf, in the order of their offsets.
        start: the index of the first leaf.
    """

    def __init__(self, options: Sequence[Sequence[Candidate]], start: int) -> None:
        self._options = options
        self._start = start

    def between(self, start: int, stop: int) -> Iterator[tuple[list[Candidate], int]]:
        """The ways from one tree size to another: with no turn, with one, with two, and so on.

        With each comes the number of its leaves with a choice.
        """
        waiting: deque[dict[int, int]] = deque([{}])
        while waiting:
            turns = waiting.popleft()
            path, breaks, others = self._walk(start, stop, turns)
            yield path, len(breaks) + len(others)
            last = min(turns, default=stop)
            for index in (*breaks, *others):
                if index < last and len(waiting) < _MOST_WAITING:
                    count = len(self._options[index - self._start])
                    waiting.extend({**turns, index: turn} for turn in range(1, count))

    def _walk(
        self, start: int, stop: int, turns: Mapping[int, int]
    ) -> tuple[list[Candidate], list[int], list[int]]:
        """A way; the leaves with a choice behind which it breaks off, and the others with one."""
        path: list[Candidate] = []
        breaks: list[int] = []
        others: list[int] = []
        behind: int | None = None
        for index in reversed(range(start, stop)):
            options = self._options[index - self._start]
            place = 0
            if len(options) > 1:
                place = (
                    len(options) if behind is None else bisect_left(options, behind, key=_offset)
                )
                joins = place > 0 and options[place - 1].offset + 1 == behind
                (others if joins else breaks).append(index)
                place -= 1 + turns.get(index, 0)  # those that lie behind come last, from the end
            behind = options[place].offset
            path.append(options[place])
        path.reverse()
        return path, breaks, others


def _offset(candidate: Candidate) -> int:
    return candidate.offset


def _stops(
    start: int, checkpoint: Checkpoint, stated: Sequence[bytes]
) -> list[tuple[int, tuple[bytes, ...] | None]]:
    """Tree sizes on the way to a checkpoint, each with the frontier that is known there.

    The frontier of a tree begins with those of the trees that its first perfect subtrees make up.
    Where what is stated does not have the signed root, only the end is known, by its root.
    """
    size, hashes = checkpoint.size, tuple(stated)
    if len(hashes) != size.bit_count() or Frontier(size, hashes).root() != checkpoint.root:
        return [(size, None)]
    found: list[tuple[int, tuple[bytes, ...] | None]] = []
    stop = 0
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            stop += 1 << bit
            if stop > start:
                found.append((stop, hashes[: stop.bit_count()]))
    return found
