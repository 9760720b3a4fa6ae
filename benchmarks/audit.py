"""Audit: the start of a command; one topic into Parquet, verified, and searched for one record.

Beside it stand a plain consumer that reads the same bytes, and a verifier in Go that checks the
same leaves and signatures, from a file, without a broker. All measure their processor time too: on
a machine with other work the time of the clock says little. SINERGI_BENCH_SHARE=0.1 takes a tenth
of the events.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import race
import samples
from race import Finish
from results import Figure
from stage import Stage

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi.local import Local

_SHARE = float(os.environ.get("SINERGI_BENCH_SHARE", "1"))


@dataclass(frozen=True, slots=True)
class Sample:
    """One topic.

    Attributes:
        name: the beginning of its figures' names.
        per_checkpoint: how many events one checkpoint seals.
    """

    name: str
    event_type: str
    events: int
    per_checkpoint: int


SAMPLES = (
    Sample("audit.flat", samples.FLAT, 1_000_000, 5_000),
    Sample("audit.seizure", samples.SEIZURE, 200_000, 5_000),
    Sample("audit.flat_by_three", samples.FLAT, 100_000, 3),
)
_OURS = ("parquet", "verify", "one_record")
_COMMANDS = ("replay", "record", "verify", "evidence verify")
_STARTS = 5


def measure(local: Local, folder: Path) -> Iterator[Figure]:
    """Events a second of each, processor time for a million events, and peak memory."""
    yield from start_ups()
    for sample in SAMPLES:
        count = int(sample.events * _SHARE)
        stage = Stage.set_up(folder, local, sample.event_type)
        stage.fill(count, sample.per_checkpoint)
        yield Figure(f"{sample.name}.events", count, "events")
        found = {"plain": race.run("reading", stage, count=count)}
        for what in _OURS:
            found[what] = race.run("auditing", stage, what=what, count=count)
        if go := _by_go(stage, folder, count):
            found["go"] = go
        for name, finish in found.items():
            yield Figure(f"{sample.name}.{name}", count / finish.seconds, "events/s")
            cpu = finish.cpu_seconds * 1e6 / count
            yield Figure(f"{sample.name}.{name}_cpu", cpu, "CPU s / 1,000,000")
            yield Figure(f"{sample.name}.{name}_peak_mib", finish.peak_mib, "MiB")


def start_ups() -> Iterator[Figure]:
    """How long a command takes until it could begin to work, in the median of some starts."""
    for name in _COMMANDS:
        seconds = sorted(_start_up(name.split()) for _ in range(_STARTS))
        figure = f"audit.start_up.{name.replace(' ', '_')}"
        yield Figure(figure, seconds[_STARTS // 2], "s")


def _start_up(command: list[str]) -> float:
    since = SYSTEM.monotonic()
    program = [sys.executable, "-m", "sinergi", *command, "--help"]
    subprocess.run(program, check=True, capture_output=True)  # noqa: S603 - our own program
    return SYSTEM.monotonic() - since


def _by_go(stage: Stage, folder: Path, count: int) -> Finish | None:
    """The verifier in Go over a file of the same messages; None where there is no Go."""
    go = shutil.which("go")
    if go is None:
        return None
    dump, program = folder / f"{stage.publisher}.dump", folder / "verifier"
    race.run("dumping", stage, path=str(dump), count=count)
    source = Path(__file__).with_name("verifier")
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GO111MODULE": "on"}
    subprocess.run(  # noqa: S603 - our own program
        [go, "build", "-o", str(program), "."], cwd=source, check=True, env=environment
    )
    command = [str(program), str(dump), str(stage.key("publisher").public)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    result = json.loads(done.stdout)
    if result["leaves"] != count:
        raise AssertionError(f"the verifier in Go has verified {result['leaves']} of {count}")
    dump.unlink()
    return Finish(result["seconds"], result["peak_mib"], result["cpu"])
