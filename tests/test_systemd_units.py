# ruff: noqa: S607 - systemd's tools are where PATH has them
"""The units for systemd: read by systemd's own tools, hardened, and of commands that exist."""

from __future__ import annotations

import shlex
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from sinergi.cli.root import run

FOLDER = Path(__file__).parents[1] / "deploy/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
OURS = sorted(FOLDER.glob("sinergi-*.service"))
PROGRAM = "/opt/sinergi/bin/sinergi"
BROKER = "/opt/kafka/bin/kafka-server-start.sh"
# Below 3.0 of 10, in tenths.
MOST_EXPOSED = 29


def name_of(path: Path) -> str:
    return path.name


def installed(unit: Path, folder: Path, old: str = "", new: str = "") -> Path:
    """The unit as it would be installed, of a program that this machine has."""
    text = unit.read_text().replace(PROGRAM, sys.executable).replace(BROKER, sys.executable)
    assert old in text
    (folder / unit.name).write_text(text.replace(old, new))
    return folder / unit.name


def analyze(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *command], capture_output=True, text=True, check=False
    )


def exposure(unit: Path) -> subprocess.CompletedProcess[str]:
    return analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(unit))


def test_relay_materialiser_provision_and_broker_have_a_unit() -> None:
    names = ["materialise@", "provision", "relay"]
    assert [each.name for each in OURS] == [f"sinergi-{name}.service" for name in names]
    assert {*UNITS} - {*OURS} == {FOLDER / "kafka.service"}


@pytest.mark.parametrize("unit", OURS, ids=name_of)
def test_a_unit_starts_a_command_with_options_that_it_has(
    unit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    program, *arguments = shlex.split(parser["Service"]["ExecStart"].replace("%i", "9465"))
    assert program == PROGRAM
    assert run([*arguments, "--help"]) == 0
    assert "Usage: sinergi" in capsys.readouterr().out


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=name_of)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    found = analyze("verify", str(installed(unit, tmp_path)))
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.needs("systemd-analyze")
def test_what_systemd_does_not_know_is_found(tmp_path: Path) -> None:
    unit = installed(UNITS[-1], tmp_path, "PrivateTmp=", "PrivateTmpp=")
    assert "PrivateTmpp" in analyze("verify", str(unit)).stderr


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=name_of)
def test_a_unit_can_do_little_harm(unit: Path, tmp_path: Path) -> None:
    found = exposure(installed(unit, tmp_path))
    assert found.returncode == 0, found.stdout


@pytest.mark.needs("systemd-analyze")
def test_a_unit_that_can_do_harm_is_found(tmp_path: Path) -> None:
    unit = installed(UNITS[-1], tmp_path, "CapabilityBoundingSet=\n", "")
    unit.write_text(unit.read_text().replace("SystemCallFilter=", "#").replace("User=", "#"))
    assert exposure(unit).returncode != 0


# PR_SET_MDWE (65) is what MemoryDenyWriteExecute does, from Linux 6.3 on; before, nothing happens.
CONFINED = """
import ctypes
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
import confluent_kafka, cryptography.x509, polars, psycopg
from sinergi_consumers.materialise import factory
from sinergi_producers.relay import factory
print(polars.DataFrame({"a": [1, 1]}).lazy().group_by("a").agg(polars.len()).collect().height)
"""


def test_the_libraries_work_without_memory_that_is_writable_and_executable() -> None:
    unit = ConfigParser(strict=False, interpolation=None)
    unit.read(FOLDER / "sinergi-materialise@.service")
    name, value = unit["Service"]["Environment"].split("=")
    done = subprocess.run(
        [sys.executable, "-c", CONFINED],
        env={name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "1\n", done.stderr


@pytest.mark.needs("systemd-sysusers")
@pytest.mark.parametrize("user", ["kafka", "sinergi"])
def test_the_user_of_the_units_is_made(tmp_path: Path, user: str) -> None:
    (tmp_path / "etc").mkdir()
    file = FOLDER / f"{user}.sysusers.conf"
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", str(file)], check=True)
    assert (tmp_path / "etc/passwd").read_text().startswith(f"{user}:x:")
    units = [each.read_text() for each in FOLDER.glob(f"{user}*.service")]
    assert units
    assert all(f"User={user}\nGroup={user}\n" in each for each in units)


def test_the_broker_keeps_its_events_where_its_unit_may_write() -> None:
    unit = (FOLDER / "kafka.service").read_text()
    settings = FOLDER.parent / "broker/server.properties"
    assert "StateDirectory=kafka\n" in unit
    assert "log.dirs=/var/lib/kafka/" in settings.read_text()
    assert f"ExecStart={BROKER} /etc/kafka/server.properties\n" in unit
