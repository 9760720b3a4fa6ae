"""Formats of dates, in the directives of strptime, read strictly and without a locale.

strptime takes `1112020` as `%d%m%Y` for 11 January where 1 November is as likely, and knows only
the names of months that the machine's locale has. Here digits that touch other digits are read at
their full width only, so that a text has one reading or none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MONTHS_ENGLISH = (
    "january jan",
    "february feb",
    "march mar",
    "april apr",
    "may",
    "june jun",
    "july jul",
    "august aug",
    "september sept sep",
    "october oct",
    "november nov",
    "december dec",
)
_MONTHS_INDONESIAN = (
    "januari",
    "februari pebruari febr pebr peb",
    "maret mrt",
    "",
    "mei",
    "juni",
    "juli",
    "agustus agust agst agt agu ags",
    "",
    "oktober okt",
    "nopember nop",
    "desember des",
)
_WEEKDAYS_ENGLISH = (
    "monday mon",
    "tuesday tue",
    "wednesday wed",
    "thursday thu",
    "friday fri",
    "saturday sat",
    "sunday sun",
)
_WEEKDAYS_INDONESIAN = (
    "senin sen",
    "selasa sel",
    "rabu rab",
    "kamis kam",
    "jumat jum",
    "sabtu sab",
    "minggu ahad min",
)
# What stands in jum'at: the typewriter's apostrophe, and what keyboards, fonts and converters make
# of it. Two of them are one that was escaped.
_APOSTROPHES = (
    "'`\u00b4\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u02ca\u02cb\u2018\u2019\u201b\u2032\u2035"
    "\ua78b\ua78c\uff07"
)
_NOT_LETTERS = re.compile("[^a-z]")

_DIRECTIVE = re.compile(r"%(.?)|[^%]+", re.DOTALL)
# The part of a date that a directive says, and what it says it in: first where something else than
# a digit stands around it, then where a digit does.
_NUMBERS = {
    "d": ("day", " ?[0-9]|[0-9]{2}", "[0-9]{2}"),
    "m": ("month", "[0-9]{1,2}", "[0-9]{2}"),
    "y": ("year", "[0-9]{2}", "[0-9]{2}"),
    "Y": ("year", "[0-9]{4}", "[0-9]{4}"),
    "H": ("hour", "[0-9]{1,2}", "[0-9]{2}"),
    "I": ("hour", "[0-9]{1,2}", "[0-9]{2}"),
    "M": ("minute", "[0-9]{1,2}", "[0-9]{2}"),
    "S": ("second", "[0-9]{1,2}", "[0-9]{2}"),
    "f": ("fraction", "[0-9]{1,9}", "[0-9]{6}"),
}
_NAMES = {"a": "weekday", "A": "weekday", "b": "month", "B": "month"}
_HALF, _OFFSET = "half", "offset"
_PARTS = {
    **{sign: part for sign, (part, _, _) in _NUMBERS.items()},
    **_NAMES,
    "p": _HALF,
    "z": _OFFSET,
}
_OFFSETS = (
    r"Z|[+-][0-9]{2}(?::[0-9]{2}(?::[0-9]{2})?|[0-9]{2}(?:[0-9]{2})?)?",
    r"Z|[+-][0-9]{4}|[+-][0-9]{2}:[0-9]{2}",
)
_NEEDS = (("minute", "hour"), ("second", "minute"), ("fraction", "second"))
_HOURS_OF_HALF = 12
_FIRST_OF_LAST_CENTURY = 69  # POSIX: 69 to 99 are of the 20th century, 00 to 68 of the 21st
_MICROSECOND_DIGITS = 6


def problems(text: str) -> Iterator[str]:
    """What keeps a format from being read here, each as what follows on its name."""
    signs = [sign for sign, _ in _pieces(text) if sign is not None]
    strange = [f"%{sign}" for sign in signs if sign not in _PARTS]
    if strange:
        yield f"{' '.join(strange)} is not read here"
    parts = [_PARTS[sign] for sign in signs if sign in _PARTS]
    for part in ("year", "month", "day"):
        if part not in parts:
            yield f"does not say the {part}"
    for part in dict.fromkeys(parts):
        if parts.count(part) > 1:
            yield f"says the {part} twice"
    for part, needed in _NEEDS:
        if part in parts and needed not in parts:
            yield f"says the {part} without the {needed}"
    if ("I" in signs) != ("p" in signs):
        yield "%I and %p go together; %H counts to 24"


class DateRead(NamedTuple):
    """A date as a text says it, aware if the text has an offset; and whether its weekday fits."""

    at: datetime
    weekday_fits: bool


@dataclass(frozen=True, slots=True)
class DateFormat:
    """One format that has no `problems`.

    Attributes:
        text: as it is written.
        is_timed: whether it says the hour.
    """

    text: str
    is_timed: bool
    _pattern: re.Pattern[str]
    _months: Mapping[str, int]
    _weekdays: Mapping[str, int]

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, text: str, *, indonesian: bool = False) -> DateFormat:
        """A format, with the names of months and weekdays in English or in Indonesian too."""
        months, weekdays = _named(_MONTHS_ENGLISH), _named(_WEEKDAYS_ENGLISH)
        if indonesian:
            months = months | _named(_MONTHS_INDONESIAN)
            weekdays = weekdays | _named(_WEEKDAYS_INDONESIAN)
        names = {"month": _any_of(months), "weekday": _any_of(weekdays)}
        pattern = re.compile("".join(_patterns(text, names)), re.IGNORECASE | re.ASCII)
        return cls(text, "hour" in pattern.groupindex, pattern, months, weekdays)

    def read(self, text: str) -> DateRead | None:
        """The date and time that a text of this format says; None if it is of another.

        Digits behind the microsecond are left out: the contract holds no shorter time.
        """
        matched = self._pattern.fullmatch(" ".join(text.split()))
        if matched is None:
            return None
        said = {part: text for part, text in matched.groupdict().items() if text is not None}
        try:
            found = self._moment(said)
        except ValueError:
            return None
        weekday = said.get("weekday")
        fits = weekday is None or self._weekdays[_letters(weekday)] == found.isoweekday()
        return DateRead(found, weekday_fits=fits)

    def _moment(self, said: Mapping[str, str]) -> datetime:
        month = said["month"]
        return datetime(
            _year(said["year"]),
            int(month) if month.isdigit() else self._months[_letters(month)],
            int(said["day"]),
            _hour(said.get("hour", "0"), said.get(_HALF)),
            int(said.get("minute", "0")),
            int(said.get("second", "0")),
            int(said.get("fraction", "")[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0")),
            _offset(said[_OFFSET]) if _OFFSET in said else None,
        )


def _pieces(text: str) -> Iterator[tuple[str | None, str]]:
    """The directives of a format by their signs, and with None the text between them."""
    for found in _DIRECTIVE.finditer(" ".join(text.split())):
        sign = found[1]
        yield (None, found[0]) if sign is None else (None, "%") if sign == "%" else (sign, "")


def _patterns(text: str, names: Mapping[str, str]) -> Iterator[str]:
    pieces = list(_pieces(text))
    around = [_digits_at(None, ""), *(_digits_at(*piece) for piece in pieces), _digits_at(None, "")]
    for place, (sign, literal) in enumerate(pieces):
        (_, before), (behind, _) = around[place], around[place + 2]
        if sign is None:
            yield re.escape(literal)
        elif sign in _NUMBERS:
            part, free, full = _NUMBERS[sign]
            # A fraction may be of any length where only what stands before it are digits.
            touches = behind if sign == "f" else before or behind
            yield f"(?P<{part}>{full if touches else free})"
        elif sign in _NAMES:
            yield f"(?P<{_NAMES[sign]}>{names[_NAMES[sign]]})"
        elif sign == "p":
            yield f"(?P<{_HALF}>am|pm)"
        else:
            yield f"(?P<{_OFFSET}>{_OFFSETS[behind]})"


def _digits_at(sign: str | None, literal: str) -> tuple[bool, bool]:
    """Whether a piece begins and ends with digits."""
    if sign is None:
        return literal[:1].isdigit(), literal[-1:].isdigit()
    return sign in _NUMBERS, sign in _NUMBERS or sign == "z"


def _named(names: tuple[str, ...]) -> dict[str, int]:
    """The number of each name, from 1 on."""
    return {name: number for number, all_of in enumerate(names, 1) for name in all_of.split()}


def _any_of(names: Mapping[str, int]) -> str:
    longest_first = sorted(names, key=len, reverse=True)
    friday = f"jum[{re.escape(_APOSTROPHES)}]{{0,2}}at"
    return "|".join(friday if name == "jumat" else name for name in longest_first)


def _letters(name: str) -> str:
    return _NOT_LETTERS.sub("", name.lower())


def _year(text: str) -> int:
    number = int(text)
    if len(text) > 2:
        return number
    return number + (1900 if number >= _FIRST_OF_LAST_CENTURY else 2000)


def _hour(text: str, half: str | None) -> int:
    number = int(text)
    if half is None:
        return number
    if not 1 <= number <= _HOURS_OF_HALF:
        raise ValueError("an hour of a half day is 1 to 12")
    return number % _HOURS_OF_HALF + (_HOURS_OF_HALF if half.lower() == "pm" else 0)


def _offset(text: str) -> timezone:
    if text in "zZ":
        return UTC
    digits = text[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = (int(digits[at : at + 2]) for at in (0, 2, 4))
    if max(minutes, seconds) >= 60:
        raise ValueError("an offset has up to 59 minutes and seconds")
    ahead = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return timezone(-ahead if text.startswith("-") else ahead)
