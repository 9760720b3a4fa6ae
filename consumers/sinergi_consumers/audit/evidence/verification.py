"""Verifies a bundle with keys that do not come from it (docs/spec/bundle.md §5).

    1. The file is a ZIP file in its one form, else it is refused.
    2. Its files are those of the manifests. If one is not, nothing else is checked.
    3. Each file of the payload has a place, and no file that belongs to it is missing.
    4. Each tree: the owner's checkpoint; the tree extends that of the owner's heads.
    5. Each event: the schema, the readable text, the proof of its leaf, the receipts.
    6. Each agreement: its digest, and the signatures beside it.
    7. What the maker states: its signature, and what was not read.

All problems of steps 3 to 7 are collected. A signature under a name for which no key was given is
not checked, and the bundle then counts as not proved.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sinergi_consumers.audit.evidence import archive, bag, places
from sinergi_consumers.audit.evidence.checks import BundleChecks, Disproved
from sinergi_consumers.audit.evidence.events import EventChecks
from sinergi_consumers.audit.evidence.readable import json_text
from sinergi_consumers.audit.evidence.statement import StatementChecks, stated
from sinergi_consumers.audit.evidence.trees import TreeChecks, searched
from sinergi_consumers.audit.evidence.verdict import EvidenceVerdict
from sinergi_schemas import errors
from sinergi_schemas.seal.note import parse_bounded
from sinergi_schemas.topics import is_bus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_consumers.audit.evidence.places import PlacedFile
    from sinergi_consumers.audit.evidence.trust import TrustedKeys

FORMAT = "sinergi-evidence/1"

_ZIP = b"PK\x03\x04"
# Where the name of the first member begins, and how it begins in an archive of topics
# (docs/spec/archive.md). No bundle has such a member.
_FIRST_NAME, _ARCHIVE = 30, b"agreements/"
_REQUIRED = (places.CUSTODY, places.SEARCH, places.KEYS)
_STATED = ("made_at", "made_by", "why")
_SEARCH_MEMBERS = {"format", "bus", "asked_for", "trees", "not_searched", "related_not_read"}
_MOST_NOTE_BYTES, _MOST_SIGNATURES = 64 * 1024, 100


def verify(data: bytes, trusted: TrustedKeys) -> EvidenceVerdict:
    """Verify the bytes of a bundle.

    Raises:
        BundleRefused: they are not a bundle in its one form.
    """
    check_kind(data)
    try:
        files, damaged = archive.unpack(data)
    except archive.NotCanonical as why:
        raise errors.BundleRefused(str(why)) from None
    verdict = EvidenceVerdict(sha256(data).hexdigest())
    verdict.disproved += bag.problems(files)
    if not verdict.disproved and damaged:
        raise errors.BundleRefused(f"the checksum of {damaged[0]} is not that of its content")
    if not verdict.disproved:
        _verify_payload(bag.payload_of(files), trusted, verdict)
    return verdict


def check_kind(begin: bytes) -> None:
    """Refuse an empty file, and an archive of topics, which may be larger than any bundle.

    Args:
        begin: the first bytes of a file.

    Raises:
        BundleRefused: there are none, or they are those of an archive.
    """
    if not begin:
        raise errors.BundleRefused("it is empty", "Copy it again, whole")
    if begin.startswith(_ZIP) and begin.startswith(_ARCHIVE, _FIRST_NAME):
        what = "it is an archive of topics, which `sinergi archive show` shows"
        remedy = "`sinergi replay --archive FILE` verifies its topics"
        raise errors.BundleRefused(what, remedy)


def _verify_payload(
    payload: Mapping[str, bytes], trusted: TrustedKeys, verdict: EvidenceVerdict
) -> None:
    """Steps 3 to 7."""
    checks = BundleChecks("", payload, trusted, verdict)
    placed = {path: checks.attempt(_placed, path) for path in payload}
    files = {path: each for path, each in placed.items() if each is not None}
    for path in _REQUIRED:
        checks.attempt(checks.content, path)
    custody = checks.attempt(_custody, checks)
    search = checks.attempt(_search, checks)
    trees = checks.attempt(searched, search["trees"]) if search else None
    left_out = checks.attempt(stated, search) if search else None
    if verdict.disproved or not (custody and search and trees and left_out):
        return
    verdict.custody, verdict.asked_for = custody, search["asked_for"]
    bus = search["bus"]
    notes = TreeChecks(bus, payload, trusted, verdict).run(trees, files)
    EventChecks(bus, payload, trusted, verdict).run(files, notes)
    _AgreementChecks(bus, payload, trusted, verdict).run(files)
    StatementChecks(bus, payload, trusted, verdict).run(left_out)


def _placed(path: str) -> PlacedFile:
    found = places.placed(path)
    if found is None:
        raise Disproved(path, "is no file of a bundle")
    return found


def _custody(checks: BundleChecks) -> dict[str, Any]:
    found = _object(checks, places.CUSTODY)
    if not all(isinstance(found.get(name), str) for name in _STATED):
        raise Disproved(places.CUSTODY, "does not state who made the bundle, when, and why")
    return found


def _search(checks: BundleChecks) -> dict[str, Any]:
    found = _object(checks, places.SEARCH)
    is_whole = (
        found.keys() == _SEARCH_MEMBERS
        and found["format"] == FORMAT
        and isinstance(found["bus"], str)
        and is_bus(found["bus"])
        and isinstance(found["asked_for"], dict)
    )
    if not is_whole:
        raise Disproved(places.SEARCH, f"is not of the format {FORMAT}")
    return found


def _object(checks: BundleChecks, path: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        Disproved: the file holds none, or writes it in another form than `readable.json_text`.
    """
    text = checks.text(path)
    try:
        # Every number is one of JavaScript, whose program compares the same text.
        is_canonical = json_text(json.loads(text, parse_int=float)) == text
        found = json.loads(text)
    except (ValueError, RecursionError):
        is_canonical, found = False, None
    if not isinstance(found, dict) or not is_canonical:
        raise Disproved(path, "is not a JSON object in its one form")
    return found


class _AgreementChecks(BundleChecks):
    """Step 6. Who has to sign an agreement, its own text says; that is not decided here."""

    def run(self, files: Mapping[str, PlacedFile]) -> None:
        """Verify the files that are named by their digests, and the signatures beside them."""
        for path, each in files.items():
            if each.kind in ("agreement", "schema"):
                self.attempt(self._check_digest, path, each.parts[0])
            elif each.kind == "signatures":
                self.attempt(self._check_signatures, path, each.parts[0])

    def _check_digest(self, path: str, digest: str) -> None:
        if sha256(self.content(path)).hexdigest() != digest:
            raise Disproved(path, "is not the file with the SHA-256 of its name")
        if path == places.agreement_path(digest):
            self.verdict.agreements.append(self.content(path))

    def _check_signatures(self, path: str, digest: str) -> None:
        self.content(places.agreement_path(digest))
        try:
            what = "the signatures of an agreement"
            note = parse_bounded(self.text(path), what, _MOST_NOTE_BYTES, _MOST_SIGNATURES)
        except errors.NoteMalformed as why:
            raise Disproved(path, f"is not a signed note: {why.what}") from None
        if note.text != f"{self.bus}/agreement\n{digest}\n":
            raise Disproved(path, "signs another text than that of this agreement")
        self.check_signatures(path, note, self.trusted.of_signer)
