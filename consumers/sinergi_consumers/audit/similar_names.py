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
from dataclasses import dataclass
from functools import cached_property

from rapidfuzz.distance import OSA

_OLD_SPELLINGS = (("tj", "c"), ("dj", "j"), ("oe", "u"), ("nj", "ny"), ("sj", "sy"), ("ch", "kh"))
_SEPARATOR = re.compile(r"[^\w]+|_+")
_ONE_ERROR_FROM, _TWO_ERRORS_FROM = 4, 8


@dataclass(frozen=True)
class SimilarName:
    """A name that is looked for in any spelling."""

    name: str

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Its words as they are compared; none if it has no letter or digit."""
        return words_of(self.name)

    def matches(self, other: str) -> bool:
        """Whether another name may be this one."""
        left = [*words_of(other)]
        # The longest words first: an initial fits many words, and must not take one of theirs.
        for word in sorted(self.words, key=len, reverse=True):
            found = min(
                (each for each in left if is_similar(word, each)),
                key=lambda each: (word != each, -len(each)),
                default=None,
            )
            if found is None:
                return False
            left.remove(found)
        return bool(self.words)


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
