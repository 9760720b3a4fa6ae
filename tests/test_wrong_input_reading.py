"""Wrong input on the reading side, as a table: settings, keys, databases, brokers, folders.

Where nothing can be done: exit status 2, nothing on standard output, one clear line that says what
is wrong and how to mend it, no traceback, and no file changed, made or lost. Where the cause may
pass by itself, `materialise` waits and says for what.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from agency_pair import running
from signed_agreement import write_signed
from sinergi.cli import materialise
from sinergi.cli.root import run
from sinergi.settings.initialise import PlannedFiles, write_first_files
from sinergi.settings.settings import load
from sinergi_consumers.materialise.factory import build_materialiser
from sinergi_consumers.testing.sinks import transfer
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql import connection as connections
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.topics import Topic
from test_projection import Database, own
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    import polars as pl

    from conftest import Services

    Mistake = Callable[["ReaderFolder"], object]

BUS = "sinergi.rekaan.example"
NOWHERE = "127.0.0.1:1"
AWAY = f"postgresql://bnnk@{NOWHERE}/bnnk"


@dataclass
class ReaderFolder:
    """An agency that reads and has done everything right so far; mistakes are made afterwards."""

    folder: Path
    slug: str
    publisher: str
    database: str
    kafka: str

    def __post_init__(self) -> None:
        plan = PlannedFiles(self.slug, BUS, consumer=self.database, kafka=self.kafka)
        us, them = (
            write_first_files(self.folder, plan),
            write_first_files(self.folder / "other", PlannedFiles(self.publisher, BUS)),
        )
        receipts = [{"database": "main", "key": str(us.receipt_key)}]
        agreement = {
            "bus": BUS,
            "title": "Rekaan",
            "legal_basis": ["Rekaan"],
            "numbers": [{"party": each, "number": "1"} for each in (self.slug, self.publisher)],
            "in_force": {"from": SYSTEM.now().date(), "zone": "UTC"},
            "parties": {
                self.slug: {"name": "Us", "keys": [str(us.key)], "receipt_keys": receipts},
                self.publisher: {"name": "They", "keys": [str(them.key)], "receipt_keys": []},
            },
            "events": {
                "transfer": {
                    "publishers": [self.publisher],
                    "readers": [self.slug],
                    "purposes": ["STATISTICS"],
                    "partitions": 1,
                }
            },
        }
        keys = (f"keys/{self.slug}.key", f"other/keys/{self.publisher}.key")
        signing = [SigningKey.load(self.folder / each) for each in keys]
        write_signed(self.folder / "agreements/pks.toml", agreement, signing)

    @property
    def receipt_key(self) -> Path:
        return self.folder / "keys" / f"{self.slug}.main.receipts.key"

    def write(self, file: str, data: bytes) -> None:
        """Put something else where a file should be."""
        (self.folder / file).write_bytes(data)

    def files(self) -> dict[Path, tuple[int, bytes]]:
        """Everything in the folder as it stands."""
        paths = sorted(self.folder.rglob("*"))
        return {p: (p.stat().st_mode, p.read_bytes() if p.is_file() else b"") for p in paths}


@pytest.fixture
def make_reader(
    tmp_path: Path, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], ReaderFolder]:
    """Founds an agency whose settings name a database; its programmer stands in its folder."""
    for name in [each for each in os.environ if each.startswith("SINERGI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setitem(connections.DEFAULTS, "connect_timeout", 2)
    monkeypatch.chdir(tmp_path)
    suffix = secrets.token_hex(4)
    return lambda url: ReaderFolder(tmp_path, f"bnnk-{suffix}", f"lapas-{suffix}", url, kafka)


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


@pytest.fixture
def nobody(bare: sa.URL) -> Iterator[sa.URL]:
    """A user of that database who has no right in it but to look."""
    name = f"nobody_{secrets.token_hex(5)}"
    engine = sa.create_engine(bare, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN PASSWORD 'rekaan'"))
    yield bare.set(username=name, password="rekaan")  # noqa: S106 - it opens nothing
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP OWNED BY {name}"))
        connection.execute(sa.text(f"DROP ROLE {name}"))


def fails(reader: ReaderFolder, line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that has to fail as every one of them should; what it says."""
    before = reader.files()
    capsys.readouterr()
    assert run(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert "this is a bug" not in err
    assert reader.files() == before
    return " ".join(err.replace("│", " ").split())


def text(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)


# Without a database that answers: the mistake, the command, and what must be said of it


def nothing(_: ReaderFolder) -> None:
    """The command line itself is the mistake."""


UPGRADE = "db upgrade --role consumer"
SAID: dict[str, tuple[Mistake, str, str]] = {
    # materialise
    "a word too many": (nothing, "materialise now", "unexpected extra argument"),
    "no such file": (
        nothing,
        "--config none.toml materialise",
        "none.toml: cannot be read (No such file",
    ),
    "settings not TOML": (
        lambda reader: reader.write("sinergi.toml", b'agency = "x'),
        "materialise",
        "sinergi.toml: it is not TOML",
    ),
    "settings not text": (
        lambda reader: reader.write("sinergi.toml", b"\xff\xfe"),
        "materialise",
        "sinergi.toml: byte 0 is not UTF-8",
    ),
    "mistyped setting": (
        nothing,
        "--set consumer.databse=x materialise",
        "there is no such key; did you mean consumer.database?",
    ),
    "no broker": (nothing, "--set kafka.bootstrap= materialise", "kafka.bootstrap"),
    "no agreement": (
        lambda reader: (reader.folder / "agreements" / "pks.toml").unlink(),
        "materialise",
        "contains no agreement; put the parties' *.toml files there",
    ),
    "an agency that may read nothing": (
        lambda reader: reader.write("sinergi.toml", _settings_of(reader, reader.publisher)),
        "materialise",
        "read nothing. Ask the parties for one that names it",
    ),
    "key lost": (
        lambda reader: reader.receipt_key.unlink(),
        "materialise",
        "the receipt key of database main is not in keys",
    ),
    "key of another name": (
        nothing,
        "--set consumer.name=other materialise",
        "database other; they name main",
    ),
    "key readable by others": (
        lambda reader: reader.receipt_key.chmod(0o644),
        "materialise",
        "other users may read or write the file; run `chmod 600",
    ),
    "key damaged": (
        lambda reader: reader.receipt_key.write_text("x"),
        "materialise",
        "the text does not begin with PRIVATE+KEY+",
    ),
    # db upgrade
    "another role": (nothing, "db upgrade --role reader", "'producer', 'consumer'"),
    "no URL": (nothing, f"{UPGRADE} --database bnnk", "is no PostgreSQL URL"),
    "another product": (nothing, f"{UPGRADE} --database mysql://a/b", "is no PostgreSQL URL"),
    "database down": (nothing, UPGRADE, "Connection refused"),
    # local
    "local, mistyped": (nothing, "local upp", "Did you mean 'up'?"),
    "local in a file": (nothing, "local up --folder sinergi.toml", "sinergi.toml"),
    "local under a file": (nothing, "local up --folder sinergi.toml/x", "sinergi.toml/x"),
    "local not writable": (nothing, "local up --folder /proc/none", "/proc/none"),
    "local, status of nothing": (nothing, "local status", "sinergi local up"),
    "local, down of nothing": (nothing, "local down", "sinergi local up"),
    "local, state damaged": (
        lambda reader: reader.write("state.json", b"{"),
        "local status --folder .",
        "its state.json is damaged",
    ),
    # demo
    "demo, a word too many": (nothing, "demo now", "unexpected extra argument"),
    "demo, mistyped": (nothing, "demo --kep x", "No such option: --kep"),
    "demo in a full folder": (nothing, "demo --keep keys", "it is not empty"),
    "demo in a file": (nothing, "demo --keep sinergi.toml", "sinergi.toml"),
    "demo not writable": (nothing, "demo --keep /proc/none", "/proc/none"),
}


def _settings_of(reader: ReaderFolder, agency: str) -> bytes:
    return (
        (reader.folder / "sinergi.toml").read_bytes().replace(reader.slug.encode(), agency.encode())
    )


@pytest.mark.parametrize("mistake", SAID)
def test_a_mistake_is_told_in_one_clear_line_and_nothing_is_done(
    mistake: str, make_reader: Callable[[str], ReaderFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    make, line, said = SAID[mistake]
    reader = make_reader(AWAY)
    make(reader)
    assert said in fails(reader, line, capsys)


# A database that answers, and is not ready


def test_a_database_without_tables_names_the_first_and_the_command_that_makes_them(
    bare: sa.URL, make_reader: Callable[[str], ReaderFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    reader = make_reader(text(bare))
    wanted = "is not in the database. Run `sinergi db upgrade --role consumer` as its owner."
    assert wanted in fails(reader, "materialise", capsys)
    assert run(["db", "upgrade", "--role", "consumer"]) == 0
    with sa.create_engine(bare, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text("ALTER TABLE sinergi.transfer DROP COLUMN reason"))
    said = fails(reader, "materialise", capsys)
    assert f"sinergi: sinergi.transfer.reason {wanted}" in said


def test_a_user_without_rights_is_told_which_right_is_missing(
    bare: sa.URL,
    nobody: sa.URL,
    make_reader: Callable[[str], ReaderFolder],
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader = make_reader(text(nobody))
    assert "permission denied for database" in fails(reader, UPGRADE, capsys)
    assert run([*UPGRADE.split(), "--database", text(bare)]) == 0
    said = fails(reader, "materialise", capsys)
    assert f"The database user {nobody.username} lacks USAGE on schema sinergi_consumer" in said


def test_an_upgrade_names_the_reason_for_which_the_database_does_not_serve(
    bare: sa.URL, make_reader: Callable[[str], ReaderFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    reader = make_reader(text(bare))
    wrong = text(bare.set(password="wrong"))  # noqa: S106 - it opens nothing
    said = fails(reader, f"{UPGRADE} --database {wrong}", capsys)
    assert "password authentication failed" in said
    assert "wrong" not in said.replace("password authentication failed", "")
    none = text(bare.set(database="none"))
    assert 'database "none" does not exist' in fails(reader, f"{UPGRADE} --database {none}", capsys)


# A projection that fails


def test_a_projection_that_raises_is_logged_with_the_line_of_its_own_code(postgresql: str) -> None:
    def rows(_: pl.DataFrame) -> pl.DataFrame:
        raise KeyError("Contoh Rahasia")

    database, tape = Database(postgresql, own(rows)), Tape(BUS, Topic("lapas-rekaan", "transfer"))
    with capture_logs() as said:
        database.take(tape, tape.write([transfer("P/1"), transfer("P/2")]))
    (told,) = [each for each in said if each["event"] == "events quarantined"]
    assert (told["projection"], told["reason"], told["events"]) == ("own", "projection-failed", 2)
    place = f"{Path(__file__).name}:{rows.__code__.co_firstlineno + 1}"
    assert f"failed on an event: KeyError in {place}." in told["first"]
    assert "Contoh" not in str(said)


# What may pass by itself is waited for


Said = list["MutableMapping[str, object]"]


@contextmanager
def waiting(reader: ReaderFolder, **flags: str) -> Iterator[Said]:
    """A materialiser with other settings while the block lasts; what it logs."""
    changed = {key.replace("__", "."): value for key, value in flags.items()}
    settings = load(reader.folder / "sinergi.toml", changed)
    with (
        capture_logs() as said,
        running(
            lambda stopping: build_materialiser(materialise.setup_of(settings), stopping).run(
                stopping
            )
        ),
    ):
        yield said


def begun(engine: sa.Engine) -> int:
    """How many positions have begun."""
    with engine.connect() as connection:
        question = sa.text("SELECT count(*) FROM sinergi_consumer.position")
        return int(connection.execute(question).scalar_one())


def until_said(said: Said, words: str) -> None:
    until(lambda: any(words in str(each) for each in said), f"{words} in {said}")


def test_it_waits_for_a_database_that_does_not_let_it_in_and_says_why(
    bare: sa.URL, make_reader: Callable[[str], ReaderFolder]
) -> None:
    reader = make_reader(text(bare))
    wrong = text(bare.set(password="wrong"))  # noqa: S106 - it opens nothing
    for url, why in ((wrong, "password authentication failed"), (AWAY, "Connection refused")):
        with waiting(reader, consumer__database=url) as said:
            until_said(said, why)
        assert "not started yet" in {each["event"] for each in said}


@pytest.mark.long
def test_it_waits_for_brokers_and_says_that_they_do_not_answer(
    postgresql: str, make_reader: Callable[[str], ReaderFolder]
) -> None:
    reader = make_reader(postgresql)
    assert run(UPGRADE.split()) == 0
    with waiting(reader, kafka__bootstrap=NOWHERE) as said:
        until_said(said, "The brokers do not answer")


def test_a_topic_that_is_not_there_is_named_and_read_as_soon_as_it_is(
    postgresql: str, make_reader: Callable[[str], ReaderFolder]
) -> None:
    reader = make_reader(postgresql)
    assert run(UPGRADE.split()) == 0
    with waiting(reader) as said:
        until_said(said, f"sinergi.{reader.publisher}.transfer")
        assert "topic not there yet" in {each["event"] for each in said}
        assert run(["--set", "provision.open_brokers=true", "provision", "apply"]) == 0
        engine = sa.create_engine(postgresql, poolclass=sa.NullPool)
        until(lambda: begun(engine) > 0, "the share is claimed")
