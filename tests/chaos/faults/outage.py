"""Kafka, the agency's PostgreSQL and the reader's PostgreSQL stopped and started while all work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaos.chaos_bus import chaos_bus, stop_all
from chaos.report import Report
from chaos.timing import Overdue, drawn, pause
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.register import Load
    from chaos.services import Server, Services

_BACK_SECONDS = 60.0
_AWAY_SECONDS = (0.5, 6.0)
_SAID_SECONDS = 30.0


@dataclass(frozen=True)
class Outage:
    """A service that goes away.

    Attributes:
        name: what people call it.
        seen_by: the settings of the side whose status must say so.
        called: what status calls the service.
        agency_writes: whether the agency can commit meanwhile.
    """

    name: str
    server: Server
    seen_by: Path
    called: str
    agency_writes: bool = True


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """Take each service away `scale.rounds` times: first in order, then in the midst of things."""
    report = Report("Kafka and both PostgreSQL stopped and started")
    with chaos_bus(services, folder) as bus:
        rng = drawn(seed, "outage")
        outages = [
            Outage("Kafka", services.kafka, bus.agency_settings, "broker"),
            Outage(
                "the agency's database",
                services.agency,
                bus.agency_settings,
                "producer database",
                agency_writes=False,
            ),
            Outage(
                "the reader's database", services.reader, bus.reader_settings, "consumer database"
            ),
        ]
        share = scale.events // (len(outages) * scale.rounds)
        with bus.load(f"{seed}/outage") as load:
            workers = bus.relay(), bus.materialiser()
            bus.until_leads()
            bus.until_claimed(workers[1])
            for number in range(scale.rounds):
                for outage in rng.sample(outages, len(outages)):
                    _take_away(bus, load, rng, report, outage, share, in_order=number % 2 == 0)
            bus.until_written(load)
        bus.settle(report)
        _well(bus, report)
        stop_all(report, *workers)
    return report


def _take_away(  # noqa: PLR0913 - an outage is all of these
    bus: ChaosBus,
    load: Load,
    rng: Random,
    report: Report,
    outage: Outage,
    share: int,
    *,
    in_order: bool,
) -> None:
    load.allow(share // 2)
    pause(rng.uniform(0, 1))
    if in_order:
        outage.server.stop()
    else:
        outage.server.crash()
    load.allow(share - share // 2)
    if outage.agency_writes:
        bus.until_written(load)
    pause(rng.uniform(*_AWAY_SECONDS))
    _told(bus, report, outage)
    outage.server.start()
    back = SYSTEM.monotonic()
    try:
        bus.until_written(load)
        bus.until_arrived(_BACK_SECONDS)
        end = "stopped" if in_order else "killed"
        report.fault(SYSTEM.monotonic() - back, f"{outage.name} {end}")
    except Overdue as late:
        report.problems.append(f"though {outage.name} is back: {late}")


def _told(bus: ChaosBus, report: Report, outage: Outage) -> None:
    """Status must name the service that is away, first of all, and say that it cannot tell."""
    said = bus.status(outage.seen_by)
    first = said["lines"][0]
    if said["exit_status"] != 2 or not first.startswith(outage.called) or "away" not in first:
        report.problems.append(f"status without {outage.called}: {said['lines']}")
    if outage.server is bus.services.kafka and not _waiting(said):
        report.problems.append(f"status without Kafka shows nothing that waits: {said}")


def _waiting(said: dict[str, Any]) -> int:
    """How many events status shows on their way to the broker."""
    topics: list[dict[str, Any]] = said["publishing"]["topics"]
    unsent: int = sum(
        tree["sealed"] - tree["sent"] for topic in topics for tree in topic["partitions"]
    )
    unsealed: int = sum(topic["unsealed"] for topic in topics)
    return unsent + unsealed


def _well(bus: ChaosBus, report: Report) -> None:
    """With everything back and everything arrived, status finds nothing."""
    for settings in (bus.agency_settings, bus.reader_settings):
        said = bus.status(settings)
        if said["exit_status"] != 0:
            report.problems.append(f"status after it all: {said['lines']}")
