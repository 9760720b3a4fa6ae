"""The reading side of the seal: it verifies the messages of a topic with the owner's checkpoints.

The reader skips and reports foreign messages. It reports a contradiction in `unresolved`, on which
the caller halts the topic-partition. A message takes effect only if a valid checkpoint of the owner
covers it. Each message passes these rules in this order; `size` is the number of verified leaves.

    1. If the leaf index is below `size`, the message is a resend, or another leaf with the index of
       a sealed leaf. The reader skips both.
    2. If the index is one of the `WINDOW` (see `candidates`) that begin at `size`, the message
       becomes a candidate for its index. If the index is higher, the reader skips the message.
    3. If the message has a checkpoint that the owner has not signed for this origin, the reader
       skips the checkpoint.
    4. If the reader has already seen a checkpoint of the same size, the roots must be equal.
       Another root is a fork, and final: the owner has signed two histories.
    5. If the checkpoint's size is above `size`, the reader looks for the candidates that lead to
       its root (see `candidates`). These become verified; the others at their indexes are skipped.
       The signature of a checkpoint whose root is that of the leaves as they arrived is verified
       later, if no larger checkpoint covers it (see `postponed`).
    6. If it finds none, the checkpoint stays open and `unresolved` says why: leaves are missing or
       differ, or the checkpoint covers too many. Later messages may resolve it; the caller raises
       the error when no more messages arrive. An open checkpoint is tried before all larger ones.

Trying a checkpoint is expensive, so the number of messages that have arrived limits the tries (see
`hash_budget`). A checkpoint may be in the headers of any message: the signed text names the tree,
so it does not matter which message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.seal import checkpoint, skipped
from sinergi_schemas.seal.candidates import WINDOW, Candidates
from sinergi_schemas.seal.hash_budget import HashBudget
from sinergi_schemas.seal.history import VerifiedHistory
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.seal.postponed import MOST_LEAVES, PostponedCheckpoint, PostponedCheckpoints
from sinergi_schemas.seal.skipped import SkippedByCause

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinergi_schemas.seal.candidates import ChosenLeaves
    from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
    from sinergi_schemas.seal.key_ring import KeyRing

MOST_KNOWN_ROOTS = 1_000
MOST_OPEN = 16
MOST_ORIGINS = 20


class VerifiedLeaves(NamedTuple):
    """The leaves `[start, end)` that a valid checkpoint covers.

    Attributes:
        root: of the tree of size `end`.
        note: the checkpoint with only its owner's signatures.
        frontier: of the tree of size `end`.
        leaves, offsets: leaf hashes and offsets of the messages, in the order of the leaves.
    """

    start: int
    end: int
    root: bytes
    note: str
    frontier: Frontier
    leaves: Sequence[bytes]
    offsets: Sequence[int]


class _OpenCheckpoint(NamedTuple):
    """A valid checkpoint whose leaves are not found yet.

    Attributes:
        frontier: of its tree, or ().
        smaller: checkpoints of the same leaves, and copies of this one, by rising size.
    """

    stated: Checkpoint
    note: str
    frontier: Sequence[bytes]
    smaller: Sequence[PostponedCheckpoint] = ()

    @property
    def covered(self) -> list[Checkpoint]:
        """The smaller trees, by rising size."""
        trees = {each.stated.size: each.stated for each in self.smaller}
        return [tree for size, tree in trees.items() if size < self.stated.size]


class TreeReader:
    """The tree of one topic-partition, read and verified from a known frontier on.

    Args:
        origin: `<bus>/<topic>/<partition>`.
        keys: the owner's keys for this topic-partition, from the agreements.
        frontier: the tree that was verified before.
        compare: store a prefix of every leaf hash and root. Then the reader distinguishes a resend
            from another leaf with the same index, and a copy of a checkpoint from a checkpoint of
            another history. It takes 8 bytes per leaf and 24 bytes per checkpoint.

    Attributes:
        size: the number of verified leaves.
        unresolved: why the smallest open checkpoint does not match the messages so far, or None.
        origins: in all checkpoints so far, whoever signed them; at most twenty other ones.
        skipped: the skipped messages.
        resends: the number of messages that were skipped as copies.
        history: what is stored to compare with, and what could not be compared; None unless
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
        self._open: dict[int, _OpenCheckpoint] = {}
        self._postponed = PostponedCheckpoints(frontier)
        self._smallest = -1
        self._is_try_due = False
        self._messages_since_try = 0
        self._budget = HashBudget()
        self.origins: set[str] = set()
        self.unresolved: errors.SealBroken | None = None
        self._fork: errors.SealFork | None = None
        self.size = frontier.size
        self.history = VerifiedHistory(frontier) if compare else None
        self.skipped = SkippedByCause()
        self.resends = 0

    @property
    def frontier(self) -> Frontier:
        """The verified tree."""
        return self._frontier

    @property
    def stated_roots(self) -> Mapping[int, bytes]:
        """The roots in the last 1,000 checkpoints with a valid signature, by tree size.

        And those of checkpoints that such a one covers.
        """
        return self._roots

    @property
    def pending(self) -> int:
        """The number of leaf indexes above the last checkpoint for which a leaf has arrived."""
        return self._candidates.count

    @property
    def has_postponed(self) -> bool:
        """Whether `try_open_checkpoint` is to verify signatures of checkpoints that were fed."""
        return self._postponed.size > self.size

    @property
    def lowest_pending_offset(self) -> int | None:
        """The lowest offset of a leaf that no checkpoint covers yet, or None."""
        return self._candidates.lowest_offset()

    def feed(
        self, index: int, leaf: bytes, sealed: SignedCheckpoint | None, offset: int = 0
    ) -> VerifiedLeaves | None:
        """Process the next message of the topic. Returns leaves that became verified, if any.

        When no more messages are at hand, call `try_open_checkpoint`: the signature of the last
        checkpoint may not be verified before.

        Args:
            index, leaf: the index that it states, and its leaf hash.
            sealed: the checkpoint in its headers, if any.
            offset: of the message.

        Raises:
            SealFork: the owner has signed two histories. Every later call raises it again.
        """
        if self._fork:
            raise self._fork
        self._messages_since_try += 1
        # Leaves that wait for a postponed checkpoint must not fill the window.
        verified = self._try_postponed() if index >= self.size + MOST_LEAVES else None
        if index >= self.size:
            self._add_candidate(index, leaf, offset)
        elif self.history and self.history.is_other_leaf(index, leaf):
            self.skipped.add(skipped.ALTERED, offset, index)
        else:
            self.resends += 1
        if sealed is None or self._postpone(sealed, index, offset):
            return verified
        if verified is None:
            verified = self._try_postponed()
            # It may follow the tree that is verified now.
            if verified and self._postpone(sealed, index, offset):
                return verified
        return self._try_at_once(sealed, index, offset, verified)

    def try_open_checkpoint(self, *, final: bool = False) -> VerifiedLeaves | None:
        """Try the smallest open checkpoint again, if a leaf below its size has arrived since.

        Call it until it returns None.

        Args:
            final: no more messages will arrive, so try it even if the budget is used up.

        Returns:
            The leaves that became verified, or None.
        """
        self._settle()
        if not self._open or not self._is_try_due:
            return None
        self._budget.add_messages(self._messages_since_try)
        self._messages_since_try = 0
        return self._try_smallest() if final or self._budget.is_left else None

    def _add_candidate(self, index: int, leaf: bytes, offset: int) -> None:
        """Rule 2."""
        if index >= self.size + WINDOW:
            self.skipped.add(skipped.OUTSIDE, offset, index)
        elif not self._candidates.add(index, leaf, offset):
            self.resends += 1
        elif index < self._smallest:
            self._is_try_due = True

    def _postpone(self, sealed: SignedCheckpoint, index: int, offset: int) -> bool:
        """Postpone a checkpoint, if its tree is that of the leaves as they arrived."""
        if self._open or self._postponed.is_full or not self._candidates.are_single:
            return False
        stated = checkpoint.stated(sealed.note)
        if stated is None or stated.origin != self._origin or self._is_other_tree(stated):
            return False
        size, largest = stated.size, self._postponed.size
        most = min(self._candidates.next, self.size + MOST_LEAVES)
        if not max(self.size + 1, largest) <= size <= most:
            return False
        # Each replaced key must have signed its own leaves; see `key_ring`.
        if self._keys.allowed(size) != self._keys.allowed(self.size + 1):
            return False
        leaves = self._candidates.first(size)[largest - self.size :]
        return self._postponed.add(PostponedCheckpoint(stated, sealed, index, offset), leaves)

    def _settle(self) -> bool:
        """Open the largest postponed checkpoint with a valid signature. Returns whether one is."""
        if self._postponed.size == self.size:
            return False
        smaller = self._postponed.take()
        while smaller:
            _, sealed, index, offset = smaller.pop()
            if self._process_checkpoint(sealed, index, offset, smaller):
                return True
        self._postponed.restart(self._frontier)
        return False

    def _try_postponed(self) -> VerifiedLeaves | None:
        """The leaves that the largest postponed checkpoint covers, or None."""
        return self.try_open_checkpoint() if self._settle() else None

    def _try_at_once(
        self, sealed: SignedCheckpoint, index: int, offset: int, verified: VerifiedLeaves | None
    ) -> VerifiedLeaves | None:
        """Process a checkpoint that cannot be postponed. Returns `verified` if that is not None.

        Then this checkpoint is tried later, and a fork is raised by the next call.
        """
        try:
            has_opened = self._process_checkpoint(sealed, index, offset)
        except errors.SealFork:
            if verified is None:
                raise
            return verified
        return self.try_open_checkpoint() if has_opened and verified is None else verified

    def _process_checkpoint(
        self,
        sealed: SignedCheckpoint,
        index: int,
        offset: int,
        smaller: Sequence[PostponedCheckpoint] = (),
    ) -> bool:
        """Rules 3 to 5. Returns whether the checkpoint is open now.

        Args:
            smaller: checkpoints of the same leaves, and copies of this one, by rising size.
        """
        try:
            stated = checkpoint.verify(sealed.note, self._origin, self._keys)
        except errors.SealBroken as why:
            self._record_origin(why)
            self.skipped.add(f"{skipped.FOREIGN_CHECKPOINT} ({type(why).__name__})", offset, index)
            return False
        self.origins.add(self._origin)
        if self._is_other_tree(stated):
            self._fork = self.unresolved = errors.SealFork(self._origin, stated.size)
            raise self._fork
        if stated.size <= self.size:
            self._record_untried(stated)
            return False
        self._record_root(stated)
        frontier = tuple(sealed.frontier)
        if not _is_frontier(frontier, stated):
            self.skipped.add(skipped.FALSE_FRONTIER, offset, index)
            frontier = ()
        owner_keys = self._keys.allowed(stated.size)
        note = checkpoint.keep_owner_signatures(sealed.note, owner_keys)
        self._open_checkpoint(_OpenCheckpoint(stated, note, frontier, smaller))
        return True

    def _record_origin(self, why: errors.SealBroken) -> None:
        """Record the origin of a checkpoint that the owner has not signed for this origin."""
        if not isinstance(why, errors.OriginForeign):
            if not isinstance(why, errors.NoteMalformed):
                self.origins.add(self._origin)
        elif len(self.origins) < MOST_ORIGINS:
            self.origins.add(why.found)

    def _is_other_tree(self, stated: Checkpoint) -> bool:
        """Whether the reader has seen another tree of that size."""
        known = self._open.get(stated.size)
        return (
            self._roots.get(stated.size, stated.root) != stated.root
            or (known is not None and known.stated.root != stated.root)
            or (self.history is not None and self.history.is_other_tree(stated))
        )

    def _record_untried(self, stated: Checkpoint) -> None:
        """Store a checkpoint that is not tried, for a comparison when the topic is read again."""
        if self.history:
            self.history.add_unmatched(stated)

    def _open_checkpoint(self, new: _OpenCheckpoint) -> None:
        """Add a checkpoint to the open ones; to be tried if it is the smallest, and no copy."""
        size = new.stated.size
        known = self._open.get(size)
        is_new = known is None or (bool(new.frontier) and not known.frontier)
        if is_new:
            self._open[size] = new
        if len(self._open) > MOST_OPEN:
            self._record_untried(self._open.pop(sorted(self._open)[-2]).stated)
        if is_new and size == min(self._open):
            self._smallest, self._is_try_due = size, True

    def _try_smallest(self) -> VerifiedLeaves | None:
        """Rule 5 for the smallest open checkpoint, or else rule 6."""
        self._smallest = min(self._open)
        tried = self._open[self._smallest]
        stated = tried.stated
        self._is_try_due = False
        self.unresolved = self._missing_leaves(stated)
        if self.unresolved is None:
            found = self._candidates.choose(self._frontier, stated, tried.frontier, self._budget)
            if found:
                return self._accept(tried, found)
            self.unresolved = errors.SealMismatch(self._origin, self.size, stated.size)
        return None

    def _missing_leaves(self, stated: Checkpoint) -> errors.SealBroken | None:
        """The error if a leaf of a checkpoint has no candidate, or if it has too many leaves.

        Where messages are missing, checkpoints between may be missing too. So the owner's relay
        has not kept to the limit only if all leaves up to the limit are there.
        """
        missing = self._candidates.first_missing(min(stated.size, self.size + WINDOW))
        if missing is not None:
            return errors.SealGap(self._origin, missing, stated.size)
        if stated.size > self.size + WINDOW:
            return errors.CheckpointTooWide(self._origin, stated.size, self.size, WINDOW)
        return None

    def _accept(self, opened: _OpenCheckpoint, found: ChosenLeaves) -> VerifiedLeaves:
        stated = opened.stated
        start, self._frontier = self.size, found.frontier
        self.size = found.frontier.size
        for index, offset in found.rejected:
            self.skipped.add(skipped.ALTERED, offset, index)
        covered = opened.covered
        for each in covered:
            self._record_root(each)
        if self.history:
            self.history.add(found.leaves, (*covered, stated))
        self._candidates.advance(stated.size)
        self._postponed.restart(found.frontier)
        del self._open[stated.size]
        self._smallest = min(self._open, default=-1)
        # The leaves of the next open checkpoint may have arrived already.
        self._is_try_due = True
        return VerifiedLeaves(
            start, self.size, stated.root, opened.note, found.frontier, found.leaves, found.offsets
        )

    def _record_root(self, stated: Checkpoint) -> None:
        self._roots[stated.size] = stated.root
        if len(self._roots) > MOST_KNOWN_ROOTS:
            del self._roots[next(iter(self._roots))]


def _is_frontier(hashes: tuple[bytes, ...], stated: Checkpoint) -> bool:
    """Whether these hashes are the frontier of the checkpoint's tree, which has the signed root."""
    fits = len(hashes) == stated.size.bit_count()
    return fits and Frontier(stated.size, hashes).root() == stated.root
