"""Whether the values that an integrator's code returns can be written to a table.

Rows go to the database as CSV. Values of some types cannot be written as CSV, and the CSV writer of
polars panics at a date outside the years 1 to 9999. Both are found here before it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sinergi_schemas.avro_types.bounds import DAYS, LONG

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS_OF_DAY = 24 * 60 * 60
_UNITS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
_OUTSIDE_CALENDAR = "a time outside the years 1 to 9999"


def unwritable(rows: pl.DataFrame) -> str | None:
    """Why rows cannot be written: the first column at fault, and its fault. None if they can."""
    others = (pl.Boolean, pl.String, pl.Binary, pl.Time, pl.Categorical, pl.Enum, pl.Null)
    for name, kind in rows.schema.items():
        if not (kind.is_numeric() or kind.is_temporal() or isinstance(kind, others)):
            return f"its column {name} is of type {kind}"
        if isinstance(kind, pl.Duration):
            return f"its column {name} is of type {kind}; give a number of a unit"
    rules = list(_rules(rows.schema))
    holds = rows.select(rule.alias(str(at)) for at, (_, _, rule) in enumerate(rules))
    for (name, what, _), column in zip(rules, holds, strict=True):
        if not column.item():
            return f"its column {name} holds {what}"
    return None


def _rules(schema: pl.Schema) -> Iterator[tuple[str, str, pl.Expr]]:
    """The rules: the column, what a value that breaks the rule is, whether all values keep it."""
    for name, kind in schema.items():
        values = pl.col(name).to_physical()
        match kind:
            case pl.Date():
                yield name, _OUTSIDE_CALENDAR, values.is_between(*DAYS).all()
            case pl.Datetime(time_unit=unit):
                day = _SECONDS_OF_DAY * _UNITS[unit]
                first, last = DAYS[0] * day, (DAYS[1] + 1) * day - 1
                low, high = (min(max(each, LONG[0]), LONG[1]) for each in (first, last))
                yield name, _OUTSIDE_CALENDAR, values.is_between(low, high).all()
            case pl.Decimal(precision=precision):
                largest = 10 ** (precision or 38) - 1
                within = pl.lit(-largest, pl.Int128), pl.lit(largest, pl.Int128)
                yield name, "a number beyond its digits", values.is_between(*within).all()
