"""The receipts that the relay has seen, in the agency's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_producers.relay.rights import RELAY
from sinergi_schemas.postgresql import Database
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_schemas.agreements.receipts import ClaimedReceipt, CosignedReceipt
    from sinergi_schemas.timeouts import DatabaseTimeouts

_UNSEEN = """
    SELECT claimed.place FROM unnest(%s::text[], %s::integer[], %s::text[], %s::bigint[])
        WITH ORDINALITY AS claimed (event_type, partition, reader, size, place)
    WHERE NOT EXISTS (
        SELECT FROM sinergi_producer.seen_receipt AS kept
        WHERE kept.event_type = claimed.event_type AND kept.partition = claimed.partition
        AND kept.reader = claimed.reader AND kept.size = claimed.size)
"""
# A database that was made anew signs for small trees again, later. Such a receipt adds nothing to
# that of a larger tree which was signed earlier.
_KEEP = """
    INSERT INTO sinergi_producer.seen_receipt
        (event_type, partition, reader, size, note, signed_by_reader_at)
    SELECT seen.* FROM unnest(
        %s::text[], %s::integer[], %s::text[], %s::bigint[], %s::text[], %s::timestamptz[])
        AS seen (event_type, partition, reader, size, note, signed_at)
    WHERE coalesce((
        SELECT kept.signed_by_reader_at FROM sinergi_producer.seen_receipt AS kept
        WHERE kept.event_type = seen.event_type AND kept.partition = seen.partition
        AND kept.reader = seen.reader AND kept.size >= seen.size
        ORDER BY kept.size LIMIT 1) > seen.signed_at, true)
    ON CONFLICT DO NOTHING
"""


class ReceiptStore:
    """Keeps receipts, each once.

    It has a connection of its own, so that the relay never waits for it.

    Args:
        url: where the agency's database is; see `sinergi_schemas.postgresql.address`.
    """

    def __init__(self, url: str, timeouts: DatabaseTimeouts = DEFAULT.database) -> None:
        self._database = Database(url, "sinergi relay receipts", timeouts, needed=RELAY)

    def unseen(self, receipts: Sequence[ClaimedReceipt]) -> list[ClaimedReceipt]:
        """Those of which none of the same database and size is kept.

        Raises:
            Unavailable, Fatal: see `Database.serving`.
        """
        rows = [(each.tp.event_topic.event_type, *_place(each)) for each in receipts]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 4
        with self._database.serving() as connection:
            places = connection.execute(_UNSEEN, columns).fetchall()
        return [receipts[place - 1] for (place,) in sorted(places)]

    def keep(self, receipts: Sequence[CosignedReceipt]) -> int:
        """Keep verified receipts; how many were not kept yet.

        Raises:
            Unavailable, Fatal: see `Database.serving`.
        """
        rows = [
            (each.tp.event_topic.event_type, *_place(each), each.note, each.signed_at)
            for each in receipts
        ]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 6
        with self._database.serving() as connection:
            return connection.execute(_KEEP, columns).rowcount

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()


def _place(receipt: ClaimedReceipt | CosignedReceipt) -> tuple[int, str, int]:
    return receipt.tp.partition, receipt.reader, receipt.size
