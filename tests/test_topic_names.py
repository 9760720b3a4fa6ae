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
    "There is no event type transfr; did you mean transfer? If not, install the version of Sinergi"
    " that has it."
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("replay", "--type", "transfr"),
            "--type transfr leaves no topic to read; did you mean tr",
        ),
        (
            ("replay", "--type", "TRANSFER"),
            "--type TRANSFER leaves no topic to read; did you mean tr",
        ),
        (("record", "TRANSFER", "T/1"), "'TRANSFER' may be read here; did you mean transfer?"),
        (("received", "transfr", "T/1"), "'transfr' may be read here; did you mean transfer?"),
        (
            ("replay", "sinergi.nobody.TRANSFER"),
            "'sinergi.nobody.TRANSFER' is not sinergi.<agency>",
        ),
        (("replay", "--agency", "lapas-banyuwang"), "read; did you mean lapas-banyuwangi?"),
    ],
)
def test_a_misspelt_event_type_or_agency_is_answered_with_the_nearest(
    ask: Callable[..., CommandResult], words: tuple[str, ...], said: str
) -> None:
    found = ask(*words)
    assert (found.status, found.out) == (ExitStatus.ERROR, "")
    assert said in found.line


def test_an_agency_that_publishes_nothing_of_a_type_is_not_called_misspelt(
    ask: Callable[..., CommandResult],
) -> None:
    found = ask("record", "transfer", "T/1", "--agency", "bnnk-banyuwangi")
    said = (
        "no topic of 'bnnk-banyuwangi' with this event type may be read here; there are topics of"
    )
    assert f"{said} lapas-banyuwangi." in found.line
    assert "did you mean" not in found.line


def test_an_unknown_event_type_that_is_like_none_is_answered_with_all(
    ask: Callable[..., CommandResult],
) -> None:
    found = ask("replay", "sinergi.lapas-banyuwangi.xyzzy")
    there = "there are seizure, suspicious-visit, transfer. Name one of these, or install the"
    assert found.line.startswith(f"sinergi: There is no event type xyzzy; {there} version")
