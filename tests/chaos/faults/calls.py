"""Call by call: every call of relay and materialiser to broker and database fails in its turn.

A first run is recorded: which calls a process makes when it starts, while it works, when its claim
is taken from it, and when it stops. Then each is made to fail: with an error before it was made,
with an error after it (so that nobody knows whether it took place), and by `kill -9` right behind
it. After each everything must go on by itself, a killed process being started again.
"""

from __future__ import annotations

import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from chaos.chaos_bus import chaos_bus
from chaos.judge import Judge
from chaos.report import Report
from chaos.tap import Armed, Mode, Orders
from chaos.timing import Overdue, drawn, until
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.processes import Worker
    from chaos.services import Services

_LOT = 12
_RECORDS = 300
_TURNS = (1, 3)
"""Of calls that repeat within a lot these are made to fail."""
_JUDGED_EVERY = 20
_SITES = 2
_FEWEST = 20
"""A bus of its own is not worth while for fewer faults than these."""
_FIRED_SECONDS = 20.0
_CALLED_SECONDS = 2.0
_ONE_IN = 20
"""One call, and one more in so many, may not come again: which calls a start or a claim needs is
partly chance, and the first of a short run may be such a call."""
_SHOWN = 400
_GOES_ON_SECONDS = 60.0

_TAKE_LEASE = (
    "UPDATE sinergi_producer.lease SET epoch = epoch + 1, expires_at = '-infinity', holder = NULL",
    "UPDATE sinergi_producer.tree SET epoch = epoch + 1",
)
# What was read elsewhere is looked for by its leaf, which takes calls of its own.
# Locks are taken in the order in which a materialiser takes them.
_MOVE = """
    WITH held AS MATERIALIZED (
        SELECT projection FROM sinergi_consumer.position ORDER BY projection FOR UPDATE)
    UPDATE sinergi_consumer.position SET cluster_id = 'elsewhere', epoch = epoch + 1
    WHERE projection IN (SELECT projection FROM held)
"""
_KINDS = {
    Mode.BEFORE: "error before a call",
    Mode.AFTER: "error after a call",
    Mode.KILL: "kill -9 after a call",
}
_LET_GO = "UPDATE sinergi_producer.lease SET expires_at = '-infinity'"


class NotCalled(Overdue):
    """A call was made while calls were recorded, and does not come again: chance had brought it."""


class Phase(IntEnum):
    """When a call is made; the cheapest to bring about come first."""

    WORK = 0
    CLAIM = 1
    START = 2
    STOP = 3


class Fault(NamedTuple):
    """One call that fails."""

    phase: Phase
    armed: Armed

    @property
    def may_end(self) -> bool:
        """Whether the process may end by it; an error is something that it has to live with."""
        return self.armed.mode is Mode.KILL or self.phase is Phase.STOP

    def __str__(self) -> str:
        return f"{self.armed.mode} at {self.armed.call}, turn {self.armed.turn}"


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """Both kinds of process beside each other; with `scale.rounds` of 10 every tenth fault only."""
    report = Report("every call to broker and database fails in its turn")
    folder.mkdir()

    def one(work: str) -> Report:
        return _all(services, folder / work, work, seed, scale.rounds)

    with ThreadPoolExecutor(2) as threads:
        for found in threads.map(one, ("relay", "materialise")):
            report.add(found)
    if report.passed_over > 1 + report.faults // _ONE_IN:
        report.problems.append(f"too little was proved: {report.passed_over} calls did not come")
    return report


def _all(services: Services, folder: Path, work: str, seed: str, step: int) -> Report:
    """Record one kind of process, and fail its calls: on that bus, and on others beside it."""
    folder.mkdir()
    report = Report(work)

    def elsewhere(number: int, faults: Sequence[Fault]) -> Report:
        with chaos_bus(services, folder / str(number), partitions=1) as bus:
            return _Subject(bus, work, drawn(seed, work, number)).fail_all(faults)

    with (
        ThreadPoolExecutor(_SITES) as threads,
        chaos_bus(services, folder / "recorded", partitions=1) as bus,
    ):
        subject = _Subject(bus, work, drawn(seed, work))
        faults = subject.record()
        drawn(seed, work, "order").shuffle(faults)
        here, *rest = _shared(faults[::step])
        jobs = [threads.submit(elsewhere, *each) for each in enumerate(rest, 1)]
        report.add(subject.fail_all(here))
        for job in jobs:
            report.add(job.result())
    return report


def _shared(faults: Sequence[Fault]) -> list[Sequence[Fault]]:
    """The faults of each bus."""
    sites = min(_SITES, max(1, len(faults) // _FEWEST))
    return [faults[number::sites] for number in range(sites)]


def _last(worker: Worker) -> str:
    """What it said last."""
    return worker.log.read_text("utf-8")[-_SHOWN:]


def _kind(fault: Fault, work: str) -> str:
    who = "relay" if work == "relay" else "materialiser"
    return f"{_KINDS[fault.armed.mode]} of a {who}"


class _Subject:
    """The process whose calls fail, its bus, and an ordinary process at the other side of it."""

    def __init__(self, bus: ChaosBus, work: str, rng: Random) -> None:
        self._bus = bus
        self._work = work
        self._rng = rng
        self._folder = bus.pair.folder / "orders"
        self._orders = Orders(self._folder)
        self._worker: Worker | None = None
        if work == "relay":
            bus.materialiser()
        else:
            bus.relay()

    def record(self) -> list[Fault]:
        """Every call of every phase, each as often as it is to fail."""
        self._start()  # the very first start makes calls that no later one makes
        self._publish()
        self._go_on()
        self._stop()
        seen: dict[str, Phase] = {}
        turns: Counter[str] = Counter()
        for phase in (Phase.START, Phase.WORK, Phase.CLAIM, Phase.STOP):
            before = len(self._orders.names())
            self._bring_about(phase)
            self._go_on()
            calls = self._orders.names()[before:]
            for name, count in Counter(calls).items():
                seen[name] = min(phase, seen.get(name, phase))
                turns[name] = max(turns[name], count)
        return [
            Fault(phase, Armed(name, turn, mode))
            for name, phase in seen.items()
            for turn in _TURNS
            if turn <= turns[name] and (turn == 1 or phase is Phase.WORK)
            for mode in Mode
        ]

    def fail_all(self, faults: Sequence[Fault]) -> Report:
        """Fail these calls one after another, and let the judge compare now and then."""
        report = Report(self._work)
        self._revive()
        self._publish()
        self._go_on()
        self._go_on()
        for number, fault in enumerate(faults, 1):
            try:
                report.fault(self._fail(fault), _kind(fault, self._work))
            except NotCalled:
                report.passed_over += 1
                self._orders.disarm()
                self._revive()
            except Overdue as late:
                report.problems.append(f"{fault}: {late}")
                self._orders.disarm()
                self._revive()
            if number % _JUDGED_EVERY == 0 or number == len(faults):
                self._judge(faults[max(0, number - _JUDGED_EVERY) : number], report)
        return report

    def _fail(self, fault: Fault) -> float:
        """Fail one call; how long it took until everything had arrived."""
        worker = self._worker
        if worker is not None and not worker.runs:
            raise Overdue(f"before it, {worker.name} had ended: {_last(worker)}")
        if fault.phase is Phase.START:
            self._stop()  # and not killed, or the group would wait for it
        self._orders.arm(fault.armed)
        self._bring_about(fault.phase)
        try:
            until(lambda: self._has_failed(fault.phase), _FIRED_SECONDS, "it is called")
        except Overdue:
            raise NotCalled(str(fault)) from None
        begun, worker = SYSTEM.monotonic(), self._worker
        if fault.armed.mode is Mode.KILL and worker:
            until(lambda: not worker.runs, _FIRED_SECONDS, f"{worker.name} is dead")
        self._go_on()
        if worker is not self._worker and not fault.may_end and worker:
            raise Overdue(f"the error ended the process: {_last(worker)}")
        return SYSTEM.monotonic() - begun

    def _has_failed(self, phase: Phase) -> bool:
        """Whether it was called; if not, it is brought about again: batches fall as they may."""
        try:
            until(lambda: not self._orders.is_armed, _CALLED_SECONDS, "it is called")
        except Overdue:
            self._revive()
            self._bring_about(Phase.WORK if phase is Phase.START else phase)
        return not self._orders.is_armed

    def _bring_about(self, phase: Phase) -> None:
        """Let the process do what it does in a phase."""
        if phase is Phase.START:
            self._start()
        self._publish()
        if phase is Phase.CLAIM:
            self._take_claim()
            self._publish()
        if phase is Phase.STOP:
            self._bus.until_arrived(_GOES_ON_SECONDS)
            self._publish()
            self._stop()

    def _go_on(self) -> None:
        """Start the process again wherever it has ended, until all that is committed arrived."""
        committed = self._bus.register.committed()

        def arrived() -> bool:
            self._revive()
            return self._bus.materialised >= committed

        until(arrived, _GOES_ON_SECONDS, f"{committed} events arrive")

    def _judge(self, faults: Sequence[Fault], report: Report) -> None:
        found = Report(self._work)
        try:
            self._go_on()
        except Overdue as late:
            found.problems.append(str(late))
        found.take(Judge(self._bus.case).compare())
        if found.problems:
            found.problems.append(f"that was after {'; '.join(map(str, faults))}")
        report.lost, report.doubled, report.forged = (
            report.lost + found.lost,
            report.doubled + found.doubled,
            report.forged + found.forged,
        )
        report.events, report.resent = found.events, found.resent
        report.problems += found.problems

    def _start(self) -> None:
        if self._work == "relay":
            self._ask(_LET_GO)
        self._worker = self._bus.tapped(self._work, self._folder)

    def _revive(self) -> None:
        """Start it again if it has ended."""
        if self._worker is None or not self._worker.runs:
            self._start()

    def _stop(self) -> None:
        """Ask it to end, and see that it does; with which status is another matter."""
        if self._worker is not None and self._worker.runs:
            self._worker.process.send_signal(signal.SIGTERM)
            worker = self._worker
            until(lambda: not worker.runs, _GOES_ON_SECONDS, f"{worker.name} ends")

    def _take_claim(self) -> None:
        """What another process that claims the same does to the database."""
        if self._work == "relay":
            self._ask(*_TAKE_LEASE)
        else:
            with self._bus.pair.consumer.begin() as connection:
                connection.execute(sa.text(_MOVE))

    def _publish(self) -> None:
        for _ in range(_LOT // 2):
            with self._bus.register.engine.begin() as connection:
                for record in sorted(self._rng.sample(range(_RECORDS), 2)):
                    said = f"Lapas {self._rng.randrange(10**9)}"
                    self._bus.register.move(connection, f"M/{record}", said)

    def _ask(self, *statements: str) -> None:
        with self._bus.register.engine.begin() as connection:
            for each in statements:
                connection.execute(sa.text(each))
