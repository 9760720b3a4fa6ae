"""`make chaos-selftest`: steps broken on purpose, and the judge must catch each one.

    python tests/chaos/selftest.py [--only WEAKNESS …]

Each is tried twice on a bus of its own under the same fault: with the product as it is, where the
judge has to find nothing, and with the step broken, where it has to say what that breaks. It prints
a table; exit status 0 only if it was so with every one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos import weaknesses
from chaos.chaos_bus import chaos_bus
from chaos.judge import EpochFence, Judge
from chaos.services import Services
from chaos.tap import Armed, Mode, Orders
from chaos.timing import Overdue, until
from sinergi_consumers.sinks.postgresql.transaction import PostgresqlTransaction
from sinergi_producers.relay.sending import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.chaos_bus import ChaosBus
    from chaos.processes import Worker

_SILENT = 50
_WIDTH = 110
_SHOWN = 60
_LOT = 40
_AT_ONCE = 3
_FIRED_SECONDS = 60.0


class Scenario:
    """One bus on which one weakness is tried, or the product as it is."""

    def __init__(self, bus: ChaosBus, weak: str | None) -> None:
        self.bus = bus
        self._weak = [weak] if weak else []
        self._numbers = count()
        self._folders = (bus.pair.folder / f"orders-{number}" for number in count())
        self.problems: list[str] = []

    def start(self, work: str, *traps: str, weak: bool = True) -> tuple[Worker, Orders]:
        """Start a relay or a materialiser, broken where it is to be."""
        folder = next(self._folders)
        orders = Orders(folder)
        return self.bus.tapped(work, folder, *traps, *(self._weak if weak else [])), orders

    def publish(self, events: int = _LOT) -> None:
        """Commit so many events, two of a record."""
        for number in range(events):
            with self.bus.register.engine.begin() as connection:
                self._move(connection, next(self._numbers) // 2, number)

    def open(self) -> Callable[[], None]:
        """Publish in a transaction that stays open; what commits it."""
        connection = self.bus.register.engine.connect()
        transaction = connection.begin()
        self._move(connection, next(self._numbers) + 10**6, 0)

        def commit() -> None:
            transaction.commit()
            connection.close()

        return commit

    def kill_at(self, worker: Worker, orders: Orders, call: str) -> None:
        """Let a worker be killed by a call of the next lot."""
        orders.arm(Armed(call, 1, Mode.KILL))
        self.publish()
        until(lambda: not worker.runs, _FIRED_SECONDS, f"{call} is called")

    def _move(self, connection: object, record: int, said: int) -> None:
        self.bus.register.move(connection, f"M/{record}", f"Lapas {said}")  # type: ignore[arg-type]


@dataclass(frozen=True)
class Trial:
    """A weakness and what shows it.

    Attributes:
        weakness: its name in `weaknesses.py`.
        fault: what happens, for people.
        scenario: makes it happen.
        sign: what the judge must say where the step is broken.
    """

    weakness: str
    fault: str
    scenario: Callable[[Scenario], None]
    sign: str


@dataclass(frozen=True)
class Finding:
    """What the judge said of the product as it is, and of the broken step."""

    trial: Trial
    sound: Sequence[str]
    broken: Sequence[str]

    @property
    def is_caught(self) -> bool:
        """Whether the judge can tell them apart, by the right sign."""
        return not self.sound and any(self.trial.sign in each for each in self.broken)


def _named(place: Callable[..., object]) -> str:
    """How the tap names the calls that a place of the product makes."""
    return f"{place.__module__}.{place.__name__}"


def _die_between_position_and_rows(scenario: Scenario) -> None:
    scenario.start("relay", weak=False)
    worker, orders = scenario.start("materialise")
    scenario.publish()
    scenario.bus.until_arrived()
    scenario.kill_at(worker, orders, _named(PostgresqlTransaction.store_checkpoints))
    scenario.start("materialise")


def _die_before_delivery(scenario: Scenario) -> None:
    scenario.start("materialise", weak=False)
    worker, orders = scenario.start("relay")
    scenario.publish()
    scenario.bus.until_arrived()
    scenario.kill_at(worker, orders, _named(Sender._produce))
    scenario.start("relay")
    scenario.publish()


def _commit_late(scenario: Scenario) -> None:
    scenario.start("materialise", weak=False)
    scenario.start("relay")
    scenario.publish()
    scenario.bus.until_arrived()
    commit = scenario.open()
    scenario.publish()
    scenario.bus.until_arrived()
    commit()


def _claim_from_behind(scenario: Scenario) -> None:
    scenario.start("relay", weak=False)
    scenario.start("materialise")
    scenario.publish()
    scenario.bus.until_arrived()
    fence = EpochFence(scenario.bus.case.reader)
    scenario.publish()
    scenario.bus.until_still()
    scenario.problems += fence.problems()


def _lie(scenario: Scenario) -> None:
    scenario.start("relay", weak=False)
    worker, _ = scenario.start("materialise")
    scenario.publish()
    scenario.bus.until_arrived()
    worker.kill()
    worker, _ = scenario.start("materialise", "lying_broker")
    scenario.publish()
    scenario.bus.until_claimed(worker)
    scenario.bus.until_still()
    worker.kill()
    scenario.start("materialise", weak=False)


def _fill_the_disk(scenario: Scenario) -> None:
    scenario.start("relay", weak=False)
    scenario.start("materialise", "failing_merge")
    scenario.publish()
    scenario.bus.until_still()
    scenario.publish()


TRIALS = (
    Trial(
        "position_first",
        "kill -9 between position and rows",
        _die_between_position_and_rows,
        "the history lacks",
    ),
    Trial("marked_first", "kill -9 before delivery", _die_before_delivery, "is missing before"),
    Trial("cursor", "a lower id commits later", _commit_late, "the topic lacks"),
    Trial(
        "no_epoch",
        "another worker has claimed the topic-partition",
        _claim_from_behind,
        "was moved by a worker whose epoch was over",
    ),
    Trial("no_seal", "a broker that changes events", _lie, "the history forges"),
    Trial("handler_ignored", "no room on the disk, once", _fill_the_disk, "the history lacks"),
)


def judged(services: Services, folder: Path, trial: Trial, weak: str | None) -> list[str]:
    """Scenario a trial on a bus of its own; what the judge says when nothing moves any more."""
    with chaos_bus(services, folder, partitions=1) as bus:
        scenario = Scenario(bus, weak)
        try:
            trial.scenario(scenario)
            bus.until_still()
        except Overdue as late:
            return [str(late)]
        return scenario.problems + Judge(bus.case).compare().problems


def tried(services: Services, folder: Path, trial: Trial) -> Finding:
    """A trial with the product as it is, and with the step broken."""
    sound = judged(services, folder / f"{trial.weakness}-sound", trial, None)
    return Finding(
        trial, sound, judged(services, folder / f"{trial.weakness}-broken", trial, trial.weakness)
    )


def table(findings: Sequence[Finding]) -> Table:
    """One row a weakness."""
    found = Table(title="Steps broken on purpose", title_justify="left")
    for name in ("broken step", "fault", "as it is", "broken: the judge says", ""):
        found.add_column(name)
    for each in findings:
        step = (weaknesses.ALL[each.trial.weakness].__doc__ or "").splitlines()[0]
        said = [one[:_SHOWN] for one in each.broken if each.trial.sign in one] or each.broken
        found.add_row(
            step,
            each.trial.fault,
            "; ".join(each.sound) or "nothing found",
            said[0] if said else "nothing found",
            "caught" if each.is_caught else "[bold red]NOT CAUGHT",
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Try them all; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=[each.weakness for each in TRIALS])
    asked = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_SILENT))
    chosen = [each for each in TRIALS if not asked.only or each.weakness in asked.only]
    with (
        tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name,
        Services(Path(name) / "services") as services,
        ThreadPoolExecutor(_AT_ONCE) as threads,
    ):
        findings = list(threads.map(partial(tried, services, Path(name)), chosen))
    Console(width=_WIDTH).print(table(findings))
    return 0 if all(each.is_caught for each in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
