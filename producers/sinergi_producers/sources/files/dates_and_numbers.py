"""Reads dates and numbers as registers write them. The mapping states how; nothing is guessed.

Every method raises ValueError with the rule that the text breaks, and never with the text itself,
because cells hold personal data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from sinergi_producers.sources.files.date_format import DateFormat
from sinergi_schemas.codes import Precision

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

Ambiguous = Literal["refuse", "earlier", "later"]

NEEDS_ZONE = "needs a zone, and this row has none"
"""The rule that a date without an offset breaks if its row has no valid zone."""

_GROUP = 3  # digits between two thousands marks
_DIGITS = re.compile(r"[0-9]+")
_MOST_DIGITS = 40  # more than any field holds


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time from a register.

    Args:
        at: aware, in UTC; for a date without a time, the first instant of the day in its zone.
        precision: how exactly the register states it.
        ambiguous: whether the local time occurred twice, and the mapping chose one of the two.
    """

    at: datetime
    precision: Precision
    ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class DateForm:
    """How a file writes its dates and times.

    Args:
        formats: see `date_format`; a text that two formats read as different dates is refused.
        indonesian: whether the names of months and weekdays may be Indonesian.
        ambiguous: what to do with a local time that occurred twice.
        precision: as the mapping states it; None means DAY without an hour, else EXACT.
    """

    formats: tuple[str, ...]
    indonesian: bool = False
    ambiguous: Ambiguous = "refuse"
    precision: Precision | None = None

    def read_date(self, text: str) -> date:
        """Return the calendar date in `text`.

        Raises:
            ValueError: there is none, or two formats read different dates.
        """
        found, _ = self._parse(text)
        return found.date()

    def read_moment(self, text: str, zone: ZoneInfo | None) -> Moment:
        """Return the point in time that `text` states as a local time of `zone`.

        Raises:
            ValueError: there is none, or two formats read different dates, or the zone never had
                that local time.
        """
        naive, form = self._parse(text)
        precision = self.precision or (Precision.EXACT if form.is_timed else Precision.DAY)
        try:
            return self._in_zone(naive, zone, precision, timed=form.is_timed)
        except OverflowError:
            raise ValueError("is outside the years 1 to 9999 in UTC") from None

    def _in_zone(
        self, naive: datetime, zone: ZoneInfo | None, precision: Precision, *, timed: bool
    ) -> Moment:
        if naive.tzinfo is not None:
            return Moment(naive.astimezone(UTC), precision)
        if zone is None:
            raise ValueError(NEEDS_ZONE)
        first, second = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        if not timed or first.utcoffset() == second.utcoffset():
            # A skipped midnight gets the offset before it: that is the day's first instant.
            return Moment(first.astimezone(UTC), precision)
        return self._resolve_ambiguity(first, second, precision)

    def _resolve_ambiguity(self, first: datetime, second: datetime, precision: Precision) -> Moment:
        before, after = first.utcoffset(), second.utcoffset()
        if before is not None and after is not None and before < after:
            raise ValueError("a local time that did not exist: the clocks went forward over it")
        if self.ambiguous == "refuse":
            raise ValueError("a local time that occurred twice: the clocks went back over it")
        chosen = first if self.ambiguous == "earlier" else second
        return Moment(chosen.astimezone(UTC), precision, ambiguous=True)

    def _parse(self, text: str) -> tuple[datetime, DateFormat]:
        found: dict[datetime, tuple[DateFormat, bool]] = {}
        for each in self.formats:
            form = DateFormat.of(each, indonesian=self.indonesian)
            if read := form.read(text):
                found.setdefault(read.at, (form, read.weekday_fits))
        if not found:
            raise ValueError(f"not a date of the form {' or '.join(self.formats)}")
        if len(found) > 1:
            forms = " and ".join(form.text for form, _ in found.values())
            raise ValueError(f"ambiguous: {forms} read different dates")
        ((parsed, (form, weekday_fits)),) = found.items()
        if not weekday_fits:
            raise ValueError("the weekday is not that of the date")
        return parsed, form


@dataclass(frozen=True, slots=True)
class NumberForm:
    """How a file writes its numbers. Both marks are stated, since 115.905 has two meanings.

    Args:
        decimal: the decimal mark, "," or "."; "" in a file without fractions.
        thousands: the mark between groups of three digits, or "" for none.
    """

    decimal: str = ""
    thousands: str = ""

    def read_decimal(self, text: str) -> Decimal:
        """Return the number in `text`, with the same number of decimal places.

        Raises:
            ValueError: it is not written in this form.
        """
        whole, mark, fraction = text.partition(self.decimal) if self.decimal else (text, "", "")
        if mark and not (_DIGITS.fullmatch(fraction) and len(fraction) <= _MOST_DIGITS):
            raise ValueError(self._rule("a number"))
        return Decimal(self._digits_of(whole, "a number") + ("." + fraction if mark else ""))

    def read_integer(self, text: str) -> int:
        """Return the whole number in `text`.

        Raises:
            ValueError: it is not written in this form.
        """
        return int(self._digits_of(text, "a whole number"))

    def _digits_of(self, text: str, what: str) -> str:
        digits = text.removeprefix("-")
        if not _DIGITS.fullmatch(digits):
            first, *groups = digits.split(self.thousands) if self.thousands else [""]
            grouped = groups and all(len(group) == _GROUP for group in groups)
            digits = "".join((first, *groups))
            if not grouped or not 1 <= len(first) <= _GROUP or not _DIGITS.fullmatch(digits):
                raise ValueError(self._rule(what))
        if len(digits) > _MOST_DIGITS:
            raise ValueError(f"{what} of more than {_MOST_DIGITS} digits")
        return ("-" if text.startswith("-") else "") + digits

    def _rule(self, what: str) -> str:
        marks = [
            f"{name} mark {mark!r}"
            for name, mark in (("decimal", self.decimal), ("thousands", self.thousands))
            if mark
        ]
        return f"not {what} with {' and '.join(marks)}" if marks else f"not {what} in plain digits"
