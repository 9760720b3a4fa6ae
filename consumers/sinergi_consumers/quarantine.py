"""Merging with the guilty set apart: one bad event never holds up its neighbours.

A frame of events that a projection or the database refuses is halved, each half in a savepoint of
its own, until the events that cannot pass stand alone; they go to quarantine in the transaction
that brings the others' rows.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PanicException

from sinergi_consumers.decoding import Unfit
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sinergi_consumers.partition import Leaves
    from sinergi_consumers.projection import Projection
    from sinergi_consumers.sinks import Transaction

_CONFLICT = "another event holds this revision of the record already; the first leaf stands"


def merge_or_set_apart(
    transaction: Transaction, projection: Projection, leaves: Leaves, events: pl.DataFrame
) -> Iterator[Unfit]:
    """Merge events into a projection's tables; what could not pass, and why.

    Raises:
        Unavailable: the database is away: nothing of this says anything about an event.
        DatabaseBroken: a table or a privilege is missing.
    """
    if events.is_empty():
        return
    try:
        with transaction.savepoint():
            conflicts = transaction.merge(projection, _rows(projection, events))
    except (errors.RowsRefused, errors.ProjectionFailed) as why:
        if events.height == 1:
            yield _unfit(leaves, events, _reason(why), str(why))
            return
        half = events.height // 2
        yield from merge_or_set_apart(transaction, projection, leaves, events[:half])
        yield from merge_or_set_apart(transaction, projection, leaves, events[half:])
    else:
        for index in conflicts:
            event = events.filter(pl.col("leaf_index") == index)
            yield _unfit(leaves, event, "revision-conflict", _CONFLICT)


def _rows(projection: Projection, events: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
    try:
        return projection.rows(events)
    except errors.ProjectionFailed:
        raise
    except (Exception, PanicException) as why:  # noqa: BLE001 - an integrator's code may raise any
        # Its message may quote what it was handed, so that only its class and place go on.
        what = f"{type(why).__name__} in {_place(why)}"
        raise errors.ProjectionFailed(projection.name, what) from None


def _place(why: BaseException) -> str:
    """File and line of the projection's own code at which an exception came out of it."""
    frames = traceback.extract_tb(why.__traceback__)
    ours = Path(__file__).parent
    first = next((each for each in frames if Path(each.filename).parent != ours), frames[-1])
    return f"{Path(first.filename).name}:{first.lineno}"


def _unfit(leaves: Leaves, event: pl.DataFrame, reason: str, detail: str) -> Unfit:
    index, revision = event.select("leaf_index", "revision").row(0)
    return Unfit(leaves.message(index), reason, detail, revision)


def _reason(why: errors.SinergiError) -> str:
    return "rows-refused" if isinstance(why, errors.RowsRefused) else "projection-failed"
