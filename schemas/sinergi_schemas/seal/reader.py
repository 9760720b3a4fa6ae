"""The reading side of a seal: what a topic says, judged against its owner's checkpoints.

Noise is skipped and reported; a contradiction halts. A message that no valid checkpoint of the
owner covers decides nothing. The rules, in the order in which a message meets them; `size` is how
many leaves are verified.

    1. Its leaf index is below the size: it is a resend, or another leaf under a sealed index. Both
       are skipped.
    2. Its index is within the window behind the size: it becomes a candidate for its index.
       Further ahead it is skipped.
    3. It carries a checkpoint. One that the owner has not signed for this origin is skipped.
    4. A tree of that size was seen before: its root must be the same. Another root is a fork, which
       is final: the owner has signed two histories.
    5. The checkpoint's size is above the size: the candidates up to it must lead to its root (see
       `candidates`). Then they are verified, and the others at their indexes are skipped.
    6. Otherwise the checkpoint stays open, and the reader has an objection: leaves are missing, or
       differ, or are too many. Messages that are still to come may answer it; whoever reads raises
       it once nothing more arrives. No later checkpoint is taken before an open one.

To try a checkpoint costs; how often it is tried is bounded by what has arrived (see `effort`).
Where a checkpoint stands does not matter, since its signature says what it covers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.seal import checkpoint, noise
from sinergi_schemas.seal.candidates import WINDOW, Candidates
from sinergi_schemas.seal.effort import Effort
from sinergi_schemas.seal.memory import Memory
from sinergi_schemas.seal.merkle import Frontier, leaf_hash
from sinergi_schemas.seal.noise import Noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_schemas.seal.candidates import Chosen
    from sinergi_schemas.seal.checkpoint import Checkpoint, Sealed
    from sinergi_schemas.seal.key_ring import KeyRing

REMEMBERED = 1_000
MOST_OPEN = 16


class VerifiedLeaves(NamedTuple):
    """The leaves `[start, end)` under a checkpoint that holds.

    Attributes:
        note: the checkpoint with its owner's signatures and no others.
        frontier: the tree of size `end`.
        leaves, offsets: their hashes and the offsets of their messages, in the order of the leaves.
    """

    start: int
    end: int
    root: bytes
    note: str
    frontier: Frontier
    leaves: Sequence[bytes]
    offsets: Sequence[int]


class _Open(NamedTuple):
    """A valid checkpoint that the candidates do not bear out yet; `hint` is its frontier or ()."""

    stated: Checkpoint
    note: str
    hint: Sequence[bytes]


class TreeReader:
    """One topic-partition's tree, followed from a known frontier.

    Args:
        origin: `<bus>/<topic>/<partition>`.
        keys: the owner's for this topic-partition, from the agreements.
        frontier: the tree that was verified before.
        compare: remember a part of every leaf hash and root, and tell a resend from another leaf
            under a sealed index, and a copy of a checkpoint from another history. It takes 8 bytes
            a leaf and 24 a checkpoint.

    Attributes:
        size: how many leaves are verified.
        objection: what a valid checkpoint says that the messages so far do not bear out, or None.
        noise: what was skipped.
        resends: messages that were ignored as known.
        memory: what is remembered to compare with, and what could not be compared; None unless
            `compare` is set.
    """

    def __init__(
        self, origin: str, keys: KeyRing, frontier: Frontier, *, compare: bool = False
    ) -> None:
        self._origin = origin
        self._keys = keys
        self._frontier = frontier
        self._candidates = Candidates(frontier.size)
        self._roots = {frontier.size: frontier.root()}
        self._open: dict[int, _Open] = {}
        self._smallest = -1
        self._fresh = self._heard = 0
        self._effort = Effort()
        self.objection: errors.SealBroken | None = None
        self._fork: errors.SealFork | None = None
        self.size = frontier.size
        self.memory = Memory(frontier) if compare else None
        self.noise = Noise()
        self.resends = 0

    @property
    def frontier(self) -> Frontier:
        """The verified tree."""
        return self._frontier

    @property
    def pending(self) -> int:
        """How many leaves wait for a checkpoint."""
        return self._candidates.count

    @property
    def earliest(self) -> int | None:
        """The lowest offset of a leaf that waits for a checkpoint, or None."""
        return self._candidates.earliest()

    def feed(
        self, index: int, leaf_data: bytes, sealed: Sealed | None, offset: int = 0
    ) -> VerifiedLeaves | None:
        """Judge the next message of the topic; what became verified by it.

        Raises:
            SealFork: the owner has signed two histories. Every later message meets it again.
        """
        if self._fork:
            raise self._fork
        self._heard += 1
        if index >= self.size:
            self._keep(index, leaf_hash(leaf_data), offset)
        elif self.memory and self.memory.is_other_leaf(index, leaf_hash(leaf_data)):
            self.noise.add(noise.ALTERED, offset, index)
        else:
            self.resends += 1
        return self._meet(sealed, index, offset) if sealed else None

    def settle(self, *, final: bool = False) -> VerifiedLeaves | None:
        """Try the smallest open checkpoint with what has arrived since; what became verified.

        Call it until it returns None.

        Args:
            final: nothing more will arrive: try it though more was spent than is earned.
        """
        if not self._open or not self._fresh:
            return None
        self._effort.earn(self._heard)
        self._heard = 0
        return self._try_smallest() if final or self._effort.is_left else None

    def _keep(self, index: int, leaf: bytes, offset: int) -> None:
        """Rule 2."""
        if index >= self.size + WINDOW:
            self.noise.add(noise.OUTSIDE, offset, index)
        elif not self._candidates.add(index, leaf, offset):
            self.resends += 1
        elif index < self._smallest:
            self._fresh += 1

    def _meet(self, sealed: Sealed, index: int, offset: int) -> VerifiedLeaves | None:
        """Rules 3 to 6."""
        try:
            stated = checkpoint.verify(sealed.note, self._origin, self._keys)
        except errors.SealBroken as why:
            self.noise.add(f"{noise.FOREIGN_CHECKPOINT} ({type(why).__name__})", offset, index)
            return None
        if self._is_other_tree(stated):
            self._fork = self.objection = errors.SealFork(self._origin, stated.size)
            raise self._fork
        if stated.size <= self.size:
            self._pass_over(stated)
            return None
        self._remember(stated)
        hint = tuple(sealed.frontier)
        if not _is_frontier(hint, stated):
            self.noise.add(noise.FALSE_FRONTIER, offset, index)
            hint = ()
        note = checkpoint.of_owner(sealed.note, self._keys.allowed(stated.size))
        return self._take(_Open(stated, note, hint))

    def _is_other_tree(self, stated: Checkpoint) -> bool:
        """Whether another tree of that size is remembered."""
        known = self._open.get(stated.size)
        return (
            self._roots.get(stated.size, stated.root) != stated.root
            or (known is not None and known.stated.root != stated.root)
            or (self.memory is not None and self.memory.is_other_tree(stated))
        )

    def _pass_over(self, stated: Checkpoint) -> None:
        """A checkpoint is not tried: remember to compare it."""
        if self.memory:
            self.memory.keep(stated)

    def _take(self, new: _Open) -> VerifiedLeaves | None:
        """Put a checkpoint to the open ones; if it is the smallest and not a copy, it is due."""
        size = new.stated.size
        known = self._open.get(size)
        is_new = known is None or (bool(new.hint) and not known.hint)
        if is_new:
            self._open[size] = new
        if len(self._open) > MOST_OPEN:
            self._pass_over(self._open.pop(sorted(self._open)[-2]).stated)
        if is_new and size == min(self._open):
            self._smallest, self._fresh = size, 1
        return self.settle()

    def _try_smallest(self) -> VerifiedLeaves | None:
        """Rule 5 for the smallest open checkpoint, or else rule 6."""
        self._smallest = min(self._open)
        stated, note, hint = self._open[self._smallest]
        self._fresh = 0
        self.objection = self._obstacle(stated)
        if self.objection is None:
            found = self._candidates.choose(self._frontier, stated, hint, self._effort)
            if found:
                return self._close(stated, note, found)
            self.objection = errors.SealMismatch(self._origin, self.size, stated.size)
        return None

    def _obstacle(self, stated: Checkpoint) -> errors.SealBroken | None:
        """Why a checkpoint cannot be tried, or None."""
        if stated.size > self.size + WINDOW:
            return errors.CheckpointTooWide(self._origin, stated.size, self.size, WINDOW)
        missing = self._candidates.missing(stated.size)
        return None if missing is None else errors.SealGap(self._origin, missing, stated.size)

    def _close(self, stated: Checkpoint, note: str, found: Chosen) -> VerifiedLeaves:
        start, self._frontier = self.size, found.frontier
        self.size = found.frontier.size
        for index, offset in found.rejected:
            self.noise.add(noise.ALTERED, offset, index)
        if self.memory:
            self.memory.add(found.leaves, stated)
        self._candidates.advance(stated.size)
        del self._open[stated.size]
        self._smallest = min(self._open, default=-1)
        # The next open checkpoint, if there is one, is tried with what is there.
        self._fresh = 1
        return VerifiedLeaves(
            start, self.size, stated.root, note, found.frontier, found.leaves, found.offsets
        )

    def _remember(self, stated: Checkpoint) -> None:
        self._roots[stated.size] = stated.root
        if len(self._roots) > REMEMBERED:
            del self._roots[next(iter(self._roots))]


def _is_frontier(hashes: tuple[bytes, ...], stated: Checkpoint) -> bool:
    """Whether some hashes are the frontier of a checkpoint's tree: then they have its root."""
    fits = len(hashes) == stated.size.bit_count()
    return fits and Frontier(stated.size, hashes).root() == stated.root
