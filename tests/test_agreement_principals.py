"""An agreement names the principals of its parties and its auditors, and each has one owner."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from sinergi.cli.root import run
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.agreements.principals import is_subject
from sinergi_schemas.errors import AgreementRefused
from test_agreement import BNNK, EXAMPLE, LAPAS, PATH, lines, other_key, read

if TYPE_CHECKING:
    from pathlib import Path

OMBUDSMAN = {"name": "Ombudsman Republik Indonesia", "reads": ["transfer", "seizure"]}


@pytest.fixture
def raw() -> dict[str, Any]:
    """The example with an auditor, as a mapping that a test may spoil."""
    return tomllib.loads(EXAMPLE.read_text(encoding="utf-8")) | {
        "auditors": {"ombudsman": dict(OMBUDSMAN)}
    }


def test_without_principals_each_role_of_a_party_has_one_that_is_named_for_it(
    raw: dict[str, Any],
) -> None:
    agreement = read(raw)
    assert agreement.parties[LAPAS].principals.producer == ("lapas-banyuwangi.producer",)
    assert agreement.parties[LAPAS].principals.consumer == ("lapas-banyuwangi.consumer",)
    assert agreement.auditors["ombudsman"].principals == ("ombudsman.auditor",)


def test_named_principals_replace_the_default_of_their_role_only(raw: dict[str, Any]) -> None:
    subject = "CN=relay,OU=TI,O=Lapas Banyuwangi"
    raw["parties"][LAPAS]["principals"] = {"producer": [subject, "relay-lapas", subject]}
    raw["auditors"]["ombudsman"]["principals"] = ["audit@ombudsman"]
    agreement = read(raw)
    assert agreement.parties[LAPAS].principals.producer == (subject, "relay-lapas")
    assert agreement.parties[LAPAS].principals.consumer == ("lapas-banyuwangi.consumer",)
    assert agreement.auditors["ombudsman"].principals == ("audit@ombudsman",)
    assert [is_subject(each) for each in agreement.parties[LAPAS].principals.producer] == [
        True,
        False,
    ]


def test_an_auditor_reads_the_event_types_that_the_agreement_lists(raw: dict[str, Any]) -> None:
    agreement = read(raw)
    assert [each.auditor for each in agreement.auditors_of("transfer")] == ["ombudsman"]
    assert agreement.auditors_of("suspicious-visit") == ()


@pytest.mark.parametrize(
    "principal",
    [
        "",
        "User:relay",
        "-relay",
        "relay lapas",
        "relay;x",
        "rélai",
        "a" * 128,
        "CN=a\nb",
        "*",
        "=x",
        "ANONYMOUS",
    ],
)
def test_a_name_that_no_principal_has_is_refused_with_its_place(
    raw: dict[str, Any], principal: str
) -> None:
    raw["parties"][LAPAS]["principals"] = {"consumer": [principal]}
    (line,) = lines(raw)
    assert line.startswith(f"parties.{LAPAS}.principals.consumer item 1: ")


@pytest.mark.parametrize(
    ("principals", "what"),
    [
        ({"relay": ["x"]}, "principals.relay: there is no such key; known are consumer, producer"),
        ({"producer": []}, "principals.producer: must not be empty"),
        ({"producer": "x"}, "principals.producer: must be a list in brackets, not text"),
        (["x"], "principals: must be a table, not a list"),
    ],
)
def test_principals_of_another_form_are_refused(
    raw: dict[str, Any], principals: Any, what: str
) -> None:
    raw["parties"][LAPAS]["principals"] = principals
    (line,) = lines(raw)
    assert line.startswith(f"parties.{LAPAS}.{what}")


@pytest.mark.parametrize(
    ("owner", "principals"),
    [
        (("parties", BNNK), {"consumer": ["lapas-banyuwangi.consumer"]}),
        (("parties", BNNK), {"producer": ["lapas-banyuwangi.consumer"]}),
        (("auditors", "ombudsman"), ["lapas-banyuwangi.consumer"]),
    ],
    ids=["another consumer", "another producer", "an auditor"],
)
def test_a_principal_of_two_owners_is_refused_with_both(
    raw: dict[str, Any], owner: tuple[str, str], principals: Any
) -> None:
    table, name = owner
    raw[table][name]["principals"] = principals
    (line,) = lines(raw)
    what = f"lapas-banyuwangi.consumer is a principal of parties.{LAPAS} too; give each its own"
    assert line == f"{table}.{name}.principals: {what}"


def test_one_principal_may_be_producer_and_consumer_of_one_party(raw: dict[str, Any]) -> None:
    raw["parties"][LAPAS]["principals"] = {"producer": ["lapas"], "consumer": ["lapas"]}
    assert read(raw).parties[LAPAS].principals.consumer == ("lapas",)


def test_everything_that_is_wrong_with_auditors_is_named_at_once(raw: dict[str, Any]) -> None:
    raw["auditors"] = {
        LAPAS: dict(OMBUDSMAN),
        "Ombudsman": dict(OMBUDSMAN),
        "bpk": {"reads": ["transfers", "seizure"], "principals": ["bpk"], "key": "x"},
        "kpk": "all",
    }
    is_party = f"{LAPAS} is a party of this agreement; let it be one of `readers` instead"
    unknown = "transfers is not an event type of this agreement; did you mean transfer?"
    assert sorted(lines(raw)) == [
        "auditors.Ombudsman: is not a name of an auditor; write lower-case words joined by hyphens",
        "auditors.bpk.key: there is no such key; known are name, principals, reads",
        "auditors.bpk.name: it is missing; write the auditor's name in quotes",
        f"auditors.bpk.reads item 1: {unknown}",
        "auditors.kpk: must be a table, not text",
        f"auditors.{LAPAS}: {is_party}",
    ]


def test_two_files_that_give_one_principal_to_two_owners_contradict_each_other(
    raw: dict[str, Any],
) -> None:
    other = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    other["parties"] = {
        name: {"name": name, "keys": [other_key(name)]} for name in ("kejari", "polda")
    }
    other["numbers"] = [{"party": name, "number": "1"} for name in other["parties"]]
    other["events"] = {
        "seizure": {
            "publishers": ["polda"],
            "readers": ["kejari"],
            "purposes": ["PROSECUTION"],
            "partitions": 1,
        }
    }
    other["parties"]["kejari"]["principals"] = {"consumer": ["ombudsman.auditor"]}
    one = read(raw)
    two = parse(PATH.with_name("other.toml"), tomli_w.dumps(other).encode())
    with pytest.raises(AgreementRefused) as refused:
        Agreements([one, two])
    assert "ombudsman.auditor is a principal of" in str(refused.value)


def test_show_lists_whoever_publishes_reads_and_audits_with_their_principals(
    raw: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pks.toml"
    file.write_text(tomli_w.dumps(raw), encoding="utf-8")
    assert run(["agreement", "show", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "auditor ombudsman: Ombudsman Republik Indonesia" in shown
    of_transfers = shown.partition("\ntransfer\n")[2]
    (row,) = [line.split() for line in of_transfers.splitlines() if "ombudsman.auditor" in line]
    assert row == ["audit", "ombudsman", "ombudsman.auditor"]
    assert run(["agreement", "show", "--json", str(file)]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["auditors"] == [
        {
            "auditor": "ombudsman",
            "name": "Ombudsman Republik Indonesia",
            "reads": ["transfer", "seizure"],
            "principals": ["ombudsman.auditor"],
        }
    ]
    assert document["parties"][0]["principals"] == {
        "producer": ["lapas-banyuwangi.producer"],
        "consumer": ["lapas-banyuwangi.consumer"],
    }
