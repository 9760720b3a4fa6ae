"""Events of one version of a schema in the columns of another (Avro 1.12, "Schema Resolution").

Fields are found by their names, at every depth: one that the writer did not know takes the reader's
default, one that the reader does not know is left out, and a symbol that the reader does not know
becomes the default of its enum. What more Avro would resolve, as an int read as a long, no two
versions of a contract may do to each other: see `sinergi_schemas.avro_types.compatibility`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import polars as pl

from sinergi_consumers.decode import frames
from sinergi_schemas.avro_types.fields import Types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi_schemas.catalog import Schema


def conform(events: pl.DataFrame, writer: Schema, reader: Schema) -> pl.DataFrame:
    """A frame as `frames.decode` gives it for `writer`, with the columns it gives for `reader`.

    The two versions must be compatible.
    """
    return events.select(_columns(writer, reader))


@lru_cache(maxsize=256)
def _columns(writer: Schema, reader: Schema) -> tuple[pl.Expr, ...]:
    wanted = pl.Struct(frames.decode([], reader).frame.schema)
    conforming = _Conforming(Types(writer), Types(reader))
    return tuple(conforming.fields(pl.col, writer.parsed, reader.parsed, wanted))


class _Conforming:
    """One walk through two versions, side by side; it builds the columns on its way."""

    def __init__(self, written: Types, wanted: Types) -> None:
        self._written, self._wanted = written, wanted

    def fields(
        self,
        value_of: Callable[[str], pl.Expr],
        written: dict[str, Any],
        wanted: dict[str, Any],
        frame: pl.Struct,
    ) -> Iterator[pl.Expr]:
        """The columns of a record, in the order of the reader's."""
        known = {each["name"]: each["type"] for each in written["fields"]}
        for field, kept in zip(wanted["fields"], frame.fields, strict=True):
            name, kind = field["name"], field["type"]
            if name in known:
                values = self._values(value_of(name), known[name], kind, kept.dtype)
            else:
                values = pl.lit(self._default(field["default"], kind), dtype=kept.dtype)
            yield values.alias(name)

    def _values(self, values: pl.Expr, written: Any, wanted: Any, frame: Any) -> pl.Expr:
        """The values of one field that both versions have; null stays null."""
        ours, theirs = self._wanted.of(wanted), self._written.of(written)
        match ours.definition:
            case {"type": "record"}:
                fields = self.fields(values.struct.field, theirs.definition, ours.definition, frame)
                return pl.when(values.is_not_null()).then(pl.struct(list(fields)))
            case {"type": "array", "items": items}:
                items_written = theirs.definition["items"]
                item = self._values(pl.element(), items_written, items, frame.inner)
                return values.list.eval(item)
            case {"type": "enum", "symbols": symbols, "default": unknown}:
                if set(theirs.definition["symbols"]) <= set(symbols):
                    return values
                strange = values.is_not_null() & ~values.is_in(symbols)
                return pl.when(strange).then(pl.lit(unknown)).otherwise(values)
            case _:
                return values

    def _default(self, default: Any, kind: Any) -> Any:
        """A default as JSON reads it, as the value that it stands for."""
        if default is None:
            return None
        match self._wanted.of(kind).definition:
            case {"type": "record", "fields": fields}:
                return {
                    each["name"]: self._default(default[each["name"]], each["type"])
                    for each in fields
                }
            case {"type": "array", "items": items}:
                return [self._default(each, items) for each in default]
            case {"type": "bytes"}:
                return default.encode("latin-1")  # one code point a byte
            case _:
                return default
