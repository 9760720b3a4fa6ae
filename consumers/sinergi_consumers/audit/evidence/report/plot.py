"""Where the marks of the report's plot stand: a row for each record, time from left to right."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_consumers.audit.evidence.report.contents import TimelineMoment

_TOP, _ROW, _BOTTOM = 14, 34, 40
_MOST_ROWS, _MOST_HEIGHT = 40, 880  # of all rows together: the plot stands on one page


class PlotSize(NamedTuple):
    """How wide a plot is.

    Attributes:
        left, right: the room beside the rows.
        ticks: into how many parts the times below divide it.
        label: the most characters of the name of a row, in a font of which all have one width.
        font: the size of that font.
    """

    width: int
    left: int
    right: int
    ticks: int
    label: int
    font: int


WIDE = PlotSize(960, 200, 30, 4, 24, 12)
"""For paper, and for a screen."""
NARROW = PlotSize(360, 126, 16, 1, 16, 11)
"""For a telephone."""


class PlotMark(NamedTuple):
    """A mark of the plot, and what it means.

    Attributes:
        kind: as in `TimelineMoment`; each has its own shape, so that it is seen in black and white.
    """

    x: float
    y: float
    kind: str
    meaning: str


class PlotLabel(NamedTuple):
    """A text of the plot: the name of a row, or a time below it."""

    x: float
    y: float
    text: str


class TimePlot(NamedTuple):
    """The plot.

    Attributes:
        left, right: where the rows begin and end.
        font: the size of the names of the rows.
        omitted: how many records have no row, since there are too many.
    """

    width: int
    height: int
    left: int
    right: int
    font: int
    rows: tuple[PlotLabel, ...]
    ticks: tuple[PlotLabel, ...]
    marks: tuple[PlotMark, ...]
    omitted: int


def plot_of(timeline: Sequence[TimelineMoment], size: PlotSize = WIDE) -> TimePlot | None:
    """The plot of a timeline; None if nothing is on it."""
    if not timeline:
        return None
    records = list(dict.fromkeys(each.record for each in timeline))
    shown = {name: number for number, name in enumerate(records[:_MOST_ROWS])}
    first, last = timeline[0].at, timeline[-1].at
    span = max((last - first).total_seconds(), 1.0)
    room = size.width - size.left - size.right
    height = min(_ROW, _MOST_HEIGHT // len(shown))
    bottom = _TOP + height * len(shown)

    def across(seconds: float) -> float:
        return round(size.left + room * seconds / span, 1)

    marks = [
        PlotMark(
            across((each.at - first).total_seconds()),
            _TOP + height * shown[each.record] + height / 2,
            each.kind,
            f"{each.record}, {each.revision} {each.action}: {each.kind}, {each.at.isoformat()},"
            f" {each.clock}",
        )
        for each in timeline
        if each.record in shown
    ]
    ticks = [
        PlotLabel(
            across(span * number / size.ticks),
            bottom + 22,
            (first + timedelta(seconds=span * number / size.ticks)).strftime("%Y-%m-%d %H:%M"),
        )
        for number in range(size.ticks + 1)
    ]
    return TimePlot(
        size.width,
        bottom + _BOTTOM,
        size.left,
        size.width - size.right,
        size.font,
        tuple(
            PlotLabel(
                size.left - 16, _TOP + height * number + height / 2, _shortened(name, size.label)
            )
            for name, number in shown.items()
        ),
        tuple(ticks),
        tuple(marks),
        len(records) - len(shown),
    )


def _shortened(text: str, most: int) -> str:
    """The begin and the end of a text: the numbers of related records often differ in the end."""
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"
