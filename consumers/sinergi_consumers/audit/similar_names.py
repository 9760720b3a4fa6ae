"""Whether two names may be the same name in two spellings.

The comparison finds more than an exact one, and never less. It is for searching: whoever searches
looks at what was found. Two names are similar if each word of the wanted one is similar to another
word of the found one, in any order. Two words are similar if they are equal after these steps, or
if one of them is the initial of the other:

- Upper and lower case, accents and punctuation are ignored (Unicode NFKD).
- The spellings of before 1972 (van Ophuijsen, Soewandi) are read as today's: `tj` is `c`, `dj` is
  `j`, `oe` is `u`, `nj` is `ny`, `sj` is `sy`, `ch` is `kh`.
- From four letters on, one letter may be wrong, missing or too many, or two neighbours exchanged;
  from eight letters on, two (optimal string alignment).
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rapidfuzz.distance import OSA

if TYPE_CHECKING:
    from collections.abc import Sequence

_OLD_SPELLINGS = (("tj", "c"), ("dj", "j"), ("oe", "u"), ("nj", "ny"), ("sj", "sy"), ("ch", "kh"))
_SEPARATOR = re.compile(r"[^\w]+|_+")
_ONE_ERROR_FROM, _TWO_ERRORS_FROM = 4, 8


@dataclass(frozen=True)
class SimilarName:
    """A name that is looked for in the spellings that the module tolerates."""

    name: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its words as they are compared; none if it has no letter or digit."""
        return words_of(self.name)

    def matches(self, other: str) -> bool:
        """Whether another name may be this one."""
        words, found = self.words, words_of(other)
        if not words or len(words) > len(found):
            return False
        return _has_assignment(
            [[at for at, each in enumerate(found) if is_similar(word, each)] for word in words]
        )


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name as they are compared."""
    # Some small letters, as the Turkish dotless i, are found only by way of their capitals.
    apart = unicodedata.normalize("NFKD", name).upper().casefold()
    plain = "".join(each for each in apart if not unicodedata.combining(each))
    # An apostrophe stands inside a word: Ma'ruf.
    words = _SEPARATOR.split(re.sub(r"['\u2019`]", "", plain))
    return tuple(_of_today(each) for each in words if each)


def is_similar(one: str, other: str) -> bool:
    """Whether two words, as `words_of` gives them, may be the same word."""
    shorter = min(len(one), len(other))
    if shorter == 1:
        return one[0] == other[0]
    errors = (shorter >= _ONE_ERROR_FROM) + (shorter >= _TWO_ERRORS_FROM)
    return one == other or OSA.distance(one, other, score_cutoff=errors) <= errors


def _of_today(word: str) -> str:
    for old, new in _OLD_SPELLINGS:
        word = word.replace(old, new)
    return word


def _has_assignment(choices: Sequence[Sequence[int]]) -> bool:
    """Whether each chooser can have a choice that no other one has (maximum bipartite matching).

    Args:
        choices: of each chooser.
    """
    chooser_of: dict[int, int] = {}
    choice_of: dict[int, int] = {}
    for new in range(len(choices)):
        # Breadth-first search of an augmenting path (Kuhn): those who have a choice that the new
        # one needs may change to another.
        reached_by: dict[int, int] = {}
        left, free = deque([new]), None
        while left and free is None:
            chooser = left.popleft()
            for choice in choices[chooser]:
                if choice in reached_by:
                    continue
                reached_by[choice] = chooser
                if choice not in chooser_of:
                    free = choice
                    break
                left.append(chooser_of[choice])
        if free is None:
            return False
        step: int | None = free
        while step is not None:
            chooser = reached_by[step]
            chooser_of[step] = chooser
            before = choice_of.get(chooser)
            choice_of[chooser] = step
            step = before
    return True
