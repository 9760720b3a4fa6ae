"""Events of one version of a schema in the columns of another (Avro 1.12, "Schema Resolution").

A field is found by its name, at every depth. A field that the writer does not have takes the
reader's default, a field that the reader does not have is left out, and a symbol that the reader
does not have becomes the default of its enum. Avro would resolve more, for example an int that is
read as a long; compatible versions never need it: see `sinergi_schemas.avro_types.compatibility`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from sinergi_consumers.decode import frames
from sinergi_schemas.avro_types import defaults
from sinergi_schemas.avro_types.nodes import (
    UNKNOWN,
    ArrayType,
    EnumType,
    RecordType,
    value_type,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi_schemas.avro_types.nodes import AvroType
    from sinergi_schemas.catalog import Schema


def resolve(events: pl.DataFrame, writer: Schema, reader: Schema) -> pl.DataFrame:
    """Events in the columns of the reader's version.

    Args:
        events: a frame as `frames.decode` gives it for `writer`.
        writer: the version that the events were written with.
        reader: a version that is compatible with it.
    """
    return events.select(_columns(writer, reader))


@lru_cache(maxsize=256)
def _columns(writer: Schema, reader: Schema) -> tuple[pl.Expr, ...]:
    frame = pl.Struct(frames.decode([], reader).frame.schema)
    return tuple(_fields(pl.col, writer.event, reader.event, frame))


def _fields(
    values_of: Callable[[str], pl.Expr], writer: RecordType, reader: RecordType, frame: pl.Struct
) -> Iterator[pl.Expr]:
    """The columns of a record, in the order of the reader.

    Args:
        values_of: the values of a field of the writer, by its name.
        frame: the types of the columns.
    """
    written = {each.name: each.type for each in writer.fields}
    for field, column in zip(reader.fields, frame.fields, strict=True):
        if field.name in written:
            values = _values(values_of(field.name), written[field.name], field.type, column.dtype)
        else:
            default = defaults.value(field.default, field.type)
            values = pl.lit(default, dtype=column.dtype)
        yield values.alias(field.name)


def _values(values: pl.Expr, writer: AvroType, reader: AvroType, frame: Any) -> pl.Expr:
    """The values of a field that both versions have; a null stays null."""
    match value_type(writer), value_type(reader):
        case RecordType() as written, RecordType() as wanted:
            fields = _fields(values.struct.field, written, wanted, frame)
            return pl.when(values.is_not_null()).then(pl.struct(list(fields)))
        case ArrayType(items=written), ArrayType(items=wanted):
            return values.list.eval(_values(pl.element(), written, wanted, frame.inner))
        case EnumType() as written, EnumType() as wanted if {*written.symbols} - {*wanted.symbols}:
            is_unknown = values.is_not_null() & ~values.is_in([*wanted.symbols])
            return pl.when(is_unknown).then(pl.lit(UNKNOWN)).otherwise(values)
        case _:
            return values
