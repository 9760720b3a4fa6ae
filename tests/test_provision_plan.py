"""A plan shows what an apply will do, and an apply says what it has done."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from provisioned_bus import (
    AGENCIES,
    BNNK,
    DUA,
    LAPAS,
    ProvisionedBus,
    actions,
    agree_on_less,
    agreement,
    year,
)
from sinergi.cli.root import run
from sinergi.exit_status import ExitStatus
from sinergi.provision.access_control import AccessControl
from sinergi.provision.passwords import PasswordFolder
from sinergi_schemas import errors
from sinergi_schemas.kafka.admin import describe
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path

    from sinergi.provision.rights import AclEntry

ROLES = ("producer", "consumer")


@pytest.fixture
def bus(secured_bus: ProvisionedBus) -> ProvisionedBus:
    """A bus that is provisioned, and a newer agreement that lets one prison less read."""
    agree_on_less(secured_bus)
    return secured_bus


def forget_everything(bus: ProvisionedBus) -> None:
    """Leave an agreement for which no right and no user was made yet."""
    bus.broker.forget()
    bus.agree(agreement(in_force={"from": year(2020)}))
    control = bus.control
    found = control.read()
    assert found
    bus.delete(*(found.users & {f"{name}.{role}" for name in AGENCIES for role in ROLES}))


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    out, _ = capsys.readouterr()
    return out


def test_a_plan_that_is_done_already_is_told_in_one_line(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "plan.json"
    bus.provision("plan", "--out", str(kept))
    assert bus.provision("apply", str(kept)) == 0
    capsys.readouterr()
    assert bus.provision("apply", str(kept)) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "plan.json" in line]
    assert said == [
        f"sinergi: Everything in the plan {kept} is done already: delete it. Nothing is left to do."
    ]


def test_steps_that_are_done_already_are_counted_and_not_listed(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "plan.json"
    bus.provision("plan", "--out", str(kept))
    bus.provision("apply")
    (topic, *_) = plan_of(bus, capsys)["topics"]
    resource = ConfigResource(
        ResourceType.TOPIC,
        topic["topic"],
        incremental_configs=[
            ConfigEntry(
                "unclean.leader.election.enable",
                "true",
                incremental_operation=AlterConfigOpType.SET,
            )
        ],
    )
    bus.broker.admin.incremental_alter_configs([resource])[resource].result(PATIENCE_SECONDS)
    until(lambda: bus.provision("plan") == 1, "the topic differs")
    capsys.readouterr()
    assert bus.provision("apply", str(kept)) == 2
    said = capsys.readouterr().err
    assert "of the plan are done already" in said
    assert f"only now: change topic {topic['topic']}" in said
    assert "create User:" not in said


def plan_of(bus: ProvisionedBus, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    capsys.readouterr()
    bus.provision("plan", "--json", *options)
    return json.loads(shown(capsys))


def test_each_principal_is_one_block_and_a_right_is_one_line_in_a_pipe(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    principals = [each["principal"] for each in plan_of(bus, capsys)["access"]]
    assert len([*groupby(principals)]) == len({*principals})
    bus.provision("plan")
    said = capsys.readouterr()
    rows = [line for line in said.out.splitlines() if "User:lapas-dua.consumer" in line]
    assert len(rows) == principals.count("User:lapas-dua.consumer") > 1
    assert "read topic" in " ".join(rows)


def test_status_shows_the_operator_the_brokers_the_topics_and_the_groups_of_readers(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bus.provision("apply") == 0
    capsys.readouterr()
    words = ["--config", str(bus.folder / "sinergi.toml"), "status"]
    assert run([*words, "--json"]) == 0
    view = json.loads(capsys.readouterr().out)
    assert len(view["brokers"]) == 1
    assert f"sinergi.{LAPAS}.transfer" in {each["topic"] for each in view["topics"]}
    assert {each["group"] for each in view["groups"]} >= {f"{LAPAS}.main"}
    assert view["problems"] == []
    assert run(words) == 0
    assert "all partitions have all copies in sync" in capsys.readouterr().out


def test_status_shows_the_operator_the_brokers_before_there_is_an_agreement(
    bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", str(bus.folder / "sinergi.toml"), "--set", f"agreements={tmp_path}"]
    assert run([*words, "status", "--json"]) == 1
    view = json.loads(capsys.readouterr().out)
    assert len(view["brokers"]) == 1
    assert "contains no agreement" in view["problems"][0]
    assert run([*words, "status"]) == 1
    assert "1 broker (" in capsys.readouterr().out


def test_a_plan_is_summed_up_and_can_be_cut_to_its_changes(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    document = plan_of(bus, capsys)
    actions = [each["action"] for each in document["access"]]
    actions += [each["verdict"] for each in document["topics"]]
    count = Counter(actions)
    bus.provision("plan")
    said = capsys.readouterr().err
    assert f"{count['create']} to create" in said
    assert f"{count['remove']} to remove, {count['ok']} as agreed" in said
    cut = plan_of(bus, capsys, "--changes")
    assert {each["action"] for each in cut["access"]} <= {"create", "remove"}
    assert len(cut["access"]) < len(document["access"])


def test_a_plan_says_what_a_coming_agreement_will_add_and_when(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    begins = (datetime.now(tz=UTC) + timedelta(minutes=8)).replace(microsecond=0)
    bus.agree(agreement(in_force={"from": begins}))
    (coming,) = plan_of(bus, capsys)["coming"]
    assert coming["at"] == begins.isoformat()
    assert coming["why"] == "pks-1.toml begins"
    assert f"User:{LAPAS}.producer: write topic sinergi.{LAPAS}.transfer" in coming["create"]
    bus.provision("plan")
    out = capsys.readouterr().out
    assert f"later, at {begins.isoformat(sep=' ')}: pks-1.toml begins" in out
    assert f"pks-1.toml parties.{LAPAS}, which begins at {begins.isoformat(sep=' ')}" in out


def test_a_plan_on_standard_output_stands_there_alone(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for options in ([], ["--json"]):
        assert bus.provision("plan", "--out", "-", *options) == 1
        assert json.loads(shown(capsys))["format"] == "sinergi provision plan 3"


@pytest.mark.parametrize("command", [["plan"], ["apply"], ["apply", "--watch"], ["export"]])
def test_an_event_type_that_no_agreement_has_is_refused(
    bus: ProvisionedBus, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bus.provision(*command, "--unknown-type", "transferr") == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "no agreement has the event type 'transferr'; did you mean transfer?" in said


def test_an_event_type_that_is_known_is_warned_of(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bus.provision("plan", "--unknown-type", "transfer") == 1
    assert "this version knows the event type transfer" in capsys.readouterr().err


def test_each_column_of_a_plan_has_its_name(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert bus.provision("plan") == 1
    heads = [each for each in shown(capsys).splitlines() if " action " in each]
    assert [each.split() for each in heads] == [
        ["topic", "partitions", "copies", "action", "what"],
        ["principal", "action", "right", "where", "why"],
    ]


@pytest.mark.parametrize("command", [["apply"], ["apply", "--watch"]], ids=" ".join)
def test_a_right_that_has_ended_is_removed_although_no_password_can_be_written(
    secured_bus: ProvisionedBus, tmp_path: Path, command: list[str]
) -> None:
    forget_everything(secured_bus)
    assert secured_bus.provision("apply") == 0
    control = secured_bus.control
    secured_bus.delete(f"{LAPAS}.producer")
    lapas_only = agreement(in_force={"from": year(2021)})
    lapas_only["events"]["seizure"]["readers"] = [LAPAS]
    secured_bus.agree(agreement(in_force={"from": year(2020)}), lapas_only)
    before = ended(control)
    assert before
    (tmp_path / "afile").write_text("")
    settings = ["--config", str(secured_bus.folder / "sinergi.toml")]
    settings += ["--set", f"provision.passwords={tmp_path / 'afile'}"]
    assert run([*settings, "provision", *command]) == 2
    assert ended(control) == set()


def test_a_right_that_has_ended_is_removed_although_brokers_are_missing_for_a_new_topic(
    secured_bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_everything(secured_bus)
    assert secured_bus.provision("apply") == 0
    second = agreement(in_force={"from": year(2021)})
    second["events"]["seizure"]["readers"] = [LAPAS]
    second["events"]["seizure"]["publishers"] = [BNNK, DUA]
    secured_bus.agree(agreement(in_force={"from": year(2020)}), second)
    control = AccessControl(
        secured_bus.broker.admin, PasswordFolder(secured_bus.folder / "passwords", print)
    )
    assert ended(control)
    settings = ["--config", str(secured_bus.folder / "sinergi.toml")]
    settings += ["--set", "provision.replication=3"]
    capsys.readouterr()
    assert run([*settings, "provision", "plan", "--json"]) == 2
    document = json.loads(shown(capsys))
    (waits,) = [each for each in document["topics"] if each["verdict"] == "waiting"]
    assert waits["topic"] == f"sinergi.{DUA}.seizure"
    assert run([*settings, "provision", "apply"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "These topics wait for more brokers and were not made; all else is done:" in said
    assert "it gets 3 copies, and the cluster has 1 broker now: start the others" in said
    assert ended(control) == set()
    assert describe(secured_bus.broker.admin, [waits["topic"]]) == {}


def ended(control: AccessControl) -> set[AclEntry]:
    """The rights of the prison that the newer agreement leaves out of seizures."""
    found = control.read()
    assert found
    topic = f"sinergi.{BNNK}.seizure"
    return {
        each
        for each in found.entries
        if (each.principal, each.name) == (f"User:{DUA}.consumer", topic)
    }


def test_a_folder_of_passwords_that_is_a_file_ends_an_apply_before_anything_is_done(
    secured_bus: ProvisionedBus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_everything(secured_bus)
    before = actions(secured_bus, capsys)
    (tmp_path / "afile").write_text("")
    settings = ["--config", str(secured_bus.folder / "sinergi.toml")]
    settings += ["--set", f"provision.passwords={tmp_path / 'afile'}"]
    assert run([*settings, "provision", "apply"]) == 2
    err = capsys.readouterr().err
    assert "afile is no folder" in err
    assert "Done already" not in err
    assert actions(secured_bus, capsys) == before


def test_an_apply_that_fails_in_the_middle_says_what_it_has_done(
    secured_bus: ProvisionedBus,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget_everything(secured_bus)
    alter = AccessControl._alter

    def fail_but_for_two(control: AccessControl, changes: Any) -> Any:
        def fail() -> None:
            raise errors.BrokerAway("no answer")

        answers = alter(control, changes)
        return answers | dict.fromkeys([*answers][2:], fail)

    monkeypatch.setattr(AccessControl, "_alter", fail_but_for_two)
    assert secured_bus.provision("apply") == 2
    said = capsys.readouterr().err
    assert "it failed in the middle. Done already: " in said
    assert ", 2 users, 0 rights. Once the cause below is mended" in said
    monkeypatch.undo()
    assert secured_bus.provision("apply") == 0
    assert actions(secured_bus, capsys) == set()


def test_a_plan_overwrites_no_file_unless_it_is_forced(bus: ProvisionedBus, tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    kept.write_text("mine")
    assert bus.provision("plan", "--out", str(kept)) == 2
    assert kept.read_text() == "mine"
    assert bus.provision("plan", "--out", str(kept), "--force") == 1
    assert kept.read_text() != "mine"


def test_an_apply_ends_by_saying_what_it_has_done(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bus.provision("apply") == 0
    bus.delete(f"{BNNK}.consumer")
    assert bus.provision("apply") == 0
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "sinergi: done: 0 topics, 1 user, 0 rights made, changed or removed"
    assert bus.provision("apply") == 0
    assert capsys.readouterr().err.splitlines()[-1] == "sinergi: done: nothing was left to do"


def test_ctrl_c_in_an_apply_says_what_is_done_and_how_to_finish(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bus.provision("apply") == 0
    bus.delete(f"{BNNK}.consumer")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(AccessControl, "create", interrupted)
        assert bus.provision("apply") == ExitStatus.STOPPED
    said = capsys.readouterr().err
    assert "interrupted. Done already, if not more: 0 topics, 0 users, 0 rights" in said
    assert "run `sinergi provision apply`" in said
    assert bus.provision("apply") == 0


def test_without_an_authorizer_topics_are_made_and_the_lack_is_an_error(
    bus: ProvisionedBus, kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (bus.folder / "agreements/pks-2.toml").unlink()
    config = ["--config", str(bus.folder / "sinergi.toml"), "--set", f"kafka.bootstrap={kafka}"]
    meant = [*config, "--set", "provision.open_brokers=true"]
    assert run([*config, "provision", "plan", "--json"]) == 2
    out, err = capsys.readouterr()
    (broker,) = json.loads(out)["open_brokers"]
    assert json.loads(out)["access"] is None
    assert json.loads(out)["topics"]
    assert f"Brokers without an authorizer: {broker}. Whoever reaches them may" in err
    assert run([*config, "provision", "apply"]) == 2
    assert "All else is done" in capsys.readouterr().err
    assert run([*meant, "provision", "plan"]) == 0
    assert "no broker has an authorizer" in capsys.readouterr().err
    assert run([*meant, "provision", "apply"]) == 0
    assert run([*config, "provision", "plan"]) == 2, "there is nothing to do, and it is open"
