"""Merge events, and isolate those that are refused, so that one bad event does not block others.

If events of several topic-partitions are refused together, they are merged again in halves, until
those that are refused are of one topic-partition.

If a projection or the database refuses a frame of events, it first finds the events that are
refused even without the others: the projection fails on them, or the database refuses one of their
rows. Then the other events are merged together. If that is refused as well, because of a unique or
foreign key or a trigger, they are merged one by one. All refused events go to quarantine in the
same transaction.
"""

from __future__ import annotations

import traceback
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from sinergi_consumers.decode.batches import RefusedEvent
from sinergi_schemas import errors
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sinergi_consumers.decode.batches import DecodedBatch
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import Leaves
    from sinergi_consumers.sinks.protocol import Transaction

_Refusal = errors.RowsRefused | errors.ProjectionFailed
_Rows: TypeAlias = "Mapping[str, pl.DataFrame]"

_INDEX = "leaf_index"
_MOST_ALONE = 200
_CONFLICT = "another event has this revision of the record already; the first leaf is used"


def merge_and_quarantine(
    transaction: Transaction,
    projection: Projection,
    leaves: Sequence[Leaves],
    decoded: DecodedBatch,
) -> list[RefusedEvent]:
    """Merge decoded events into a projection's tables, and quarantine those that are refused.

    Args:
        transaction: of the sink.
        projection: makes the rows.
        leaves: the batches of the events, each of another topic-partition.
        decoded: the events.

    Returns:
        The events that the projection or its tables refused. Those that could not be decoded went
        to quarantine with them.

    Raises:
        Unavailable, DatabaseBroken: see `merge_or_isolate`.
    """
    refused = [*merge_or_halve(transaction, projection, leaves, decoded.events)]
    by_place: dict[TopicPartition, list[RefusedEvent]] = {}
    for each in (*decoded.refused, *refused):
        by_place.setdefault(each.tp, []).append(each)
    for tp, those in sorted(by_place.items()):
        transaction.quarantine(projection, tp, those)
    return refused


def merge_or_halve(
    transaction: Transaction,
    projection: Projection,
    leaves: Sequence[Leaves],
    events: pl.DataFrame,
) -> Iterator[RefusedEvent]:
    """As `merge_or_isolate`, for events of several topic-partitions."""
    if len(leaves) == 1:
        yield from merge_or_isolate(transaction, projection, leaves[0], events)
        return
    outcome = [] if events.is_empty() else _attempt(transaction, projection, events)
    if isinstance(outcome, _Refusal) or outcome:
        # To merge again what was merged already changes nothing.
        middle = len(leaves) // 2
        for some in (leaves[:middle], leaves[middle:]):
            yield from merge_or_halve(transaction, projection, some, _of(some, events))


def merge_or_isolate(
    transaction: Transaction, projection: Projection, leaves: Leaves, events: pl.DataFrame
) -> Iterator[RefusedEvent]:
    """Merge events of one topic-partition into a projection's tables.

    Yields:
        The refused events with the reason.

    Raises:
        Unavailable: the database does not answer; no event is the cause.
        DatabaseBroken: the database refuses a statement.
    """
    if events.is_empty():
        return
    outcome = _attempt(transaction, projection, events)
    if isinstance(outcome, _Refusal) and events.height > 1:
        refused = _refused_alone(transaction, projection, events)
        yield from _refused_events(leaves, events, refused)
        events = events.filter(~pl.col(_INDEX).is_in([*refused]))
        if events.is_empty():
            return
        outcome = _attempt(transaction, projection, events)
        if isinstance(outcome, _Refusal) and events.height > 1:
            yield from _refused_events(leaves, events, _one_by_one(transaction, projection, events))
            return
    yield from _refused_at_last(leaves, events, outcome)


def _attempt(
    transaction: Transaction, projection: Projection, events: pl.DataFrame
) -> Sequence[int] | _Refusal:
    """Merge all events or none. Returns the leaves with a revision conflict, or the refusal."""
    transaction.keep_alive()
    try:
        rows = _rows(projection, events)
        with transaction.savepoint():
            return transaction.merge(projection, rows)
    except (errors.RowsRefused, errors.ProjectionFailed) as why:
        return why


def _of(leaves: Sequence[Leaves], events: pl.DataFrame) -> pl.DataFrame:
    """The events of some topic-partitions."""
    places = pl.DataFrame(
        [(each.topic.name, each.partition) for each in leaves],
        {"topic": pl.String, "partition": pl.Int32},
        orient="row",
    )
    return events.join(places, on=places.columns, how="semi", maintain_order="left")


def _refused_alone(
    transaction: Transaction, projection: Projection, events: pl.DataFrame
) -> Mapping[int, _Refusal | None]:
    """The leaves that are refused whatever other events are merged with them, and the reason."""

    def check(rows: _Rows) -> Mapping[int, _Refusal]:
        return transaction.find_refused(projection, rows)

    return _checked(transaction, projection, events, check)


def _one_by_one(
    transaction: Transaction, projection: Projection, events: pl.DataFrame
) -> Mapping[int, _Refusal | None]:
    """Merge events one by one. Returns the leaves that are refused, and the reason."""

    def check(rows: _Rows) -> Mapping[int, _Refusal | None]:
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
        return {**check(halves[0]), **check(halves[1])}

    return _checked(transaction, projection, events, check)


def _checked(
    transaction: Transaction,
    projection: Projection,
    events: pl.DataFrame,
    check: Callable[[_Rows], Mapping[int, _Refusal | None]],
) -> Mapping[int, _Refusal | None]:
    """The leaves on which the projection fails, or whose rows a check refuses, and the reason.

    Args:
        transaction: of the sink.
        projection: makes the rows.
        events: decoded events.
        check: returns the refused leaves of rows, with the reason; None is a revision conflict.
    """
    found: dict[int, _Refusal | None] = {}
    refused: dict[int, _Refusal | None] = {}
    for rows in _rows_by_schema(transaction, projection, [events], found):
        refused |= check(rows)
    if projection.is_by_event:
        return found | refused
    found |= {leaf: None for leaf, why in refused.items() if why is None}
    # An integrator's code may make other rows of an event if it is alone, so they are made again.
    suspect = [leaf for leaf, why in refused.items() if why is not None]
    for start in range(0, len(suspect), _MOST_ALONE):
        some = events.filter(pl.col(_INDEX).is_in(suspect[start : start + _MOST_ALONE]))
        for rows in _rows_by_schema(transaction, projection, some.iter_slices(1), found):
            found |= check(rows)
    return found


def _rows_by_schema(
    transaction: Transaction,
    projection: Projection,
    parts: Iterable[pl.DataFrame],
    failed: dict[int, _Refusal | None],
) -> Iterator[_Rows]:
    """The rows of events, concatenated by schema. It adds the events without rows to `failed`."""
    made: dict[object, list[_Rows]] = {}
    projected = (_projected(transaction, projection, part) for part in parts)
    for events, rows in chain.from_iterable(projected):
        if isinstance(rows, errors.ProjectionFailed):
            failed[events[_INDEX][0]] = rows
        else:
            schema = tuple(tuple(each.schema.items()) for each in rows.values())
            made.setdefault(schema, []).append(rows)
    for each in made.values():
        yield {name: pl.concat([rows[name] for rows in each]) for name in each[0]}


def _projected(
    transaction: Transaction, projection: Projection, events: pl.DataFrame
) -> Iterator[tuple[pl.DataFrame, _Rows | errors.ProjectionFailed]]:
    """Events with the rows that a projection makes of them; an event on which it fails alone."""
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
    # An integrator's code may raise any.
    except (Exception, pl.exceptions.PanicException) as why:  # noqa: BLE001
        # The message may contain values of the event, so only the class and the place are used.
        what = f"{type(why).__name__} in {_place(why)}"
        raise errors.ProjectionFailed(projection.name, what) from None


def _place(why: BaseException) -> str:
    """File name and line of the projection's code that raised an exception."""
    frames = traceback.extract_tb(why.__traceback__)
    ours = Path(__file__).parents[1]
    theirs = (each for each in frames if not Path(each.filename).is_relative_to(ours))
    first = next(theirs, frames[-1])
    return f"{Path(first.filename).name}:{first.lineno}"


def _refused_at_last(
    leaves: Leaves, events: pl.DataFrame, outcome: Sequence[int] | _Refusal
) -> Iterator[RefusedEvent]:
    """The refused events of the last attempt."""
    if isinstance(outcome, _Refusal):
        yield from _refused_events(leaves, events, {events[_INDEX][0]: outcome})
    else:
        yield from _refused_events(leaves, events, dict.fromkeys(outcome))


def _refused_events(
    leaves: Leaves, events: pl.DataFrame, refused: Mapping[int, _Refusal | None]
) -> Iterator[RefusedEvent]:
    """The refused events with the reason; None is a revision conflict."""
    if not refused:
        return
    found = events.filter(pl.col(_INDEX).is_in([*refused]))
    tp = TopicPartition(leaves.topic.name, leaves.partition)
    for index, revision in found.select(_INDEX, "revision").iter_rows():
        why = refused[index]
        reason, detail = ("revision-conflict", _CONFLICT) if why is None else _reason(why)
        yield RefusedEvent(tp, leaves.message(index), reason, detail, revision)


def _reason(why: _Refusal) -> tuple[str, str]:
    if isinstance(why, errors.RowsRefused):
        return "rows-refused", str(why)
    return "projection-failed", str(why)
