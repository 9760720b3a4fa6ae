"""Recovery times as a picture: one line a kind of fault, one stroke a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from chaos.report import Report

_WIDTH = 560
_LABELS = 320
_STEP = 18
_SOONEST = 0.05
"""What took less stands here: a logarithm has no place for nothing at all."""


def draw(reports: Sequence[Report], file: Path) -> None:
    """Draw how long it took after each fault until work went on, as an SVG file."""
    times: dict[str, list[float]] = {}
    for kind, seconds in (one for each in reports for one in each.recoveries):
        times.setdefault(kind, []).append(round(max(seconds, _SOONEST), 3))
    values = [
        {"fault": f"{kind} ({len(those)})", "seconds": seconds}
        for kind, those in times.items()
        for seconds in those
    ]
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200]
    slowest = max(max(those) for those in times.values())
    chart = (
        alt.Chart(alt.InlineData(values))
        .mark_tick(thickness=1.5, opacity=0.6)
        .encode(
            x=alt.X(
                "seconds:Q",
                scale=alt.Scale(type="log", domain=(_SOONEST, slowest * 1.1), nice=False),
                axis=alt.Axis(values=ticks, format="~g"),
                title="seconds until work went on",
            ),
            y=alt.Y(
                "fault:N",
                sort=alt.EncodingSortField("seconds", "max", order="descending"),
                title=None,
                axis=alt.Axis(labelLimit=_LABELS, grid=True),
            ),
        )
        .properties(
            width=_WIDTH, height=alt.Step(_STEP), title="Faults, and how long until work went on"
        )
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    chart.save(file)
