"""Scale: the same events in the topics of more and more agencies.

The processor time of an event should not grow with the number of topics, and a worker that starts
again should read all of them soon. What is measured here are the terms of docs/capacity.md.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import race
import samples
import settled
import sqlalchemy as sa
from capacity import BETWEEN, EVENTS, FEW, MANY, PER_CHECKPOINT, TRICKLING, Terms
from country import Country
from results import Figure, percentile
from trickle import KINDS, trickle
from usage import Meter

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sinergi.local import Local

AGENCIES = (FEW, BETWEEN, MANY)
IDLE_SECONDS = 15
TRICKLE_SECONDS = 20
SIZED_AGENCIES, SIZED_EVENTS = 10, 200
SIZED_KINDS = ("current", "history")
_EPOCHS = sa.text("SELECT coalesce(sum(epoch), 0) FROM sinergi_consumer.position")
_DATABASE_BYTES = sa.text("SELECT pg_database_size(current_database())")


def measure(local: Local, folder: Path) -> Iterator[Figure]:
    """Over a number of agencies, and then a trickle, the sizes of an event, and lists."""
    figures: dict[str, float] = {}
    for each in _all(local, folder):
        figures[each.name] = each.value
        yield each
    terms = Terms.of(figures)
    for agencies in AGENCIES:
        predicted = terms.reader_seconds(EVENTS / PER_CHECKPOINT, agencies) / EVENTS * 1e6
        yield Figure(f"scale.predicted_us_an_event.{agencies}", predicted, "us")


def _all(local: Local, folder: Path) -> Iterator[Figure]:
    for agencies in AGENCIES:
        yield from over(local, folder, agencies, EVENTS)
    yield from _trickle(local, folder)
    yield from _sizes(local, folder)
    yield from settled.measure(local)


def over(local: Local, folder: Path, agencies: int, events: int) -> Iterator[Figure]:
    """Rate and processor time with so many agencies, the time of a start, and of nothing to do."""
    began = SYSTEM.monotonic()
    country = Country.set_up(folder, local, samples.FLAT, agencies)
    yield Figure(f"scale.topics_made_s.{agencies}", SYSTEM.monotonic() - began, "s")
    country.fill(events // agencies, PER_CHECKPOINT)
    url = country.prepare_reader(local.database(f"scale_{agencies}"), KINDS)
    count = events // agencies * agencies
    finish = race.materialise(country, url, KINDS, count)
    yield Figure(f"scale.rate.{agencies}", count / finish.seconds, "events/s")
    cpu = finish.cpu_seconds / count * 1e6
    yield Figure(f"scale.cpu_us_an_event.{agencies}", cpu, "us")
    yield from _again(local, country, url)


def _again(local: Local, country: Country, url: str) -> Iterator[Figure]:
    """How long a worker that starts takes until it has claimed all again; then it has no work."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        before = connection.execute(_EPOCHS).scalar_one()
        began = SYSTEM.monotonic()
        with race.running("sinergi", country, url=url, kinds=KINDS) as reader:
            race.until(
                lambda: connection.execute(_EPOCHS).scalar_one() >= before + country.agencies
            )
            again = SYSTEM.monotonic() - began
            threading.Event().wait(IDLE_SECONDS / 3)  # what a start leaves to do
            meter = Meter(local, reader)
            threading.Event().wait(IDLE_SECONDS)
            idle = meter.cores()
    yield Figure(f"scale.claimed_again_s.{country.agencies}", again, "s")
    for who, cores in idle.items():
        yield Figure(f"scale.idle_{who}_cores.{country.agencies}", cores, "cores")


def _trickle(local: Local, folder: Path) -> Iterator[Figure]:
    """How long the lone events of many agencies are on their way, and what they take."""
    country = Country.set_up(folder, local, samples.FLAT, TRICKLING)
    url = country.prepare_reader(local.database("scale_trickle"), KINDS)
    trickled = trickle(local, country, url, TRICKLE_SECONDS)
    yield Figure("scale.trickle_p50_s", percentile(trickled.took, 0.50), "s")
    yield Figure("scale.trickle_p99_s", percentile(trickled.took, 0.99), "s")
    for who, cores in trickled.cores.items():
        yield Figure(f"scale.trickle_{who}_cores", cores, "cores")


def _sizes(local: Local, folder: Path) -> Iterator[Figure]:
    """What a seizure takes in the topic and in a reader's tables, each under its own checkpoint."""
    country = Country.set_up(folder, local, samples.SEIZURE, SIZED_AGENCIES)
    country.fill(SIZED_EVENTS, 1)
    events = SIZED_AGENCIES * SIZED_EVENTS
    logs = folder.rglob(f"sinergi.lapas-{SIZED_AGENCIES}-*.{samples.SEIZURE}-0/*.log")
    yield Figure("scale.topic_bytes", sum(each.stat().st_size for each in logs) / events, "bytes")
    url = country.prepare_reader(local.database("scale_sizes"), SIZED_KINDS)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        before = connection.execute(_DATABASE_BYTES).scalar_one()
        race.materialise(country, url, SIZED_KINDS, events)
        after = connection.execute(_DATABASE_BYTES).scalar_one()
    yield Figure("scale.database_bytes", (after - before) / events, "bytes")
