"""Batches that are ready to be stored, those of several topic-partitions together.

A transaction and the decoding of a frame cost the same for one event and for some hundred. So the
small batches of all topic-partitions of an event type go together. A batch of which events were
refused goes alone the next time, since what is refused together is merged several times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from sinergi_consumers.decode.decoder import DecodedParts
from sinergi_consumers.quarantine.batch_merge import PlacedBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi_consumers.decode.decoder import Decoders
    from sinergi_consumers.materialise.claim import Claim
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_schemas.topics import TopicPartition

_MOST_MESSAGES = 2_000
_MOST_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    """A verified batch, with the claim under which it was read."""

    claim: Claim
    batch: VerifiedBatch

    @property
    def placed(self) -> PlacedBatch:
        """The batch between the positions of its claim and its end."""
        return PlacedBatch(self.batch, self.claim.positions, self.claim.incarnation)

    @property
    def size(self) -> int:
        """The bytes of its datums."""
        return sum(len(each.datum) for each in self.batch.messages)

    @property
    def goes_alone(self) -> bool:
        """Whether it is merged without others."""
        # A projection that was added later lacks other events than the others.
        sizes = {each.frontier.size for each in self.claim.positions.values()}
        return self.claim.was_refused or len(sizes) > 1


@dataclass(frozen=True, slots=True)
class ReadyBatches:
    """Decoded batches of one event type, which are stored in one transaction.

    Attributes:
        claimed: some or all of the batches that were decoded.
        parts: the events of all that were decoded.
    """

    claimed: Sequence[ClaimedBatch]
    parts: DecodedParts

    def under(self, claims: Mapping[TopicPartition, Claim]) -> ReadyBatches:
        """The batches whose claims are still among these."""
        still = [each for each in self.claimed if claims.get(each.claim.tp) is each.claim]
        return replace(self, claimed=still)


def decoded(claimed: Sequence[ClaimedBatch], decoders: Decoders) -> list[ReadyBatches]:
    """Verified batches, decoded together where they are stored together."""
    return [
        ReadyBatches(lot, DecodedParts(decoders.of(event_type), *(each.batch for each in lot)))
        for event_type, lot in _lots(claimed)
    ]


def _lots(claimed: Sequence[ClaimedBatch]) -> Iterator[tuple[str, Sequence[ClaimedBatch]]]:
    """Batches of one event type in lots of bounded size."""
    ordered = sorted(claimed, key=lambda each: each.batch.topic.event_type)
    for event_type, alike in groupby(ordered, lambda each: each.batch.topic.event_type):
        lot: list[ClaimedBatch] = []
        messages = size = 0
        for each in alike:
            more, more_bytes = len(each.batch.messages), each.size
            is_full = messages + more > _MOST_MESSAGES or size + more_bytes > _MOST_BYTES
            if each.goes_alone or (is_full and not lot):
                yield event_type, [each]
                continue
            if is_full:
                yield event_type, lot
                lot, messages, size = [], 0, 0
            lot.append(each)
            messages, size = messages + more, size + more_bytes
        if lot:
            yield event_type, lot
