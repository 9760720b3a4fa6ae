"""The peers' side of the tables: what an event's document gives for each, and the statements.

They fill the same tables as Sinergi does. An event's tuple of values is made by one compiled
expression a table, as somebody would write it out by hand for these very columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sinergi_consumers.decode.layout import Layout
from sinergi_consumers.projections.projection import PROVENANCE, ProjectionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sqlalchemy as sa
    from stage import Stage

    from sinergi_consumers.projections.projection import Projection

Document = dict[str, Any]
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Filling:
    """How one projection's tables are filled out of documents.

    Attributes:
        record: a document and its offset to the record table's values.
        children: for each child table, a document and its offset to the values of all its rows.
    """

    projection: Projection
    record: Callable[[Document, int], tuple[Any, ...]]
    children: Sequence[tuple[sa.Table, Callable[[Document, int], list[tuple[Any, ...]]]]]

    @property
    def is_current(self) -> bool:
        """Whether only a record's newest revision stands."""
        return self.projection.kind is ProjectionKind.CURRENT


def fillings(stage: Stage, kinds: Sequence[str]) -> list[Filling]:
    """How the projections of these kinds are filled from partition 0 of the stage's topic."""
    layout = Layout.of(stage.catalog.newest(stage.event_type))
    found = []
    for each in stage.projections(kinds):
        columns = {field.column: _reach("d", field.path) for field in layout.fields}
        fixed = {"topic": repr(stage.topic.name), "partition": "0", "leaf_index": "offset"}
        own = [(columns | fixed)[column.name] for column in each.record.columns]
        children = []
        for child, of in zip(each.children, layout.lists, strict=True):
            element = {field.column: _reach("e", field.path) for field in of.elements}
            given = {name: (columns | fixed)[name] for name in PROVENANCE}
            given |= element | {"position": "at"}
            row = ", ".join(given[column.name] for column in child.columns)
            children.append(
                (child, _compiled(f"[({row},) for at, e in enumerate(d[{of.name!r}])]"))
            )
        found.append(Filling(each, _compiled(f"({', '.join(own)},)"), children))
    return found


def newest(documents: Sequence[tuple[Document, int]]) -> list[tuple[Document, int]]:
    """Of each record the newest revision among these, the first of equals."""
    found: dict[str, tuple[Document, int]] = {}
    for each in documents:
        held = found.get(each[0]["record_id"])
        if held is None or each[0]["revision"] > held[0]["revision"]:
            found[each[0]["record_id"]] = each
    return list(found.values())


def upsert(table: sa.Table, kind: ProjectionKind, source: str) -> str:
    """Insert from `source` (VALUES or SELECT); a newer revision replaces, if it is of one kind."""
    names = ", ".join(column.name for column in table.columns)
    keys = ", ".join(column.name for column in table.primary_key)
    changed = ", ".join(
        f"{column.name} = excluded.{column.name}"
        for column in table.columns
        if not column.primary_key
    )
    does = (
        f"DO UPDATE SET {changed} WHERE excluded.revision > stored.revision"
        if kind is ProjectionKind.CURRENT and "position" not in table.columns
        else "DO NOTHING"
    )
    return (
        f"INSERT INTO sinergi.{table.name} AS stored ({names}) {source} ON CONFLICT ({keys}) {does}"
    )


def _reach(start: str, path: tuple[str, ...]) -> str:
    """The expression for a value in a document, None where a record around it is missing."""
    if len(path) == 1:
        return start if path == ("value",) else f"{start}[{path[0]!r}]"
    inner = f"{start}[{path[0]!r}]"
    for name in path[1:]:
        inner = f"({inner} or NOTHING).get({name!r})"
    return inner


def _compiled(expression: str) -> Callable[[Document, int], Any]:
    source = f"lambda d, offset: {expression}"
    function: Callable[[Document, int], Any] = eval(source, {"NOTHING": NOTHING})  # noqa: S307
    return function
