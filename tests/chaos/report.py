"""The result of one part of the run: its row of the table, and its problems in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.judge import Verdict


@dataclass
class Report:
    """One part.

    Attributes:
        part: what it does, in words.
        name: by which it is asked for.
        faults: how many hit processes, services and connections.
        passed_over: how many were planned and could not be brought about.
        in_data: how many others, by kind: batches of damaged datums, transactions that end badly.
        recovery_s: the longest time from a fault, or from its mending, until work went on.
        recoveries: each of these times by the kind of fault, where a part has kinds.
        notes: what was measured besides, in words.
        problems: everything that should not be; none means that the part's promise holds.
    """

    part: str
    name: str = ""
    faults: int = 0
    passed_over: int = 0
    events: int = 0
    lost: int = 0
    doubled: int = 0
    forged: int = 0
    resent: int = 0
    recovery_s: float = 0.0
    seconds: float = 0.0
    in_data: Counter[str] = field(default_factory=Counter)
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
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
        self.passed_over += other.passed_over
        self.in_data += other.in_data
        self.recoveries += other.recoveries
        self.notes += other.notes
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
    found = Table(
        title=f"seed {seed}",
        title_justify="left",
        show_footer=True,
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    found.add_column("part", "all")
    totals = [sum(column) for column in zip(*map(_counts, reports), strict=True)]
    for name, total in zip(_COUNTS, totals, strict=True):
        found.add_column(name, f"{total:,}", justify="right")
    longest = max((each.recovery_s for each in reports), default=0.0)
    found.add_column("recovery", f"{longest:.1f} s", justify="right")
    found.add_column("took", justify="right")
    found.add_column("")
    for each in reports:
        found.add_row(
            each.name,
            *(f"{count:,}" for count in _counts(each)),
            f"{each.recovery_s:.1f} s" if each.faults else "",
            f"{each.seconds:.0f} s",
            "holds" if each.holds else "[bold red]BROKEN",
        )
    return found


_COUNTS = ("faults", "in data", "events", "lost", "doubled", "forged", "resent")


def _counts(report: Report) -> tuple[int, ...]:
    return (
        report.faults, report.in_data.total(), report.events,
        report.lost, report.doubled, report.forged, report.resent,
    )  # fmt: skip


def kinds(reports: Sequence[Report]) -> Table:
    """The faults of all parts by their kinds, and how long it took until work went on."""
    times: dict[str, list[float]] = {}
    for kind, seconds in (one for each in reports for one in each.recoveries):
        times.setdefault(kind, []).append(seconds)
    in_data: Counter[str] = sum((each.in_data for each in reports), Counter())
    found = Table(title="faults by kind, and until work went on", title_justify="left", box=SIMPLE)
    found.add_column("fault")
    for name in ("faults", "median", "longest"):
        found.add_column(name, justify="right")
    for kind, those in sorted(times.items(), key=lambda one: one[0].lower()):
        found.add_row(kind, f"{len(those):,}", f"{median(those):.1f} s", f"{max(those):.1f} s")
    if times and in_data:
        found.add_section()
    for kind, count in sorted(in_data.items()):
        found.add_row(f"{kind} (in data)", f"{count:,}")
    return found


def document(reports: Sequence[Report], seed: str) -> dict[str, object]:
    """The sum of all parts, for machines."""
    return {
        "seed": seed,
        "faults": sum(each.faults for each in reports),
        "faults_passed_over": sum(each.passed_over for each in reports),
        "faults_in_data": sum(each.in_data.total() for each in reports),
        "events": sum(each.events for each in reports),
        "lost": sum(each.lost for each in reports),
        "doubled": sum(each.doubled for each in reports),
        "forged": sum(each.forged for each in reports),
        "longest_recovery_s": round(max((each.recovery_s for each in reports), default=0), 1),
        "problems": sum(len(each.problems) for each in reports),
    }
