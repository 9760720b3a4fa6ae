"""File permissions, passwords in output, and paths of any name."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sinergi.cli import root
from sinergi.exit_status import ExitStatus
from sinergi.settings import initialise
from sinergi.settings.initialise import PlannedFiles, write_first_files
from sinergi.settings.settings import load, masked
from sinergi_producers.sources.files.mapping import Mapping
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.errors import (
    AgreementRefused,
    InitRefused,
    KeyFileRefused,
    MappingRefused,
    SchemaRefused,
    SettingsRefused,
)
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.seal.keys import SigningKey
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/agreement/banyuwangi.toml"
MARK = b"\xef\xbb\xbf"
PASSWORD = "hush/ss@%40"
ODD = ["a%b", "%(here)s", "ü…", "a,b", "a\\b", "a b'\"#"]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("SINERGI_")]:
        monkeypatch.delenv(name)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mode & 0o777
        for path in sorted(folder.rglob("*"))
    }


# Founding: all of it or nothing, and for nobody else


def plan() -> PlannedFiles:
    return PlannedFiles("bnnk", "a.b", producer=f"postgresql://u:{quote(PASSWORD, '')}@h/db")


@pytest.mark.usefixtures("_umask")
def test_whatever_the_umask_nobody_else_reads_a_password_or_adds_an_agreement(
    tmp_path: Path,
) -> None:
    made = write_first_files(tmp_path / "new", plan())
    seen = modes(tmp_path / "new")
    assert {name: mode & 0o077 for name, mode in seen.items() if name != "agreements"} == {
        "keys": 0,
        "keys/bnnk.key": 0,
        "keys/bnnk.main.receipts.key": 0,
        "sinergi.toml": 0,
    }
    assert not seen["agreements"] & 0o022
    assert load(made.settings, {}, {}).warnings() == []


@pytest.mark.parametrize("place", ["keys", "keys/bnnk.key", "agreements", "sinergi.toml"])
def test_where_one_of_its_files_has_no_room_init_makes_none(tmp_path: Path, place: str) -> None:
    """As where a link leads nowhere, which looks free."""
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).symlink_to("nowhere/at/all")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InitRefused, match="exists"):
        write_first_files(tmp_path, plan())
    assert sorted(tmp_path.rglob("*")) == before


def test_init_that_nobody_hears_leaves_nothing(tmp_path: Path) -> None:
    """The public keys it prints stand nowhere else."""
    words = ["init", "--agency", "bnnk", "--bus", "a.b", "--folder", "new/folder"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sinergi", *words],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == ExitStatus.ERROR
    assert b"sinergi: standard output cannot be written (No space left on device)" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_undone_takes_nothing_else_along(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "other.key").write_text("mine")
    with pytest.raises(KeyboardInterrupt), initialise.first_files(tmp_path, plan()):
        raise KeyboardInterrupt
    assert [each.name for each in tmp_path.rglob("*")] == ["keys", "other.key"]


# What others may read or write


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_password_or_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    key = tmp_path / "own.key"
    SigningKey.generate("a.b/bnnk").save(key)
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    flags = {"kafka.security": "SASL_SSL", "kafka.username": "u", "kafka.bootstrap": "h:1"}
    own_login = {"private_key_file": secret, "certificate_file": secret}
    given_key = {f"kafka.{name}": str(path) for name, path in own_login.items()}
    given_key |= {"kafka.security": "SSL"}
    for options in (flags | {"kafka.password_file": str(secret)}, flags | given_key):
        secret.chmod(mode)
        with pytest.raises(SettingsRefused, match=rf"read or write {secret}; .*`chmod 6"):
            load(None, options, {}).connection()
        secret.chmod(0o600)
        load(None, options, {}).connection()


@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_password_is_what_an_editor_has_saved_of_it(
    tmp_path: Path, mark: bytes, end: bytes
) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_bytes(mark + "hush ü ".encode() + end)
    flags = {"kafka.security": "SASL_SSL", "kafka.username": "u", "kafka.bootstrap": "h:1"}
    options = load(None, flags | {"kafka.password_file": str(secret)}, {}).connection().options
    assert options["sasl.password"] == "hush ü "


def test_a_settings_file_that_others_read_is_warned_of_where_it_holds_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write_first_files(tmp_path, plan())
    made.settings.chmod(0o644)
    assert root.run(["--config", str(made.settings), "settings"]) == 0
    said = capsys.readouterr()
    assert f"others may read {made.settings}, which holds a password; `chmod 600" in said.err
    assert PASSWORD not in said.out + said.err
    made.settings.write_text('agency = "bnnk"\n')
    assert load(made.settings, {}, {}).warnings() == []
    made.settings.chmod(0o646)
    (warning,) = load(made.settings, {}, {}).warnings()
    assert warning == f"every user may write {made.settings}; `chmod o-w {made.settings}`"


@pytest.mark.parametrize("name", [".", "pks.toml"])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o646])
def test_agreements_that_anybody_may_write_are_refused(
    tmp_path: Path, name: str, mode: int
) -> None:
    """Whoever adds one adds a key, and with it events in another agency's name."""
    (tmp_path / "pks.toml").write_bytes(EXAMPLE.read_bytes())
    Agreements.load(tmp_path)
    (tmp_path / name).chmod(mode)
    with pytest.raises(AgreementRefused, match=r"every user may write there, .* `chmod o-w` on it"):
        Agreements.load(tmp_path)
    (tmp_path / name).chmod(0o775 if name == "." else 0o664)
    Agreements.load(tmp_path)


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o1777])
@pytest.mark.parametrize("is_folder_linked", [False, True])
def test_a_link_to_where_every_user_may_put_another_file_is_refused(
    tmp_path: Path, mode: int, *, is_folder_linked: bool
) -> None:
    """In a folder with the sticky bit, as /tmp, nobody replaces the files of another user."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    agreements = shared / "agreements"
    agreements.mkdir(parents=True)
    (agreements / "pks.toml").write_bytes(EXAMPLE.read_bytes())
    if is_folder_linked:
        own.symlink_to(agreements)
    else:
        own.mkdir()
        (tmp_path / "link").symlink_to(agreements / "pks.toml")
        (own / "pks.toml").symlink_to("../link")
    Agreements.load(own)
    shared.chmod(mode)
    if mode & 0o1000:
        Agreements.load(own)
    else:
        with pytest.raises(AgreementRefused, match=f"{shared}: every user may write there"):
            Agreements.load(own)
    shared.chmod(0o755)


# Passwords in what is shown

PASSWORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=4)
FORMS: list[Callable[[str], str]] = [
    lambda secret: f"postgresql://user:{quote(secret, '')}@host/db",
    lambda secret: f"postgresql://user:{secret}@host/db",
    lambda secret: f"postgresql+psycopg://user:{secret}@host:5432/db",
    lambda secret: f"postgresql+psycopg://user:{quote(secret, '')}@host/db?sslmode=prefer",
    lambda secret: f"postgres://user:{quote(secret, '')}@one:1,two:2/db?target_session_attrs=any",
    lambda secret: f"postgresql://user@host/db?password={quote(secret, '')}",
    lambda secret: f"postgresql://user@host/db?password={secret}&application_name=x",
    lambda secret: f"postgresql://user@host/db?passw%6Frd={quote(secret, '')}",
    lambda secret: f"postgresql://user@host/db?sslpassword={quote(secret, '')}&password=x",
    lambda secret: f"postgresql:///db?host=/run/pg&user=u&password={secret}",
    lambda secret: make_conninfo(host="one,two", user="user", password=secret),
    lambda secret: f"host=one user=user password={secret}",
    lambda secret: f"password = '{secret}' host=one",
]


@pytest.mark.parametrize("form", FORMS)
@given(secret=PASSWORDS)
@example(secret="p/ss")  # noqa: S106 - a test's
@example(secret="5/ss@x")  # noqa: S106
@example(secret="p@ss:w?rd&x=y#%41")  # noqa: S106
@example(secret="a' b\\c")  # noqa: S106
def test_no_password_is_shown_in_whatever_form_it_is_given(
    form: Callable[[str], str], secret: str
) -> None:
    address = form(secret)
    forms = (secret, quote(secret, ""), secret.replace("\\", "\\\\").replace("'", "\\'"))
    assume(not any(each in form("****") for each in forms))
    shown = str(masked(address))
    try:
        parts = conninfo_to_dict(conninfo(address))
    except ValueError as why:
        said = str(why)
    else:
        said = ""
    assert not any(each in said for each in forms)
    if said:
        assert shown in {address.partition("://")[0] + "://***", "***"}
        return
    if secret in {parts.get("password"), parts.get("sslpassword")}:
        assert not any(each in shown for each in forms)


@pytest.mark.parametrize("secret", ["5/ss", "5/s@s", "5/"])
def test_half_a_password_is_taken_for_no_database(secret: str) -> None:
    """To libpq the port is 5, and the rest the database's name, which stands in every error."""
    address = f"postgresql://user:{secret}@host/db"
    assert masked(address) == "postgresql://***"
    with pytest.raises(SettingsRefused, match=r"an @ after a /; in a password write %2F for /"):
        load(None, {"producer.database": address}, {})
    assert conninfo_to_dict(conninfo("postgresql://user@host/a%40b"))["dbname"] == "a@b"


@pytest.mark.parametrize("form", FORMS)
def test_no_error_of_a_connection_shows_a_password(
    form: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = form(PASSWORD)
    for name in ("host", "one", "two"):
        address = re.sub(rf"\b{name}\b(?!=)", "127.0.0.1", address)
    monkeypatch.setenv("SINERGI_PRODUCER__DATABASE", address)
    assert root.run(["--debug", "outbox", "list"]) == ExitStatus.ERROR
    said = capsys.readouterr()
    assert "hush" not in said.out + said.err


# Paths and files of any kind


@pytest.mark.parametrize("name", ODD)
def test_settings_agreements_and_keys_lie_in_folders_of_any_name(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write_first_files(tmp_path / name, PlannedFiles("bnnk", "sinergi.banyuwangi.example"))
    (tmp_path / name / "agreements" / f"{name}.toml").write_bytes(EXAMPLE.read_bytes())
    settings = load(made.settings, {"unsigned_agreements": "true"}, {})
    settings.agreements()
    assert settings.values.keys == tmp_path / name / "keys"
    assert root.run(["--config", str(made.settings), "settings"]) == 0
    assert f"{name}/keys" in capsys.readouterr().out


def test_the_tables_are_made_from_wherever_it_is_installed(tmp_path: Path) -> None:
    home = tmp_path / "".join([*ODD, ":;"])
    for package in (
        "deploy/sinergi",
        "schemas/sinergi_schemas",
        "producers/sinergi_producers",
        "consumers/sinergi_consumers",
    ):
        shutil.copytree(ROOT / package, home / Path(package).name)
    code = (
        f"import sys; sys.path.insert(0, {str(home)!r}); from sinergi import migrate;"
        "print(migrate.__file__); print(migrate.script(migrate.Role.PRODUCER))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert str(home) in done.stdout
    assert "CREATE TABLE sinergi_producer.outbox" in done.stdout


def test_a_byte_order_mark_is_no_fault_of_any_toml_file(tmp_path: Path) -> None:
    settings = tmp_path / "sinergi.toml"
    settings.write_bytes(MARK + b'agency = "bnnk"\r\n')
    assert load(settings, {}, {}).agency == "bnnk"
    (tmp_path / "pks").mkdir()
    (tmp_path / "pks" / "pks.toml").write_bytes(MARK + EXAMPLE.read_bytes())
    Agreements.load(tmp_path / "pks")
    shipped = ROOT / "schemas/sinergi_schemas/avro"
    shutil.copytree(shipped, tmp_path / "avro")
    (tmp_path / "avro" / "ids.toml").write_bytes(MARK + (shipped / "ids.toml").read_bytes())
    Catalog.load(tmp_path / "avro")
    mapping = ROOT / "examples/inter-prison-transfers/mapping.toml"
    marked = tmp_path / "mapping.toml"
    marked.write_bytes(MARK + mapping.read_bytes())
    assert Mapping.load(marked).event_type == Mapping.load(mapping).event_type


def test_psycopg_reads_what_is_masked() -> None:
    """The parser of the product is the parser of the driver."""
    address = FORMS[0](PASSWORD)
    assert psycopg.conninfo.conninfo_to_dict(address)["password"] == PASSWORD
    assert masked(address) == "postgresql://user:***@host/db"


# Files that never end, or never begin


def test_a_settings_file_or_a_mapping_that_never_ends_is_refused() -> None:
    endless = Path("/dev/zero")
    with pytest.raises(SettingsRefused, match=r"it holds more than 262,144 bytes"):
        load(endless, {}, {})
    with pytest.raises(MappingRefused, match=r"it holds more than 262,144 bytes"):
        Mapping.load(endless)


def test_a_password_file_that_is_too_long_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_bytes(b"x" * 65_537)
    flags = {"kafka.security": "SASL_SSL", "kafka.username": "u", "kafka.bootstrap": "h:1"}
    flags["kafka.password_file"] = str(secret)
    with pytest.raises(SettingsRefused, match="it holds more than 65,536 bytes"):
        load(None, flags, {}).connection()
    with pytest.raises(SettingsRefused, match="/dev/zero cannot be read"):
        load(None, flags | {"kafka.password_file": "/dev/zero"}, {}).connection()


def test_a_fifo_among_the_keys_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """A relay hung there for ever, also against SIGTERM."""
    fifo = tmp_path / "own.key"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(KeyFileRefused, match="it is no regular file"):
        SigningKey.load(fifo)


@pytest.mark.parametrize("key", ["ca_file", "certificate_file", "private_key_file"])
def test_kafkas_client_is_given_no_file_that_it_would_wait_for(tmp_path: Path, key: str) -> None:
    fifo = tmp_path / "a.pem"
    os.mkfifo(fifo, 0o600)
    flags = {"kafka.bootstrap": "h:1", "kafka.security": "SSL", f"kafka.{key}": str(fifo)}
    with pytest.raises(SettingsRefused, match=rf"kafka\.{key}: .* \(it is no regular file\)"):
        load(None, flags, {}).connection()


def test_a_schema_that_is_a_fifo_or_never_ends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seizure").mkdir()
    schema = tmp_path / "seizure" / "1.avsc"
    os.mkfifo(schema)
    with pytest.raises(SchemaRefused, match="it is no regular file"):
        Catalog.load(tmp_path)
    schema.unlink()
    schema.write_bytes(b" " * (1024 * 1024 + 1))
    with pytest.raises(SchemaRefused, match="it holds more than 1,048,576 bytes"):
        Catalog.load(tmp_path)


def test_a_settings_file_and_a_password_may_come_out_of_a_pipe(tmp_path: Path) -> None:
    """As a shell's process substitution makes one; it can be read once."""
    settings, password = tmp_path / "sinergi.toml", tmp_path / "password"
    for each, text in (
        (settings, 'kafka.bootstrap = "h:1"\nkafka.security = "SASL_SSL"\nkafka.username = "u"\n'),
        (password, "hush\n"),
    ):
        os.mkfifo(each, 0o600)
        threading.Thread(target=each.write_text, args=(text,), daemon=True).start()
    found = load(settings, {"kafka.password_file": str(password)}, {})
    assert found.connection().options["sasl.password"] == "hush"
    assert found.connection().options["sasl.password"] == "hush"


def opened(fifo: Path, ends: list[int]) -> bool:
    """Whether somebody reads a FIFO; then it is open for writing too, and nothing is written."""
    try:
        ends.append(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as why:
        if why.errno == errno.ENXIO:
            return False
        raise
    return True


@pytest.mark.parametrize(
    ("number", "what"), [(signal.SIGINT, "settings"), (signal.SIGTERM, "password")]
)
def test_who_waits_for_a_pipe_can_be_stopped(
    tmp_path: Path, number: signal.Signals, what: str
) -> None:
    fifo, settings, ends = tmp_path / "pipe", tmp_path / "sinergi.toml", list[int]()
    os.mkfifo(fifo, 0o600)
    settings.write_text(
        'agency = "bnnk"\n[kafka]\nbootstrap = "h:1"\nsecurity = "SASL_SSL"\nusername = "u"\n'
        f'password_file = "{fifo}"\n'
    )
    settings.chmod(0o600)
    config = str(fifo if what == "settings" else settings)
    command = [sys.executable, "-m", "sinergi", "--config", config, "relay"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE) as relay:
        until(lambda: opened(fifo, ends), "it waits for what comes out of the pipe")
        relay.send_signal(number)
        try:
            _, err = relay.communicate(timeout=PATIENCE_SECONDS)
        finally:
            relay.kill()
    os.close(ends.pop())
    assert (relay.returncode, err) == (ExitStatus.STOPPED, b"sinergi: stopped\n")
