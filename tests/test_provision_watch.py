"""A watch keeps the brokers as the agreements want it: rights begin and end with them."""

from __future__ import annotations

import json
from collections import deque
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from agency_pair import running
from monitored import child
from provisioned_bus import BNNK, DUA, LAPAS, ProvisionedBus, agreement, year
from sinergi.cli.root import run
from sinergi.provision.access import AccessAction
from sinergi.provision.access_control import AccessControl
from sinergi.provision.passwords import PasswordFolder
from sinergi.provision.plan import ProvisionPlan
from sinergi.provision.provisioner import Provisioner
from sinergi.provision.rights import NO_GRACE, AclEntry
from sinergi.provision.watch import ProvisionWatch
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.reload_report import FAILED, MENDED
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.errors import AgreementRefused, BrokerAway, SinergiError
from sinergi_schemas.kafka.admin import cluster_id
from waiting import until

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.long

WRITE = AclEntry(f"User:{LAPAS}.producer", "TOPIC", f"sinergi.{LAPAS}.transfer", "LITERAL", "WRITE")
READ = AclEntry(f"User:{DUA}.consumer", "TOPIC", f"sinergi.{BNNK}.seizure", "LITERAL", "READ")
LONG_SECONDS = 3_600.0


@pytest.fixture
def bus(secured_bus: ProvisionedBus) -> ProvisionedBus:
    secured_bus.broker.forget()
    return secured_bus


def watch(bus: ProvisionedBus, seconds: float) -> ProvisionWatch:
    provisioner = Provisioner(bus.broker.admin, PasswordFolder(bus.folder / "passwords", print))
    load = partial(Agreements.load, bus.folder / "agreements")
    return ProvisionWatch(provisioner, load, SYSTEM, seconds)


def has(bus: ProvisionedBus, entry: AclEntry) -> bool:
    found = Provisioner(
        bus.broker.admin, PasswordFolder(bus.folder / "passwords", print)
    ).access_control.read()
    assert found
    return entry in found.entries


def test_a_right_begins_with_its_agreement_and_not_at_the_next_look(bus: ProvisionedBus) -> None:
    begins = SYSTEM.now() + timedelta(seconds=2)
    bus.agree(agreement(in_force={"from": begins}))
    with capture_logs() as logs, running(watch(bus, LONG_SECONDS).run):
        until(lambda: has(bus, WRITE), "the right begins")
        assert SYSTEM.now() >= begins
    assert [each["event"] for each in logs if each.get("what") == str(WRITE)] == ["create"]


def test_a_right_ends_with_its_agreement_and_not_at_the_next_look(bus: ProvisionedBus) -> None:
    bus.agree(agreement(in_force={"from": year(2020)}))
    assert bus.provision("apply") == 0
    assert has(bus, WRITE)
    ends = SYSTEM.now() + timedelta(seconds=3)
    bus.agree(agreement(in_force={"from": year(2020), "until": ends}))
    with capture_logs() as logs, running(watch(bus, LONG_SECONDS).run):
        until(lambda: not has(bus, WRITE), "the right ends")
        assert SYSTEM.now() >= ends
    assert [each["event"] for each in logs if each.get("what") == str(WRITE)] == ["remove"]


def test_agreements_that_cannot_be_used_take_no_right_away(bus: ProvisionedBus) -> None:
    document = agreement(in_force={"from": year(2020)})
    bus.agree(document)
    with capture_logs() as logs, running(watch(bus, 0.05).run):
        until(lambda: has(bus, WRITE), "the right is given")
        (bus.folder / "agreements/broken.toml").write_text("bus = 1")
        until(lambda: FAILED in [each["event"] for each in list(logs)], "the file is named")
        bus.broker.forget()
        until(lambda: has(bus, WRITE), "the right that somebody removed is given again")
        assert MENDED not in [each["event"] for each in list(logs)]
        (bus.folder / "agreements/broken.toml").unlink()
        until(lambda: MENDED in [each["event"] for each in list(logs)], "the log says it is mended")
        second = deepcopy(document) | {"in_force": {"from": year(2021)}}
        second["events"]["seizure"]["readers"] = [LAPAS]
        bus.agree(document, second)
        until(lambda: not has(bus, READ), "the newer agreement counts")
        assert has(bus, WRITE)
    assert [each["event"] for each in logs].count(FAILED) == 1


@dataclass
class FailingProvisioner:
    """A provisioner that raises what it is given, and then has nothing to do."""

    errors: deque[SinergiError]
    passwords: PasswordFolder
    applied: Event = field(default_factory=Event)
    grace: timedelta = NO_GRACE

    def plan(self, *_: Any) -> ProvisionPlan:
        if self.errors:
            raise self.errors.popleft()
        return ProvisionPlan("bus", "cluster", {}, (), [], [])

    def apply(self, *_: Any) -> None:
        self.applied.set()


def test_a_watch_waits_for_brokers_that_are_away(bus: ProvisionedBus) -> None:
    bus.agree(agreement(in_force={"from": year(2020)}))
    away = deque[SinergiError]([BrokerAway("no answer"), BrokerAway("no answer")])
    failing = FailingProvisioner(away, PasswordFolder(bus.folder / "passwords", print))
    found = watch(bus, LONG_SECONDS)
    found._provisioner = failing  # type: ignore[assignment]
    with capture_logs() as logs, running(found.run):
        until(failing.applied.is_set, "it goes on")
    assert [each["event"] for each in logs] == ["waiting", "going on", "as agreed"]


def test_a_watch_logs_once_how_much_is_as_agreed(bus: ProvisionedBus) -> None:
    bus.agree(agreement(in_force={"from": year(2020)}))
    assert bus.provision("apply") == 0
    provisioner = Provisioner(bus.broker.admin, PasswordFolder(bus.folder / "passwords", print))
    agreed = Agreements.load(bus.folder / "agreements")
    found = provisioner.plan(agreed, SYSTEM.now())
    rounds: list[int] = []

    def load() -> Agreements:
        rounds.append(1)
        return agreed

    with (
        capture_logs() as logs,
        running(ProvisionWatch(provisioner, load, SYSTEM, 0.01).run),
    ):
        until(lambda: len(rounds) > 4, "it has planned several times")
    (said,) = logs
    access = [each for each in found.access or () if each.action is AccessAction.OK]
    users = sum(each.entry is None for each in access)
    assert (said["event"], said["topics"], said["users"], said["rights"]) == (
        "as agreed",
        len(found.topics),
        users,
        len(access) - users,
    )
    assert users


@dataclass
class PassingClock:
    """A clock that says these times, one after another, and the last one again and again."""

    times: deque[datetime]

    def now(self) -> datetime:
        return self.times.popleft() if len(self.times) > 1 else self.times[0]

    def monotonic(self) -> float:
        return SYSTEM.monotonic()


@dataclass
class RecordingProvisioner:
    """A provisioner that has nothing to do, and remembers the times that it planned for."""

    passwords: PasswordFolder
    planned: list[datetime] = field(default_factory=list)
    grace: timedelta = NO_GRACE

    def plan(self, _: Agreements, at: datetime) -> ProvisionPlan:
        self.planned.append(at)
        return ProvisionPlan("bus", "cluster", {}, (), [], [])

    def apply(self, *_: Any) -> None:
        pass


def test_an_agreement_that_begins_while_a_plan_is_made_is_planned_for_at_once(
    bus: ProvisionedBus,
) -> None:
    begins = year(2030)
    bus.agree(agreement(in_force={"from": begins}))
    before, after = begins - timedelta(seconds=1), begins + timedelta(seconds=1)
    recording = RecordingProvisioner(PasswordFolder(bus.folder / "passwords", print))
    load = partial(Agreements.load, bus.folder / "agreements")
    clock = PassingClock(deque([before, after]))
    found = ProvisionWatch(recording, load, clock, LONG_SECONDS)  # type: ignore[arg-type]
    with running(found.run):
        until(lambda: len(recording.planned) == 2, "it has planned again")
    assert recording.planned == [before, after]


def test_a_watch_writes_nothing_but_its_log(bus: ProvisionedBus) -> None:
    """A new password too: a service reads each line as JSON."""
    user = f"{BNNK}.consumer"
    bus.agree(agreement(in_force={"from": year(2020)}))
    assert bus.provision("apply") == 0
    control = Provisioner(
        bus.broker.admin, PasswordFolder(bus.folder / "passwords", print)
    ).access_control
    for answer in control._delete_users([user]):
        answer()
    interrupted = f"{LAPAS}.producer"
    for each in (user, interrupted):
        (bus.folder / f"passwords/{each}.password.new").write_text("")
    settings = bus.folder / "sinergi.toml"
    with child(settings, "provision", "apply", "--watch") as watching:
        watching.until_status("/readyz", 200)
    lines = settings.with_name("monitored.log").read_text().splitlines()
    events = [json.loads(each) for each in lines]
    files = [Path(each["file"]).name for each in events if each["event"] == "new password"]
    assert files == [f"{user}.password"]
    assert [each["user"] for each in events if "was interrupted" in each["event"]] == [interrupted]
    (bus.folder / f"passwords/{interrupted}.password.new").unlink()


def test_a_watch_says_whose_password_it_could_not_finish_once_for_each_interruption(
    bus: ProvisionedBus,
) -> None:
    """A rotation was killed: the watch does not know which password its owner has."""
    bus.agree(agreement(in_force={"from": year(2020)}))
    assert bus.provision("apply") == 0
    user = f"{BNNK}.consumer"
    unset = bus.folder / f"passwords/{user}.password.new"
    unset.write_text("")
    found = watch(bus, 0.05)
    with capture_logs() as logs, running(found.run):

        def told() -> int:
            return sum("was interrupted" in each["event"] for each in list(logs))

        until(lambda: told() == 1, "it is told")
        found._provisioner.access_control.rotate([user])
        until(lambda: not found._interrupted, "it is mended")
        unset.write_text("")
        until(lambda: told() == 2, "the second time is told too")
    unset.unlink()
    assert {each["user"] for each in logs if "was interrupted" in each["event"]} == {user}


def test_a_watch_gives_another_password_to_a_user_whose_making_was_not_confirmed(
    bus: ProvisionedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brokers set it, and their answer does not come."""
    bus.agree(agreement(in_force={"from": year(2020)}))
    assert bus.provision("apply") == 0
    user = f"{BNNK}.consumer"
    found = watch(bus, 0.05)
    bus.delete(user)
    alter = AccessControl._alter
    lost: list[str] = []

    def losing_first_answer(self: AccessControl, changes: Any) -> Any:
        answers = alter(self, changes)
        if lost or not changes:
            return answers
        lost.append(user)

        def lose() -> None:
            answers[user]()
            raise BrokerAway("no answer")

        return {user: lose}

    monkeypatch.setattr(AccessControl, "_alter", losing_first_answer)
    file = bus.folder / f"passwords/{user}.password"
    with running(found.run):
        until(file.exists, "it is made again")
    assert lost == [user]
    assert cluster_id(bus.admin(user))


def test_a_watch_does_not_begin_without_agreements(bus: ProvisionedBus) -> None:
    bus.agree()
    with pytest.raises(AgreementRefused):
        watch(bus, LONG_SECONDS)


def test_a_watch_takes_no_kept_plan(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = ["--config", str(bus.folder / "sinergi.toml"), "provision", "apply", "--watch"]
    assert run([*config, str(tmp_path / "plan.json")]) == 2
    assert "it cannot be combined with FILE or --json" in capsys.readouterr().err
