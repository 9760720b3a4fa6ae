"""The tables as a reader's database had them at a time: which leaves, and which were refused.

The leaves are cut at the size of a receipt. Which of them were in quarantine then, only the
database itself records, and nobody has signed it. Without it, quarantine is made anew by the
agreements, schemas and projections of today.

What cannot be known is reported: `unknown` has the limits that hold for each such replay, and
`UnlikeThen` counts the events whose rows are not as the database had them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import starmap
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from sinergi_consumers.decode.agreement_check import NOT_AGREED
from sinergi_consumers.decode.batches import RefusedEvent
from sinergi_schemas.seal.checkpoint import keep_owner_signatures
from sinergi_schemas.seal.reader import VerifiedLeaves

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_consumers.audit.reader_records import PastRefusal, ReaderRecords
    from sinergi_consumers.audit.receipt_cuts import ReceiptCuts
    from sinergi_consumers.audit.statements import SignedStatement
    from sinergi_consumers.decode.agreement_check import AgreementCheck
    from sinergi_consumers.decode.batches import DecodedBatch
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.sinks.postgresql.retention import Retention
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.topics import Topic

_LEAF = "leaf_index"
_NO_RECORDS = (
    "which events were in quarantine then, and what was decided about them: only the reader's"
    " database records it; quarantine is made anew, by what is agreed and installed now"
)
_UNSIGNED = "quarantine and decisions are those that the reader's database records, unsigned"
_UNPUBLISHED = "receipts that the reader has signed since the last one that it has published"
_ALWAYS = (
    "which projections the database had then, and their code: those installed now were used",
    "what halted partitions and skipped messages were recorded then",
)


class UnlikeThen(NamedTuple):
    """An event that this replay cannot treat as the database did.

    Attributes:
        leaf: its index.
        why: what is different, without any value of the event.
    """

    leaf: int
    why: str


@dataclass(frozen=True, slots=True)
class PastTables:
    """What a reader's database had at a time.

    Attributes:
        cuts: how many leaves of each partition.
        records: the database itself, for its quarantine; None where it is out of reach.
        agreement_check: whether the reader may keep the bytes of an event that is not agreed.
        removals: the histories from which events had been removed by then, and what of each.
    """

    cuts: ReceiptCuts
    records: ReaderRecords | None
    agreement_check: AgreementCheck
    removals: Sequence[tuple[str, Retention]] = ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """What such a replay does not know, one per line."""
        if self.records is None:
            return (_NO_RECORDS, _UNPUBLISHED, *_ALWAYS)
        return (_UNSIGNED, *starmap(_not_removed, self.removals), *_ALWAYS)

    def receipts(self, topic: Topic) -> list[SignedStatement]:
        """The receipts at which the partitions of a topic are cut."""
        return [each for tp, each in self.cuts.receipts.items() if tp.topic == topic.name]

    def cut(self, batch: VerifiedBatch, before: Frontier) -> VerifiedBatch | None:
        """The leaves of a batch that the database had; None if it had none of them.

        Args:
            before: the tree before the batch.
        """
        receipt = self.cuts.receipts.get(batch.tp)
        size = 0 if receipt is None else receipt.size
        if receipt is None or size <= batch.start:
            return None
        if size >= batch.end:
            return batch
        ring = self.agreement_check.agreements.ring(batch.topic, batch.partition)
        note = keep_owner_signatures(receipt.note, ring.allowed(size))
        checkpoints = [*_until(batch.checkpoints, before, size, note)]
        return replace(
            batch,
            messages=batch.messages[: size - batch.start],
            checkpoints=checkpoints,
            next_offset=checkpoints[-1].offsets[-1] + 1,
        )

    def refusals(self, batch: VerifiedBatch) -> BatchRefusals | None:
        """What the database records about the refused events of a batch; None without it."""
        if self.records is None:
            return None
        tp = batch.tp
        leaves, cuts = range(batch.start, batch.end), self.cuts
        found = self.records.refusals(tp, leaves, cuts.at, cuts.size(tp))
        return BatchRefusals(batch, found, self.agreement_check)


class BatchRefusals:
    """The events of a batch that were in quarantine at a time, and those that were rows.

    Args:
        batch: the batch.
        rows: the rows of quarantine that were there, by leaf and projection.
        agreement_check: see `PastTables`.

    Attributes:
        unlike: the events that are not treated as then.
    """

    def __init__(
        self, batch: VerifiedBatch, rows: Sequence[PastRefusal], agreement_check: AgreementCheck
    ) -> None:
        self._batch = batch
        self._check = agreement_check
        self._refused = {
            (each.projection, each.leaf_index): each for each in rows if each.settled != "retried"
        }
        self.unlike = [
            UnlikeThen(each.leaf_index, "its reason in quarantine may have been another then")
            for each in rows
            if each.was_retried_since and each.settled is None
        ]

    def prepared(self, projection: Projection, part: DecodedBatch) -> DecodedBatch:
        """A part with the events that a projection merged then, and those that it refused."""
        recorded = {
            leaf: each for (name, leaf), each in self._refused.items() if name == projection.name
        }
        was_refused = pl.col(_LEAF).is_in([*recorded])
        may_not_keep = self._not_kept(part, recorded)
        here = {each.message.leaf_index: each for each in part.refused}
        present = {*part.events.filter(was_refused)[_LEAF], *here}
        refused = [
            RefusedEvent(
                self._batch.tp,
                self._batch.message(leaf),
                each.reason,
                each.detail,
                each.revision,
                leaf not in may_not_keep,
            )
            for leaf, each in recorded.items()
            if leaf in present
        ]
        # They were rows then, and this version cannot decode them.
        refused += [each for leaf, each in here.items() if leaf not in recorded]
        return replace(part, events=part.events.filter(~was_refused), refused=refused)

    def compare(self, quarantined: Sequence[tuple[Projection, RefusedEvent]]) -> None:
        """Note the events that went to quarantine here and not then.

        They were rows, unless the database did not have the projection yet.
        """
        for projection, each in quarantined:
            leaf = each.message.leaf_index
            if (projection.name, leaf) not in self._refused:
                what = f"{projection.name} had it not in quarantine then, and refuses it here"
                self.unlike.append(UnlikeThen(leaf, f"{what} ({each.reason})"))

    def _not_kept(self, part: DecodedBatch, recorded: dict[int, PastRefusal]) -> set[int]:
        """The refused events whose bytes the reader may not keep."""
        leaves = [leaf for leaf, each in recorded.items() if each.reason == NOT_AGREED]
        if not leaves:
            return set()
        events = part.events.filter(pl.col(_LEAF).is_in(leaves))
        violations = self._check.violations_by_leaf(events)
        return {leaf for leaf, each in violations.items() if not each.may_keep}


def _not_removed(table: str, removal: Retention) -> str:
    """That events which a database had removed by then are in the tables of a replay."""
    return (
        f"which events {table} had from before {removal.before:%Y-%m-%d}: by then"
        f" {removal.rows:,} had been removed by retention, the last on"
        f" {removal.removed_at:%Y-%m-%d}; here all of them are"
    )


def _until(
    checkpoints: Sequence[VerifiedLeaves], before: Frontier, size: int, note: str
) -> Iterator[VerifiedLeaves]:
    """The checkpoints of a batch up to a tree size, which the last of them has.

    The topic may lack the checkpoint that a receipt cosigns, where a later one covers its leaves.

    Args:
        before: the tree before the batch.
        size: at least one leaf of the batch, and not all.
        note: the checkpoint of that size.
    """
    for each in checkpoints:
        if each.end > size:
            count = size - each.start
            if count:
                tree = before.extend(each.leaves[:count])
                leaves, offsets = each.leaves[:count], each.offsets[:count]
                root = tree.root()
                yield VerifiedLeaves(each.start, size, root, note, tree, leaves, offsets)
            return
        yield each
        before = each.frontier
