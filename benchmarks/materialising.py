"""Materialising: one sealed partition into upserted rows, by Sinergi and by its peers.

Everybody reads the same topic and fills tables of the same shape in a database of their own. What
each has filled is compared at the end of its run: a figure for other rows would be worth nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import race
import samples
import sqlalchemy as sa
from peers import debezium
from results import Figure, median
from stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from race import Finish

    from sinergi.local import Local


@dataclass(frozen=True, slots=True)
class Race:
    """One comparison.

    Attributes:
        name: the beginning of its figures' names.
        kinds: the projections that are filled at once.
    """

    name: str
    event_type: str
    kinds: Sequence[str]
    events: int
    rounds: int


RACES = (
    Race("materialise", samples.FLAT, ("current",), 300_000, 3),
    Race("materialise.both_projections", samples.FLAT, ("current", "history"), 300_000, 1),
    Race("materialise.seizure", samples.SEIZURE, ("current",), 50_000, 1),
    Race(
        "materialise.seizure.both_projections", samples.SEIZURE, ("current", "history"), 50_000, 1
    ),
)
_BY_THEMSELVES = ("careful", "usual", "postgresql")


def measure(local: Local, folder: Path) -> Iterator[Figure]:
    """Events a second of each contender, and the memory of ours."""
    stages: dict[str, Stage] = {}
    for each in RACES:
        if each.event_type not in stages:
            stages[each.event_type] = Stage.set_up(folder, local, each.event_type)
            stages[each.event_type].fill(each.events)
        yield from _run(each, stages[each.event_type], local)
    yield from debezium.measure(local, folder, stages[samples.FLAT], RACES[0].events)


def _run(each: Race, stage: Stage, local: Local) -> Iterator[Figure]:
    found: dict[str, list[Finish]] = {}
    contents: dict[str, list[tuple[int, int]]] = {}
    for number in range(each.rounds):
        for name in ("sinergi", *_BY_THEMSELVES):
            database = f"{each.name}_{name}_{number}".replace(".", "_")
            url = stage.prepare_reader(local.database(database), each.kinds)
            if name == "sinergi":
                finish = race.materialise(stage, url, each.kinds, each.events)
            else:
                finish = race.run(name, stage, url=url, kinds=each.kinds, count=each.events)
            found.setdefault(name, []).append(finish)
            contents[name] = _contents(stage, url, each.kinds)
            if contents[name] != contents["sinergi"]:
                raise AssertionError(f"{each.name}: {name} has filled other rows")
    for name, finishes in found.items():
        rates = [each.events / finish.seconds for finish in finishes]
        yield Figure(f"{each.name}.{name}", median(rates), "events/s", rates)
    peak = max(finish.peak_mib for finish in found["sinergi"])
    yield Figure(f"{each.name}.peak_mib", peak, "MiB")


def _contents(stage: Stage, url: str, kinds: Sequence[str]) -> list[tuple[int, int]]:
    """Of each table the count of its rows, and a sum over all that stands in them."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return [
            connection.execute(
                sa.text(
                    "SELECT count(*), coalesce(sum(hashtextextended(stored::text, 0)), 0)"
                    f" FROM {table.fullname} AS stored"
                )
            )
            .tuples()
            .one()
            for projection in stage.projections(kinds)
            for table in projection.tables
        ]
