"""Whoever has a key that was replaced can put no time on the end of a topic."""

from __future__ import annotations

import re

import pytest

from sinergi.cli.root import run
from sinergi_schemas.clock import SYSTEM
from test_evidence_false_heads import replace_key
from test_withheld import SealedDay, day

__all__ = ["day"]  # fixture


@pytest.fixture
def cut(day: SealedDay) -> SealedDay:
    """The operator has left the leaf that is under the replaced key, and what was stated by then.

    All later leaves, heads and receipts are gone.
    """
    day.sealed("07:30")
    day.heads("07:59", 1)
    replace_key(day.pair, [1])
    return day


def test_heads_by_a_replaced_key_prove_no_interval(cut: SealedDay) -> None:
    cut.heads("17:00", 1)
    cut.heads(SYSTEM.now(), 1)
    status, found = cut.document()
    (part,) = found["parts"]
    assert (status, part["verdict"]) == (2, "not checked")
    assert "has signed no heads at the end of the interval or later" in part["why"]
    assert "those of an unknown time, as by a replaced key, do not count" in part["why"]


@pytest.mark.parametrize("command", ["replay", "verify"])
def test_heads_by_a_replaced_key_do_not_call_a_topic_fresh(
    cut: SealedDay, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    cut.heads(SYSTEM.now(), 1)
    capsys.readouterr()
    run(["--config", str(cut.auditor), command, cut.pair.topic.name])
    shown = " ".join("".join(capsys.readouterr()).split())
    assert re.search(
        r"unknown time[^;]*; (messages since then|newer messages) may be missing", shown
    )
    assert "s ago" not in shown
