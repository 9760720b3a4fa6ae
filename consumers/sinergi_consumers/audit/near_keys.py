"""The keys nearest to one that was asked for, for a hint where no event has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rapidfuzz import process
from rapidfuzz.distance import OSA

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_schemas.message import Message

_FEW = 3
_LONGEST = 200
_LEAST_SIMILARITY = 0.6


def keep_nearest(kept: list[str], wanted: str, messages: Iterable[Message]) -> None:
    """Keep the few keys that are nearest to the wanted one, the nearest first.

    Once the wanted one itself was read, nobody needs a hint: it alone is kept, and no further key
    is compared.

    Args:
        kept: of the messages before; it is changed.
        messages: whose keys are compared.
    """
    if len(wanted) > _LONGEST or kept == [wanted]:
        return
    keys = dict.fromkeys(each.key for each in messages if len(each.key) <= _LONGEST)
    if wanted.encode() in keys:
        kept[:] = [wanted]
        return
    texts = dict.fromkeys([*kept, *(each.decode(errors="replace") for each in keys)])
    found = process.extract(
        wanted,
        list(texts),
        scorer=OSA.normalized_similarity,
        score_cutoff=_LEAST_SIMILARITY,
        limit=_FEW,
    )
    kept[:] = [text for text, *_ in found]
