"""`kill -9` of relay and materialiser at drawn moments, while an agency goes on publishing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chaos.chaos_bus import chaos_bus, stop_all
from chaos.report import Report
from chaos.timing import drawn, pause
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.register import Load
    from chaos.services import Services

# A moment after work begins: as likely between 5 and 10 ms as between 2 and 4 s.
_SOONEST, _LATEST = -2.3, 0.6


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """Kill each of the two `scale.rounds` times during a run of `scale.events` events."""
    report = Report("kill -9 of relay and materialiser")
    with chaos_bus(services, folder) as bus:
        with bus.load(f"{seed}/kill", writers=3) as load:
            share = scale.events // (2 * scale.rounds)
            with ThreadPoolExecutor(2) as killers:
                kills = {"relay": _kill_relays, "materialiser": _kill_materialisers}
                jobs = {
                    work: killers.submit(
                        each, bus, load, share, drawn(seed, each.__name__), scale.rounds
                    )
                    for work, each in kills.items()
                }
            for work, job in jobs.items():
                for recovery in job.result():
                    report.fault(recovery, f"kill -9 {work}")
            last = bus.relay(), bus.materialiser()
            load.allow(scale.events - 2 * scale.rounds * share)
            bus.until_written(load)
        bus.settle(report)
        stop_all(report, *last)
    return report


def _kill_relays(bus: ChaosBus, load: Load, share: int, rng: Random, rounds: int) -> list[float]:
    """How long after each kill the next relay led."""
    recoveries = []
    epoch, since = 0, SYSTEM.monotonic()
    for _ in range(rounds):
        relay = bus.relay()
        load.allow(share)
        bus.until_leads(after=epoch)
        recoveries.append(SYSTEM.monotonic() - since)
        pause(_moment(rng))
        epoch = bus.epoch
        relay.kill()
        since = SYSTEM.monotonic()
    return recoveries


def _kill_materialisers(
    bus: ChaosBus, load: Load, share: int, rng: Random, rounds: int
) -> list[float]:
    """How long after each kill the next materialiser had claimed a share."""
    recoveries = []
    since = SYSTEM.monotonic()
    for _ in range(rounds):
        worker = bus.materialiser()
        load.allow(share)
        bus.until_claimed(worker)
        recoveries.append(SYSTEM.monotonic() - since)
        pause(_moment(rng))
        worker.kill()
        since = SYSTEM.monotonic()
    return recoveries


def _moment(rng: Random) -> float:
    return float(10 ** rng.uniform(_SOONEST, _LATEST))
