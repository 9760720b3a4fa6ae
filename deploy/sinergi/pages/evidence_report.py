"""The report of a bundle of evidence as one HTML file, without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.pages import rendering
from sinergi_consumers.audit.evidence.report import wording
from sinergi_consumers.audit.evidence.report.plot import NARROW, WIDE, plot_of

if TYPE_CHECKING:
    from sinergi_consumers.audit.evidence.report.contents import EvidenceReport


def html_of(report: EvidenceReport) -> bytes:
    """The page of a report."""
    return rendering.page(
        "evidence.html.jinja",
        report=report,
        plots={
            "wide": plot_of(report.timeline, WIDE),
            "narrow": plot_of(report.timeline, NARROW),
        },
        wording=wording,
        moment=report.zone.shown,
    )
