"""Growth: more partitions, more workers, more events. Rate and memory should stay level."""

from __future__ import annotations

from typing import TYPE_CHECKING

import race
import samples
from results import Figure
from stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sinergi.local import Local

SIZES = (10_000, 100_000, 1_000_000)
PARTITIONS = (1, 2, 4)
WORKERS = (1, 2)
EVENTS = 150_000
KINDS = ("current",)


def measure(local: Local, folder: Path) -> Iterator[Figure]:
    """The materialiser's rate and peak memory over sizes, partitions and workers."""
    for count in SIZES:
        stage = Stage.set_up(folder, local, samples.FLAT)
        stage.fill(count)
        url = stage.prepare_reader(local.database(f"growth_{count}"), KINDS)
        finish = race.materialise(stage, url, KINDS, count)
        yield Figure(f"growth.rate.{count}", count / finish.seconds, "events/s")
        yield Figure(f"growth.peak_mib.{count}", finish.peak_mib, "MiB")
    for partitions in PARTITIONS:
        stage = Stage.set_up(folder, local, samples.FLAT, partitions)
        stage.fill(EVENTS)
        for workers in WORKERS:
            name = f"growth_{partitions}_{workers}"
            url = stage.prepare_reader(local.database(name), KINDS)
            finish = race.materialise(stage, url, KINDS, EVENTS, workers)
            rate = EVENTS / finish.seconds
            yield Figure(f"growth.partitions.{partitions}.workers.{workers}", rate, "events/s")
