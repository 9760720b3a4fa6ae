"""A bus of three brokers, as `sinergi local up --brokers 3` starts it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import tomli_w
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType

from provisioned_bus import AGENCIES, BNNK, LAPAS, agreement, party_key, year
from signed_agreement import copy_signed, write_signed
from sinergi import migrate
from sinergi.cli.root import run
from sinergi.local import Local
from sinergi.local.errors import LocalFolderRefused
from sinergi.settings.settings import load
from sinergi_schemas.errors import BrokerAway
from sinergi_schemas.kafka.admin import broker_ids, describe, open_admin
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

# In five seconds, with a pause that doubles from 0.2 s. Without pauses there are some 100,000.
MOST_CONNECTS = 30
TOPIC = f"sinergi.{LAPAS}.transfer"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """Three brokers that their operator has provisioned from an agreement."""
    found = Local(tmp_path_factory.mktemp("three") / "services", brokers=3)
    found.up()
    try:
        agreed = found.operator_settings.parent / "agreements/pks.toml"
        document = agreement(in_force={"from": year(2020)})
        write_signed(agreed, document, map(party_key, AGENCIES))
        assert run(["--config", str(found.operator_settings), "provision", "apply"]) == 0
        yield found
    finally:
        found.down()


def test_each_partition_is_on_all_of_them_and_two_must_have_a_message(local: Local) -> None:
    admin = open_admin(load(local.operator_settings, environment={}).connection())
    (partition,) = describe(admin, [TOPIC])[TOPIC].partitions
    assert len(partition.replicas) == 3
    resource = ConfigResource(ResourceType.TOPIC, TOPIC)
    settings = admin.describe_configs([resource])[resource].result(PATIENCE_SECONDS)
    assert settings["min.insync.replicas"].value == "2"


def test_their_number_cannot_be_changed(local: Local, tmp_path: Path) -> None:
    folder = local.operator_settings.parent
    with pytest.raises(LocalFolderRefused, match="its Kafka has 3, not 1 brokers") as refused:
        Local(folder, brokers=1).up()
    assert str(refused.value).count("ame another") == 1
    assert "new folder" not in str(refused.value)
    assert run(["local", "up", "--folder", str(tmp_path / "none"), "--brokers", "0"]) == 2


def test_the_addresses_of_all_are_shown_as_they_are_pasted(
    local: Local, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(local.operator_settings.parent)
    assert run(["local", "status", "--folder", folder]) == 0
    assert ["bootstrap", local.bootstrap] in [
        each.split() for each in capsys.readouterr().out.splitlines()
    ]
    assert run(["local", "status", "--folder", folder, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["security"]["operator_address"]
    assert shown == load(local.operator_settings, environment={}).values.kafka.bootstrap
    assert shown.count(",") == 2


def test_status_names_under_replicated_topics_while_a_broker_is_down_and_none_afterwards(
    local: Local, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = reader(local, tmp_path)
    until(lambda: lacking(settings, capsys) == set(), "all are in sync")
    pid = local.status().brokers[2].pid
    assert pid is not None
    process = psutil.Process(pid)
    process.kill()
    process.wait(PATIENCE_SECONDS)
    until(lambda: TOPIC in lacking(settings, capsys), "status names the topic")
    no_topic_is_made_with_fewer_copies(local, tmp_path)
    capsys.readouterr()
    assert run(["--config", str(local.operator_settings), "status", "--json"]) == 1
    view = json.loads(capsys.readouterr().out)
    assert len(view["brokers"]) == 2
    assert [each for each in view["problems"] if "does not run" in each]
    assert not [each for each in view["problems"] if "the brokers' operator" in each]
    assert run(["--config", str(local.operator_settings), "status"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert set(view["problems"]) <= {each.strip() for each in lines}
    assert run(["--config", str(settings), "status"]) == 1
    said = capsys.readouterr().out
    assert f"1 partition of {TOPIC} under-replicated (the least has 2 of 3 copies in sync)" in said
    local.up()
    until(lambda: lacking(settings, capsys) == set(), "all are in sync again")


def test_a_plan_waits_until_another_broker_has_taken_over_from_a_killed_one(
    local: Local, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = open_admin(load(local.operator_settings, environment={}).connection())
    for number in range(3):
        process = psutil.Process(local.status().brokers[number].pid)
        process.kill()
        process.wait(PATIENCE_SECONDS)
        capsys.readouterr()
        assert run(["--config", str(local.operator_settings), "provision", "plan"]) == 0
        assert "do not answer" not in capsys.readouterr().err
        local.up()
        until(lambda: len(broker_ids(admin)) == 3, "all three are there again")


def no_topic_is_made_with_fewer_copies(local: Local, folder: Path) -> None:
    """While brokers start, only some of them are there; a topic would keep too few copies."""
    (folder / "agreements-2").mkdir()
    document = agreement(in_force={"from": year(2020)})
    document["events"]["seizure"] = {**document["events"]["transfer"], "partitions": 1}
    write_signed(folder / "agreements-2/pks.toml", document, map(party_key, AGENCIES))
    options = ["--config", str(local.operator_settings), "--set"]
    command = [*options, f"agreements={folder / 'agreements-2'}", "provision", "apply"]
    until(lambda: brokers_of(local) == 2, "two brokers are there")
    assert run(command) == 2
    admin = open_admin(load(local.operator_settings, environment={}).connection())
    assert describe(admin, [f"sinergi.{LAPAS}.seizure"]) == {}


def brokers_of(local: Local) -> int:
    admin = open_admin(load(local.operator_settings, environment={}).connection())
    return len(broker_ids(admin))


def test_with_two_of_three_brokers_dead_a_client_connects_with_pauses(
    local: Local,
) -> None:
    connects: dict[str, int] = {}

    def count(text: str) -> None:
        for name, broker in json.loads(text)["brokers"].items():
            connects[name] = max(broker["connects"], connects.get(name, 0))

    for broker in local.status().brokers[1:]:
        assert broker.pid is not None
        process = psutil.Process(broker.pid)
        process.kill()
        process.wait(PATIENCE_SECONDS)
    try:
        connection = load(local.operator_settings, environment={}).connection()
        counted: dict[str, Any] = {"statistics.interval.ms": 200, "stats_cb": count}
        admin = open_admin(replace(connection, options={**connection.options, **counted}))
        topic = NewTopic("sinergi.three", 1, 1)
        with pytest.raises(BrokerAway):
            admin.answer(admin.create_topics([topic], request_timeout=5)["sinergi.three"])
        assert connects
        assert max(connects.values()) < MOST_CONNECTS, connects
    finally:
        local.up()


def test_a_single_broker_without_access_control_is_named_whichever_is_asked(
    local: Local, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each broker has a settings file of its own, and one of them is enough for a stranger."""
    operator = ["--config", str(local.operator_settings), "provision"]
    pid = local.status().brokers[1].pid
    assert pid is not None
    process = psutil.Process(pid)
    command, folder, environment = process.cmdline(), process.cwd(), process.environ()
    (name,) = [each for each in command if each.endswith(".properties")]
    file = Path(folder) / name
    before = file.read_text()
    process.terminate()
    process.wait(PATIENCE_SECONDS)
    lines = [each for each in before.splitlines() if "authorizer.class.name" not in each]
    file.write_text("\n".join([*lines, ""]))
    opened = psutil.Popen(command, env=environment, cwd=folder)
    try:
        until(lambda: brokers_of(local) == 3, "the broker is there again")
        for _ in range(4):
            assert run([*operator, "plan"]) == 2
        assert "Brokers without an authorizer: 2." in capsys.readouterr().err
        assert run([*operator, "apply"]) == 2
    finally:
        opened.terminate()
        opened.wait(PATIENCE_SECONDS)
        file.write_text(before)
        local.up()
    until(lambda: brokers_of(local) == 3, "all are there")
    assert run([*operator, "plan"]) == 0


def lacking(settings: Path, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The topics that status names as under-replicated."""
    capsys.readouterr()
    run(["--config", str(settings), "status", "--json"])
    problems: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["problems"]
    return {each["topic"] for each in problems if each["kind"] == "under-replicated"}


def reader(local: Local, folder: Path) -> Path:
    """The settings of the narcotics agency, which reads transfers."""
    operator = local.operator_settings.parent
    url = local.database("register")
    migrate.upgrade(url, migrate.Role.CONSUMER)
    for name in ("agreements", "keys"):
        (folder / name).mkdir()
    copy_signed(operator / "agreements/pks.toml", folder / "agreements")
    password = operator / f"passwords/{BNNK}.consumer.password"
    settings = {
        "agency": BNNK,
        "kafka": {
            "bootstrap": local.bootstrap,
            "security": "SASL_SSL",
            "ca_file": str(local.ca_file),
        },
        "consumer": {"database": url, "kafka": {"password_file": str(password)}},
    }
    file = folder / "sinergi.toml"
    file.touch(0o600)
    file.write_text(tomli_w.dumps(settings))
    return file
