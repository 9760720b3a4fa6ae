"""The columns of a schema in tables, and the child tables of its lists.

A nested record becomes columns whose names are its path joined by underscores. A list becomes a
child table with a row for each item. Nullability and comments follow the schema, and
`projections.column_types` gives each column the type that it has in a database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from sinergi_schemas.avro_types.nodes import (
    ArrayType,
    EnumType,
    OptionalType,
    RecordField,
    RecordType,
    value_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.avro_types.nodes import ValueType
    from sinergi_schemas.catalog import Schema

POSITION = "position"


@dataclass(frozen=True, slots=True)
class ColumnField:
    """One column: where its value stands in an event, and what its values are."""

    path: tuple[str, ...]
    node: ValueType
    nullable: bool
    doc: str

    @property
    def column(self) -> str:
        """The name of the column."""
        return "_".join(self.path)

    @property
    def expression(self) -> pl.Expr:
        """The values of the column in a frame of events."""
        value = pl.col(self.path[0])
        for name in self.path[1:]:
            value = value.struct.field(name)
        return value.alias(self.column)


@dataclass(frozen=True, slots=True)
class ListTable:
    """The child table of one list.

    Attributes:
        name: the field that is the list.
        doc: the comment of the table.
        elements: the columns of an item.
        of_records: whether an item is a record; else it is a single value, in the column `value`.
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
    lists: tuple[ListTable, ...]

    @classmethod
    def of(cls, schema: Schema) -> Layout:
        """The layout of a schema.

        Raises:
            ValueError: a list stands in a list or in a nested record. No child table fits it, and
                the schemas of the contract have no such list.
        """
        fields: list[ColumnField] = []
        lists: list[ListTable] = []
        for field in schema.event.fields:
            if isinstance(field.value_type, ArrayType):
                lists.append(_list_table(field, field.value_type))
            else:
                fields.extend(_columns(field, (), nullable=False))
        return cls(schema.event_type, schema.event.doc, tuple(fields), tuple(lists))

    def flatten(self, events: pl.DataFrame) -> pl.DataFrame:
        """A frame of decoded events with nested records as columns; lists stay as they are."""
        known = {field.path[0] for field in self.fields}
        rest = [pl.col(name) for name in events.columns if name not in known]
        return events.select([*rest, *(field.expression for field in self.fields)])

    def elements(self, events: pl.DataFrame, of: ListTable, keep: list[str]) -> pl.DataFrame:
        """The rows of a child table: one for each item, numbered from 0.

        Args:
            events: a frame as `flatten` gives it.
            of: the child table.
            keep: columns of the events that each row repeats.
        """
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


def _list_table(field: RecordField, array: ArrayType) -> ListTable:
    item = value_type(array.items)
    if not isinstance(item, RecordType):
        value = RecordField("value", array.items, field.doc)
        columns = tuple(_columns(value, (), nullable=False))
        return ListTable(field.name, field.doc, columns, of_records=False)
    nullable = isinstance(array.items, OptionalType)
    columns = tuple(
        column for each in item.fields for column in _columns(each, (), nullable=nullable)
    )
    return ListTable(field.name, field.doc, columns, of_records=True)


def _columns(
    field: RecordField, above: tuple[str, ...], *, nullable: bool
) -> Iterator[ColumnField]:
    """The columns of a field.

    Args:
        field: a field of the event, or of a record in it.
        above: the names of the fields that it is part of.
        nullable: whether one of those may be null.

    Raises:
        ValueError: the field is a list, or holds one.
    """
    nullable = nullable or field.is_optional
    path = (*above, field.name)
    match field.value_type:
        case ArrayType():
            where = ".".join(path)
            raise ValueError(f"the list {where} stands inside a record or another list")
        case RecordType(fields=fields):
            for inner in fields:
                yield from _columns(inner, path, nullable=nullable)
        case node:
            yield ColumnField(path, node, nullable, _comment(field.doc, node))


def _comment(doc: str, node: ValueType) -> str:
    return f"{doc} One of {', '.join(node.symbols)}." if isinstance(node, EnumType) else doc
