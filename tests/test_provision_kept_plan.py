"""A kept plan is applied as it was read, or refused."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import (
    AclOperation,
    ResourceType,
)

from provisioned_bus import (
    ProvisionedBus,
    actions,
    agree_on_less,
    agreement,
    year,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bus(secured_bus: ProvisionedBus) -> ProvisionedBus:
    """A bus that is provisioned, and a newer agreement that lets one prison less read."""
    agree_on_less(secured_bus)
    return secured_bus


def test_a_kept_plan_does_what_it_shows(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = actions(bus, capsys)
    assert "remove User:lapas-dua.consumer: read topic sinergi.bnnk.seizure" in before
    kept = tmp_path / "plan.json"
    assert bus.provision("plan", "--out", str(kept)) == 1
    assert actions(bus, capsys) == before, "a plan changes nothing"
    assert bus.provision("apply", str(kept)) == 0
    assert actions(bus, capsys) == set()


def test_a_kept_plan_is_refused_once_the_cluster_has_changed(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "plan.json"
    bus.provision("plan", "--out", str(kept))
    bus.broker.permit(ResourceType.TOPIC, "else", AclOperation.READ)
    before = actions(bus, capsys)
    assert bus.provision("apply", str(kept)) == 2
    said = capsys.readouterr().err
    assert "is not the plan that would be made now, so nothing was done" in said
    assert "only now: left User:relay-user: read topic else (no agreement" in said
    assert "the cluster has changed since it was made" in said
    assert "only now: ok" not in said
    assert actions(bus, capsys) == before


def test_a_kept_plan_is_refused_once_the_agreement_has_changed(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "plan.json"
    bus.provision("plan", "--out", str(kept))
    document = agreement(in_force={"from": year(2020)})
    document["auditors"] = {}
    bus.agree(document)
    assert bus.provision("apply", str(kept)) == 2
    said = capsys.readouterr().err
    assert "only in the plan: " in said
    assert "the agreements have changed since it was made" in said
    assert "ok User:" not in said


def test_a_kept_plan_is_for_the_agreements_and_the_cluster_that_it_was_made_of(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "plan.json"
    bus.provision("plan", "--out", str(kept))
    document = json.loads(kept.read_text())
    (tmp_path / "elsewhere.json").write_text(json.dumps(document | {"cluster": "elsewhere"}))
    assert bus.provision("apply", str(tmp_path / "elsewhere.json")) == 2
    assert f"cluster: elsewhere in the plan, {document['cluster']} now" in capsys.readouterr().err
    bus.agree(agreement(in_force={"from": year(2020)}, title="The same rights, another text"))
    assert bus.provision("apply", str(kept)) == 2
    said = capsys.readouterr().err
    assert "pks-1.toml: has changed since the plan was made" in said
    assert "pks-2.toml: only in the plan" in said


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (f'{{"x": {"[" * 8}{"]" * 8}}}', "has more than 8 levels"),
        ("[]", "is not what `sinergi provision plan --out` wrote"),
        ('{"format": "sinergi provision plan 1"}', "was made by another version of Sinergi"),
        ('{"format": "another plan"}', "is not what `sinergi provision plan --out` wrote"),
        ('{"format": "sinergi provision plan 3"}', "lacks its list `unknown_types`"),
        (
            '{"format": "sinergi provision plan 3", "unknown_types": [], "topics": 7, "access": 1}',
            "is not the plan that would be made now",
        ),
        (
            '{"format": "sinergi provision plan 3", "unknown_types": [], "topics": [{}, 1, []]}',
            "is not the plan that would be made now",
        ),
    ],
)
def test_a_file_that_is_no_plan_is_refused(
    bus: ProvisionedBus,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    what: str,
) -> None:
    kept = tmp_path / "plan.json"
    kept.write_text(content)
    assert bus.provision("apply", str(kept)) == 2
    assert what in capsys.readouterr().err
    assert bus.provision("apply", str(tmp_path / "none.json")) == 2
    assert "none.json cannot be read (No such file or directory)" in capsys.readouterr().err


def test_a_kept_plan_takes_no_further_event_types(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "plan.json"
    bus.provision("plan", "--out", str(kept))
    assert bus.provision("apply", str(kept), "--unknown-type", "x") == 2
    assert "a kept plan has its own" in capsys.readouterr().err


def test_an_edited_plan_is_refused_with_each_edit(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "plan.json"
    bus.provision("plan", "--out", str(kept))
    document = json.loads(kept.read_text())
    edited = deepcopy(document)
    edited["topics"][0]["partitions"] = 9
    edited["remark"] = "mine"
    kept.write_text(json.dumps(edited))
    assert bus.provision("apply", str(kept)) == 2
    said = capsys.readouterr().err
    assert "the file was edited after it was made" in said
    assert f"topic {document['topics'][0]['topic']}: " in said
    assert ": partitions 9 in the plan, 1 now" in said
    assert 'remark: "mine" in the plan, and no plan has it' in said
    kept.write_text(json.dumps(document | {"topics": document["topics"][::-1]}))
    assert bus.provision("apply", str(kept)) == 2
    assert "the same steps in another order, or written otherwise" in capsys.readouterr().err


EDITS = {
    "a list before the real one": (
        '"access": [',
        '"access": [],\n "access": [',
        "has the key",
    ),
    "a key twice deep inside": ('"copies": 1', '"copies": 9,\n   "copies": 1', "has the key"),
    "true for 1": ('"copies": 1', '"copies": true', "copies true in the plan, 1 now"),
    "a fraction for 1": ('"partitions": 1,', '"partitions": 1.0,', "partitions 1.0 in the plan, 1"),
    "other spaces": ('"copies": 1', '"copies":  1', "or written otherwise"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_plan_with_other_bytes_is_refused(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before, after, why = EDITS[name]
    kept = tmp_path / "plan.json"
    bus.provision("plan", "--out", str(kept))
    text = kept.read_text()
    assert before in text
    kept.write_text(text.replace(before, after, 1))
    capsys.readouterr()
    assert bus.provision("apply", str(kept)) == 2
    assert why in " ".join(capsys.readouterr().err.split())


def test_a_plan_with_an_event_type_that_no_agreement_has_is_refused_by_its_name(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "plan.json"
    bus.provision("plan", "--out", str(kept))
    kept.write_text(kept.read_text().replace('"unknown_types": []', '"unknown_types": ["x"]'))
    capsys.readouterr()
    assert bus.provision("apply", str(kept)) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{kept} cannot be used: in `unknown_types`, no agreement has the event type" in said
    assert "--unknown-type" not in said
