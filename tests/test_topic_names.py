"""The topics that are named to commands which read topics again: all of them say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sinergi.exit_status import ExitStatus
from test_wrong_input_audit import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from test_wrong_input_audit import CommandResult

__all__ = ["ask"]  # fixture

COMMANDS = {
    "replay": (),
    "verify": (),
    "reconcile": (),
    "archive create": ("-o", "x.zip"),
    "evidence create": ("--key", "T/1", "--why", "a test", "-o", "x.zip"),
    "withheld": ("--from", "2026-01-01T00:00Z", "--to", "2026-02-01T00:00Z"),
}

UNKNOWN = (
    "There is no event type transfr; there are seizure, suspicious-visit, transfer; did you mean"
    " transfer? Name one of these, or install the version of Sinergi that has it."
)
NOT_AGREED = "No agreement in force covers sinergi.nobody.transfer (no agency nobody; known are"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("sinergi.lapas-banyuwangi.transfr", UNKNOWN),
        ("sinergi.nobody.transfer", NOT_AGREED),
    ],
)
def test_every_command_says_the_same_of_a_topic_that_nobody_agreed_on(
    ask: Callable[..., CommandResult], command: str, topic: str, said: str
) -> None:
    found = ask(*command.split(), topic, *COMMANDS[command])
    assert (found.status, found.out) == (ExitStatus.ERROR, "")
    assert found.line.startswith(f"sinergi: {said}")
