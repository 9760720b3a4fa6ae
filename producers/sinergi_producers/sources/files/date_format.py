"""Reads dates by formats with the directives of strptime, strictly and without a locale.

Python's strptime reads `1112020` by `%d%m%Y` as 11 January, although 1 November is as likely. It
knows only the names of months of the machine's locale. This module reads a number that touches
other digits only at its full width, so a text has exactly one meaning, or it is refused.
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
# The apostrophes in jum'at: that of a typewriter, and those that keyboards, fonts and converters
# write instead. Two apostrophes are one that was escaped.
_APOSTROPHES = (
    "'`\u00b4\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u02ca\u02cb\u2018\u2019\u201b\u2032\u2035"
    "\ua78b\ua78c\uff07"
)
_NOT_LETTERS = re.compile("[^a-z]")

_DIRECTIVE = re.compile(r"%(.?)|[^%]+", re.DOTALL)
# The part of a date that a directive stands for, and two patterns of its text: one for a place
# without neighbouring digits, one for a place that touches other digits.
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
    **{letter: part for letter, (part, _, _) in _NUMBERS.items()},
    **_NAMES,
    "p": _HALF,
    "z": _OFFSET,
}
_OFFSETS = (
    r"Z|[+-][0-9]{2}(?::[0-9]{2}(?::[0-9]{2})?|[0-9]{2}(?:[0-9]{2})?)?",
    r"Z|[+-][0-9]{4}|[+-][0-9]{2}:[0-9]{2}",
)
_LETTERS_OF_SPREADSHEETS = re.compile(
    "(?<![a-z])(d{1,2}|m{1,4}|y{2,4}|h{1,2}|s{1,2})(?![a-z])", re.IGNORECASE
)
_OF_SPREADSHEETS = {
    "d": "%d",
    "m": "%m",
    "mmm": "%b",
    "mmmm": "%B",
    "yy": "%y",
    "y": "%Y",
    "h": "%H",
    "minute": "%M",
    "s": "%S",
}
_NEEDS = (("minute", "hour"), ("second", "minute"), ("fraction", "second"))
_HOURS_OF_HALF = 12
_FIRST_OF_LAST_CENTURY = 69  # POSIX: 69 to 99 are 1969 to 1999, 00 to 68 are 2000 to 2068
_MICROSECOND_DIGITS = 6


def problems(text: str) -> Iterator[str]:
    """Yield why a format is not supported. Each text follows the name of the format."""
    if "%" not in text and (written := _as_directives(text)):
        yield f"has no directives: write {written}"
        return
    letters = [letter for letter, _ in _pieces(text) if letter is not None]
    unsupported = [f"%{letter}" for letter in letters if letter not in _PARTS]
    if unsupported:
        yield f"{' '.join(unsupported)} is not supported"
    parts = [_PARTS[letter] for letter in letters if letter in _PARTS]
    for part in ("year", "month", "day"):
        if part not in parts:
            yield f"has no {part}"
    for part in dict.fromkeys(parts):
        if parts.count(part) > 1:
            yield f"has the {part} twice"
    for part, needed in _NEEDS:
        if part in parts and needed not in parts:
            yield f"has the {part} without the {needed}"
    if ("I" in letters) != ("p" in letters):
        yield "%I and %p go together; %H counts to 24"


def _as_directives(text: str) -> str | None:
    """Return a format of a spreadsheet, such as dd/mm/yyyy, in directives; None if it is none."""
    before = ""

    def directive(found: re.Match[str]) -> str:
        nonlocal before
        letters = found[0].lower()
        kind = letters[0]
        if kind == "m" and before == "h":
            kind = "minute"
        before = kind
        return _OF_SPREADSHEETS.get(letters) or _OF_SPREADSHEETS[kind]

    written = _LETTERS_OF_SPREADSHEETS.sub(directive, text)
    found = {found[0] for found in re.findall(r"(?<=%)([a-zA-Z])", written)}
    return written if {"d", "Y"} & found and {"m", "b", "B"} & found else None


class DateRead(NamedTuple):
    """A date that was read.

    Attributes:
        at: date and time; aware if the text has an offset.
        weekday_fits: False if the text names another weekday than that of the date.
    """

    at: datetime
    weekday_fits: bool


@dataclass(frozen=True, slots=True)
class DateFormat:
    """One format that has no `problems`.

    Attributes:
        text: the format as it is written.
        is_timed: whether the format has an hour.
    """

    text: str
    is_timed: bool
    _pattern: re.Pattern[str]
    _months: Mapping[str, int]
    _weekdays: Mapping[str, int]

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, text: str, *, indonesian: bool = False) -> DateFormat:
        """Compile a format. It reads English names, and also Indonesian ones if `indonesian`."""
        months, weekdays = _named(_MONTHS_ENGLISH), _named(_WEEKDAYS_ENGLISH)
        if indonesian:
            months = months | _named(_MONTHS_INDONESIAN)
            weekdays = weekdays | _named(_WEEKDAYS_INDONESIAN)
        names = {"month": _any_of(months), "weekday": _any_of(weekdays)}
        pattern = re.compile("".join(_patterns(text, names)), re.IGNORECASE | re.ASCII)
        return cls(text, "hour" in pattern.groupindex, pattern, months, weekdays)

    def read(self, text: str) -> DateRead | None:
        """Return the date and time of a text in this format; None if it is not in this format.

        Digits after the microsecond are left out: the contract has no finer time.
        """
        matched = self._pattern.fullmatch(" ".join(text.split()))
        if matched is None:
            return None
        parts = {part: text for part, text in matched.groupdict().items() if text is not None}
        try:
            found = self._moment(parts)
        except ValueError:
            return None
        weekday = parts.get("weekday")
        fits = weekday is None or self._weekdays[_letters(weekday)] == found.isoweekday()
        return DateRead(found, weekday_fits=fits)

    def _moment(self, parts: Mapping[str, str]) -> datetime:
        month = parts["month"]
        return datetime(
            _year(parts["year"]),
            int(month) if month.isdigit() else self._months[_letters(month)],
            int(parts["day"]),
            _hour(parts.get("hour", "0"), parts.get(_HALF)),
            int(parts.get("minute", "0")),
            int(parts.get("second", "0")),
            int(parts.get("fraction", "")[:_MICROSECOND_DIGITS].ljust(_MICROSECOND_DIGITS, "0")),
            _offset(parts[_OFFSET]) if _OFFSET in parts else None,
        )


def _pieces(text: str) -> Iterator[tuple[str | None, str]]:
    """Yield the letters of a format's directives, and with None the text between them."""
    for found in _DIRECTIVE.finditer(" ".join(text.split())):
        letter = found[1]
        yield (None, found[0]) if letter is None else (None, "%") if letter == "%" else (letter, "")


def _patterns(text: str, names: Mapping[str, str]) -> Iterator[str]:
    pieces = list(_pieces(text))
    around = [_digits_at(None, ""), *(_digits_at(*piece) for piece in pieces), _digits_at(None, "")]
    for place, (letter, literal) in enumerate(pieces):
        (_, before), (behind, _) = around[place], around[place + 2]
        if letter is None:
            yield re.escape(literal)
        elif letter in _NUMBERS:
            part, free, full = _NUMBERS[letter]
            # A fraction may have any length if digits only precede it.
            touches = behind if letter == "f" else before or behind
            yield f"(?P<{part}>{full if touches else free})"
        elif letter in _NAMES:
            yield f"(?P<{_NAMES[letter]}>{names[_NAMES[letter]]})"
        elif letter == "p":
            yield f"(?P<{_HALF}>am|pm)"
        else:
            yield f"(?P<{_OFFSET}>{_OFFSETS[behind]})"


def _digits_at(letter: str | None, literal: str) -> tuple[bool, bool]:
    """Return whether a piece begins with digits, and whether it ends with digits."""
    if letter is None:
        return literal[:1].isdigit(), literal[-1:].isdigit()
    return letter in _NUMBERS, letter in _NUMBERS or letter == "z"


def _named(names: tuple[str, ...]) -> dict[str, int]:
    """Return the number of each name, from 1."""
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
        raise ValueError("an hour with am or pm is 1 to 12")
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
