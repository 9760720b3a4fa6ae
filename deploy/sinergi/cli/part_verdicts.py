"""The colour and the exit status of each verdict on a part."""

from __future__ import annotations

from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit.verified_parts import PartVerdict

STYLES = {
    PartVerdict.PROVED: "green",
    PartVerdict.DISPROVED: "bold red",
    PartVerdict.UNCHECKED: "bold yellow",
}
"""How a verdict looks in a table."""
STATUSES = {
    PartVerdict.PROVED: ExitStatus.SUCCESS,
    PartVerdict.DISPROVED: ExitStatus.NEGATIVE,
    PartVerdict.UNCHECKED: ExitStatus.ERROR,
}
"""How a command ends whose verdict on all parts this is."""
