"""Two prisons, a narcotics agency and an auditor, on brokers that allow only what an ACL allows."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import tomli_w

from agency_pair import BUS
from signed_agreement import write_signed
from sinergi.cli.root import run
from sinergi.provision.access_control import AccessControl
from sinergi.provision.passwords import PasswordFolder
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import Admin, open_admin
from sinergi_schemas.seal.keys import Algorithm, SigningKey

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from secured_kafka import Secured

LAPAS, DUA, BNNK = "lapas", "lapas-dua", "bnnk"
AGENCIES = (LAPAS, DUA, BNNK)
STRANGER = "stranger"


def year(number: int) -> datetime:
    """The beginning of a year."""
    return datetime(number, 1, 1, tzinfo=UTC)


@cache
def party_key(agency: str) -> SigningKey:
    """With which an agency signs agreements, in all tests of this process."""
    return SigningKey.generate(f"{BUS}/{agency}")


@cache
def receipt_key(agency: str) -> SigningKey:
    """With which an agency's database signs receipts, in all tests of this process."""
    return SigningKey.generate(f"{BUS}/{agency}/main", Algorithm.COSIGNATURE)


def agreement(**changes: Any) -> dict[str, Any]:
    """Two prisons and a narcotics agency, and an auditor."""

    def party(agency: str) -> dict[str, Any]:
        return {
            "name": agency,
            "keys": [str(party_key(agency).public)],
            "receipt_keys": [{"database": "main", "key": str(receipt_key(agency).public)}],
        }

    def event(publishers: list[str], readers: list[str]) -> dict[str, Any]:
        terms = {"purposes": ["INVESTIGATION"], "partitions": 1}
        return {"publishers": publishers, "readers": readers, **terms}

    return {
        "bus": BUS,
        "title": "Kerja sama rekaan",
        "legal_basis": ["Undang-Undang Nomor 35 Tahun 2009 tentang Narkotika"],
        "numbers": [{"party": each, "number": "PKS/1"} for each in AGENCIES],
        "parties": {each: party(each) for each in AGENCIES},
        "auditors": {"ombudsman": {"name": "Ombudsman", "reads": ["transfer"]}},
        "events": {
            "transfer": event([LAPAS, DUA], [BNNK]),
            "seizure": event([BNNK], [LAPAS, DUA]),
        },
        **changes,
    }


class ProvisionedBus:
    """A secured broker and its operator, who provisions it from an agreement."""

    def __init__(self, broker: Secured, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        (folder / "agreements").mkdir()
        settings = {
            "agreements": str(folder / "agreements"),
            "kafka": {"bootstrap": broker.bootstrap},
            "provision": {"passwords": str(folder / "passwords")},
        }
        (folder / "sinergi.toml").write_text(tomli_w.dumps(settings))

    def agree(self, *documents: dict[str, Any]) -> None:
        """Let these be the agreements; each replaces the one before it."""
        for each in (self.folder / "agreements").iterdir():
            each.unlink()
        before: list[str] = []
        for number, document in enumerate(documents, 1):
            file = self.folder / f"agreements/pks-{number}.toml"
            write_signed(file, document | {"replaces": before}, map(party_key, AGENCIES))
            before = [sha256(file.read_bytes()).hexdigest()]

    def provision(self, *command: str) -> int:
        return run(["--config", str(self.folder / "sinergi.toml"), "provision", *command])

    @property
    def control(self) -> AccessControl:
        """The users and rights of the cluster."""
        return AccessControl(
            self.broker.admin, PasswordFolder(self.folder / "passwords", lambda _: None)
        )

    def delete(self, *users: str) -> None:
        """Remove users from the brokers, and their files."""
        for answer in self.control._delete_users(users) if users else ():
            answer()

    def options(self, principal: str) -> dict[str, str]:
        """How a principal logs in."""
        if principal == STRANGER:
            return self.broker.options()
        password = (self.folder / f"passwords/{principal}.password").read_text().strip()
        changes = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": principal}
        return self.broker.options(**changes, sasl_password=password)

    def admin(self, principal: str) -> Admin:
        return open_admin(Connection(self.broker.login, self.options(principal)))

    def client(self, principal: str) -> dict[str, Any]:
        return {"bootstrap.servers": self.broker.login, **self.options(principal)}


def agree_on_less(bus: ProvisionedBus) -> None:
    """Provision a bus, and make a newer agreement that lets one prison less read."""
    bus.broker.forget()
    first = agreement(in_force={"from": year(2020)})
    bus.agree(first)
    assert bus.provision("apply") == 0
    second = deepcopy(first) | {"in_force": {"from": year(2021)}}
    second["events"]["seizure"]["readers"] = [LAPAS]
    bus.agree(first, second)


def actions(bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """What a plan says about the access, apart from what is as it should be."""
    capsys.readouterr()
    bus.provision("plan", "--json")
    access = json.loads(capsys.readouterr().out)["access"]
    return {
        f"{each['action']} {each['principal']}: {each['right'] or 'user'}"
        for each in access
        if each["action"] != "ok"
    }
