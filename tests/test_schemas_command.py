"""`sinergi schemas`: data on standard output, the verdict as exit status."""

from __future__ import annotations

import json
import shutil
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import pytest

from agency_pair import BUS, DATABASE, agreement, signs_nothing_else
from avro_schemas import event_of, field
from signed_agreement import write_signed
from sinergi.cli.root import run
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.seal.keys import Algorithm, SigningKey

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, *versions: dict[str, Any]) -> Path:
    """A folder with these versions of the event type `probe`."""
    (folder / "probe").mkdir()
    for at, parsed in enumerate(versions, 1):
        (folder / f"probe/{at}.avsc").write_text(json.dumps(parsed))
    ids = "".join(f'"probe/{at}" = {at}\n' for at in range(1, len(versions) + 1))
    (folder / "ids.toml").write_text(ids)
    return folder


ONE = event_of(field("x", "int"))
WIDER = event_of(field("x", "long"), field("y", "int"))


def test_the_list_has_a_line_for_every_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schemas", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(Catalog.shipped().all())
    for line, schema in zip(lines[1:], Catalog.shipped().all(), strict=True):
        version, number = str(schema.version), str(schema.id)
        assert line.split()[:4] == [
            schema.event_type,
            version,
            number,
            schema.fingerprint.hex()[:16],
        ]


def test_the_list_as_json_has_whole_fingerprints_and_counts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["schemas", "list", "--json"]) == 0
    rows = {each["event_type"]: each for each in json.loads(capsys.readouterr().out)}
    transfer = Catalog.shipped().newest("transfer")
    assert rows["transfer"]["fingerprint"] == transfer.fingerprint.hex()
    assert rows["transfer"]["fields"] > len(transfer.parsed["fields"])
    assert rows["transfer"]["protected"] > 0


def test_show_has_a_line_a_field_with_type_mark_and_meaning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["schemas", "show", "seizure"]) == 0
    lines = [" ".join(each.split()) for each in capsys.readouterr().out.splitlines()]
    newest = Catalog.shipped().newest("seizure")
    assert lines[0].startswith(f"{newest.name}, id {newest.id}, fingerprint ")
    assert any(each.startswith("exhibits[].net_weight_g decimal(18, 4)? ") for each in lines)
    assert any(each.startswith("witnesses[].name string yes ") for each in lines)
    assert any(each.startswith("enum Action: RECORDED, CORRECTED, ") for each in lines)


def test_show_raw_gives_the_file_byte_by_byte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["schemas", "show", "transfer/1", "--raw"]) == 0
    assert capfdbinary.readouterr().out == Catalog.shipped().named("transfer/1").text


@pytest.mark.parametrize("name", ["nothing", "transfer/99"])
def test_show_of_what_is_not_there_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(["schemas", "show", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sinergi: There is no ")
    assert err.count("\n") == 1


def test_check_of_the_shipped_schemas_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schemas", "check"]) == 0
    names = ", ".join(each.name for each in Catalog.shipped().all())
    assert f"each reads the events of every other version: {names}" in capsys.readouterr().out


def test_check_of_a_folder_that_fits_is_status_0(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write(tmp_path, ONE, event_of(field("x", "int"), field("y", ["null", "int"])))
    assert run(["schemas", "check", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"compatible": True, "findings": []}


def test_check_names_each_field_that_breaks_and_why_and_is_status_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["schemas", "check", str(write(tmp_path, ONE, WIDER))]) == 1
    widened, added = capsys.readouterr().out.splitlines()
    assert widened == (
        "probe/2 against probe/1: x: int became long: readers of probe/1 cannot take the wider type"
    )
    assert added == (
        "probe/2 against probe/1: y: it was added without a default, and events of probe/1 do not "
        "have it; make it optional"
    )


def test_check_as_json_names_the_rules(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    undocumented = event_of({"name": "x", "type": "int"})
    assert run(["schemas", "check", str(write(tmp_path, undocumented, WIDER)), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["compatible"] is False
    assert [
        (each["schema"], each["against"], each["path"], each["rule"])
        for each in document["findings"]
    ] == [
        ("probe/1", None, "Probe.x", "doc-missing"),
        ("probe/2", "probe/1", "x", "type-changed"),
        ("probe/2", "probe/1", "y", "added-without-default"),
    ]


def test_check_finds_a_shipped_version_that_was_rewritten(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "avro"
    with as_file(files("sinergi_schemas") / "avro") as shipped:
        shutil.copytree(shipped, folder)
    assert run(["schemas", "check", str(folder)]) == 0
    transfer = folder / "transfer/1.avsc"
    transfer.write_bytes(transfer.read_bytes() + b"\n")
    capsys.readouterr()
    assert run(["schemas", "check", str(folder)]) == 1
    assert capsys.readouterr().out == (
        "transfer/1 against transfer/1: the event: it is not the file that is published as "
        "transfer/1; add a new version\n"
    )


@pytest.mark.parametrize("what", ["a folder without schemas", "nowhere", "a schema that is none"])
def test_check_of_what_cannot_be_read_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, what: str
) -> None:
    folder = tmp_path / "nowhere" if what == "nowhere" else tmp_path
    if what == "a schema that is none":
        write(folder, ONE)
        (folder / "probe/1.avsc").write_text("{}")
    assert run(["schemas", "check", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sinergi: The schema ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["list", "show", "check"])
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(["schemas", command, "--help"]) == 0
    assert f"Example: sinergi schemas {command}" in capsys.readouterr().out


# What changed


OLDER = event_of(field("x", "int"), field("gone", ["null", "string"]))
NEWER = event_of(field("x", "long"), field("seen", ["null", "string"]))


def diff(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    status = run([*options, "schemas", "diff", "probe/1", "probe/2", "--folder", str(folder)])
    return (status, *capsys.readouterr())


def test_a_diff_names_each_changed_field_and_what_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = diff(write(tmp_path, OLDER, NEWER), capsys)
    assert status == 0
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["probe/1", "→", "probe/2:", "3", "changes"]
    assert ["x", "type", "int", "long"] in [row[:4] for row in rows]
    assert ["seen", "added", "string?"] in [row[:3] for row in rows]
    assert ["gone", "removed", "string?"] in [row[:3] for row in rows]
    assert "probe/1 and probe/2 do not read each other: x: int became long" in err


def test_a_diff_names_new_codes_protection_and_meaning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(files("sinergi_schemas") / "avro", tmp_path / "avro")  # type: ignore[arg-type]
    parsed = json.loads(Catalog.shipped().newest("transfer").text)
    for each in parsed["fields"]:
        if each["name"] == "reason":
            each["type"]["symbols"].append("FLOOD")
        if each["name"] == "movement_id":
            each["doc"] = "Another meaning."
            each["protected"] = True
    (tmp_path / "avro/transfer/2.avsc").write_text(json.dumps(parsed))
    with (tmp_path / "avro/ids.toml").open("a") as ids:
        ids.write('"transfer/2" = 99\n')
    options = ["schemas", "diff", "transfer/1", "transfer", "--folder", str(tmp_path / "avro")]
    assert run([*options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    said = {(each["path"], each["kind"]): each["after"] for each in found["changes"]}
    assert said == {
        ("reason", "codes added"): "FLOOD",
        ("movement_id", "protection"): "protected",
        ("movement_id", "meaning"): "Another meaning.",
    }
    assert found["publishers"] is None


@pytest.fixture
def signed_settings(tmp_path: Path) -> Path:
    """The settings of an auditor, with a signed agreement."""
    key = SigningKey.generate(f"{BUS}/lapas-rekaan")
    receipts = SigningKey.generate(f"{BUS}/bnnk-rekaan/{DATABASE}", Algorithm.COSIGNATURE)
    folder = tmp_path / "agreements"
    folder.mkdir()
    document = agreement(key.public, receipts.public)
    write_signed(folder / "pks.toml", document, (key, signs_nothing_else("bnnk-rekaan")))
    file = tmp_path / "sinergi.toml"
    file.write_text(f'agreements = "{folder}"\nkafka.bootstrap = "127.0.0.1:9"\n', "utf-8")
    return file


def test_a_diff_says_whom_it_concerns_by_the_agreements_in_force(
    signed_settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--config", str(signed_settings), "schemas", "diff", "transfer/1", "transfer"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "transfer/1 → transfer/1: 0 changes"
    assert lines[-2:] == ["publishers: lapas-rekaan", "readers: bnnk-rekaan"]


def test_two_event_types_have_no_diff(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schemas", "diff", "transfer/1", "seizure"]) == 2
    assert "seizure/1 cannot be used: it is no version of transfer" in capsys.readouterr().err
