"""An apply that ends in the middle is completed by the next one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from chaos.services import Starter
from provisioned_bus import LAPAS, ProvisionedBus, agreement, year
from secured_kafka import Secured, secured
from sinergi.local import process
from sinergi.provision.access_control import AccessControl
from sinergi.provision.cluster import Cluster
from sinergi_schemas.kafka.admin import describe
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[ProvisionedBus]:
    with secured(tmp_path / "secured") as broker:
        (tmp_path / "operator").mkdir()
        found = ProvisionedBus(broker, tmp_path / "operator")
        found.agree(agreement(in_force={"from": year(2020)}))
        yield found


def kill(broker: Secured) -> None:
    running = process.find(broker.kafka.mark)
    assert running is not None
    running.kill()
    running.wait(PATIENCE_SECONDS)


@contextmanager
def started_again(broker: Secured) -> Iterator[None]:
    """The broker runs again while the block lasts."""
    starter = Starter()
    running = starter.start(broker.kafka.program())
    try:
        until(broker.kafka.answers, "it answers again")
        yield
    finally:
        process.stop(running, broker.kafka.stops_by)
        starter.close()


@pytest.mark.parametrize(
    ("owner", "step"),
    [(Cluster, "_create"), (AccessControl, "_create_entries"), (AccessControl, "_set_password")],
)
def test_brokers_that_go_away_during_an_apply_are_told_and_the_next_one_completes_it(
    bus: ProvisionedBus,
    owner: type[Any],
    step: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = getattr(owner, step)

    def interrupted(*arguments: object) -> object:
        kill(bus.broker)
        return done(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, interrupted)
        patch.setenv("SINERGI_TIMEOUTS__KAFKA__ANSWER", "2")
        assert bus.provision("apply") == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if "sinergi: The b" in each]
    assert "do not answer" in line
    with started_again(bus.broker):
        assert bus.provision("plan") == 1
        assert bus.provision("apply") == 0
        assert bus.provision("plan") == 0
        for role in ("producer", "consumer"):
            if bus_has_password(bus, f"{LAPAS}.{role}"):
                topic = f"sinergi.{LAPAS}.{'transfer' if role == 'producer' else 'receipts'}"
                assert describe(bus.admin(f"{LAPAS}.{role}"), [topic])


def bus_has_password(bus: ProvisionedBus, principal: str) -> bool:
    return (bus.folder / f"passwords/{principal}.password").exists()
