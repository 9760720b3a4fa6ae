"""Finds columns of long numbers that a spreadsheet has rounded: nearly all of them end in 0.

A spreadsheet keeps 15 digits of a number. If it opens and saves a file of NIKs, which have 16
digits, the last digit of each becomes 0: the true digit is lost, and the result may be the NIK of
another person. A single number does not show this, but a column does: only one in ten of the
original NIKs ends in 0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONG = re.compile("[0-9]{16}")
_LEAST = 3  # different numbers: fewer do not show anything
_ENOUGH = 1_000
_NEARLY_ALL = 0.9


class LongNumbers:
    """Collects the first different numbers of 16 digits of each column.

    Args:
        places: the index of each column.
    """

    def __init__(self, places: Mapping[str, int]) -> None:
        self._places = places
        self._found: dict[str, set[str]] = {name: set() for name in places}

    def add(self, cells: Sequence[str]) -> None:
        """Collect the numbers of one row; a row that could not be read has no cells."""
        if not cells:
            return
        for name, found in self._found.items():
            cell = cells[self._places[name]]
            if len(found) < _ENOUGH and _LONG.fullmatch(cell):
                found.add(cell)

    def rounded(self) -> tuple[str, ...]:
        """Return the columns in which nearly all numbers end in 0."""
        return tuple(name for name, found in self._found.items() if _is_rounded(found))


def may_be_rounded(cell: str) -> bool:
    """Whether a cell of such a column holds a number that may have been rounded."""
    return bool(_LONG.fullmatch(cell)) and cell.endswith("0")


def _is_rounded(numbers: set[str]) -> bool:
    zeros = sum(each.endswith("0") for each in numbers)
    return len(numbers) >= _LEAST and zeros >= _NEARLY_ALL * len(numbers)
