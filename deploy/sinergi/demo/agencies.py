"""The three agencies of the demo, each with a database, settings and keys of its own.

1. write settings and new keys for each agency, as `sinergi init` does
2. write the agreement with their public keys; each signs it and gets a copy with the note
3. make topics, users and rights from it, as `sinergi provision apply` does
4. make the tables, as `sinergi db upgrade` does, and the agency's own registers
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import tomli_w
from sqlalchemy.orm import Session

from sinergi import migrate
from sinergi.demo import registers
from sinergi.demo.operator import provision
from sinergi.settings import agreement_files, settings
from sinergi.settings.initialise import PlannedFiles, WrittenFiles, write_first_files
from sinergi.settings.model import FILE_NAME
from sinergi_consumers.bus import Bus
from sinergi_consumers.projections.projection import history, projections_of
from sinergi_consumers.reading.source import KafkaSource
from sinergi_producers.outbox.publishing import Outbox
from sinergi_schemas.agreements.principals import default_principal
from sinergi_schemas.agreements.signatures import note_path
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.codes import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from sinergi.local import Local
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.events import Event
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.topics import Topic

BUS = "sinergi.banyuwangi.example"


@dataclass(frozen=True, slots=True)
class Profile:
    """Names of an agency.

    Attributes:
        database: the name of its database on the bus.
        number: the number that the agency gives the agreement.
    """

    slug: str
    name: str
    database: str
    number: str

    @property
    def short(self) -> str:
        """The first word of the slug, for narrow columns."""
        return self.slug.partition("-")[0]


LAPAS = Profile(
    "lapas-banyuwangi", "Lapas Kelas IIA Rekaan", "sdp", "W15.PAS.PAS.10-HH.05.05-0 Tahun 2025"
)
BNNK = Profile("bnnk-banyuwangi", "BNN Kabupaten Rekaan", "register", "PKS/0/X/2025/BNNK-RKN")
POLRESTA = Profile("polresta-banyuwangi", "Polresta Rekaan", "perkara", "B/0/X/HUK.8.1.1./2025")
PROFILES = (LAPAS, BNNK, POLRESTA)

_EVERYBODY = [each.slug for each in PROFILES]
# Prison officers secure goods and hand them over; only investigators seize.
_PUBLISHERS = {
    "seizure": [BNNK.slug, POLRESTA.slug],
    "suspicious-visit": [LAPAS.slug],
    "transfer": [LAPAS.slug],
}
_PURPOSES = {
    "seizure": ["INVESTIGATION"],
    "suspicious-visit": ["PREVENTION", "INVESTIGATION"],
    "transfer": ["PRISON_SECURITY", "INVESTIGATION"],
}
# Where the stories need no more: the police learn of a visit by the seizure that follows it.
_READERS = {
    "seizure": _EVERYBODY,
    "suspicious-visit": [LAPAS.slug, BNNK.slug],
    "transfer": _EVERYBODY,
}
AUDITOR = "ombudsman-rekaan"
_PARTITIONS = 2


class StoryClock:
    """The time of the stories: March 2026 passes in half a minute. Durations stay real."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The current time of the story."""
        return self._now

    def monotonic(self) -> float:
        """Real seconds."""
        return SYSTEM.monotonic()

    def turn_to(self, moment: datetime) -> None:
        """Set the time of the story."""
        self._now = moment


@dataclass(frozen=True, slots=True)
class Agency:
    """An agency that is set up: its settings, its database, and its outbox."""

    profile: Profile
    settings: settings.Settings
    engine: sa.Engine
    outbox: Outbox

    @property
    def slug(self) -> str:
        """Its name on the bus."""
        return self.profile.slug

    def publish(self, event: Event, *also: registers.RegisterEntry) -> Event:
        """Write the agency's own row and the event in one transaction, and return the issued event.

        Args:
            also: further rows of its own that belong to the same transaction.
        """
        with Session(self.engine) as session, session.begin():
            entry = registers.entry_of(event)
            if event.action is Action.RECORDED:
                session.add(entry)
            else:
                session.merge(entry)
            session.add_all(also)
            return self.outbox.publish(session, event)

    def publish_many(self, events: list[Event]) -> list[Event]:
        """Publish first revisions of many records in one transaction."""
        with Session(self.engine) as session, session.begin():
            session.add_all(map(registers.entry_of, events))
            return [each.event for each in self.outbox.publish_many(session, events)]

    def rows(self, query: sa.Executable) -> list[tuple[Any, ...]]:
        """The rows of a query on the agency's own database."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def query(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows of a query in SQL, with named values."""
        return self.rows(sa.text(query).bindparams(**values))


@dataclass(frozen=True, slots=True)
class DemoBus:
    """All agencies and their agreement.

    Attributes:
        bus: as the auditor reads it.
        operator: how the brokers' operator connects, who may do everything there.
    """

    agencies: Mapping[str, Agency]
    bus: Bus
    operator: Connection

    @property
    def agreements(self) -> Agreements:
        """Their agreements."""
        return self.bus.agreements

    @property
    def topics(self) -> list[Topic]:
        """The topics of the agreement."""
        return self.agreements.topics()

    def readers(self, topic: Topic) -> list[Agency]:
        """The agencies that materialise a topic: its readers without its owner."""
        names = (name for name in self.agreements.readers(topic) if name != topic.agency)
        return [self.agencies[name] for name in names]

    def history(self, event_type: str) -> sa.Table:
        """The table in which readers keep every revision of an event type."""
        return history(self.bus.catalog.newest(event_type)).record

    def close(self) -> None:
        """Close all connections."""
        for each in self.agencies.values():
            each.engine.dispose()


def establish(folder: Path, local: Local, clock: StoryClock) -> DemoBus:
    """Set up the three agencies on local services, ready for relays and materialisers."""
    founded = {each.slug: _found(folder, local, each) for each in PROFILES}  # 1
    audit = _found_auditor(folder / AUDITOR, local)
    owners = {slug: each.settings.parent for slug, each in founded.items()}
    owners[AUDITOR] = audit.parent
    operator_file = local.operator_settings
    _agree(folder / "banyuwangi.toml", founded, [*owners.values(), operator_file.parent])  # 2
    operator = provision(operator_file, owners)  # 3
    catalog = Catalog.shipped()
    agencies = {
        each.slug: _equip(each, founded[each.slug], catalog, clock) for each in PROFILES
    }  # 4
    auditor = settings.load(audit, environment={})
    return DemoBus(
        agencies, Bus(KafkaSource(auditor.connection()), auditor.agreements(), catalog), operator
    )


def _found(folder: Path, local: Local, profile: Profile) -> WrittenFiles:
    url = local.database(profile.slug.replace("-", "_"))
    plan = PlannedFiles(
        profile.slug,
        BUS,
        database=profile.database,
        producer=url,
        consumer=url,
        kafka=local.bootstrap,
        ca_file=local.ca_file,
    )
    return write_first_files(folder / profile.slug, plan)


def _found_auditor(folder: Path, local: Local) -> Path:
    """Write the auditor's settings, who has neither a database nor a private key."""
    for name in ("agreements", "passwords"):
        (folder / name).mkdir(parents=True)
    login = default_principal(AUDITOR, "auditor")
    kafka = {
        "bootstrap": local.bootstrap,
        "security": "SASL_SSL",
        "ca_file": "ca.pem",
        "username": login,
        "password_file": f"passwords/{login}.password",
    }
    (folder / kafka["ca_file"]).write_bytes(local.ca_file.read_bytes())
    file = folder / FILE_NAME
    file.write_text(tomli_w.dumps({"kafka": kafka}), encoding="utf-8")
    return file


def _equip(profile: Profile, founded: WrittenFiles, catalog: Catalog, clock: StoryClock) -> Agency:
    held = settings.load(founded.settings, environment={})
    agreements = held.agreements()
    read = {each.event_type for each in agreements.read_by(profile.slug)}
    migrate.upgrade(held.producer_database, migrate.Role.PRODUCER)
    migrate.upgrade(
        held.consumer_database, migrate.Role.CONSUMER, projections_of(catalog, sorted(read))
    )
    engine = sa.create_engine(held.producer_database, pool_size=10)
    registers.make(engine, [each.event_type for each in agreements.published_by(profile.slug)])
    return Agency(profile, held, engine, Outbox(profile.slug, agreements, catalog, clock))


def _agree(file: Path, founded: Mapping[str, WrittenFiles], readers: Iterable[Path]) -> None:
    """Let each agency sign the agreement, and give a copy to everybody who needs one."""
    file.write_text(tomli_w.dumps(_agreement(founded)), encoding="utf-8")
    (agreement,) = agreement_files.read([file])
    for slug, each in founded.items():
        agreement_files.sign(agreement, slug, each.settings.parent / "keys")
    for folder in readers:
        for path in (file, note_path(file)):
            shutil.copy(path, folder / "agreements")


def _agreement(founded: Mapping[str, WrittenFiles]) -> dict[str, object]:
    """The agreement (PKS) as a document: each party has the keys that were just made."""
    return {
        "bus": BUS,
        "title": "Kerja sama rekaan tiga instansi (a made-up agreement of three agencies)",
        "legal_basis": ["Undang-Undang Nomor 35 Tahun 2009 tentang Narkotika"],
        "numbers": [{"party": each.slug, "number": each.number} for each in PROFILES],
        "in_force": {"from": date(2025, 10, 23), "zone": "Asia/Jakarta"},
        "parties": {
            each.slug: {
                "name": each.name,
                "keys": [str(founded[each.slug].key)],
                "receipt_keys": [
                    {"database": each.database, "key": str(founded[each.slug].receipt_key)}
                ],
            }
            for each in PROFILES
        },
        "auditors": {AUDITOR: {"name": "Ombudsman Rekaan", "reads": sorted(_PUBLISHERS)}},
        "events": {
            name: {
                "publishers": publishers,
                "readers": _READERS[name],
                "purposes": _PURPOSES[name],
                "partitions": _PARTITIONS,
            }
            for name, publishers in _PUBLISHERS.items()
        },
    }
