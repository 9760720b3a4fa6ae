"""Keys: one text form, private files, and one purpose for each key."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from sinergi_schemas import errors
from sinergi_schemas.seal.keys import Algorithm, SigningKey, VerifyingKey

NOTES = Path(__file__).parent / "vectors/seal/notes"
PETER: dict[str, Any] = json.loads((NOTES / "peter-neumann.json").read_text())
WITNESS: str = json.loads((NOTES / "arche2025h1.json").read_text())["witness"]
LATEST = (1 << 63) - 1
POINTS: dict[str, list[str]] = json.loads((NOTES.parent / "public-keys.json").read_text())
ORDER_OF_THE_CURVE = 2**252 + 27742317777372353535851937790883648493
OWNER = "sinergi.example/lapas-banyuwangi"


def text_of(name: str, algorithm: Algorithm, public: bytes) -> str:
    """The text form of a key, whatever its bytes are."""
    body = bytes([algorithm]) + public
    digest = sha256(name.encode() + b"\n" + body).hexdigest()[:8]
    return f"{name}+{digest}+{base64.b64encode(body).decode()}"


def test_the_published_key_reads_signs_and_verifies() -> None:
    key = SigningKey.parse(PETER["private"])
    assert str(key.public) == PETER["public"]
    assert key.private_text() == PETER["private"]
    assert key.algorithm is Algorithm.ED25519
    assert key.public.verify(key.sign(b"text\n"), b"text\n")


def test_the_published_witness_key_reads_as_one_of_receipts() -> None:
    key = VerifyingKey.parse(WITNESS)
    assert (key.algorithm, str(key)) == (Algorithm.COSIGNATURE, WITNESS)


@pytest.mark.parametrize("text", [PETER["public"], WITNESS])
def test_no_part_of_a_key_text_and_no_changed_one_is_a_key(text: str) -> None:
    cut = [text[:end] for end in range(len(text))] + [text[at:] for at in range(1, len(text))]
    changed = [text[:at] + chr(ord(c) + 1) + text[at + 1 :] for at, c in enumerate(text)]
    for each in [*cut, *changed, text + "=", text + "\n", " " + text, text.replace("+", "++", 1)]:
        with pytest.raises(ValueError, match=r"."):
            VerifyingKey.parse(each)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\nb", "a\u00a0b", "a\u2003b", "a\0b"])
def test_a_name_that_cannot_stand_in_a_signature_line_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        SigningKey.generate(name)


def test_a_key_is_not_of_another_algorithm_or_length() -> None:
    for material in ("AgAA", "", "AQ=="):
        with pytest.raises(ValueError, match="not an Ed25519 key"):
            VerifyingKey.parse(f"name+00000000+{material}")
    with pytest.raises(ValueError, match=r"."):
        VerifyingKey(OWNER, Algorithm.ED25519, b"\0" * 31)


@pytest.mark.parametrize(
    "kind", ["small_order", "not_canonical", "not_on_the_curve", "mixed_order"]
)
@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_public_key_that_no_generator_makes_is_refused(kind: str, algorithm: Algorithm) -> None:
    for each in POINTS[kind]:
        with pytest.raises(ValueError, match="prime order"):
            VerifyingKey(OWNER, algorithm, bytes.fromhex(each))
        with pytest.raises(ValueError, match="prime order"):
            VerifyingKey.parse(text_of(OWNER, algorithm, bytes.fromhex(each)))


def test_every_number_from_the_prime_on_is_refused_whatever_its_sign() -> None:
    for y in range(2**255 - 19, 2**255):
        for sign in (0, 1 << 255):
            with pytest.raises(ValueError, match="no canonical"):
                VerifyingKey(OWNER, Algorithm.ED25519, (y + sign).to_bytes(32, "little"))


def test_the_public_keys_of_the_standard_are_taken() -> None:
    for each in POINTS["published"]:
        assert VerifyingKey(OWNER, Algorithm.ED25519, bytes.fromhex(each)).id


@settings(deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_what_a_generator_makes_is_taken(seed: bytes) -> None:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    assert VerifyingKey(OWNER, Algorithm.ED25519, public).public == public


def test_a_signature_has_one_form() -> None:
    """A scalar with the order of the curve added is the same number, and no signature."""
    key = SigningKey.generate(OWNER)
    signature = key.sign(b"text\n")
    scalar = int.from_bytes(signature[32:], "little")
    for again in range(1, 9):
        other = (scalar + again * ORDER_OF_THE_CURVE).to_bytes(33, "little")[:32]
        assert not key.public.verify(signature[:32] + other, b"text\n")
    for each in (*POINTS["small_order"], *POINTS["not_canonical"]):
        for rest in (signature[32:], bytes(32)):
            assert not key.public.verify(bytes.fromhex(each) + rest, b"text\n")


def test_the_representation_of_a_private_key_does_not_show_it() -> None:
    key = SigningKey.generate(OWNER)
    secret = key.private_text().split("+", 4)[4]
    assert secret not in repr(key)
    assert secret not in str(key)


def test_the_same_key_bytes_under_another_name_or_algorithm_are_another_key() -> None:
    public = VerifyingKey.parse(PETER["public"])
    renamed = VerifyingKey("EnochRoot", public.algorithm, public.public)
    receipts = VerifyingKey(public.name, Algorithm.COSIGNATURE, public.public)
    assert len({public.id, renamed.id, receipts.id}) == 3


def test_a_key_signs_its_own_kind_only() -> None:
    owner = SigningKey.generate(OWNER)
    reader = SigningKey.generate(OWNER, Algorithm.COSIGNATURE)
    with pytest.raises(ValueError, match="may not sign receipts"):
        owner.cosign(b"text\n", 1)
    with pytest.raises(ValueError, match="may sign only receipts"):
        reader.sign(b"text\n")


@pytest.mark.parametrize("time", [-1, 1 << 63])
def test_a_receipt_is_not_given_outside_of_posix_time(time: int) -> None:
    with pytest.raises(ValueError, match="POSIX"):
        SigningKey.generate(OWNER, Algorithm.COSIGNATURE).cosign(b"text\n", time)


def test_a_receipt_from_beyond_posix_time_is_false_though_its_holder_signed_it() -> None:
    private = Ed25519PrivateKey.generate()
    key = VerifyingKey(OWNER, Algorithm.COSIGNATURE, private.public_key().public_bytes_raw())
    for time, true in ((LATEST, True), (LATEST + 1, False)):
        signature = private.sign(b"cosignature/v1\ntime %d\ntext\n" % time)
        assert key.verify(time.to_bytes(8, "big") + signature, b"text\n") == true


@settings(deadline=None)
@given(st.binary(max_size=40), st.data())
def test_a_changed_signature_or_text_does_not_verify(text: bytes, data: st.DataObject) -> None:
    for algorithm in Algorithm:
        key = SigningKey.generate(OWNER, algorithm)
        cosigns = algorithm is Algorithm.COSIGNATURE
        signature = key.cosign(text, 1_740_000_000) if cosigns else key.sign(text)
        assert key.public.verify(signature, text)
        bit = data.draw(st.integers(min_value=0, max_value=len(signature) * 8 - 1))
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        for wrong in (bytes(flipped), signature[:-1], signature + b"\0", b""):
            assert not key.public.verify(wrong, text)
        assert not key.public.verify(signature, text + b"\0")


def test_a_key_file_reads_back_and_is_its_owners_alone(tmp_path: Path) -> None:
    key, path = SigningKey.generate(OWNER), tmp_path / "lapas.key"
    key.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path).private_text() == key.private_text()


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "lapas.key"
    first = SigningKey.generate(OWNER)
    first.save(path)
    with pytest.raises(errors.KeyFileRefused, match="the file already exists"):
        SigningKey.generate(OWNER).save(path)
    assert SigningKey.load(path).private_text() == first.private_text()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "lapas.key"
    SigningKey.generate(OWNER).save(path)
    path.chmod(mode)
    with pytest.raises(errors.KeyFileRefused, match="chmod 600"):
        SigningKey.load(path)


def test_a_key_file_that_is_missing_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(errors.KeyFileRefused, match="sinergi init"):
        SigningKey.load(tmp_path / "lapas.key")


def test_a_key_file_cannot_be_a_folder_nor_lie_in_one_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(errors.KeyFileRefused, match="cannot be read"):
        SigningKey.load(tmp_path)
    with pytest.raises(errors.KeyFileRefused, match="cannot be written"):
        SigningKey.generate(OWNER).save(tmp_path / "none" / "lapas.key")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", PETER["public"].encode(), PETER["private"].encode() + b"\n\n"]
)
def test_a_file_that_holds_no_private_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lapas.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(errors.KeyFileRefused, match="cannot be used"):
        SigningKey.load(path)


def test_a_refused_private_key_is_not_shown_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "lapas.key"
    secret = PETER["private"].split("+", 4)[4]
    path.write_text(f"PRIVATE+KEY+PeterNeumann+00000000+{secret}\n")
    path.chmod(0o600)
    with pytest.raises(errors.KeyFileRefused, match="id does not match") as refused:
        SigningKey.load(path)
    assert secret not in str(refused.value)
