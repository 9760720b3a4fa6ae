"""A settings file in place of an agreement is one problem, which says what the file is."""

from __future__ import annotations

from pathlib import Path

import pytest

import evidence_bundles
from sinergi.cli.root import run
from sinergi.settings.model import Values
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.file import examine
from sinergi_schemas.agreements.mistaken_file import SETTINGS

WHAT = "is a file of settings, and no agreement"


def problems(path: str, text: str) -> list[str]:
    agreement, found = examine(Path(path), text.encode())
    assert agreement is None
    return [str(each) for each in found]


def test_every_key_of_settings_that_no_agreement_has_shows_what_the_file_is() -> None:
    assert {*Values.model_fields} - {"bus"} == SETTINGS
    for key in SETTINGS:
        (problem,) = problems("sinergi.toml", f"{key} = 1\nbus = 'a.example'\n")
        assert problem.startswith(WHAT), key


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("agreements = 'pks'", "name an agreement of its folder, as /a/pks/*.toml"),
        ("agreements = '/b'", "name an agreement of its folder, as /b/*.toml"),
        ("agency = 'a'", "name an agreement of its folder, as /a/agreements/*.toml"),
        ("agreements = 1", "name an agreement of its folder, as /a/agreements/*.toml"),
        ("agreements = '.'", "keep settings outside the folder of agreements"),
    ],
)
def test_it_says_which_file_is_meant(text: str, meant: str) -> None:
    (problem,) = problems("/a/sinergi.toml", text)
    assert problem.endswith(meant)


def test_an_agreement_with_a_key_of_settings_is_examined_as_an_agreement() -> None:
    found = problems("pks.toml", "agency = 'a'\n[parties.lapas]\n")
    assert len(found) > 1
    assert not any(WHAT in each for each in found)


@pytest.mark.parametrize(
    "command", ["evidence verify {bundle} --agreement", "agreement show", "agreement check"]
)
def test_each_command_that_takes_an_agreement_says_so_in_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, settings = tmp_path / "case.zip", tmp_path / "sinergi.toml"
    bundle.write_bytes(evidence_bundles.bundle())
    settings.write_text("agency = 'a'\n[kafka]\nbootstrap = 'localhost:9092'\n", encoding="utf-8")
    assert run([*command.format(bundle=bundle).split(), str(settings)]) != 0
    shown = "".join(capsys.readouterr()).splitlines()
    about = [each for each in shown if each.startswith(f"  {settings}: ") or WHAT in each]
    (line,) = about
    assert f"{WHAT}; name an agreement of its folder, as {tmp_path}/agreements/*.toml" in line


def test_a_folder_of_agreements_with_settings_in_it_is_refused_by_their_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "sinergi.toml").write_text("agreements = '.'\n", encoding="utf-8")
    with pytest.raises(errors.AgreementRefused) as refused:
        Agreements.load(tmp_path)
    assert f"{tmp_path}/sinergi.toml: {WHAT}" in str(refused.value)
