"""The size of a tree and the newest agreement on its topic decide which key signs it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinergi_schemas import errors
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.checkpoint import Checkpoint
from sinergi_schemas.seal.key_ring import KeyRing, KeySpan
from sinergi_schemas.seal.keys import SigningKey

ORIGIN = "sinergi.example/sinergi.lapas-banyuwangi.transfer/0"
FIRST, SECOND, THIRD, THIEF = (
    SigningKey.generate("sinergi.example/lapas-banyuwangi") for _ in range(4)
)
RING = KeyRing((KeySpan(FIRST.public, 10), KeySpan(SECOND.public, 20), KeySpan(THIRD.public)))
ALL = (FIRST, SECOND, THIRD)


def signed(size: int, *keys: SigningKey) -> str:
    return checkpoint.sign(Checkpoint(ORIGIN, size, bytes(32)), keys)


def holds(size: int, *keys: SigningKey, ring: KeyRing = RING) -> bool:
    try:
        return checkpoint.verify(signed(size, *keys), ORIGIN, ring).size == size
    except errors.SignatureMissing:
        return False


def required(size: int) -> SigningKey:
    return FIRST if size <= 10 else SECOND if size <= 20 else THIRD


@settings(deadline=None)
@given(st.integers(1, 40), st.sets(st.sampled_from([*ALL, THIEF]), min_size=1))
def test_a_tree_holds_exactly_if_the_key_of_its_size_has_signed_it(
    size: int, keys: set[SigningKey]
) -> None:
    assert holds(size, *keys) == (required(size) in keys)


@settings(deadline=None)
@given(st.integers(1, 40), st.sets(st.sampled_from(ALL)))
def test_what_an_owner_signs_holds_and_bears_every_key_that_is_not_replaced(
    size: int, held: set[SigningKey]
) -> None:
    if required(size) not in held:
        with pytest.raises(errors.SigningKeyMissing, match=rf"for {size} lea\w+ must be signed by"):
            RING.signers(ORIGIN, size, held)
        return
    signers = RING.signers(ORIGIN, size, held)
    assert signers[0] is required(size)
    assert set(signers) == held & set(ALL[ALL.index(required(size)) :])
    assert holds(size, *signers)


def test_a_replaced_key_signs_nothing_after_its_last_size() -> None:
    assert holds(10, FIRST)
    with pytest.raises(errors.KeyReplaced, match="signs nothing above 10 leaves") as refused:
        checkpoint.verify(signed(11, FIRST), ORIGIN, RING)
    assert FIRST.public.id.hex() in refused.value.signer
    assert SECOND.public.id.hex() in refused.value.keys


def test_a_new_key_alone_makes_no_other_history_of_old_leaves() -> None:
    with pytest.raises(errors.SignatureMissing) as refused:
        checkpoint.verify(signed(10, SECOND, THIRD), ORIGIN, RING)
    assert not isinstance(refused.value, errors.KeyReplaced)
    assert FIRST.public.id.hex() in refused.value.keys


def test_what_a_replaced_key_goes_on_signing_does_no_harm_beside_the_new_one() -> None:
    assert holds(11, FIRST, SECOND)


def test_a_reader_of_the_earlier_agreement_goes_on_up_to_the_last_size_of_the_old_key() -> None:
    before = KeyRing.of(FIRST.public)
    assert holds(10, *RING.signers(ORIGIN, 10, ALL), ring=before)
    assert not holds(11, *RING.signers(ORIGIN, 11, ALL), ring=before)


def test_a_key_that_was_replaced_before_the_first_leaf_signs_none() -> None:
    ring = KeyRing((KeySpan(FIRST.public, 0), KeySpan(SECOND.public)))
    assert not holds(1, FIRST, ring=ring)
    assert holds(1, SECOND, ring=ring)


def test_an_empty_ring_takes_nothing() -> None:
    assert not holds(1, FIRST, ring=KeyRing(()))
    assert not KeyRing(()).accepts(0, [FIRST.public])


def test_a_line_of_heads_holds_by_the_key_of_its_size_and_of_an_empty_tree_by_any() -> None:
    assert RING.accepts(10, [FIRST.public])
    assert not RING.accepts(11, [FIRST.public])
    assert RING.accepts(0, [THIRD.public])
    assert not RING.accepts(0, [THIEF.public])
