"""How an Avro schema lies in tables: its columns, and the child tables of its lists.

Nested records become columns with their path joined by underscores; every list becomes a child
table, one row an element. Types, nullability and comments come from the schema's own words.

    Avro                               column
    string, enum                       text
    string/uuid                        uuid
    int · long                         integer · bigint
    int/date                           date
    long/timestamp-micros              timestamptz
    bytes/decimal(p, s)                numeric(p, s)
    double, float · boolean            double precision · boolean
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from sinergi_schemas.avro_types.fields import Types

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.types import TypeEngine

    from sinergi_schemas.avro_types.fields import Type
    from sinergi_schemas.catalog import Schema

POSITION = "position"

_COLUMN_TYPES: dict[str, TypeEngine[Any]] = {
    "boolean": sa.Boolean(),
    "bytes": sa.LargeBinary(),
    "date": sa.Date(),
    "double": sa.Double(),
    "enum": sa.Text(),
    "float": sa.Double(),
    "int": sa.Integer(),
    "long": sa.BigInteger(),
    "string": sa.Text(),
    "timestamp-micros": sa.DateTime(timezone=True),
    "uuid": sa.Uuid(),
}


@dataclass(frozen=True, slots=True)
class ColumnField:
    """One column: where its value lies in an event, and what it is."""

    path: tuple[str, ...]
    type: TypeEngine[Any]
    nullable: bool
    doc: str

    @property
    def column(self) -> str:
        """The column's name."""
        return "_".join(self.path)

    @property
    def expression(self) -> pl.Expr:
        """The column's values out of a frame of events."""
        value = pl.col(self.path[0])
        for name in self.path[1:]:
            value = value.struct.field(name)
        return value.alias(self.column)


@dataclass(frozen=True, slots=True)
class List:
    """One child table: the list it holds, and the columns of an element.

    Attributes:
        of_records: whether an element is a record, or else a single value.
    """

    name: str
    doc: str
    elements: tuple[ColumnField, ...]
    of_records: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns and child tables of one event type."""

    event_type: str
    doc: str
    fields: tuple[ColumnField, ...]
    lists: tuple[List, ...]

    @classmethod
    def of(cls, schema: Schema) -> Layout:
        """The layout of a schema.

        Raises:
            ValueError: a list stands inside a list or a nested record: there is no flat child
                table for it, and the contract has none.
        """
        types = Types(schema)
        fields: list[ColumnField] = []
        lists: list[List] = []
        for field in schema.parsed["fields"]:
            found = types.of(field["type"])
            if found.kind == "array":
                doc = field.get("doc", "")
                element = {"type": found.definition["items"], "name": "value", "doc": doc}
                of_records = types.of(element["type"]).kind == "record"
                elements = tuple(_elements(element, types))
                lists.append(List(field["name"], doc, elements, of_records))
            else:
                fields.extend(_flatten(field, (), types, nullable=False))
        told = schema.parsed.get("doc", "")
        return cls(schema.event_type, told, tuple(fields), tuple(lists))

    def flatten(self, events: pl.DataFrame) -> pl.DataFrame:
        """A frame of decoded events with nested records flattened; lists stay as they are."""
        known = {field.path[0] for field in self.fields}
        rest = [pl.col(name) for name in events.columns if name not in known]
        return events.select([*rest, *(field.expression for field in self.fields)])

    def elements(self, events: pl.DataFrame, of: List, keep: list[str]) -> pl.DataFrame:
        """The rows of a child table: an element each, numbered from 0, with the columns `keep`."""
        exploded = (
            events.select([*keep, of.name])
            .filter(pl.col(of.name).list.len() > 0)
            .with_columns(pl.int_ranges(pl.col(of.name).list.len()).alias(POSITION))
            .explode([of.name, POSITION])
        )
        if not of.of_records:
            return exploded.rename({of.name: "value"})
        values = exploded.select([*keep, POSITION, of.name]).unnest(of.name)
        return values.select([*keep, POSITION, *(field.expression for field in of.elements)])


def _elements(element: Mapping[str, Any], types: Types) -> Iterator[ColumnField]:
    found = types.of(element["type"])
    if found.kind != "record":
        yield from _flatten(element, (), types, nullable=False)
        return
    for field in found.definition["fields"]:
        yield from _flatten(field, (), types, nullable=found.optional)


def _flatten(
    field: Mapping[str, Any], above: tuple[str, ...], types: Types, *, nullable: bool
) -> Iterator[ColumnField]:
    found = types.of(field["type"])
    nullable |= found.optional
    path = (*above, field["name"])
    if found.kind == "array":
        raise ValueError(f"the list {'.'.join(path)} stands inside a record or another list")
    if found.kind == "record":
        for inner in found.definition["fields"]:
            yield from _flatten(inner, path, types, nullable=nullable)
        return
    yield ColumnField(path, _column_type(found), nullable, _doc(field, found))


def _doc(field: Mapping[str, Any], found: Type) -> str:
    said = str(field.get("doc", ""))
    if found.kind == "enum":
        return f"{said} One of {', '.join(found.definition['symbols'])}."
    return said


def _column_type(found: Type) -> TypeEngine[Any]:
    if found.kind == "decimal":
        return sa.Numeric(found.definition["precision"], found.definition.get("scale", 0))
    return _COLUMN_TYPES[found.kind]
