"""`make chaos`: faults on real processes, and a judge that counts afterwards.

    python tests/chaos/run.py [--seed SEED] [--only PART] [--hours HOURS] [--plot FILE]

It prints the seed, which draws the same schedule again, one line when a part ends, two tables, and
last one JSON line. Exit status: 0 everything agrees, 1 something does not, 2 it could not be told.
For some hours: the parts are run again and again, each time with a seed drawn from this one.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.chaos_bus import Scale
from chaos.faults import (
    brokers,
    calls,
    foreign,
    frames,
    kill,
    outage,
    outbox,
    poison,
    produce,
    rebalance,
    schedule,
    stop,
)
from chaos.lanes import Lanes, Undecided
from chaos.report import Report, document, kinds, table
from chaos.timing import interrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.lanes import Parts

_SILENT = 50
_WIDTH = 100
_FEWEST = 500
"""A whole run with fewer faults of processes, services and connections proves too little."""

PARTS: Parts = {
    "frames": (frames.run, Scale(200_000, 4)),
    "calls": (calls.run, Scale(0, 1)),
    "schedule": (schedule.run, Scale(6_000, 80)),
    "brokers": (brokers.run, Scale(12_000, 2)),
    "foreign": (foreign.run, Scale(4_000, 12_000)),
    "poison": (poison.run, Scale(1_000_000, 10_000)),
    "kill": (kill.run, Scale(20_000, 25)),
    "stop": (stop.run, Scale(6_000, 3)),
    "rebalance": (rebalance.run, Scale(6_000, 100)),
    "outage": (outage.run, Scale(12_000, 4)),
    "outbox": (outbox.run, Scale(50_000, 16)),
    "produce": (produce.run, Scale(10_000, 1)),
}
"""The longest first."""
ALONE = ("schedule", "outage")
"""These take servers away from everybody who is on them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; the exit status."""
    asked = _arguments(arguments)
    err = Console(stderr=True, highlight=False, soft_wrap=True)
    err.print(f"seed {asked.seed}  (again: make chaos SEED={asked.seed})")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_SILENT))
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: interrupt())
    try:
        reports = Lanes(PARTS, ALONE, asked.seed, lambda report: _say(err, report)).run(
            asked.only or list(PARTS), asked.hours
        )
    except Undecided as why:
        err.print(f"make chaos: {why}", markup=False)
        return 2
    Console(width=_WIDTH).print(table(reports, asked.seed), kinds(reports))
    if asked.plot and any(each.recoveries for each in reports):
        from chaos.plot import draw

        draw(reports, asked.plot)
        err.print(f"plot: {asked.plot}")
    faults = sum(each.faults for each in reports)
    is_enough = bool(asked.only) or faults >= _FEWEST
    if not is_enough:
        err.print(f"make chaos: {faults} faults are fewer than {_FEWEST}, which proves too little")
    print(json.dumps(document(reports, asked.seed)))  # noqa: T201 - what machines read
    return 0 if is_enough and all(each.holds for each in reports) else 1


def _say(err: Console, report: Report) -> None:
    verdict = "holds" if report.holds else "BROKEN"
    counts = [f"{report.faults:,} faults"]
    if report.passed_over:
        counts.append(f"{report.passed_over} passed over")
    if report.in_data:
        counts.append(f"{report.in_data.total():,} in data")
    counts.append(f"{report.seconds:.0f} s")
    err.print(f"{report.name}: {verdict} ({', '.join(counts)}): {report.part}")
    for each in (*report.notes, *report.problems):
        err.print(f"    {each}", markup=False)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--plot", type=Path, help="an SVG file; it needs altair")
    parser.add_argument("--only", nargs="*", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
