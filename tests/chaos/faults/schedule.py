"""A random schedule: a seed draws what fails, for how long, and what is written meanwhile.

Relay and materialiser reach Kafka and their databases by proxies of ours. Each fault lasts a drawn
while, is healed, and then all that is committed has to arrive; at the end the judge compares.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from chaos.chaos_bus import chaos_bus, stop_all
from chaos.disk import full
from chaos.proxy import LinkState
from chaos.report import Report
from chaos.timing import Overdue, drawn, pause
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from random import Random

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.processes import Worker
    from chaos.proxy import Proxy
    from chaos.register import Load
    from chaos.services import Server, Services

_GOES_ON_SECONDS = 120.0
_SECONDS = (0.1, 3.0)
_STILL_SECONDS = (0.5, 6.0)
_LATE_SECONDS = (0.02, 0.3)


@dataclass
class Stage:
    """What can be taken away, and by whom it is used."""

    bus: ChaosBus
    load: Load
    rng: Random
    workers: dict[str, Worker]

    def begin(self, work: str) -> None:
        """Start a relay or a materialiser in place of the one that was."""
        start = self.bus.relay if work == "relay" else self.bus.materialiser
        self.workers[work] = start()


class Fault(NamedTuple):
    """One kind of fault.

    Attributes:
        weight: how often it is drawn beside the others.
        happens: takes something away while the block lasts; at its end it is healed.
    """

    kind: str
    weight: int
    happens: Callable[[Stage], AbstractContextManager[None]]
    agency_writes: bool = True


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """`scale.rounds` faults, one after another, while `scale.events` events are written."""
    report = Report("a random schedule of everything")
    rng = drawn(seed, "schedule")
    faults = _faults(services)
    share = scale.events // scale.rounds
    with chaos_bus(services, folder, partitions=2) as bus:
        bus.behind_proxies()
        with bus.load(f"{seed}/schedule") as load:
            stage = Stage(bus, load, rng, {})
            for work in ("relay", "materialise"):
                stage.begin(work)
            bus.until_leads()
            bus.until_claimed(stage.workers["materialise"])
            for fault in rng.choices(faults, [each.weight for each in faults], k=scale.rounds):
                _strike(stage, fault, share, report)
        bus.settle(report)
        stop_all(report, *stage.workers.values())
    return report


def _strike(stage: Stage, fault: Fault, share: int, report: Report) -> None:
    """Let one fault happen in the midst of work, and see how long it takes to go on."""
    stage.load.allow(share // 2)
    pause(stage.rng.uniform(0, 0.3))
    with fault.happens(stage):
        stage.load.allow(share - share // 2)
        if fault.agency_writes:
            stage.bus.until_written(stage.load)
    healed = SYSTEM.monotonic()
    try:
        stage.bus.until_written(stage.load)
        stage.bus.until_arrived(_GOES_ON_SECONDS)
        report.fault(SYSTEM.monotonic() - healed, fault.kind)
    except Overdue as late:
        report.problems.append(f"after {fault.kind}: {late}")
    for work, worker in stage.workers.items():
        if not worker.runs:
            report.problems.append(f"{fault.kind} ended {work}: {worker.said[-1:]}")
            stage.begin(work)


def _faults(services: Services) -> Sequence[Fault]:
    links = dict(
        zip(
            ("Kafka", "the agency's database", "the reader's database"), services.links, strict=True
        )
    )
    servers = dict(zip(links, (services.kafka, services.agency, services.reader), strict=True))
    found = [
        Fault("kill -9 relay", 2, partial(_killed, work="relay")),
        Fault("kill -9 materialiser", 3, partial(_killed, work="materialise")),
        Fault("SIGSTOP relay", 2, partial(_standing, work="relay")),
        Fault("SIGSTOP materialiser", 2, partial(_standing, work="materialise")),
        Fault("full disk at the agency", 2, partial(_full, table="sinergi_producer.checkpoint")),
        Fault("full disk at the reader", 2, partial(_full, table="sinergi.transfer_history")),
    ]
    for name, link in links.items():
        found += [
            Fault(f"connections to {name} cut", 4, partial(_cut, link=link)),
            Fault(f"{name} resets", 3, partial(_weather, link=link, link_state=LinkState.RESET)),
            Fault(f"{name} is silent", 3, partial(_weather, link=link, link_state=LinkState.DROP)),
            Fault(f"{name} is slow", 3, partial(_weather, link=link, link_state=LinkState.DELAY)),
        ]
    for name, server in servers.items():
        writes = server is not services.agency
        found += [
            Fault(f"{name} stopped", 1, partial(_away, server=server, end=server.stop), writes),
            Fault(f"{name} killed", 1, partial(_away, server=server, end=server.crash), writes),
        ]
    return found


@contextmanager
def _killed(stage: Stage, work: str) -> Iterator[None]:
    stage.workers[work].kill()
    yield
    stage.begin(work)


@contextmanager
def _standing(stage: Stage, work: str) -> Iterator[None]:
    stage.workers[work].pause()
    yield
    pause(stage.rng.uniform(*_STILL_SECONDS))
    stage.workers[work].resume()


@contextmanager
def _away(stage: Stage, server: Server, end: Callable[[], None]) -> Iterator[None]:
    end()
    yield
    pause(stage.rng.uniform(*_SECONDS))
    server.start()


@contextmanager
def _cut(stage: Stage, link: Proxy) -> Iterator[None]:
    del stage
    link.cut()
    yield


@contextmanager
def _weather(stage: Stage, link: Proxy, link_state: LinkState) -> Iterator[None]:
    link.turn(link_state, stage.rng.uniform(*_LATE_SECONDS))
    try:
        yield
        pause(stage.rng.uniform(*_SECONDS))
    finally:
        link.heal()


@contextmanager
def _full(stage: Stage, table: str) -> Iterator[None]:
    pair = stage.bus.pair
    engine = pair.producer if table.startswith("sinergi_producer") else pair.consumer
    with full(engine, table):
        yield
        pause(stage.rng.uniform(*_SECONDS))
