"""The parts of a verification: what is proved, what is disproved, what could not be checked.

Every part that is disproved names who could have done it. Nobody else can: a signature excludes
all who do not have its key, and a right in the database all who do not have the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sinergi_consumers.audit.statements import RECEIPT
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.plain_text import counted
from sinergi_schemas.seal.heads import STALE_SECONDS
from sinergi_schemas.topics import TopicPartition, control_topic, receipts_topic
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.protocol import PositionKey

UNREAD = "the topic was not read"
_OPERATOR = "the brokers' operator, or whoever else may delete from the topic or write to it"
_CHECKPOINT_WRITERS = "whoever may write to sinergi_consumer.checkpoint in the database"
_ARCHIVE_HOLDERS = f"whoever has made the archive or had it in hand, {_OPERATOR}"
_POSITION_WRITERS = "whoever may write to sinergi_consumer.position in the database"


class PartVerdict(StrEnum):
    """Whether a part is as it should be."""

    PROVED = "proved"
    DISPROVED = "disproved"
    UNCHECKED = "not checked"

    @property
    def is_proved(self) -> bool | None:
        """Whether it is proved; None if that could not be checked."""
        return None if self is PartVerdict.UNCHECKED else self is PartVerdict.PROVED


@dataclass(frozen=True, slots=True)
class VerifiedPart:
    """One part of a verification.

    Attributes:
        part: what kind of thing it is: seal, heads, receipts, checkpoint, position, table, rows or
            quarantine.
        of: the thing, for example a topic or a table.
        detail: what was found.
        suspects: who could have done it, if it is disproved.
        topic: it is, or is about; empty if it is a thing in the database.
    """

    part: str
    of: str
    proof: PartVerdict
    detail: str
    suspects: str = ""
    topic: str = ""

    @property
    def subject(self) -> str:
        """The thing, with the topic that it is about."""
        return self.of if self.topic in ("", self.of) else f"{self.of} on {self.topic}"


@dataclass(frozen=True, slots=True)
class PositionResult:
    """What a position is worth.

    Attributes:
        size: how many leaves the projection has.
        verified: how many leaves of the topic are verified; None if the topic was not read.
        is_proved: whether its tree is the topic's; None if the topic does not show it.
        is_other_history: whether the owner has signed the tree of the position, and another one.
        fault: why what is stored can be no position; else empty.
    """

    key: PositionKey
    size: int
    verified: int | None
    is_proved: bool | None
    is_other_history: bool = False
    fault: str = ""

    @property
    def is_unread(self) -> bool:
        """Whether there is nothing to compare it with."""
        return self.is_proved is None and self.verified is None


def of_topic(audit: Audit, *, is_archived: bool) -> Iterator[VerifiedPart]:
    """The seal of a topic, and its owner's heads.

    Args:
        is_archived: whether it is read in an archive, which others may have changed or cut off.
    """
    name, agency = audit.topic.name, audit.topic.agency
    verified = counted(sum(each.verified for each in audit.partition_counts), "leaf", "leaves")
    for finding in audit.verdict.findings:
        suspects = _ARCHIVE_HOLDERS if is_archived else _OPERATOR
        if finding.is_fork:
            suspects = f"{agency}, whose key has signed both"
        yield VerifiedPart("seal", name, PartVerdict.DISPROVED, finding.why, suspects, name)
    if not audit.verdict.findings:
        why = audit.why_undecided
        proof = PartVerdict.UNCHECKED if why else PartVerdict.PROVED
        yield VerifiedPart("seal", name, proof, why or verified, topic=name)
    if audit.verdict.not_read:
        return
    statements = audit.verdict.statements
    if not statements.has_heads:
        what = f"no heads signed by {agency} were found; newer messages may be missing"
        if deleted := statements.deleted(control_topic(agency)):
            what += f"; {deleted}"
        yield VerifiedPart("heads", name, PartVerdict.UNCHECKED, what, topic=name)
        return
    at = statements.heads_at
    age = None if at is None else (SYSTEM.now() - at).total_seconds()
    if at is None or age is None:
        what = "signed at an unknown time; newer messages may be missing"
    elif age > STALE_SECONDS:
        what = f"signed at {local_text(at)}; newer messages may be missing"
    else:
        what = f"signed {age:.0f} s ago"
    yield VerifiedPart("heads", name, PartVerdict.PROVED, what, topic=name)


def of_receipts(
    audit: Audit, own_name: str, published: Mapping[TopicPartition, int], *, is_archived: bool
) -> Iterator[VerifiedPart]:
    """The receipts of all readers of a topic.

    Args:
        own_name: the name of this database's key for receipts.
        published: the sizes in the receipts that this database has published.
        is_archived: whether an archive is read, which may be older than these receipts.
    """
    if audit.verdict.not_read:
        return
    statements, topic = audit.verdict.statements, audit.topic.name
    for name in statements.databases:
        stated = {
            each.partition: each.size
            for each in statements.largest
            if each.kind == RECEIPT and each.name == name
        }
        withheld = _withheld(audit, stated, published) if name == own_name else ""
        reader, written = name.partition("/")[2], receipts_topic(name.split("/")[1])
        if withheld and (deleted := statements.deleted(written)):
            withheld += f"; {deleted}"
        if withheld and not is_archived:
            suspects = f"the brokers' operator, or whoever else may write to {written}"
            found = PartVerdict.DISPROVED, withheld, suspects
        elif withheld:
            what = f"{withheld}: the archive may be older than that receipt"
            found = PartVerdict.UNCHECKED, what, ""
        else:
            found = (*_of_stated(audit, stated, written), "")
        yield VerifiedPart("receipts", reader, *found, topic=topic)


def _of_stated(audit: Audit, stated: Mapping[int, int], written: str) -> tuple[PartVerdict, str]:
    """What the receipts of one reader are worth, none of which is withheld.

    Args:
        stated: the size in its largest receipt, by partition.
        written: the topic to which it writes them.
    """
    deleted = audit.verdict.statements.deleted(written)
    verified = sum(each.verified for each in audit.partition_counts)
    if not stated and verified:
        why = deleted or "it is withheld, or nothing was read"
        return PartVerdict.UNCHECKED, f"no receipt was found: {why}"
    if not verified and audit.is_proved is None:
        what = "there are no verified leaves with which a receipt could be compared"
        return PartVerdict.UNCHECKED, what
    if beyond := _beyond(audit, stated):
        return PartVerdict.UNCHECKED, beyond
    of_leaves = counted(verified, "leaf", "leaves")
    return PartVerdict.PROVED, f"{sum(stated.values()):,} of {of_leaves}"


def _beyond(audit: Audit, stated: Mapping[int, int]) -> str:
    """The first receipt for more leaves than the topic shows; empty if it shows all of them."""
    for each in audit.partition_counts:
        if (size := stated.get(each.partition, 0)) > each.verified:
            what = f"signed for {counted(size, 'leaf', 'leaves')} of partition {each.partition}"
            return f"{what}, of which the topic shows {each.verified:,}"
    return ""


def _withheld(
    audit: Audit, stated: Mapping[int, int], published: Mapping[TopicPartition, int]
) -> str:
    """The first receipt that was published and is not there; empty if all are there."""
    for tp, size in published.items():
        found = stated.get(tp.partition, 0)
        if tp.topic == audit.topic.name and found < size:
            what = f"the receipt for {counted(size, 'leaf', 'leaves')} of partition {tp.partition}"
            other = f"the largest one there is for {found}" if found else "none is there"
            return f"{what} was published, and {other}"
    return ""


def of_other_history(
    audit: Audit, tp: TopicPartition, size: int, *, is_signed: bool
) -> VerifiedPart:
    """A checkpoint in the database whose tree is not that of the topic.

    Args:
        is_signed: whether the owner has signed it.
    """
    what = f"the database has another tree of {counted(size, 'leaf', 'leaves')} than the topic"
    if is_signed:
        what = f"two histories: {what}, and both are signed"
        suspects = f"{audit.topic.agency}, whose key has signed both"
    else:
        what = f"{what}, and its signature does not hold"
        suspects = _CHECKPOINT_WRITERS
    return VerifiedPart("checkpoint", str(tp), PartVerdict.DISPROVED, what, suspects)


def of_no_topic(tp: TopicPartition) -> VerifiedPart:
    """A checkpoint in the database of what can be no topic."""
    what = "no topic can have this name"
    return VerifiedPart("checkpoint", str(tp), PartVerdict.DISPROVED, what, _CHECKPOINT_WRITERS)


def of_positions(
    projection: Projection, positions: Sequence[PositionResult], read: Sequence[Audit]
) -> Iterator[VerifiedPart]:
    """The positions of a projection, one part for each topic.

    Args:
        read: the audits of the topics of its event type.
    """
    by_topic: dict[str, list[PositionResult]] = {audit.topic.name: [] for audit in read}
    for each in positions:
        by_topic.setdefault(each.key.tp.topic, []).append(each)
    for topic, those in by_topic.items():
        for found in _of_those(those):
            yield VerifiedPart("position", projection.name, *found, topic=topic)


def of_unknown(projections: Iterable[str]) -> Iterator[VerifiedPart]:
    """The projections of the database that are not installed here."""
    for name in sorted(projections):
        what = "the projection has positions and is not installed here: its rows were not compared"
        yield VerifiedPart("rows", name, PartVerdict.UNCHECKED, what)


def of_no_database(why: str) -> VerifiedPart:
    """What cannot be checked without a reader's database, and why there is none."""
    what = f"{why}: no position, row or quarantine was compared"
    return VerifiedPart("rows", "a reader's database", PartVerdict.UNCHECKED, what)


def _of_those(positions: Sequence[PositionResult]) -> Sequence[tuple[PartVerdict, str, str]]:
    """What is wrong with positions of a projection on one topic, or one part for all of them."""
    if not positions:
        what = "there is no position yet: nothing of it was materialised"
        return [(PartVerdict.UNCHECKED, what, "")]
    if all(each.is_unread for each in positions):
        return [(PartVerdict.UNCHECKED, UNREAD, "")]
    wrong = [_of_position(each) for each in positions if not each.is_proved]
    size = sum(each.size for each in positions)
    verified = sum(each.verified or 0 for each in positions)
    what = f"{size:,} of {counted(verified, 'leaf', 'leaves')}"
    return wrong or [(PartVerdict.PROVED, what, "")]


def _of_position(position: PositionResult) -> tuple[PartVerdict, str, str]:
    """The same of a position that is not proved."""
    number, size = position.key.tp.partition, counted(position.size, "leaf", "leaves")
    where = f"partition {number}: "
    if position.is_proved is None:
        shown = f"{size}, of which the topic shows {position.verified:,}"
        return PartVerdict.UNCHECKED, f"{where}{UNREAD if position.is_unread else shown}", ""
    if position.fault:
        return PartVerdict.DISPROVED, f"{where}{position.fault}", _POSITION_WRITERS
    if position.is_other_history:
        agency = position.key.tp.event_topic.agency
        what = f"{where}two histories: {agency} has signed another tree of {size}"
        return PartVerdict.DISPROVED, what, f"{agency}, whose key has signed both"
    what = f"{where}its tree of {size} is not that of the topic"
    return PartVerdict.DISPROVED, what, _POSITION_WRITERS


def overall(parts: Iterable[VerifiedPart]) -> PartVerdict:
    """Disproved if one part is; else not checked if one part is."""
    proofs = {each.proof for each in parts}
    for proof in (PartVerdict.DISPROVED, PartVerdict.UNCHECKED):
        if proof in proofs:
            return proof
    return PartVerdict.PROVED
