"""The report as a PDF. Characters that its fonts lack are shown as JSON escapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_consumers.audit.evidence.report import wording
from sinergi_consumers.audit.evidence.report.paper import FONT, INK, PrintedTable, ReportPages
from sinergi_consumers.audit.evidence.report.plot import plot_of
from sinergi_schemas.plain_text import encodable

if TYPE_CHECKING:
    from datetime import datetime

    from sinergi_consumers.audit.evidence.report.contents import EvidenceReport
    from sinergi_consumers.audit.evidence.report.plot import TimePlot

_PAPER = (255, 255, 255)
_LINE, _BLUE, _ORANGE = (201, 209, 217), (5, 80, 174), (179, 89, 0)


def pdf_of(report: EvidenceReport, made_at: datetime) -> bytes:
    """The PDF of a report."""
    pdf = _ReportPdf(made_at)
    pdf.title_page(report)
    if report.events:
        pdf.timeline(report)
        pdf.known(report)
        pdf.events(report)
    else:
        pdf.heading(str(wording.ABSENCE))
        pdf.statement(wording.ABSENT)
    pdf.trees(report)
    pdf.unsearched(report)
    pdf.heading("Perjanjian · Agreements")
    for digest in report.agreements:
        pdf.paragraph(f"SHA-256 {digest}")
    pdf.heading("Apa yang terbukti, dan apa yang tidak · What this proves, and what not")
    pdf.statement(wording.PROVED)
    return bytes(pdf.output())


class _ReportPdf(ReportPages):
    """The parts of the report."""

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
            self._draw(plot)

    def timeline(self, report: EvidenceReport) -> None:
        """What happened when."""
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
        head = (
            "waktu · time",
            "kejadian · what",
            "catatan · record",
            "revisi · revision",
            "menurut jam · by the clock of",
        )
        table = PrintedTable(head, rows, (19, 32, 25, 18, 23))
        self.titled_table("Garis waktu · Timeline", (), table)

    def known(self, report: EvidenceReport) -> None:
        """Who had which event."""
        rows = [
            (event.record, f"{event.revision} {event.action}", *held)
            for event in report.events
            for held in (
                [
                    (each.database, report.zone.shown(each.at), str(each.how))
                    for each in event.known_by
                ]
                or [("–", "–", str(wording.NO_RECEIPT))]
            )
        ]
        head = (
            "catatan · record",
            "revisi · revision",
            "basis data · database",
            "ditandatangani penerima · signed by the reader",
            "",
        )
        told = (wording.RECEIPTS.indonesian, wording.RECEIPTS.english)
        table = PrintedTable(head, rows, (25, 18, 25, 22, 27))
        self.titled_table(str(wording.KNOWN), told, table)

    def events(self, report: EvidenceReport) -> None:
        """All values of the events."""
        self.heading("Peristiwa · Events", room=70)  # the heading of the first and some of its rows
        self.paragraph(str(wording.NOT_SEALED))
        head = ("kolom · field", "isi · value", "arti · meaning")
        for number, event in enumerate(report.events, 1):
            rows = [(each.path, each.value, each.meaning) for each in event.fields]
            title = f"{number}. {event.record}, {event.revision} {event.action}"
            of = f"{title} ({event.agency}, {event.event_type})"
            self.titled_table(of, [event.place], PrintedTable(head, rows, (25, 35, 50)), 10)

    def trees(self, report: EvidenceReport) -> None:
        """The trees that were searched."""
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
        told = (wording.TREES.indonesian, wording.TREES.english)
        table = PrintedTable(head, rows, (30, 10, 13, 25, 34))
        self.titled_table("Pohon yang ditelusuri · Searched trees", told, table)

    def unsearched(self, report: EvidenceReport) -> None:
        """What was not searched."""
        title = "Tidak ditelusuri · Not searched"
        if not report.unsearched:
            self.heading(title)
            self.paragraph(str(wording.NOTHING_LEFT_OUT))
            return
        rows = [
            (each.name, str(wording.REASONS[each.reason]), each.detail)
            for each in report.unsearched
        ]
        head = ("topik atau partisi · topic or partition", "sebab · why", "")
        self.titled_table(title, (), PrintedTable(head, rows, (35, 40, 35)))

    def _draw(self, plot: TimePlot) -> None:
        """The plot below its heading and above its legend, all on one page."""
        scale = self.epw / plot.width
        self.heading("Sekilas · At a glance", room=plot.height * scale + 4 * len(wording.KINDS) + 5)
        left, top = self.l_margin, self.get_y()
        self.set_draw_color(*_LINE)
        for row in plot.rows:
            y = top + row.y * scale
            self.line(left + plot.left * scale, y, left + plot.right * scale, y)
            self.set_font("Courier", size=7)
            self.set_xy(left, y - 2)
            self.cell(row.x * scale, 4, encodable(row.text, "latin-1"), align="R")
        for tick in plot.ticks:
            self.set_font(FONT, size=6)
            self.set_xy(left + min(tick.x * scale - 12, self.epw - 24), top + (tick.y - 8) * scale)
            self.cell(24, 4, tick.text, align="R" if tick is plot.ticks[-1] else "C")
        for mark in plot.marks:
            self._mark(left + mark.x * scale, top + mark.y * scale, mark.kind)
        self.set_xy(self.l_margin, top + plot.height * scale)
        self.set_font(FONT, size=7)
        for kind, told in wording.KINDS.items():
            self._mark(self.l_margin + 2, self.get_y() + 2, kind)
            self.set_x(self.l_margin + 6)
            self.line_of_text(str(told), 4)
        if plot.omitted:
            self.line_of_text(wording.without_row(plot.omitted), 4)

    def _mark(self, x: float, y: float, kind: str) -> None:
        with self.local_context():  # or the tables that follow would take its colours
            self.set_draw_color(*INK)
            if kind == "received":
                self.set_fill_color(*_ORANGE)
                corners = [(x, y - 1.5), (x + 1.5, y), (x, y + 1.5), (x - 1.5, y)]
                self.polygon(corners, style="F")
                return
            is_ring = kind == "occurred"
            self.set_fill_color(*(_PAPER if is_ring else _BLUE))
            left, top, size = (x - 1.7, y - 1.7, 3.4) if is_ring else (x - 1.0, y - 1.0, 2.0)
            self.ellipse(left, top, size, size, style="DF" if is_ring else "F")
