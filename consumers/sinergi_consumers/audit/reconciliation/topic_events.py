"""The sealed events of one topic, in a frame: 40 bytes for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from sinergi_consumers.audit.reconciliation.stored_events import halves

if TYPE_CHECKING:
    from sinergi_consumers.decode.decoder import Decoder
    from sinergi_consumers.reading.partition import VerifiedBatch


RECORDED = "recorded"
"""When an event was recorded."""


class TopicEvents:
    """Collects the events of the verified batches of a topic.

    Args:
        zone: the IANA name of the zone in which days begin.

    Attributes:
        sizes: how many leaves of each partition are verified.
    """

    def __init__(self, decoder: Decoder, zone: str) -> None:
        self._decoder = decoder
        self._zone = zone
        self._parts: list[pl.DataFrame] = [_frame([])]
        self.sizes: dict[int, int] = {}

    def add(self, batch: VerifiedBatch) -> None:
        """Take the events of a batch; of those that nobody can read, only where they stand."""
        self.sizes[batch.partition] = batch.end
        for part in self._decoder.found_parts(batch):
            day = pl.col("recorded_at").dt.convert_time_zone(self._zone).dt.date()
            columns = (
                pl.col("partition"),
                pl.col("leaf_index").cast(pl.Int64).alias("leaf"),
                *halves(pl.col("event_id")),
                day.alias("day"),
                pl.col("recorded_at").alias(RECORDED),
            )
            self._parts.append(part.events.select(columns))
            unread: list[tuple[object, ...]] = [
                (batch.partition, each.message.leaf_index, None, None, None, None)
                for each in part.refused
            ]
            self._parts.append(_frame(unread))

    def frame(self) -> pl.DataFrame:
        """All of them; of an event that nobody can read, all but its place is null."""
        return pl.concat(self._parts)


def _frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "partition": pl.Int32,
        "leaf": pl.Int64,
        "high": pl.UInt64,
        "low": pl.UInt64,
        "day": pl.Date,
        RECORDED: pl.Datetime("us", "UTC"),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
