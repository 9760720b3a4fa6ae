"""The report as one HTML file, without scripts and without anything from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jinja2

from sinergi_consumers.audit.evidence.report import wording
from sinergi_consumers.audit.evidence.report.plot import WIDTH, plot_of

if TYPE_CHECKING:
    from datetime import datetime

    from sinergi_consumers.audit.evidence.report.contents import EvidenceReport


def html_of(report: EvidenceReport) -> bytes:
    """The page of a report."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sinergi_consumers.audit.evidence.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = moment
    template = environment.get_template("report.html.j2")
    plot = plot_of(report.timeline)
    return template.render(report=report, plot=plot, width=WIDTH, wording=wording).encode()


def moment(at: datetime | None) -> str:
    """A time to the second, in its own zone."""
    return "unknown · tidak diketahui" if at is None else at.isoformat(" ", "seconds")
