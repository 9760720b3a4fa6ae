"""Signed statements about the trees of a topic that are stored in other topics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sinergi_schemas import errors
from sinergi_schemas.kafka.unreadable import UnreadableCounts
from sinergi_schemas.plain_text import counted
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sinergi_schemas.agreements.receipts import CosignedReceipt

HEADS, RECEIPT = "heads", "receipt"
_MOST_SHOWN = 20  # claims


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A signed statement about the tree of one partition, from another topic.

    Attributes:
        name: of the key, `<bus>/<agency>` or `<bus>/<agency>/<database>`.
        kind: `HEADS` or `RECEIPT`.
        partition: its number.
        size, root: of the tree.
        at: the time of the signature by the signer's clock; None if it is out of range, or if only
            replaced keys have signed heads.
        note: the complete signed note.
    """

    name: str
    kind: str
    partition: int
    size: int
    root: bytes
    at: datetime | None
    note: str

    @classmethod
    def of_receipt(cls, receipt: CosignedReceipt) -> SignedStatement:
        """The statement of a receipt whose tree the owner has signed."""
        tree = receipt.tp.partition, receipt.size, receipt.root
        return cls(receipt.key.name, RECEIPT, *tree, receipt.signed_at, receipt.note)

    @property
    def states(self) -> str:
        """The verb after its name in a sentence."""
        return "state" if self.kind == HEADS else "states"

    def __str__(self) -> str:
        when = "an unknown time" if self.at is None else local_text(self.at)
        return f"the {self.kind} that {self.name} signed at {when}"


class ComparedPartition(Protocol):
    """What a replay has verified of a partition, as statements are compared with it."""

    partition: int
    verified: int
    first_offset: int

    @property
    def roots(self) -> Mapping[int, bytes]:
        """The roots of its verified trees, by size."""

    def unsealed_of(self, origin: str) -> int:
        """How many leaves after the verified ones are not sealed, if the origin is its own."""


class StatementObserver(Protocol):
    """Gets every valid statement about a topic that is read, and not only the largest ones."""

    def add(self, statement: SignedStatement) -> None:
        """Take another one; they come in any order, and some more than once."""

    def sizes(self, partition: int) -> set[int]:
        """The tree sizes of a partition at which the topic is compared with them."""


@dataclass(frozen=True, slots=True)
class SkippedStatements:
    """Messages of a topic that are not valid statements: the first offset, and their number."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Decrease:
    """A statement with a smaller tree than an earlier one of the same signer.

    Attributes:
        topic: the name of the topic with both statements.
        larger: the earlier statement, which is used.
        size: the tree size in the later statement.
        offset: of the later statement in `topic`.
    """

    topic: str
    larger: SignedStatement
    size: int
    offset: int

    def __str__(self) -> str:
        return (
            f"{self.topic} states {counted(self.size, 'leaf', 'leaves')} of partition"
            f" {self.larger.partition} at offset {self.offset}, after {self.larger}, which"
            f" {self.larger.states} {self.larger.size}: the larger one is used"
        )


@dataclass(frozen=True, slots=True)
class UnsupportedClaim:
    """A tree in a receipt that a reader signed and the topic's owner did not sign.

    Anybody can remove the owner's signature from a true receipt. So a claim accuses nobody, and it
    is dropped if a statement or the topic shows that the owner has signed this tree.
    """

    reader: str
    partition: int
    size: int
    root: bytes
    why: str

    def __str__(self) -> str:
        what = "the receipt bears no owner's signature (anybody can remove it)"
        if self.why != errors.SignatureMissing.__name__:
            what = f"the owner's signature in the receipt is not valid ({self.why})"
        return (
            f"{self.reader} claims {counted(self.size, 'leaf', 'leaves')} of partition"
            f" {self.partition}: {what}, and no signed checkpoint of this tree was found"
        )


@dataclass(slots=True)
class SignedStatements:
    """All signed statements about one topic that are stored in other topics.

    Attributes:
        largest: the largest statement of each signer about each partition.
        has_heads: whether the owner's heads were found. Without them, missing last messages may
            not be detected.
        heads_at: when the owner signed its newest heads, by its clock.
        decreases: statements that are smaller than an earlier one.
        claims: trees that readers signed and the owner did not.
        claims_beyond_limit: the number of further ones, which were not stored.
        signed: partition, size and root of the trees in verified statements.
        databases: the names of the agreed readers' databases.
        missing_topics: the topics of the owner's heads and of the agreed readers' receipts that do
            not exist.
        skipped: messages that are not valid statements, by the name of their topic.
        unreadable: batches that could not be read, and may have held statements.
        beginnings: the first offset of each topic of statements that has lost its first messages.
    """

    largest: list[SignedStatement] = field(default_factory=list)
    has_heads: bool = False
    heads_at: datetime | None = None
    decreases: list[Decrease] = field(default_factory=list)
    claims: list[UnsupportedClaim] = field(default_factory=list)
    claims_beyond_limit: int = 0
    signed: set[tuple[int, int, bytes]] = field(default_factory=set)
    databases: list[str] = field(default_factory=list)
    missing_topics: list[str] = field(default_factory=list)
    skipped: dict[str, SkippedStatements] = field(default_factory=dict)
    unreadable: UnreadableCounts = field(default_factory=UnreadableCounts)
    beginnings: dict[str, int] = field(default_factory=dict)

    def deleted(self, topic: str) -> str:
        """What the brokers have deleted of a topic of statements; empty if nothing."""
        first = self.beginnings.get(topic)
        return (
            f"{topic} begins at offset {first}: the brokers have deleted older messages"
            if first
            else ""
        )

    def of(self, partition: int) -> list[SignedStatement]:
        """The statements about one partition, the largest tree first."""
        found = (each for each in self.largest if each.partition == partition)
        return sorted(found, key=lambda each: (-each.size, each.kind, each.name))

    def sizes(self, partition: int) -> set[int]:
        """The tree sizes of a partition for which there is a signed statement."""
        claimed = {each.size for each in self.claims if each.partition == partition}
        return claimed | {each.size for each in self.of(partition)}

    def contradictions(
        self, counts: ComparedPartition, origin: str, *, is_read_to_end: bool
    ) -> list[tuple[SignedStatement, errors.SealBroken]]:
        """Those that contradict a partition, the largest tree first, each with its error.

        Args:
            origin: `<bus>/<topic>/<partition>`, for the errors.
            is_read_to_end: if it was not, its size is unknown, and larger trees say nothing.
        """
        unsealed = counts.unsealed_of(origin)
        beginning = 0 if unsealed else counts.first_offset
        return [
            (each, errors.FirstLeavesDeleted.of(error, beginning))
            for each in self.of(counts.partition)
            if (is_read_to_end or each.size <= counts.verified)
            and (error := contradiction(each, origin, counts.verified, counts.roots, unsealed))
        ]

    def drop_supported_claims(self, partition: int, *roots: Mapping[int, bytes]) -> None:
        """Remove the claims whose tree is known from a checkpoint that the owner has signed.

        Args:
            partition: its number.
            roots: of its verified trees, and of those in signed checkpoints, by size.
        """
        self.claims[:] = [
            each
            for each in self.claims
            if each.partition != partition
            or not (
                (partition, each.size, each.root) in self.signed
                or any(known.get(each.size) == each.root for known in roots)
            )
        ]

    @property
    def without_receipt(self) -> list[str]:
        """The agreed readers' databases that have no receipt of any partition."""
        have = {each.name for each in self.largest if each.kind == RECEIPT}
        return [each for each in self.databases if each not in have]

    @property
    def remarks(self) -> list[str]:
        """Remarks that do not disprove the topic, one per line."""
        skipped = (
            f"{counted(each.count, 'message')} of {topic}, the first at offset {each.first},"
            " skipped: not a valid signed statement"
            for topic, each in self.skipped.items()
        )
        found = [f"there is no topic {each}" for each in self.missing_topics]
        hint = "`sinergi provision apply` sets cleanup.policy to compact"
        found += [f"{self.deleted(each)}; {hint}" for each in self.beginnings]
        found += [*map(str, self.decreases), *map(str, self.claims[:_MOST_SHOWN]), *skipped]
        if more := max(len(self.claims) - _MOST_SHOWN, 0) + self.claims_beyond_limit:
            found.append(f"{counted(more, 'more claim')} without the owner's signature")
        return [*found, *self.unreadable.remarks]


def contradiction(
    statement: SignedStatement,
    origin: str,
    size: int,
    roots: Mapping[int, bytes],
    unsealed: int = 0,
) -> errors.SealBroken | None:
    """The error if a statement contradicts a partition that was read to its end, or None.

    Args:
        statement: the statement.
        origin: `<bus>/<topic>/<partition>`, for the error.
        size: the number of its verified leaves.
        roots: of its trees by size, at each checkpoint and at each size that a statement has.
        unsealed: the number of leaves after the last valid checkpoint.
    """
    if statement.size > size:
        return missing_end(origin, size, unsealed, statement.size, str(statement))
    if roots.get(statement.size, statement.root) != statement.root:
        return errors.SealFork(origin, statement.size)
    return None


def missing_end(
    origin: str, size: int, unsealed: int, stated: int, source: str
) -> errors.SealBroken:
    """The error for a partition with fewer verified leaves than `source` states.

    Either messages are missing, or the messages are there and their checkpoint is not.
    """
    if unsealed and size + unsealed >= stated:
        return errors.CheckpointInvalid(origin, size, stated, source)
    return errors.TailMissing(origin, size, stated, source)
