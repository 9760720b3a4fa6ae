"""Batches that the client library cannot read, and where they end.

A compressed batch is unpacked as a whole. librdkafka refuses one that becomes larger than an answer
may be (see `consumer`), that does not unpack, whose compression is unknown, or whose checksum is
wrong. It delivers an error in place of messages and fetches the same batch again, for ever. So the
batch is passed over and reported. If it held leaves of the owner, the seal shows that they are
missing.

The error says at which offset the batch begins, and not where it ends. A fetch from any offset
within it meets the same error. So the end is searched for: with steps that double, then by
bisection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaError

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.conversion import of_message, to_client
from sinergi_schemas.kafka.faults import translate
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Consumer, Message

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.topics import TopicPartition

_CAUSES = {
    KafkaError._BAD_COMPRESSION: "a batch that cannot be decompressed",
    KafkaError._BAD_MSG: "a batch whose checksum is wrong",
    KafkaError._NOT_IMPLEMENTED: "a batch of an unknown format or compression",
}

_MOST_CACHED = 1_000
_POLL_SECONDS = 0.5
_SEARCH_SECONDS = 1.0


class Unreadable(NamedTuple):
    """A batch that was passed over.

    Attributes:
        offset: the first one of the batch.
        cause: why it cannot be read.
    """

    tp: TopicPartition
    offset: int
    cause: str


class UnreadableCounts:
    """Unreadable batches counted by topic-partition and cause, in limited memory."""

    def __init__(self) -> None:
        self._counts: dict[tuple[TopicPartition, str], tuple[int, int]] = {}

    def add(self, found: Iterable[Unreadable]) -> None:
        """Count batches."""
        for tp, offset, cause in found:
            first, count = self._counts.get((tp, cause), (offset, 0))
            self._counts[tp, cause] = min(first, offset), count + 1

    @property
    def remarks(self) -> list[str]:
        """What was passed over and where, one line for each topic-partition and cause."""
        return [
            f"{counted(count, 'batch', 'batches')} of {tp}, the first at offset {first}, skipped:"
            f" {cause}"
            for (tp, cause), (first, count) in self._counts.items()
        ]


class _End(NamedTuple):
    """The offset after a batch; `is_unreadable` where the next batch cannot be read either."""

    offset: int
    is_unreadable: bool


def is_unreadable(error: KafkaError | None) -> bool:
    """Whether an error says that a batch cannot be read, and that trying again does not help."""
    return error is not None and error.code() in _CAUSES


class UnreadableBatches:
    """The batches that one consumer cannot read.

    Args:
        open_probe: opens a consumer outside every group that reports the ends of partitions. It is
            called at the first such batch.
        answer_seconds: how long the brokers' answer is waited for.
    """

    def __init__(
        self, open_probe: Callable[[], Consumer], answer_seconds: float, clock: Clock = SYSTEM
    ) -> None:
        self._open_probe = open_probe
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._probe: Consumer | None = None
        self._ends: dict[tuple[TopicPartition, int], _End] = {}
        self._found: list[Unreadable] = []

    def after(self, received: Message) -> int:
        """The offset after a batch and after the unreadable batches that follow it at once.

        Where very many follow, the search ends after a second, at one of them.

        Args:
            received: the error that was delivered in place of the batch.

        Raises:
            Unavailable: the broker does not answer.
        """
        tp, offset = of_message(received), received.offset() or 0
        error = received.error()
        cause = _CAUSES[error.code()] if error else ""
        deadline = self._clock.monotonic() + _SEARCH_SECONDS
        while True:
            end = self._ends.get((tp, offset))
            if end is None:
                end = self._search(tp, offset)
                if len(self._ends) >= _MOST_CACHED:
                    del self._ends[next(iter(self._ends))]
                self._ends[tp, offset] = end
                self._found.append(Unreadable(tp, offset, cause))
            if not end.is_unreadable or self._clock.monotonic() > deadline:
                return end.offset
            offset = end.offset

    def drain(self) -> list[Unreadable]:
        """The batches that were found since the last call."""
        found, self._found = self._found, []
        return found

    def close(self) -> None:
        """Close the connection."""
        if self._probe is not None:
            self._probe.close()

    def _search(self, tp: TopicPartition, first: int) -> _End:
        """Where the batch ends that begins at an offset."""
        if self._probe is None:
            self._probe = self._open_probe()
        _, high = self._probe.get_watermark_offsets(to_client(tp), timeout=self._answer_seconds)
        within, step, end = first, 1, _End(high, is_unreadable=False)
        while within + 1 < end.offset:
            at = min(within + step, (within + end.offset) // 2 if end.offset < high else high - 1)
            begins = self._unreadable_at(tp, at)
            if begins is None:
                end = _End(at, is_unreadable=False)
            elif begins != first:
                end = _End(begins, is_unreadable=True)
            else:
                within, step = at, 2 * step
        return end

    def _unreadable_at(self, tp: TopicPartition, offset: int) -> int | None:
        """The first offset of the unreadable batch that holds an offset; None where none does."""
        assert self._probe is not None
        self._probe.assign([to_client(tp, offset)])
        why: errors.SinergiError = errors.TopicAway(tp.topic, f"silent at offset {offset}")
        deadline = self._clock.monotonic() + self._answer_seconds
        while self._clock.monotonic() < deadline:
            for each in self._probe.consume(1, _POLL_SECONDS):
                error = each.error()
                if error is None or error.code() == KafkaError._PARTITION_EOF:
                    return None
                if is_unreadable(error):
                    return each.offset()
                why = translate(error)
        raise why
