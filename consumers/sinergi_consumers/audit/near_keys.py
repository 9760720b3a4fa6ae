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

    Args:
        kept: of the messages before; it is changed.
        messages: whose keys are compared.
    """
    if len(wanted) > _LONGEST:
        return
    keys = {each.key for each in messages if len(each.key) <= _LONGEST}
    texts = {each.decode(errors="replace") for each in keys}
    found = process.extract(
        wanted,
        sorted(texts.union(kept)),
        scorer=OSA.normalized_similarity,
        score_cutoff=_LEAST_SIMILARITY,
        limit=_FEW,
    )
    kept[:] = [text for text, *_ in found]
