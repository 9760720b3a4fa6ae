"""Reading one datum strictly, one byte after another (Avro 1.12, "Binary Encoding").

fastavro takes more than the contract allows (a decimal beyond its precision, an enum index below
zero, bytes behind the datum) and the bulk decoder of the consumers, by its nature, takes two things
that fastavro does not: a union index that is not the null's means the other branch, and a boolean
may be an overlong 0 or 1. A verdict must not depend on which of the two reads an event, so this
reader draws the line where the bulk decoder draws it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from math import isfinite
from typing import Any
from uuid import UUID

from sinergi_schemas.limits import MOST_DATUM_BYTES, TOO_LARGE, TOO_MANY_ITEMS, most_items

_MOST_NUMBER_BYTES = 10
_MOST_DECIMAL_BYTES = 16
_LONG = 2**64 - 1
_LOWEST_LONG = -(2**63)
_EXACT = Context(prec=60)
# One spelling only, or an event_id written in upper case would be another event's.
_UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_DAYS = tuple(each.toordinal() - _EPOCH_DAY for each in (date.min, date.max))
_MICROSECONDS = tuple(
    (each - _EPOCH) // timedelta(microseconds=1)
    for each in (
        datetime.combine(date.min, time.min, UTC),
        datetime.combine(date.max, time.max, UTC),
    )
)


class NotOne(ValueError):
    """The bytes are not one datum of the schema."""


@dataclass(slots=True)
class _Cursor:
    """Where in the bytes we are.

    Attributes:
        liberties: whether one of the two freedoms was used that fastavro does not give.
        items: how many items all lists have had so far.
        most_items: how many they may have.
    """

    datum: bytes
    most_items: int
    at: int = 0
    liberties: bool = False
    items: int = 0

    def take(self, length: int) -> bytes:
        """The next bytes, so many."""
        start, self.at = self.at, self.at + length
        if length < 0 or self.at > len(self.datum):
            raise NotOne("it ends too early")
        return self.datum[start : self.at]

    def number(self) -> int:
        """The next zigzag variable-length integer; most are of one byte."""
        at = self.at
        if at == len(self.datum):
            raise NotOne("it ends too early")
        byte = self.datum[at]
        if byte < 0x80:
            self.at = at + 1
            return (byte >> 1) ^ -(byte & 1)
        return self._long_number()

    def within(self, low: int, high: int) -> int:
        """The next number, which must lie within bounds."""
        number = self.number()
        if not low <= number <= high:
            raise NotOne("a number out of bounds")
        return number

    def string(self) -> str:
        """The next text."""
        try:
            return self.take(self.number()).decode()
        except UnicodeDecodeError:
            raise NotOne("it is not UTF-8") from None  # which would quote the bytes

    def _long_number(self) -> int:
        number = 0
        for shift in range(0, 7 * _MOST_NUMBER_BYTES, 7):
            if self.at == len(self.datum):
                raise NotOne("it ends too early")
            byte = self.datum[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                number &= _LONG
                return (number >> 1) ^ -(number & 1)
        raise NotOne(f"a number of more than {_MOST_NUMBER_BYTES} bytes")


_Read = Callable[[_Cursor], Any]


class DatumReader:
    """Reads datums of one schema of safe shape, whose types are looked at once and not each time.

    Args:
        parsed: the schema as `json` reads it, or one of its types.
        named: the types that the schema defines, where `parsed` does not define them itself.
    """

    def __init__(self, parsed: Any, named: Mapping[str, Any] | None = None) -> None:
        self._named = named_types(parsed) if named is None else named
        self._read = self._reader(parsed)

    def read(self, datum: bytes) -> tuple[Any, bool]:
        """The value, and whether a liberty was taken.

        Raises:
            NotOne: it is not one datum of the schema, or breaks a rule of the contract.
        """
        if len(datum) > MOST_DATUM_BYTES:
            raise NotOne(TOO_LARGE)
        cursor = _Cursor(datum, most_items(len(datum)))
        value = self._read(cursor)
        if cursor.at != len(datum):
            raise NotOne("bytes are left over")
        return value, cursor.liberties

    def length(self, data: bytes) -> tuple[int, int]:
        """How many bytes the value takes that `data` begins with, and the items of its lists.

        Raises:
            NotOne: as `read`, but for the number of items, which is a rule for whole datums.
        """
        cursor = _Cursor(data, len(data))
        self._read(cursor)
        return cursor.at, cursor.items

    def _reader(self, parsed: Any) -> _Read:
        if isinstance(parsed, list):
            return self._union(parsed)
        if isinstance(parsed, str):
            parsed = self._named.get(parsed, {"type": parsed})
        kind = parsed.get("logicalType") or parsed["type"]
        if kind in _PLAIN:
            return _PLAIN[kind]
        make: Callable[[Any], _Read] = getattr(self, _MADE[kind])
        return make(parsed)

    def _union(self, branches: list[Any]) -> _Read:
        null_index = branches.index("null")
        read = self._reader(branches[1 - null_index])

        def union(cursor: _Cursor) -> Any:
            index = cursor.number()
            if not 0 <= index <= 1:
                cursor.liberties = True
                index = 1  # to the bulk decoder whatever is not the null's index is the other's
                if null_index == 1:
                    index = 0
            return None if index == null_index else read(cursor)

        return union

    def _record(self, parsed: Any) -> _Read:
        fields = [(field["name"], self._reader(field["type"])) for field in parsed["fields"]]

        def record(cursor: _Cursor) -> dict[str, Any]:
            return {name: read(cursor) for name, read in fields}

        return record

    def _array(self, parsed: Any) -> _Read:
        read = self._reader(parsed["items"])

        def array(cursor: _Cursor) -> list[Any]:
            items: list[Any] = []
            while count := cursor.number():
                if count < 0:  # then the block's length in bytes follows, for those who skip it
                    cursor.number()
                # The lowest long has no positive counterpart in 64 bits; the bulk decoder reads
                # none.
                number = abs(count) if count != _LOWEST_LONG else 0
                cursor.items += number
                if cursor.items > cursor.most_items:
                    raise NotOne(TOO_MANY_ITEMS)
                items.extend(read(cursor) for _ in range(number))
            return items

        return array

    def _enum(self, parsed: Any) -> _Read:
        symbols: list[str] = parsed["symbols"]
        last = len(symbols) - 1
        return lambda cursor: symbols[cursor.within(0, last)]

    def _decimal(self, parsed: Any) -> _Read:
        bound, exponent = 10 ** parsed["precision"], -parsed.get("scale", 0)

        def decimal(cursor: _Cursor) -> Decimal:
            data = cursor.take(cursor.number())
            number = int.from_bytes(data, "big", signed=True)
            if len(data) > _MOST_DECIMAL_BYTES or abs(number) >= bound:
                raise NotOne("too many digits")
            return Decimal(number).scaleb(exponent, _EXACT)

        return decimal


def _boolean(cursor: _Cursor) -> bool:
    start = cursor.at
    number = cursor.within(-1, 0)  # as a long, the byte 0x01 is -1
    if cursor.at - start > 1:
        cursor.liberties = True
    return number == -1


def _finite(number: float) -> float:
    if not isfinite(number):  # JSON has neither NaN nor infinities, and no two NaN are equal
        raise NotOne("not a finite number")
    return number


def _uuid(cursor: _Cursor) -> UUID:
    text = cursor.string()
    if _UUID_FORM.fullmatch(text) is None:
        raise NotOne("it is no UUID in canonical form")
    return UUID(text)


# How a kind of type is read, a logical type or else a plain one; or the method that makes it so.
_PLAIN: Mapping[str, _Read] = {
    "boolean": _boolean,
    "int": lambda cursor: cursor.within(-(2**31), 2**31 - 1),
    "long": _Cursor.number,
    "float": lambda cursor: _finite(struct.unpack("<f", cursor.take(4))[0]),
    "double": lambda cursor: _finite(struct.unpack("<d", cursor.take(8))[0]),
    "bytes": lambda cursor: cursor.take(cursor.number()),
    "string": _Cursor.string,
    "uuid": _uuid,
    "date": lambda cursor: date.fromordinal(_EPOCH_DAY + cursor.within(*_DAYS)),
    "timestamp-micros": lambda cursor: (
        _EPOCH + timedelta(microseconds=cursor.within(*_MICROSECONDS))
    ),
}
_MADE = {"record": "_record", "array": "_array", "enum": "_enum", "decimal": "_decimal"}


def named_types(parsed: Any) -> dict[str, Any]:
    """The records and enums that a schema of safe shape defines, by name."""
    found: dict[str, Any] = {}
    rest = [parsed]
    while rest:
        match rest.pop():
            case list() as branches:
                rest += branches
            case {"type": "record" | "enum", "name": name} as kind:
                found[name] = kind
                rest += (each["type"] for each in kind.get("fields", ()))
            case {"type": "array", "items": items}:
                rest.append(items)
    return found
