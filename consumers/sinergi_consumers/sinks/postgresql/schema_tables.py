"""Whether a reader can make tables of a schema and fill them, and everything in the way.

The rules are those of `layout` and `projection`: nested records become columns named by their path,
lists become child tables, and each table has columns of its own besides (`PROVENANCE`, and in a
child table `POSITION`). At the end the tables are made, and a frame without events goes through
them, so that what no rule foresees is found too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy.exc import SQLAlchemyError

from sinergi_consumers.decode import frames
from sinergi_consumers.decode.layout import POSITION, Layout
from sinergi_consumers.projections import ddl
from sinergi_consumers.projections.naming import SYSTEM_COLUMNS, column_problem, table_problem
from sinergi_consumers.projections.projection import PROVENANCE, ProjectionKind, current, history
from sinergi_consumers.sinks.postgresql.merge import as_csv
from sinergi_schemas import errors
from sinergi_schemas.avro_types.compatibility import Judgement, SchemaFinding
from sinergi_schemas.avro_types.fields import Types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.avro_types.fields import Type
    from sinergi_schemas.catalog import Catalog, Schema

# What a reader asks of every event, and the kind of type that it has.
_REQUIRED = {
    "agency": "string",
    "record_id": "string",
    "revision": "int",
    "event_id": "uuid",
    "action": "enum",
}
_OURS = tuple(name for name in PROVENANCE if name not in _REQUIRED)
_OF_A_TABLE = "a column that each table has of its own"
_OF_A_LIST = "a column that each table of a list has of its own"
_UNMADE = (
    errors.SinergiError,
    ValueError,
    SQLAlchemyError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)
_NESTED = "a list stands inside a record or another list"


def judge(catalog: Catalog) -> list[Judgement]:
    """Every schema of a catalogue, with what keeps its newest version from being tables."""
    found: list[Judgement] = []
    owners: dict[str, str] = {}
    for each in catalog.all():
        problems = findings(each)
        if each is catalog.newest(each.event_type):
            problems += _taken(each, owners)
        found.append(Judgement(each, None, tuple(problems)))
    return found


def findings(schema: Schema) -> list[SchemaFinding]:
    """What keeps a reader from making tables of a schema, or from filling them."""
    walk = _Walk(schema)
    walk.event()
    return walk.found or list(_unmade(schema))


@dataclass(slots=True)
class _Table:
    """The columns of one table so far, each with the field that it comes from."""

    name: str
    columns: dict[str, str] = field(default_factory=dict)


class _Walk:
    """One walk through the fields of a schema."""

    def __init__(self, schema: Schema) -> None:
        self.found: list[SchemaFinding] = []
        self._schema = schema
        self._types = Types(schema)
        self._base = schema.event_type.replace("-", "_")

    def event(self) -> None:
        """Look at all fields of the event."""
        fields = {each["name"]: each for each in self._schema.parsed["fields"]}
        for name, kind in _REQUIRED.items():
            self._require(name, kind, fields.get(name))
        table = self._table("", self._base)
        table.columns |= dict.fromkeys(_OURS, _OF_A_TABLE)
        for name, each in fields.items():
            found = self._types.of(each["type"])
            if found.kind == "array":
                self._list(name, found)
                self._claim(table, name, name)
            else:
                self._column(table, each, name, (name,))

    def _require(self, name: str, kind: str, given: dict[str, Any] | None) -> None:
        if given is None:
            self._say(name, "field-missing", f"an event has a field {name} of type {kind}")
            return
        found = self._types.of(given["type"])
        if found.optional or found.kind != kind:
            text = f"it is the event's own {name}, of type {kind} and not optional"
            self._say(name, "field-missing", text)

    def _table(self, path: str, name: str) -> _Table:
        longest = f"{self._base}_history{name.removeprefix(self._base)}"
        if what := table_problem(longest):
            self._say(path, "name-too-long", what)
        return _Table(name)

    def _list(self, name: str, found: Type) -> None:
        if name in PROVENANCE or name == POSITION:
            self._say(name, "name-reserved", f"{name} is {_OF_A_LIST}")
        item = self._types.of(found.definition["items"])
        path = f"{name}[]"
        table = self._table(name, f"{self._base}_{name}")
        table.columns |= dict.fromkeys((*PROVENANCE, POSITION), _OF_A_LIST)
        if item.kind == "array":
            self._say(path, "list-nested", _NESTED)
        elif item.kind != "record":
            self._add(table, "value", path)
        else:
            for each in item.definition["fields"]:
                inner = f"{path}.{each['name']}"
                kind = self._types.of(each["type"]).kind
                if kind == "record" and table.columns.get(each["name"]) == _OF_A_LIST:
                    self._say(inner, "name-reserved", f"{each['name']} is {_OF_A_LIST}")
                self._column(table, each, inner, (each["name"],))

    def _column(
        self, table: _Table, each: dict[str, Any], path: str, names: tuple[str, ...]
    ) -> None:
        found = self._types.of(each["type"])
        if found.kind == "array":
            self._say(path, "list-nested", _NESTED)
        elif found.kind == "record":
            for inner in found.definition["fields"]:
                below = (*names, inner["name"])
                self._column(table, inner, f"{path}.{inner['name']}", below)
        else:
            self._add(table, "_".join(names), path)

    def _add(self, table: _Table, column: str, path: str) -> None:
        if what := column_problem(column):
            rule = "name-reserved" if column in SYSTEM_COLUMNS else "name-too-long"
            self._say(path, rule, what)
        self._claim(table, column, path)

    def _claim(self, table: _Table, column: str, path: str) -> None:
        """Let a field have a name in a table, unless another has it."""
        owner = table.columns.setdefault(column, path)
        if owner in (_OF_A_TABLE, _OF_A_LIST):
            self._say(path, "name-reserved", f"{column} is {owner}")
        elif owner != path:
            self._say(path, "name-clash", f"its column {column} is also that of {owner}")

    def _say(self, path: str, rule: str, text: str) -> None:
        self.found.append(
            SchemaFinding(path, rule, f"{text}; no reader could make or fill its table")
        )


def _taken(schema: Schema, owners: dict[str, str]) -> list[SchemaFinding]:
    """The tables of a schema whose names another's tables have already.

    Args:
        owners: what each table that is known so far holds; those of the schema are added.
    """
    found = []
    base = schema.event_type.replace("-", "_")
    types = Types(schema)
    for kind in ProjectionKind:
        name = base if kind is ProjectionKind.CURRENT else f"{base}_history"
        of = f"the {kind.value} of {schema.event_type}"
        held = {name: ("", of)}
        for each in schema.parsed["fields"]:
            if types.of(each["type"]).kind == "array":
                held[f"{name}_{each['name']}"] = each["name"], f"{each['name']} in {of}"
        for table, (path, what) in held.items():
            owner = owners.setdefault(table, what)
            if owner != what:
                text = f"its table {table} is also that of {owner}; give one another name"
                found.append(SchemaFinding(path, "name-clash", text))
    return found


def _unmade(schema: Schema) -> Iterator[SchemaFinding]:
    """Make the tables, and put a frame without events through them."""
    provenance = {"topic": pl.String, "partition": pl.Int32, "leaf_index": pl.Int64}
    empty = [pl.Series(name, [], kind) for name, kind in provenance.items()]
    try:
        events = frames.decode([], schema).frame
        flat = Layout.of(schema).flatten(events).with_columns(empty)
        for projection in (current(schema), history(schema)):
            list(ddl.statements([projection], {}))
            rows = projection.rows(flat)
            for table in projection.tables:
                as_csv(table, rows[table.name])
    except _UNMADE as why:
        text = f"no table can be made of it ({type(why).__name__}: {' '.join(str(why).split())})"
        yield SchemaFinding("", "no-table", text)
