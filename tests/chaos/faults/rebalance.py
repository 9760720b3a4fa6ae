"""Three materialisers on six partitions that join and leave at random, beside two relays that take
over from one another: stopped in order, killed, or stopped still until they are thrown out.
"""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import tomli_w

from agency_pair import running
from chaos.chaos_bus import chaos_bus, stop_all
from chaos.claim_monitor import (
    ClaimMonitor,
    fenced_by_themselves,
    named,
    owners,
    rebalances,
    robbed,
)
from chaos.report import Report
from chaos.timing import drawn, pause, until
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from random import Random

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.processes import Worker
    from chaos.register import Load
    from chaos.services import Services

PARTITIONS = 6
WORKERS = 3
# Nothing that is to be done may wait longer for somebody who does it. A relay that is gone leaves
# its lease behind, and a materialiser that stands still its locks, for as long. Where several
# processes wait for each core, each takes so many times as long to start and to answer.
LEFT_ALONE_SECONDS = DEFAULT.relay.lease + 5.0

_EXPELLED = "expelled from the group; joining again"
_SETTLED_SECONDS = 60.0
_AWAKE_SECONDS = 30.0
_PULSE_SECONDS = 0.1
_PULSE_EVENTS = 5
_STOPPED, _KILLED, _STILL = "stopped in order", "killed", "standing still"
_WAYS = (_STOPPED, _KILLED, _STILL)
_WEIGHTS = (6, 2, 2)
_RELAY_WEIGHTS = (2, 1, 1)
_BETWEEN_SECONDS = (0.0, 0.3)
_LEADS_SECONDS = (1.0, 5.0)


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """Go on until there were `scale.rounds` rebalances; at least `scale.events` events."""
    report = Report("workers that join and leave, relays that take over")
    with chaos_bus(services, folder, PARTITIONS) as bus:
        monitor = ClaimMonitor(bus.case)
        crew = Crew(bus, monitor, drawn(seed, "materialisers"), report)
        relay_pair = RelayPair(bus, drawn(seed, "relays"), report)
        with bus.load(f"{seed}/rebalance") as load:
            relay_pair.begin()
            crew.begin()
            with monitor.watching():
                with _publishing(load, scale.events), running(relay_pair.change):
                    crew.change(scale.rounds)
                bus.until_written(load)
                bus.settle(report)
        stop_all(report, *relay_pair.relays, *crew.present.values())
        _judge(report, monitor, crew, relay_pair)
    return report


@contextmanager
def _publishing(load: Load, least: int) -> Iterator[None]:
    """Let an agency write a little every moment while the block lasts, then what is left to do."""
    written = 0

    def work(stopping: threading.Event) -> None:
        nonlocal written
        while not stopping.wait(_PULSE_SECONDS):
            if not load.waiting:
                load.allow(_PULSE_EVENTS)
                written += _PULSE_EVENTS

    with running(work):
        yield
    load.allow(max(0, least - written))


@dataclass
class Crew:
    """The materialisers.

    Attributes:
        present: those that are to work, by the name under which they claim.
        all: everyone that was ever started.
    """

    bus: ChaosBus
    monitor: ClaimMonitor
    rng: Random
    report: Report
    present: dict[str, Worker] = field(default_factory=dict)
    all: dict[str, Worker] = field(default_factory=dict)
    names: Iterator[int] = field(default_factory=lambda: count(1))

    def begin(self) -> None:
        """Start three, and wait until they share the partitions."""
        for _ in range(WORKERS):
            self._join()
        self._until_shared("three share")

    def change(self, rounds: int) -> None:
        """Let workers leave and join until there were so many rebalances more than the first."""
        first = rebalances(self.monitor.claims())
        while rebalances(self.monitor.claims()) - first < rounds:
            self._change()

    def _change(self) -> None:
        """One or two leave, and as many come again: others in their place, or they themselves."""
        leaving = self.rng.sample(sorted(self.present), self.rng.choice((1, 1, 2)))
        ways = self.rng.choices(_WAYS, _WEIGHTS, k=len(leaving))
        asleep = {}
        for name, way in zip(leaving, ways, strict=True):
            worker = self.present.pop(name)
            pause(self.rng.uniform(*_BETWEEN_SECONDS))
            begun = SYSTEM.monotonic()
            if way == _STILL:
                worker.pause()
                asleep[name] = worker
            elif way == _KILLED:
                worker.kill()
            else:
                stop_all(self.report, worker)
            if self.rng.random() < 0.5 or not self.present:
                self._join()
            self._until_gone(name)
            self.report.fault(SYSTEM.monotonic() - begun, f"a materialiser {way}")
        while len(self.present) + len(asleep) < WORKERS:
            self._join()
        self._until_shared(f"{sorted(self.present)} share")
        if asleep:
            self._wake(asleep)

    def _wake(self, asleep: dict[str, Worker]) -> None:
        """Let those go on who were thrown out: they join again, and rob nobody."""
        last, others = self.monitor.claims()[-1].id, list(self.present.values())
        before = _expulsions(others)
        for each in asleep.values():
            each.resume()
        self.present |= asleep
        begun = SYSTEM.monotonic()
        self._until_shared(f"{sorted(asleep)} share again")
        self.report.fault(SYSTEM.monotonic() - begun, "a materialiser awake again")
        # On a busy machine the group may take another one for dead. What that one held then goes to
        # any of them.
        if _expulsions(others) == before:
            self.report.problems += robbed(self.monitor.claims(last), asleep)

    def _join(self) -> None:
        name = f"m{next(self.names)}"
        settings = tomllib.loads(self.bus.reader_settings.read_text("utf-8"))
        settings["consumer"]["database"] = named(settings["consumer"]["database"], name)
        file = self.bus.reader_settings.with_name(f"{name}.toml")
        file.write_text(tomli_w.dumps(settings), encoding="utf-8")
        self.present[name] = self.all[name] = self.bus.workers.start("materialise", file)

    def _until_gone(self, name: str) -> None:
        """Wait until others have claimed all that a worker held."""
        until(
            lambda: name not in owners(self.monitor.claims()).values(),
            _SETTLED_SECONDS,
            f"{name} holds nothing",
        )

    def _until_shared(self, what: str) -> None:
        """Wait until all that are present hold shares, as many as their neighbours or one more."""

        def is_shared() -> bool:
            held = Counter(owners(self.monitor.claims()).values())
            return (
                held.keys() == self.present.keys() and max(held.values()) - min(held.values()) <= 1
            )

        until(is_shared, _SETTLED_SECONDS, what)


@dataclass
class RelayPair:
    """The relays: one leads, one stands by.

    Attributes:
        relays: both, the leader first.
    """

    bus: ChaosBus
    rng: Random
    report: Report
    relays: list[Worker] = field(default_factory=list)
    all: list[Worker] = field(default_factory=list)

    def begin(self) -> None:
        """Start both."""
        first = self._join()
        self.bus.until_leads()
        self.relays = [first, self._join()]

    def change(self, stopping: threading.Event) -> None:
        """Take the leader away again and again until `stopping` is set."""
        while not stopping.wait(self.rng.uniform(*_LEADS_SECONDS)):
            self._change(self.rng.choices(_WAYS, _RELAY_WEIGHTS)[0])

    def _change(self, way: str) -> None:
        leader, other = self.relays
        epoch, begun = self.bus.epoch, SYSTEM.monotonic()
        if way == _STILL:
            leader.pause()
        elif way == _KILLED:
            leader.kill()
        else:
            stop_all(self.report, leader)
        self.bus.until_leads(after=epoch)
        self.report.fault(SYSTEM.monotonic() - begun, f"a relay {way}")
        if way == _STILL:
            # It says that its lease is lost; or, stopped in the midst of a transaction, that the
            # database has closed its connection.
            heard = len(leader.said)
            leader.resume()
            until(lambda: len(leader.said) > heard, _AWAKE_SECONDS, f"{leader.name} wakes up")
        self.relays = [other, leader if way == _STILL else self._join()]

    def _join(self) -> Worker:
        self.all.append(self.bus.relay())
        return self.all[-1]


def _expulsions(workers: Iterable[Worker]) -> int:
    """How often the group has taken some workers for dead, as they say themselves."""
    return sum(each["event"] == _EXPELLED for worker in workers for each in worker.said)


def _judge(report: Report, monitor: ClaimMonitor, crew: Crew, relay_pair: RelayPair) -> None:
    """Nobody was fenced by itself, and nothing was left alone."""
    workers = crew.all | {each.name: each for each in relay_pair.all}
    report.problems += fenced_by_themselves(monitor.claims(), monitor.terms(), workers)
    patients = {f"partition {each}": one for each, one in sorted(monitor.partitions.items())}
    waiting = max(1.0, max(os.getloadavg()[:2]) / (os.cpu_count() or 1))
    longest = LEFT_ALONE_SECONDS * waiting
    for name, patient in {"outbox": monitor.outbox, **patients}.items():
        report.recoveries.append((f"{name.split()[0]} left alone", patient.longest))
        if patient.longest > longest:
            what = f"{name} was left alone for {patient.longest:.1f} s"
            report.problems.append(f"{what}, with {waiting:.1f} processes a core")
