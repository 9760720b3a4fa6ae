"""The page for the security officer names tests that exist, and has a line for each threat."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_test_that_the_page_names_exists(file: str, test: str) -> None:
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {test}\(", text, re.MULTILINE)


def test_every_line_of_a_threat_says_what_becomes_of_it() -> None:
    lines = re.findall(r"(?ms)^- (.*?)(?=^- |^#|\Z|^$)", PAGE)
    assert len(lines) > 25
    for each in lines:
        assert re.search(r"\*\*(prevented|detected|not)\*\*", each, re.IGNORECASE), each


def test_whatever_is_prevented_or_detected_is_shown_by_a_test() -> None:
    for each in re.findall(r"(?ms)^- (.*?)(?=^- |^#|\Z|^$)", PAGE):
        if "by TLS" not in each and re.search(r"\*\*(prevented|detected)\*\*", each):
            assert "`test_" in each, each
