"""The physical lines of a text file: counted, limited in length, and readable again.

A line ends with a line feed. Lines are counted from 1, as editors and `sed -n` count them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

LIMIT = 1 << 20  # characters of one row; an event has at most a quarter of that


class TextLine(NamedTuple):
    """One line.

    Attributes:
        text: the first `LIMIT` characters of the line, the line feed included.
        quotes: the number of quote characters in the whole line.
        is_cut: whether the line is longer than `text`.
    """

    text: str
    quotes: int
    is_cut: bool


class Lines:
    """Reads lines one by one.

    Args:
        text: an open file in which only line feeds end a line.
        quote: the quote character, which is counted in each line; "" for none.
    """

    def __init__(self, text: TextIO, quote: str) -> None:
        self._text = text
        self._quote = quote
        self._given_back: deque[TextLine] = deque()
        self.number = 0

    def next(self) -> TextLine | None:
        """Return the next line, or None at the end. `number` becomes the number of that line."""
        line = self._given_back.popleft() if self._given_back else self._read()
        if line is not None:
            self.number += 1
        return line

    def give_back(self, lines: Iterable[TextLine]) -> None:
        """Put back the newest lines, in their order, so that they are read again."""
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
