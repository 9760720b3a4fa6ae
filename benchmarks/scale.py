"""Scale: the same events in the topics of more and more agencies.

The processor time of an event should not grow with the number of topics, and a worker that starts
again should read all of them soon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import race
import samples
import sqlalchemy as sa
from country import Country
from results import Figure, percentile
from trickle import KINDS, trickle

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sinergi.local import Local

AGENCIES = (3, 30, 300)
EVENTS = 3_000
PER_CHECKPOINT = 5
TRICKLING = 100
TRICKLE_SECONDS = 20
_EPOCHS = sa.text("SELECT coalesce(sum(epoch), 0) FROM sinergi_consumer.position")


def measure(local: Local, folder: Path) -> Iterator[Figure]:
    """Rate and processor time over a number of agencies, the time of a start, and a trickle."""
    for agencies in AGENCIES:
        began = SYSTEM.monotonic()
        country = Country.set_up(folder, local, samples.FLAT, agencies)
        yield Figure(f"scale.topics_made_s.{agencies}", SYSTEM.monotonic() - began, "s")
        country.fill(EVENTS // agencies, PER_CHECKPOINT)
        url = country.prepare_reader(local.database(f"scale_{agencies}"))
        finish = race.materialise(country, url, KINDS, EVENTS)
        yield Figure(f"scale.rate.{agencies}", EVENTS / finish.seconds, "events/s")
        cpu = finish.cpu_seconds / EVENTS * 1e6
        yield Figure(f"scale.cpu_us_an_event.{agencies}", cpu, "us")
        yield Figure(f"scale.claimed_again_s.{agencies}", _claimed_again(country, url), "s")
    yield from _trickle(local, folder)


def _trickle(local: Local, folder: Path) -> Iterator[Figure]:
    """How long the lone events of many agencies are on their way, and what the reader takes."""
    country = Country.set_up(folder, local, samples.FLAT, TRICKLING)
    url = country.prepare_reader(local.database("scale_trickle"))
    trickled = trickle(country, url, TRICKLE_SECONDS)
    yield Figure("scale.trickle_p50_s", percentile(trickled.took, 0.50), "s")
    yield Figure("scale.trickle_p99_s", percentile(trickled.took, 0.99), "s")
    yield Figure("scale.trickle_cores", trickled.cores, "cores")


def _claimed_again(country: Country, url: str) -> float:
    """How long a worker that starts takes until it has claimed every topic-partition again."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        before = connection.execute(_EPOCHS).scalar_one()
        began = SYSTEM.monotonic()
        with race.running("sinergi", country, url=url, kinds=KINDS):
            race.until(
                lambda: connection.execute(_EPOCHS).scalar_one() >= before + country.agencies
            )
            return SYSTEM.monotonic() - began
