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
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.faults import calls, frames, kill, outage, outbox, produce, schedule, stop
from chaos.patience import Overdue
from chaos.report import Report, document, kinds, table
from chaos.services import Services
from chaos.site import Scale
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Part = Callable[[Services, Path, str, Scale], Report]

_SILENT = 50
_WIDTH = 110
_HOUR = 3_600.0

PARTS: dict[str, tuple[Part, Scale]] = {
    "frames": (frames.run, Scale(200_000, 4)),
    "calls": (calls.run, Scale(0, 1)),
    "schedule": (schedule.run, Scale(5_000, 50)),
    "kill": (kill.run, Scale(20_000, 25)),
    "stop": (stop.run, Scale(6_000, 3)),
    "outage": (outage.run, Scale(12_000, 4)),
    "outbox": (outbox.run, Scale(50_000, 16)),
    "produce": (produce.run, Scale(10_000, 1)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts that are asked for; the exit status."""
    asked = _arguments(arguments)
    err = Console(stderr=True, highlight=False)
    err.print(f"seed {asked.seed}  (again: make chaos SEED={asked.seed})")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_SILENT))
    with ExitStack() as stack:
        name = tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)
        run = _Run(Path(stack.enter_context(name)), asked.seed, err)
        reports = run.all(asked.only or list(PARTS), asked.hours)
    Console(width=_WIDTH).print(table(reports, asked.seed), kinds(reports))
    if asked.plot and any(each.recoveries for each in reports):
        from chaos.plot import draw

        draw(reports, asked.plot)
        err.print(f"plot: {asked.plot}", soft_wrap=True)
    print(json.dumps(document(reports, asked.seed)))  # noqa: T201 - what machines read
    return 0 if all(each.holds for each in reports) else 1


class _Run:
    """The parts one after another on the same servers; frames need none and run beside them."""

    def __init__(self, folder: Path, seed: str, err: Console) -> None:
        self._folder = folder
        self._seed = seed
        self._err = err

    def all(self, parts: Sequence[str], hours: float) -> list[Report]:
        """What each has found, in their order, over all times that it was run."""
        end = SYSTEM.monotonic() + hours * _HOUR
        with Services(self._folder / "services") as services:
            found = self._once(parts, services, self._seed)
            for number in count(1):
                if SYSTEM.monotonic() >= end:
                    break
                seed = f"{self._seed}/{number}"
                for one, more in zip(found, self._once(parts, services, seed), strict=True):
                    one.add(more)
        return found

    def _once(self, parts: Sequence[str], services: Services, seed: str) -> list[Report]:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        folder.chmod(0o711)
        beside = [part for part in parts if part == "frames"]
        with ThreadPoolExecutor(1, "beside") as thread:
            later = [thread.submit(self._part, part, services, folder, seed) for part in beside]
            now = [self._part(part, services, folder, seed) for part in parts if part not in beside]
            return [*(each.result() for each in later), *now]

    def _part(self, part: str, services: Services, folder: Path, seed: str) -> Report:
        run, scale = PARTS[part]
        begun = SYSTEM.monotonic()
        try:
            report = run(services, folder / part, seed, scale)
        except Overdue as late:
            report = Report(part, problems=[str(late)])
        report.seconds = SYSTEM.monotonic() - begun
        self._say(report)
        return report

    def _say(self, report: Report) -> None:
        verdict = "holds" if report.holds else "BROKEN"
        self._err.print(
            f"{report.part}: {verdict} ({report.faults:,} faults, {report.seconds:.0f} s)"
        )
        for each in report.problems:
            self._err.print(f"    {each}", markup=False)


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
