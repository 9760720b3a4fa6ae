"""Limits of TOML files, checked before and after tomllib parses one.

An agreement of hundreds of parties has some hundred kilobytes.

tomllib raises RecursionError if lists or tables are nested deeply, and its time grows with the
square of the number of parts of a key. One pass over the tokens of the file finds both. Python's
integers have no limit, and one of thousands of digits cannot even be written into an error message.
The TOML specification asks for 64 bits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 256 * 1024
_MOST_LEVELS = 16
_MOST_PARTS = 16
_MOST_CHARACTERS = 1_000
_INTEGERS = range(-(2**63), 2**63)

# Every repetition is possessive, and no alternative fails after its first characters. So the time
# is linear in the size of every file.
_PART = r"""(?: [A-Za-z0-9_-]++ | "(?:[^"\\\n]|\\[^\n])*+"? | '[^'\n]*+'? )"""
_TOKEN = re.compile(
    rf"""
      \#[^\n]*+
    | "{{3}} (?: [^"\\] | \\. | "(?!"") )*+ "{{0,5}}
    | '{{3}} (?: [^'] | '(?!'') )*+ '{{0,5}}
    | (?P<dotted> {_PART} (?: [ \t]*+ \. [ \t]*+ {_PART} )*+ )
    | (?P<opening> [\[{{] )
    | (?P<closing> [\]}}] )
    """,
    re.VERBOSE | re.DOTALL,
)
_PARTS = re.compile(_PART, re.VERBOSE)


def check_text(text: str) -> None:
    """Check that the text of a file can be parsed in linear time.

    Raises:
        ValueError: lists and tables are nested too deeply, or a key or number is too long; the
            message names the line.
    """
    level = 0
    for found in _TOKEN.finditer(text):
        if found.lastgroup == "opening":
            level += 1
            if level > _MOST_LEVELS:
                what = f"nests more than {_MOST_LEVELS} lists and tables"
                _refuse(text, found, f"{what}; write fewer")
        elif found.lastgroup == "closing":
            level -= 1
        elif found.lastgroup == "dotted":
            _check_dotted(text, found)


def _check_dotted(text: str, found: re.Match[str]) -> None:
    """Check a dotted key, which may also be a number, a date or a piece of text on one line."""
    if len(found[0]) > _MOST_CHARACTERS and found[0][0] not in "\"'":
        what = f"holds a key or a number of more than {_MOST_CHARACTERS:,} characters"
        _refuse(text, found, f"{what}; write a shorter one")
    if found[0].count(".") >= _MOST_PARTS and len(_PARTS.findall(found[0])) > _MOST_PARTS:
        _refuse(text, found, f"holds a key of more than {_MOST_PARTS} parts; write fewer")


def _refuse(text: str, found: re.Match[str], what: str) -> None:
    line = text.count("\n", 0, found.start()) + 1
    raise ValueError(f"line {line} {what}")


def check_values(document: dict[str, Any]) -> None:
    """Check the depth and the integers of a parsed document.

    Raises:
        ValueError: tables are nested too deeply, or an integer has more than 64 bits; the message
            names the key.
    """
    for key, level, value in _values(document):
        if level > _MOST_LEVELS:
            what = f"lies below more than {_MOST_LEVELS} lists and tables; write fewer"
            raise ValueError(f"{_dotted(key)}: {what}")
        if isinstance(value, int) and value not in _INTEGERS:
            what = "is a number of more than 64 bits; write a smaller one"
            raise ValueError(f"{_dotted(key)}: {what}")


_Key = tuple[Any, str | int] | None


def _values(document: dict[str, Any]) -> Iterator[tuple[_Key, int, object]]:
    """All values with their keys and levels; each key links to the key above it."""
    left: list[tuple[_Key, int, object]] = [(None, 0, document)]
    while left:
        key, level, value = left.pop()
        yield key, level, value
        if isinstance(value, dict):
            left += (((key, name), level + 1, each) for name, each in value.items())
        elif isinstance(value, list):
            left += (((key, place), level + 1, each) for place, each in enumerate(value))


def _dotted(key: _Key) -> str:
    parts: list[str] = []
    while key:
        key, part = key
        parts.append(f" item {part + 1}" if isinstance(part, int) else f".{part}")
    return "".join(reversed(parts)).removeprefix(".")
