"""Keeps the receipts of an agency's readers, because their topics keep only the newest ones.

It is step 5 of the relay. It works in small steps on a thread and a connection of its own, so that
it delays nothing else. A step reads at most `MOST_MESSAGES` of each receipts topic, and verifies
those that may be a receipt for one of our topics and are not kept yet. What is no such receipt is
passed over: anybody may have written it. A topic that cannot be read is reported once, and tried
again later.

A reader may write any number of messages to its own topic. Where a relay has read `MOST_BEHIND` of
them and as many are left, it goes on with the newest `MOST_BEHIND`, and says so: a receipt that it
passes over is followed by one for at least as many leaves.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors, topics
from sinergi_schemas.agreements import receipts
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.kafka.scan import PartitionScan
from sinergi_schemas.seal.checkpoint import MOST_RECEIPT_BYTES
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from confluent_kafka import Message

    from sinergi_producers.relay.receipt_store import ReceiptStore
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.agreements.receipts import ClaimedReceipt, CosignedReceipt
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.timeouts import RelayTimeouts

_log = structlog.get_logger(__name__)

MOST_MESSAGES = 500  # of one topic in one step

MOST_BEHIND = 100_000

# A topic that cannot be read is tried again after so many times the pause between two steps.
_PATIENCE = 6


@dataclass(slots=True)
class _ReceiptsTopic:
    """How far the receipts topic of one reader is read.

    Attributes:
        next_offset: the first unread offset; None before it is known.
        behind: how many messages were read since its end was last reached.
        due: when it is read again.
        failure: why it could not be read; empty if it could.
    """

    next_offset: int | None = None
    behind: int = 0
    due: float = 0.0
    failure: str = ""


class ReceiptHistory:
    """Keeps the receipts of all readers of an agency's topics.

    Args:
        agency: the owner of the topics.
        connection: of the agency's producer, which may read its readers' receipts.
        store: where they are kept.
    """

    def __init__(
        self,
        agency: str,
        connection: Connection,
        store: ReceiptStore,
        clock: Clock = SYSTEM,
        timeouts: RelayTimeouts = DEFAULT.relay,
    ) -> None:
        self._agency = agency
        self._connection = connection
        self._store = store
        self._clock = clock
        self._timeouts = timeouts
        self._thread = ThreadPoolExecutor(1, "receipts")
        self._step: Future[bool] | None = None
        self._due = 0.0
        self._stopping = Event()
        self._reader: RangeReader | None = None
        self._topics: dict[str, _ReceiptsTopic] = {}

    def proceed(self, agreements: Agreements) -> None:
        """Begin the next step if it is due. It returns at once.

        Raises:
            Fatal, Refused: the step before could not use the database, as without a right.
        """
        if self._step is not None:
            if not self._step.done():
                return
            has_more, self._step = self._step.result(), None
            pause = 0.0 if has_more else self._timeouts.receipts
            self._due = self._clock.monotonic() + pause
        if self._clock.monotonic() >= self._due:
            self._step = self._thread.submit(self.step, agreements)

    def step(self, agreements: Agreements) -> bool:
        """Read the next messages, and keep the receipts among them; whether there are more.

        Raises:
            Fatal, Refused: as `proceed`.
        """
        found: list[ClaimedReceipt] = []
        has_more = False
        for agency in self._readers(agreements):
            topic = self._topics.setdefault(agency, _ReceiptsTopic())
            if self._stopping.is_set() or self._clock.monotonic() < topic.due:
                continue
            try:
                has_more |= self._read(agreements, agency, topic, found)
            except errors.Unavailable as why:
                self._close_reader()
                self._report(agency, topic, why)
        try:
            unseen = self._store.unseen(found)
            self._store.keep(list(self._verified(agreements, unseen)))
        except errors.Unavailable:
            # The relay itself reports that the database is away. What was read is read again.
            for each in self._topics.values():
                each.next_offset = None
            return False
        return has_more

    def close(self) -> None:
        """Finish the step that is running, and give the connections back."""
        self._stopping.set()
        self._thread.shutdown()
        self._close_reader()
        self._store.close()

    def _readers(self, agreements: Agreements) -> list[str]:
        """The other agencies that may ever have read one of our topics."""
        found = {
            reader
            for topic in agreements.published_by(self._agency)
            for reader in agreements.readers(topic)
        }
        return sorted(found - {self._agency})

    def _read(
        self,
        agreements: Agreements,
        agency: str,
        topic: _ReceiptsTopic,
        found: list[ClaimedReceipt],
    ) -> bool:
        """Read on in one topic; whether there is more.

        Raises:
            Unavailable: it cannot be read.
        """
        if self._reader is None:
            self._reader = RangeReader(self._connection, self._timeouts.silence)
        scan = PartitionScan(self._reader, TopicPartition(topics.receipts_topic(agency), 0))
        low, high = scan.bounds()
        start = low if topic.next_offset is None else topic.next_offset
        if not low <= start <= high:  # its beginning was deleted, or it was made anew
            start = low
        if topic.behind >= MOST_BEHIND and high - start > MOST_BEHIND:
            skipped = high - MOST_BEHIND - start
            named = topics.receipts_topic(agency)
            _log.warning("receipts topic too long to read", topic=named, messages_skipped=skipped)
            start, topic.behind = high - MOST_BEHIND, 0
        end = min(high, start + MOST_MESSAGES)
        for chunk in scan.read(start, end):
            found += self._ours(agreements, agency, chunk)
        # Batches that cannot be read are passed over, as all that is no receipt.
        self._reader.drain_unreadable()
        topic.next_offset = end
        topic.behind = topic.behind + end - start if end < high else 0
        if topic.failure:
            _log.info("receipts are read again", topic=topics.receipts_topic(agency))
            topic.failure = ""
        return end < high

    def _ours(
        self, agreements: Agreements, agency: str, messages: Iterable[Message]
    ) -> Iterator[ClaimedReceipt]:
        """What may be receipts for our topics, none of it verified."""
        for each in messages:
            value = each.value() or b""
            if len(value) <= MOST_RECEIPT_BYTES:
                for claim in receipts.claimed(agreements, agency, value.decode(errors="replace")):
                    if claim.tp.event_topic.agency == self._agency:
                        yield claim

    def _verified(
        self, agreements: Agreements, claims: Iterable[ClaimedReceipt]
    ) -> Iterator[CosignedReceipt]:
        for each in claims:
            try:
                found = receipts.verified(agreements, each.tp.event_topic, each.agency, each.note)
            except errors.SealBroken as why:
                _log.debug("no receipt", reader=each.reader, why=type(why).__name__)
            else:
                if found.signed_at is not None:
                    yield found

    def _report(self, agency: str, topic: _ReceiptsTopic, why: errors.Unavailable) -> None:
        """Log once that a topic cannot be read, and read it again later."""
        topic.due = self._clock.monotonic() + _PATIENCE * self._timeouts.receipts
        if topic.failure != type(why).__name__:
            topic.failure = type(why).__name__
            name = topics.receipts_topic(agency)
            _log.warning("receipts cannot be read: none of them is kept", topic=name, why=str(why))

    def _close_reader(self) -> None:
        """The next step opens another client: one that cannot read may have stalled."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
