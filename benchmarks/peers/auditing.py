"""Sinergi's replay, unmodified: into Parquet, only verified, or only one record of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sinergi.cli.destination import Destination, Output
from sinergi.cli.output import open_writer
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.bus import Bus
from sinergi_consumers.reading.source import KafkaSource
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.read_ahead import usable_processes

if TYPE_CHECKING:
    from stage import Stage

_RECORD = "LP/2025/00000007"


def run(stage: Stage, what: str, count: int) -> tuple[float, float]:
    """Replay the topic: `parquet`, `verify` or `one_record`."""
    source = KafkaSource(stage.connection, usable_processes())
    replay = Replay(Bus(source, stage.agreements, stage.catalog), stage.topic)
    began = SYSTEM.monotonic()
    if what == "parquet":
        _write(replay)
    elif what == "verify":
        replay.verify(0)
    else:
        found = list(replay.events(ReplayFilter(record_id=_RECORD)))
        if not sum(each.height for each in found):
            raise AssertionError("the record was not found")
    ended = SYSTEM.monotonic()
    (counts,) = replay.partition_counts
    if counts.verified != count:
        raise AssertionError(f"{counts.verified} of {count} events are verified")
    return began, ended


def _write(replay: Replay) -> None:
    with tempfile.TemporaryDirectory(prefix="sinergi-bench-") as folder:
        destination = Destination(Output.PARQUET, Path(folder) / "events.parquet")
        with open_writer(destination, {replay.topic.event_type}) as writer:
            for each in replay.events(ReplayFilter()):
                writer.add(replay.topic, each)
            writer.finish({})
