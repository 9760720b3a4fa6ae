"""A small part of each fault of `make chaos`, on real processes.

The parts mostly wait for leases and for groups, so they run beside each other, each on a bus of its
own; only the part that takes the servers away runs alone.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chaos.chaos_bus import Scale
from chaos.faults import foreign, frames, kill, outage, outbox, poison, produce, stop
from chaos.services import Services
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos.report import Report

pytestmark = pytest.mark.long

SEED = "make test"
REFUSALS = (produce.NOT_PERMITTED,)
BESIDE: dict[str, tuple[Callable[..., Report], Scale]] = {
    "kill": (kill.run, Scale(400, 1)),
    "stop": (stop.run, Scale(400, 1)),
    "outbox": (outbox.run, Scale(600, 16)),
    "produce": (partial(produce.run, refusals=REFUSALS), Scale(150, 1)),
    "frames": (frames.run, Scale(600, 1)),
    "poison": (poison.run, Scale(2_000, 100)),
    # How soon honest events arrive is measured by `make chaos`; a test has no time.
    "foreign": (partial(foreign.run, promised_seconds=PATIENCE_SECONDS), Scale(200, 600)),
}
ALONE: dict[str, tuple[Callable[..., Report], Scale]] = {"outage": (outage.run, Scale(600, 1))}


@pytest.fixture(scope="module")
def reports() -> Iterator[dict[str, Report]]:
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        with Services(folder / "services") as services, ThreadPoolExecutor(len(BESIDE)) as threads:

            def run(part: str) -> Report:
                run, scale = (BESIDE | ALONE)[part]
                return run(services, folder / part, SEED, scale)

            found = dict(zip(BESIDE, threads.map(run, BESIDE), strict=True))
            yield found | {part: run(part) for part in ALONE}


@pytest.mark.parametrize(
    ("part", "faults"),
    [
        pytest.param("kill", 2, id="kill -9 of relay and materialiser"),
        pytest.param("stop", 2, id="SIGSTOP of the leader and of one of two materialisers"),
        pytest.param("outbox", 1, id="16 writers with rollbacks, deadlocks, long transactions"),
        pytest.param("produce", 1, id="what Kafka refuses for good in the middle of a batch"),
        pytest.param("frames", 600, id="batches of damaged datums"),
        pytest.param("poison", 100, id="bad events of every class"),
        pytest.param("foreign", 500, id="an operator who writes noise, a member who attacks"),
        pytest.param("outage", 3, id="Kafka and both PostgreSQL stopped and started"),
    ],
)
def test_nothing_is_lost_doubled_or_forged_by(
    part: str, faults: int, reports: dict[str, Report]
) -> None:
    report = reports[part]
    assert report.problems == []
    assert (report.lost, report.doubled, report.forged) == (0, 0, 0)
    assert report.faults + report.in_data.total() >= faults
    assert report.events > 0
