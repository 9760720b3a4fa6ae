"""A schema lowered to types that polars reads, and the way back to the types of the contract.

polars refuses, or panics on, an enum that is nested or optional, and a named type that is used
twice. A *lowered* schema has neither, and the same bytes: enum, int, boolean, date and timestamp
become long (each is one zigzag variable-length number; the byte 0x01 of a boolean then reads as
-1), uuid becomes string, and named types are written out at each use under names of their own. The
values that polars has read are checked by the rules of the contract, and then restored to its
types:

    enum → String (the symbol)     int → Int32          date → Date
    boolean → Boolean              long → Int64         timestamp-micros → Datetime("us", "UTC")
    string, uuid → String          bytes → Binary       decimal → Decimal(precision, scale)
    record → Struct                array → List         double, float → Float64, Float32

A symbol is a String and not an Enum, because frames of two versions of a schema are put together,
and polars does not put Enums of different symbols together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import polars as pl

from sinergi_schemas.avro_types import bounds
from sinergi_schemas.avro_types.nodes import (
    ArrayType,
    DecimalType,
    EnumType,
    OptionalType,
    RecordType,
)
from sinergi_schemas.limits import BYTES_OF_ITEM, FREE_ITEMS, TOO_MANY_ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sinergi_schemas.avro_types.nodes import AvroType
    from sinergi_schemas.catalog import Schema

SIZE = "size"  # the column beside "datum" that holds the size of each datum in bytes


class Rule(NamedTuple):
    """A rule for the values of one column.

    Attributes:
        path: the field.
        text: what is wrong with a row that breaks the rule.
        holds: false in a row that breaks the rule, true or null in all others.
    """

    path: str
    text: str
    holds: pl.Expr


class LoweredColumn(Protocol):
    """A column of an event type, at any depth."""

    def rules(self, values: pl.Expr, path: str) -> Iterator[Rule]:
        """The rules for `values`, which is this column as polars has read it."""

    def restored(self, values: pl.Expr) -> pl.Expr | None:
        """`values` in the contract's types, or None if polars reads them in these types."""

    def items(self, values: pl.Expr) -> pl.Expr | None:
        """How many items the lists in `values` hold; None if it can hold no list."""


@dataclass(frozen=True, slots=True)
class LoweredValue:
    """A single value.

    Attributes:
        rule: the text of its rule, if it has one.
        holds: an expression that says whether values keep that rule.
        restore: an expression of the values in the contract's type, if polars reads another.
    """

    rule: str = ""
    holds: Callable[[pl.Expr], pl.Expr] | None = None
    restore: Callable[[pl.Expr], pl.Expr] | None = None

    def rules(self, values: pl.Expr, path: str) -> Iterator[Rule]:
        """Its rule, if it has one."""
        if self.holds is not None:
            yield Rule(path, self.rule, self.holds(values))

    def restored(self, values: pl.Expr) -> pl.Expr | None:
        """`values` in the contract's type."""
        return None if self.restore is None else self.restore(values)

    def items(self, _values: pl.Expr) -> pl.Expr | None:
        """None: it holds no list."""
        return None


@dataclass(frozen=True, slots=True)
class LoweredRecord:
    """A record: columns by name."""

    fields: Mapping[str, LoweredColumn]

    def rules(self, values: pl.Expr, path: str) -> Iterator[Rule]:
        """The rules of all its fields."""
        for name, column in self.fields.items():
            yield from column.rules(values.struct.field(name), f"{path}.{name}" if path else name)

    def restored(self, values: pl.Expr) -> pl.Expr | None:
        """The struct with its fields restored; a null struct stays null."""
        fields = [
            restored.alias(name)
            for name, column in self.fields.items()
            if (restored := column.restored(values.struct.field(name))) is not None
        ]
        return values.struct.with_fields(fields) if fields else None

    def items(self, values: pl.Expr) -> pl.Expr | None:
        """The items of all lists in it, at any depth."""
        counts = [
            count
            for name, column in self.fields.items()
            if (count := column.items(values.struct.field(name))) is not None
        ]
        return pl.sum_horizontal(counts) if counts else None


@dataclass(frozen=True, slots=True)
class LoweredArray:
    """A list: one column with any number of values."""

    item: LoweredColumn

    def rules(self, values: pl.Expr, path: str) -> Iterator[Rule]:
        """The rules of its items; a list keeps a rule if all its items do."""
        for rule in self.item.rules(pl.element(), f"{path}[]"):
            yield rule._replace(holds=values.list.eval(rule.holds).list.all())

    def restored(self, values: pl.Expr) -> pl.Expr | None:
        """The list with its items restored."""
        restored = self.item.restored(pl.element())
        return None if restored is None else values.list.eval(restored)

    def items(self, values: pl.Expr) -> pl.Expr | None:
        """Its own items, and those of the lists in them."""
        own = values.list.len().cast(pl.Int64).fill_null(0)
        inner = self.item.items(pl.element())
        return own if inner is None else own + values.list.eval(inner).list.sum().fill_null(0)


@dataclass(frozen=True, slots=True)
class LoweredSchema:
    """A lowered schema, and what to do with the rows that polars reads with it.

    Attributes:
        avro: the schema for polars, as `json` writes it.
        rules: the rules for a row whose column `datum` is the record, and `SIZE` its size.
        restored: the column `datum` in the contract's types; None if polars reads it in them.
    """

    avro: Any
    rules: Sequence[Rule]
    restored: pl.Expr | None


@lru_cache(maxsize=256)
def lower(schema: Schema) -> LoweredSchema:
    """Lower a schema."""
    avro, record = _Lowering().record(schema.event)
    datum = pl.col("datum")
    rules = (*_limits(record, datum), *record.rules(datum, ""))
    return LoweredSchema(avro, rules, record.restored(datum))


def _limits(record: LoweredRecord, values: pl.Expr) -> Iterator[Rule]:
    items = record.items(values)
    if items is not None:
        most = FREE_ITEMS + pl.col(SIZE) // BYTES_OF_ITEM
        yield Rule("", TOO_MANY_ITEMS, items <= most)


class _Lowering:
    """One pass over the nodes of a schema. It gives every record a name of its own."""

    def __init__(self) -> None:
        self._records = 0

    def record(self, node: RecordType) -> tuple[Any, LoweredRecord]:
        """A record as polars reads it, and its columns."""
        self._records += 1
        name = f"r{self._records}"
        found = {field.name: self._type(field.type) for field in node.fields}
        fields = [{"name": field, "type": avro} for field, (avro, _) in found.items()]
        columns = LoweredRecord({field: column for field, (_, column) in found.items()})
        return {"type": "record", "name": name, "fields": fields}, columns

    def _type(self, node: AvroType) -> tuple[Any, LoweredColumn]:
        match node:
            case OptionalType(value=value):
                avro, column = self._type(value)
                return ["null", avro], column
            case RecordType():
                return self.record(node)
            case ArrayType(items=items):
                avro, item = self._type(items)
                return {"type": "array", "items": avro}, LoweredArray(item)
            case EnumType(symbols=symbols):
                return "long", _enum(symbols)
            case DecimalType():
                return _decimal(node)
            case _:
                return _SINGLE_VALUES[node.kind]


def _between(low: int, high: int, rule: str, restore: Callable[[pl.Expr], pl.Expr]) -> LoweredValue:
    """An integer that must lie within bounds, both included."""
    return LoweredValue(rule, lambda values: values.is_between(low, high), restore)


def _enum(symbols: tuple[str, ...]) -> LoweredValue:
    numbers, names = list(range(len(symbols))), pl.Series([*symbols], dtype=pl.String)
    return _between(
        0,
        len(symbols) - 1,
        "not a symbol of the enum",
        lambda values: values.replace_strict(numbers, names, return_dtype=pl.String),
    )


def _decimal(node: DecimalType) -> tuple[Any, LoweredValue]:
    largest = 10**node.precision - 1
    bounds = pl.lit(-largest, pl.Int128), pl.lit(largest, pl.Int128)
    column = LoweredValue(
        f"beyond the decimal's {node.precision} digits",
        lambda values: values.to_physical().is_between(*bounds),
    )
    parameters = {"precision": node.precision, "scale": node.scale}
    return {"type": node.base, "logicalType": node.kind, **parameters}, column


_DATE = _between(
    *bounds.DAYS,
    "outside the years 1 to 9999",
    lambda values: values.cast(pl.Int32).cast(pl.Date),
)
_TIMESTAMP = _between(
    *bounds.MICROSECONDS,
    "outside the years 1 to 9999",
    lambda values: values.cast(pl.Datetime("us", "UTC")),
)
_UUID_TEXT = LoweredValue(
    "not a UUID in canonical form (lower case, hyphens)",
    lambda values: values.str.contains(f"^{bounds.UUID}$"),
)
_FINITE = LoweredValue("not a finite number", lambda values: values.is_finite())
_BOOLEAN = _between(-1, 0, "neither true nor false", lambda values: values == -1)
_INT = _between(*bounds.INT, "beyond 32 bits", lambda values: values.cast(pl.Int32))

# By the kind of a primitive or a logical type: the type for polars, and the column.
_SINGLE_VALUES: Mapping[str, tuple[str, LoweredValue]] = {
    "boolean": ("long", _BOOLEAN),
    "int": ("long", _INT),
    "long": ("long", LoweredValue()),
    "float": ("float", _FINITE),
    "double": ("double", _FINITE),
    "bytes": ("bytes", LoweredValue()),
    "string": ("string", LoweredValue()),
    "uuid": ("string", _UUID_TEXT),
    "date": ("long", _DATE),
    "timestamp-micros": ("long", _TIMESTAMP),
}
