"""The report as a PDF. Characters that its fonts lack are shown as JSON escapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

from sinergi_consumers.audit.evidence.report.plot import WIDTH, plot_of
from sinergi_consumers.audit.evidence.report.wording import (
    ABSENT,
    CHOSEN,
    FOR_READING,
    INCOMPLETE,
    KINDS,
    KNOWN,
    PROVED,
    REASONS,
    RECEIPTS,
    SIGNED,
    UNSIGNED,
)
from sinergi_schemas.plain_text import encodable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sinergi_consumers.audit.evidence.report.contents import EvidenceReport
    from sinergi_consumers.audit.evidence.report.plot import TimePlot
    from sinergi_consumers.audit.evidence.report.wording import Wording

_FONT = "Helvetica"
_PAPER = (255, 255, 255)
_INK, _LINE, _BLUE, _ORANGE = (27, 31, 36), (201, 209, 217), (5, 80, 174), (179, 89, 0)


def pdf_of(report: EvidenceReport, made_at: datetime) -> bytes:
    """The PDF of a report."""
    pdf = _ReportPdf(made_at)
    pdf.title_page(report)
    if report.events:
        pdf.events(report)
    else:
        pdf.heading(
            "Stated, not proved: no event matches"
            " · Dinyatakan, tidak terbukti: tidak ada yang cocok"
        )
        pdf.statement(ABSENT)
    pdf.heading("Searched trees · Pohon yang ditelusuri")
    head = ("topic and partition", "leaves", "matching", "heads", "root")
    rows = [
        (each.name, str(each.leaves), str(each.matching), each.heads, each.root)
        for each in report.trees
    ]
    pdf.rows(head, rows, (30, 10, 12, 25, 35))
    pdf.unsearched(report)
    pdf.heading("Agreements · Perjanjian")
    for digest in report.agreements:
        pdf.paragraph(f"SHA-256 {digest}")
    pdf.heading("What this proves, and what not · Apa yang terbukti, dan apa yang tidak")
    pdf.statement(PROVED)
    return bytes(pdf.output())


class _ReportPdf(FPDF):
    """A4 pages with numbers."""

    def __init__(self, made_at: datetime) -> None:
        super().__init__(format="A4")
        self.set_creation_date(made_at)
        self.set_title("Evidence · Bukti")
        self.set_auto_page_break(auto=True, margin=18)
        self.set_font(_FONT, size=9)
        self.set_text_color(*_INK)
        self.add_page()

    def footer(self) -> None:
        """The number of the page."""
        self.set_y(-12)
        self.set_font(_FONT, size=8)
        self.cell(0, 5, str(self.page_no()), align="C")

    def heading(self, text: str, size: int = 12) -> None:
        """A heading, with room for some lines below it on the page."""
        if self.will_page_break(25):
            self.add_page()
        self.ln(3)
        self.set_font(_FONT, "B", size)
        self._write(text, size / 2)
        self.set_font(_FONT, size=9)

    def paragraph(self, text: str) -> None:
        """A paragraph."""
        self._write(text, 4.5)
        self.ln(1)

    def statement(self, wording: Wording) -> None:
        """A statement in both languages."""
        self.paragraph(wording.english)
        self.paragraph(wording.indonesian)

    def _write(self, text: str, height: float) -> None:
        self.multi_cell(0, height, encodable(text, "latin-1"), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def rows(
        self, head: Sequence[str], rows: Iterable[Sequence[str]], widths: tuple[int, ...]
    ) -> None:
        """A table whose head is repeated on each page."""
        self.set_font(_FONT, size=8)
        with self.table(
            col_widths=widths,
            text_align="LEFT",
            line_height=4,
            borders_layout="HORIZONTAL_LINES",
            headings_style=FontFace(emphasis="BOLD"),
        ) as table:
            for each in ([head, *rows]) if head else rows:
                row = table.row()
                for text in each:
                    row.cell(encodable(text, "latin-1"))
        self.set_font(_FONT, size=9)

    def title_page(self, report: EvidenceReport) -> None:
        """What the document is, who made it, and the plot."""
        self.heading("Evidence · Bukti", 18)
        self.paragraph(report.bus)
        self.statement(FOR_READING)
        self.heading("Stated by the maker, not proved · Pernyataan pembuat, bukan bukti")
        for label, text in report.stated:
            self.paragraph(f"{label}: {text}")
        self.paragraph(f"All times on these pages · Semua waktu: {report.zone}")
        self.statement(SIGNED if report.signers else UNSIGNED)
        for name in report.signers:
            self.paragraph(name)
        if report.events:
            self.statement(CHOSEN)
        if any(each.is_failure for each in report.unsearched):
            self.statement(INCOMPLETE)
        plot = plot_of(report.timeline)
        if plot is not None:
            self.heading("At a glance · Sekilas")
            self._draw(plot)

    def events(self, report: EvidenceReport) -> None:
        """The timeline, who had which event, and all values of the events."""
        self.heading("Timeline · Garis waktu")
        rows = [
            (
                report.zone.shown(each.at),
                KINDS[each.kind],
                each.record,
                f"{each.revision} {each.action}",
                each.clock,
            )
            for each in report.timeline
        ]
        self.rows(
            ("time", "what", "record", "revision", "by the clock of"), rows, (24, 30, 20, 18, 22)
        )
        self.heading(f"{KNOWN.english} · {KNOWN.indonesian}")
        self.statement(RECEIPTS)
        known = [
            (
                event.record,
                f"{event.revision} {event.action}",
                each.database,
                report.zone.shown(each.at),
                each.how,
            )
            for event in report.events
            for each in event.known_by
        ]
        if known:
            head = ("record", "revision", "database", "signed at", "")
            self.rows(head, known, (20, 18, 25, 24, 25))
        else:
            self.paragraph("no receipt is in this file · tidak ada tanda terima dalam berkas ini")
        for number, event in enumerate(report.events, 1):
            self.heading(f"{number}. {event.record}, {event.revision} {event.action}", 10)
            self.paragraph(event.place)
            self.rows(
                ("field", "value", "meaning"),
                [(each.path, each.value, each.meaning) for each in event.fields],
                (25, 35, 50),
            )

    def unsearched(self, report: EvidenceReport) -> None:
        """What was not searched."""
        self.heading("Not searched · Tidak ditelusuri")
        if not report.unsearched:
            self.paragraph("nothing that the agreements name · tidak ada, menurut perjanjian")
            return
        rows = [
            (
                each.name,
                f"{REASONS[each.reason].english} · {REASONS[each.reason].indonesian}",
                each.detail,
            )
            for each in report.unsearched
        ]
        self.rows(("topic or partition", "why", ""), rows, (35, 40, 35))

    def _draw(self, plot: TimePlot) -> None:
        scale = self.epw / WIDTH
        if self.will_page_break(plot.height * scale):
            self.add_page()
        left, top = self.l_margin, self.get_y()
        self.set_draw_color(*_LINE)
        for row in plot.rows:
            y = top + row.y * scale
            self.line(left + plot.left * scale, y, left + plot.right * scale, y)
            self.set_font(_FONT, size=7)
            self.set_xy(left, y - 2)
            self.cell(row.x * scale, 4, encodable(row.text, "latin-1"), align="R")
        for tick in plot.ticks:
            self.set_font(_FONT, size=6)
            self.set_xy(left + tick.x * scale - 12, top + (tick.y - 8) * scale)
            self.cell(24, 4, tick.text, align="C")
        for mark in plot.marks:
            self._mark(left + mark.x * scale, top + mark.y * scale, mark.kind)
        self.set_fill_color(*_PAPER)  # tables take the colour that was used last
        self.set_draw_color(*_LINE)
        self.set_xy(self.l_margin, top + plot.height * scale)
        self.set_font(_FONT, size=7)
        signs = {"occurred": "ring", "recorded": "disc", "received": "diamond"}
        self._write("; ".join(f"{sign}: {KINDS[kind]}" for kind, sign in signs.items()), 4)

    def _mark(self, x: float, y: float, kind: str) -> None:
        self.set_draw_color(*_INK)
        if kind == "received":
            self.set_fill_color(*_ORANGE)
            self.polygon([(x, y - 1.5), (x + 1.5, y), (x, y + 1.5), (x - 1.5, y)], style="F")
            return
        is_ring = kind == "occurred"
        self.set_fill_color(*(_PAPER if is_ring else _BLUE))
        radius = 1.7 if is_ring else 1.0
        self.ellipse(x - radius, y - radius, 2 * radius, 2 * radius, style="DF" if is_ring else "F")
