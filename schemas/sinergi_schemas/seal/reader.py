"""The reading side of a seal: what a topic says, judged against its owner's checkpoints.

The rules, in the order in which a message meets them:

    1. Its leaf index is below the verified size: a resend, ignored and counted. If it carries a
       checkpoint of a size that was verified, the roots must be equal: else a fork.
    2. Its index lies within the pending leaves: a resend of one of them, compared: another leaf
       there is a fork.
    3. Its index is above the next one: a gap.
    4. It is the next leaf, and becomes pending.
    5. It carries a checkpoint: signed by the owner, for this origin, for exactly the leaves so far
       and with their root, and with their frontier. Then the pending leaves are verified. A
       smaller size is a rollback; another root is a mismatch that names its batch.

Nothing is verified by arriving: what stays pending when a topic ends was never sealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_schemas.seal.checkpoint import Sealed
    from sinergi_schemas.seal.keys import VerifyingKey
    from sinergi_schemas.seal.merkle import Frontier

_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Verified:
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
        keys: the owner's, from the agreement.
        frontier: the tree that was verified before.

    Attributes:
        resends: messages that were ignored as known.
    """

    def __init__(self, origin: str, keys: Sequence[VerifyingKey], frontier: Frontier) -> None:
        self._origin = origin
        self._keys = keys
        self._frontier = frontier
        self._pending: list[bytes] = []
        self._roots = {frontier.size: frontier.root()}
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
            SealBroken: one of its kinds, by the rules above. The pending leaves stay unverified.
        """
        hashed = leaf_hash(leaf_data)
        ahead = index - self._frontier.size
        if ahead < len(self._pending):
            self.resends += 1
            self._judge_resend(ahead, index, hashed, sealed)  # rules 1 and 2
            return None
        if ahead > len(self._pending):  # rule 3
            raise errors.SealGap(self._origin, index, self._frontier.size + len(self._pending))
        self._pending.append(hashed)  # rule 4
        return self._close(sealed) if sealed else None  # rule 5

    def reset(self) -> None:
        """Forget the pending leaves: the topic is read again from the verified size."""
        self._pending = []

    def _judge_resend(self, ahead: int, index: int, hashed: bytes, sealed: Sealed | None) -> None:
        if ahead >= 0 and self._pending[ahead] != hashed:
            raise errors.SealFork(self._origin, index + 1)
        if sealed is None:
            return
        stated = self._stated(sealed)
        if stated.size != index + 1:
            raise errors.CheckpointMisplaced(self._origin, stated.size, index)
        if self._roots.get(stated.size, stated.root) != stated.root:
            raise errors.SealFork(self._origin, stated.size)

    def _close(self, sealed: Sealed) -> Verified:
        stated = self._stated(sealed)
        start, end = self._frontier.size, self._frontier.size + len(self._pending)
        if stated.size < end:
            raise errors.SealRollback(self._origin, stated.size, end)
        if stated.size > end:
            raise errors.CheckpointMisplaced(self._origin, stated.size, end - 1)
        frontier = self._frontier.extend(self._pending)
        if frontier.root() != stated.root or tuple(sealed.frontier) != frontier.hashes:
            raise errors.SealMismatch(self._origin, start, end)
        self._frontier, self._pending = frontier, []
        self._remember(end, stated.root)
        return Verified(start, end, stated.root, sealed.note, frontier)

    def _stated(self, sealed: Sealed) -> checkpoint.Checkpoint:
        stated = checkpoint.verify(sealed.note, self._keys)
        if stated.origin != self._origin:
            raise errors.OriginForeign(self._origin, stated.origin)
        return stated

    def _remember(self, size: int, root: bytes) -> None:
        self._roots[size] = root
        if len(self._roots) > _REMEMBERED:
            del self._roots[next(iter(self._roots))]
