"""SIGSTOP and SIGCONT: a worker that stands still is replaced, and changes nothing on waking up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.chaos_bus import chaos_bus, stop_all
from chaos.report import Report
from chaos.timing import Overdue, drawn, pause, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.processes import Worker
    from chaos.register import Load
    from chaos.services import Services

# The lease of a relay runs for 10 s; a lock that it holds is broken after another 10, and one that
# waits for it gives up after 2.
RELAY_SECONDS = 30.0
# The group gives a silent member's shares away after 8 s; locks as above.
MATERIALISER_SECONDS = 30.0
_AWAKE_SECONDS = 30.0


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """Stop the leading relay and one of two materialisers, `scale.rounds` times each."""
    report = Report("SIGSTOP and SIGCONT of relay and materialiser")
    with chaos_bus(services, folder, partitions=4) as bus:
        rng = drawn(seed, "stop")
        with bus.load(f"{seed}/stop") as load:
            relays = _relays(bus)
            materialisers = [bus.materialiser(), bus.materialiser()]
            bus.until_claimed(*materialisers)
            for _ in range(scale.rounds):
                relays = _stop_relay(bus, load, rng, report, relays, scale)
                _stop_materialiser(bus, load, rng, report, materialisers, scale)
            bus.until_written(load)
        bus.settle(report)
        stop_all(report, *relays, *materialisers)
    return report


def _relays(bus: ChaosBus) -> list[Worker]:
    """A relay that leads and one that waits."""
    first = bus.relay()
    bus.until_leads()
    return [first, bus.relay()]


def _stop_relay(
    bus: ChaosBus, load: Load, rng: Random, report: Report, relays: list[Worker], scale: Scale
) -> list[Worker]:
    """Stop the leader in the middle of its work; the relays in their new order."""
    leader, other = relays
    epoch = bus.epoch
    half = scale.events // (4 * scale.rounds)
    load.allow(half)
    pause(rng.uniform(0, 1))
    leader.pause()
    load.allow(half)
    _take_over(report, "relay", other, lambda: bus.epoch > epoch, RELAY_SECONDS)
    bus.until_written(load)
    bus.until_sent()
    _wake(report, leader)
    return [other, leader]


def _stop_materialiser(
    bus: ChaosBus, load: Load, rng: Random, report: Report, workers: list[Worker], scale: Scale
) -> None:
    """Stop one of two that share the partitions; the other must have all of them."""
    stopped, other = workers if rng.random() < 0.5 else reversed(workers)
    half = scale.events // (4 * scale.rounds)
    load.allow(half)
    pause(rng.uniform(0, 1))
    stopped.pause()
    load.allow(half)
    bus.until_written(load)
    committed = bus.register.committed()
    _take_over(
        report, "materialiser", other, lambda: bus.materialised >= committed, MATERIALISER_SECONDS
    )
    claims = _claims(stopped)
    stopped.resume()
    try:
        until(lambda: _claims(stopped) > claims, _AWAKE_SECONDS, f"{stopped.name} has a share")
    except Overdue as late:
        report.problems.append(str(late))


def _take_over(
    report: Report, work: str, other: Worker, has: Callable[[], bool], seconds: float
) -> None:
    try:
        report.fault(until(has, seconds, f"{other.name} takes over"), f"SIGSTOP {work}")
    except Overdue as late:
        report.problems.append(str(late))


def _wake(report: Report, leader: Worker) -> None:
    """It must hear that it is too late, and go on living.

    It says that its lease is lost; or, stopped in the midst of a transaction, that the database has
    closed its connection.
    """
    heard = len(leader.said)
    leader.resume()
    try:
        until(lambda: len(leader.said) > heard, _AWAKE_SECONDS, f"{leader.name} wakes up")
    except Overdue as late:
        report.problems.append(str(late))


def _claims(worker: Worker) -> int:
    return sum(each["event"] == "topic-partition claimed" for each in worker.said)
