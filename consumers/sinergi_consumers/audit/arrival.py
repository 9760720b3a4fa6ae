"""Which events had arrived at a reader in an interval, by the reader's clock.

An event has arrived when its leaf is first covered by a receipt of the reader's database. That is
neither when it occurred nor when its publisher recorded it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sinergi_consumers.audit.receipt_cuts import ReceiptReading
    from sinergi_schemas.avro_types.nodes import RecordType


@dataclass(frozen=True, slots=True)
class ArrivalCondition:
    """The event arrived at a reader's database in an interval.

    Attributes:
        leaves: those that arrived then, of each partition.
        remarks: what was noticed in the receipts, one per line.
    """

    leaves: Mapping[TopicPartition, range]
    remarks: Sequence[str] = ()

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        del schema
        place = TopicPartition(events.item(0, "topic"), events.item(0, "partition"))
        leaves = self.leaves.get(place, range(0))
        return pl.col("leaf_index").is_between(leaves.start, leaves.stop, closed="left")


def arrived(
    reading: ReceiptReading,
    tps: Sequence[TopicPartition],
    since: datetime | None,
    until: datetime,
) -> ArrivalCondition:
    """The events that arrived from one time until before another one.

    Args:
        reading: finds the receipts of the reader's database.
        tps: the topic-partitions that are read.
        since: None for its first receipt.
        until: it is not included.

    Raises:
        ReceiptsMissing: the receipts do not tell it.
        ReceiptFalse: a receipt in the database is not what it signed.
        Unavailable: the brokers or the database do not answer.
    """
    ends = reading.cuts(tps, until, is_before=True)
    if since is None:
        return ArrivalCondition({tp: range(ends.size(tp)) for tp in tps}, ends.remarks)
    starts = reading.cuts(tps, since, is_before=True)
    leaves = {tp: range(starts.size(tp), ends.size(tp)) for tp in tps}
    return ArrivalCondition(leaves, ends.remarks)
