"""Whose signature of the statements of a maker counts, where several keys have one name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from evidence_bundles import KEYS, OWNER, READER, SOFTWARE, STRANGER, WHEN, contents
from sinergi_consumers.audit.evidence.composition import compose
from sinergi_consumers.audit.evidence.trust import TrustedKeys
from sinergi_consumers.audit.evidence.verdict import Conclusion, EvidenceVerdict
from sinergi_consumers.audit.evidence.verification import verify

if TYPE_CHECKING:
    from sinergi_consumers.audit.evidence.composition import BundleContents
    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey

ABSENCE = replace(contents(), events=())


def verified(
    found: BundleContents, signers: tuple[SigningKey, ...], *given: VerifyingKey
) -> EvidenceVerdict:
    """The verdict about a bundle that its makers have signed with these keys."""
    data = compose(replace(found, signers=signers), WHEN, SOFTWARE)
    return verify(data, TrustedKeys((*KEYS, *given)))


@pytest.mark.parametrize("found", [contents(), ABSENCE], ids=["events", "absence"])
def test_a_signature_by_another_key_of_a_known_name_is_not_called_one_of_that_name(
    found: BundleContents,
) -> None:
    assert STRANGER.name == OWNER.name
    verdict = verified(found, (STRANGER,))
    assert (verdict.signed_by, verdict.conclusion) == ([], Conclusion.NOT_PROVED)
    verdict = verified(found, (STRANGER, READER))
    assert (verdict.signed_by, verdict.conclusion) == ([READER.name], Conclusion.NOT_PROVED)


def test_a_maker_who_signs_with_two_keys_of_one_name_is_named_once() -> None:
    verdict = verified(ABSENCE, (OWNER, STRANGER), STRANGER.public)
    assert (verdict.signed_by, verdict.conclusion) == ([OWNER.name], Conclusion.ATTESTED)


def test_a_key_that_is_given_twice_signs_once() -> None:
    verdict = verified(ABSENCE, (READER,), READER.public, READER.public)
    assert (verdict.signed_by, verdict.conclusion) == ([READER.name], Conclusion.ATTESTED)
