"""A schema lowered to what polars reads, and the way back to what the contract means.

polars refuses, or panics on, enums that are nested or optional and a named type used twice. A
*lowered* schema has the same bytes on the wire and none of these: enum, int, boolean, date and
timestamp become long (each is one zigzag varint; a boolean's byte 0x01 then reads as -1), uuid
becomes string, and named types are inlined and renamed. What polars has read is then held to the
contract's rules, and raised to its types:

    enum → String (the symbol)     int → Int32          date → Date
    boolean → Boolean              long → Int64         timestamp-micros → Datetime("us", "UTC")
    string, uuid → String          bytes → Binary       decimal → Decimal(precision, scale)
    record → Struct                array → List         double, float → Float64, Float32

A symbol is a String and not an Enum, since frames of two versions of a schema are put together,
and Enums of different symbols cannot be. No bytes and no I/O here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import polars as pl

from sinergi_schemas import errors
from sinergi_schemas.avro_types.shape import MOST_CELLS_PER_BYTE, MOST_COLUMNS, MOST_DIGITS
from sinergi_schemas.limits import BYTES_OF_ITEM, FREE_ITEMS, TOO_MANY_ITEMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SIZE = "size"  # the column beside "datum" that says how many bytes each datum has

# What keeps a peer's schema from turning a few bytes into gigabytes: an absent record is one byte
# on the wire and one cell in each of its columns. Inlining could also unfold a small file hugely.

# Bounds, both included. Days and microseconds: the years 1 to 9999, as Python has them.
_INT32 = (-(2**31), 2**31 - 1)
_DAYS = (-719_162, 2_932_896)
_MICROSECONDS = (-62_135_596_800_000_000, 253_402_300_799_999_999)
# One spelling only, or an event_id written in upper case would be another event's.
_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


class Rule(NamedTuple):
    """What one column's values must keep; `kept` is true or null in every row that does."""

    path: str
    text: str
    kept: pl.Expr


class LoweredColumn(Protocol):
    """A column of an event type, at any depth."""

    def rules(self, values: pl.Expr, path: str) -> Iterator[Rule]:
        """The rules for `values`, which is this column as polars has read it."""

    def raised(self, values: pl.Expr) -> pl.Expr | None:
        """`values` in the contract's types, or None where they are so already."""

    def items(self, values: pl.Expr) -> pl.Expr | None:
        """How many items the lists in `values` hold; None where there is no list."""


@dataclass(frozen=True, slots=True)
class LoweredValue:
    """A single value: its rule, if its type has one, and how it is raised, if it must be."""

    rule: str = ""
    keeps: Callable[[pl.Expr], pl.Expr] | None = None
    raises: Callable[[pl.Expr], pl.Expr] | None = None

    def rules(self, values: pl.Expr, path: str) -> Iterator[Rule]:
        """The one rule, or none."""
        if self.keeps is not None:
            yield Rule(path, self.rule, self.keeps(values))

    def raised(self, values: pl.Expr) -> pl.Expr | None:
        """`values` in the contract's type."""
        return None if self.raises is None else self.raises(values)

    def items(self, _values: pl.Expr) -> pl.Expr | None:
        """No lists."""
        return None


@dataclass(frozen=True, slots=True)
class LoweredRecord:
    """A record: columns by name."""

    fields: Mapping[str, LoweredColumn]

    def rules(self, values: pl.Expr, path: str) -> Iterator[Rule]:
        """The rules of all its fields."""
        for name, column in self.fields.items():
            yield from column.rules(values.struct.field(name), f"{path}.{name}" if path else name)

    def raised(self, values: pl.Expr) -> pl.Expr | None:
        """The struct with those fields replaced that must be; a null struct stays null."""
        fields = [
            raised.alias(name)
            for name, column in self.fields.items()
            if (raised := column.raised(values.struct.field(name))) is not None
        ]
        return values.struct.with_fields(fields) if fields else None

    def items(self, values: pl.Expr) -> pl.Expr | None:
        """The items of all lists at any depth."""
        counts = [
            count
            for name, column in self.fields.items()
            if (count := column.items(values.struct.field(name))) is not None
        ]
        return pl.sum_horizontal(counts) if counts else None


@dataclass(frozen=True, slots=True)
class LoweredArray:
    """A list: one column, any number of values."""

    item: LoweredColumn

    def rules(self, values: pl.Expr, path: str) -> Iterator[Rule]:
        """The rules of its items, kept where all items keep them."""
        for rule in self.item.rules(pl.element(), f"{path}[]"):
            yield rule._replace(kept=values.list.eval(rule.kept).list.all())

    def raised(self, values: pl.Expr) -> pl.Expr | None:
        """The list of raised items."""
        raised = self.item.raised(pl.element())
        return None if raised is None else values.list.eval(raised)

    def items(self, values: pl.Expr) -> pl.Expr:
        """Its own items, and those of the lists in them."""
        own = values.list.len().cast(pl.Int64).fill_null(0)
        inner = self.item.items(pl.element())
        return own if inner is None else own + values.list.eval(inner).list.sum().fill_null(0)


@dataclass(frozen=True, slots=True)
class LoweredSchema:
    """A schema lowered: what polars is told, and the columns as the contract means them.

    Attributes:
        rules: what a row must keep whose column `datum` is the record, and `SIZE` its size.
        raised: that column in the contract's types; None where it is read in them.
    """

    avro: Any
    rules: Sequence[Rule]
    raised: pl.Expr | None


@lru_cache(maxsize=256)
def lower(text: bytes) -> LoweredSchema:
    """Lower the schema that an `.avsc` file holds.

    Raises:
        SchemaNotLowered: it uses what the safe shape forbids, or would cost memory out of all
            proportion to the bytes that it reads.
    """
    schema = json.loads(text)
    found = _Lowering().of(schema, "", "the schema")
    if not isinstance(found.column, LoweredRecord):
        raise errors.SchemaNotLowered("the schema", "it is no record")
    datum = pl.col("datum")
    rules = (*_limits(found.column, datum), *found.column.rules(datum, ""))
    return LoweredSchema(found.avro, rules, found.column.raised(datum))


def _limits(record: LoweredRecord, values: pl.Expr) -> Iterator[Rule]:
    items = record.items(values)
    if items is not None:
        most = FREE_ITEMS + pl.col(SIZE) // BYTES_OF_ITEM
        yield Rule("", TOO_MANY_ITEMS, items <= most)


class _Found(NamedTuple):
    """One type lowered. `width`: its fewest bytes; `cells`: the columns that one value fills."""

    avro: Any
    column: LoweredColumn
    width: int = 1
    cells: int = 1


class _Lowering:
    """One pass over a schema; it knows the named types met so far and counts the columns."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[dict[str, Any], str]] = {}
        self._columns = 0
        self._records = 0

    def of(self, schema: Any, space: str, path: str) -> _Found:
        """The type `schema`, written at `path` inside the namespace `space`."""
        self._columns += 1
        if self._columns > MOST_COLUMNS:
            raise errors.SchemaNotLowered(path, f"it has more than {MOST_COLUMNS} columns")
        if isinstance(schema, list):
            return self._union(schema, space, path)
        if isinstance(schema, str):
            return self._by_name(schema, space, path)
        match schema["type"]:
            case "record":
                return self._record(schema, space, path)
            case "array":
                return self._array(schema["items"], space, path)
            case "enum":
                self._named[_full_name(schema, space)] = (schema, space)
                return _Found("long", _enum(schema["symbols"]))
            case str(name) if "logicalType" in schema:
                return _logical(name, schema, path)
            case inner:
                return self.of(inner, space, path)

    def _by_name(self, name: str, space: str, path: str) -> _Found:
        if name in _PLAIN:
            return _PLAIN[name]
        full = name if "." in name or not space else f"{space}.{name}"
        if full not in self._named:
            raise errors.SchemaNotLowered(path, f"{name} is not a type of the safe shape")
        return self.of(*self._named[full], path)

    def _record(self, schema: dict[str, Any], space: str, path: str) -> _Found:
        full = _full_name(schema, space)
        self._records += 1
        name = f"r{self._records}"
        found = {
            field["name"]: self.of(
                field["type"], full.rpartition(".")[0], _under(path, field["name"])
            )
            for field in schema["fields"]
        }
        if not found:
            raise errors.SchemaNotLowered(path, "it is a record without fields")
        self._named[full] = (schema, space)  # not before, so that it is unknown to its own fields
        fields = [{"name": field, "type": each.avro} for field, each in found.items()]
        return _Found(
            {"type": "record", "name": name, "fields": fields},
            LoweredRecord({field: each.column for field, each in found.items()}),
            sum(each.width for each in found.values()),
            sum(each.cells for each in found.values()),
        )

    def _array(self, items: Any, space: str, path: str) -> _Found:
        item = self.of(items, space, f"{path}[]")
        if item.cells > MOST_CELLS_PER_BYTE * item.width:
            raise errors.SchemaNotLowered(
                path, f"one byte of an item can fill more than {MOST_CELLS_PER_BYTE} columns"
            )
        return _Found({"type": "array", "items": item.avro}, LoweredArray(item.column))

    def _union(self, branches: list[Any], space: str, path: str) -> _Found:
        others = [each for each in branches if each != "null"]
        if len(branches) != 2 or len(others) != 1 or isinstance(others[0], list):
            raise errors.SchemaNotLowered(path, "a union may only be null and one type")
        found = self.of(others[0], space, path)
        return found._replace(
            avro=["null" if each == "null" else found.avro for each in branches], width=1
        )


def _full_name(schema: Mapping[str, Any], space: str) -> str:
    """The full name of a named type (Avro 1.12, "Names")."""
    name: str = schema["name"]
    inner = schema.get("namespace", space)
    return name if "." in name or not inner else f"{inner}.{name}"


def _under(path: str, name: str) -> str:
    return name if path == "the schema" else f"{path}.{name}"


def _between(low: int, high: int, rule: str, raises: Callable[[pl.Expr], pl.Expr]) -> LoweredValue:
    """An integer that must lie within bounds, both included."""
    return LoweredValue(rule, lambda values: values.is_between(low, high), raises)


def _enum(symbols: list[str]) -> LoweredValue:
    numbers, names = list(range(len(symbols))), pl.Series(symbols, dtype=pl.String)
    return _between(
        0,
        len(symbols) - 1,
        "not a symbol of the enum",
        lambda values: values.replace_strict(numbers, names, return_dtype=pl.String),
    )


def _decimal(schema: Mapping[str, Any], path: str) -> _Found:
    precision, scale = schema["precision"], schema.get("scale", 0)
    if not 0 <= scale <= precision <= MOST_DIGITS:
        raise errors.SchemaNotLowered(path, f"a decimal has at most {MOST_DIGITS} digits")
    largest = 10**precision - 1
    within = pl.lit(-largest, pl.Int128), pl.lit(largest, pl.Int128)
    keeps = LoweredValue(
        f"beyond the decimal's {precision} digits",
        lambda values: values.to_physical().is_between(*within),
    )
    kind = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    return _Found(kind, keeps)


def _logical(name: str, schema: Mapping[str, Any], path: str) -> _Found:
    match name, schema["logicalType"]:
        case "bytes", "decimal":
            return _decimal(schema, path)
        case "int", "date":
            return _Found("long", _DATE)
        case "long", "timestamp-micros":
            return _Found("long", _TIMESTAMP)
        case "string", "uuid":
            return _Found("string", _UUID_TEXT)
        case kind, logical:
            raise errors.SchemaNotLowered(path, f"{logical} over {kind} is not of the safe shape")


_DATE = _between(
    *_DAYS,
    "outside the years 1 to 9999",
    lambda values: values.cast(pl.Int32).cast(pl.Date),
)
_TIMESTAMP = _between(
    *_MICROSECONDS,
    "outside the years 1 to 9999",
    lambda values: values.cast(pl.Datetime("us", "UTC")),
)
_UUID_TEXT = LoweredValue(
    "not a UUID in canonical form (lower case, hyphens)",
    lambda values: values.str.contains(_UUID),
)
_FINITE = LoweredValue("not a finite number", lambda values: values.is_finite())
_PLAIN = {
    "boolean": _Found(
        "long", _between(-1, 0, "neither true nor false", lambda values: values == -1)
    ),
    "int": _Found(
        "long", _between(*_INT32, "beyond 32 bits", lambda values: values.cast(pl.Int32))
    ),
    "long": _Found("long", LoweredValue()),
    "float": _Found("float", _FINITE, width=4),
    "double": _Found("double", _FINITE, width=8),
    "bytes": _Found("bytes", LoweredValue()),
    "string": _Found("string", LoweredValue()),
}
