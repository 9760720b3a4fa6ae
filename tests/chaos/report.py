"""What a part of the run has found: one row of the table, and what is wrong in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.judge import Verdict


@dataclass
class Report:
    """One part.

    Attributes:
        faults: how many were injected.
        recovery_s: the longest time from a fault, or from its mending, until work went on.
        recoveries: each of these times by the kind of fault, where a part has kinds.
        problems: everything that should not be; none means that the part's promise holds.
    """

    part: str
    faults: int = 0
    events: int = 0
    lost: int = 0
    doubled: int = 0
    forged: int = 0
    resent: int = 0
    recovery_s: float = 0.0
    seconds: float = 0.0
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def fault(self, recovery_s: float, kind: str = "") -> None:
        """Count a fault, and how long it took until work went on."""
        self.faults += 1
        self.recovery_s = max(self.recovery_s, recovery_s)
        if kind:
            self.recoveries.append((kind, recovery_s))

    def add(self, other: Report) -> None:
        """Add what a part of this part has found."""
        self.take(other)
        self.faults += other.faults
        self.recoveries += other.recoveries
        self.recovery_s = max(self.recovery_s, other.recovery_s)
        self.seconds += other.seconds

    def take(self, verdict: Verdict | Report) -> None:
        """Add what the judge has found."""
        self.events += verdict.events
        self.lost += verdict.lost
        self.doubled += verdict.doubled
        self.forged += verdict.forged
        self.resent += verdict.resent
        self.problems += verdict.problems

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.problems or self.lost or self.doubled or self.forged)


def table(reports: Sequence[Report], seed: str) -> Table:
    """All parts, one row each."""
    found = Table(title=f"seed {seed}", title_justify="left")
    found.add_column("part")
    for name in ("faults", "events", "lost", "doubled", "forged", "sent again", "recovery", "took"):
        found.add_column(name, justify="right")
    found.add_column("")
    for each in reports:
        counts = (
            each.faults, each.events, each.lost, each.doubled, each.forged, each.resent,
        )  # fmt: skip
        found.add_row(
            each.part,
            *(f"{count:,}" for count in counts),
            f"{each.recovery_s:.1f} s",
            f"{each.seconds:.0f} s",
            "holds" if each.holds else "[bold red]BROKEN",
        )
    return found


def kinds(reports: Sequence[Report]) -> Table:
    """The faults of all parts by their kinds, and how long it took until work went on."""
    times: dict[str, list[float]] = {}
    for kind, seconds in (one for each in reports for one in each.recoveries):
        times.setdefault(kind, []).append(seconds)
    found = Table(title="until work went on", title_justify="left")
    found.add_column("fault")
    for name in ("faults", "median", "longest"):
        found.add_column(name, justify="right")
    for kind, those in sorted(times.items()):
        found.add_row(kind, f"{len(those):,}", f"{median(those):.1f} s", f"{max(those):.1f} s")
    return found


def document(reports: Sequence[Report], seed: str) -> dict[str, object]:
    """The sum of all parts, for machines."""
    return {
        "seed": seed,
        "faults": sum(each.faults for each in reports),
        "events": sum(each.events for each in reports),
        "lost": sum(each.lost for each in reports),
        "doubled": sum(each.doubled for each in reports),
        "forged": sum(each.forged for each in reports),
        "longest_recovery_s": round(max((each.recovery_s for each in reports), default=0), 1),
        "problems": sum(len(each.problems) for each in reports),
    }
