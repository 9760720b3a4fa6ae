"""A local Kafka with access control: the operator by certificate, agencies by what they agreed."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from cryptography import x509

from provisioned_bus import AGENCIES, LAPAS, agreement, party_key, year
from secured_kafka import Authority
from signed_agreement import write_signed
from sinergi.cli.root import run
from sinergi.local import Local
from sinergi.local.errors import LocalFolderRefused
from sinergi.settings.model import BusRole
from sinergi.settings.settings import load
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import cluster_id, describe, open_admin
from sinergi_schemas.timeouts import KafkaTimeouts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sinergi.local.kafka import LocalSecurity

pytestmark = pytest.mark.long

HASTY = KafkaTimeouts(answer=2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local") / "services"


@pytest.fixture(scope="module")
def security(folder: Path) -> Iterator[LocalSecurity]:
    """A running Kafka whose operator has provisioned it from an agreement."""
    with Local(folder) as local:
        found = local.status().security
        assert found
        agreements = folder / "agreements"
        document = agreement(in_force={"from": year(2020)})
        write_signed(agreements / "pks.toml", document, map(party_key, AGENCIES))
        assert operator(folder, "provision", "apply") == 0
        yield found


def operator(folder: Path, *command: str) -> int:
    return run(["--config", str(folder / "operator.toml"), *command])


def agency(folder: Path, found: LocalSecurity, **kafka: str) -> Connection:
    """How the prison's relay connects."""
    settings: dict[str, Any] = {
        "agency": LAPAS,
        "kafka": {
            "bootstrap": Local(folder).bootstrap,
            "security": "SASL_SSL",
            "ca_file": str(found.ca_file),
            "password_file": str(folder / f"passwords/{LAPAS}.producer.password"),
            **kafka,
        },
        "timeouts": {"kafka": {"answer": 30.0}},
    }
    path = folder / "agency.toml"
    path.write_text(tomli_w.dumps(settings))
    return load(path, environment={}).connection(BusRole.PRODUCER)


def test_an_agency_logs_in_with_its_password_and_has_the_rights_of_its_agreement(
    folder: Path, security: LocalSecurity
) -> None:
    admin = open_admin(agency(folder, security))
    assert describe(admin, [f"sinergi.{LAPAS}.transfer"])
    with pytest.raises(errors.NotPermitted, match=r"lapas\.producer lacks the right Describe"):
        describe(admin, ["sinergi.lapas-dua.transfer"])


def test_a_wrong_password_is_refused_and_named(folder: Path, security: LocalSecurity) -> None:
    wrong = folder / "wrong"
    wrong.touch(0o600)
    wrong.write_text("wrong")
    with pytest.raises(errors.LoginRefused, match="username or password_file"):
        cluster_id(open_admin(agency(folder, security, password_file=str(wrong))))


def test_a_broker_of_another_authority_is_refused(folder: Path, security: LocalSecurity) -> None:
    other = Authority("somebody else").write(folder / "other.pem")
    with pytest.raises(errors.BrokerCertificateRefused, match="ca_file"):
        cluster_id(open_admin(agency(folder, security, ca_file=str(other))))


@pytest.mark.parametrize("protocol", ["plaintext", "ssl"])
@pytest.mark.parametrize("listener", ["operator", "agency"])
def test_whoever_has_neither_password_nor_certificate_reaches_nothing(
    folder: Path, security: LocalSecurity, protocol: str, listener: str
) -> None:
    addresses = {"operator": security.operator_address, "agency": Local(folder).bootstrap}
    address = addresses[listener]
    options = {"security.protocol": protocol, "ssl.ca.location": str(security.ca_file)}
    with pytest.raises((errors.LoginRefused, errors.BrokerAway)):
        cluster_id(open_admin(Connection(address, options, timeouts=HASTY)))


def test_private_keys_are_for_their_owner_and_certificates_last_for_years(
    folder: Path, security: LocalSecurity
) -> None:
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (folder / "tls").iterdir()}
    assert modes == {
        "ca.pem": 0o644,
        "operator.pem": 0o644,
        "operator.key": 0o600,
        "broker.pem": 0o600,
    }
    certificate = x509.load_pem_x509_certificate((folder / "tls/operator.pem").read_bytes())
    assert (certificate.not_valid_after_utc - SYSTEM.now()).days > 3_000
    key = folder / "tls/operator.key"
    key.chmod(0o644)
    with pytest.raises(errors.SettingsRefused, match=r"others may read or write .*operator\.key"):
        load(security.operator_settings, environment={}).connection()
    key.chmod(0o600)


def test_status_says_how_to_connect(
    folder: Path, security: LocalSecurity, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["local", "status", "--folder", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["security"]
    assert found == {
        "operator_settings": str(folder / "operator.toml"),
        "operator_address": security.operator_address,
        "ca_file": str(folder / "tls/ca.pem"),
    }
    assert run(["local", "status", "--folder", str(folder)]) == 0
    shown = capsys.readouterr().out
    ways = (found["operator_settings"], found["ca_file"], Local(folder).bootstrap)
    assert all(each in shown for each in ways)


@pytest.mark.usefixtures("security")
def test_access_control_cannot_be_taken_from_a_folder_that_has_it(folder: Path) -> None:
    with pytest.raises(LocalFolderRefused, match="its Kafka has access control"):
        Local(folder, is_secured=False).up()


def test_a_new_folder_has_access_control_unless_it_is_asked_for_without(tmp_path: Path) -> None:
    with Local(tmp_path, is_secured=False) as local:
        assert local.status().security is None
    assert Local(tmp_path).status().security is None
    with pytest.raises(LocalFolderRefused, match="its Kafka has no access control"):
        Local(tmp_path, is_secured=True).up()
