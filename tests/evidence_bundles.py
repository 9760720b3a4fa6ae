"""Bundles of evidence for tests: a small one, and each kind of broken one.

.venv/bin/python tests/evidence_bundles.py

It writes `vectors/evidence/` anew: a ZIP file for each case, and `cases.json` with the keys that
are given, the exit status, and the files with a problem. All keys and times are fixed.
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sinergi_consumers.audit.evidence import archive, bag, places, readable
from sinergi_consumers.audit.evidence.composition import (
    AgreementEvidence,
    BundleContents,
    EventEvidence,
    TreeEvidence,
    compose,
)
from sinergi_consumers.audit.evidence.omissions import (
    NOT_AGREED,
    NOT_CHOSEN,
    NOT_READ,
    NOT_SEALED,
    SearchStatement,
    UnreadRelated,
    UnsearchedTopic,
)
from sinergi_consumers.audit.evidence.places import EvidencePlace
from sinergi_consumers.audit.evidence.readable import SealedLeaf
from sinergi_consumers.audit.evidence.trees import ConsistencyProof
from sinergi_consumers.testing.sinks import transfer
from sinergi_schemas import codec, message
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.seal.checkpoint import Checkpoint
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.seal.leaf_tree import LeafTree
from sinergi_schemas.seal.merkle import EMPTY_ROOT, leaf_hash
from sinergi_schemas.seal.note import sign_note
from sinergi_schemas.seal.proof import Proof
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VECTORS = Path(__file__).parent / "vectors" / "evidence"
CASES = VECTORS / "cases.json"

BUS = "sinergi.example"
OWNER_AGENCY, READER_AGENCY, DATABASE = "lapas-rekaan", "bnnk-rekaan", "register"
TP = TopicPartition(f"sinergi.{OWNER_AGENCY}.transfer", 0)
EMPTY_TP = TopicPartition(TP.topic, 1)
AT = datetime(2026, 3, 9, 1, 30, tzinfo=UTC)
HEADS_TIME, RECEIPT_TIME = 1_773_020_000, 1_773_021_000
WHEN, SOFTWARE = "2026-12-01", "sinergi 0.1.0"


def key_of(name: str, algorithm: Algorithm = Algorithm.ED25519, which: str = "") -> SigningKey:
    """A key that is always the same for a name; never use such a key for anything else.

    Args:
        which: another word for each further key of the name.
    """
    seed = sha256(f"{which}test key of {name}".encode()).digest()
    return SigningKey._of(name, algorithm, Ed25519PrivateKey.from_private_bytes(seed))


OWNER = key_of(f"{BUS}/{OWNER_AGENCY}")
READER = key_of(f"{BUS}/{READER_AGENCY}")
RECEIPTS = key_of(f"{BUS}/{READER_AGENCY}/{DATABASE}", Algorithm.COSIGNATURE)
STRANGER = key_of(OWNER.name, which="a stranger's ")
KEYS = (OWNER.public, READER.public, RECEIPTS.public)

AGREEMENT = f"""bus = "{BUS}"
title = "Perjanjian rekaan"
legal_basis = ["Undang-Undang Nomor 35 Tahun 2009 tentang Narkotika"]
numbers = [
  {{ party = "{OWNER_AGENCY}", number = "PKS/1" }},
  {{ party = "{READER_AGENCY}", number = "PKS/2" }},
]

[in_force]
from = 2025-10-23
until = 2028-10-23
zone = "Asia/Jakarta"

[parties.{OWNER_AGENCY}]
name = "Lapas Kelas IIA Rekaan"
keys = ["{OWNER.public}"]
receipt_keys = []

[parties.{READER_AGENCY}]
name = "BNN Kabupaten Rekaan"
keys = ["{READER.public}"]
receipt_keys = [{{ database = "{DATABASE}", key = "{RECEIPTS.public}" }}]

[events.transfer]
publishers = ["{OWNER_AGENCY}"]
readers = ["{READER_AGENCY}"]
purposes = ["PRISON_SECURITY"]
partitions = 2
""".encode()
AGREEMENT_DIGEST = sha256(AGREEMENT).hexdigest()


_REPLACED = f"[[parties.{OWNER_AGENCY}.replaced_keys]]"


def replacing_agreement(last: int, form: str = "inline") -> str:
    """The agreement where another key replaces the owner's, which may sign up to a size.

    Args:
        form: how its TOML is written: `inline`, `tables` or `array`.
    """
    head = f'keys = ["{STRANGER.public}"]\nreceipt_keys = []\n'
    key, sizes = f'key = "{OWNER.public}"', f"[{last}, 0]"
    forms = {
        "inline": f"{_REPLACED}\n{key}\nuntil = {{ transfer = {sizes} }}\n",
        "tables": (
            f"{_REPLACED}  # the first\n{key}\n"
            f"[parties.{OWNER_AGENCY}.replaced_keys.until]\ntransfer = {sizes}\n"
        ),
        "array": f"replaced_keys = [\n  {{ {key}, until.'transfer' = {sizes} }},  # ]\n]\n",
    }
    plain = f'keys = ["{OWNER.public}"]\nreceipt_keys = []\n'
    return AGREEMENT.decode().replace(plain, head + forms[form])


@cache
def leaves() -> tuple[bytes, ...]:
    """Five sealed leaves, of which the second and the fourth are one record's two revisions."""
    schema = Catalog.shipped().newest("transfer")
    records = (("MUT/1", 1), ("MUT/2", 1), ("MUT/3", 1), ("MUT/2", 2), ("MUT/4", 1))
    found = []
    for number, (record, revision) in enumerate(records):
        event = transfer(record, revision, occurred_at=AT, departed_at=AT)
        event_id = UUID(int=(7 << 76) | (1 << 63) | number)
        event = event.model_copy(update={"event_id": event_id})
        issued = event.issued(
            agency=OWNER_AGENCY, agreement=AGREEMENT_DIGEST, recorded_at=AT, revision=revision
        )
        datum = codec.encode(issued, schema)
        found.append(message.leaf_data(schema.fingerprint, record.encode(), datum))
    return tuple(found)


def signed(tree: LeafTree, size: int, key: SigningKey = OWNER) -> str:
    return checkpoint.sign(Checkpoint(TP.origin(BUS), size, tree.root(size)), [key])


def contents() -> BundleContents:
    """What the small bundle holds: two events, a receipt of one, heads, and an empty partition."""
    tree = LeafTree()
    tree.extend(map(leaf_hash, leaves()))
    note = signed(tree, 5)
    receipt = checkpoint.cosign(signed(tree, 3), RECEIPTS, RECEIPT_TIME)
    schema = Catalog.shipped().newest("transfer")

    def event(index: int, receipts: Mapping[str, Proof]) -> EventEvidence:
        leaf = SealedLeaf.parse(leaves()[index])
        proof = Proof(index, tree.inclusion_path(index, 5), note)
        told = readable.event_of(leaf, schema)
        return EventEvidence(EvidencePlace(TP, index), leaf, told, proof, receipts)

    stated = SignedHeads(
        BUS,
        OWNER_AGENCY,
        HEADS_TIME,
        (
            TreeHead(TP.topic, 0, 3, tree.root(3)),
            TreeHead(TP.topic, 1, 0, EMPTY_ROOT),
        ),
    )
    extends = ConsistencyProof(3, tree.consistency_path(3, 5), note)
    return BundleContents(
        bus=BUS,
        events=(
            event(1, {RECEIPTS.name: Proof(1, tree.inclusion_path(1, 3), receipt)}),
            event(3, {}),
        ),
        trees=(
            TreeEvidence(TP, 5, tree.root(5), note, extends),
            TreeEvidence(EMPTY_TP, 0, EMPTY_ROOT, "", None),
        ),
        heads={OWNER_AGENCY: heads.sign(stated, [OWNER])},
        schemas=(schema,),
        agreements=(
            AgreementEvidence(
                AGREEMENT_DIGEST,
                AGREEMENT,
                sign_note(f"{BUS}/agreement\n{AGREEMENT_DIGEST}\n", [OWNER, READER]),
            ),
        ),
        keys=KEYS,
        custody={
            "made_at": "2026-12-01T09:00:00+00:00",
            "made_by": "Ombudsman Rekaan",
            "why": "Perkara 12/Pid.Sus/2026",
        },
        asked_for={"key": "MUT/2"},
    )


def bundle() -> bytes:
    """The small bundle."""
    return compose(contents(), WHEN, SOFTWARE)


class Case(NamedTuple):
    """A bundle, and what a verifier says of it.

    Attributes:
        keys: those that the verifier is given.
        status: 0 proved, 1 disproved, 2 could not be checked.
        problems: the files with a problem; empty if the whole file is refused.
    """

    data: bytes
    keys: tuple[str, ...]
    status: int
    problems: tuple[str, ...] = ()


_LEAF = EvidencePlace(TP, 1)
_SECOND = EvidencePlace(TP, 3)
_RECEIPT = _LEAF.receipt_path(RECEIPTS.name)
_CHECKPOINT, _CONSISTENCY = places.checkpoint_path(TP), places.consistency_path(TP)
_HEADS = places.heads_path(OWNER_AGENCY)
_SIGNATURES = places.signatures_path(AGREEMENT_DIGEST)
_ALL = tuple(map(str, KEYS))


def changed(change: Callable[[dict[str, bytes]], object], whole: bytes | None = None) -> bytes:
    """A bundle with another payload, with manifests that fit it, as an attacker makes it.

    Args:
        whole: the bundle; None for the small one.
    """
    payload = bag.payload_of(archive.unpack(whole or bundle()).files)
    change(payload)
    return archive.pack(bag.bagged(payload, WHEN, SOFTWARE))


def unlisted(change: Callable[[dict[str, bytes]], object]) -> bytes:
    """The bundle with other files, and the manifests that it had."""
    files = archive.unpack(bundle()).files
    change(files)
    return archive.pack(files)


def _replaced(path: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        assert old in files[path], path
        files[path] = files[path].replace(old, new, 1)

    return change


def _flipped(path: str, at: int) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        data = bytearray(files[path])
        data[at] ^= 1
        files[path] = bytes(data)

    return change


def _without(*paths: str) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        for each in paths:
            del files[each]

    return change


def _with(path: str, data: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.update({path: data})


def _search(edit: Callable[[Any], object]) -> Callable[[dict[str, bytes]], None]:
    def change(files: dict[str, bytes]) -> None:
        document = json.loads(files[places.SEARCH])
        edit(document)
        files[places.SEARCH] = readable.json_text(document).encode()

    return change


def _signed_by(key: SigningKey) -> Callable[[dict[str, bytes]], None]:
    """Another key has signed the checkpoint of the tree, wherever it stands."""

    def change(files: dict[str, bytes]) -> None:
        tree = LeafTree()
        tree.extend(map(leaf_hash, leaves()))
        ours, theirs = signed(tree, 5), signed(tree, 5, key)
        for path, data in files.items():
            files[path] = data.replace(ours.encode(), theirs.encode())

    return change


def _cosigned_by(name: str, which: str) -> Callable[[dict[str, bytes]], None]:
    """A receipt that only this key of this name has cosigned."""

    def change(files: dict[str, bytes]) -> None:
        key = key_of(name, Algorithm.COSIGNATURE, which)
        proof = Proof.parse(files[_RECEIPT].decode())
        note = checkpoint.cosign(signed_receipt_base(), key, 1)
        files[_RECEIPT] = str(replace(proof, note=note)).encode()

    return change


def signed_receipt_base() -> str:
    tree = LeafTree()
    tree.extend(map(leaf_hash, leaves()))
    return signed(tree, 3)


def wrong_checksums(whole: bytes) -> bytes:
    """The bundle with the same wrong checksum of a file in both places."""
    data = bytearray(whole)
    data[14] ^= 1
    data[whole.index(b"PK\x01\x02") + 16] ^= 1
    return bytes(data)


def damaged(whole: bytes) -> bytes:
    """The bundle with one changed byte in the content of a file."""
    data = bytearray(whole)
    data[whole.index(leaves()[1]) + 60] ^= 1
    return bytes(data)


def zip_entry(
    flags: int = 0,
    method: int = 0,
    size: int = 3,
    name: bytes = b"evidence/a",
    extra: bytes = b"",
) -> bytes:
    """A ZIP file with one entry whose local header has other values."""
    numbers = (10, flags, method, 0, 0x21, 0, size, size, len(name), len(extra))
    return struct.pack("<4s5H3I2H", b"PK\x03\x04", *numbers) + name + extra + b"abc"


def cases() -> dict[str, Case]:
    """Every case by its name."""
    whole = bundle()
    two_directories = whole + whole[whole.rindex(b"PK\x05\x06") :]
    return {
        "valid": Case(whole, _ALL, 0),
        # The whole file is refused.
        "empty-file": Case(b"", _ALL, 2),
        "not-a-zip": Case(b"%PDF-1.7\n", _ALL, 2),
        "cut-off": Case(whole[:-30], _ALL, 2),
        "byte-after-the-end": Case(whole + b"\0", _ALL, 2),
        "byte-before-the-start": Case(b"\0" + whole, _ALL, 2),
        "second-directory": Case(two_directories, _ALL, 2),
        "compressed": Case(zip_entry(method=8), _ALL, 2),
        "encrypted": Case(zip_entry(flags=1), _ALL, 2),
        "path-upwards": Case(zip_entry(name=b"evidence/../../etc/passwd"), _ALL, 2),
        "absolute-path": Case(zip_entry(name=b"/etc/passwd"), _ALL, 2),
        "backslash-in-name": Case(zip_entry(name=b"evidence\\a"), _ALL, 2),
        "name-with-null": Case(zip_entry(name=b"evidence/a\0b"), _ALL, 2),
        "huge-size": Case(zip_entry(size=0xFFFFFFFF), _ALL, 2),
        "extra-field": Case(zip_entry(extra=b"\x01\x00\x00\x00"), _ALL, 2),
        "wrong-checksums": Case(wrong_checksums(whole), _ALL, 2),
        "damaged-on-the-way": Case(damaged(whole), _ALL, 1, (_LEAF.leaf_path,)),
        "same-name-twice": Case(zip_entry() + zip_entry(), _ALL, 2),
        # Files that are not those of the manifests.
        "leaf-flipped": Case(
            unlisted(_flipped(f"evidence/{_LEAF.leaf_path}", 60)), _ALL, 1, (_LEAF.leaf_path,)
        ),
        "manifest-flipped": Case(
            unlisted(_flipped("evidence/manifest-sha256.txt", 0)),
            _ALL,
            1,
            (places.agreement_path(AGREEMENT_DIGEST), "manifest-sha256.txt"),
        ),
        "file-missing": Case(
            unlisted(_without(f"evidence/{_SECOND.proof_path}")), _ALL, 1, (_SECOND.proof_path,)
        ),
        "file-too-many": Case(
            unlisted(_with("evidence/data/note.txt", b"x")), _ALL, 1, ("data/note.txt",)
        ),
        "file-beside-the-bag": Case(
            unlisted(_with("other/a.txt", b"x")), _ALL, 1, ("other/a.txt",)
        ),
        "no-manifest": Case(
            unlisted(_without("evidence/manifest-sha256.txt")), _ALL, 1, ("manifest-sha256.txt",)
        ),
        # Changes with manifests that fit.
        "leaf-changed": Case(
            changed(_flipped(_LEAF.leaf_path, 60)),
            _ALL,
            1,
            (_LEAF.leaf_path, _LEAF.proof_path, _RECEIPT),
        ),
        "event-text-changed": Case(
            changed(_replaced(_LEAF.document_path, b"HEALTH", b"SECURITY")),
            _ALL,
            1,
            (_LEAF.document_path,),
        ),
        "proof-of-another-leaf": Case(
            changed(lambda files: files.update({_SECOND.proof_path: files[_LEAF.proof_path]})),
            _ALL,
            1,
            (_SECOND.proof_path,),
        ),
        "proof-path-changed": Case(
            changed(lambda files: files.update({_SECOND.proof_path: _other_path(files)})),
            _ALL,
            1,
            (_SECOND.proof_path,),
        ),
        "proof-with-extra-line": Case(
            changed(_replaced(_SECOND.proof_path, b"@v1\n", b"@v1\nextra AAAA\n")),
            _ALL,
            1,
            (_SECOND.proof_path,),
        ),
        "event-dropped": Case(
            changed(_without(_SECOND.leaf_path, _SECOND.document_path, _SECOND.proof_path)),
            _ALL,
            1,
            (places.SEARCH,),
        ),
        "unknown-file": Case(changed(_with("data/note.txt", b"x")), _ALL, 1, ("data/note.txt",)),
        "proof-missing": Case(
            changed(_without(_SECOND.proof_path)), _ALL, 1, (_SECOND.proof_path,)
        ),
        "schema-missing": Case(changed(_without(_schema_path())), _ALL, 1, (_schema_path(),)),
        "schema-changed": Case(
            changed(_replaced(_schema_path(), b"Transfer", b"transfer")), _ALL, 1, (_schema_path(),)
        ),
        "checkpoint-changed": Case(
            changed(_replaced(_CHECKPOINT, b"\n5\n", b"\n6\n")),
            _ALL,
            1,
            (_CHECKPOINT, _LEAF.proof_path, _SECOND.proof_path),
        ),
        "signature-by-another-key": Case(
            changed(_signed_by(STRANGER)),
            _ALL,
            2,
            (_CHECKPOINT, _LEAF.proof_path, _SECOND.proof_path),
        ),
        "signature-by-somebody-else": Case(
            changed(_signed_by(READER)),
            _ALL,
            1,
            (_CHECKPOINT, _LEAF.proof_path, _SECOND.proof_path),
        ),
        "size-in-search-changed": Case(
            changed(_search(lambda found: found["trees"][0].update(size=4))),
            _ALL,
            1,
            (_CHECKPOINT,),
        ),
        "tree-hidden": Case(
            changed(_search(lambda found: found["trees"].pop(0))),
            _ALL,
            1,
            (places.SEARCH, _LEAF.proof_path, _SECOND.proof_path),
        ),
        "trees-of-another-form": Case(
            changed(_search(lambda found: found["trees"][0].update(size="5"))),
            _ALL,
            1,
            (places.SEARCH,),
        ),
        "another-bus": Case(
            changed(_search(lambda found: found.update(bus="sinergi.other"))),
            _ALL,
            1,
            (_CHECKPOINT, _HEADS, _LEAF.proof_path, _SECOND.proof_path, _RECEIPT, _SIGNATURES),
        ),
        "another-format": Case(
            changed(_search(lambda found: found.update(format="sinergi-evidence/2"))),
            _ALL,
            1,
            (places.SEARCH,),
        ),
        "heads-changed": Case(
            changed(_replaced(_HEADS, b"1773020000", b"1773020001")), _ALL, 1, (_HEADS,)
        ),
        "consistency-changed": Case(
            changed(_replaced(_CONSISTENCY, b"old 3", b"old 2")), _ALL, 1, (_CONSISTENCY,)
        ),
        "consistency-missing": Case(changed(_without(_CONSISTENCY)), _ALL, 1, (_CONSISTENCY,)),
        "receipt-by-another-database": Case(
            changed(_cosigned_by(f"{BUS}/{READER_AGENCY}/other", "")), _ALL, 1, (_RECEIPT,)
        ),
        "receipt-by-another-key-of-the-database": Case(
            changed(_cosigned_by(RECEIPTS.name, "another ")), _ALL, 2, (_RECEIPT,)
        ),
        "receipt-without-the-owner": Case(
            changed(lambda files: files.update({_RECEIPT: _without_owner(files[_RECEIPT])})),
            _ALL,
            1,
            (_RECEIPT,),
        ),
        "receipt-of-no-event": Case(
            changed(
                lambda files: files.update(
                    {EvidencePlace(TP, 2).receipt_path(RECEIPTS.name): files[_RECEIPT]}
                )
            ),
            _ALL,
            1,
            (EvidencePlace(TP, 2).receipt_path(RECEIPTS.name),),
        ),
        "agreement-changed": Case(
            changed(
                _replaced(
                    places.agreement_path(AGREEMENT_DIGEST), b"partitions = 2", b"partitions = 3"
                )
            ),
            _ALL,
            1,
            (places.agreement_path(AGREEMENT_DIGEST),),
        ),
        "agreement-signature-changed": Case(
            changed(_replaced(_SIGNATURES, AGREEMENT_DIGEST.encode(), b"0" * 64)),
            _ALL,
            1,
            (_SIGNATURES,),
        ),
        "custody-without-why": Case(
            changed(_with(places.CUSTODY, b'{\n  "made_at": "x",\n  "made_by": "y"\n}\n')),
            _ALL,
            1,
            (places.CUSTODY,),
        ),
        "custody-with-a-member-twice": Case(
            changed(_replaced(places.CUSTODY, b"{\n", b'{\n  "why": "x",\n')),
            _ALL,
            1,
            (places.CUSTODY,),
        ),
        "custody-with-half-a-character": Case(
            changed(_replaced(places.CUSTODY, b"Ombudsman", b"\\ud83dmbudsman")),
            _ALL,
            1,
            (places.CUSTODY,),
        ),
        "search-with-half-a-character": Case(
            changed(_replaced(places.SEARCH, b"MUT/2", b"MUT/2\\udc00")),
            _ALL,
            1,
            (places.SEARCH,),
        ),
        # Keys that are not given.
        "no-key": Case(
            whole,
            (),
            2,
            (_CHECKPOINT, _HEADS, _LEAF.proof_path, _SECOND.proof_path, _RECEIPT, _SIGNATURES),
        ),
        "key-of-the-owner-alone": Case(whole, (_ALL[0],), 2, (_RECEIPT, _SIGNATURES)),
        "another-key-of-the-owner": Case(
            whole,
            (str(STRANGER.public), *_ALL[1:]),
            2,
            (_CHECKPOINT, _HEADS, _LEAF.proof_path, _SECOND.proof_path, _RECEIPT, _SIGNATURES),
        ),
        "agreement-missing": Case(
            changed(_without(places.agreement_path(AGREEMENT_DIGEST), _SIGNATURES)),
            _ALL,
            2,
            (_LEAF.leaf_path, _SECOND.leaf_path),
        ),
        "no-heads": Case(changed(_without(_HEADS, _CONSISTENCY)), _ALL, 2, (places.SEARCH,)),
        **_statements(),
    }


def _statements() -> dict[str, Case]:
    """What the maker states: with and without his signature, and what was not searched."""
    signed_whole = compose(replace(contents(), signers=(READER,)), WHEN, SOFTWARE)
    absent = replace(contents(), events=())
    stranger = key_of("ombudsman.example/desk")
    unread = UnsearchedTopic(f"sinergi.{READER_AGENCY}.seizure", None, NOT_READ, "no right")
    broken = UnsearchedTopic(TP.topic, 2, NOT_SEALED, "it lacks leaf 3")
    others = (
        UnsearchedTopic(f"sinergi.{READER_AGENCY}.seizure", None, NOT_AGREED, ""),
        UnsearchedTopic(f"sinergi.{READER_AGENCY}.transfer", None, NOT_CHOSEN, ""),
    )
    related = (UnreadRelated(f"sinergi.{READER_AGENCY}.seizure", 3),)

    def stating(found: BundleContents, *signers: SigningKey) -> bytes:
        return compose(replace(found, signers=signers), WHEN, SOFTWARE)

    def left_out(found: SearchStatement) -> bytes:
        return stating(replace(contents(), left_out=found))

    def rewritten(change: Callable[[dict[str, bytes]], object]) -> bytes:
        return changed(change, signed_whole)

    asked = _search(lambda found: found.update(asked_for={"key": "MUT/9"}))
    no_form = _search(lambda found: found.update(not_searched=[{"topic": TP.topic}]))
    no_count = _search(lambda found: found.update(related_not_read=[{"topic": TP.topic}]))
    why = _replaced(places.CUSTODY, b"12/Pid.Sus", b"13/Pid.Sus")
    signature = _replaced(places.STATEMENT, f"— {READER.name}".encode(), f"— {OWNER.name}".encode())
    return {
        "signed": Case(signed_whole, _ALL, 0),
        "signed-by-somebody-without-an-agreement": Case(
            stating(contents(), stranger), (*_ALL, str(stranger.public)), 0
        ),
        "signed-by-an-unknown-key": Case(
            stating(contents(), stranger), _ALL, 2, (places.STATEMENT,)
        ),
        "signed-search-rewritten": Case(rewritten(asked), _ALL, 1, (places.STATEMENT,)),
        "signed-custody-rewritten": Case(rewritten(why), _ALL, 1, (places.STATEMENT,)),
        "signature-of-the-maker-renamed": Case(rewritten(signature), _ALL, 2, (places.STATEMENT,)),
        "statement-of-another-kind": Case(
            rewritten(lambda files: files.update({places.STATEMENT: files[_HEADS]})),
            _ALL,
            1,
            (places.STATEMENT,),
        ),
        "signature-removed": Case(rewritten(_without(places.STATEMENT)), _ALL, 0),
        "absence-unsigned": Case(stating(absent), _ALL, 2, (places.SEARCH,)),
        "absence-signed": Case(stating(absent, READER), _ALL, 0),
        "absence-signed-by-an-unknown-key": Case(
            stating(absent, stranger), _ALL, 2, (places.STATEMENT,)
        ),
        "topics-left-out": Case(left_out(SearchStatement(others)), _ALL, 0),
        "topic-not-read": Case(left_out(SearchStatement((unread,))), _ALL, 2, (places.SEARCH,)),
        "partition-not-sealed": Case(
            left_out(SearchStatement((broken,))), _ALL, 2, (places.SEARCH,)
        ),
        "related-not-read": Case(left_out(SearchStatement((), related)), _ALL, 2, (places.SEARCH,)),
        "not-searched-of-another-form": Case(changed(no_form), _ALL, 1, (places.SEARCH,)),
        "related-of-another-form": Case(changed(no_count), _ALL, 1, (places.SEARCH,)),
    }


def _schema_path() -> str:
    return places.schema_path(Catalog.shipped().newest("transfer").fingerprint)


def _other_path(files: Mapping[str, bytes]) -> bytes:
    proof = Proof.parse(files[_SECOND.proof_path].decode())
    return str(replace(proof, path=proof.path[::-1])).encode()


def _without_owner(data: bytes) -> bytes:
    lines = data.decode().split("\n")
    owner = next(at for at, line in enumerate(lines) if line.startswith(f"— {OWNER.name} "))
    del lines[owner]
    return "\n".join(lines).encode()


def main() -> None:
    """Write all cases."""
    VECTORS.mkdir(exist_ok=True)
    for old in VECTORS.glob("*.zip"):
        old.unlink()
    found = cases()
    for name, each in found.items():
        (VECTORS / f"{name}.zip").write_bytes(each.data)
    document = {
        name: {"keys": each.keys, "status": each.status, "problems": sorted(each.problems)}
        for name, each in found.items()
    }
    CASES.write_text(f"{json.dumps(document, indent=1)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
