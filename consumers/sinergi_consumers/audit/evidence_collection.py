"""Collects evidence during an audit: chosen leaves, and their proofs at the end of each partition.

An `EvidenceAudit` is an audit like any other. Beside it, it keeps the leaf hashes of the partition
that it reads (40 bytes a leaf), and the bytes of the leaves whose events the filter lets pass. When
a partition is read to its end, it makes the proofs. A partition that is not what its owner sealed
gives no evidence; the audit's verdict says why.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.evidence import readable
from sinergi_consumers.audit.evidence.composition import (
    AgreementEvidence,
    EventEvidence,
    TreeEvidence,
)
from sinergi_consumers.audit.evidence.places import EvidencePlace
from sinergi_consumers.audit.evidence.readable import SealedLeaf
from sinergi_consumers.audit.evidence.report.wording import AT_THE_LATEST, FIRST
from sinergi_consumers.audit.evidence.trees import ConsistencyProof
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.audit.statements import HEADS, RECEIPT
from sinergi_schemas import errors
from sinergi_schemas.agreements import receipts, signatures
from sinergi_schemas.files.input_file import read_regular
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.files.toml_limits import MOST_BYTES
from sinergi_schemas.seal import heads
from sinergi_schemas.seal.leaf_tree import LeafTree
from sinergi_schemas.seal.proof import Proof
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    import polars as pl

    from sinergi_consumers.audit.event_filter import ReplayFilter
    from sinergi_consumers.audit.evidence.report.wording import Wording
    from sinergi_consumers.audit.records.possession import ReceiptTable
    from sinergi_consumers.audit.replay import ReplayCounts
    from sinergi_consumers.audit.statements import SignedStatement
    from sinergi_consumers.bus import Bus
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.seal.heads import SignedHeads
    from sinergi_schemas.topics import Topic

MOST_EVENTS = 10_000


@dataclass(slots=True)
class CollectedEvidence:
    """What several audits have collected.

    Attributes:
        events, trees: with their proofs.
        heads: the note of each agency's heads, by its slug.
        schemas: those of the events, by fingerprint.
    """

    events: list[EventEvidence] = field(default_factory=list)
    trees: list[TreeEvidence] = field(default_factory=list)
    heads: dict[str, str] = field(default_factory=dict)
    schemas: dict[bytes, Schema] = field(default_factory=dict)

    def agreements(self, known: Agreements) -> list[Agreement]:
        """The agreements that events name, and those that give the searched topics their keys."""
        named = {each.event.get("agreement") for each in self.events}
        topics = {each.tp.event_topic for each in self.trees}
        covering = {known.file_of(each) for each in topics}
        return [each for each in known if each.hash in named or str(each.path) in covering]


def agreement_evidence(agreement: Agreement) -> AgreementEvidence:
    """The file of an agreement and the note of its signatures, as they are on the disk.

    Raises:
        EvidenceRefused: the file cannot be read, or was changed since it was loaded.
    """
    try:
        _, text = read_regular(agreement.path, MOST_BYTES)
        note = signatures.read_note(agreement)
    except OSError as why:
        raise errors.EvidenceRefused(f"{agreement.path} {unread(why)}") from None
    found = AgreementEvidence(agreement.hash, text, note)
    if not found.is_named_by_digest:
        raise errors.EvidenceRefused(f"{agreement.path} was changed meanwhile; run it again")
    return found


class _HeldReceipt(NamedTuple):
    """A verified receipt, and whether it is the first one."""

    size: int
    root: bytes
    note: str
    how: Wording


class EvidenceAudit(Audit):
    """The audit of a topic that also collects evidence.

    Args:
        collected: takes what is found.
        tables: where first receipts are looked up, the most telling first.
    """

    def __init__(
        self,
        bus: Bus,
        topic: Topic,
        collected: CollectedEvidence,
        tables: Sequence[ReceiptTable] = (),
    ) -> None:
        super().__init__(bus, topic, Copies())
        self._collected = collected
        self._tables = tables
        self._replay = _CollectingReplay(bus, topic, self._finish)

    def _finish(self, counts: ReplayCounts, tree: LeafTree, leaves: dict[int, bytes]) -> None:
        """Make the evidence of a partition that was read to its end."""
        tp = TopicPartition(self.topic.name, counts.partition)
        signed = self._heads()
        lines = {} if signed is None else {each.partition_path: each for each in signed.heads}
        line = lines.get(str(tp))
        if line is not None and line.size > tree.size:
            return  # its end is missing, which the verdict reports
        extends = None
        if line is not None and tree.size:
            path = tree.consistency_path(line.size, tree.size)
            extends = ConsistencyProof(line.size, path, counts.note)
        collected = self._collected
        root = tree.root(tree.size)
        collected.trees.append(TreeEvidence(tp, tree.size, root, counts.note, extends))
        held = self._receipts(tp, tree, sorted(leaves))
        for index, data in sorted(leaves.items()):
            proof = Proof(index, tree.inclusion_path(index, tree.size), counts.note)
            event = self._event(EvidencePlace(tp, index), data, proof)
            collected.events.append(
                event._replace(
                    receipts={
                        name: Proof(index, tree.inclusion_path(index, each.size), each.note)
                        for name, each in held.get(index, {}).items()
                    },
                    sources={name: each.how for name, each in held.get(index, {}).items()},
                )
            )
        if len(collected.events) > MOST_EVENTS:
            what = f"more than {MOST_EVENTS:,} events match; choose fewer"
            raise errors.EvidenceRefused(what)

    def _receipts(
        self, tp: TopicPartition, tree: LeafTree, leaves: Sequence[int]
    ) -> dict[int, dict[str, _HeldReceipt]]:
        """The first known receipt of each database that covers a leaf, by leaf and key name."""
        found: dict[int, dict[str, _HeldReceipt]] = {}
        agreements, bus = self._bus.agreements, self._bus.agreements.bus
        readers = [
            key.name.removeprefix(f"{bus}/")
            for reader in agreements.readers(self.topic)
            if reader != self.topic.agency
            for key in agreements.receipt_keys(reader, self.topic)
        ]
        for table in self._tables if leaves else ():
            for stored in table.first_covering(tp, readers, leaves):
                agency = stored.reader.partition("/")[0]
                with suppress(errors.SealBroken):  # another table or the topic may have a true one
                    known = receipts.verified(agreements, self.topic, agency, stored.note)
                    if stored.leaf_index < known.size:
                        how = FIRST if stored.is_first else AT_THE_LATEST
                        held = _HeldReceipt(known.size, known.root, known.note, how)
                        _keep(found, tree, stored.leaf_index, known.key.name, held)
        for each in self.verdict.statements.of(tp.partition):
            for leaf in leaves if each.kind == RECEIPT else ():
                if leaf < each.size:
                    held = _HeldReceipt(each.size, each.root, each.note, AT_THE_LATEST)
                    _keep(found, tree, leaf, each.name, held)
        return found

    def _event(self, place: EvidencePlace, data: bytes, proof: Proof) -> EventEvidence:
        leaf = SealedLeaf.parse(data)
        schema = self._bus.schema(self.topic.event_type, leaf.fingerprint)
        assert schema is not None  # its event was decoded
        self._collected.schemas[leaf.fingerprint] = schema
        return EventEvidence(place, leaf, readable.event_of(leaf, schema), proof, {})

    def _heads(self) -> SignedHeads | None:
        """The heads of the topic's owner: for all of its topics those that were read first."""
        agency, bus = self.topic.agency, self._bus.agreements.bus
        stated = [each for each in self.verdict.statements.largest if each.kind == HEADS]
        if agency not in self._collected.heads:
            # A bundle holds one note with all of its lines, and its verifier compares each of them.
            whole = [each for each in stated if self._is_credible(each.note)]
            if whole:
                self._collected.heads[agency] = max(whole, key=_signed_at).note
        note = self._collected.heads.get(agency)
        if note is None:
            return None
        return heads.verify(note, bus, agency, self._bus.agreements.keys(agency))

    def _is_credible(self, note: str) -> bool:
        """Whether the required keys have signed all lines of heads about topics that are agreed."""
        agreements, agency = self._bus.agreements, self.topic.agency
        signed = heads.verify(note, agreements.bus, agency, agreements.keys(agency))
        agreed = {each.name for each in agreements.published_by(agency)}
        lines = tuple(each for each in signed.heads if each.topic in agreed)
        return agreements.credible(signed).heads == lines


def _keep(
    found: dict[int, dict[str, _HeldReceipt]],
    tree: LeafTree,
    leaf: int,
    name: str,
    held: _HeldReceipt,
) -> None:
    """Keep a receipt of a tree that is the topic's, unless a more telling one is there."""
    if held.size <= tree.size and tree.root(held.size) == held.root:
        found.setdefault(leaf, {}).setdefault(name, held)


def _signed_at(statement: SignedStatement) -> float:
    return 0 if statement.at is None else statement.at.timestamp()


class _CollectingReplay(Replay):
    """A replay that keeps the leaf hashes of a partition, and the leaves of chosen events."""

    def __init__(
        self,
        bus: Bus,
        topic: Topic,
        finish: Callable[[ReplayCounts, LeafTree, dict[int, bytes]], None],
    ) -> None:
        super().__init__(bus, topic)
        self._finish = finish
        self._leaves: dict[int, bytes] = {}
        self._batch: VerifiedBatch | None = None

    def batches(self, counts: ReplayCounts, sizes: AbstractSet[int]) -> Iterator[VerifiedBatch]:
        """As `Replay.batches`; at the end the evidence of the partition is made."""
        tree, self._leaves = LeafTree(), {}
        for batch in super().batches(counts, sizes):
            for each in batch.checkpoints:
                tree.extend(each.leaves)
            self._batch = batch
            yield batch
        self._finish(counts, tree, self._leaves)

    def chosen(self, events: pl.DataFrame, wanted: ReplayFilter) -> pl.DataFrame:
        """As `Replay.chosen`; the leaves of the events are kept."""
        found = super().chosen(events, wanted)
        if self._batch is not None:
            for index in found["leaf_index"]:
                self._leaves[index] = self._batch.message(index).leaf_data
        if len(self._leaves) > MOST_EVENTS:
            what = f"more than {MOST_EVENTS:,} events match; choose fewer"
            raise errors.EvidenceRefused(what)
        return found
