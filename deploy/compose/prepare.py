# ruff: noqa: INP001, S603 - a script for people to run, which runs `sinergi`
"""Make what the bus of compose.yaml needs, and hand over the passwords that provision has made.

    python prepare.py              once, before `docker compose up`
    python prepare.py hand-over    after `docker compose up --detach provision`

The first makes the folder bus/ (certificates, settings, keys, database roles with their passwords,
an agreement that both agencies have signed) and the file .env (the passwords of the databases'
superusers, the user of the containers). The second waits for the passwords of the Kafka users and
moves each agency's to it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from time import sleep

import tomli_w

from sinergi.local.certificates import LocalAuthority, certificate_pem, key_pem
from sinergi.settings.initialise import PlannedFiles, WrittenFiles, write_first_files
from sinergi_schemas.clock import SYSTEM

HERE = Path(__file__).parent
BUS = HERE / "bus"
OPERATOR = BUS / "operator"
AGENCIES = ("lapas-rekaan", "bnnk-rekaan")
ROLES = ("producer", "consumer")
# For each use of a database, what logs in to it, and the PostgreSQL role with which it does.
DATABASE_ROLES = {
    "producer": {"application": "sinergi_application", "relay": "sinergi_relay"},
    "consumer": {"materialiser": "sinergi_materialiser", "reader": "sinergi_reader"},
}
NAME = "sinergi.rekaan.example"
BROKERS = tuple(f"broker-{number}" for number in (1, 2, 3))
# The user of the image, where whoever prepares is root.
IMAGE_USER = 10001
PATIENCE_SECONDS = 600


def main(arguments: list[str]) -> int:
    """Prepare, or hand over."""
    if arguments == ["hand-over"]:
        return hand_over()
    if arguments:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    if BUS.exists():
        sys.stderr.write(f"prepare: {BUS} is there already; remove it for a new bus\n")
        return 2
    BUS.mkdir(mode=0o700)
    make_certificates()
    make_agencies()
    user, group = os.getuid() or IMAGE_USER, os.getgid() or IMAGE_USER
    words = [f"{each.partition('-')[0].upper()}_PASSWORD={password()}" for each in AGENCIES]
    write(HERE / ".env", "\n".join([f"SINERGI_USER={user}:{group}", *words, ""]))
    give_to(user, group)
    return 0


def hand_over() -> int:
    """Move the passwords of each agency's users to it, as soon as they are there."""
    end = SYSTEM.monotonic() + PATIENCE_SECONDS
    for agency in AGENCIES:
        for role in ROLES:
            name = f"passwords/{agency}.{role}.password"
            while not (OPERATOR / name).is_file():
                if SYSTEM.monotonic() > end:
                    sys.stderr.write(
                        f"prepare: {OPERATOR / name} does not come: is provision up?\n"
                    )
                    return 2
                sleep(1)
            (OPERATOR / name).replace(BUS / agency / name)
    return 0


def make_certificates() -> None:
    """One authority for the bus; a certificate for each broker and for the operator."""
    authority = LocalAuthority(NAME)
    trusted = certificate_pem(authority.certificate)
    for broker in BROKERS:
        key, certificate = authority.issue(broker, f"{broker}.example")
        folder = BUS / "tls" / broker
        folder.mkdir(parents=True)
        # The user of Kafka's image reads them; others do not pass the folder bus/.
        (folder / "broker.pem").write_bytes(key_pem(key) + certificate_pem(certificate))
        (folder / "ca.pem").write_bytes(trusted)
    key, certificate = authority.issue("operator")
    (OPERATOR / "passwords").mkdir(mode=0o700, parents=True)
    write(OPERATOR / "operator.key", key_pem(key).decode())
    (OPERATOR / "operator.pem").write_bytes(certificate_pem(certificate))
    (OPERATOR / "ca.pem").write_bytes(trusted)
    kafka = {
        "bootstrap": ",".join(f"{each}.example:9091" for each in BROKERS),
        "security": "SSL",
        "ca_file": "ca.pem",
        "certificate_file": "operator.pem",
        "private_key_file": "operator.key",
    }
    provision = {"passwords": "passwords"}
    write(OPERATOR / "sinergi.toml", tomli_w.dumps({"kafka": kafka, "provision": provision}))


def make_agencies() -> None:
    """The settings and the keys of each agency, and the agreement that all of them sign."""
    written = {each: write_first_files(BUS / each, PlannedFiles(each, NAME)) for each in AGENCIES}
    for agency in AGENCIES:
        shutil.copyfile(OPERATOR / "ca.pem", BUS / agency / "ca.pem")
        (BUS / agency / "passwords").mkdir(mode=0o700)
        write(BUS / agency / "sinergi.toml", tomli_w.dumps(settings(agency)))
        make_database_roles(agency)
    agreement = Path("agreements/rekaan.toml")
    note = agreement.with_name(f"{agreement.name}.note")
    first, *others = (BUS / each for each in AGENCIES)
    (first / agreement).write_text(tomli_w.dumps(agreed(written)), encoding="utf-8")
    sign(first, agreement)
    for other in others:
        shutil.copytree(first / "agreements", other / "agreements", dirs_exist_ok=True)
        sign(other, agreement)
        shutil.copyfile(other / note, first / note)
    shutil.copytree(first / "agreements", OPERATOR / "agreements")


def make_database_roles(agency: str) -> None:
    """The SQL that makes the roles of an agency's database, and their passwords for libpq."""
    names = [name for roles in DATABASE_ROLES.values() for name in roles.values()]
    words = {name: password() for name in names}
    host = database_host(agency)
    made = [f"CREATE ROLE {name} LOGIN PASSWORD '{word}';\n" for name, word in words.items()]
    # The user of PostgreSQL's image reads it; others do not pass the folder bus/.
    (BUS / f"{host}.sql").write_text("".join(made), encoding="utf-8")
    known = [f"{host}:*:postgres:{name}:{word}\n" for name, word in words.items()]
    write(BUS / agency / "pgpass", "".join(known))


def database_host(agency: str) -> str:
    """The host name of an agency's PostgreSQL in the network of the containers."""
    return f"{agency.partition('-')[0]}-database"


def database(agency: str, use: str, user: str) -> dict[str, object]:
    """The settings of a database for one use, by one of the roles there."""
    address = "postgresql://{}@" + f"{database_host(agency)}/postgres"
    return {
        "database": address.format(DATABASE_ROLES[use][user]),
        "owner_database": address.format("postgres"),
        "database_roles": DATABASE_ROLES[use],
    }


def settings(agency: str) -> dict[str, object]:
    """The settings of an agency, whose paths are relative to its folder."""
    producer = database(agency, "producer", "relay")
    consumer = database(agency, "consumer", "materialiser")
    login = {each: {"password_file": f"passwords/{agency}.{each}.password"} for each in ROLES}
    return {
        "agency": agency,
        "bus": NAME,
        "unsigned_agreements": False,
        "kafka": {
            "bootstrap": ",".join(f"{each}.example:9093" for each in BROKERS),
            "security": "SASL_SSL",
            "mechanism": "SCRAM-SHA-512",
            "ca_file": "ca.pem",
        },
        "producer": {**producer, "kafka": login["producer"]},
        "consumer": {**consumer, "name": "main", "kafka": login["consumer"]},
    }


def agreed(written: dict[str, WrittenFiles]) -> dict[str, object]:
    """The agreement: each agency reads what the other publishes."""
    lapas, bnnk = AGENCIES
    terms = {"purposes": ["INVESTIGATION"], "partitions": 3}
    return {
        "bus": NAME,
        "title": "Kerja sama rekaan (a made-up agreement)",
        "legal_basis": ["Undang-Undang Nomor 35 Tahun 2009 tentang Narkotika"],
        "numbers": [{"party": each, "number": f"PKS/{each}/1"} for each in AGENCIES],
        "in_force": {"from": date(2026, 1, 1), "zone": "Asia/Jakarta"},
        "parties": {
            each: {
                "name": each,
                "keys": [str(found.key)],
                "receipt_keys": [{"database": "main", "key": str(found.receipt_key)}],
            }
            for each, found in written.items()
        },
        "events": {
            "transfer": {"publishers": [lapas], "readers": [bnnk], **terms},
            "seizure": {"publishers": [bnnk], "readers": [lapas], **terms},
        },
    }


def sign(agency: Path, agreement: Path) -> None:
    """Let an agency sign the agreement in its folder."""
    command = [sys.executable, "-m", "sinergi", "agreement", "sign", str(agreement)]
    subprocess.run(command, cwd=agency, check=True, stdout=subprocess.DEVNULL)


def password() -> str:
    """A new password."""
    return secrets.token_hex(24)


def write(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


def give_to(user: int, group: int) -> None:
    """Let the user of the containers own the files of operator and agencies."""
    if os.getuid() == 0:
        for folder in (OPERATOR, *(BUS / each for each in AGENCIES)):
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user, group)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
