"""Shares that stand still though more of them lies on the broker, at look after look.

librdkafka (2.16) now and then fetches nothing more of a partition, or reaches no broker at all,
where a broker went away at the moment at which the partition was let flow: two of 660 did so when
Kafka was stopped then. Nothing is said of it, and nothing but another client ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_consumers.assignment import Share


class Stalls:
    """What was seen of each share that is behind: its place, and at how many looks since then."""

    def __init__(self) -> None:
        self._behind: dict[Share, tuple[int, int]] = {}

    def look(self, places: Mapping[Share, int], ends: Mapping[Share, int]) -> set[Share]:
        """The shares for whose sake a new client is to be tried.

        At the second look that finds a share at the same place, then at the third, the fifth, the
        ninth: a share that a new client does not move either is not worth one at every look. Its
        last offsets may bear no message at all, as where others write transactions.

        Args:
            places: the next offset of each share that flows.
            ends: the offset behind the last one on the broker, where it is known.
        """
        for share, place in places.items():
            before, looks = self._behind.get(share, (None, 0))
            if place >= ends.get(share, 0):
                self._behind.pop(share, None)
            else:
                self._behind[share] = (place, looks + 1 if place == before else 0)
        return {
            share
            for share in places.keys() & self._behind.keys()
            if self._behind[share][1].bit_count() == 1
        }
