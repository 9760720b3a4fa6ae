"""How events become rows.

A projection reads one event type. It fills a record table with one row for each record (or for each
revision of it), and child tables with any number of rows for each event. The kind of the projection
decides which revisions have rows; the order in which events arrive does not matter:

    current   the highest revision of a record, even if its event gives no rows; a retracted
              record keeps its row, with `action` RETRACTED
    history   every revision; of two events with the same revision the one with the first leaf

An integrator adds a projection with the decorator, and names it in the entry-point group
`sinergi.projections`:

    @projection("seizure", table=grams_by_region)
    def grams(events: pl.DataFrame) -> pl.DataFrame: ...
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from sinergi_consumers.decode.layout import POSITION, Layout
from sinergi_consumers.projections.column_types import column_type
from sinergi_consumers.projections.naming import column_problem
from sinergi_consumers.projections.writable import unwritable
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.near_names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sinergi_consumers.decode.layout import ColumnField
    from sinergi_schemas.catalog import Schema

SCHEMA = "sinergi"
GROUP = "sinergi.projections"
RECORDED_AT = "recorded_at"
PROVENANCE: tuple[str, ...] = (
    "agency",
    "record_id",
    "revision",
    "event_id",
    "topic",
    "partition",
    "leaf_index",
)
_REPEAT = "\0repeat"  # no table can have a column of this name
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class ProjectionKind(StrEnum):
    """Which revisions of a record have rows."""

    CURRENT = "current"
    HISTORY = "history"

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key of the record table."""
        if self is ProjectionKind.CURRENT:
            return ("agency", "record_id")
        return ("agency", "record_id", "revision")


@dataclass(frozen=True, slots=True)
class Projection:
    """One way to make rows of the events of a type.

    Attributes:
        name: the name of the projection, and of its position.
        record: the table with one row for each record or revision.
        children: the tables with any number of rows for each record or revision.
        rows: makes the rows of a frame of events: table name → frame of rows. The frame of events
            has the columns of `Layout.flatten` and of `PROVENANCE`.
        is_by_event: whether the rows of an event never depend on other events of the frame.
    """

    name: str
    event_type: str
    kind: ProjectionKind
    record: sa.Table
    children: tuple[sa.Table, ...]
    rows: Callable[[pl.DataFrame], Mapping[str, pl.DataFrame]]
    is_by_event: bool = False

    @property
    def tables(self) -> tuple[sa.Table, ...]:
        """All tables, the record table first."""
        return (self.record, *self.children)

    @property
    def may_be_partitioned(self) -> bool:
        """Whether its tables can be partitioned by the time at which events were recorded."""
        column = self.record.columns.get(RECORDED_AT)
        return (
            self.kind is ProjectionKind.HISTORY
            and column is not None
            and isinstance(column.type, sa.DateTime)
            and not column.nullable
        )


def current(schema: Schema) -> Projection:
    """The ready projection `<event_type>`: each record as its highest revision describes it."""
    return _default(schema, ProjectionKind.CURRENT)


def history(schema: Schema) -> Projection:
    """The ready projection `<event_type>_history`: every revision of each record."""
    return _default(schema, ProjectionKind.HISTORY)


def projection(
    event_type: str, *, table: sa.Table, kind: ProjectionKind = ProjectionKind.CURRENT
) -> Callable[[Callable[[pl.DataFrame], pl.DataFrame]], Projection]:
    """Declare a projection: the decorated function makes a frame of rows of a frame of events.

    Args:
        event_type: the event type that it reads, for example `seizure`.
        table: the table that it fills, without the columns of `PROVENANCE`. Sinergi adds these,
            and finds their values by the `event_id` that each row must have. If several events
            have the same `event_id`, the function is called with the first of them, then with the
            second, and so on.
        kind: which revisions of a record have rows.

    Raises:
        ProjectionRefused: its tables cannot be made or filled as it is declared.
    """
    _check_declared(event_type, table, kind)

    def declare(rows: Callable[[pl.DataFrame], pl.DataFrame]) -> Projection:
        name = table.name
        metadata = sa.MetaData(schema=SCHEMA)
        record = sa.Table(
            f"{name}_record",
            metadata,
            *_provenance(kind.key),
            comment=f"Which revision of each record stands in {name}.",
        )
        child = table.to_metadata(metadata, schema=SCHEMA)
        for column in _provenance(()):
            child.append_column(column)
        sa.Index(f"{name}_of_record", child.c.agency, child.c.record_id)
        return Projection(
            name, event_type, kind, record, (child,), _with_provenance(rows, record, child)
        )

    return declare


def installed() -> tuple[Projection, ...]:
    """The projections of other packages, from the entry points `sinergi.projections`.

    Raises:
        ProjectionRefused: an entry point cannot be loaded, or is not a projection.
    """
    found: list[Projection] = []
    for entry in entry_points(group=GROUP):
        try:
            loaded = entry.load()
        except errors.ProjectionRefused:
            raise
        except Exception as why:
            text = " ".join(str(why).split())
            raise errors.ProjectionRefused(entry.name, f"{type(why).__name__}: {text}") from why
        if not isinstance(loaded, Projection):
            raise errors.ProjectionRefused(entry.name, f"{entry.value} is not a @projection")
        found.append(loaded)
    return tuple(found)


def projections_of(catalog: Catalog, event_types: Iterable[str]) -> tuple[Projection, ...]:
    """All projections of some event types: the two ready ones of each, then the installed ones.

    Raises:
        ProjectionRefused: two of them fill the same table, or one reads an unknown event type.
    """
    wanted = sorted(set(event_types))
    own = installed()
    for each in own:
        _check_event_type(each.name, each.event_type, catalog)
    ready = [kind(catalog.newest(name)) for name in wanted for kind in (current, history)]
    found = (*ready, *(each for each in own if each.event_type in wanted))
    owners: dict[str, str] = {}
    for each in found:
        for table in each.tables:
            if table.name in owners:
                what = f"the projection {owners[table.name]} fills the table {table.name} already"
                raise errors.ProjectionRefused(each.name, what)
            owners[table.name] = each.name
    return found


def _default(schema: Schema, kind: ProjectionKind) -> Projection:
    layout = Layout.of(schema)
    base = schema.event_type.replace("-", "_")
    name = base if kind is ProjectionKind.CURRENT else f"{base}_history"
    metadata = sa.MetaData(schema=SCHEMA)
    own = [_column(field) for field in layout.fields if field.column not in PROVENANCE]
    record = sa.Table(name, metadata, *_provenance(kind.key), *own, comment=layout.doc)
    children = tuple(
        sa.Table(
            f"{name}_{each.name}",
            metadata,
            *_provenance(kind.key),
            sa.Column(POSITION, sa.Integer, primary_key=True, comment="Place in the list, from 0."),
            *map(_column, each.elements),
            comment=each.doc,
        )
        for each in layout.lists
    )
    columns = [column.name for column in record.columns]

    def rows(events: pl.DataFrame) -> dict[str, pl.DataFrame]:
        made = {record.name: events.select(columns)}
        for table, each in zip(children, layout.lists, strict=True):
            made[table.name] = layout.elements(events, each, list(PROVENANCE))
        return made

    return Projection(name, schema.event_type, kind, record, children, rows, is_by_event=True)


def _with_provenance(
    rows: Callable[[pl.DataFrame], pl.DataFrame], record: sa.Table, child: sa.Table
) -> Callable[[pl.DataFrame], dict[str, pl.DataFrame]]:
    """`Projection.rows` of a declared projection: the rows of its function, with provenance.

    Args:
        rows: the function of the integrator.
        record: the record table.
        child: the table that the integrator declared.
    """
    own = [column.name for column in child.columns if column.name not in PROVENANCE]

    def checked(events: pl.DataFrame) -> pl.DataFrame:
        made = rows(events)
        if not isinstance(made, type(events)):
            what = f"it returns {type(made).__name__}, not a DataFrame"
            raise errors.ProjectionFailed(child.name, what)
        missing = [name for name in ("event_id", *own) if name not in made.columns]
        if missing:
            raise errors.ProjectionFailed(child.name, f"its rows lack {', '.join(missing)}")
        undeclared = sorted(set(made.columns) - {"event_id", *own} - set(PROVENANCE))
        if undeclared:
            raise errors.ProjectionFailed(
                child.name, f"its rows have {', '.join(undeclared)}, which its table does not have"
            )
        return made.select(["event_id", *own])

    def with_provenance(events: pl.DataFrame) -> dict[str, pl.DataFrame]:
        repeat = pl.int_range(pl.len()).over("event_id").alias(_REPEAT)
        provenance = events.select(*PROVENANCE, repeat)
        made = [
            checked(part).with_columns(pl.lit(number).alias(_REPEAT))
            for number, part in enumerate(_partitioned(events, provenance[_REPEAT]))
        ]
        made_rows = pl.concat(made, how="vertical_relaxed").join(
            provenance, on=["event_id", _REPEAT], how="left", maintain_order="left"
        )
        if made_rows["leaf_index"].null_count():
            raise errors.ProjectionFailed(
                child.name, "a row has an event_id that no event given to it has"
            )
        if obstacle := unwritable(made_rows.select(own)):
            raise errors.ProjectionFailed(child.name, obstacle)
        return {record.name: provenance.drop(_REPEAT), child.name: made_rows.drop(_REPEAT)}

    return with_provenance


def _column(field: ColumnField) -> sa.Column[Any]:
    kind = column_type(field.node)
    return sa.Column(field.column, kind, nullable=field.nullable, comment=field.doc)


def _partitioned(events: pl.DataFrame, repeat: pl.Series) -> list[pl.DataFrame]:
    """The first event of each event_id, then the second of each, and so on."""
    if not (repeat > 0).any():
        return [events]
    return events.with_columns(repeat).partition_by(_REPEAT, include_key=False)


def _provenance(key: tuple[str, ...]) -> list[sa.Column[Any]]:
    types: dict[str, tuple[sa.types.TypeEngine[Any], str]] = {
        "agency": (sa.Text(), "The agency that published the event."),
        "record_id": (sa.Text(), "The record, as named in that agency's own system."),
        "revision": (sa.Integer(), "The revision of the record that this row describes."),
        "event_id": (sa.Uuid(), "The event that this row comes from."),
        "topic": (sa.Text(), "The topic that carried the event."),
        "partition": (sa.Integer(), "The partition of the topic."),
        "leaf_index": (sa.BigInteger(), "The event's leaf in the tree of that partition."),
    }
    return [
        sa.Column(name, kind, primary_key=name in key, nullable=False, comment=comment)
        for name, (kind, comment) in types.items()
    ]


def _check_declared(event_type: object, table: object, kind: object) -> None:
    """Refuse a projection whose tables cannot be made or filled.

    Raises:
        ProjectionRefused: the error names the first fault.
    """
    if not isinstance(table, sa.Table):
        what = f"its table is not a sqlalchemy.Table but {type(table).__name__}"
        raise errors.ProjectionRefused(str(table), what)
    name = table.name
    if not _NAME.fullmatch(name):
        raise errors.ProjectionRefused(
            name, "a table's name is lower-case letters, digits and underscores, at most 40"
        )
    if not isinstance(event_type, str):
        what = "it reads one event type; declare another projection, with a table of its own"
        raise errors.ProjectionRefused(name, f"{what}, for each further one")
    _check_event_type(name, event_type, Catalog.shipped())
    if not isinstance(kind, ProjectionKind):
        raise errors.ProjectionRefused(
            name, "its kind is ProjectionKind.CURRENT or ProjectionKind.HISTORY"
        )
    taken = [column.name for column in table.columns if column.name in PROVENANCE]
    if taken:
        raise errors.ProjectionRefused(name, f"its table declares {', '.join(taken)} itself")
    for column in table.columns:
        if problem := column_problem(column.name):
            raise errors.ProjectionRefused(name, problem)


def _check_event_type(name: str, event_type: str, catalog: Catalog) -> None:
    if event_type not in catalog.event_types:
        hint = did_you_mean(event_type, catalog.event_types)
        what = f"there is no event type {event_type!r}; {hint}"
        raise errors.ProjectionRefused(name, what)
