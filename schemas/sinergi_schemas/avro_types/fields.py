"""The fields of an event at every depth, as people and error messages name them.

`exhibits[].net_weight` is the field `net_weight` of each record in the list `exhibits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas.avro_types.nodes import (
    ArrayType,
    DecimalType,
    EnumType,
    RecordType,
    value_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.avro_types.nodes import AvroType


@dataclass(frozen=True, slots=True)
class DescribedField:
    """One field of an event, at any depth.

    Attributes:
        path: the names of the fields from the event down, joined by dots, with `[]` after a list.
        type: in words, for example `decimal(14, 4)` or `list of Exhibit`.
        protected: whether it is personal data: marked so itself, or part of a field that is.
        place: the record that defines it, and its name there. A record that is used twice has
            two paths for each field, and one place.
        symbols: the symbols of an enum, or of a list of enums.
    """

    path: str
    type: str
    optional: bool
    doc: str
    protected: bool
    place: str
    symbols: tuple[str, ...] = ()


def described_fields(event: RecordType) -> Iterator[DescribedField]:
    """All fields in the order of the schema; a record stands before its own fields."""
    return _described(event, "", protected=False)


def words(node: AvroType) -> str:
    """A type in words. They do not say whether it is optional."""
    node = value_type(node)
    match node:
        case ArrayType(items=items):
            return f"list of {words(items)}"
        case RecordType(name=name):
            return name
        case EnumType(name=name):
            return f"enum {name}"
        case DecimalType(precision=precision, scale=scale):
            return f"decimal({precision}, {scale})"
        case _:
            return node.kind


def _described(record: RecordType, path: str, *, protected: bool) -> Iterator[DescribedField]:
    for field in record.fields:
        inner = f"{path}{field.name}"
        is_protected = protected or field.protected
        items, suffix = field.value_type, ""
        while isinstance(items, ArrayType):
            items, suffix = value_type(items.items), f"{suffix}[]"
        yield DescribedField(
            inner,
            words(field.type),
            field.is_optional,
            field.doc,
            is_protected,
            f"{record.name}.{field.name}",
            items.symbols if isinstance(items, EnumType) else (),
        )
        if isinstance(items, RecordType):
            yield from _described(items, f"{inner}{suffix}.", protected=is_protected)
