"""The report of a bundle says what was looked for in words of both languages."""

from __future__ import annotations

from dataclasses import fields, replace

import evidence_bundles
from sinergi.cli.evidence import asked_for
from sinergi.cli.replay_options import EventChoice
from sinergi.pages.evidence_report import html_of
from sinergi_consumers.audit.evidence.report.contents import report_of
from sinergi_consumers.audit.evidence.report.search_terms import (
    TERMS,
    looked_for,
    search_words,
)


def every_option(*, with_related: bool) -> dict[str, object]:
    """What a bundle states if every option that chooses events was given."""
    chosen = EventChoice(**{each.name: f"value-{each.name}" for each in fields(EventChoice)})
    return asked_for(chosen, with_related, ["a.b", "c.d"], ["a", "c"], ["b", "d"])


def test_every_option_that_chooses_events_has_words_in_both_languages() -> None:
    given = every_option(with_related=True)
    assert {*given} - {"related"} == {*TERMS}
    for name, words in TERMS.items():
        value = given[name]
        text = ", ".join(value) if isinstance(value, list) else value
        indonesian, english = looked_for({name: value}).split(" · ")
        assert (indonesian, english) == (f"{words.indonesian} {text}", f"{words.english} {text}")
        assert indonesian != english


def test_a_report_says_what_was_looked_for_in_words_and_not_by_the_names_of_options() -> None:
    asked = {"key": "MUT/2026/0093", "related": True}
    page = html_of(report_of(replace(evidence_bundles.contents(), asked_for=asked))).decode()
    indonesian = "nomor catatan (record) MUT/2026/0093, beserta catatan terkait"
    assert f"{indonesian} · record MUT/2026/0093, with related records" in page
    assert "key: MUT" not in page


def test_an_option_that_has_no_words_is_shown_by_its_name_and_one_without_a_value_is_not() -> None:
    assert looked_for({"other": "x", "related": False}) == "other: x · other: x"
    assert looked_for({"related": False, "topics": []}) == ""
    assert looked_for({"related": True}) == "beserta catatan terkait · with related records"


def test_a_statement_of_any_shape_is_shown_value_by_value() -> None:
    asked = {"key": {"a": ["x", True, None]}, "name": True, "topics": ["s", 1]}
    words = search_words(asked)
    assert words.english == "key.a 1: x; key.a 2: true; name: true; in the topics s, 1"
    assert words.indonesian == "key.a 1: x; key.a 2: true; name: true; dalam topik s, 1"
