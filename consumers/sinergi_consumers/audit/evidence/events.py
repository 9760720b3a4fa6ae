"""Verifies the events of a bundle: what they say, their proofs, and the receipts."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sinergi_consumers.audit.evidence import places, readable
from sinergi_consumers.audit.evidence.checks import BundleChecks, Disproved, first_valid
from sinergi_consumers.audit.evidence.readable import SealedLeaf
from sinergi_consumers.audit.evidence.verdict import ProvedEvent, ProvedReceipt
from sinergi_schemas import errors
from sinergi_schemas.catalog import Schema
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinergi_consumers.audit.evidence.places import EvidencePlace, PlacedFile
    from sinergi_schemas.seal.keys import VerifyingKey
    from sinergi_schemas.seal.note import Note
    from sinergi_schemas.topics import TopicPartition


class EventChecks(BundleChecks):
    """Step 5: each event."""

    def run(self, files: Mapping[str, PlacedFile], notes: Mapping[TopicPartition, str]) -> None:
        """Verify all events.

        Args:
            files: the files of the payload.
            notes: the checkpoint of each tree.
        """
        found = {each.place for each in files.values() if each.kind == "leaf"}
        self.verdict.event_count = len(found)
        receipts: dict[EvidencePlace, list[PlacedFile]] = {each: [] for each in found}
        for path, each in files.items():
            if each.kind in ("document", "proof", "receipt"):
                self.attempt(_check_belongs, path, each, found)
            if each.kind == "receipt" and each.place in found:
                receipts[each.place].append(each)
        for place in sorted(found):
            self._verify(place, notes.get(place.tp, ""), receipts[place])

    def _verify(self, place: EvidencePlace, note: str, receipts: Sequence[PlacedFile]) -> None:
        problems = len(self.verdict.disproved)
        event = self.attempt(self._read, place)
        is_sealed = self.attempt(self._is_sealed, place, note)
        held = [self.attempt(self._receipt, place, each) for each in receipts]
        if is_sealed and event is not None and len(self.verdict.disproved) == problems:
            proved = tuple(each for each in held if each is not None)
            self.verdict.events.append(ProvedEvent(place, event, proved))

    def _read(self, place: EvidencePlace) -> dict[str, Any]:
        """What the leaf of an event says.

        Raises:
            Disproved: it is no event, or its readable file says something else.
        """
        path, topic = place.leaf_path, places.topic_of(place.tp)
        try:
            leaf = SealedLeaf.parse(self.content(path))
        except ValueError as why:
            raise Disproved(path, f"is no leaf: {why}") from None
        schema = self._schema(topic.event_type, leaf.fingerprint)
        try:
            event = readable.event_of(leaf, schema)
        except ValueError as why:
            raise Disproved(path, f"is no event: {why}") from None
        if (event.get("agency"), str(event.get("record_id")).encode()) != (topic.agency, leaf.key):
            raise Disproved(path, "contradicts its topic or its key")
        told = readable.document(topic.name, place.tp.partition, place.leaf, leaf, event)
        if self.content(place.document_path) != told:
            raise Disproved(place.document_path, "does not say what the leaf says")
        if places.agreement_path(str(event.get("agreement"))) not in self.payload:
            self.leave(path, "names an agreement that is not in the bundle")
        return event

    def _schema(self, event_type: str, fingerprint: bytes) -> Schema:
        path = places.schema_path(fingerprint)
        text = self.content(path)
        if sha256(text).digest() != fingerprint:
            raise Disproved(path, "is not the file with the SHA-256 of its name")
        try:
            return _parsed(event_type, text)
        except errors.SchemaRefused:
            raise Disproved(path, "is not a schema of safe shape") from None

    def _is_sealed(self, place: EvidencePlace, note: str) -> bool:
        """Whether the proof leads from the leaf to the checkpoint of the tree, and a key is given.

        Raises:
            Disproved: it does not.
        """
        proof = self._proof(place.proof_path, place)
        if proof.note != note:
            raise Disproved(place.proof_path, "has another checkpoint than the tree")
        return self._is_path(place.proof_path, place, proof, _checkpoint(place.proof_path, proof))

    def _receipt(self, place: EvidencePlace, file: PlacedFile) -> ProvedReceipt | None:
        """The receipt if it is proved; None if a key is missing.

        Raises:
            Disproved: it does not hold.
        """
        _, _, reader, database = file.parts
        name = f"{self.bus}/{reader}/{database}"
        path = place.receipt_path(name)
        proof = self._proof(path, place)
        note = _checkpoint(path, proof)
        is_owners = self._is_path(path, place, proof, note)
        keys = self.trusted.of_database(self.bus, reader, database)
        if not self.is_checkable(path, note, name, keys):
            return None
        at = _cosigned_at(note, keys)
        if at is None:
            raise Disproved(path, "has no valid signature of the reader's database")
        return ProvedReceipt(f"{reader}/{database}", at) if is_owners else None

    def _proof(self, path: str, place: EvidencePlace) -> Proof:
        text = self.text(path)
        try:
            proof = Proof.parse(text)
        except errors.NoteMalformed as why:
            raise Disproved(path, f"is not a proof: {why.what}") from None
        if str(proof) != text or proof.index != place.leaf:
            raise Disproved(path, "is not a proof of this leaf in its one form")
        return proof

    def _is_path(self, path: str, place: EvidencePlace, proof: Proof, note: Note) -> bool:
        """Whether a proof proves the leaf; False if no given key has signed its checkpoint.

        Args:
            note: the checkpoint of the proof.

        Raises:
            Disproved: it does not prove the leaf.
        """
        rings = self.owner_rings(path, place.tp, note)
        if not rings:
            return False
        leaf, origin = self.content(place.leaf_path), place.tp.origin(self.bus)
        what = "does not prove the leaf under the given keys"
        first_valid(rings, lambda ring: proof.verify(leaf, origin, ring), path, what)
        return True


@lru_cache(64)
def _parsed(event_type: str, text: bytes) -> Schema:
    return Schema.from_bytes(event_type, 0, 0, text)


def _checkpoint(path: str, proof: Proof) -> Note:
    """The note of a proof's checkpoint, unverified.

    Raises:
        Disproved: it is no checkpoint.
    """
    try:
        return checkpoint.parse_receipt(proof.note)
    except errors.NoteMalformed as why:
        raise Disproved(path, f"is not a checkpoint: {why.what}") from None


def _check_belongs(path: str, file: PlacedFile, found: set[EvidencePlace]) -> None:
    if file.place not in found:
        raise Disproved(path, "belongs to no event of the bundle")


def _cosigned_at(note: Note, keys: Sequence[VerifyingKey]) -> int | None:
    """The time of the earliest valid cosignature by one of the keys; None without one."""
    found = []
    for key in keys:
        try:
            at = checkpoint.verify_cosignature(note, key)
        except errors.SignatureInvalid:
            at = None
        found += [] if at is None else [at]
    return min(found, default=None)
