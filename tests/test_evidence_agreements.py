"""Both verifiers of evidence take the same keys from an agreement, for the same topics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import evidence_agreements
from evidence_agreements import AGREEMENTS, BUNDLE
from evidence_bundles import AGREEMENT, KEYS, OWNER, STRANGER
from sinergi.settings import agreement_files
from sinergi_consumers.audit.evidence.trust import TrustedKeys
from sinergi_consumers.audit.evidence.verification import verify
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from test_evidence_page import browser, folder, of_the_page, page
from test_evidence_verification import STATUSES

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

__all__ = ["browser", "folder", "page"]  # fixtures

EXPECTED: dict[str, Any] = json.loads(AGREEMENTS.read_text("utf-8"))
REFUSAL = "text => sinergi.keysIn(text).then(() => '', why => why.message)"


def test_the_vectors_of_agreements_are_what_their_program_writes() -> None:
    assert evidence_agreements.document() == EXPECTED


@pytest.mark.parametrize("name", EXPECTED)
def test_the_command_takes_the_keys_that_the_vectors_state(name: str, tmp_path: Path) -> None:
    path, expected = tmp_path / "pks.toml", EXPECTED[name]
    path.write_text(expected["text"], encoding="utf-8")
    if expected["status"] is None:
        with pytest.raises(errors.AgreementRefused):
            Agreements(agreement_files.read([path]))
        return
    verdict = verify(BUNDLE.read_bytes(), TrustedKeys((), Agreements(agreement_files.read([path]))))
    found = sorted({each.file for each in (*verdict.disproved, *verdict.unchecked)})
    assert (STATUSES[verdict.is_proved], found) == (expected["status"], expected["problems"])


@pytest.mark.long
@pytest.mark.parametrize("name", EXPECTED)
def test_the_page_takes_the_same_keys(page: Page, name: str) -> None:
    expected = EXPECTED[name]
    if expected["status"] is None:
        assert page.evaluate(REFUSAL, expected["text"]) in (
            "its keys are not those of an agreement",
            "it is not the text of one agreement: paste the newest one alone",
        )
        return
    status, problems, _ = of_the_page(page, BUNDLE.read_bytes(), expected["text"])
    assert (status, problems) == (expected["status"], expected["problems"])


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\n".join(map(str, KEYS)), 3),
        (f"\n  {OWNER.public}  \r\n\n{STRANGER.public}\n", 2),
        (f"# {OWNER.public}", 0),
        (f'key = "{OWNER.public}"', 0),
        ("no key", 0),
        ("", 0),
        (f"{STRANGER.public}\n{AGREEMENT.decode()}\n{STRANGER.public}\n", 4),
    ],
)
def test_a_key_by_itself_has_a_line_of_its_own(page: Page, text: str, found: int) -> None:
    assert page.evaluate("async text => (await sinergi.keysIn(text)).length", text) == found


@pytest.mark.long
@pytest.mark.parametrize("line", [f"# {OWNER.public}", f'"{OWNER.public}",', "the keys:"])
def test_a_line_among_keys_that_is_none_is_named(page: Page, line: str) -> None:
    assert page.evaluate(REFUSAL, f"{STRANGER.public}\n{line}\n") == "line 2 is not a key"
