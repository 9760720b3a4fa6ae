"""The agency's tax: what `publish` costs its own transactions, with four writers at once.

All modes build the same event, so that only what the transaction does differs: the agency's own
insert alone, with a second bare insert, and with `publish`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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
    rates: dict[str, list[float]] = {mode: [] for mode in MODES}
    durations: list[float] = []
    for number in range(ROUNDS):
        for mode in MODES:
            rate, took = _together(stage, url, folder, mode, number)
            rates[mode].append(rate)
            durations += took
    for mode, found in rates.items():
        yield Figure(f"tax.{mode}", median(found), "transactions/s", found)
    ratios = [
        with_publish / alone
        for with_publish, alone in zip(rates["publish"], rates["alone"], strict=True)
    ]
    yield Figure("tax.ratio", median(ratios), "of the rate alone", ratios)
    yield Figure("tax.publish_p50_s", percentile(durations, 0.5), "s")
    yield Figure("tax.publish_p99_s", percentile(durations, 0.99), "s")


def _together(
    stage: Stage, url: str, folder: Path, mode: str, number: int
) -> tuple[float, list[float]]:
    """All writers at once; their rate together, and how long each `publish` took."""
    reports = [folder / f"tax-{mode}-{number}-{writer}.json" for writer in range(WRITERS)]
    race.together(
        "tax",
        stage,
        [
            {
                "url": url,
                "mode": mode,
                "writer": number * WRITERS + writer,
                "seconds": SECONDS,
                "report": str(report),
            }
            for writer, report in enumerate(reports)
        ],
    )
    told = [json.loads(report.read_text("utf-8")) for report in reports]
    rate = sum(each["transactions"] for each in told) / SECONDS
    return rate, [seconds for each in told for seconds in each["durations"]]
