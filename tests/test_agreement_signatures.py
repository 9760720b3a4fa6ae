"""Agreements are signed by their parties, and an agreement that is not is refused."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from sinergi.cli.root import run
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.file import examine, parse
from sinergi_schemas.agreements.signatures import (
    SignatureState,
    add_signature,
    note_path,
    problems,
    signatures,
    statement,
)
from sinergi_schemas.agreements.tables import NAME_PLACEHOLDER
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.seal.note import MOST_SIGNATURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.agreements.model import Agreement

EXAMPLE = Path(__file__).parent.parent / "examples" / "agreement" / "banyuwangi.toml"
BUS = "sinergi.banyuwangi.example"
LAPAS, BNNK, POLRESTA = "lapas-banyuwangi", "bnnk-banyuwangi", "polresta-banyuwangi"
SIGNED, MISSING, INVALID = SignatureState.SIGNED, SignatureState.MISSING, SignatureState.INVALID


@pytest.fixture(autouse=True)
def _wide_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of a table is one line."""
    monkeypatch.setenv("COLUMNS", "1000")


@dataclass(frozen=True)
class Parties:
    """Three agencies, each with settings, a private key and a copy of their agreement."""

    folder: Path
    keys: dict[str, SigningKey]

    def file(self, agency: str) -> Path:
        return self.folder / agency / "agreements" / "pks.toml"

    def agreement(self, agency: str) -> Agreement:
        return parse(self.file(agency), self.file(agency).read_bytes())

    def run(self, agency: str, *command: str) -> int:
        return run(["--config", str(self.folder / agency / "sinergi.toml"), *command])

    def sign(self, agency: str, of: str) -> int:
        return self.run(agency, "agreement", "sign", str(self.file(of)))


def test_no_agreement_has_more_parties_than_can_sign_it() -> None:
    raw = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    for number in range(MOST_SIGNATURES - len(raw["parties"]) + 1):
        agency = f"lapas-{number}"
        key = SigningKey.generate(f"{BUS}/{agency}").public
        raw["parties"][agency] = {"name": agency, "keys": [str(key)], "receipt_keys": []}
        raw["numbers"].append({"party": agency, "number": f"PKS/{number}"})
    found, problems = examine(Path("many.toml"), tomli_w.dumps(raw).encode())
    assert found is None
    (problem,) = problems
    assert problem.key == "parties"
    assert "contains 101 parties" in str(problem)
    del raw["parties"][agency], raw["numbers"][-1]
    assert examine(Path("many.toml"), tomli_w.dumps(raw).encode())[1] == []


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    raw = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    keys = {agency: SigningKey.generate(f"{BUS}/{agency}") for agency in (LAPAS, BNNK, POLRESTA)}
    for agency, key in keys.items():
        raw["parties"][agency]["keys"] = [str(key.public)]
    for agency, key in keys.items():
        for folder in ("agreements", "keys"):
            (tmp_path / agency / folder).mkdir(parents=True)
        key.save(tmp_path / agency / "keys" / "own.key")
        (tmp_path / agency / "agreements" / "pks.toml").write_text(tomli_w.dumps(raw))
        settings = {"agency": agency, "kafka": {"bootstrap": "127.0.0.1:1"}}
        (tmp_path / agency / "sinergi.toml").write_text(tomli_w.dumps(settings))
    return Parties(tmp_path, keys)


def next_version(parties: Parties) -> dict[str, Any]:
    """A version of their agreement that replaces it."""
    raw = tomllib.loads(parties.file(LAPAS).read_text())
    raw["replaces"] = [parties.agreement(LAPAS).hash]
    raw["in_force"]["from"] = raw["in_force"]["from"].replace(year=2026)
    return raw


def states(parties: Parties, agency: str) -> list[SignatureState]:
    agreement = parties.agreement(agency)
    note = note_path(agreement.path)
    text = note.read_text() if note.exists() else None
    return [each.state for each in signatures(agreement, text)]


def test_the_parties_sign_one_after_another_and_then_the_agreement_is_taken(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    for count, agency in enumerate((LAPAS, BNNK, POLRESTA), 1):
        with pytest.raises(errors.AgreementRefused, match="has not signed"):
            Agreements.load(parties.file(LAPAS).parent, signed=True)
        assert parties.sign(agency, LAPAS) == 0
        assert states(parties, LAPAS) == [SIGNED] * count + [MISSING] * (3 - count)
        assert parties.run(LAPAS, "agreement", "verify") == (0 if count == 3 else 1)
    assert len([*Agreements.load(parties.file(LAPAS).parent, signed=True)]) == 1
    assert "all have signed" in capsys.readouterr().err


def test_signing_where_others_may_write_changes_no_other_file(parties: Parties) -> None:
    """A link in place of the file that the note is written to at first."""
    victim = parties.file(LAPAS).parent / "victim"
    victim.write_text("mine")
    note = note_path(parties.file(LAPAS))
    (note.parent / f".{note.name}.{os.getpid()}").symlink_to(victim)
    assert parties.sign(LAPAS, LAPAS) == 0
    assert victim.read_text() == "mine"
    assert not note.is_symlink()


def test_whoever_signs_twice_has_one_signature(parties: Parties) -> None:
    assert parties.sign(LAPAS, LAPAS) == 0
    first = note_path(parties.file(LAPAS)).read_bytes()
    assert parties.sign(LAPAS, LAPAS) == 0
    assert note_path(parties.file(LAPAS)).read_bytes() == first


def test_commands_refuse_an_agreement_that_a_party_has_not_signed(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    parties.sign(LAPAS, LAPAS)
    capsys.readouterr()
    for command in (["provision", "plan"], ["replay", "sinergi.bnnk-banyuwangi.seizure"]):
        assert parties.run(LAPAS, *command) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert f"{BNNK} has not signed; it runs `sinergi agreement sign pks.toml`" in shown.err
        assert f"{POLRESTA} has not signed" in shown.err
        assert f"{LAPAS} has not signed" not in shown.err


@given(st.data())
def test_a_change_of_any_byte_after_the_signature_is_found(data: st.DataObject) -> None:
    content = EXAMPLE.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    key = SigningKey.generate(f"{BUS}/{LAPAS}")
    note = add_signature(parse(EXAMPLE, content), None, key)
    changed = (
        content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :]
    )
    try:
        agreement = parse(EXAMPLE, changed)
    except errors.AgreementRefused:
        return
    with pytest.raises(errors.SignaturesRefused, match="signs another file"):
        signatures(agreement, note)


def test_a_signature_by_another_key_is_not_that_of_the_party(parties: Parties) -> None:
    agreement = parties.agreement(LAPAS)
    thief = SigningKey.generate(f"{BUS}/{LAPAS}")
    (first, *_) = signatures(agreement, add_signature(agreement, None, thief))
    assert (first.agency, first.state) == (LAPAS, MISSING)


def test_a_false_signature_under_the_name_and_id_of_a_key_does_not_hold(parties: Parties) -> None:
    agreement = parties.agreement(LAPAS)
    note = add_signature(agreement, None, parties.keys[LAPAS])
    text, _, line = note.rpartition(" ")
    spoilt = f"{text} {line[:20]}{'A' if line[20] != 'A' else 'B'}{line[21:]}"
    assert [each.state for each in signatures(agreement, spoilt)] == [INVALID, MISSING, MISSING]
    note_path(agreement.path).write_text(spoilt)
    (what, *_) = problems(agreement)
    assert "the signature of lapas-banyuwangi does not hold" in str(what)


def test_a_signature_of_a_tree_is_none_of_an_agreement(parties: Parties) -> None:
    """The first line of what is signed differs from every origin of a tree."""
    agreement = parties.agreement(LAPAS)
    assert statement(agreement).splitlines()[0] == f"{BUS}/agreement"
    assert not any(each.name == "agreement" for each in agreement.topics())


NOTES: list[tuple[str, bytes]] = [
    ("is not UTF-8", b"\xff\xfe"),
    ("is not a signed note", b""),
    ("is not a signed note", b"nothing\n"),
    ("is not a signed note", b"x" * 60_000),
    ("cannot be read", b"x" * 100_000),
    ("is not a signed note", b"\x1b[31m\n\n\xe2\x80\x94 a AAAAAAAA\n"),
]


@pytest.mark.parametrize(("what", "note"), NOTES)
def test_a_note_that_is_none_is_refused_by_its_name_and_stays(
    parties: Parties, capsys: pytest.CaptureFixture[str], what: str, note: bytes
) -> None:
    path = note_path(parties.file(LAPAS))
    path.write_bytes(note)
    assert parties.run(LAPAS, "agreement", "sign", str(parties.file(LAPAS))) == 2
    shown = capsys.readouterr()
    assert (shown.out, path.read_bytes()) == ("", note)
    assert f"{path} {what}" in shown.err
    assert "\x1b" not in shown.err


def verified(parties: Parties, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The state and the reason of each party's signature, as `verify` has them, which ends with 1.

    The table has them too.
    """
    capsys.readouterr()
    assert parties.run(LAPAS, "agreement", "verify", "--json") == 1
    (document,) = json.loads(capsys.readouterr().out)
    assert not document["signed_by_all"]
    assert parties.run(LAPAS, "agreement", "verify") == 1
    table = capsys.readouterr().out
    for each in document["parties"]:
        (row,) = [line for line in table.splitlines() if each["key"] in line]
        assert each["state"] in row
        assert each["why"] in row or "as above" in row
        assert each["why"] in table
    return [[each["state"], each["why"]] for each in document["parties"]]


@pytest.mark.parametrize(("what", "note"), [each for each in NOTES if each[0] != "cannot be read"])
def test_verify_says_why_no_signature_holds_in_a_malformed_note(
    parties: Parties, capsys: pytest.CaptureFixture[str], what: str, note: bytes
) -> None:
    note_path(parties.file(LAPAS)).write_bytes(note)
    for state, why in verified(parties, capsys):
        assert (state, why.startswith(f"the note {what}")) == ("invalid", True)


def test_verify_shows_that_a_file_was_changed_after_it_was_signed(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    for agency in parties.keys:
        parties.sign(agency, LAPAS)
    file = parties.file(LAPAS)
    file.write_text(file.read_text().replace("partitions = 3", "partitions = 4"))
    found = verified(parties, capsys)
    why = "the note signs another file: the agreement was changed after it was signed"
    assert [state for state, _ in found] == [INVALID] * 3
    assert all(each.startswith(why) for _, each in found)


@pytest.mark.parametrize(("what", "note"), [each for each in NOTES if "read" not in each[0]])
def test_verify_shows_what_is_wrong_with_a_note(
    parties: Parties, capsys: pytest.CaptureFixture[str], what: str, note: bytes
) -> None:
    note_path(parties.file(LAPAS)).write_bytes(note)
    found = verified(parties, capsys)
    assert [state for state, _ in found] == [INVALID] * 3
    assert all(why.startswith(f"the note {what}") for _, why in found)


def test_verify_cannot_decide_about_a_note_that_it_cannot_read(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    path = note_path(parties.file(LAPAS))
    path.mkdir()
    assert parties.run(LAPAS, "agreement", "verify") == 2
    shown = capsys.readouterr()
    assert (shown.out, f"{path} cannot be read (Is a directory)" in shown.err) == ("", True)


def test_a_misspelt_event_type_is_told_at_check_and_at_sign(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    file = parties.file(LAPAS)
    file.write_text(file.read_text().replace("events.transfer", "events.transfr"))
    allowed = ["--unknown-type", "transfr"]
    assert run(["agreement", "check", str(file)]) == 1
    said = "events.transfr: is no event type of this version; if it is right, add"
    line = capsys.readouterr().out.strip()
    assert line.startswith(f"{file}: {said} `--unknown-type transfr`")
    assert line.endswith("did you mean transfer?")
    assert run(["agreement", "check", *allowed, str(file)]) == 0
    assert parties.sign(LAPAS, LAPAS) == 2
    assert said in capsys.readouterr().err
    assert not note_path(file).exists()
    assert parties.run(LAPAS, "agreement", "sign", *allowed, str(file)) == 0
    assert len([*Agreements.load(file.parent)]) == 1


def test_a_file_that_was_sent_is_checked_without_the_earlier_one(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    first = parties.file(LAPAS)
    digest = parties.agreement(LAPAS).hash
    raw = next_version(parties)
    second = parties.folder / "pks-2.toml"
    second.write_text(tomli_w.dumps(raw))
    assert run(["agreement", "check", str(second)]) == 0
    shown = capsys.readouterr()
    assert shown.out == "nothing is wrong in 1 file\n"
    assert f"{second}: replaces: the earlier file with the SHA-256 {digest} is not" in shown.err
    assert run(["agreement", "check", str(first), str(second)]) == 0
    assert capsys.readouterr().err == ""
    second.replace(first)
    assert parties.run(LAPAS, "agreement", "check") == 1
    assert f"the earlier file with the SHA-256 {digest} is missing" in capsys.readouterr().out


def test_keys_show_has_the_name_of_the_agreement_or_says_that_it_is_to_be_written(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parties.run(LAPAS, "keys", "show") == 0
    shown = capsys.readouterr()
    assert tomllib.loads(shown.out)["parties"][LAPAS]["name"] == NAME_PLACEHOLDER
    assert f"write the full name of {LAPAS} in place of {NAME_PLACEHOLDER}" in shown.err
    for agency in parties.keys:
        parties.sign(agency, LAPAS)
    capsys.readouterr()
    assert parties.run(LAPAS, "keys", "show") == 0
    shown = capsys.readouterr()
    name = parties.agreement(LAPAS).parties[LAPAS].name
    assert tomllib.loads(shown.out)["parties"][LAPAS]["name"] == name
    assert NAME_PLACEHOLDER not in shown.err


def test_who_is_no_party_or_lacks_the_key_cannot_sign(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(parties.file(LAPAS))
    assert parties.run(LAPAS, "--set", "agency=rutan-rekaan", "agreement", "sign", file) == 2
    assert "rutan-rekaan cannot sign" in capsys.readouterr().err
    assert parties.run(LAPAS, "--set", f"agency={BNNK}", "agreement", "sign", file) == 2
    shown = capsys.readouterr()
    assert f"the private half of {BUS}/{BNNK}+" in shown.err
    assert not note_path(parties.file(LAPAS)).exists()


def test_check_names_every_fault_at_once_and_whether_files_contradict_each_other(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    file = parties.file(LAPAS)
    assert run(["agreement", "check", str(file)]) == 0
    assert capsys.readouterr().out == "nothing is wrong in 1 file\n"
    raw: dict[str, Any] = tomllib.loads(file.read_text())
    raw["events"]["seizure"]["partitions"] = 0
    raw["parties"][LAPAS]["keys"] = ["none"]
    broken = file.with_name("broken.toml")
    broken.write_text(tomli_w.dumps(raw))
    assert run(["agreement", "check", "--json", str(broken)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {each["key"] for each in found} == {
        f"parties.{LAPAS}.keys[0]",
        "events.seizure.partitions",
    }
    assert run(["agreement", "check", str(file), str(file)]) == 1
    assert "is the same file as" in capsys.readouterr().out
    assert run(["agreement", "check", str(file.with_name("nowhere.toml"))]) == 2


def test_show_says_who_may_do_what_until_when(
    parties: Parties, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")  # so that each row is one line
    assert run(["agreement", "show", "--json", str(parties.file(LAPAS))]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["hash"] == parties.agreement(LAPAS).hash
    events = {each["event_type"]: each for each in shown["events"]}
    assert events["transfer"]["publishers"] == [LAPAS]
    assert events["transfer"]["readers"] == [BNNK, LAPAS, POLRESTA]
    assert run(["agreement", "show", str(parties.file(LAPAS))]) == 0
    lines = [" ".join(each.split()) for each in capsys.readouterr().out.splitlines()]
    assert f"transfer publish {LAPAS} {LAPAS}.producer" in lines
    assert f"transfer read {BNNK} {BNNK}.consumer PRISON_SECURITY, INVESTIGATION" in lines


@pytest.fixture
def load() -> Callable[[Path], Agreements]:
    return lambda folder: Agreements.load(folder, signed=True)


def test_a_version_needs_the_signature_of_whoever_it_leaves_out(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise any two agencies could end the rights of all others."""
    first = parties.file(LAPAS)
    for agency in parties.keys:
        parties.sign(agency, LAPAS)
    raw = next_version(parties)
    del raw["parties"][POLRESTA]
    raw["numbers"] = [each for each in raw["numbers"] if each["party"] != POLRESTA]
    for agreed in raw["events"].values():
        for role in ("publishers", "readers"):
            agreed[role] = [each for each in agreed[role] if each != POLRESTA]
    second = first.with_name("pks-2.toml")
    second.write_text(tomli_w.dumps(raw))
    for agency in (LAPAS, BNNK):
        capsys.readouterr()
        assert parties.run(agency, "agreement", "sign", str(second)) == 0
    assert f"still to sign: {POLRESTA}" in capsys.readouterr().err
    assert parties.run(LAPAS, "agreement", "verify", str(second)) == 1
    with pytest.raises(errors.AgreementRefused, match=f"pks-2.toml: signatures: {POLRESTA} has"):
        Agreements.load(first.parent, signed=True)
    assert parties.run(POLRESTA, "agreement", "sign", str(second)) == 0
    assert "all have signed" in capsys.readouterr().err
    assert parties.run(LAPAS, "agreement", "verify", str(second)) == 0
    assert len([*Agreements.load(first.parent, signed=True)]) == 2


def test_a_file_whose_earlier_one_is_not_here_says_that_more_may_have_to_sign(
    parties: Parties, capsys: pytest.CaptureFixture[str]
) -> None:
    file = parties.file(LAPAS)
    file.write_text(f'replaces = ["{"0" * 64}"]\n{file.read_text()}')
    assert parties.sign(LAPAS, LAPAS) == 0
    assert f"replaces the file with the SHA-256 {'0' * 64}, which is not" in capsys.readouterr().err


def test_a_version_that_replaces_another_needs_the_signatures_of_both(
    parties: Parties, load: Callable[[Path], Agreements]
) -> None:
    first = parties.file(LAPAS)
    for agency in parties.keys:
        parties.sign(agency, LAPAS)
    raw = next_version(parties)
    second = first.with_name("pks-2.toml")
    second.write_text(tomli_w.dumps(raw))
    with pytest.raises(
        errors.AgreementRefused, match=r"pks-2\.toml: signatures: .* has not signed"
    ):
        load(first.parent)
    for agency in parties.keys:
        parties.run(agency, "agreement", "sign", str(second))
    assert len([*load(first.parent)]) == 2
