"""Merges verified events into the temporary tables of expected rows.

Events are decoded, checked and isolated by the code of the materialiser. Each projection gets the
leaves below a limit, which is usually its position.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sinergi_consumers.quarantine.isolate import merge_and_quarantine
from sinergi_consumers.sinks.protocol import PositionKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinergi_consumers.decode.decoder import Decoders
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.sinks.postgresql.expected_tables import ExpectedTransaction

# A topic may have a checkpoint for every few events, and a merge costs a dozen statements.
_MOST_LEAVES = 10_000
_MOST_BYTES = 4 * 1024 * 1024


class ExpectedRows:
    """The rows that projections should have.

    Args:
        transaction: with the temporary tables.
        projections: those whose rows are made.
        decoders: they check events against the agreements, for the reader whose tables these are.

    Attributes:
        merged: how many leaves each projection has of each topic-partition.
    """

    def __init__(
        self,
        transaction: ExpectedTransaction,
        projections: Sequence[Projection],
        decoders: Decoders,
    ) -> None:
        self._transaction = transaction
        self._projections = projections
        self._decoders = decoders
        self._waiting: list[VerifiedBatch] = []
        self.merged: dict[PositionKey, int] = {}

    def add(self, batch: VerifiedBatch, limits: Mapping[PositionKey, int]) -> None:
        """Merge a batch, now or together with the next ones of its topic-partition.

        Args:
            limits: how many leaves each projection shall have; none if it has no limit.
        """
        self._transaction.keep_alive()
        tp = batch.tp
        if all(
            limits.get(PositionKey(each.name, tp), 0) <= batch.start for each in self._projections
        ):
            return
        before = self._waiting[-1] if self._waiting else batch
        if before.tp != tp:
            self.finish(limits)
        self._waiting.append(batch)
        leaves = sum(len(each.messages) for each in self._waiting)
        size = sum(len(message.datum) for each in self._waiting for message in each.messages)
        if leaves >= _MOST_LEAVES or size >= _MOST_BYTES:
            self.finish(limits)

    def finish(self, limits: Mapping[PositionKey, int]) -> None:
        """Merge what waits to be merged."""
        if self._waiting:
            first = self._waiting[0]
            messages = [message for each in self._waiting for message in each.messages]
            self._waiting = []
            self._merge(replace(first, messages=messages), limits)

    def _merge(self, batch: VerifiedBatch, limits: Mapping[PositionKey, int]) -> None:
        tp = batch.tp
        due: list[tuple[Projection, int, int]] = []
        for projection in self._projections:
            key = PositionKey(projection.name, tp)
            start = max(self.merged.get(key, 0), batch.start)
            end = min(limits.get(key, 0), batch.end)
            if projection.event_type == batch.topic.event_type and start < end:
                due.append((projection, start, end))
                self.merged[key] = end
        if not due:
            return
        first, last = min(start for _, start, _ in due), max(end for _, _, end in due)
        messages = batch.messages[first - batch.start : last - batch.start]
        some = replace(batch, start=first, messages=messages)
        for part in self._decoders.of(batch.topic.event_type).found_parts(some):
            for projection, start, end in due:
                self._transaction.keep_alive()
                merge_and_quarantine(
                    self._transaction, projection, [some], part.between(start, end)
                )
