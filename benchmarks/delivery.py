"""Delivery: from a commit at one agency to the row at another, with relay and materialiser between.

The clock starts when the commit has returned and stops when another connection first sees the row.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import race
import samples
import sqlalchemy as sa
from results import Figure, percentile
from sqlalchemy.orm import Session
from stage import Stage

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sinergi.local import Local

RATES = ((10, 20.0), (500, 15.0))
WRITERS = 4
_LOOK_SECONDS = 0.002
_WARMING = 20


def measure(local: Local, folder: Path) -> Iterator[Figure]:
    """How long events are on their way, at each rate."""
    stage = Stage.set_up(folder, local, samples.SEIZURE)
    publisher = stage.prepare_publisher(local.database("delivery_from"))
    reader = stage.prepare_reader(local.database("delivery_to"), ["current"])
    with (
        race.running("sinergi_relay", stage, url=publisher),
        race.running("sinergi", stage, url=reader, kinds=["current"]),
    ):
        _deliver(stage, publisher, reader, 10, _WARMING / 10, "warming")
        for rate, seconds in RATES:
            took = _deliver(stage, publisher, reader, rate, seconds, f"at-{rate}")
            suffix = "" if rate == RATES[0][0] else f"_at_{rate}"
            yield Figure(f"delivery.p50_s{suffix}", percentile(took, 0.50), "s")
            yield Figure(f"delivery.p99_s{suffix}", percentile(took, 0.99), "s")


def _deliver(
    stage: Stage, publisher: str, reader: str, rate: int, seconds: float, name: str
) -> list[float]:
    """Publish at a rate for so long; how long each event was on its way."""
    count = int(rate * seconds)
    committed: dict[str, float] = {}
    with ThreadPoolExecutor(WRITERS + 1) as threads:
        watching = threads.submit(_watch, reader, f"LP/{name}/%", count)
        start = SYSTEM.monotonic() + 0.2
        engine = sa.create_engine(publisher, pool_size=WRITERS)
        writers = [
            threads.submit(_write, stage, engine, name, range(at, count, WRITERS), (start, rate))
            for at in range(WRITERS)
        ]
        for each in writers:
            committed |= each.result()
        seen = watching.result()
        engine.dispose()
    return [seen[record] - at for record, at in committed.items()]


def _write(
    stage: Stage, engine: sa.Engine, name: str, numbers: range, pace: tuple[float, int]
) -> Mapping[str, float]:
    """One event a transaction, each at its time; when each commit had returned."""
    start, rate = pace
    outbox = stage.outbox()
    patience = threading.Event()
    committed = {}
    for number in numbers:
        patience.wait(max(0.0, start + number / rate - SYSTEM.monotonic()))
        event = samples.event(name, number)
        with Session(engine) as session, session.begin():
            outbox.publish(session, event)
        committed[event.record_id] = SYSTEM.monotonic()
    return committed


def _watch(reader: str, which: str, count: int) -> Mapping[str, float]:
    """When each record was first seen in the reader's table."""
    engine = sa.create_engine(reader, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    question = sa.text(
        "SELECT leaf_index, record_id FROM sinergi.seizure"
        " WHERE record_id LIKE :which AND leaf_index > :last ORDER BY leaf_index"
    )
    seen: dict[str, float] = {}
    last = -1
    with engine.connect() as connection:
        connection.execute(
            sa.text("CREATE INDEX IF NOT EXISTS watched ON sinergi.seizure (leaf_index)")
        )

        def look() -> bool:
            nonlocal last
            found = connection.execute(question, {"which": which, "last": last}).tuples().all()
            now = SYSTEM.monotonic()
            for leaf, record in found:
                seen[record] = now
                last = leaf
            return len(seen) >= count

        race.until(look, _LOOK_SECONDS)
    return seen
