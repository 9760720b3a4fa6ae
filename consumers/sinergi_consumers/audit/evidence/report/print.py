"""The report as a PDF. Characters that its fonts lack are shown as JSON escapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

from sinergi_consumers.audit.evidence.report import wording
from sinergi_consumers.audit.evidence.report.plot import plot_of
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
        pdf.heading(str(wording.ABSENCE))
        pdf.statement(wording.ABSENT)
    pdf.heading("Pohon yang ditelusuri · Searched trees")
    pdf.statement(wording.TREES)
    head = (
        "topik, partisi · topic, partition",
        "daun · leaves",
        "cocok · matching",
        "jumlah dari pemilik · heads of the owner",
        "akar · root",
    )
    rows = [
        (each.name, str(each.leaves), str(each.matching), each.heads, each.root)
        for each in report.trees
    ]
    pdf.rows(head, rows, (30, 10, 12, 25, 35))
    pdf.unsearched(report)
    pdf.heading("Perjanjian · Agreements")
    for digest in report.agreements:
        pdf.paragraph(f"SHA-256 {digest}")
    pdf.heading("Apa yang terbukti, dan apa yang tidak · What this proves, and what not")
    pdf.statement(wording.PROVED)
    return bytes(pdf.output())


class _ReportPdf(FPDF):
    """A4 pages with numbers."""

    def __init__(self, made_at: datetime) -> None:
        super().__init__(format="A4")
        self.set_creation_date(made_at)
        self.set_title("Bukti · Evidence")
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

    def statement(self, told: Wording) -> None:
        """A statement in both languages."""
        self.paragraph(told.indonesian)
        self.paragraph(told.english)

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
        self.heading("Bukti · Evidence", 18)
        self.paragraph(report.bus)
        self.statement(wording.FOR_READING)
        self.heading(str(wording.STATED))
        for label, text in report.stated:
            self.paragraph(f"{label}: {text}")
        self.paragraph(f"{wording.ALL_TIMES}: {report.zone}; {wording.AS_SEALED}")
        self.statement(wording.SIGNED if report.signers else wording.UNSIGNED)
        for name in report.signers:
            self.paragraph(name)
        if report.events:
            self.statement(wording.CHOSEN)
        if any(each.is_failure for each in report.unsearched):
            self.statement(wording.INCOMPLETE)
        plot = plot_of(report.timeline)
        if plot is not None:
            self.heading("Sekilas · At a glance")
            self._draw(plot)

    def events(self, report: EvidenceReport) -> None:
        """The timeline, who had which event, and all values of the events."""
        self.heading("Garis waktu · Timeline")
        rows = [
            (
                report.zone.shown(each.at),
                str(wording.KINDS[each.kind]),
                each.record,
                f"{each.revision} {each.action}",
                each.clock,
            )
            for each in report.timeline
        ]
        self.rows(
            (
                "waktu · time",
                "kejadian · what",
                "catatan · record",
                "revisi · revision",
                "menurut jam · by the clock of",
            ),
            rows,
            (22, 32, 20, 16, 27),
        )
        self.heading(str(wording.KNOWN))
        self.statement(wording.RECEIPTS)
        known = [
            (
                event.record,
                f"{event.revision} {event.action}",
                each.database,
                report.zone.shown(each.at),
                str(each.how),
            )
            for event in report.events
            for each in event.known_by
        ]
        if known:
            head = (
                "catatan · record",
                "revisi · revision",
                "basis data · database",
                "ditandatangani penerima · signed by the reader",
                "",
            )
            self.rows(head, known, (20, 16, 27, 24, 25))
        else:
            self.paragraph(str(wording.NO_RECEIPT))
        self.paragraph(str(wording.NOT_SEALED))
        for number, event in enumerate(report.events, 1):
            self.heading(f"{number}. {event.record}, {event.revision} {event.action}", 10)
            self.paragraph(event.place)
            self.rows(
                ("kolom · field", "isi · value", "arti · meaning"),
                [(each.path, each.value, each.meaning) for each in event.fields],
                (25, 35, 50),
            )

    def unsearched(self, report: EvidenceReport) -> None:
        """What was not searched."""
        self.heading("Tidak ditelusuri · Not searched")
        if not report.unsearched:
            self.paragraph(str(wording.NOTHING_LEFT_OUT))
            return
        rows = [
            (each.name, str(wording.REASONS[each.reason]), each.detail)
            for each in report.unsearched
        ]
        head = ("topik atau partisi · topic or partition", "sebab · why", "")
        self.rows(head, rows, (35, 40, 35))

    def _draw(self, plot: TimePlot) -> None:
        scale = self.epw / plot.width
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
            self.set_xy(left + min(tick.x * scale - 12, self.epw - 24), top + (tick.y - 8) * scale)
            self.cell(24, 4, tick.text, align="R" if tick is plot.ticks[-1] else "C")
        for mark in plot.marks:
            self._mark(left + mark.x * scale, top + mark.y * scale, mark.kind)
        self.set_xy(self.l_margin, top + plot.height * scale)
        self.set_font(_FONT, size=7)
        for kind, told in wording.KINDS.items():
            self._mark(self.l_margin + 2, self.get_y() + 2, kind)
            self.set_x(self.l_margin + 6)
            self._write(str(told), 4)

    def _mark(self, x: float, y: float, kind: str) -> None:
        with self.local_context():  # or the tables that follow would take its colours
            self.set_draw_color(*_INK)
            if kind == "received":
                self.set_fill_color(*_ORANGE)
                corners = [(x, y - 1.5), (x + 1.5, y), (x, y + 1.5), (x - 1.5, y)]
                self.polygon(corners, style="F")
                return
            is_ring = kind == "occurred"
            self.set_fill_color(*(_PAPER if is_ring else _BLUE))
            left, top, size = (x - 1.7, y - 1.7, 3.4) if is_ring else (x - 1.0, y - 1.0, 2.0)
            self.ellipse(left, top, size, size, style="DF" if is_ring else "F")
