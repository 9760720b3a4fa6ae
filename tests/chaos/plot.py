"""Recovery times as a picture: one point a fault, one line a kind of fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from chaos.report import Report

_WIDTH = 480


def draw(reports: Sequence[Report], file: Path) -> None:
    """Draw how long it took after each fault until work went on, as an SVG file."""
    values = [
        {"fault": kind, "seconds": round(max(seconds, 0.01), 3)}
        for each in reports
        for kind, seconds in each.recoveries
    ]
    points = (
        alt.Chart(alt.InlineData(values))
        .mark_tick(thickness=1.5)
        .encode(
            x=alt.X("seconds:Q", scale=alt.Scale(type="log"), title="seconds until work went on"),
            y=alt.Y(
                "fault:N",
                sort=alt.EncodingSortField("seconds", "max"),
                title=None,
                axis=alt.Axis(labelLimit=_WIDTH),
            ),
        )
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    points.properties(width=_WIDTH).save(file)
