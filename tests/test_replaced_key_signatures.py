"""A file replaces an agency's key only if the replaced key has signed that, or operators agree."""

from __future__ import annotations

import tomllib
from base64 import b64decode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from agency_pair import BUS
from provisioned_bus import AGENCIES, agreement, party_key, year
from signed_agreement import write_signed
from sinergi.cli.root import run
from sinergi.settings import settings
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.agreements.signatures import note_path
from sinergi_schemas.seal.keys import SigningKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

BNNK, LAPAS = "bnnk", "lapas"
TRUE = {agency: party_key(agency) for agency in AGENCIES}
NEW = {agency: SigningKey.generate(f"{BUS}/{agency}") for agency in (*AGENCIES, "evil")}


@pytest.fixture(autouse=True)
def _wide_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of a table is one line."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the agreement that all parties have signed."""
    made = tmp_path / "agreements"
    made.mkdir()
    write_signed(made / "pks.toml", agreement(in_force={"from": year(2025)}), TRUE.values())
    return made


def replacing(
    document: dict[str, Any], agency: str, before: Sequence[SigningKey], after: SigningKey
) -> None:
    """Give an agency a key in place of others, the oldest first."""
    published = [name for name, each in document["events"].items() if agency in each["publishers"]]
    until = {name: [0] * document["events"][name]["partitions"] for name in published}
    party = document["parties"][agency]
    party["keys"] = [str(after.public)]
    party["replaced_keys"] = [{"key": str(each.public), "until": until} for each in before]


def next_version(folder: Path, at: int = 2026, name: str = "pks.toml") -> dict[str, Any]:
    """An agreement that replaces the one in a file, and gives the same."""
    path = folder / name
    raw = tomllib.loads(path.read_text())
    return raw | {
        "replaces": [parse(path, path.read_bytes()).hash],
        "in_force": {"from": datetime(at, 1, 1, tzinfo=UTC)},
    }


def load(folder: Path, *confirmed: SigningKey) -> Agreements:
    return Agreements.load(folder, signed=True, confirmed=[each.public for each in confirmed])


def settings_of(folder: Path, agency: str, keys: Iterable[SigningKey], **more: Any) -> str:
    """Settings of an agency beside the folder, with private keys. Returns the file."""
    home = folder.parent / agency
    (home / "keys").mkdir(parents=True)
    for number, key in enumerate(keys):
        key.save(home / "keys" / f"{number}.key")
    document = {"agency": agency, "agreements": str(folder), "kafka": {"bootstrap": "127.0.0.1:1"}}
    (home / "sinergi.toml").write_text(tomli_w.dumps(more | document))
    return str(home / "sinergi.toml")


def test_a_stranger_who_replaces_every_key_by_one_of_its_own_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = next_version(folder)
    for agency in AGENCIES:
        replacing(raw, agency, [TRUE[agency]], NEW[agency])
    raw["parties"]["evil"] = {"name": "Evil", "keys": [str(NEW["evil"].public)]}
    raw["numbers"] = [*raw["numbers"], {"party": "evil", "number": "666"}]
    for agreed in raw["events"].values():
        agreed["readers"] = ["evil"]
    file = folder / "zz-addendum.toml"
    write_signed(file, raw, NEW.values())
    with pytest.raises(errors.AgreementRefused) as refused:
        load(folder)
    lines = str(refused.value).strip().splitlines()
    for agency in AGENCIES:
        old = f"{BUS}/{agency}+{TRUE[agency].public.id.hex()}"
        said = f"zz-addendum.toml: signatures: it replaces the key {old} of {agency} by"
        (line,) = [each for each in lines if said in each]
        assert f"which {old} has not signed; {agency} runs `sinergi agreement sign" in line
        assert "add it to confirmed_keys" in line
    config = settings_of(folder, "lapas", [TRUE["lapas"]])
    assert run(["--config", config, "agreement", "verify"]) == 1
    assert run(["--config", config, "provision", "plan"]) == 2
    assert "zz-addendum.toml: signatures: it replaces the key" in capsys.readouterr().err


def test_two_agencies_cannot_end_a_third_ones_rights_by_another_key_for_it(folder: Path) -> None:
    raw = next_version(folder)
    replacing(raw, BNNK, [TRUE[BNNK]], NEW[BNNK])
    write_signed(
        folder / "pks-2.toml", raw, [NEW[BNNK], *(TRUE[each] for each in AGENCIES if each != BNNK)]
    )
    with pytest.raises(errors.AgreementRefused, match=f"of {BNNK} by .* has not signed"):
        load(folder)


def test_a_file_that_does_not_replace_the_other_needs_the_replaced_key_too(folder: Path) -> None:
    """Another topic, another party: the file names a true agency with a key made for it."""
    raw = {
        "bus": BUS,
        "title": "Evil",
        "legal_basis": ["UU"],
        "in_force": {"from": year(2025)},
        "numbers": [{"party": each, "number": "1"} for each in ("evil", BNNK)],
        "parties": {
            "evil": {"name": "Evil", "keys": [str(NEW["evil"].public)]},
            BNNK: {"name": "BNNK", "principals": {"consumer": ["CN=evil"]}},
        },
        "events": {
            "suspicious-visit": {
                "publishers": ["evil", BNNK],
                "readers": ["evil", BNNK],
                "purposes": ["INVESTIGATION"],
                "partitions": 1,
            }
        },
    }
    replacing(raw, BNNK, [TRUE[BNNK]], NEW[BNNK])
    write_signed(folder / "evil.toml", raw, [NEW["evil"], NEW[BNNK]])
    with pytest.raises(errors.AgreementRefused) as refused:
        load(folder)
    assert "evil.toml" in str(refused.value)
    assert "pks.toml" not in str(refused.value)


def test_both_keys_sign_once_and_later_files_rely_on_that(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    newest = SigningKey.generate(f"{BUS}/{BNNK}")
    others = [TRUE[each] for each in AGENCIES if each != BNNK]
    both = settings_of(folder, BNNK, [TRUE[BNNK], NEW[BNNK]])
    raw = next_version(folder)
    replacing(raw, BNNK, [TRUE[BNNK]], NEW[BNNK])
    second = folder / "pks-2.toml"
    write_signed(second, raw, [*others, NEW[BNNK]])
    assert run(["--config", both, "agreement", "verify", str(second)]) == 1
    old = f"{BUS}/{BNNK}+{TRUE[BNNK].public.id.hex()}"
    new = f"{BUS}/{BNNK}+{NEW[BNNK].public.id.hex()}"
    rows = [" ".join(each.split()) for each in capsys.readouterr().out.splitlines()]
    why = f"{BNNK} missing the file replaces this key by {new} {old}"
    assert any(each.startswith(f"{second} {why}") for each in rows), rows
    assert run(["--config", both, "agreement", "sign", str(second)]) == 0
    assert "all have signed" in capsys.readouterr().err
    assert run(["--config", both, "agreement", "verify", str(second)]) == 0
    assert len([*load(folder)]) == 2
    # The next version repeats it, and replaces the key once more: two keys sign, not three.
    third = next_version(folder, 2027, "pks-2.toml")
    replacing(third, BNNK, [TRUE[BNNK], NEW[BNNK]], newest)
    write_signed(folder / "pks-3.toml", third, [*others, NEW[BNNK], newest])
    assert len([*load(folder)]) == 3
    # Without the signature that it relies on, it is refused.
    note = note_path(second)
    (line,) = [each for each in note.read_text().splitlines() if old_line(each)]
    note.write_text(note.read_text().replace(f"{line}\n", ""))
    with pytest.raises(errors.AgreementRefused, match=r"pks-2\.toml: signatures: ") as refused:
        load(folder)
    assert f"pks-3.toml: signatures: it replaces the key {old}" in str(refused.value)


def old_line(line: str) -> bool:
    """Whether a line of a note is the signature by the replaced key."""
    name, _, value = line.removeprefix("\N{EM DASH} ").partition(" ")
    key = TRUE[BNNK].public
    return name == key.name and b64decode(value)[:4] == key.id


def test_signing_without_the_replaced_key_says_that_it_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = next_version(folder)
    replacing(raw, BNNK, [TRUE[BNNK]], NEW[BNNK])
    file = folder / "pks-2.toml"
    write_signed(file, raw, [TRUE[each] for each in AGENCIES if each != BNNK])
    only_new = settings_of(folder, BNNK, [NEW[BNNK]])
    assert run(["--config", only_new, "agreement", "sign", str(file)]) == 0
    old = f"{BUS}/{BNNK}+{TRUE[BNNK].public.id.hex()}"
    assert f"still to sign: {BNNK} with {old}" in capsys.readouterr().err


def test_a_key_in_place_of_a_lost_one_counts_where_the_operator_has_confirmed_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = next_version(folder)
    replacing(raw, BNNK, [TRUE[BNNK]], NEW[BNNK])
    signers = [NEW[BNNK], *(TRUE[each] for each in AGENCIES if each != BNNK)]
    write_signed(folder / "pks-2.toml", raw, signers)
    with pytest.raises(errors.AgreementRefused, match="confirmed_keys"):
        load(folder, NEW[LAPAS])
    assert load(folder, NEW[BNNK]).keys(BNNK)[0] == NEW[BNNK].public
    confirmed = f"{NEW[LAPAS].public}, {NEW[BNNK].public}"
    config = settings_of(folder, LAPAS, [TRUE[LAPAS]], confirmed_keys=confirmed)
    assert run(["--config", config, "agreement", "verify"]) == 0
    # The new key has to sign all the same.
    write_signed(folder / "pks-2.toml", raw, signers[1:])
    assert run(["--config", config, "agreement", "verify"]) == 1
    assert run(["--config", config, "--set", "confirmed_keys=bnnk", "agreement", "verify"]) == 2
    assert "'bnnk' is no public key as in an agreement" in capsys.readouterr().err


def test_who_is_left_out_signs_with_its_latest_key(folder: Path) -> None:
    """A key that was replaced, because it was stolen, ends nobody's rights."""
    raw = next_version(folder)
    replacing(raw, BNNK, [TRUE[BNNK]], NEW[BNNK])
    write_signed(folder / "pks-2.toml", raw, [*TRUE.values(), NEW[BNNK]])
    without = next_version(folder, 2027)
    without["replaces"] += next_version(folder, 2027, "pks-2.toml")["replaces"]
    del without["parties"][BNNK]
    without["numbers"] = [each for each in without["numbers"] if each["party"] != BNNK]
    without["events"] = {
        "transfer": without["events"]["transfer"]
        | {"readers": [LAPAS, "lapas-dua"], "publishers": [LAPAS, "lapas-dua"]}
    }
    without.pop("auditors", None)
    write_signed(folder / "pks-3.toml", without, TRUE.values())
    with pytest.raises(errors.AgreementRefused, match=f"pks-3.toml: signatures: {BNNK} has not"):
        load(folder)
    write_signed(folder / "pks-3.toml", without, [*TRUE.values(), NEW[BNNK]])
    assert len([*load(folder)]) == 3


def test_two_keys_in_place_of_one_are_refused_with_both_files(folder: Path) -> None:
    """Whoever has stolen a key signs away to another one; its owner does so too."""
    stolen = SigningKey.generate(f"{BUS}/{BNNK}")
    for name, key, year_ in (("true.toml", NEW[BNNK], 2026), ("thief.toml", stolen, 2027)):
        raw = next_version(folder, year_)
        replacing(raw, BNNK, [TRUE[BNNK]], key)
        write_signed(folder / name, raw, [*TRUE.values(), key])
    with pytest.raises(errors.AgreementRefused) as refused:
        load(folder)
    said = str(refused.value)
    assert f"thief.toml: parties.{BNNK}.keys: is" in said
    assert f"in {folder / 'true.toml'}, and neither file" in said
    assert "ask the agency, and remove the wrong file" in said


def test_a_process_refuses_a_key_of_its_own_agency_that_it_does_not_hold(folder: Path) -> None:
    """Only the agency itself knows that a thief of its key has signed."""
    raw = next_version(folder)
    replacing(raw, BNNK, [TRUE[BNNK]], NEW[BNNK])
    write_signed(folder / "pks-2.toml", raw, [*TRUE.values(), NEW[BNNK]])
    with_old = settings.load(folder.parent / settings_of(folder, BNNK, [TRUE[BNNK]]))
    with pytest.raises(errors.AgreementRefused) as refused:
        with_old.agreements()
    assert f"pks-2.toml: parties.{BNNK}.keys: is {BUS}/{BNNK}+" in str(refused.value)
    assert "is stolen: remove this file" in str(refused.value)
    keys = folder.parent / BNNK / "keys"
    NEW[BNNK].save(keys / "new.key")
    assert len([*with_old.agreements()]) == 2
    (keys / "0.key").unlink()
    assert len([*with_old.agreements()]) == 2
    (keys / "new.key").unlink()
    assert len([*with_old.agreements()]) == 2, "a reader's process holds no such key"
