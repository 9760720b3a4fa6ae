"""Merging with the guilty set apart: one bad event never holds up its neighbours.

Where a projection or the database refuses a frame of events, those are looked for first that cannot
pass whatever stands beside them: on which the projection fails, or of which the database does not
take a row. Each is judged alone. The others are merged together, each attempt in a savepoint of its
own; if that is refused, by another row's key or by a trigger, they are halved until the guilty
stand alone. All of these go to quarantine in the transaction that brings the others' rows.
"""

from __future__ import annotations

import traceback
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from polars.exceptions import PanicException

from sinergi_consumers.decoding import Unfit
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sinergi_consumers.partition import Leaves
    from sinergi_consumers.projection import Projection
    from sinergi_consumers.sinks import Transaction

_Refusal = errors.RowsRefused | errors.ProjectionFailed

_INDEX = "leaf_index"
_ALONE = 200
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
    outcome = _attempt(transaction, projection, events)
    if isinstance(outcome, _Refusal) and events.height > 1:
        guilty = _guilty(transaction, projection, events)
        yield from _unfit(leaves, events, guilty)
        others = events.filter(~pl.col(_INDEX).is_in([*guilty]))
        yield from _halved(transaction, projection, leaves, others)
    else:
        yield from _told(leaves, events, outcome)


def _halved(
    transaction: Transaction, projection: Projection, leaves: Leaves, events: pl.DataFrame
) -> Iterator[Unfit]:
    if events.is_empty():
        return
    outcome = _attempt(transaction, projection, events)
    if isinstance(outcome, _Refusal) and events.height > 1:
        half = events.height // 2
        yield from _halved(transaction, projection, leaves, events[:half])
        yield from _halved(transaction, projection, leaves, events[half:])
    else:
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
) -> dict[int, _Refusal]:
    """The leaves that cannot pass whatever stands beside them, and why."""
    found = _refusals(transaction, projection, [events])
    if projection.is_by_event:
        return found
    suspect = [leaf for leaf, why in found.items() if isinstance(why, errors.RowsRefused)]
    guilty = {leaf: why for leaf, why in found.items() if leaf not in {*suspect}}
    # Their rows are made anew, since an integrator's code may give others to an event in company.
    for start in range(0, len(suspect), _ALONE):
        some = events.filter(pl.col(_INDEX).is_in(suspect[start : start + _ALONE]))
        guilty |= _refusals(transaction, projection, some.iter_slices(1))
    return guilty


def _refusals(
    transaction: Transaction, projection: Projection, parts: Iterable[pl.DataFrame]
) -> dict[int, _Refusal]:
    """The leaves on which the projection fails, or of which the database does not take a row."""
    found: dict[int, _Refusal] = {}
    made: dict[object, list[Mapping[str, pl.DataFrame]]] = {}
    projected = (_projected(transaction, projection, part) for part in parts)
    for events, rows in chain.from_iterable(projected):
        if isinstance(rows, errors.ProjectionFailed):
            found[events[_INDEX][0]] = rows
        else:
            alike = tuple(tuple(each.schema.items()) for each in rows.values())
            made.setdefault(alike, []).append(rows)
    for alike_parts in made.values():
        first = alike_parts[0]
        together = {name: pl.concat([each[name] for each in alike_parts]) for name in first}
        found |= transaction.refused(projection, together)
    return found


def _projected(
    transaction: Transaction, projection: Projection, events: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, Mapping[str, pl.DataFrame] | errors.ProjectionFailed]]:
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
