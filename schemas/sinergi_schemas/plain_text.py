r"""Foreign text, escaped so that a terminal can print it on one line.

A value of an event, a file name, a table name or a broker's message may contain escape sequences
for terminals, controls that change the direction of writing, line ends, or invisible characters.
Each such character becomes its JSON escape (`\u001b`). So one line stays one line, different values
look different, and JSON keeps its meaning. Other text is unchanged.

If the encoding of an output lacks a character, the character becomes the same escape. Typographic
characters of Sinergi's own texts become ASCII characters.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Unicode's categories Cc, Cf, Cs, Co, Zl, Zp and Zs, without the space, and the other code points
# that are invisible (Default_Ignorable_Code_Point). They are listed, so that the set is the same in
# all Python versions and in polars, which does not accept surrogates.
_INVISIBLE = (
    r"\x00-\x1f\x7f-\xa0\xad"
    r"\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5"
    r"\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164"
    r"\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U0010ffff"
)
_ESCAPED_CHARACTERS = re.compile(rf"[{_INVISIBLE}\ud800-\udfff]")
_ESCAPED_IN_LINES = re.compile(rf"(?!\n)[{_INVISIBLE}\ud800-\udfff]")
_NOT_STORABLE = re.compile(r"[\0\ud800-\udfff]")

# The same set for polars: a column without a match needs no escaping.
PATTERN = "[" + re.sub(r"\\[uU]([0-9a-f]+)", r"\\x{\1}", _INVISIBLE) + "]"

# The limits of a listing in an error.
_MOST_NAMES = 5
_MOST_LINES = 50
_MOST_CHARACTERS = 1_000

# The name of the error handler for encoders: `text.encode("ascii", ENCODING_ERRORS)`.
ENCODING_ERRORS = "sinergi-escape"

_ASCII = {"…": "...", "→": "->", "·": "-", "–": "-", "—": "-", "─": "-", "✓": "+", "✗": "x"}


def plain(text: str) -> str:
    """Escape line ends, terminal controls and invisible characters."""
    return _ESCAPED_CHARACTERS.sub(_escaped, text)


def plain_lines(text: str) -> str:
    """The same for text with several lines: it keeps line feeds."""
    return _ESCAPED_IN_LINES.sub(_escaped, text)


def is_text(text: str) -> bool:
    """Whether a database, a broker and a file can store the text.

    They cannot store NUL, which ends strings in C, or a lone surrogate, which Python puts in place
    of a byte that is not UTF-8 in an argument or environment variable.
    """
    return _NOT_STORABLE.search(text) is None


def has_words(text: str) -> bool:
    """Whether the text has a letter or a digit, so that it can say something."""
    return any(map(str.isalnum, text))


def encodable(text: str, encoding: str) -> str:
    """The text with escapes for the characters that an encoding lacks."""
    return text.encode(encoding, ENCODING_ERRORS).decode(encoding)


def listing(lines: Iterable[object]) -> str:
    """The lines after the first line of an error: each escaped and indented.

    It shows at most 50 lines and the number of further ones, and at most 1,000 characters per line.
    """
    shown: list[str] = []
    left = 0
    for each in lines:
        if len(shown) == _MOST_LINES:
            left += 1
        else:
            shown.append(plain(shortened(str(each))))
    if left:
        shown.append(f"and {left:,} more")
    return "".join(f"\n  {each}" for each in shown)


def shortened(line: str) -> str:
    """The first 1,000 characters of a line."""
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"


def first_sentence(text: str) -> str:
    """What a text says before its second sentence, without the full stop."""
    return text.partition(". ")[0].removesuffix(".")


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 leaf`, `1,200 leaves`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def some(names: Iterable[str], separator: str = "; ", most: int = _MOST_NAMES) -> str:
    """The first names, by default five, and how many others there are."""
    every = list(names)
    shown = every[:most]
    more = len(every) - len(shown)
    return separator.join([*shown, f"and {more:,} more"] if more else shown)


def leaf_range(start: int, end: int) -> str:
    """A range of leaves with its last one, as `--leaf` takes it: `leaf 3`, `leaves 3 to 19`.

    Args:
        end: the leaf after the last one.
    """
    return f"leaf {start}" if end == start + 1 else f"leaves {start} to {end - 1}"


def _escaped(found: re.Match[str]) -> str:
    return _escape(found[0])


def _escape(character: str) -> str:
    code = ord(character)
    if code > 0xFFFF:  # JSON writes it as a pair of surrogates
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return f"\\u{code:04x}"


def _replaced(why: UnicodeError) -> tuple[str, int]:
    if not isinstance(why, UnicodeEncodeError):
        raise why
    found = why.object[why.start : why.end]
    return "".join(_ASCII.get(each) or _escape(each) for each in found), why.end


codecs.register_error(ENCODING_ERRORS, _replaced)
