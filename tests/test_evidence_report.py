"""The report of a bundle says in HTML and PDF what the bundle holds, to people without scripts."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

import evidence_bundles
from sinergi.pages.evidence_report import html_of
from sinergi_consumers.audit.evidence.case_zone import CaseZone
from sinergi_consumers.audit.evidence.omissions import (
    SearchStatement,
    UnreadRelated,
    UnsearchedTopic,
)
from sinergi_consumers.audit.evidence.report.contents import report_of
from sinergi_consumers.audit.evidence.report.plot import plot_of
from sinergi_consumers.audit.evidence.report.print import pdf_of
from sinergi_consumers.audit.evidence.report.wording import FIRST, NOT_SEALED
from test_evidence_page import browser_program

if TYPE_CHECKING:
    from pathlib import Path

    from sinergi_consumers.audit.evidence.composition import BundleContents

AT = datetime(2026, 12, 1, 9, tzinfo=UTC)


def page_of(contents: BundleContents) -> str:
    return html_of(report_of(contents)).decode()


def with_event(**changes: object) -> BundleContents:
    """The small bundle whose first event says something else."""
    contents = evidence_bundles.contents()
    first, *others = contents.events
    changed = first._replace(event={**first.event, **changes})
    return replace(contents, events=(changed, *others))


def test_the_report_tells_who_knew_what_and_when_in_the_zone_of_the_event() -> None:
    report = report_of(evidence_bundles.contents())
    kinds = [(each.kind, each.at.isoformat(), each.clock) for each in report.timeline]
    assert ("recorded", "2026-03-09T08:30:00+07:00", "lapas-rekaan") in kinds
    assert ("received", "2026-03-09T08:50:00+07:00", "bnnk-rekaan/register") in kinds
    page = page_of(evidence_bundles.contents())
    assert "bnnk-rekaan/register" in page
    assert "paling lambat · at the latest" in page
    assert "no receipt is in this file" in page
    # A date is not broken at its hyphens, on paper either.
    assert "<span>2026-03-09</span> <span>08:50:00</span></time>" in page


def test_a_first_receipt_is_told_from_one_that_says_at_the_latest() -> None:
    contents = evidence_bundles.contents()
    first, *others = contents.events
    known = first._replace(sources={evidence_bundles.RECEIPTS.name: FIRST})
    page = page_of(replace(contents, events=(known, *others)))
    assert str(FIRST) in page
    assert "paling lambat · at the latest" not in page


def test_it_says_the_meaning_of_each_field_and_what_is_not_proved_in_both_languages() -> None:
    page = page_of(evidence_bundles.contents())
    assert "yaitu pemilik topik. · Slug of the agency that publishes" in page
    assert str(NOT_SEALED) in page
    for sentence in ("Not proved: that an event is true", "Tidak dibuktikan: bahwa isi peristiwa"):
        assert sentence in page


def test_a_time_within_an_event_is_shown_in_the_zone_of_the_page_and_as_it_was_sealed() -> None:
    first, *_ = report_of(evidence_bundles.contents()).events
    values = {each.path: each for each in first.fields}
    sealed = "2026-03-09T01:30:00.000000Z"
    assert values["recorded_at"].value == f"2026-03-09 08:30:00 ({sealed})"
    assert "microseconds" not in values["recorded_at"].meaning


def test_a_code_has_its_meaning_beside_it_with_the_indonesian_term() -> None:
    page = page_of(evidence_bundles.contents())
    assert "PRISON_SECURITY (" in page
    assert "RECORDED (dicatat: first event of the record" in page
    assert "1 RECORDED (dicatat)" in page


def test_all_times_are_in_the_one_zone_that_most_events_have() -> None:
    contents = evidence_bundles.contents()
    first, second = contents.events
    elsewhere = second._replace(event={**second.event, "zone": "Asia/Jayapura"})
    for events, zone in (
        ((first, elsewhere), "Asia/Jakarta (WIB, +07:00)"),
        ((elsewhere, elsewhere, first), "Asia/Jayapura (WIT, +09:00)"),
        ((), "Asia/Jakarta (WIB, +07:00)"),  # of the agreement
    ):
        report = report_of(replace(contents, events=events))
        assert str(report.zone) == zone
        assert len({each.at.utcoffset() for each in report.timeline}) <= 1
        assert html_of(report).decode().count(f"<strong>{zone}</strong>") == 1


@pytest.mark.parametrize(
    ("texts", "made_at", "zone"),
    [
        ([], "2026-12-01T09:00:00Z", "UTC"),
        ([b'# zone = "Asia/Jakarta"\nzone = "Asia/Nowhere"'], "2026-12-01T09:00:00Z", "UTC"),
        ([b"in_force = { zone = 'Asia/Makassar' }"], "yesterday", "Asia/Makassar (WITA, +08:00)"),
        ([b'zone = "Asia/Pontianak"'], "2026-12-01T09:00:00Z", "Asia/Pontianak (WIB, +07:00)"),
    ],
)
def test_a_case_without_events_has_the_zone_of_its_agreements(
    texts: list[bytes], made_at: str, zone: str
) -> None:
    assert str(CaseZone.of([], texts, made_at)) == zone


def test_it_says_who_has_signed_the_statements_and_what_was_not_searched() -> None:
    page = page_of(evidence_bundles.contents())
    assert "Nobody has signed who made this file" in page
    left_out = SearchStatement(
        (
            UnsearchedTopic("sinergi.a.seizure", None, "not-read", "no right"),
            UnsearchedTopic("sinergi.a.transfer", None, "not-agreed", ""),
        ),
        (UnreadRelated("sinergi.b.seizure", 3),),
    )
    contents = replace(
        evidence_bundles.contents(), left_out=left_out, signers=(evidence_bundles.READER,)
    )
    page = page_of(contents)
    for each in ("sinergi.a.seizure", "no right", "sinergi.a.transfer", "sinergi.b.seizure"):
        assert each in page
    assert "Not all that was asked for could be read" in page
    assert f'<p class="mono">{evidence_bundles.READER.name}</p>' in page
    assert pdf_of(report_of(contents), AT).startswith(b"%PDF-")


def test_no_word_takes_the_clock_of_a_publisher_for_a_readers_or_a_receipt_for_knowledge() -> None:
    page = page_of(evidence_bundles.contents())
    assert "recorded, by the publisher&#39;s clock" in page
    assert "by the reader&#39;s clock" in page
    for word in ("published ·", "knew", "tahu apa"):
        assert word not in page


def test_values_are_never_markup_and_show_what_would_be_invisible() -> None:
    page = page_of(with_event(record_id="<script>alert(1)</script>\u202eabc"))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\\u202e" in page


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = page_of(evidence_bundles.contents())
    assert "default-src 'none'" in page
    assert not re.search(r"https?://|<script|<link|<img|@import|url\(", page)


def test_an_absence_is_reported_with_the_trees_that_were_searched() -> None:
    contents = replace(evidence_bundles.contents(), events=())
    page = page_of(contents)
    assert "Stated, not proved: no event matches" in page
    assert "This is not proved" in page
    assert evidence_bundles.contents().trees[0].root.hex() in page
    assert pdf_of(report_of(contents), AT).startswith(b"%PDF-")


def test_the_pdf_is_made_of_the_same_contents_and_always_the_same() -> None:
    report = report_of(with_event(record_id="中文 \u202e MUT", case_number="x" * 300))
    assert pdf_of(report, AT) == pdf_of(report, AT)


def test_the_plot_has_a_row_for_each_record_and_a_mark_for_each_moment() -> None:
    report = report_of(evidence_bundles.contents())
    plot = plot_of(report.timeline)
    assert plot is not None
    assert [row.text for row in plot.rows] == ["MUT/2"]
    assert len(plot.marks) == len(report.timeline) == 5
    assert {mark.kind for mark in plot.marks} == {"occurred", "recorded", "received"}
    many = [report.timeline[0]._replace(record=f"R/{number}") for number in range(50)]
    crowded = plot_of(many)
    assert crowded is not None
    assert (len(crowded.rows), crowded.omitted) == (40, 10)
    assert plot_of([]) is None


@pytest.mark.long
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_fits_a_screen_and_a_telephone_without_scripts(tmp_path: Path, width: int) -> None:
    path = tmp_path / "report.html"
    path.write_text(page_of(evidence_bundles.contents()), encoding="utf-8")
    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=browser_program(), args=["--no-sandbox"])
        view = {"width": width, "height": 900}
        context = browser.new_context(offline=True, java_script_enabled=False, viewport=view)  # type: ignore[arg-type]
        opened = context.new_page()
        opened.goto(path.as_uri())
        assert opened.locator("svg circle:visible").count() == 4
        for seen in ("body", "svg path:visible"):  # the page, and the last mark of its plot
            box = opened.locator(seen).first.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= width
        if pictures := os.environ.get("SINERGI_TEST_PICTURES"):
            opened.screenshot(path=f"{pictures}/report-{width}.png", full_page=True)
            opened.pdf(path=f"{pictures}/report-{width}.pdf")
        browser.close()
