"""Hints at the nearest of some known names, for a name that is none of them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from sinergi_schemas.plain_text import some

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_COMPARED = 100
_MOST_SHOWN = 20
_LONGEST_NAME = 100


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest of the known names, else a list of them."""
    names = sorted(known)
    if near := near_name(name, names):
        return f"did you mean {near}?"
    if not names:
        return "there is none to choose from"
    return f"known are {some(names, ', ', _MOST_SHOWN)}"


def near_name(name: str, known: Iterable[str]) -> str | None:
    """The nearest of the known names, or None if all are too different.

    Upper and lower case do not count: who writes TRANSFER for transfer has misspelt no letter.
    Comparing two names takes time in proportion to the product of their lengths. So only names of
    an ordinary length are compared, and only the first of many.
    """
    if len(name) > _LONGEST_NAME:
        return None
    compared = [each for each in sorted(known)[:_MOST_COMPARED] if len(each) <= _LONGEST_NAME]
    folded = {each.casefold(): each for each in compared}
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None
