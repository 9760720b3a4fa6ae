"""Each right that the agreement gives is used, and with these rights alone everything works."""

from __future__ import annotations

import tomllib
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from structlog.testing import capture_logs

from agency_pair import DATABASE, AgencyPair, transfer
from sinergi.cli.root import run
from sinergi.provision.access_control import AccessControl
from sinergi.provision.passwords import PasswordFolder
from sinergi.provision.rights import AclEntry, given_rights
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.topics import control_topic, receipts_topic
from test_relay import sent, until_sent
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping
    from pathlib import Path

    from secured_kafka import Secured

pytestmark = pytest.mark.long


class SecuredPair:
    """A publisher, a reader and an auditor, each of which logs in with what provision gave it."""

    def __init__(self, pair: AgencyPair, broker: Secured) -> None:
        self.pair = pair
        self.broker = broker
        self.folder = pair.folder
        self.auditing = pair.publisher.replace("lapas", "ombudsman")
        document = pair.agreement | {
            "auditors": {self.auditing: {"name": "Ombudsman", "reads": ["transfer"]}}
        }
        pair.agree(document)
        operator = {
            "agency": pair.reader,
            "agreements": str(pair.folder),
            "kafka": {"bootstrap": broker.bootstrap},
        }
        (pair.folder / "operator").mkdir()
        self.operator = pair.folder / "operator/sinergi.toml"
        self.operator.write_text(tomli_w.dumps(operator))
        self.provision()
        self.publisher = self._settings(pair.agency_settings, "producer", pair.publisher)
        self.reader = self._settings(pair.reader_settings, "consumer", pair.reader)
        auditor = pair.folder / "operator/auditor.toml"
        auditor.write_text(tomli_w.dumps({"agreements": str(pair.folder)}))
        self.auditor = self._settings(auditor, "kafka", self.auditing)

    def provision(self) -> None:
        assert run(["--config", str(self.operator), "provision", "apply"]) == 0

    def _settings(self, file: Path, table: str, owner: str) -> Path:
        """Let a settings file log in as the principal of a role."""
        document: dict[str, Any] = tomllib.loads(file.read_text())
        role = {"kafka": "auditor"}.get(table, table)
        password = self.operator.parent / f"passwords/{owner}.{role}.password"
        document["kafka"] = {"bootstrap": self.broker.login, "security": "SASL_PLAINTEXT"}
        login = {"password_file": str(password)}
        if table == "kafka":
            document["kafka"] |= login | {"username": f"{owner}.auditor"}
        else:
            document[table]["kafka"] = login
        file.write_text(tomli_w.dumps(document))
        return file

    def connection(self, role: str, agency: str) -> Connection:
        name = f"{agency}.{role}"
        password = (self.operator.parent / f"passwords/{name}.password").read_text().strip()
        changes = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": name}
        return Connection(self.broker.login, self.broker.options(**changes, sasl_password=password))

    @property
    def rights(self) -> list[AclEntry]:
        return list(given_rights(self.pair.agreements))

    @contextmanager
    def without(self, right: AclEntry) -> Iterator[None]:
        """Take a right away while the block lasts."""
        control = AccessControl(
            open_admin(Connection(self.broker.bootstrap)), PasswordFolder(self.folder, print)
        )
        for answered in control._delete_entries([right]):
            answered()
        try:
            yield
        finally:
            for answered in control._create_entries([right]):
                answered()

    @contextmanager
    def relaying(self) -> Iterator[None]:
        self.pair.connection = self.connection("producer", self.pair.publisher)
        with self.pair.relaying():
            yield

    @contextmanager
    def materialising(self) -> Iterator[None]:
        self.pair.connection = self.connection("consumer", self.pair.reader)
        self.pair.__dict__.pop("bus", None)
        with self.pair.materialising():
            yield

    def replay(self, settings: Path) -> int:
        return run(["--config", str(settings), "replay", self.pair.topic.name, "--output", "csv"])

    def until_receipted(self) -> None:
        waiting = "sinergi_consumer.receipt WHERE published_at IS NULL"
        until(lambda: self.pair.count(waiting) == 0, "receipts published")


@pytest.fixture
def bus(
    tmp_path: Path, broker: Secured, agency_slug: str, databases: Callable[[], str]
) -> SecuredPair:
    broker.forget()
    pair = AgencyPair(tmp_path, broker.bootstrap, agency_slug, databases(), databases())
    return SecuredPair(pair, broker)


def test_with_the_rights_that_the_agreement_gives_everything_works(
    bus: SecuredPair, capsys: pytest.CaptureFixture[str]
) -> None:
    bus.pair.publish(*(transfer(f"P/{number}") for number in range(3)))
    with capture_logs() as logs:
        with bus.relaying(), bus.materialising():
            until_sent(bus.pair, 3)
            bus.pair.until_rows("sinergi.transfer_history", 3)
            bus.until_receipted()
        assert [bus.replay(each) for each in (bus.publisher, bus.reader, bus.auditor)] == [0, 0, 0]
        for each in (bus.publisher, bus.reader):
            run(["--config", str(each), "status"])
    out, err = capsys.readouterr()
    assert "lacks the right" not in str(logs) + out + err


def refusal(right: AclEntry) -> str:
    """What is said where a right is missing."""
    on = f"{right.resource.lower()} {right.name}"
    return f"{right.principal} lacks the right {right.operation.capitalize()} on {on}"


def said(logs: list[MutableMapping[str, Any]], right: AclEntry) -> bool:
    return refusal(right) in str(list(logs))


def replayed_by(bus: SecuredPair, right: AclEntry) -> Path | None:
    """Whose replay needs a right to read a topic."""
    pair = bus.pair
    names = {pair.topic.name, control_topic(pair.publisher), receipts_topic(pair.reader)}
    if right.operation != "READ" or right.name not in names:
        return None
    owners = {"producer": bus.publisher, "consumer": bus.reader, "auditor": bus.auditor}
    return owners[right.principal.rpartition(".")[2]]


def _is_replayed(bus: SecuredPair, settings: Path) -> bool:
    return bus.replay(settings) == 0


def test_each_right_that_is_taken_away_is_missed_by_name(
    bus: SecuredPair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = bus.pair
    pair.publish(transfer("P/1"))
    with bus.relaying(), bus.materialising():
        pair.until_rows("sinergi.transfer_history", 1)
        bus.until_receipted()
    replays = {right: each for right in bus.rights if (each := replayed_by(bus, right))}
    for right, settings in replays.items():
        with bus.without(right):
            capsys.readouterr()
            assert bus.replay(settings) == 2, right
            assert refusal(right) in capsys.readouterr().err
        until(partial(_is_replayed, bus, settings), "the right is back")
    others = [each for each in bus.rights if each not in replays]
    assert {str(each) for each in others} == {
        f"write topic {pair.topic.name}",
        f"write topic {control_topic(pair.publisher)}",
        f"write topic {receipts_topic(pair.reader)}",
        f"read groups {pair.reader}.*",
    }
    for number, right in enumerate(others, 2):
        name = f"{pair.reader}.{DATABASE}" if right.resource == "GROUP" else right.name
        with capture_logs() as logs, bus.relaying(), bus.materialising():
            with bus.without(right):
                pair.publish(transfer(f"P/{number}"))
                until(partial(said, logs, replace(right, name=name)), f"{right} is missed")
            pair.until_rows("sinergi.transfer_history", number)
            bus.until_receipted()
    assert sent(pair) == len(others) + 1
