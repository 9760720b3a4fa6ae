"""`sinergi agreement show` says everything that two people compare, and when a file is replaced."""

from __future__ import annotations

import json
import tomllib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from sinergi.cli.root import run
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from test_agreement import BNNK, EXAMPLE, LAPAS

WIB = timezone(timedelta(hours=7))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings' folder of agreements is not that of the files."""
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three versions of an agreement, of which each names only the one before it."""
    found = tmp_path / "files"
    found.mkdir()
    raw = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    for name, year in (("pks", 2025), ("pks2", 2026), ("pks3", 2026)):
        month = 2 if name == "pks3" else 1
        raw["in_force"]["from"] = datetime(year, month, 1, 9, 30, tzinfo=WIB)
        raw["in_force"].pop("until", None)
        data = write(found / f"{name}.toml", raw)
        raw["replaces"] = [parse(Path("pks.toml"), data).hash]
    return found


def write(path: Path, raw: dict[str, Any]) -> bytes:
    data = tomli_w.dumps(raw).encode()
    path.write_bytes(data)
    return data


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> list[Any]:
    assert run(["agreement", "show", "--json", *words]) == 0
    found: list[Any] = json.loads(capsys.readouterr().out)
    return found


def test_show_of_the_whole_folder_says_when_each_file_was_replaced_and_by_which(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--set", f"agreements={folder}", "agreement", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    periods = [each.partition(", when it is ") for each in lines if ": from " in each]
    unsigned = "(which not all have signed)"
    assert [each[0] for each in periods] == [
        "in force: from 2026-02-01T09:30:00+07:00 without an end",
        "replaced: from 2026-01-01T09:30:00+07:00 until 2026-02-01T09:30:00+07:00",
        "replaced: from 2025-01-01T09:30:00+07:00 until 2026-01-01T09:30:00+07:00",
    ]
    assert [each[2] for each in periods[1:]] == [
        f"replaced by pks3.toml {unsigned}",
        f"replaced by pks2.toml {unsigned}",
    ]


def test_show_of_one_file_looks_at_the_files_beside_it_and_in_the_folder_of_agreements(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (one,) = shown(capsys, str(folder / "pks2.toml"))
    assert not one["in_force"]
    assert one["replaced_at"] == "2026-02-01T02:30:00+00:00"
    assert [Path(each["file"]).name for each in one["replaced_by"]] == ["pks3.toml"]
    copy = tmp_path / "letter.toml"
    copy.write_bytes((folder / "pks.toml").read_bytes())
    assert shown(capsys, str(copy))[0]["in_force"]
    assert run(["--set", f"agreements={folder}", "agreement", "show", "--json", str(copy)]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["file"] == str(copy)
    assert one["replaced_at"] == "2026-01-01T02:30:00+00:00"


def test_a_file_beside_it_that_cannot_be_used_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "draft.toml").write_text("bus = 1\nreplaces = []\n")
    (folder / "broken.toml").write_text("bus =\n")
    (folder / "terms.toml").write_text("bus = 1\n")
    assert run(["agreement", "show", str(folder / "pks3.toml")]) == 0
    said = capsys.readouterr().err
    assert f"{folder / 'draft.toml'} was not looked at" in said
    assert f"{folder / 'broken.toml'} was not looked at" in said
    assert "terms.toml" not in said  # it replaces nothing, whatever is wrong in it


def test_show_and_verify_give_whole_keys_and_what_else_two_people_compare(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "pks3.toml"
    raw = tomllib.loads(file.read_text())
    name = f"{raw['bus']}/{BNNK}/register"
    receipts = str(SigningKey.generate(name, Algorithm.COSIGNATURE).public)
    raw["parties"][BNNK]["receipt_keys"] = [{"database": "register", "key": receipts}]
    write(file, raw)
    assert run(["agreement", "show", str(file)]) == 0
    out = capsys.readouterr().out.splitlines()
    for agency in (LAPAS, BNNK):
        (key,) = raw["parties"][agency]["keys"]
        assert f"  key {key}" in out
    assert f"  receipts of register {receipts}" in out
    assert f"based on {raw['legal_basis'][0]}" in out
    count = raw["events"]["transfer"]["partitions"]
    assert f"event type transfer: {count} partitions of each publisher" in out
    assert run(["agreement", "verify", str(file)]) == 1
    assert raw["parties"][LAPAS]["keys"][0] in capsys.readouterr().out


def test_show_says_what_a_file_ends_of_the_one_that_it_replaces(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An agency reads it before it signs, and would sign its own rights away unseen."""
    raw = tomllib.loads((folder / "pks3.toml").read_text())
    before = raw["events"].pop("seizure")
    (digest,) = raw["replaces"]
    write(folder / "pks3.toml", raw)
    # A file that nobody has signed gives it: it does not make the end disappear.
    other = tomllib.loads((folder / "pks3.toml").read_text())
    other["events"] = {"seizure": before}
    write(folder / "draft.toml", other)
    ended = sorted(
        [
            *(f"{each} publishes seizure" for each in before["publishers"]),
            *(f"{each} reads seizure" for each in before["readers"]),
        ]
    )
    assert run(["agreement", "show", str(folder / "pks3.toml")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert f"replaces pks2.toml, and this is given no longer: {'; '.join(ended)}" in out
    (one,) = shown(capsys, str(folder / "pks3.toml"))
    path = str(folder / "pks2.toml")
    assert one["no_longer"] == [{"file": path, "hash": digest, "what": ended}]
    assert run(["agreement", "show", str(folder / "pks2.toml")]) == 0
    assert "replaces pks.toml, and nothing that it gives ends" in capsys.readouterr().out
    (folder / "pks2.toml").unlink()
    assert run(["agreement", "show", str(folder / "pks3.toml")]) == 0
    what = f"replaces the file with the SHA-256 {digest}, which is not here: what ends with it is"
    assert f"{what} not known" in capsys.readouterr().out


def test_show_says_up_to_which_sizes_a_replaced_key_signs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tomllib.loads((folder / "pks3.toml").read_text())
    party = raw["parties"][BNNK]
    old = party["keys"][0]
    sizes = {
        name: list(range(7, 7 + each["partitions"]))
        for name, each in raw["events"].items()
        if BNNK in each["publishers"]
    }
    party["keys"] = [str(SigningKey.generate(f"{raw['bus']}/{BNNK}").public)]
    party["replaced_keys"] = [{"key": old, "until": sizes}]
    write(folder / "pks3.toml", raw)
    assert run(["agreement", "show", str(folder / "pks3.toml")]) == 0
    said = "; ".join(f"{name} {', '.join(map(str, last))}" for name, last in sorted(sizes.items()))
    assert sizes
    assert f"  replaced key {old}, signs up to {said}" in capsys.readouterr().out.splitlines()


def test_show_of_files_that_contradict_each_other_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tomllib.loads((folder / "pks.toml").read_text())
    raw["events"]["transfer"]["partitions"] += 1
    write(folder / "other.toml", raw)
    files = [str(folder / each) for each in ("pks.toml", "other.toml")]
    assert run(["agreement", "show", *files]) == 1
    assert "events.transfer.partitions: is" in capsys.readouterr().err


def test_verify_gives_a_reason_that_all_parties_share_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pks.toml.note").write_text("no note\n")
    assert run(["agreement", "verify", str(folder / "pks.toml")]) == 1
    out = capsys.readouterr().out
    assert out.count("is not a signed note") == 1
    assert out.count("as above") == 2


def test_a_folder_of_agreements_that_is_not_there_is_named_with_its_setting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["--set", "agreements=/nonexist", "agreement", "show"]) == 2
    said = capsys.readouterr().err
    assert "/nonexist cannot be used as the folder of agreements (the setting `agreements`)" in said
