"""Every command, setting, metric and error is documented, and the page is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

import reference
from sinergi.cli import commands
from sinergi.metrics.definitions import METRICS
from sinergi_schemas import errors
from test_house import KINDS, Kind

PAGE = (Path(__file__).parent.parent / "docs" / "reference.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_code_makes_of_it() -> None:
    remedy = "run: .venv/bin/python tests/reference.py > docs/reference.md"
    assert reference.page() == PAGE, remedy


@pytest.mark.parametrize("words", [words for words, _ in reference.spoken_commands()])
def test_every_command_says_what_it_does_and_what_each_option_means(words: str) -> None:
    (command,) = [each for spoken, each in reference.spoken_commands() if spoken == words]
    assert f"### sinergi {words}" in PAGE
    assert command.help
    for written, meaning in reference.options(command):
        assert meaning.strip("."), f"{words} {written}"


def test_every_command_of_the_root_is_on_the_page() -> None:
    spoken = {words.partition(" ")[0] for words, _ in reference.spoken_commands()}
    assert spoken == set(commands.installed())


def test_every_setting_has_a_meaning_and_no_meaning_lacks_its_setting() -> None:
    assert set(reference.settings()) == set(reference.MEANINGS)
    for key in reference.settings():
        assert f"- `{key}`: " in PAGE


def test_every_metric_is_on_the_page() -> None:
    for each in METRICS:
        assert f"- `{each.name}`: {each.kind}" in PAGE


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_on_the_page_under_its_policy(kind: Kind) -> None:
    if kind not in (*reference.POLICIES, errors.Broken):
        policy = next(each for each in reference.POLICIES if each in kind.__mro__)
        (section,) = [each for each in PAGE.split("\n### ") if each.startswith(policy.__name__)]
        assert f"**{kind.__name__}**" in section
    assert issubclass(kind, errors.SinergiError)


def test_an_undocumented_error_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors.SealGap, "__doc__", "Another message.")
    assert reference.page() != PAGE


def test_the_page_is_narrow() -> None:
    assert max(map(len, PAGE.splitlines())) <= reference.WIDTH
