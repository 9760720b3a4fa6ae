"""The agency's tax: what `publish` costs its own transactions, with one writer and with four.

All modes build the same event, so that only what the transaction does differs: the agency's own
insert alone, with a second bare insert, and with `publish`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import race
import samples
import sqlalchemy as sa
from results import Figure, median, percentile
from stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sinergi.local import Local

WRITERS = 4
SECONDS = 6.0
ROUNDS = 3
MODES = ("alone", "second", "publish")


def measure(local: Local, folder: Path) -> Iterator[Figure]:
    """Transactions a second in each mode, their ratio, and how long `publish` takes."""
    stage = Stage.set_up(folder, local, samples.SEIZURE)
    url = stage.prepare_publisher(local.database("tax"))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE own (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                " number text, place text, seized_at timestamptz, note text)"
            )
        )
    writing = _Writing(stage, url, folder)
    yield from _of_one(writing)
    yield from _of_many(writing)


def _of_one(writing: _Writing) -> Iterator[Figure]:
    """How long a transaction takes in each mode while nobody else writes."""
    took: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(ROUNDS):
        for mode in MODES:
            took[mode] += writing.run(mode, 1).transactions
    for mode, found in took.items():
        yield Figure(f"tax.one.{mode}_p50_s", percentile(found, 0.5), "s")


def _of_many(writing: _Writing) -> Iterator[Figure]:
    """The rate of all writers together in each mode, and how long `publish` takes then."""
    rates: dict[str, list[float]] = {mode: [] for mode in MODES}
    durations: list[float] = []
    for _ in range(ROUNDS):
        for mode in MODES:
            written = writing.run(mode, WRITERS)
            rates[mode].append(len(written.transactions) / SECONDS)
            durations += written.calls
    for mode, found in rates.items():
        yield Figure(f"tax.{mode}", median(found), "transactions/s", found)
    ratios = [
        with_publish / alone
        for with_publish, alone in zip(rates["publish"], rates["alone"], strict=True)
    ]
    yield Figure("tax.ratio", median(ratios), "of the rate alone", ratios)
    yield Figure("tax.publish_p50_s", percentile(durations, 0.5), "s")
    yield Figure("tax.publish_p99_s", percentile(durations, 0.99), "s")


class _Written(NamedTuple):
    """The seconds that each transaction of all writers took, and each call of `publish`."""

    transactions: list[float]
    calls: list[float]


class _Writing:
    """Runs of writers on one database, each with records of its own."""

    def __init__(self, stage: Stage, url: str, folder: Path) -> None:
        self._stage = stage
        self._url = url
        self._folder = folder
        self._started = 0

    def run(self, mode: str, writers: int) -> _Written:
        """Let so many write at once."""
        numbers = range(self._started, self._started + writers)
        self._started += writers
        reports = [self._folder / f"tax-{number}.json" for number in numbers]
        orders = [
            {
                "url": self._url,
                "mode": mode,
                "writer": number,
                "seconds": SECONDS,
                "report": str(report),
            }
            for number, report in zip(numbers, reports, strict=True)
        ]
        race.together("tax", self._stage, orders)
        told = [json.loads(report.read_text("utf-8")) for report in reports]
        return _Written(
            [seconds for each in told for seconds in each["transactions"]],
            [seconds for each in told for seconds in each["calls"]],
        )
