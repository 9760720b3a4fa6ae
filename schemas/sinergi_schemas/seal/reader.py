"""The reading side of a seal: what a topic says, judged against its owner's checkpoints.

The rules, in the order in which a message meets them. `size` is how many leaves are verified; the
pending leaves come after them and have no checkpoint yet.

    1. Its leaf index is above the next one: a gap.
    2. Its index is below the size: a resend, ignored and counted. That leaf is forgotten by now,
       and is not compared.
    3. Its index lies within the pending leaves: a resend, which must be the same leaf again, and
       is counted. Another one is a fork.
    4. It is the next leaf, and becomes pending.
    5. It carries a checkpoint: for this origin, and signed by the owner.
    6. A tree of that size was seen before: its root must be the same. Another one is a fork.
    7. The checkpoint's size is the index + 1: a smaller one is a rollback, and a larger one stands
       in the wrong place.
    8. It is above the size: the leaves up to it must have that root, else a mismatch that names
       their batch, and the frontier that the message states. Then they are verified.

Nothing is verified by arriving: what stays pending when a topic ends was never sealed. After an
error nothing pending is kept, and every message meets the same error until `reset`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.merkle import leaf_hash

if TYPE_CHECKING:
    from sinergi_schemas.seal.checkpoint import Checkpoint, Sealed
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.merkle import Frontier

REMEMBERED = 1_000


class Verified(NamedTuple):
    """The leaves `[start, end)` under a checkpoint that holds.

    Attributes:
        note: the checkpoint as its owner signed it.
        frontier: the tree of size `end`.
    """

    start: int
    end: int
    root: bytes
    note: str
    frontier: Frontier


class Reader:
    """One partition's tree, followed from a known frontier.

    Args:
        origin: `<bus>/<topic>/<partition>`.
        keys: the owner's for this topic-partition, from the agreements.
        frontier: the tree that was verified before.

    Attributes:
        resends: messages that were ignored as known.
    """

    def __init__(self, origin: str, keys: KeyRing, frontier: Frontier) -> None:
        self._origin = origin
        self._keys = keys
        self._frontier = frontier
        self._pending: list[bytes] = []
        self._next = frontier.size
        self._roots = {frontier.size: frontier.root()}
        self._broken: errors.SealBroken | None = None
        self.resends = 0

    @property
    def size(self) -> int:
        """How many leaves are verified."""
        return self._frontier.size

    @property
    def frontier(self) -> Frontier:
        """The verified tree."""
        return self._frontier

    @property
    def pending(self) -> int:
        """How many leaves wait for a checkpoint."""
        return len(self._pending)

    def feed(self, index: int, leaf_data: bytes, sealed: Sealed | None) -> Verified | None:
        """Judge the next message of the topic; what became verified by it.

        Raises:
            SealBroken: one of its kinds, by the rules above.
        """
        if self._broken:
            raise self._broken
        try:
            if index == self._next:  # rule 4
                self._pending.append(leaf_hash(leaf_data))
                self._next += 1
            else:
                self._judge_place(index, leaf_data)
            return self._judge_checkpoint(index, sealed) if sealed else None
        except errors.SealBroken as broken:
            self._forget()
            self._broken = broken
            raise

    def reset(self) -> None:
        """Forget what is pending, and the error: the topic is read again from the verified size."""
        self._forget()
        self._broken = None

    def _forget(self) -> None:
        self._pending = []
        self._next = self._frontier.size

    def _judge_place(self, index: int, leaf_data: bytes) -> None:
        if index > self._next:  # rule 1
            raise errors.SealGap(self._origin, index, self._next)
        ahead = index - self._frontier.size
        if ahead >= 0 and self._pending[ahead] != leaf_hash(leaf_data):  # rule 3
            raise errors.SealFork(self._origin, index + 1)
        self.resends += 1  # rules 2 and 3

    def _judge_checkpoint(self, index: int, sealed: Sealed) -> Verified | None:
        stated = checkpoint.verify(sealed.note, self._origin, self._keys)  # rule 5
        if self._roots.get(stated.size, stated.root) != stated.root:  # rule 6
            raise errors.SealFork(self._origin, stated.size)
        if stated.size <= index:  # rule 7
            raise errors.SealRollback(self._origin, stated.size, index + 1)
        if stated.size > index + 1:
            raise errors.CheckpointMisplaced(self._origin, stated.size, index)
        return self._close(stated, sealed) if stated.size > self._frontier.size else None

    def _close(self, stated: Checkpoint, sealed: Sealed) -> Verified:
        """Rule 8."""
        start, count = self._frontier.size, stated.size - self._frontier.size
        frontier = self._frontier.extend(self._pending[:count])
        if frontier.root() != stated.root:
            raise errors.SealMismatch(self._origin, start, stated.size)
        if tuple(sealed.frontier) != frontier.hashes:
            raise errors.FrontierForeign(self._origin, stated.size)
        self._frontier = frontier
        del self._pending[:count]
        self._remember(stated)
        return Verified(start, stated.size, stated.root, sealed.note, frontier)

    def _remember(self, stated: Checkpoint) -> None:
        self._roots[stated.size] = stated.root
        if len(self._roots) > REMEMBERED:
            del self._roots[next(iter(self._roots))]
