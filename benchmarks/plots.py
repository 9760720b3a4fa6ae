"""The figures as pictures: SVG files beside `latest.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
from results import FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CONTENDERS = ("postgresql", "sinergi", "careful", "debezium", "usual")
_WIDTH = 480


def draw(figures: Mapping[str, float]) -> None:
    """Draw whatever the figures allow."""
    bars = [name for name in _CONTENDERS if f"materialise.{name}" in figures]
    if bars:
        found = [(name, figures[f"materialise.{name}"]) for name in bars]
        _bars("materialise", "Materialising a flat event, events a second", found)
    relays = [
        (name, figures[f"relay.{name}"])
        for name in ("sinergi", "handwritten")
        if f"relay.{name}" in figures
    ]
    if relays:
        _bars("relay", "Relaying, events a second", relays)
    _lines(
        figures,
        "growth",
        "events on the topic",
        {"rate": "events a second", "peak_mib": "peak, MiB"},
    )
    times = {
        "cpu_us_an_event": "processor time of an event, µs",
        "predicted_us_an_event": "the same by the model, µs",
        "idle_broker_cores": "cores of the broker without events",
        "claimed_again_s": "until all topics are claimed again, s",
    }
    _lines(figures, "scale", "agencies", times)


def _data(values: Sequence[Mapping[str, object]]) -> alt.Data:
    return alt.Data(values=values)


def _bars(name: str, title: str, found: Sequence[tuple[str, float]]) -> None:
    values = [{"contender": who, "rate": rate, "ours": who == "sinergi"} for who, rate in found]
    base = alt.Chart(_data(values), title=title).encode(
        y=alt.Y("contender:N", sort="-x", title=None),
        x=alt.X("rate:Q", title=None, axis=alt.Axis(format=",.0f")),
    )
    bars = base.mark_bar().encode(color=alt.Color("ours:N", legend=None))
    text = base.mark_text(align="left", dx=4).encode(text=alt.Text("rate:Q", format=",.0f"))
    (bars + text).properties(width=_WIDTH).save(FOLDER / f"{name}.svg")


def _lines(figures: Mapping[str, float], part: str, over: str, titles: Mapping[str, str]) -> None:
    """A plot for each kind of figure that a part has at several numbers, if it has."""
    values = [
        {"number": int(name.rpartition(".")[2]), "what": title, "value": value}
        for what, title in titles.items()
        for name, value in figures.items()
        if name.startswith(f"{part}.{what}.")
    ]
    if not values:
        return
    line = (
        alt.Chart(_data(values))
        .mark_line(point=True)
        .encode(
            x=alt.X("number:Q", scale=alt.Scale(type="log"), title=over),
            y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=True)),
        )
        .properties(width=_WIDTH, height=160)
    )
    line.facet(row=alt.Row("what:N", title=None)).resolve_scale(y="independent").save(
        FOLDER / f"{part}.svg"
    )
