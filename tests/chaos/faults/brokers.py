"""Three brokers under load: killed one by one and two at once, cut off, wiped, restarted in turn.

Two databases are filled meanwhile, each by three workers. While two brokers are down writing waits;
at the end the judge compares both databases with the agency's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaos.broker_cluster import COUNT, BrokerCluster, ClusterServices
from chaos.chaos_bus import chaos_bus, stop_all
from chaos.pauses import watching
from chaos.report import Report
from chaos.second_reader import SecondReader
from chaos.timing import Overdue, drawn, pause
from sinergi_schemas.topics import control_topic, receipts_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.register import Load
    from chaos.services import Services

_WORKERS = 3
_GOES_ON_SECONDS = 240.0
_STILL_SECONDS = 3.0
# Longer than brokers.session.timeout.ms, after which a broker without controllers is replaced.
_CUT_OFF_SECONDS = 15.0


@dataclass(frozen=True)
class Scene:
    """What can be taken away, and who uses it."""

    bus: ChaosBus
    second: SecondReader
    cluster: BrokerCluster
    load: Load
    rng: Random
    share: int

    @property
    def topics(self) -> list[str]:
        """The topics of the bus."""
        pair = self.bus.pair
        return [pair.topic.name, control_topic(pair.publisher), receipts_topic(pair.reader)]

    def until_arrived(self) -> None:
        """Wait until everything committed is in both databases."""
        self.bus.until_arrived(_GOES_ON_SECONDS)
        self.second.until_arrived(_GOES_ON_SECONDS)


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """Every kind of fault `scale.rounds` times, while `scale.events` events are written."""
    report = Report("three brokers come and go")
    rng = drawn(seed, "brokers")
    with (
        BrokerCluster(folder.with_name(f"{folder.name}-kafka"), services.starter) as cluster,
        chaos_bus(ClusterServices(services, cluster), folder, partitions=3) as bus,
    ):
        second = SecondReader(bus)
        relay = bus.relay()
        readers = [start() for start in (bus.materialiser, second.start) for _ in range(_WORKERS)]
        with bus.load(f"{seed}/brokers") as load:
            bus.until_leads()
            steps = [step for _ in range(scale.rounds) for step in _STEPS]
            scene = Scene(bus, second, cluster, load, rng, scale.events // len(steps))
            for kind, happens in steps:
                _strike(scene, kind, happens, report)
        bus.settle(report)
        report.take(second.compare())
        stop_all(report, relay, *readers)
    return report


def _strike(
    scene: Scene, kind: str, happens: Callable[[Scene], Iterator[None]], report: Report
) -> None:
    """Let one fault happen in the midst of work; its recovery is the longest pause of sending."""
    scene.cluster.until_in_sync(scene.topics)
    scene.load.allow(scene.share // 2)
    pause(scene.rng.uniform(0, 0.3))
    with watching(lambda: scene.bus.sent, scene.bus.register.committed) as pauses:
        try:
            for _ in happens(scene):
                scene.load.allow(scene.share // 8)
                scene.bus.until_written(scene.load)
            scene.load.allow(scene.share // 4)
            scene.bus.until_written(scene.load)
            scene.until_arrived()
        except Overdue as late:
            report.problems.append(f"after {kind}: {late}")
    report.fault(pauses.longest, kind)


def _killed_in_turn(scene: Scene) -> Iterator[None]:
    for server in scene.cluster.servers:
        server.crash()
        yield
        scene.until_arrived()  # two of three suffice
        server.start()
        scene.cluster.until_in_sync(scene.topics)


def _two_at_once(scene: Scene) -> Iterator[None]:
    first = scene.rng.randrange(COUNT)
    gone = [scene.cluster.servers[(first + each) % COUNT] for each in range(2)]
    for server in gone:
        server.crash()
    pause(_STILL_SECONDS)  # what was confirmed before is marked as sent
    sent = scene.bus.sent
    yield
    pause(_STILL_SECONDS)
    if scene.bus.sent != sent:
        raise Overdue(f"{scene.bus.sent - sent} events were confirmed by one broker of three")
    for server in gone:
        server.start()


def _leader_cut_off(scene: Scene) -> Iterator[None]:
    leader = scene.cluster.leader(scene.bus.pair.topic.name)
    with scene.cluster.cut_off(leader):
        yield
        pause(_CUT_OFF_SECONDS)


def _disk_wiped(scene: Scene) -> Iterator[None]:
    node = scene.rng.randrange(COUNT) + 1
    scene.cluster.servers[node - 1].crash()
    scene.cluster.wipe(node)
    yield
    scene.cluster.servers[node - 1].start()


def _rolling_restart(scene: Scene) -> Iterator[None]:
    threads = str(scene.rng.randint(4, 12))
    for node in range(1, COUNT + 1):
        scene.cluster.until_in_sync(scene.topics)
        scene.cluster.restart(node, num_io_threads=threads)
        yield


_STEPS: tuple[tuple[str, Callable[[Scene], Iterator[None]]], ...] = (
    ("each broker killed in turn", _killed_in_turn),
    ("two of three brokers killed", _two_at_once),
    ("leader cut off from the other brokers", _leader_cut_off),
    ("disk of a broker wiped", _disk_wiped),
    ("rolling restart with other settings", _rolling_restart),
)
