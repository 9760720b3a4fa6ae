"""A journal to which somebody has added rows with psql, as every role of audits may."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from test_journal import WHY, demanding, entries, filled, reader

if TYPE_CHECKING:
    from verified_database import VerifiedDatabase

__all__ = ["demanding", "filled", "reader"]  # fixtures

_ROW = {
    "run": "gen_random_uuid()",
    "principals": "'{}'",
    "account": "'somebody@somewhere'",
    "command": "'replay'",
    "asked_for": "'{}'",
    "topics": "'{}'",
    "agreements": "'{}'",
    "software": "'psql'",
}
_MANY_DIGITS = "repeat('1', 5000)::jsonb"
_DEEP = "(repeat('[', 5000) || repeat(']', 5000))::jsonb"


def add(reader: VerifiedDatabase, **values: str) -> None:
    """Add a row with these SQL expressions."""
    row = _ROW | values
    columns, given = ", ".join(row), ", ".join(row.values())
    reader.execute(f"INSERT INTO sinergi_consumer.journal ({columns}) VALUES ({given})")


@pytest.mark.parametrize(
    "values",
    [
        *({"asked_for": given} for given in ("'[]'", "'null'", "'\"text\"'", "'7'")),
        {"asked_for": _MANY_DIGITS},
        {"asked_for": _DEEP},
        {"asked_for": f"jsonb_build_object('key', {_DEEP})"},
        {"asked_for": "jsonb_build_object('key', repeat('x', 10000000))"},
        {"principals": "'{NULL}'", "topics": "'{{a,b},{c,d}}'", "agreements": "'{NULL}'"},
        dict.fromkeys(("why", "account", "command", "software"), "repeat('x', 10000000)"),
        {"why": r"E'\x1b[31m\n\u202e'", "account": r"E'\x1b]0;x\x07'", "command": r"E'a\nb'"},
    ],
    ids=lambda values: ", ".join(f"{name} {given[:30]}" for name, given in values.items()),
)
def test_no_row_that_somebody_has_added_hides_the_others_or_floods_the_reader(
    reader: VerifiedDatabase, values: dict[str, str]
) -> None:
    assert reader.run("received", "transfer", "P/1", "--why", WHY)[0] == 0
    add(reader, **values)
    status, out, err = reader.run("journal")
    assert (status, WHY in out) == (0, True)
    assert "2 in all, 2 shown" in err
    assert len(out) < 20_000
    assert "\x1b" not in out
    status, out, _ = reader.run("journal", "--json")
    hostile, honest = json.loads(out)["rows"]
    assert (status, honest["why"], hostile["why"] == WHY) == (0, WHY, False)
    assert len(out) < 9_000_000


@pytest.mark.parametrize(
    ("trees", "counts"), [("'1'", "'[]'"), (_DEEP, _MANY_DIGITS)], ids=["types", "sizes"]
)
def test_no_end_that_somebody_has_added_hides_a_run(
    reader: VerifiedDatabase, trees: str, counts: str
) -> None:
    add(reader, why=f"'{WHY}'")
    reader.execute(
        "INSERT INTO sinergi_consumer.journal_end"
        " (run, outcome, exit_status, error, trees, counts, verdict)"
        f" SELECT run, 'ended', 999, repeat('x', 10000000), {trees}, {counts}, 'well'"
        " FROM sinergi_consumer.journal"
    )
    for words in (("journal",), ("journal", "--json")):
        status, out, _ = reader.run(*words)
        assert (status, WHY in out, len(out) < 300_000) == (0, True, True)


def test_an_end_that_another_user_has_recorded_is_shown_as_his(reader: VerifiedDatabase) -> None:
    add(reader)
    reader.execute(
        "INSERT INTO sinergi_consumer.journal_end"
        " (run, database_user, outcome, exit_status, trees, counts)"
        " SELECT run, 'colleague', 'ended', 0, '[]', '{}' FROM sinergi_consumer.journal"
    )
    status, out, _ = reader.run("journal")
    assert (status, "by colleague" in out, "exit 0" in out) == (0, True, False)


@pytest.mark.parametrize("why", ["\u200b\u2060", "\x01", "...", "\u3000"])
def test_a_reason_without_a_letter_or_a_digit_says_nothing(
    reader: VerifiedDatabase, demanding: tuple[str, str], why: str
) -> None:
    for options in ((), demanding):
        status, out, err = reader.run(*options, "replay", "--why", why)
        assert (status, out, "--why says nothing" in err) == (2, "", True)
    assert entries(reader) == []


def test_a_long_reason_with_controls_is_kept_whole_and_shown_in_short(
    reader: VerifiedDatabase,
) -> None:
    why = f"a\nb\x1b[31m\u202e{'x' * 100_000}"
    assert reader.run("received", "transfer", "P/1", "--why", why)[0] == 0
    (entry,) = entries(reader)
    assert entry["why"] == why
    status, out, _ = reader.run("journal")
    assert (status, len(out) < 5_000) == (0, True)
    assert r"a\u000ab\u001b[31m\u202exxx" in out.replace("\n", "").replace(" ", "")
