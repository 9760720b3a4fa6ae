"""Merging with the guilty set apart: one bad event never holds up its neighbours.

Where a projection or the database refuses a frame of events, those are looked for first that cannot
pass whatever stands beside them: on which the projection fails, or of which the database does not
take a row. Each is judged alone. The others are merged together; if that is refused, by another
row's key or by a trigger, they are merged one by one. All that are refused go to quarantine in the
transaction that brings the others' rows.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PanicException

from sinergi_consumers.decode.decoder import Unfit
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sinergi_consumers.decode.decoder import DecodedBatch
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import Leaves
    from sinergi_consumers.sinks.protocol import Transaction

_Refusal = errors.RowsRefused | errors.ProjectionFailed
_Rows = Mapping[str, pl.DataFrame]

_INDEX = "leaf_index"
_ALONE = 200
_CONFLICT = "another event holds this revision of the record already; the first leaf stands"


def take_in(
    transaction: Transaction, projection: Projection, leaves: Leaves, decoded: DecodedBatch
) -> list[Unfit]:
    """Bring decoded leaves into a projection's tables and into its quarantine; the latter.

    Raises:
        Unavailable, DatabaseBroken: see `sinergi_consumers.quarantine.isolate`.
    """
    unfit = [
        *decoded.unfit,
        *merge_or_set_apart(transaction, projection, leaves, decoded.events),
    ]
    if unfit:
        transaction.quarantine(projection, leaves, unfit)
    return unfit


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
    outcome = _attempt(transaction, projection, events)
    if isinstance(outcome, _Refusal) and events.height > 1:
        guilty = _guilty(transaction, projection, events)
        yield from _unfit(leaves, events, guilty)
        events = events.filter(~pl.col(_INDEX).is_in([*guilty]))
        if events.is_empty():
            return
        outcome = _attempt(transaction, projection, events)
        if isinstance(outcome, _Refusal) and events.height > 1:
            yield from _unfit(leaves, events, _one_by_one(transaction, projection, events))
            return
    yield from _told(leaves, events, outcome)


def _attempt(
    transaction: Transaction, projection: Projection, events: pl.DataFrame
) -> Sequence[int] | _Refusal:
    """Merge all events or none: the leaves in conflict with others, or why it was refused."""
    try:
        rows = _rows(projection, events)
        with transaction.savepoint():
            return transaction.merge(projection, rows)
    except (errors.RowsRefused, errors.ProjectionFailed) as why:
        return why


def _guilty(
    transaction: Transaction, projection: Projection, events: pl.DataFrame
) -> Mapping[int, _Refusal | None]:
    """The leaves that cannot pass whatever stands beside them, and why."""

    def judge(rows: _Rows) -> Mapping[int, _Refusal]:
        return transaction.refused(projection, rows)

    return _judged(transaction, projection, events, judge)


def _one_by_one(
    transaction: Transaction, projection: Projection, events: pl.DataFrame
) -> Mapping[int, _Refusal | None]:
    """Merge events one by one: the leaves that do not stand, and why."""

    def judge(rows: _Rows) -> Mapping[int, _Refusal | None]:
        transaction.keep_alive()
        try:
            return transaction.merge_one_by_one(projection, rows)
        except (errors.RowsRefused, errors.ProjectionFailed) as why:
            leaves = rows[projection.record.name][_INDEX]
            if leaves.len() == 1:
                return {leaves[0]: why}
        middle = pl.col(_INDEX) < leaves.sort()[leaves.len() // 2]
        halves = [
            {name: each.filter(one) for name, each in rows.items()} for one in (middle, ~middle)
        ]
        return {**judge(halves[0]), **judge(halves[1])}

    return _judged(transaction, projection, events, judge)


def _judged(
    transaction: Transaction,
    projection: Projection,
    events: pl.DataFrame,
    judge: Callable[[_Rows], Mapping[int, _Refusal | None]],
) -> Mapping[int, _Refusal | None]:
    """What becomes of events on which the projection fails, or of whose rows a judge says no.

    Args:
        judge: why the events of some rows do not stand; None for a conflict of revisions.
    """
    found: dict[int, _Refusal | None] = {}
    refused: dict[int, _Refusal | None] = {}
    for rows in _together(transaction, projection, [events], found):
        refused |= judge(rows)
    if projection.is_by_event:
        return found | refused
    found |= {leaf: None for leaf, why in refused.items() if why is None}
    # Their rows are made anew, since an integrator's code may give others to an event in company.
    suspect = [leaf for leaf, why in refused.items() if why is not None]
    for start in range(0, len(suspect), _ALONE):
        some = events.filter(pl.col(_INDEX).is_in(suspect[start : start + _ALONE]))
        for rows in _together(transaction, projection, some.iter_slices(1), found):
            found |= judge(rows)
    return found


def _together(
    transaction: Transaction,
    projection: Projection,
    parts: Iterable[pl.DataFrame],
    failed: dict[int, _Refusal | None],
) -> Iterator[_Rows]:
    """The rows of parts of events, those of one shape together; adds to `failed` who has none."""
    made: dict[object, list[_Rows]] = {}
    projected = (_projected(transaction, projection, part) for part in parts)
    for events, rows in chain.from_iterable(projected):
        if isinstance(rows, errors.ProjectionFailed):
            failed[events[_INDEX][0]] = rows
        else:
            alike = tuple(tuple(each.schema.items()) for each in rows.values())
            made.setdefault(alike, []).append(rows)
    for each in made.values():
        yield {name: pl.concat([rows[name] for rows in each]) for name in each[0]}


def _projected(
    transaction: Transaction, projection: Projection, events: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, _Rows | errors.ProjectionFailed]]:
    """Events with the rows that a projection makes of them; alone, those on which it fails."""
    transaction.keep_alive()
    try:
        rows = _rows(projection, events)
    except errors.ProjectionFailed as why:
        if events.height == 1:
            yield events, why
            return
    else:
        yield events, rows
        return
    half = events.height // 2
    yield from _projected(transaction, projection, events[:half])
    yield from _projected(transaction, projection, events[half:])


def _rows(projection: Projection, events: pl.DataFrame) -> _Rows:
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
    ours = Path(__file__).parents[1]
    theirs = (each for each in frames if not Path(each.filename).is_relative_to(ours))
    first = next(theirs, frames[-1])
    return f"{Path(first.filename).name}:{first.lineno}"


def _told(
    leaves: Leaves, events: pl.DataFrame, outcome: Sequence[int] | _Refusal
) -> Iterator[Unfit]:
    """What came of an attempt that is the last for these events."""
    if isinstance(outcome, _Refusal):
        yield from _unfit(leaves, events, {events[_INDEX][0]: outcome})
    else:
        yield from _unfit(leaves, events, dict.fromkeys(outcome))


def _unfit(
    leaves: Leaves, events: pl.DataFrame, guilty: Mapping[int, _Refusal | None]
) -> Iterator[Unfit]:
    """The events at some leaves, with what each is guilty of; None is a conflict of revisions."""
    if not guilty:
        return
    those = events.filter(pl.col(_INDEX).is_in([*guilty]))
    for index, revision in those.select(_INDEX, "revision").iter_rows():
        why = guilty[index]
        reason, detail = ("revision-conflict", _CONFLICT) if why is None else _said(why)
        yield Unfit(leaves.message(index), reason, detail, revision)


def _said(why: _Refusal) -> tuple[str, str]:
    if isinstance(why, errors.RowsRefused):
        return "rows-refused", str(why)
    return "projection-failed", str(why)
