"""Long numbers that a spreadsheet has rounded: columns of NIKs that nearly all end in 0.

A spreadsheet keeps 15 digits of a number. It opens a file of NIKs, which have 16, and saves it with
a 0 in the last place of each; what stood there is lost, and the NIK of somebody else may be what is
left. One number does not show it, a column does: of true NIKs one in ten ends in 0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LONG = re.compile("[0-9]{16}")
_LEAST = 3  # numbers that are different from each other: one alone says nothing
_ENOUGH = 1_000
_NEARLY_ALL = 0.9


class LongNumbers:
    """The first different numbers of 16 digits in each of some columns.

    Args:
        places: index of each column.
    """

    def __init__(self, places: Mapping[str, int]) -> None:
        self._places = places
        self._found: dict[str, set[str]] = {name: set() for name in places}

    def add(self, cells: Sequence[str]) -> None:
        """Look at the cells of one row; a row that could not be read has none."""
        if not cells:
            return
        for name, found in self._found.items():
            cell = cells[self._places[name]]
            if len(found) < _ENOUGH and _LONG.fullmatch(cell):
                found.add(cell)

    def rounded(self) -> tuple[str, ...]:
        """The columns in which nearly all of them end in 0."""
        return tuple(name for name, found in self._found.items() if _is_rounded(found))


def _is_rounded(numbers: set[str]) -> bool:
    zeros = sum(each.endswith("0") for each in numbers)
    return len(numbers) >= _LEAST and zeros >= _NEARLY_ALL * len(numbers)
