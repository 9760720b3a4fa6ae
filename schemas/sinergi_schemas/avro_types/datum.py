"""The strict reader of one datum (Avro 1.12, "Binary Encoding").

fastavro accepts more than the contract allows: a decimal beyond its precision, an enum index below
zero, bytes after the datum. The bulk decoder of the consumers accepts two forms that fastavro
refuses: every union index other than that of null selects the value, and a boolean may be a 0 or a
1 of more bytes than it needs. An event must get the same verdict from every decoder. So this reader
accepts exactly what the bulk decoder accepts.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sinergi_schemas.avro_types import bounds
from sinergi_schemas.avro_types.nodes import (
    ArrayType,
    DecimalType,
    EnumType,
    OptionalType,
    RecordType,
)
from sinergi_schemas.limits import MOST_DATUM_BYTES, TOO_LARGE, TOO_MANY_ITEMS, most_items

if TYPE_CHECKING:
    from sinergi_schemas.avro_types.nodes import AvroType

_MOST_NUMBER_BYTES = 10
_MOST_DECIMAL_BYTES = 16
_LONG = 2**64 - 1
_LOWEST_LONG = bounds.LONG[0]
_EXACT = Context(prec=60)
_UUID_FORM = re.compile(bounds.UUID)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()


class MalformedDatum(ValueError):
    """The bytes are not one datum of the schema. The text says why, without any value."""


@dataclass(slots=True)
class _Cursor:
    """A datum, and how far it is read.

    Attributes:
        most_items: how many items all lists together may have.
        at: the index of the next byte.
        is_lenient: whether one of the two forms was met that fastavro refuses.
        items: how many items all lists have had so far.
    """

    datum: bytes
    most_items: int
    at: int = 0
    is_lenient: bool = False
    items: int = 0

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        start, self.at = self.at, self.at + length
        if length < 0 or self.at > len(self.datum):
            raise MalformedDatum("it ends too early")
        return self.datum[start : self.at]

    def number(self) -> int:
        """The next int or long: zigzag, variable length. Most have one byte."""
        at = self.at
        if at == len(self.datum):
            raise MalformedDatum("it ends too early")
        byte = self.datum[at]
        if byte < 0x80:
            self.at = at + 1
            return (byte >> 1) ^ -(byte & 1)
        return self._long_number()

    def within(self, low: int, high: int) -> int:
        """The next number. It must lie within bounds, both included."""
        number = self.number()
        if not low <= number <= high:
            raise MalformedDatum("a number out of bounds")
        return number

    def string(self) -> str:
        """The next string."""
        try:
            return self.take(self.number()).decode()
        except UnicodeDecodeError:
            raise MalformedDatum("it is not UTF-8") from None  # its error quotes the bytes

    def _long_number(self) -> int:
        number = 0
        for shift in range(0, 7 * _MOST_NUMBER_BYTES, 7):
            if self.at == len(self.datum):
                raise MalformedDatum("it ends too early")
            byte = self.datum[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                number &= _LONG
                return (number >> 1) ^ -(number & 1)
        raise MalformedDatum(f"a number of more than {_MOST_NUMBER_BYTES} bytes")


_Read = Callable[[_Cursor], Any]


class DatumReader:
    """Reads datums of one type. What a type needs is looked up once, and not for each datum.

    Args:
        node: the event of a schema, or one of its types.
    """

    def __init__(self, node: AvroType) -> None:
        self._read = _reader(node)

    def read(self, datum: bytes) -> tuple[Any, bool]:
        """The value of a datum, and whether it uses one of the forms that fastavro refuses.

        Raises:
            MalformedDatum: it is not one datum of the type, or breaks a rule of the contract.
        """
        if len(datum) > MOST_DATUM_BYTES:
            raise MalformedDatum(TOO_LARGE)
        cursor = _Cursor(datum, most_items(len(datum)))
        value = self._read(cursor)
        if cursor.at != len(datum):
            raise MalformedDatum("bytes are left over")
        return value, cursor.is_lenient

    def length(self, data: bytes) -> tuple[int, int]:
        """How many bytes the first value in `data` takes, and how many items its lists have.

        The limit for items is not applied: it counts those of a whole datum.

        Raises:
            MalformedDatum: `data` does not begin with a value of the type.
        """
        cursor = _Cursor(data, len(data))
        self._read(cursor)
        return cursor.at, cursor.items


def _reader(node: AvroType) -> _Read:
    """The function that reads a value of a type."""
    match node:
        case OptionalType(value=value):
            return _optional_reader(_reader(value))
        case RecordType(fields=fields):
            return _record_reader([(field.name, _reader(field.type)) for field in fields])
        case ArrayType(items=items):
            return _array_reader(_reader(items))
        case EnumType(symbols=symbols):
            last = len(symbols) - 1
            return lambda cursor: symbols[cursor.within(0, last)]
        case DecimalType():
            return _decimal_reader(node)
        case _:
            return _READERS[node.kind]


def _optional_reader(read: _Read) -> _Read:
    def read_optional(cursor: _Cursor) -> Any:
        index = cursor.number()
        if index == 0:
            return None
        if index != 1:  # the bulk decoder takes every index other than 0 for the value's
            cursor.is_lenient = True
        return read(cursor)

    return read_optional


def _record_reader(fields: list[tuple[str, _Read]]) -> _Read:
    def read_record(cursor: _Cursor) -> dict[str, Any]:
        return {name: read(cursor) for name, read in fields}

    return read_record


def _array_reader(read: _Read) -> _Read:
    def read_array(cursor: _Cursor) -> list[Any]:
        items: list[Any] = []
        while count := cursor.number():
            if count < 0:  # the length of the block in bytes follows, for readers that skip it
                cursor.number()
            # The lowest long has no positive counterpart in 64 bits: the bulk decoder reads no
            # item there.
            number = abs(count) if count != _LOWEST_LONG else 0
            cursor.items += number
            if cursor.items > cursor.most_items:
                raise MalformedDatum(TOO_MANY_ITEMS)
            items.extend(read(cursor) for _ in range(number))
        return items

    return read_array


def _decimal_reader(node: DecimalType) -> _Read:
    bound, exponent = 10**node.precision, -node.scale

    def read_decimal(cursor: _Cursor) -> Decimal:
        data = cursor.take(cursor.number())
        number = int.from_bytes(data, "big", signed=True)
        if len(data) > _MOST_DECIMAL_BYTES or abs(number) >= bound:
            raise MalformedDatum("too many digits")
        return Decimal(number).scaleb(exponent, _EXACT)

    return read_decimal


def _boolean(cursor: _Cursor) -> bool:
    start = cursor.at
    number = cursor.within(-1, 0)  # the byte 0x01, read as a long, is -1
    if cursor.at - start > 1:
        cursor.is_lenient = True
    return number == -1


def _finite(number: float) -> float:
    if not isfinite(number):  # JSON has no such numbers, and a NaN does not equal itself
        raise MalformedDatum("not a finite number")
    return number


def _uuid(cursor: _Cursor) -> UUID:
    text = cursor.string()
    if _UUID_FORM.fullmatch(text) is None:
        raise MalformedDatum("it is no UUID in canonical form")
    return UUID(text)


# By the kind of a primitive or a logical type.
_READERS: Mapping[str, _Read] = {
    "boolean": _boolean,
    "int": lambda cursor: cursor.within(*bounds.INT),
    "long": _Cursor.number,
    "float": lambda cursor: _finite(struct.unpack("<f", cursor.take(4))[0]),
    "double": lambda cursor: _finite(struct.unpack("<d", cursor.take(8))[0]),
    "bytes": lambda cursor: cursor.take(cursor.number()),
    "string": _Cursor.string,
    "uuid": _uuid,
    "date": lambda cursor: date.fromordinal(_EPOCH_DAY + cursor.within(*bounds.DAYS)),
    "timestamp-micros": lambda cursor: (
        _EPOCH + timedelta(microseconds=cursor.within(*bounds.MICROSECONDS))
    ),
}
