"""Every command accepts each form of database address that PostgreSQL's own tools accept."""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from agency_pair import AgencyPair, transfer
from sinergi import migrate
from sinergi.cli.root import run
from sinergi.settings.settings import load
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database
from sinergi_schemas.postgresql.address import DatabaseAddress, beside, conninfo, masked
from sinergi_schemas.postgresql.engine import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Services

NAME = "gudang data é'\\%"


@pytest.fixture
def login(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServerLogin]:
    """A database and a user whose names and password have characters of every kind."""
    made = ServerLogin(services.postgresql, f"clerk {secrets.token_hex(3)}", "p/s@s:w#r d%'\\é")
    with psycopg.connect(conninfo(services.postgresql), autocommit=True) as server:
        server.execute(
            f"CREATE ROLE \"{made.user}\" SUPERUSER LOGIN PASSWORD '{made.quoted}'".encode()
        )
        server.execute(f'CREATE DATABASE "{made.database}"'.encode())
        (tmp_path / "services.conf").write_text(
            f"[register]\nhost={made.host}\nport={made.port}\ndbname={made.database}\n"
            f"user={made.user}\n"
        )
        secret = tmp_path / "passwords"
        password = made.password.replace("\\", "\\\\").replace(":", "\\:")
        secret.write_text(f"*:*:*:*:{password}\n")
        secret.chmod(0o600)
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services.conf"))
        monkeypatch.setenv("PGPASSFILE", str(secret))
        yield made
        server.execute(f'DROP DATABASE "{made.database}" WITH (FORCE)'.encode())
        server.execute(f'DROP ROLE "{made.user}"'.encode())


class ServerLogin:
    def __init__(self, server: str, user: str, password: str) -> None:
        place = sa.make_url(server)
        self.host, self.port = str(place.host), int(place.port or 5432)
        self.user, self.password = user, password
        self.database = f"{NAME} {secrets.token_hex(3)}"

    @property
    def quoted(self) -> str:
        return self.password.replace("'", "''")

    def written(self, form: str) -> str:
        """The address in a form, with everything that has to be quoted there."""
        values = {
            "host": self.host,
            "port": str(self.port),
            "away": "1",
            "user": self.user,
            "password": self.password,
            "database": self.database,
        }
        if "://" in form:
            return form.format(**{name: quote(value, safe="") for name, value in values.items()})
        escaped = {n: v.replace("\\", "\\\\").replace("'", "\\'") for n, v in values.items()}
        return form.format(**escaped)


FORMS = {
    "a URI": "postgresql://{user}:{password}@{host}:{port}/{database}",
    "the short scheme": "postgres://{user}:{password}@{host}:{port}/{database}",
    "SQLAlchemy's": "postgresql+psycopg://{user}:{password}@{host}:{port}/{database}",
    "parameters alone": (
        "postgresql:///?host={host}&port={port}&dbname={database}&user={user}&password={password}"
    ),
    "options with spaces": (
        "postgresql://{user}:{password}@{host}:{port}/{database}"
        "?options=-c%20search_path%3Dpublic%20-c%20application_name%3Dtheirs"
    ),
    "several hosts": (
        "postgresql://{user}:{password}@{host}:{away},{host}:{port}/{database}"
        "?target_session_attrs=read-write&connect_timeout=5"
    ),
    "several hosts of SQLAlchemy's": (
        "postgresql+psycopg://{user}:{password}@/{database}?host={host}:{away}&host={host}:{port}"
    ),
    "a primary": (
        "postgresql://{user}:{password}@{host}:{port}/{database}?target_session_attrs=primary"
    ),
    "a password file": "postgresql://{user}@{host}:{port}/{database}",
    "a service": "postgresql://?service=register",
    "key and value": (
        "host={host} port={port} dbname='{database}' user='{user}' password='{password}'"
    ),
    "a service by key and value": "service=register",
    "no encryption asked for": (
        "postgresql://{user}:{password}@{host}:{port}/{database}?sslmode=prefer&gssencmode=disable"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_address_is_taken_as_psql_takes_it(login: ServerLogin, form: str) -> None:
    url = login.written(FORMS[form])
    with closing(Database(url, "a test")) as database, database.serving() as connection:
        found = connection.execute("SELECT current_database(), session_user").fetchone()
        assert found == (login.database, login.user)
    with engine(url, "a test") as opened, opened.begin() as begun:
        assert begun.exec_driver_sql("SELECT current_database()").scalar() == login.database
    settings = load(None, {"producer.database": url, "consumer.database": url}, {})
    assert settings.producer_database == settings.consumer_database == url
    for each in settings.entries():
        assert login.password not in str(each.value)
        assert quote(login.password, safe="") not in str(each.value)
    assert login.password not in masked(url)


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.mark.long
@pytest.mark.parametrize("form", ["several hosts", "options with spaces", "a service"])
def test_every_command_takes_the_same_address(
    login: ServerLogin, form: str, pair: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    url = login.written(FORMS[form])
    for role in migrate.Role:
        assert run(["db", "upgrade", "--role", role.value, "--database", url]) == 0
    pair.producer = pair.consumer = sa.create_engine(
        "postgresql+psycopg://",
        poolclass=sa.NullPool,
        creator=lambda: psycopg.connect(conninfo(url)),
    )
    pair.producer_url = pair.consumer_url = url
    with pair.relaying(), pair.materialising():
        pair.publish(transfer("P/1"))
        pair.until_rows("sinergi.transfer_history", 1)
    for settings, command in (
        (pair.agency_settings, ["status"]),
        (pair.reader_settings, ["status"]),
        (pair.agency_settings, ["outbox", "list"]),
        (pair.agency_settings, ["outbox", "recover"]),
        (pair.reader_settings, ["quarantine", "list"]),
        (pair.agency_settings, ["settings"]),
    ):
        assert run(["--config", str(settings), *command]) in (0, 1), command
        said = capsys.readouterr()
        assert "is away" not in said.out, command
        assert "Traceback" not in said.err, command
        assert login.password not in said.out + said.err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://x/y", "no PostgreSQL URL"),
        ("register", "no PostgreSQL URL"),
        ("postgresql://a:geheim@h:x/d", "port is no number"),
        ("postgresql://a:geheim@h:0/d", "port is no number"),
        ("postgresql://a:geheim@h:65536/d", "port is no number"),
        ("postgresql://a:geheim@h:1,i:x/d", "port is no number"),
        ("postgresql+psycopg://a:geheim@h:x/d", "port is no number"),
        ("postgresql://a:ge/heim@h/d", "has an @ after a /"),
        ("postgresql://a@h/d?passwrd=geheim", "cannot be read"),
        ("host=h password=geheim nonsense", "cannot be read"),
        ("hst=geheim", "cannot be read"),
        ("postgresql+psycopg://", None),
        ("postgresql://", None),
    ],
)
def test_what_is_no_address_is_refused_without_quoting_it(url: str, said: str | None) -> None:
    if said is None:
        assert conninfo(url) == ""
        return
    with pytest.raises(ValueError, match=said) as caught:
        conninfo(url)
    assert "heim" not in str(caught.value)
    assert "heim" not in masked(url)
    with pytest.raises(errors.SettingsRefused, match=said) as refused:
        load(None, {"producer.database": url}, {}).producer_database  # noqa: B018 - it is refused
    assert "heim" not in str(refused.value)


def test_an_empty_text_is_no_address_and_an_empty_setting_is_told_as_such() -> None:
    with pytest.raises(ValueError, match="no PostgreSQL URL"):
        conninfo("")
    with pytest.raises(errors.SettingsRefused, match=r"producer\.database: it is empty"):
        load(None, {"producer.database": ""}, {})


SECRET = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=6, max_size=20)


@given(SECRET)
def test_no_password_is_shown_whatever_it_is(secret: str) -> None:
    word = f"geheim{secret}"
    key_value = word.replace("\\", "\\\\").replace("'", "\\'")
    encoded = quote(word, safe="")
    for url in (
        f"postgresql://u:{encoded}@h/d",
        f"postgresql://h/d?user=u&password={encoded}",
        f"postgresql+psycopg://u:{encoded}@h/d?sslmode=prefer",
        f"host=h password='{key_value}' dbname=d",
        f"postgresql://u:{word}@h/d",
        f"postgresql+psycopg://u:{word}@h/d",
    ):
        assert "geheim" not in masked(url), url
    assert conninfo_to_dict(conninfo(f"postgresql://u:{encoded}@h/d"))["password"] == word
    assert conninfo_to_dict(conninfo(f"host=h password='{key_value}'"))["password"] == word


def test_files_in_an_address_of_the_settings_file_are_relative_to_that_file(
    login: ServerLogin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSFILE")
    place = f"{login.host}:{login.port}/{quote(login.database, safe='')}"
    url = f"postgresql://{quote(login.user)}@{place}?passfile=passwords"
    (tmp_path / "sinergi.toml").write_text(f"[producer]\ndatabase = '{url}'\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    address = load(tmp_path / "sinergi.toml", environment={}).producer_database
    assert conninfo_to_dict(address)["passfile"] == str(tmp_path / "passwords")
    with closing(Database(address, "test")) as database, database.serving() as connection:
        connection.execute("SELECT 1")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@h/n?sslrootcert=system",
        "postgresql://u@h/n?passfile=/etc/passfile",
        "host=h dbname=passfile",
    ],
)
def test_an_address_without_relative_files_stays_as_it_is(url: str, tmp_path: Path) -> None:
    assert beside(url, tmp_path) == url


@pytest.mark.parametrize("kind", ["missing", "open", "without a line"])
def test_a_file_of_passwords_that_gives_none_is_named_with_the_cause(
    login: ServerLogin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("PGPASSFILE")
    secret = tmp_path / "secret"
    if kind != "missing":
        secret.write_text("another:5432:*:*:x\n")
        secret.chmod(0o644 if kind == "open" else 0o600)
    address = make_conninfo(
        host=login.host,
        port=login.port,
        dbname=login.database,
        user=login.user,
        passfile=str(secret),
    )
    why = {
        "missing": "No such file or directory",
        "open": "others may use it",
        "without a line": "has no line for this host",
    }[kind]
    database = Database(address, "test")
    with pytest.raises(errors.DatabaseLoginRefused) as refused, database.serving():
        pass
    assert f"passfile {secret}" in str(refused.value)
    assert why in str(refused.value)


AWAY = "postgresql://owner@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("words", "origin"),
    [
        (["db", "upgrade", "--role", "consumer", "--database", AWAY], "--database"),
        (
            ["--set", f"consumer.owner_database={AWAY}", "db", "upgrade", "--role", "consumer"],
            "--set consumer.owner_database",
        ),
        (["--set", f"consumer.database={AWAY}", "journal"], "--set consumer.database"),
        (["journal"], "consumer.database in sinergi.toml"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_the_error_of_a_database_that_does_not_answer_names_who_gave_its_address(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    origin: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sinergi.toml").write_text(f'[consumer]\ndatabase = "{AWAY}"\n')
    assert run(words) == 2
    assert f"its address, given by {origin}." in capsys.readouterr().err


def test_an_error_names_the_address_of_its_own_database_also_later_and_within_another(
    databases: Callable[[], str],
) -> None:
    url, away = DatabaseAddress(databases(), "--into"), DatabaseAddress(AWAY, "--database b/main")
    with closing(Database(url, "test")) as one, closing(Database(away, "test")) as other:
        with (
            pytest.raises(errors.DatabaseAway, match="given by --database b/main"),
            one.reading(),
            other.reading(),
        ):
            pass
        with pytest.raises(errors.DatabaseAway, match="given by --into"), one.serving() as broken:
            broken.execute("SELECT pg_terminate_backend(pg_backend_pid())")
