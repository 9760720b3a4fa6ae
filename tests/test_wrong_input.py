"""Wrong input on the publishing side, as a table.

Each gives exit status 2, nothing on standard output, one clear line on standard error that says
what is wrong and how to mend it, and no traceback. Nothing is half done: no file of the agency's
folder is changed, made or lost, and its outbox holds no event.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import traceback
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, LiteralString

import pytest
import sqlalchemy as sa
import tomli_w

from agency_pair import transfer
from signed_agreement import write_signed
from sinergi.cli.root import run
from sinergi.settings.initialise import PlannedFiles, write_first_files
from sinergi.settings.model import variable
from sinergi.settings.settings import load
from sinergi_schemas import errors, postgresql
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql import connection as connections
from sinergi_schemas.seal.keys import SigningKey
from test_intake import HEADER, MAPPING, good
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Services

    Mistake = Callable[["AgencyFolder"], object]

BUS = "sinergi.rekaan.example"
NOWHERE = "127.0.0.1:1"
AWAY = f"postgresql://sdp@{NOWHERE}/sdp"


@dataclass
class AgencyFolder:
    """A publisher that has done everything right so far; its mistakes are made afterwards."""

    folder: Path
    slug: str
    server: sa.URL
    database: str
    kafka: str

    def __post_init__(self) -> None:
        plan = PlannedFiles(self.slug, BUS, producer=self.database, kafka=self.kafka)
        parties = [(self.slug, write_first_files(self.folder, plan))]
        parties.append(
            (
                "bnnk-rekaan",
                write_first_files(self.folder / "other", PlannedFiles("bnnk-rekaan", BUS)),
            )
        )
        (self.folder / "mapping.toml").write_text(tomli_w.dumps(MAPPING))
        (self.folder / "transfers.csv").write_text(f"{HEADER}\n{good('1')}\n{good('2')}\n")
        self.agreement: dict[str, Any] = {
            "bus": BUS,
            "title": "Rekaan",
            "legal_basis": ["Rekaan"],
            "numbers": [{"party": name, "number": "1"} for name, _ in parties],
            "in_force": {"from": SYSTEM.now().date() - timedelta(days=9), "zone": "Asia/Jakarta"},
            "parties": {
                name: {"name": name, "keys": [str(made.key)], "receipt_keys": []}
                for name, made in parties
            },
            "events": {
                "transfer": {
                    "publishers": [self.slug],
                    "readers": ["bnnk-rekaan"],
                    "purposes": ["STATISTICS"],
                    "partitions": 1,
                }
            },
        }
        self.agree()

    def agree(self, **changed: Any) -> None:
        """Write the agreement, with other values for some of its keys."""
        keys = [self.folder / self.key, self.folder / "other/keys/bnnk-rekaan.key"]
        path = self.folder / "agreements" / "pks.toml"
        write_signed(path, self.agreement | changed, map(SigningKey.load, keys))

    def agree_on(self, **changed: Any) -> None:
        """The same for what it says of transfers."""
        self.agree(events={"transfer": self.agreement["events"]["transfer"] | changed})

    def edit(self, file: str, old: str, new: str) -> None:
        """Mistype something in a file."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def write(self, file: str, data: bytes, mode: int = 0o600) -> None:
        """Put something else where a file should be."""
        (self.folder / file).write_bytes(data)
        (self.folder / file).chmod(mode)

    def remove(self, file: str) -> None:
        """Lose a file."""
        (self.folder / file).unlink()

    def lose_everything(self) -> None:
        """Stand in another folder."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    @property
    def key(self) -> str:
        """Where its key is."""
        return f"keys/{self.slug}.key"

    def files(self) -> dict[Path, tuple[int, bytes]]:
        """Everything in the folder as it stands."""
        paths = sorted(self.folder.rglob("*"))
        return {p: (p.stat().st_mode, p.read_bytes() if p.is_file() else b"") for p in paths}

    def events(self) -> int:
        """How many stand in the outbox."""
        return self._count("sinergi_producer.outbox")

    def waiting(self) -> int:
        """How many connections to its database wait for a lock."""
        lock = "wait_event_type = 'Lock' AND datname = current_database()"
        return self._count(f"pg_stat_activity WHERE {lock}")

    def _count(self, rows: LiteralString) -> int:
        with (
            closing(postgresql.Database(self.database, "a test")) as database,
            database.serving() as session,
        ):
            row = session.execute(f"SELECT count(*) FROM {rows}").fetchone()
        assert row
        return int(row[0])


@pytest.fixture
def make_agency(
    tmp_path: Path, kafka: str, services: Services, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], AgencyFolder]:
    """Founds an agency whose settings name a database; its programmer stands in its folder."""
    for name in [each for each in os.environ if each.startswith("SINERGI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sinergi.cli.relay.on_signals", threading.Event)
    monkeypatch.setitem(connections.DEFAULTS, "connect_timeout", 2)
    monkeypatch.setenv(variable("timeouts.kafka.answer"), "2")
    monkeypatch.chdir(tmp_path)
    slug = f"lapas-{secrets.token_hex(4)}"
    return lambda url: AgencyFolder(tmp_path, slug, sa.make_url(services.postgresql), url, kafka)


def fails(agency: AgencyFolder, line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that has to fail as every one of them should; what it says."""
    before = agency.files()
    capsys.readouterr()
    assert run([word.replace("AGENCY", agency.slug) for word in line.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert "this is a bug" not in err
    assert agency.files() == before
    return " ".join(err.replace("│", " ").split())


# Without a database that answers: the mistake, the command, and what must be said of it.

INIT = f"init --agency lapas-baru --bus {BUS} --folder new"
PUBLISH = "publish transfers.csv --mapping mapping.toml"


def nothing(_: AgencyFolder) -> None:
    """The command line itself is the mistake."""


SAID: dict[str, tuple[Mistake, str, str]] = {
    # init
    "no agency": (nothing, "init --bus x.example", "Missing option '--agency'"),
    "agency in capitals": (nothing, "init --agency Lapas --bus b", "'Lapas' cannot name an agency"),
    "bus with a mark": (nothing, "init --agency a --bus Bus!", "'Bus!' cannot name a bus"),
    "database name": (nothing, f"{INIT} --name ../up", "'../up' cannot name a database"),
    "no URL": (nothing, f"{INIT} --database sdp", "is no PostgreSQL URL"),
    "another product": (nothing, f"{INIT} --database mysql://a/b", "is no PostgreSQL URL"),
    "port in words": (nothing, f"{INIT} --database postgresql://a:b/c", "its port is no number"),
    "broker's web address": (nothing, f"{INIT} --kafka http://kafka:9092", "write host:port, as"),
    "driver of another library": (
        nothing,
        f"{INIT} --database postgresql+psycopg2://sdp@localhost/sdp",
        "write postgresql+psycopg, not postgresql+psycopg2",
    ),
    "broker's port": (nothing, f"{INIT} --kafka host:port", "write host:port, as"),
    "folder is a file": (
        nothing,
        f"{INIT} --folder transfers.csv",
        "transfers.csv is there already, and is no folder",
    ),
    "folder under a file": (nothing, f"{INIT} --folder transfers.csv/x", "Not a directory"),
    "folder not writable": (nothing, f"{INIT} --folder /proc/none", "Nothing was written"),
    "founded twice": (
        nothing,
        f"init --agency AGENCY --bus {BUS}",
        "keys show` prints the public keys again. Nothing was written.",
    ),
    "key there": (
        lambda agency: agency.remove("sinergi.toml"),
        f"init --agency AGENCY --bus {BUS}",
        ".key is there already",
    ),
    # settings
    "no such file": (
        nothing,
        "--config none.toml relay",
        "none.toml: cannot be read (No such file",
    ),
    "a folder": (nothing, "--config agreements relay", "(Is a directory); name a file in it"),
    "not TOML": (
        lambda agency: agency.edit("sinergi.toml", '"agreements"', "agreements"),
        "outbox list",
        "sinergi.toml: it is not TOML",
    ),
    "mistyped key": (
        lambda agency: agency.edit("sinergi.toml", "bootstrap", "bootstap"),
        "provision plan",
        "there is no such key; did you mean bootstrap?",
    ),
    "mistyped flag": (nothing, "--set agencyx relay", "'agencyx' is not KEY=VALUE"),
    "no settings at all": (
        lambda agency: agency.remove("sinergi.toml"),
        "outbox list",
        "there is no sinergi.toml here: `sinergi init` writes one",
    ),
    "no settings, no agreements": (
        lambda agency: agency.lose_everything(),
        "relay",
        "kafka.bootstrap: is not set",
    ),
    # agreements and keys
    "no agreement": (
        lambda agency: agency.remove("agreements/pks.toml"),
        "relay",
        "contains no agreement; put the parties' *.toml files there",
    ),
    "agreement incomplete": (
        lambda agency: agency.edit("agreements/pks.toml", "partitions = 1", "partitions = 0"),
        "provision apply",
        "partitions: must be at least 1",
    ),
    "agreement of another bus": (
        lambda agency: agency.edit("sinergi.toml", BUS, "other.example"),
        "provision plan",
        f"but the agreements in agreements are of {BUS}",
    ),
    "unknown agency": (nothing, "--set agency=nobody relay", "nobody is party to no agreement"),
    "status of an unknown agency": (
        nothing,
        "--set agency=nobody status",
        "nobody is party to no agreement",
    ),
    "key readable by others": (
        lambda agency: (agency.folder / agency.key).chmod(0o644),
        "relay",
        "other users may read or write the file; run `chmod 600",
    ),
    "key lost": (
        lambda agency: agency.remove(agency.key),
        "relay",
        "checkpoint key is not in keys",
    ),
    "key not text": (
        lambda agency: agency.write(agency.key, bytes(range(128, 200))),
        "relay",
        "the file is not text",
    ),
    "key of another": (
        lambda agency: agency.write(
            agency.key, (agency.folder / "other/keys/bnnk-rekaan.key").read_bytes()
        ),
        "relay",
        ".key holds sinergi.rekaan.example/bnnk-rekaan+",
    ),
    # brokers
    "broker down": (nothing, f"--set kafka.bootstrap={NOWHERE} provision apply", "do not answer"),
    # databases
    "db without a role": (nothing, "db upgrade", "Missing option '--role'"),
    "db with another role": (nothing, "db upgrade --role boss", "'producer', 'consumer'"),
    "db no URL": (nothing, "db upgrade --role producer --database sdp", "is no PostgreSQL URL"),
    "db down": (nothing, "db upgrade --role producer", "Connection refused"),
    "db down, listing": (nothing, "outbox list", "Connection refused"),
    "limit": (nothing, "outbox list --limit 0", "greater than or equal to 1"),
    "mistyped command": (nothing, "outbox lst", "Did you mean 'list'?"),
    # files
    "no file": (nothing, "publish none.csv -m mapping.toml", "none.csv cannot be published"),
    "file is a folder": (nothing, "publish . -m mapping.toml", "it is not a regular file"),
    "no mapping": (nothing, "publish transfers.csv -m none.toml", "none.toml cannot be used"),
    "mapping is the file": (nothing, "publish transfers.csv -m transfers.csv", "it is not TOML"),
    "no mapping named": (nothing, "publish transfers.csv", "Missing option '--mapping'"),
    "wrong column": (
        lambda agency: agency.edit("mapping.toml", "Tujuan", "Tujaun"),
        PUBLISH,
        "column 'Tujaun' is not in the header of the file; did you mean Tujuan?",
    ),
    "wrong field": (
        lambda agency: agency.edit("mapping.toml", "departed_at", "departd_at"),
        PUBLISH,
        "Transfer has no such field; did you mean departed_at?",
    ),
    "wrong event type": (
        lambda agency: agency.edit("mapping.toml", '"transfer"', '"tranfer"'),
        PUBLISH,
        "there is no such type; did you mean transfer?",
    ),
    "wrong code": (
        lambda agency: agency.edit("mapping.toml", "STATISTICS", "CURIOSITY"),
        PUBLISH,
        "'CURIOSITY' is not a code of this field",
    ),
    "empty file": (
        lambda agency: agency.write("transfers.csv", b""),
        PUBLISH,
        "line 1 is the header, and the file ends with line 0",
    ),
    "no text": (
        lambda agency: agency.write("transfers.csv", b"a\0b\n\xff\xfe\n"),
        PUBLISH,
        "line 1 should be the header, but a NUL character",
    ),
    "refused lines nowhere": (nothing, f"{PUBLISH} --refused no/x", "no/x cannot be written"),
    "refused lines on the file": (
        nothing,
        f"{PUBLISH} --refused transfers.csv",
        "the refused lines would replace it",
    ),
    "database down": (nothing, PUBLISH, "Nothing of transfers.csv was published"),
}


@pytest.mark.parametrize("mistake", SAID)
def test_a_mistake_is_told_in_one_clear_line_and_nothing_is_done(
    mistake: str, make_agency: Callable[[str], AgencyFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    make, line, said = SAID[mistake]
    agency = make_agency(AWAY)
    make(agency)
    assert said in fails(agency, line, capsys)


# A database that answers, and does not serve


@pytest.fixture
def bare(services: Services) -> Iterator[sa.URL]:
    """A database that `sinergi db upgrade` has never seen."""
    url = sa.make_url(services.postgresql).set(drivername="postgresql+psycopg")
    name = f"bare_{secrets.token_hex(5)}"
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield url.set(database=name)
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def text(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)


def test_a_database_that_does_not_serve_is_named_with_its_reason(
    bare: sa.URL, make_agency: Callable[[str], AgencyFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    agency = make_agency(text(bare))
    unprepared = "Run `sinergi db upgrade --role producer`"
    for command in ("outbox list", PUBLISH, "relay"):
        assert unprepared in fails(agency, command, capsys)
    wrong = text(bare.set(password="wrong"))  # noqa: S106 - it opens nothing
    none = text(bare.set(database="none"))
    nowhere = text(bare.set(host="no-such-host.invalid"))
    for command in ("outbox list", PUBLISH, "db upgrade --role producer"):
        said = fails(agency, f"--set producer.database={wrong} {command}", capsys)
        assert said.startswith("sinergi: The database refuses the login (") or command == PUBLISH
        assert "password authentication failed" in said
        assert "wrong" not in said.replace("password authentication failed", "")
        said = fails(agency, f"--set producer.database={none} {command}", capsys)
        assert said.startswith("sinergi: The server has no such database (") or command == PUBLISH
        assert 'database "none" does not exist' in said
        said = fails(agency, f"--set producer.database={nowhere} {command}", capsys)
        assert (
            said.startswith("sinergi: The host of the database is unknown (") or command == PUBLISH
        )
        assert "its address, given by --set producer.database." in said or command == PUBLISH


def test_a_refused_database_is_told_with_its_setting_and_file(
    make_agency: Callable[[str], AgencyFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails(make_agency(AWAY), "outbox list", capsys)
    assert "its address, given by producer.database in sinergi.toml." in said


def test_a_server_that_takes_the_call_and_says_nothing_is_not_waited_for(
    make_agency: Callable[[str], AgencyFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        agency = make_agency(f"postgresql://sdp@127.0.0.1:{silent.getsockname()[1]}/sdp")
        assert "timeout" in fails(agency, "db upgrade --role producer", capsys)


def test_an_agreement_that_is_out_of_force_lets_nothing_be_published(
    postgresql: str, make_agency: Callable[[str], AgencyFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    agency = make_agency(postgresql)
    agency.agree(in_force={"from": date(2020, 1, 1), "until": date(2020, 2, 1), "zone": "UTC"})
    said = fails(agency, PUBLISH, capsys)
    assert f"No agreement in force covers sinergi.{agency.slug}.transfer" in said
    assert "pks.toml was in force until 2020-02-02 00:00+00:00" in said
    assert agency.events() == 0


# In the application


def test_no_error_of_the_outbox_quotes_the_event(
    bare: sa.URL, make_agency: Callable[[str], AgencyFolder]
) -> None:
    agency = make_agency(text(bare))
    outbox = load(agency.folder / "sinergi.toml").outbox()
    event = transfer("MUT/1", purpose="STATISTICS", destination={"name": "Contoh Rahasia"})
    engine = sa.create_engine(bare, poolclass=sa.NullPool)
    with engine.connect() as connection, pytest.raises(errors.TablesMissing) as missing:
        outbox.publish(connection, event)
    assert "Contoh" not in "".join(traceback.format_exception(missing.value))
    assert run(["db", "upgrade", "--role", "producer"]) == 0
    user = f"app_{secrets.token_hex(4)}"
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {user}"))
    with engine.connect() as connection:
        connection.execute(sa.text(f"SET ROLE {user}"))
        with pytest.raises(errors.DatabaseBroken, match="permission denied") as forbidden:
            outbox.publish(connection, event)
    assert "Contoh" not in "".join(traceback.format_exception(forbidden.value))
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP ROLE {user}"))
    assert agency.events() == 0


def test_a_purpose_that_is_not_agreed_is_refused(
    postgresql: str, make_agency: Callable[[str], AgencyFolder]
) -> None:
    agency = make_agency(postgresql)
    outbox = load(agency.folder / "sinergi.toml").outbox()
    engine = sa.create_engine(postgresql, poolclass=sa.NullPool)
    with engine.begin() as connection:
        with pytest.raises(errors.EventRefused, match="shares this event type for STATISTICS only"):
            outbox.publish(connection, transfer("MUT/1", purpose="INVESTIGATION"))
        outbox.publish(connection, transfer("MUT/1", purpose="STATISTICS"))
    assert agency.events() == 1


# In the middle


@pytest.mark.long
def test_ctrl_c_while_a_file_is_published_leaves_whole_batches_and_a_second_run_completes_it(
    postgresql: str, make_agency: Callable[[str], AgencyFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    agency = make_agency(postgresql)
    lines = [good(str(number)) for number in range(1, 3_001)]
    agency.write("transfers.csv", "\n".join([HEADER, *lines, ""]).encode())
    before = agency.files()
    command = [sys.executable, "-m", "sinergi", *PUBLISH.split()]
    with (
        sa.create_engine(agency.database, poolclass=sa.NullPool).connect() as other,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        # The third batch waits for a record that somebody else is about to publish.
        other.execute(
            sa.text("INSERT INTO sinergi_producer.head VALUES ('transfer', '2500', 1, 'RECORDED')")
        )
        until(lambda: agency.events() == 2_000, "two batches are in the outbox")
        until(lambda: agency.waiting() == 1, "the third waits")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    said = "transfers.csv is published up to line 2001; the same command goes on from there"
    assert (process.returncode, out, err) == (130, "", f"sinergi: {said}\nsinergi: stopped\n")
    assert agency.events() == 2_000
    assert agency.files() == before
    assert run(PUBLISH.split()) == 0
    assert run(PUBLISH.split()) == 0  # and a third finds everything there
    assert f"{len(lines):,}" in capsys.readouterr().out
    assert agency.events() == len(lines)


def test_provision_says_what_is_odd_about_the_agreements(
    make_agency: Callable[[str], AgencyFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    agency = make_agency(AWAY)
    terms = agency.agreement["events"]["transfer"]
    agency.agree(events={"transfers": terms})
    assert run(["provision", "plan"]) == 2
    said = capsys.readouterr().err
    assert "transfers is no event type of this version, so nobody can publish it" in said
    assert "did you mean transfer?" in said
    agency.agree(in_force={"from": date(2020, 1, 1), "until": date(2020, 2, 1), "zone": "UTC"})
    assert run(["--set", "provision.open_brokers=true", "provision", "plan"]) == 0
    said = capsys.readouterr().err
    assert "no agreement is in force now, so no topic is wanted" in said
    assert "pks.toml was in force until 2020-02-02 00:00+00:00" in said
