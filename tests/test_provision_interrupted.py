"""A broker or the command itself ends while `provision apply` works: the next one does the rest."""

from __future__ import annotations

import subprocess
import sys
from signal import SIGKILL
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

# Kills itself before it asks for a change of one kind, or when the brokers have made it.
from long_cases import long_after
from provisioned_bus import AGENCIES, ProvisionedBus, agreement, year
from sinergi_schemas.kafka.admin import cluster_id
from waiting import PATIENCE_SECONDS, until

KILLED = """
import os, signal, sys
from confluent_kafka.admin import AdminClient
from sinergi.cli.root import run

step, is_made, *words = sys.argv[1:]
asked = getattr(AdminClient, step)

def ask(*given, **settings):
    if is_made == "True":
        for each in asked(*given, **settings).values():
            each.result()
    os.kill(os.getpid(), signal.SIGKILL)

setattr(AdminClient, step, ask)
run(words)
"""
STEPS = ("create_topics", "alter_user_scram_credentials", "create_acls")


def forget(bus: ProvisionedBus) -> None:
    """Take everything away, and wait until the broker shows that it is gone."""
    bus.agree(agreement(in_force={"from": year(2020), "until": year(2021)}))
    assert bus.provision("apply", "--clock-is-right") == 0  # no relay has written anything
    topics = [*bus.broker.admin.list_topics(timeout=PATIENCE_SECONDS).topics]
    for future in bus.broker.admin.delete_topics(topics).values():
        future.result(PATIENCE_SECONDS)
    until(lambda: bus.provision("plan", "--clock-is-right") == 0, "no user and no right is left")
    until(lambda: not bus.broker.admin.list_topics(timeout=10).topics, "no topic is left")


@pytest.mark.long
@pytest.mark.parametrize("is_sent", [False, True], ids=["before it is asked", "after it is asked"])
@pytest.mark.parametrize("step", STEPS)
def test_an_apply_whose_broker_is_killed_in_the_middle_is_finished_by_the_next(
    secured_bus: ProvisionedBus,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: str,
    *,
    is_sent: bool,
) -> None:
    bus = secured_bus
    bus.agree(agreement(title=f"Kerja sama {step} {is_sent}", in_force={"from": year(2020)}))
    asked = getattr(AdminClient, step)

    def ask(self: AdminClient, *given: Any, **settings: Any) -> Any:
        found = asked(self, *given, **settings) if is_sent else None
        bus.broker.process.kill()
        return found if is_sent else asked(self, *given, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(AdminClient, step, ask)
        patched.setenv("SINERGI_TIMEOUTS__KAFKA__CHANGE", "5")
        patched.setenv("SINERGI_TIMEOUTS__KAFKA__ANSWER", "5")
        status = bus.provision("apply")
    said = capsys.readouterr().err
    bus.broker.process.restart()
    if status == 0:
        assert is_sent  # the broker had done what it was asked, which was the last
    else:
        assert status == 2
        assert "answer" in said
        assert "bug" not in said
        assert bus.provision("apply") == 0
    assert bus.provision("plan") == 0
    for agency in AGENCIES:
        for role in ("producer", "consumer"):
            assert cluster_id(bus.admin(f"{agency}.{role}"))  # its password logs in
    forget(bus)


@pytest.mark.parametrize(
    "is_made", long_after(1, [True, False]), ids=["after it is made", "before it is asked"]
)
@pytest.mark.parametrize("step", long_after(1, STEPS))
def test_an_apply_that_is_killed_in_the_middle_is_finished_by_the_next(
    secured_bus: ProvisionedBus, capsys: pytest.CaptureFixture[str], step: str, *, is_made: bool
) -> None:
    bus = secured_bus
    bus.agree(agreement(title=f"Kerja sama {step} {is_made}", in_force={"from": year(2020)}))
    words = ("--config", str(bus.folder / "sinergi.toml"), "provision", "apply")
    command = (sys.executable, "-c", KILLED, step, str(is_made), *words)
    assert subprocess.run(command, capture_output=True, check=False).returncode == -SIGKILL
    assert bus.provision("apply") == 0
    assert "interrupted" not in capsys.readouterr().err
    assert bus.provision("plan") == 0
    for agency in AGENCIES:
        for role in ("producer", "consumer"):
            assert cluster_id(bus.admin(f"{agency}.{role}"))  # its password logs in
    forget(bus)
