"""The physical lines of a text file: counted, bounded in length, and able to be read again.

A line is what ends with a line feed, counted from 1 as an editor and `sed -n` count it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

LIMIT = 1 << 20  # characters of one row; an event takes a quarter of it at most


class TextLine(NamedTuple):
    """One line.

    Attributes:
        text: its first `LIMIT` characters, the line feed included.
        quotes: how many quote characters the whole line holds.
        is_cut: whether it is longer than that.
    """

    text: str
    quotes: int
    is_cut: bool


class Lines:
    """Reads lines one by one.

    Args:
        text: an open file that ends lines with line feeds only.
        quote: the character whose number in each line is counted; "" for none.
    """

    def __init__(self, text: TextIO, quote: str) -> None:
        self._text = text
        self._quote = quote
        self._given_back: deque[TextLine] = deque()
        self.number = 0

    def next(self) -> TextLine | None:
        """The next line, or None at the end; `number` is then its number."""
        line = self._given_back.popleft() if self._given_back else self._read()
        if line is not None:
            self.number += 1
        return line

    def give_back(self, lines: Iterable[TextLine]) -> None:
        """Let the newest lines, given in their order, be read again."""
        again = list(lines)
        self._given_back.extendleft(reversed(again))
        self.number -= len(again)

    def _read(self) -> TextLine | None:
        text = self._text.readline(LIMIT)
        if not text:
            return None
        quotes = self._quotes(text)
        is_cut, end = False, text
        while len(end) == LIMIT and not end.endswith("\n"):
            end = self._text.readline(LIMIT)
            is_cut = is_cut or bool(end)
            quotes += self._quotes(end)
        return TextLine(text, quotes, is_cut)

    def _quotes(self, text: str) -> int:
        return text.count(self._quote) if self._quote else 0
