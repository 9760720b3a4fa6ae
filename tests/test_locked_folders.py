"""A path in a folder that the user may not enter is refused by its name, and is never a bug."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
import tomli_w

from agency_pair import BUS, agreement
from sinergi.settings.initialise import PlannedFiles, write_first_files
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from test_intake import MAPPING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65534
AGENCY = "lapas-rekaan"
UNSIGNED = ["--set", "unsigned_agreements=true"]

# All modules are loaded first, because the user `nobody` may not be able to read them.
RUN = f"""
import io, json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from sinergi.cli import commands, root
from sinergi_schemas.catalog import Catalog
import sinergi.settings.settings, sinergi.settings.own_keys, sinergi.demo.play
for name in commands.ENTRIES:
    commands.load(name)
Catalog.shipped()
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
found = []
for words in json.load(sys.stdin):
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = root.run(words)
    found.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(found))
"""


class Outcome(NamedTuple):
    """The exit status of a command and what it wrote."""

    status: int
    out: str
    err: str


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An agency's folder, with the folder `locked` in it that nobody may enter."""
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.geteuid() and not each.stat().st_mode & stat.S_IXOTH:
            each.chmod(each.stat().st_mode | stat.S_IXOTH)
    made = write_first_files(tmp_path, PlannedFiles(AGENCY, BUS, kafka="127.0.0.1:1"))
    receipts = SigningKey.generate(f"{BUS}/bnnk-rekaan/main", Algorithm.COSIGNATURE).public
    text = tomli_w.dumps(agreement(made.key, receipts))
    (tmp_path / "agreements" / "pks.toml").write_text(text)
    (tmp_path / "mapping.toml").write_text(tomli_w.dumps(MAPPING))
    if os.geteuid() == 0:
        for each in tmp_path.rglob("*"):
            os.chown(each, NOBODY, NOBODY)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    yield tmp_path
    locked.chmod(0o700)


def run_as_nobody(folder: Path, commands: list[list[str]]) -> list[Outcome]:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=folder,
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=True,
    )
    return [Outcome(*each) for each in json.loads(done.stdout)]


def test_a_path_in_a_locked_folder_is_refused_by_its_name(place: Path) -> None:
    commands = [
        ["init", "--agency", "a-b", "--bus", "b.c", "--folder", "locked/n"],
        ["init", "--agency", "a-b", "--bus", "b.c", "--folder", "new", "--kafka-ca", "locked/n"],
        ["--set", "keys=locked/n", "keys", "show"],
        ["--set", "keys=locked", "keys", "show"],
        ["--set", "keys=locked", "agreement", "sign", "agreements/pks.toml"],
        ["--config", "locked/n", "settings"],
        ["--set", "agreements=locked/n", "agreement", "check"],
        ["agreement", "check", "locked/n"],
        ["agreement", "sign", "locked/n"],
        ["agreement", "verify", "locked/n"],
        ["--set", "agreements=locked/n", "provision", "plan"],
        ["provision", "apply", "locked/n"],
        ["schemas", "check", "locked/n"],
        ["schemas", "check", "locked"],
        ["local", "status", "--folder", "locked/n"],
        ["local", "up", "--folder", "locked/n"],
        ["demo", "--keep", "locked/n"],
        ["publish", "--mapping", "locked/n", "transfers.csv"],
        [*UNSIGNED, "publish", "--mapping", "mapping.toml", "--dry-run", "locked/m"],
        ["--set", "agreements=locked", "publish", "--mapping", "mapping.toml", "--dry-run", "m"],
        [*UNSIGNED, "replay", f"sinergi.{AGENCY}.transfer", "--notes", "locked/n"],
        [*UNSIGNED, "replay", f"sinergi.{AGENCY}.transfer", "--notes", "locked"],
        [*UNSIGNED, "replay", f"sinergi.{AGENCY}.transfer", "--output", "csv", "--out", "locked/n"],
    ]
    for command, found in zip(commands, run_as_nobody(place, commands), strict=True):
        assert (found.status, found.out) == (2, ""), (command, found)
        assert "locked" in found.err, (command, found)
        is_told = "Permission denied" in found.err or "is not readable" in found.err
        assert is_told, (command, found)


def test_a_working_folder_that_is_locked_is_named(place: Path) -> None:
    (found,) = run_as_nobody(place / "locked", [["settings"]])
    assert (found.status, found.out) == (2, "")
    assert "sinergi.toml: Permission denied; name the file with --config" in found.err
