"""What an audit found out about a topic and about the copy that it was compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sinergi_consumers.audit.statements import SignedStatements


@dataclass(frozen=True, slots=True)
class LeafDifference:
    """The first leaf of a copy that is not the one in the verified copy.

    Attributes:
        partition: its number.
        leaf: the index.
        is_missing: whether the copy has no message with that index.
        is_end: whether it has none with a higher index either.
    """

    partition: int
    leaf: int
    is_missing: bool
    is_end: bool

    def __str__(self) -> str:
        what = "is missing" if self.is_missing else "differs"
        return f"leaf {self.leaf} of partition {self.partition} {what}"


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One error that disproves a copy of the topic.

    Attributes:
        why: the error.
        partition: the partition that it is about.
        remarks: further facts about it, one per line.
        difference: the first leaf that differs from the other copy, if it is known.
        is_fork: whether the owner has signed two histories. Nobody else can do that.
    """

    why: str
    partition: int
    remarks: tuple[str, ...] = ()
    difference: LeafDifference | None = None
    is_fork: bool = False

    @property
    def summary(self) -> str:
        """The difference, or else the partition, in a few words."""
        if self.difference is not None:
            return str(self.difference)
        return f"partition {self.partition} does not match its checkpoints"


@dataclass(slots=True)
class AuditVerdict:
    """The result of an audit.

    Attributes:
        statements: the signed statements about the topic in other topics.
        findings: all errors of the audited copy; empty if there are none.
        not_read: why the topic could not be read, where others are audited too; else an empty text.
        not_a_copy: why the audited copy is no copy of the topic, or an empty text.
        other_findings: all errors of the other copy. They say nothing about the audited copy.
        other_is_no_copy: why the other copy is no copy of the topic, or an empty text.
        compared: the number of leaves that are equal in the other copy; None without a copy.
        missing_in_copy: the leaves that the other copy lacks, one line per partition.
    """

    statements: SignedStatements
    findings: list[AuditFinding] = field(default_factory=list)
    not_read: str = ""
    not_a_copy: str = ""
    other_findings: list[AuditFinding] = field(default_factory=list)
    other_is_no_copy: str = ""
    compared: int | None = None
    missing_in_copy: list[str] = field(default_factory=list)
