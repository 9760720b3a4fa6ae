"""The kinds of problems that `sinergi status` knows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    """The kinds of problems, the worst first."""

    SETTINGS = "settings"
    AGREEMENTS = "agreements"
    INVALID = "invalid"
    RESTORED = "restored"
    HALTED = "halted"
    CUT = "cut"
    UNDECIDED = "undecided"
    HEADS = "heads"
    TOPIC = "topic"
    UNDER_REPLICATED = "under-replicated"
    FOREIGN_WRITER = "foreign-writer"
    FOREIGN_MEMBER = "foreign-member"
    NO_RELAY = "no-relay"
    NO_MATERIALISER = "no-materialiser"
    UNSEALED = "unsealed"
    UNSENT = "unsent"
    BEHIND = "behind"
    HELD = "held"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class StatusProblem:
    """A problem, in one line."""

    kind: ProblemKind
    topic: str | None
    partition: int | None
    what: str
