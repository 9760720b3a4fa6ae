"""What a person sees while an apply works, and what a program reads of it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from provisioned_bus import AGENCIES, ProvisionedBus, agreement, year
from sinergi.provision.progress import RIGHT, TOPIC, USER, Progress
from sinergi.settings import agreement_folder
from sinergi.settings.agreement_folder import load

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from sinergi_schemas.agreements.collection import Agreements


def test_a_terminal_shows_topics_users_and_rights_with_a_rate_and_json_stays_clean(
    secured_bus: ProvisionedBus, tmp_path: Path
) -> None:
    secured_bus.agree(agreement(in_force={"from": year(2020)}))
    settings = str(secured_bus.folder / "sinergi.toml")
    words = (sys.executable, "-m", "sinergi", "--config", settings, "provision", "apply", "--json")
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    written, shown = tmp_path / "apply.json", b""
    with (
        written.open("wb") as file,
        subprocess.Popen(words, stdout=file, stderr=theirs, env=environment) as process,
    ):
        os.close(theirs)
        with suppress(OSError):  # Linux says so of a terminal whose other end is closed
            while chunk := os.read(ours, 65_536):
                shown += chunk
    os.close(ours)
    assert process.returncode == 0
    assert json.loads(written.read_text())["topics"]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    users = 2 * len(AGENCIES) + 1
    assert re.search(rf"users +\S+ +{users}/{users} +[\d,]+/s, 0 s left", text), text
    for kind in ("topics", "rights"):
        assert re.search(rf"{kind} +\S+ +(\d+)/\1 +[\d,]+/s, 0 s left", text), text


def test_each_kind_is_counted_from_when_its_first_changes_are_asked_for() -> None:
    reported: list[tuple[str, int]] = []
    progress = Progress(lambda *each: reported.append(each))
    progress.confirm(USER, [])
    assert reported == []
    progress.confirm(TOPIC, [[lambda: None], [lambda: None]])
    progress.confirm(RIGHT, [[lambda: None]])
    assert reported == [(TOPIC, 0), (TOPIC, 1), (TOPIC, 2), (RIGHT, 0), (RIGHT, 1)]


def test_a_command_reads_the_agreements_once(
    secured_bus: ProvisionedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a large bus take seconds."""
    secured_bus.agree(agreement(in_force={"from": year(2020)}))
    read: list[object] = []

    def counting(values: Any) -> Agreements:
        read.append(values)
        return load(values)

    monkeypatch.setattr(agreement_folder, "load", counting)
    assert secured_bus.provision("apply") == 0
    assert len(read) == 1
