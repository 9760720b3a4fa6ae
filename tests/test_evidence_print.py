"""The printed pages of the report of evidence: nothing is cut, and no heading stands alone."""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

import evidence_bundles
from sinergi.pages.evidence_report import html_of
from sinergi_consumers.audit.evidence.omissions import SearchStatement, UnsearchedTopic
from sinergi_consumers.audit.evidence.report.contents import report_of
from sinergi_consumers.audit.evidence.report.plot import NARROW, WIDE, plot_of
from sinergi_consumers.audit.evidence.report.print import pdf_of
from sinergi_consumers.audit.evidence.report.wording import NO_RECEIPT
from test_evidence_page import browser_program

if TYPE_CHECKING:
    from pathlib import Path

    from sinergi_consumers.audit.evidence.composition import EventEvidence
    from sinergi_consumers.audit.evidence.report.contents import EvidenceReport

AT = datetime(2026, 12, 1, 9, tzinfo=UTC)
LONG = "BAP/PENYIDIKAN-SATRESNARKOBA/POLRESTA-BANYUWANGI/0093/III/2026/LANJUTAN"
PAPER = 688
"""The width of an A4 page between its margins, in CSS pixels."""


def long_report(events: int, **changes: object) -> EvidenceReport:
    """A report of many events with long names."""
    contents = evidence_bundles.contents()

    def event(number: int) -> EventEvidence:
        base = contents.events[number % 2]
        recorded = datetime(2026, 3, 9, tzinfo=UTC) + timedelta(hours=7 * number)
        record = f"MUT/{number}" if number % 3 else f"{LONG}/{number}"
        times = {"recorded_at": recorded.isoformat(), "occurred_at": recorded.isoformat()}
        return base._replace(event={**base.event, "record_id": record, **times, **changes})

    unsearched = tuple(
        UnsearchedTopic(f"sinergi.badan-narkotika-nasional-{number}.seizure", None, "not-read", "x")
        for number in range(12)
    )
    why = "Permintaan" + "X" * 200
    return report_of(
        replace(
            contents,
            events=tuple(map(event, range(events))),
            left_out=SearchStatement(unsearched, ()),
            custody={**contents.custody, "why": why},
        )
    )


def pages_of(pdf: bytes) -> list[list[tuple[bool, str]]]:
    """Of each page its texts in their order, and whether each is in the font of a heading."""
    pages = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        # The checksum at the end may end with what is taken for the end of the line.
        drawn = zlib.decompressobj().decompress(stream).decode("latin-1")
        texts, is_heading = [], False
        for size, text in re.findall(r"/F\d+ ([\d.]+) Tf|\(((?:\\.|[^\\)])*)\) Tj", drawn):
            if size:
                is_heading = float(size) >= 10
            else:
                texts.append((is_heading, re.sub(r"\\(.)", r"\1", text)))
        pages.append(texts)
    return pages


def test_no_heading_of_the_pdf_stands_alone_at_the_end_of_a_page() -> None:
    for events in range(1, 12):
        for page in pages_of(pdf_of(long_report(events), AT)):
            *texts, _, _ = page  # the number of the page, and of all
            assert not any(is_heading for is_heading, _ in texts[-4:]), texts[-4:]


def test_every_page_of_the_pdf_has_its_number_and_that_of_all_pages() -> None:
    pages = pages_of(pdf_of(long_report(9), AT))
    assert ["".join(text for _, text in page[-2:]) for page in pages] == [
        f"{number} / {len(pages)}" for number in range(1, len(pages) + 1)
    ]
    assert 'counter(page) " / " counter(pages)' in html_of(long_report(1)).decode()


@pytest.mark.parametrize(("word", "times"), [("Kata ", 4000), ("W", 9000)])
def test_a_value_that_is_longer_than_a_page_goes_on_in_the_next_rows(word: str, times: int) -> None:
    pages, usual = (
        pages_of(pdf_of(long_report(1, case_number=value), AT)) for value in (word * times, "")
    )
    printed, without = (
        sum(text.count(word.strip()) for page in found for _, text in page)
        for found in (pages, usual)
    )
    assert printed - without == times


def test_the_pdf_names_the_events_of_which_no_receipt_is_there() -> None:
    texts = [text for page in pages_of(pdf_of(long_report(2), AT)) for _, text in page]
    assert NO_RECEIPT.indonesian.split(" ")[0] in " ".join(texts)
    assert "Peristiwa · Events" in texts


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_plot_of_many_records_stands_on_one_page_and_no_name_runs_over_its_edge(
    size: object,
) -> None:
    plot = plot_of(long_report(70).timeline, size)  # type: ignore[arg-type]
    assert plot is not None
    assert (len(plot.rows), plot.omitted) == (40, 30)
    assert plot.height < 960
    for row in plot.rows:
        assert len(row.text) * 0.61 * plot.font <= row.x
        assert row.y < plot.height
    shortened = [row.text for row in plot.rows if "…" in row.text]
    assert len(set(shortened)) == len(shortened) == 14
    texts = [text for page in pages_of(pdf_of(long_report(70), AT)) for _, text in page]
    assert "30 catatan lain tidak digambar · 30 further records are not drawn" in texts


@pytest.mark.long
def test_no_cell_and_no_heading_of_the_page_is_wider_than_the_paper(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(html_of(long_report(30, record_id="R" * 256)))
    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=browser_program(), args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": PAPER, "height": 1000})
        opened.emulate_media(media="print")
        opened.goto(path.as_uri())
        assert opened.evaluate("document.documentElement.scrollWidth") <= PAPER
        too_wide = (
            "[...document.querySelectorAll('td, th, h2, h3, p, li')]"
            ".filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"
        )
        assert opened.evaluate(too_wide) == []
        # A long record does not press the other columns into one word a line.
        widths = "[...document.querySelectorAll('.moments th')].map(each => each.clientWidth)"
        assert min(opened.evaluate(widths)) > PAPER / 8
        if pictures := os.environ.get("SINERGI_TEST_PICTURES"):
            opened.pdf(path=f"{pictures}/report-long.pdf", prefer_css_page_size=True)
        browser.close()
