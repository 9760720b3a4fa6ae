"""Run the tests again and again, half of the times beside processes that burn every core.

    .venv/bin/python tests/repeat.py [--times N] [--burners N] [-- PYTEST ARGUMENTS…]

Without arguments for pytest it runs what `make test` runs after its lint. Every second run has
burners beside it: processes that do nothing but take the time of a core. Prints a row for each run
as soon as it has ended, and at the end the whole table. Exit status 0 if every run passed, 1 if one
failed, 2 if one could not be done.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.table import Table

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parent.parent
TIMES, BURNERS = 10, 2
# As in the Makefile.
USUAL = (
    "--numprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder",
    "--max-worker-restart", "0", "-m", "not long",
)  # fmt: skip
BURN = "while True: pass"
# What pytest says with its status besides: interrupted, its own error, wrong usage, no tests.
COULD_NOT = (2, 3, 4, 5)
MOST_NAMES = 20


@dataclass(frozen=True)
class Run:
    """One run of the tests.

    Attributes:
        load: how many burners were beside it.
        failures: the tests that did not pass, as pytest names them.
        status: pytest's exit status.
    """

    number: int
    load: int
    passed: int
    failures: tuple[str, ...]
    seconds: float
    status: int

    @property
    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        names = [*self.failures[:MOST_NAMES]]
        if more := len(self.failures) - len(names):
            names.append(f"and {more} more")
        if self.status and not self.failures:
            names.append(f"pytest ended with status {self.status}")
        load = f"{self.load} burners" if self.load else "none"
        counts = f"{self.passed}", f"{len(self.failures)}"
        return (f"{self.number}", load, *counts, f"{self.seconds:.0f} s", "\n".join(names))


@contextmanager
def burning(count: int) -> Iterator[None]:
    """Processes that take all the time they get, while the block lasts."""
    burners = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", BURN], stdin=subprocess.DEVNULL)
        for _ in range(count)
    ]
    try:
        yield
    finally:
        for each in burners:
            each.kill()
            each.wait()


def run(number: int, load: int, arguments: Sequence[str]) -> Run:
    """Run the tests once."""
    with tempfile.TemporaryDirectory(prefix="repeat-") as folder, burning(load):
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *arguments]
        began = SYSTEM.monotonic()
        status = subprocess.run(command, cwd=ROOT, check=False, env=os.environ).returncode
        seconds = SYSTEM.monotonic() - began
        passed, failures = counted(report)
    return Run(number, load, passed, failures, seconds, status)


def counted(report: Path) -> tuple[int, tuple[str, ...]]:
    """How many tests passed by pytest's report, and the names of those that did not."""
    if not report.exists():
        return 0, ()
    passed, failures = 0, []
    # pytest wrote it a moment ago
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - see above
        if case.find("failure") is None and case.find("error") is None:
            passed += 1
        else:
            failures.append(f"{case.get('classname')}::{case.get('name')}")
    return passed, tuple(failures)


def table(runs: Sequence[Run]) -> Table:
    """All runs so far."""
    made = Table("run", "load", "passed", "failed", "duration", "failures")
    for each in runs:
        made.add_row(*each.row)
    return made


def main(arguments: Sequence[str]) -> int:
    """Run and report; the exit status."""
    parser = argparse.ArgumentParser(description="Run the tests again and again.")
    parser.add_argument("--times", type=int, default=TIMES, help=f"{TIMES} unless given")
    parser.add_argument("--burners", type=int, default=BURNERS, help=f"{BURNERS} unless given")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    asked = parser.parse_args(arguments)
    console = Console()
    runs: list[Run] = []
    try:
        for number in range(1, asked.times + 1):
            load = 0 if number % 2 else asked.burners
            runs.append(run(number, load, asked.pytest or USUAL))
            console.print(table(runs[-1:]))
    except KeyboardInterrupt:
        return 2
    finally:
        console.print(table(runs))
    if any(each.status in COULD_NOT for each in runs):
        return 2
    return int(any(each.status for each in runs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
