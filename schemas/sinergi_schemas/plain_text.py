r"""Text that comes from somewhere else, made fit for one line on a terminal.

A value of an event, a file name, a table's name or a broker's message may hold escape sequences
that a terminal obeys, controls that turn the direction of writing, line ends, or characters that
nobody sees. Each of them is shown as its JSON escape (`\u001b`), so that a line stays one line,
two values that differ look different, and JSON stays the same JSON. Other text stays as it is.

Where an output has an encoding that lacks a character, the same escape stands for it; our own
typographic signs become ASCII ones.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Unicode's categories Cc, Cf, Cs, Co, Zl, Zp and Zs, without the space, and the other code points
# that are drawn as nothing (Default_Ignorable_Code_Point). Written out, so that every Python and
# polars, which knows no surrogates, agree on it.
_INVISIBLE = (
    r"\x00-\x1f\x7f-\xa0\xad"
    r"\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680\u17b4\u17b5"
    r"\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164"
    r"\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U0010ffff"
)
_UNFIT = re.compile(rf"[{_INVISIBLE}\ud800-\udfff]")
_UNFIT_IN_LINES = re.compile(rf"(?!\n)[{_INVISIBLE}\ud800-\udfff]")
_NO_TEXT = re.compile(r"[\0\ud800-\udfff]")

# The same set for polars: a column in which nothing matches needs no further look.
PATTERN = "[" + re.sub(r"\\[uU]([0-9a-f]+)", r"\\x{\1}", _INVISIBLE) + "]"

# How much an error lists.
_MOST_LINES = 50
_MOST_CHARACTERS = 1_000

# The name of the error handler for encoders: `text.encode("ascii", ENCODING_ERRORS)`.
ENCODING_ERRORS = "sinergi-escape"

_ASCII = {"…": "...", "→": "->", "·": "-", "–": "-", "—": "-", "─": "-", "✓": "+", "✗": "x"}


def plain(text: str) -> str:
    """The text on one line, without anything that a terminal obeys or that nobody sees."""
    return _UNFIT.sub(_escaped, text)


def plain_lines(text: str) -> str:
    """The same for text of our own that has several lines: line feeds stay."""
    return _UNFIT_IN_LINES.sub(_escaped, text)


def is_text(text: str) -> bool:
    """Whether it is text that a database, a broker and a file can hold.

    A byte that is no UTF-8 stands in an argument or a variable as a lone surrogate; NUL ends the
    texts of C.
    """
    return _NO_TEXT.search(text) is None


def encodable(text: str, encoding: str) -> str:
    """The text as an output of an encoding can show it, with escapes for what it lacks."""
    return text.encode(encoding, ENCODING_ERRORS).decode(encoding)


def listing(lines: Iterable[object]) -> str:
    """What an error lists behind its first line: each plain, on a line of its own.

    A reader mends some dozens at a time: of more than that only the number is told, and of a line
    that never ends only the beginning.
    """
    shown: list[str] = []
    left = 0
    for each in lines:
        if len(shown) == _MOST_LINES:
            left += 1
        else:
            shown.append(plain(_beginning(str(each))))
    if left:
        shown.append(f"and {left:,} more")
    return "".join(f"\n  {each}" for each in shown)


def _beginning(line: str) -> str:
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 leaf`, `1,200 leaves`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _escaped(found: re.Match[str]) -> str:
    return _escape(found[0])


def _escape(character: str) -> str:
    code = ord(character)
    if code > 0xFFFF:  # as JSON writes it: a pair of surrogates
        high, low = divmod(code - 0x10000, 0x400)
        return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
    return f"\\u{code:04x}"


def _replaced(why: UnicodeError) -> tuple[str, int]:
    if not isinstance(why, UnicodeEncodeError):
        raise why
    found = why.object[why.start : why.end]
    return "".join(_ASCII.get(each) or _escape(each) for each in found), why.end


codecs.register_error(ENCODING_ERRORS, _replaced)
