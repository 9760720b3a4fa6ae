"""The resources for an agency's processes on Kubernetes, read by the classes of a client of it."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sinergi.cli.root import run
from sinergi.settings.model import BusRole
from sinergi.settings.settings import load
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from strimzi.strict_reader import StrictReader
from test_agreement import EXAMPLE

FOLDER = Path(__file__).parents[1] / "deploy/kubernetes"
PROCESSES = {"relay": "relay", "materialiser": "materialise"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text()))


def container(process: str) -> dict[str, Any]:
    (found,) = documents(process)[0]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.long
def test_a_client_of_kubernetes_knows_every_field(tmp_path: Path) -> None:
    reader = StrictReader(tmp_path)
    files = sorted(FOLDER.glob("*.yaml"))
    assert {each.stem for each in files} == {"settings", *PROCESSES}
    everything = b"---\n".join(each.read_bytes() for each in files)
    assert reader.read(everything) == ["read 3"]
    wrong = everything.replace(b"httpGet:", b"httpget:", 1)
    (line, _) = reader.read(wrong)
    assert 'Unrecognized field "httpget"' in line


@pytest.mark.parametrize(("process", "command"), PROCESSES.items())
def test_a_container_runs_a_command_with_options_that_it_has(
    process: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = container(process)["args"]
    assert command in arguments
    assert run([*arguments, "--help"]) == 0
    assert f"Usage: sinergi {command}" in capsys.readouterr().out


@pytest.mark.parametrize("process", PROCESSES)
def test_the_probes_ask_the_port_where_the_command_answers(process: str) -> None:
    found = container(process)
    (port,) = found["ports"]
    assert f"0.0.0.0:{port['containerPort']}" in found["args"]
    assert found["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    assert found["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}


@pytest.mark.parametrize("process", PROCESSES)
def test_every_path_of_the_settings_is_in_a_volume(process: str, tmp_path: Path) -> None:
    (tmp_path / "sinergi.toml").write_text(documents("settings")[0]["data"]["sinergi.toml"])
    values = load(tmp_path / "sinergi.toml", environment={}).values
    pod = documents(process)[0]["spec"]["template"]["spec"]
    mounts = {each["mountPath"] for each in container(process)["volumeMounts"]}
    named = {each["name"] for each in container(process)["volumeMounts"]}
    assert named <= {each["name"] for each in pod["volumes"]}
    paths = [values.agreements, values.keys, values.kafka.ca_file, values.kafka.password_file]
    for path in map(Path, filter(None, paths)):
        assert mounts & set(map(str, (path, *path.parents)))


def test_the_settings_are_taken(tmp_path: Path) -> None:
    (tmp_path / "sinergi.toml").write_text(documents("settings")[0]["data"]["sinergi.toml"])
    settings = load(tmp_path / "sinergi.toml", environment={})
    assert settings.agency == "lapas-banyuwangi"
    with pytest.raises(errors.SettingsRefused, match="/run/sinergi/kafka/password"):
        settings.connection(BusRole.PRODUCER)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_container_has_no_right_that_it_does_not_need(process: str) -> None:
    pod = documents(process)[0]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for each in (*pod["initContainers"], *pod["containers"]):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("process", PROCESSES)
def test_the_copies_of_secrets_are_for_their_user_alone(process: str, tmp_path: Path) -> None:
    pod = documents(process)[0]["spec"]["template"]["spec"]
    (secrets,) = pod["initContainers"]
    given = tmp_path / "given"
    for name in ("keys/lapas.key", "keys/lapas-main.key", "kafka/password"):
        (given / name).parent.mkdir(parents=True, exist_ok=True)
        (given / name).write_text(name)
    (script,) = secrets["args"]
    script = script.replace("/run/sinergi", f"{tmp_path}/run").replace("/given", str(given))
    subprocess.run([*secrets["command"], script], check=True)
    copies = [each for each in (tmp_path / "run").rglob("*") if each.is_file()]
    assert {each.name for each in copies} == {"lapas.key", "lapas-main.key", "password"}
    assert {stat.S_IMODE(each.stat().st_mode) for each in copies} == {0o600}


def test_agreements_are_read_as_a_volume_of_a_configmap_has_them(tmp_path: Path) -> None:
    """Each file is a link into a folder that is a link itself, which an update replaces."""
    (tmp_path / "..2026_06_01").mkdir()
    (tmp_path / "..data").symlink_to("..2026_06_01")
    for name in (EXAMPLE.name, f"{EXAMPLE.name}.note"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    (tmp_path / "..data" / EXAMPLE.name).write_bytes(EXAMPLE.read_bytes())
    assert [each.path.name for each in Agreements.load(tmp_path)] == [EXAMPLE.name]
