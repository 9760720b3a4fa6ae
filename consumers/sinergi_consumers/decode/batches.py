"""Batches before and after decoding: messages with their origins, events, refused events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_consumers.reading.partition import Leaves
    from sinergi_schemas.message import Message

_INDEX = "leaf_index"


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """A message that is sealed by its owner and cannot become rows.

    Attributes:
        tp: where it was read.
        reason: the kind of fault, as quarantine keeps it.
        detail: what is wrong and where, without any value of the event.
        revision: the revision of the record; None if it cannot be read or trusted.
        may_keep: whether the reader may keep the event's bytes.
    """

    tp: TopicPartition
    message: Message
    reason: str
    detail: str
    revision: int | None = None
    may_keep: bool = True


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """Some batches, or a part of them, after decoding.

    Attributes:
        events: the events, batch after batch in the order of their leaves, with the columns of
            `Layout.flatten` and of `PROVENANCE`.
        refused: the messages that are not among the events.
    """

    events: pl.DataFrame
    refused: Sequence[RefusedEvent]

    def between(self, start: int, end: int) -> DecodedBatch:
        """What it has of the leaves `[start, end)`; it is of one topic-partition."""
        return DecodedBatch(
            self.events.filter(pl.col(_INDEX).is_between(start, end, closed="left")),
            [each for each in self.refused if start <= each.message.leaf_index < end],
        )

    def joined(self, parts: Sequence[DecodedBatch]) -> DecodedBatch:
        """Parts of this batch, in this order; an empty one without them."""
        events = [each.events for each in parts]
        return DecodedBatch(
            pl.concat(events) if events else self.events.clear(),
            [refused for each in parts for refused in each.refused],
        )

    def of(self, tp: TopicPartition) -> DecodedBatch:
        """What it has of a topic-partition."""
        is_there = (pl.col("topic") == tp.topic) & (pl.col("partition") == tp.partition)
        return DecodedBatch(
            self.events.filter(is_there), [each for each in self.refused if each.tp == tp]
        )


class Origins(NamedTuple):
    """Messages, and where they were read.

    Attributes:
        batches: the number of the batch of each message.
    """

    all_batches: Sequence[Leaves]
    messages: Sequence[Message]
    batches: Sequence[int]

    @classmethod
    def of(cls, batches: Sequence[Leaves]) -> Origins:
        """All messages of some batches, batch after batch."""
        messages = [message for each in batches for message in each.messages]
        numbers = [at for at, each in enumerate(batches) for _ in each.messages]
        return cls(batches, messages, numbers)

    def at(self, places: Sequence[int]) -> Origins:
        """The messages at some places."""
        if len(places) == len(self.messages):
            return self  # the places are always in order
        messages, batches = self.messages, self.batches
        return self._replace(
            messages=[messages[at] for at in places], batches=[batches[at] for at in places]
        )

    def between(self, start: int, end: int) -> Origins:
        """The messages at the places `[start, end)`."""
        return self._replace(messages=self.messages[start:end], batches=self.batches[start:end])

    def refused(
        self,
        place: int,
        reason: str,
        detail: str,
        revision: int | None = None,
        *,
        may_keep: bool = True,
    ) -> RefusedEvent:
        """The message at a place, refused."""
        batch = self.all_batches[self.batches[place]]
        tp = TopicPartition(batch.topic.name, batch.partition)
        return RefusedEvent(tp, self.messages[place], reason, detail, revision, may_keep)

    @property
    def columns(self) -> tuple[pl.Series, pl.Series]:
        """The columns `topic` and `partition` of the messages."""
        topics = pl.Series("topic", [each.topic.name for each in self.all_batches], pl.String)
        numbers = pl.Series("partition", [each.partition for each in self.all_batches], pl.Int32)
        return topics.gather(self.batches), numbers.gather(self.batches)

    @property
    def owners(self) -> pl.Series:
        """The agency that owns the topic of each message."""
        agencies = [each.topic.agency for each in self.all_batches]
        return pl.Series(agencies, dtype=pl.String).gather(self.batches)
