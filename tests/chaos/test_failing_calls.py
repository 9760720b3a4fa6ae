"""Some of the calls that `make chaos ONLY=calls` lets fail, one after another."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from chaos.chaos_bus import Scale
from chaos.faults import calls
from chaos.services import Services

pytestmark = pytest.mark.long

SEED = "make test"
EVERY = 60
FEWEST = 4


def test_nothing_is_lost_doubled_or_forged_by_calls_that_fail_in_their_turn() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as name,
        Services(Path(name) / "services") as services,
    ):
        report = calls.run(services, Path(name) / "calls", SEED, Scale(0, EVERY))
    assert report.problems == []
    assert (report.lost, report.doubled, report.forged) == (0, 0, 0)
    assert report.faults >= FEWEST
    assert report.events > 0
