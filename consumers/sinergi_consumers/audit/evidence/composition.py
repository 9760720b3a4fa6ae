"""Makes the file of a bundle: events, proofs, signed texts and reports (docs/spec/bundle.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_consumers.audit.evidence import archive, bag, places, readable, statement
from sinergi_consumers.audit.evidence.omissions import SearchStatement
from sinergi_consumers.audit.evidence.verification import FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sinergi_consumers.audit.evidence.places import EvidencePlace
    from sinergi_consumers.audit.evidence.readable import SealedLeaf
    from sinergi_consumers.audit.evidence.report.wording import Wording
    from sinergi_consumers.audit.evidence.trees import ConsistencyProof
    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey
    from sinergi_schemas.seal.proof import Proof
    from sinergi_schemas.topics import TopicPartition


class EventEvidence(NamedTuple):
    """One event with its proofs.

    Attributes:
        leaf: the bytes that its leaf hash covers.
        event: what it says, see `readable.event_of`.
        proof: under the owner's checkpoint.
        receipts: under the receipts of readers' databases, by the name of the key.
        sources: what each receipt tells, for the report: whether it is the first one.
    """

    place: EvidencePlace
    leaf: SealedLeaf
    event: Mapping[str, Any]
    proof: Proof
    receipts: Mapping[str, Proof]
    sources: Mapping[str, Wording] = MappingProxyType({})


class TreeEvidence(NamedTuple):
    """One topic-partition that was searched to its end.

    Attributes:
        size, root: of the tree of all verified leaves.
        note: the owner's checkpoint; empty if the tree has no leaves.
        heads: the proof that it extends the tree of its owner's heads, if there are heads.
    """

    tp: TopicPartition
    size: int
    root: bytes
    note: str
    heads: ConsistencyProof | None


class AgreementEvidence(NamedTuple):
    """The file of an agreement, and the note of its signatures if there is one."""

    digest: str
    text: bytes
    note: str | None

    @property
    def is_named_by_digest(self) -> bool:
        """Whether the file has this SHA-256."""
        return sha256(self.text).hexdigest() == self.digest


@dataclass(frozen=True, slots=True)
class BundleContents:
    """All that a bundle holds.

    Attributes:
        heads: the signed heads of each agency, by its slug.
        keys: of owners and of readers' databases, for information only.
        custody: who made it, when and why; and what else its maker states.
        asked_for: what was looked for.
        left_out: what was not searched.
        signers: the keys with which the maker signs what he states; none if he has none.
        reports: further files by their paths.
    """

    bus: str
    events: Sequence[EventEvidence]
    trees: Sequence[TreeEvidence]
    heads: Mapping[str, str]
    schemas: Iterable[Schema]
    agreements: Iterable[AgreementEvidence]
    keys: Iterable[VerifyingKey]
    custody: Mapping[str, Any]
    asked_for: Mapping[str, Any]
    left_out: SearchStatement = field(default_factory=SearchStatement)
    signers: Sequence[SigningKey] = ()
    reports: Mapping[str, bytes] = field(default_factory=dict)


def compose(contents: BundleContents, date: str, software: str) -> bytes:
    """The bytes of a bundle.

    Args:
        date: the day on which it is made, as 2026-03-03.
        software: the program that makes it, with its version.

    Raises:
        ValueError: it would be too large.
    """
    payload = {
        places.CUSTODY: readable.json_text(contents.custody).encode(),
        places.SEARCH: _search(contents),
        places.KEYS: "".join(sorted(f"{each}\n" for each in contents.keys)).encode(),
        **contents.reports,
    }
    if contents.signers:
        stated = (payload[places.SEARCH], payload[places.CUSTODY])
        note = statement.sign(contents.bus, *stated, contents.signers)
        payload[places.STATEMENT] = note.encode()
    for event in contents.events:
        payload |= _event_files(event)
    for tree in contents.trees:
        if tree.size:
            payload[places.checkpoint_path(tree.tp)] = tree.note.encode()
        if tree.size and tree.heads is not None:
            payload[places.consistency_path(tree.tp)] = str(tree.heads).encode()
    for agency, note in contents.heads.items():
        payload[places.heads_path(agency)] = note.encode()
    for schema in contents.schemas:
        payload[places.schema_path(schema.fingerprint)] = schema.text
    for agreement in contents.agreements:
        payload[places.agreement_path(agreement.digest)] = agreement.text
        if agreement.note is not None:
            payload[places.signatures_path(agreement.digest)] = agreement.note.encode()
    return archive.pack(bag.bagged(payload, date, software))


def _event_files(event: EventEvidence) -> dict[str, bytes]:
    place, tp = event.place, event.place.tp
    return {
        place.leaf_path: event.leaf.data,
        place.document_path: readable.document(
            tp.topic, tp.partition, place.leaf, event.leaf, event.event
        ),
        place.proof_path: str(event.proof).encode(),
        **{place.receipt_path(name): str(proof).encode() for name, proof in event.receipts.items()},
    }


def _search(contents: BundleContents) -> bytes:
    trees = [
        {
            "topic": each.tp.topic,
            "partition": each.tp.partition,
            "size": each.size,
            "root": each.root.hex(),
            "matching": sum(event.place.tp == each.tp for event in contents.events),
        }
        for each in sorted(contents.trees, key=lambda each: each.tp)
    ]
    document = {
        "format": FORMAT,
        "bus": contents.bus,
        "asked_for": contents.asked_for,
        "trees": trees,
        **contents.left_out.members(),
    }
    return readable.json_text(document).encode()
