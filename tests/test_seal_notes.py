"""Notes have one form; checkpoints, heads, receipts and proofs hold only what was signed."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinergi_schemas import errors
from sinergi_schemas.agreements import tables
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.seal.checkpoint import Checkpoint
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.seal.key_ring import KeyRing, KeySpan
from sinergi_schemas.seal.keys import Algorithm, SigningKey, VerifyingKey
from sinergi_schemas.seal.merkle import EMPTY_ROOT, Frontier, inclusion_proof, leaf_hash
from sinergi_schemas.seal.note import Note, Signature, parse_note, sign_note, verify_note
from sinergi_schemas.seal.proof import Proof
from sinergi_schemas.seal.writer import TreeWriter
from sinergi_schemas.topics import Topic

VECTORS = Path(__file__).parent / "vectors/seal"
PETER: dict[str, Any] = json.loads((VECTORS / "notes/peter-neumann.json").read_text())
ARCHE: dict[str, Any] = json.loads((VECTORS / "notes/arche2025h1.json").read_text())
TOPIC: dict[str, Any] = json.loads((VECTORS / "topic.json").read_text())
GOOD = (VECTORS / "notes/good.note").read_text()
MALFORMED = sorted((VECTORS / "malformed").glob("*.note"))

ORIGIN: str = TOPIC["origin"]
KEYS = list(map(SigningKey.parse, TOPIC["owner_private"]))
OWNER = [key.public for key in KEYS]
READER = SigningKey.parse(TOPIC["reader_private"])
RING = KeyRing((KeySpan(OWNER[0], 7), KeySpan(OWNER[1])))
STRANGER = SigningKey.generate(OWNER[0].name)


def good() -> Checkpoint:
    return checkpoint.verify(GOOD, ORIGIN, RING)


# Published vectors, and ours


def test_the_published_note_is_made_and_verified_byte_for_byte() -> None:
    key = SigningKey.parse(PETER["private"])
    assert sign_note(PETER["text"], [key]) == PETER["note"]
    note = parse_note(PETER["note"])
    assert (note.text, str(note)) == (PETER["text"], PETER["note"])
    assert len(verify_note(note, [VerifyingKey.parse(PETER["public"])])) == 1


def test_a_checkpoint_of_a_public_log_verifies_with_its_witness() -> None:
    owner, witness = map(VerifyingKey.parse, (ARCHE["public"], ARCHE["witness"]))
    found = checkpoint.verify(ARCHE["note"], owner.name, KeyRing.of(owner))
    assert (found.size, found.root) == (ARCHE["size"], base64.b64decode(ARCHE["root"]))
    note = parse_note(ARCHE["note"])
    assert checkpoint.verify_cosignature(note, witness) == ARCHE["witnessed_at"]
    changed = replace(note, text=note.text.replace("1432088532", "1432088533"))
    with pytest.raises(errors.SignatureInvalid):
        checkpoint.verify_cosignature(changed, witness)


def test_the_wire_format_is_the_pinned_one() -> None:
    """Every byte of the vector was computed without this package."""
    assert [str(key) for key in OWNER] == TOPIC["owner"]
    assert str(READER.public) == TOPIC["reader"]
    writer = TreeWriter(ORIGIN, KEYS[:1], Frontier.empty())
    for each in TOPIC["messages"]:
        data = bytes.fromhex(each["leaf_data"])
        assert leaf_hash(data).hex() == each["leaf_hash"]
        assert writer.add(data) == each["index"]
        if "checkpoint" in each:
            sealed = writer.checkpoint()
            assert sealed.note == each["checkpoint"]
            assert b"".join(sealed.frontier).hex() == each["frontier"]
            writer = TreeWriter(ORIGIN, KEYS, writer.frontier)


def test_receipt_heads_and_proof_are_the_pinned_ones() -> None:
    sealed = {
        each["index"]: each["checkpoint"] for each in TOPIC["messages"] if "checkpoint" in each
    }
    time = TOPIC["received_at"]
    assert checkpoint.cosign(sealed[2], READER, time) == TOPIC["receipt"]
    found = heads.verify(TOPIC["heads"], "sinergi.example", "lapas-banyuwangi", OWNER)
    assert [head.partition_path for head in found.heads] == [
        "sinergi.lapas-banyuwangi.transfer/0",
        "sinergi.lapas-banyuwangi.transfer/1",
        "sinergi.lapas-banyuwangi.transfer/10",
        "sinergi.lapas-banyuwangi.transfer/2",
    ]
    assert [head.size for head in found.heads] == [7, 0, 0, 1]
    assert heads.sign(replace(found, heads=found.heads[::-1]), KEYS[:1]) == TOPIC["heads"]
    leaves = [bytes.fromhex(each["leaf_hash"]) for each in TOPIC["messages"]]
    proof = Proof(2, tuple(inclusion_proof(leaves, 2)), sealed[6])
    assert str(proof) == TOPIC["proof"]
    assert Proof.parse(TOPIC["proof"]) == proof


# Notes


@pytest.mark.parametrize("path", MALFORMED, ids=lambda path: path.stem)
def test_a_malformed_checkpoint_is_refused_even_if_truly_signed(path: Path) -> None:
    with pytest.raises(errors.NoteMalformed) as refused:
        checkpoint.verify(path.read_bytes().decode(), ORIGIN, RING)
    assert ORIGIN in str(refused.value)


def test_lone_surrogates_and_oversized_notes_are_malformed() -> None:
    for note in (GOOD.replace("3\n", "3\ud800\n"), "a" * 600_000 + "\n" + GOOD):
        with pytest.raises(errors.NoteMalformed):
            parse_note(note)


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_no_change_of_one_character_goes_unnoticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(min_value=0, max_value=len(GOOD) - 1))
    put = data.draw(st.text(max_size=2))
    changed = GOOD[:at] + put + GOOD[at + 1 :]
    if changed != GOOD:
        with pytest.raises(errors.SealBroken):
            checkpoint.verify(changed, ORIGIN, RING)


def test_signatures_of_unknown_keys_are_passed_over() -> None:
    note = parse_note(GOOD)
    theirs = parse_note(sign_note(note.text, [STRANGER, SigningKey.generate("other.example")]))
    both = Note(note.text, (*theirs.signatures, *note.signatures))
    assert checkpoint.verify(str(both), ORIGIN, RING) == good()


def test_a_note_signed_by_nobody_we_know_is_refused() -> None:
    note = sign_note(parse_note(GOOD).text, [STRANGER])
    with pytest.raises(errors.SignatureMissing, match="lapas-banyuwangi"):
        checkpoint.verify(note, ORIGIN, RING)
    with pytest.raises(errors.SignatureMissing, match="nobody"):
        checkpoint.verify(GOOD, ORIGIN, KeyRing(()))


def test_a_false_signature_of_a_known_key_refuses_the_note_beside_a_true_one() -> None:
    note = parse_note(sign_note(parse_note(GOOD).text, KEYS))
    false = replace(note.signatures[1], value=note.signatures[0].value)
    with pytest.raises(errors.SignatureInvalid):
        checkpoint.verify(str(replace(note, signatures=(note.signatures[0], false))), ORIGIN, RING)


def test_a_note_of_both_keys_holds_for_whoever_knows_one_of_them() -> None:
    note = checkpoint.sign(good(), KEYS)
    for ring in (RING, KeyRing.of(OWNER[0]), KeyRing.of(OWNER[1])):
        assert checkpoint.verify(note, ORIGIN, ring) == good()
    with pytest.raises(errors.SignatureMissing):
        checkpoint.verify(GOOD, ORIGIN, KeyRing.of(OWNER[1]))


def test_sixteen_signatures_are_taken() -> None:
    note = parse_note(GOOD)
    more = [SigningKey.generate(f"other.example/{at}") for at in range(15)]
    note = Note(note.text, (*parse_note(sign_note(note.text, more)).signatures, *note.signatures))
    assert checkpoint.verify(str(note), ORIGIN, RING) == good()


@pytest.mark.parametrize("text", ["", "no newline", "a\tb\n", "a\r\n", "\ud7ff\x00\n"])
def test_what_no_reader_would_take_is_not_signed(text: str) -> None:
    with pytest.raises(errors.NoteMalformed):
        sign_note(text, KEYS)
    with pytest.raises(errors.NoteMalformed):
        sign_note("text\n", [])


# Checkpoints


@pytest.mark.parametrize(
    "wrong",
    [
        Checkpoint("", 0, EMPTY_ROOT),
        Checkpoint("a\nb", 0, EMPTY_ROOT),
        Checkpoint(ORIGIN, -1, EMPTY_ROOT),
        Checkpoint(ORIGIN, 10**18, EMPTY_ROOT),
        Checkpoint(ORIGIN, 1, b"\0" * 31),
        Checkpoint(ORIGIN, 0, b"\0" * 32),
    ],
    ids=repr,
)
def test_an_impossible_checkpoint_is_not_signed(wrong: Checkpoint) -> None:
    with pytest.raises(errors.NoteMalformed):
        checkpoint.sign(wrong, KEYS)


def test_a_checkpoint_of_another_partition_is_foreign() -> None:
    other = replace(good(), origin=ORIGIN[:-1] + "1")
    with pytest.raises(errors.OriginForeign) as refused:
        checkpoint.verify(checkpoint.sign(other, KEYS), ORIGIN, RING)
    assert (refused.value.origin, refused.value.found) == (ORIGIN, other.origin)


def test_further_lines_are_covered_by_the_signature_and_mean_nothing() -> None:
    note = sign_note(str(good()) + "more\n", KEYS[:1])
    assert checkpoint.verify(note, ORIGIN, RING) == good()
    with pytest.raises(errors.SignatureInvalid):
        checkpoint.verify(note.replace("more", "mere"), ORIGIN, RING)


# Receipts


def test_a_receipt_tells_when_and_leaves_the_checkpoint_as_it_was() -> None:
    note = checkpoint.cosign(GOOD, READER, 1_740_000_000)
    assert note.startswith(GOOD)
    assert checkpoint.verify(note, ORIGIN, RING) == good()
    assert checkpoint.verify_cosignature(parse_note(note), READER.public) == 1_740_000_000


def test_a_checkpoint_without_a_receipt_has_none() -> None:
    assert checkpoint.verify_cosignature(parse_note(GOOD), READER.public) is None


def test_an_owners_signature_is_no_receipt_and_a_receipt_no_owners_signature() -> None:
    assert checkpoint.verify_cosignature(parse_note(GOOD), OWNER[0]) is None
    only = Note(parse_note(GOOD).text, parse_note(TOPIC["receipt"]).signatures[1:])
    with pytest.raises(errors.SignatureMissing):
        checkpoint.verify(str(only), ORIGIN, KeyRing((*RING.spans, KeySpan(READER.public))))


def test_a_receipt_moved_in_time_or_to_another_checkpoint_is_false() -> None:
    note = parse_note(TOPIC["receipt"])
    receipt = note.signatures[1]
    late = replace(receipt, value=(1_740_000_001).to_bytes(8, "big") + receipt.value[8:])
    beyond = replace(receipt, value=b"\xff" * 8 + receipt.value[8:])
    other = parse_note(checkpoint.sign(Checkpoint(ORIGIN, 0, EMPTY_ROOT), KEYS)).text
    for false in (
        Note(note.text, (late,)),
        Note(note.text, (beyond,)),
        Note(note.text, (replace(receipt, value=receipt.value[:-1]),)),
        Note(other, (receipt,)),
    ):
        with pytest.raises(errors.SignatureInvalid):
            checkpoint.verify_cosignature(false, READER.public)


def with_lines(note: str, *lines: Signature) -> str:
    parsed = parse_note(note)
    return str(Note(parsed.text, (*parsed.signatures, *lines)))


def false_line(key: VerifyingKey) -> Signature:
    return Signature(key.name, key.id, bytes(72))


def test_a_false_line_under_a_readers_name_never_spoils_its_receipt() -> None:
    """The owner, or whoever has written to the topic, may add any line to a checkpoint."""
    spoilt = with_lines(GOOD, false_line(READER.public))
    assert checkpoint.verify(spoilt, ORIGIN, RING) == good()
    receipt = checkpoint.cosign(
        checkpoint.keep_owner_signatures(spoilt, OWNER), READER, 1_740_000_000
    )
    assert false_line(READER.public) not in parse_note(receipt).signatures
    assert checkpoint.verify(receipt, ORIGIN, RING) == good()
    assert checkpoint.verify_cosignature(parse_note(receipt), READER.public) == 1_740_000_000
    again = parse_note(with_lines(receipt, false_line(READER.public)))
    assert checkpoint.verify_cosignature(again, READER.public) == 1_740_000_000


def test_a_checkpoint_has_few_signatures_one_under_each_key_and_few_bytes() -> None:
    strangers = [SigningKey.generate(f"other.example/{at}") for at in range(16)]
    first, *others = [false_line(each.public) for each in strangers]
    assert len(others) + 1 == checkpoint.MOST_SIGNATURES
    full = with_lines(GOOD, *others)
    receipt = checkpoint.cosign(full, READER, 1)
    for taken in (full, receipt):
        assert checkpoint.verify(taken, ORIGIN, RING) == good()
    with pytest.raises(errors.NoteMalformed, match="more than 17 signatures"):
        checkpoint.verify(with_lines(receipt, first), ORIGIN, RING)
    with pytest.raises(errors.NoteMalformed, match="two signatures of one key"):
        checkpoint.verify(with_lines(GOOD, *parse_note(GOOD).signatures[:1]), ORIGIN, RING)
    text = parse_note(GOOD).text
    for more in ("x" * checkpoint.MOST_RECEIPT_BYTES, "\u00e9" * checkpoint.MOST_BYTES):
        with pytest.raises(
            errors.NoteMalformed, match=f"more than {checkpoint.MOST_RECEIPT_BYTES} bytes"
        ):
            checkpoint.verify(sign_note(f"{text}{more}\n", KEYS), ORIGIN, RING)


def test_an_owner_with_many_keys_signs_with_no_more_than_a_reader_takes() -> None:
    keys = [KEYS[1], *(SigningKey.generate(f"other.example/{at}") for at in range(20))]
    note = checkpoint.sign(Checkpoint(ORIGIN, 0, EMPTY_ROOT), keys)
    assert len(parse_note(note).signatures) == checkpoint.MOST_SIGNATURES
    assert checkpoint.verify(note, ORIGIN, KeyRing.of(OWNER[1])).size == 0


def test_no_receipt_is_given_for_what_is_no_checkpoint() -> None:
    with pytest.raises(errors.NoteMalformed):
        checkpoint.cosign(PETER["note"], READER, 1)
    with pytest.raises(ValueError, match="may not sign receipts"):
        checkpoint.cosign(GOOD, KEYS[0], 1)


# Heads

HEAD = TreeHead("sinergi.lapas-banyuwangi.transfer", 0, 0, EMPTY_ROOT)
HEADS = SignedHeads("sinergi.example", "lapas-banyuwangi", 1_740_000_000, (HEAD,))


def read_heads(text: str) -> SignedHeads:
    """Heads out of a text that their owner truly signed."""
    return heads.verify(sign_note(text, KEYS), HEADS.bus, HEADS.agency, OWNER)


def test_heads_come_back_in_the_order_of_their_lines() -> None:
    many = tuple(replace(HEAD, partition=at) for at in range(12))
    found = read_heads(str(replace(HEADS, heads=many[::-1])))
    assert [head.partition for head in found.heads] == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    assert read_heads(str(replace(HEADS, heads=()))).heads == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("heads\n", "head\n"),
        ("lapas", "bnnk"),
        ("1740000000", "01740000000"),
        ("1740000000", "-1"),
        ("1740000000", "yesterday"),
        ("1740000000\n", ""),
        ("transfer/0", "transfer"),
        ("transfer/0", "transfer/00"),
        ("transfer/0", "transfer/x"),
        ("sinergi.lapas-banyuwangi.transfer/0", "/0"),
        ("/0 0", "/0  0"),
        ("/0 0 ", "/0 "),
        ("/0 0 ", "/0"),
        ("/0 0", "/0 00"),
        ("/0 0", "/0 1 0"),
        ("=\n", "\n"),
        ("=\n", "= \n"),
        ("/0 0 4", "/0 0 5"),
        ("=\n", "=\n\n"),
    ],
)
def test_heads_with_one_line_out_of_form_are_refused(old: str, new: str) -> None:
    text = str(HEADS)
    assert old in text
    with pytest.raises(errors.NoteMalformed):
        read_heads(text.replace(old, new, 1))


def test_heads_out_of_order_or_twice_are_refused() -> None:
    first, second = f"{HEAD}\n", f"{replace(HEAD, partition=1)}\n"
    start = str(replace(HEADS, heads=()))
    assert len(read_heads(start + first + second).heads) == 2
    larger = f"{replace(HEAD, size=1, root=leaf_hash(b''))}\n"
    for lines in (second + first, first + first, first + larger):
        with pytest.raises(errors.NoteMalformed):
            read_heads(start + lines)


@pytest.mark.parametrize("text", ["\n", "sinergi.example/lapas-banyuwangi/heads\n"])
def test_heads_without_a_time_are_refused(text: str) -> None:
    with pytest.raises(errors.NoteMalformed):
        read_heads(text)


def test_heads_of_another_agency_are_refused_as_such() -> None:
    for other in (replace(HEADS, agency="bnnk-banyuwangi"), replace(HEADS, bus="other.example")):
        with pytest.raises(errors.NoteMalformed, match="not hold the heads of sinergi"):
            read_heads(str(other))


def test_heads_need_their_agencys_signature_and_no_checkpoint_passes_for_them() -> None:
    note = heads.sign(HEADS, [STRANGER])
    with pytest.raises(errors.SignatureMissing):
        heads.verify(note, HEADS.bus, HEADS.agency, OWNER)
    with pytest.raises(errors.NoteMalformed):
        heads.verify(GOOD, HEADS.bus, HEADS.agency, OWNER)
    with pytest.raises(errors.NoteMalformed):
        heads.sign(replace(HEADS, heads=(HEAD, HEAD)), KEYS)


def test_heads_have_few_signatures_one_under_each_key_and_few_bytes() -> None:
    strangers = [SigningKey.generate(f"other.example/{at}") for at in range(16)]
    first, *others = [false_line(each.public) for each in strangers]
    note = heads.sign(HEADS, KEYS[:1])
    assert len(others) + 1 == heads.MOST_SIGNATURES
    full = with_lines(note, *others)
    assert heads.verify(full, HEADS.bus, HEADS.agency, OWNER) == HEADS
    true, *_ = parse_note(note).signatures
    for much, why in (
        (with_lines(full, first), "more than 16 signatures"),
        (with_lines(note, *[true] * 14), "two signatures of one key"),
        (sign_note(f"{HEADS}{'x' * heads.MOST_BYTES}\n", KEYS), "more than 491520 bytes"),
        (sign_note(f"{HEADS}{chr(233) * (heads.MOST_BYTES // 2)}\n", KEYS), "more than 491520"),
    ):
        with pytest.raises(errors.NoteMalformed, match=why):
            heads.verify(much, HEADS.bus, HEADS.agency, OWNER)


def test_an_owner_with_many_keys_signs_heads_with_no_more_than_a_reader_takes() -> None:
    keys = [*KEYS, *(SigningKey.generate(f"other.example/{at}") for at in range(20))]
    found = heads.verify(heads.sign(HEADS, keys), HEADS.bus, HEADS.agency, OWNER)
    assert found.signers == tuple(OWNER)


def test_the_heads_of_the_largest_owner_under_the_largest_agreement_are_taken() -> None:
    bus, agency = "b" * 253, "a" * 63
    keys = [SigningKey.generate(f"{bus}/{agency}") for _ in range(heads.MOST_SIGNATURES)]
    root = leaf_hash(b"")
    lines = (
        TreeHead(Topic(agency, name).name, number, 10**18 - 1, root)
        for name in Catalog.shipped().event_types
        for number in range(tables._MOST_PARTITIONS)
    )
    most = SignedHeads(bus, agency, 10**18 - 1, tuple(lines))
    note = heads.sign(most, keys)
    found = heads.verify(note, bus, agency, [each.public for each in keys])
    assert found == most
    assert set(found.signers) == {each.public for each in keys}
    assert len(note.encode()) > heads.MOST_BYTES * 0.9, "the limit follows from it"


# Proofs

PROOF = Proof.parse(TOPIC["proof"])
LEAF = bytes.fromhex(TOPIC["messages"][2]["leaf_data"])


def test_a_proof_says_under_which_checkpoint_a_leaf_stands() -> None:
    assert PROOF.verify(LEAF, ORIGIN, RING).size == 7


def test_a_proof_of_another_leaf_place_path_or_topic_is_refused() -> None:
    for false in (
        replace(PROOF, index=3),
        replace(PROOF, index=7),
        replace(PROOF, path=PROOF.path[:-1]),
        replace(PROOF, path=PROOF.path[::-1]),
        replace(PROOF, note=GOOD),
    ):
        with pytest.raises(errors.ProofFalse):
            false.verify(LEAF, ORIGIN, RING)
    with pytest.raises(errors.ProofFalse):
        PROOF.verify(LEAF + b"\0", ORIGIN, RING)
    with pytest.raises(errors.OriginForeign):
        PROOF.verify(LEAF, ORIGIN + "1", RING)
    with pytest.raises(errors.SignatureMissing):
        PROOF.verify(LEAF, ORIGIN, KeyRing.of(STRANGER.public))


def test_the_extra_line_of_a_foreign_proof_is_passed_over() -> None:
    assert Proof.parse(TOPIC["proof"].replace("index", "extra AAAA\nindex")) == PROOF


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"),
        ("index 2", "index 02"),
        ("index 2", "index -2"),
        ("index 2", "Index 2"),
        ("index 2\n", ""),
        ("index 2", "extra A\nindex 2"),
        ("index 2", "index 2\nextra AAAA"),
        ("index 2\n", "index 2\nAAAA\n"),
        ("\n\nsinergi", "\nsinergi"),
    ],
)
def test_a_proof_out_of_form_is_refused(old: str, new: str) -> None:
    assert old in TOPIC["proof"]
    with pytest.raises(errors.NoteMalformed):
        Proof.parse(TOPIC["proof"].replace(old, new, 1)).verify(LEAF, ORIGIN, RING)


def test_a_path_longer_than_any_tree_is_refused() -> None:
    step = "A" * 43 + "=\n"
    with pytest.raises(errors.NoteMalformed):
        Proof.parse(TOPIC["proof"].replace("index 2\n", "index 2\n" + step * 61, 1))


def test_messages_of_errors_name_what_and_where() -> None:
    with pytest.raises(errors.OriginForeign) as refused:
        checkpoint.verify(GOOD, "sinergi.example/other/0", RING)
    assert ORIGIN in str(refused.value)
    assert "sinergi.example/other/0" in str(refused.value)


def test_algorithms_are_those_of_the_specification() -> None:
    assert [each.value for each in Algorithm] == [1, 4]
