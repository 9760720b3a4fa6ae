"""Whether a reader can make and fill the tables of a schema, and all reasons why not.

The rules follow `layout` and `projection`: nested records become columns named by their path, lists
become child tables, and each table has columns of its own (`PROVENANCE`, and in a child table
`POSITION`). Where no rule is broken, the tables are declared and a frame without events is put
through them, which finds what no rule foresees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import polars as pl
from sqlalchemy.exc import SQLAlchemyError

from sinergi_consumers.decode import frames
from sinergi_consumers.decode.layout import POSITION, Layout
from sinergi_consumers.projections import ddl
from sinergi_consumers.projections.naming import (
    PARTITION_TIME,
    SYSTEM_COLUMNS,
    column_problem,
    table_problem,
)
from sinergi_consumers.projections.projection import PROVENANCE, ProjectionKind, current, history
from sinergi_consumers.sinks.postgresql.csv_rows import as_csv
from sinergi_schemas import errors
from sinergi_schemas.avro_types.compatibility import Judgement, SchemaFinding
from sinergi_schemas.avro_types.nodes import ArrayType, RecordType, value_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.avro_types.nodes import RecordField
    from sinergi_schemas.catalog import Catalog, Schema

# The fields that a reader needs in every event, and the kinds of their types.
_REQUIRED = {
    "agency": "string",
    "record_id": "string",
    "revision": "int",
    "event_id": "uuid",
    "action": "enum",
}
_PROVENANCE_ONLY = tuple(name for name in PROVENANCE if name not in _REQUIRED)
_OF_A_TABLE = "a column that each table has of its own"
_OF_A_LIST = "a column that each table of a list has of its own"
_FAILURES = (
    errors.SinergiError,
    ValueError,
    SQLAlchemyError,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
)
_NESTED = "a list stands inside a record or another list"


def judge(catalog: Catalog) -> list[Judgement]:
    """Judge every schema of a catalogue, and the newest versions also against each other."""
    found: list[Judgement] = []
    owners: dict[str, str] = {}
    for each in catalog.all():
        problems = findings(each)
        if each is catalog.newest(each.event_type):
            problems += _shared_tables(each, owners)
        found.append(Judgement(each, None, tuple(problems)))
    return found


def findings(schema: Schema) -> list[SchemaFinding]:
    """Why a reader cannot make tables of a schema, or cannot fill them; empty if it can."""
    check = _TableCheck(schema)
    check.event()
    return check.found or list(_unforeseen(schema))


# The columns of one table, each with the path of the field that fills it.
_Columns: TypeAlias = dict[str, str]


class _TableCheck:
    """One walk through the fields of an event, which notes the column that each would fill."""

    def __init__(self, schema: Schema) -> None:
        self.found: list[SchemaFinding] = []
        self._event = schema.event
        self._base = _table_name(schema)

    def event(self) -> None:
        """Check all fields of the event."""
        fields = {each.name: each for each in self._event.fields}
        for name, kind in _REQUIRED.items():
            self._require(name, kind, fields.get(name))
        self._check_table_name("", self._base)
        table = dict.fromkeys(_PROVENANCE_ONLY, _OF_A_TABLE)
        for name, field in fields.items():
            if isinstance(field.value_type, ArrayType):
                self._list(field, field.value_type)
                self._claim(table, name, name)
            else:
                self._column(table, field, name, (name,))

    def _require(self, name: str, kind: str, given: RecordField | None) -> None:
        if given is None:
            self._note(name, "field-missing", f"an event has a field {name} of type {kind}")
        elif given.type.kind != kind:
            text = f"it is the event's own {name}, of type {kind} and not optional"
            self._note(name, "field-missing", text)

    def _check_table_name(self, path: str, name: str) -> None:
        longest = f"{self._base}_history{name.removeprefix(self._base)}"
        if what := table_problem(longest):
            self._note(path, "name-too-long", what)

    def _list(self, field: RecordField, array: ArrayType) -> None:
        name = field.name
        if name in PROVENANCE or name == POSITION:
            self._note(name, "name-reserved", f"{name} is {_OF_A_LIST}")
        path = f"{name}[]"
        self._check_table_name(name, f"{self._base}_{name}")
        table = dict.fromkeys((*PROVENANCE, POSITION, PARTITION_TIME), _OF_A_LIST)
        match value_type(array.items):
            case ArrayType():
                self._note(path, "list-nested", _NESTED)
            case RecordType(fields=fields):
                for each in fields:
                    self._field_of_item(table, each, f"{path}.{each.name}")
            case _:
                self._add(table, "value", path)

    def _field_of_item(self, table: _Columns, field: RecordField, path: str) -> None:
        is_record = isinstance(field.value_type, RecordType)
        if is_record and table.get(field.name) == _OF_A_LIST:
            self._note(path, "name-reserved", f"{field.name} is {_OF_A_LIST}")
        self._column(table, field, path, (field.name,))

    def _column(
        self, table: _Columns, field: RecordField, path: str, names: tuple[str, ...]
    ) -> None:
        match field.value_type:
            case ArrayType():
                self._note(path, "list-nested", _NESTED)
            case RecordType(fields=fields):
                for inner in fields:
                    self._column(table, inner, f"{path}.{inner.name}", (*names, inner.name))
            case _:
                self._add(table, "_".join(names), path)

    def _add(self, table: _Columns, column: str, path: str) -> None:
        if what := column_problem(column):
            rule = "name-reserved" if column in SYSTEM_COLUMNS else "name-too-long"
            self._note(path, rule, what)
        self._claim(table, column, path)

    def _claim(self, table: _Columns, column: str, path: str) -> None:
        """Give a column to a field; it is a fault if another field has it already."""
        owner = table.setdefault(column, path)
        if owner in (_OF_A_TABLE, _OF_A_LIST):
            self._note(path, "name-reserved", f"{column} is {owner}")
        elif owner != path:
            self._note(path, "name-clash", f"its column {column} is also that of {owner}")

    def _note(self, path: str, rule: str, text: str) -> None:
        self.found.append(
            SchemaFinding(path, rule, f"{text}; no reader could make or fill its table")
        )


def _table_name(schema: Schema) -> str:
    """The name of the record table of the current projection; the other names begin with it."""
    return schema.event_type.replace("-", "_")


def _shared_tables(schema: Schema, owners: dict[str, str]) -> list[SchemaFinding]:
    """The tables of a schema that have the name of another schema's table.

    Args:
        schema: the newest version of its event type.
        owners: what each table holds, by its name. The tables of the schema are added.
    """
    found = []
    base = _table_name(schema)
    for kind in ProjectionKind:
        name = base if kind is ProjectionKind.CURRENT else f"{base}_history"
        of = f"the {kind.value} of {schema.event_type}"
        tables = {name: ("", of)}
        for field in schema.event.fields:
            if isinstance(field.value_type, ArrayType):
                tables[f"{name}_{field.name}"] = field.name, f"{field.name} in {of}"
        for table, (path, what) in tables.items():
            owner = owners.setdefault(table, what)
            if owner != what:
                text = f"its table {table} is also that of {owner}; give one another name"
                found.append(SchemaFinding(path, "name-clash", text))
    return found


def _unforeseen(schema: Schema) -> Iterator[SchemaFinding]:
    """What fails when the tables are declared and a frame without events is put through them."""
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
    except _FAILURES as why:
        text = f"no table can be made of it ({type(why).__name__}: {' '.join(str(why).split())})"
        yield SchemaFinding("", "no-table", text)
