"""What was signed about a topic outside of it: statements about its trees, and who made them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

HEADS, RECEIPT = "heads", "receipt"


@dataclass(frozen=True, slots=True)
class Witness:
    """A signed statement about the tree of one partition, from outside its topic.

    Attributes:
        name: the key's, `<bus>/<agency>` or `<bus>/<agency>/<database>`.
        kind: `HEADS` or `RECEIPT`.
        size, root: the tree.
        at: when it was signed, by its signer's clock; None where that is no time.
        note: the whole signed note.
    """

    name: str
    kind: str
    partition: int
    size: int
    root: bytes
    at: datetime | None
    note: str

    def __str__(self) -> str:
        when = "a time that is none" if self.at is None else self.at.isoformat()
        return f"the {self.kind} that {self.name} signed at {when}"


@dataclass(frozen=True, slots=True)
class Junk:
    """Messages of a topic that were passed over: the offset of the first one, and how many."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Decrease:
    """A statement that was followed by a smaller one of the same signer.

    Attributes:
        larger: the one that counts.
        size: what the later one states.
        offset: where the later one lies in `topic`.
    """

    topic: str
    larger: Witness
    size: int
    offset: int

    def __str__(self) -> str:
        return (
            f"{self.topic} states {counted(self.size, 'leaf', 'leaves')} of partition"
            f" {self.larger.partition} at offset {self.offset}, behind {self.larger}, which states"
            f" {self.larger.size}: the larger one counts"
        )


@dataclass(frozen=True, slots=True)
class UnsupportedClaim:
    """A tree that a reader signed in a note which the topic's owner did not sign.

    Anybody can take the owner's signature out of a true receipt. So where the topic shows the owner
    to have signed this very tree, it is no claim.
    """

    reader: str
    partition: int
    size: int
    root: bytes
    why: str

    def __str__(self) -> str:
        return (
            f"{self.reader} claims {counted(self.size, 'leaf', 'leaves')} of partition"
            f" {self.partition}, which their owner did not sign ({self.why}): it is that reader's"
            " word alone"
        )


@dataclass(slots=True)
class Testimony:
    """All that was signed about one topic elsewhere.

    Attributes:
        witnesses: the largest statement of each signer about each partition.
        has_heads: whether its owner's heads were there; without them a missing tail may pass.
        heads_at: when the owner signed its newest heads, by its clock.
        decreases: statements behind which a smaller one stands.
        claims: what readers signed in notes that the owner did not sign.
        junk: the messages that are no statement of anybody's, by the topic where they lie.
    """

    witnesses: list[Witness] = field(default_factory=list)
    has_heads: bool = False
    heads_at: datetime | None = None
    decreases: list[Decrease] = field(default_factory=list)
    claims: list[UnsupportedClaim] = field(default_factory=list)
    junk: dict[str, Junk] = field(default_factory=dict)

    def of(self, partition: int) -> list[Witness]:
        """The statements about one partition, that of the largest tree first."""
        found = (each for each in self.witnesses if each.partition == partition)
        return sorted(found, key=lambda each: (-each.size, each.kind, each.name))

    def sizes(self, partition: int) -> set[int]:
        """The tree sizes of a partition that somebody has signed."""
        claimed = {each.size for each in self.claims if each.partition == partition}
        return claimed | {each.size for each in self.of(partition)}

    def settle(self, partition: int, roots: Mapping[int, bytes]) -> None:
        """Drop the claims of trees that a partition turns out to have under its owner's seal.

        Args:
            roots: of its verified trees, by size.
        """
        self.claims[:] = [
            each
            for each in self.claims
            if each.partition != partition or roots.get(each.size) != each.root
        ]

    @property
    def remarks(self) -> list[str]:
        """What is to be said besides, one line each, and does not speak against the topic."""
        junk = (
            f"{counted(each.count, 'message')} of {topic}, the first at offset {each.first},"
            " skipped: no statement of anybody's"
            for topic, each in self.junk.items()
        )
        return [*map(str, self.decreases), *map(str, self.claims), *junk]


def objection(
    witness: Witness, origin: str, size: int, roots: Mapping[int, bytes]
) -> errors.SealBroken | None:
    """What a witness holds against a partition that was read to its end, or None.

    Args:
        size: how many of its leaves are verified.
        roots: of its trees, by size: at each checkpoint and at each size that a witness states.
    """
    if witness.size > size:
        return errors.TailMissing(origin, size, witness.size, str(witness))
    if roots.get(witness.size, witness.root) != witness.root:
        return errors.SealFork(origin, witness.size)
    return None
