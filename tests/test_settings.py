"""Settings: which layer wins, where each value comes from, and what is refused."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from structlog.testing import capture_logs

from sinergi.settings.initialise import PlannedFiles, WrittenFiles, write_first_files
from sinergi.settings.model import BusRole
from sinergi.settings.near_keys import stray_variables
from sinergi.settings.settings import Settings, load, masked
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.errors import AgreementRefused, InitRefused, SettingsRefused
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.timeouts import (
    KafkaTimeouts,
    MaterialiserTimeouts,
    RelayTimeouts,
    Timeouts,
)
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable


EXAMPLE = Path(__file__).parent.parent / "examples" / "agreement" / "banyuwangi.toml"
# Nobody has the private keys of the example.
UNSIGNED = {"unsigned_agreements": "true"}
BUS = "sinergi.banyuwangi.example"
BNNK, LAPAS = "bnnk-banyuwangi", "lapas-banyuwangi"

FILE = {
    "agency": BNNK,
    "agreements": "pks",
    "kafka": {"bootstrap": "file:9092", "security": "SASL_SSL", "username": "bnnk"},
    "producer": {"database": "postgresql://bnnk@db/register"},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sinergi.toml"
    path.write_text(tomli_w.dumps(FILE))
    return path


def origins(settings: Settings) -> dict[str, tuple[object, str]]:
    return {each.key: (each.value, each.origin) for each in settings.entries()}


def test_the_environment_overrides_the_file_and_a_flag_overrides_both(file: Path) -> None:
    environment = {
        "SINERGI_KAFKA__BOOTSTRAP": "environment:9092",
        "SINERGI_CONSUMER__NAME": "archive",
        "SINERGI_KAFKA__CA_FILE": "",
    }
    flags = {"kafka.bootstrap": "flag:9092", "provision.replication": "2"}
    seen = origins(load(file, flags, environment))
    assert seen["agency"] == (BNNK, str(file))
    assert seen["kafka.bootstrap"] == ("flag:9092", "--set kafka.bootstrap")
    assert seen["provision.replication"] == (2, "--set provision.replication")
    assert seen["consumer.name"] == ("archive", "SINERGI_CONSUMER__NAME")
    assert seen["kafka.security"] == ("SASL_SSL", str(file))
    assert seen["kafka.ca_file"] == (None, "default")
    assert load(file, {}, environment).values.kafka.bootstrap == "environment:9092"
    assert load(file, {}, {}).values.kafka.bootstrap == "file:9092"


def test_paths_of_the_file_lie_beside_the_file(file: Path) -> None:
    settings = load(file, {}, {})
    assert settings.values.agreements == file.parent / "pks"
    assert settings.values.keys == file.parent / "keys"
    elsewhere = load(file, {"keys": "mine"}, {})
    assert elsewhere.values.keys == Path("mine")


def test_a_file_is_found_where_it_is_said_to_be(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(None, {}, {"SINERGI_CONFIG": str(file)}).file == file
    monkeypatch.chdir(file.parent)
    assert load(None, {}, {}).agency == BNNK
    with pytest.raises(SettingsRefused, match=r"nowhere\.toml: cannot be read \(No such file"):
        load(Path("nowhere.toml"), {}, {})


def test_everything_wrong_is_said_at_once_and_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "sinergi.toml"
    path.write_text(
        'agncy = "x"\n[kafka]\nbootstap = "x"\nsecurity = "TLS"\n[producer]\ndatabase = 5\n'
    )
    environment = {"SINERGI_AGENCY": "Lapas Banyuwangi"}
    flags = {"provision.replication": "many", "consumer.database": "mysql://x/y", "log.size": "3"}
    with pytest.raises(SettingsRefused) as caught:
        load(path, flags, environment)
    head, *lines = str(caught.value).split("\n  ")
    assert head == "The settings cannot be used:"
    assert sorted(lines) == sorted(
        [
            f"{path}: agncy: there is no such key; did you mean agency?",
            f"{path}: kafka.bootstap: there is no such key; did you mean bootstrap?",
            f"{path}: kafka.security: must be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'",
            (
                f"{path}: producer.database: must be text in quotes, not a whole number"
                "; write a URL as postgresql://user@host/name"
            ),
            (
                "SINERGI_AGENCY: agency: 'Lapas Banyuwangi' cannot name an agency"
                '; write one as "lapas-banyuwangi"'
            ),
            (
                "--set provision.replication: must be a whole number, "
                "not text; write a count of brokers, as 3"
            ),
            (
                "--set consumer.database: is no PostgreSQL URL"
                "; write it as postgresql://user@host/name"
            ),
            (
                "--set log.size: log: there is no such key; known are agency, agreements, bus, "
                "confirmed_keys, consumer, kafka, keys, producer, provision, timeouts, "
                "unsigned_agreements"
            ),
        ]
    )


def test_a_mistyped_key_of_a_flag_is_named_once_and_the_hint_is_a_whole_key() -> None:
    with pytest.raises(SettingsRefused) as refused:
        load(None, {"agreements": "x", "kafka.bootstrp": "x"}, {})
    assert str(refused.value).splitlines()[1].strip() == (
        "--set kafka.bootstrp: there is no such key; did you mean kafka.bootstrap?"
    )


def test_a_key_that_is_like_no_other_of_its_table_gets_a_list_of_these() -> None:
    with pytest.raises(SettingsRefused) as refused:
        load(None, {"kafka.nope": "x"}, {})
    (line,) = str(refused.value).splitlines()[1:]
    assert "did you mean" not in line
    assert "known are kafka.bootstrap, kafka.ca_file," in line
    assert "provision" not in line


def test_a_key_that_is_like_no_other_gets_a_list_that_can_be_read() -> None:
    with pytest.raises(SettingsRefused) as refused:
        load(None, {"nope": "x"}, {})
    (line,) = str(refused.value).splitlines()[1:]
    assert "known are agency, agreements," in line
    assert line.endswith(" more")
    assert len(line) < 600


def test_durations_are_settings_that_reach_what_waits(file: Path) -> None:
    file.write_text(file.read_text() + "[timeouts.relay]\nreload = 5\n")
    environment = {"SINERGI_TIMEOUTS__KAFKA__ANSWER": "2.5"}
    flags = {"timeouts.materialiser.reload": "0.5", "kafka.security": "PLAINTEXT"}
    settings = load(file, flags, environment)
    assert settings.values.timeouts == Timeouts(
        kafka=KafkaTimeouts(answer=2.5),
        relay=RelayTimeouts(reload=5.0),
        materialiser=MaterialiserTimeouts(reload=0.5),
    )
    assert settings.connection().timeouts.answer == 2.5
    seen = origins(settings)
    assert seen["timeouts.relay.reload"] == (5.0, str(file))
    assert seen["timeouts.relay.idle"] == (0.05, "default")


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("timeouts.relay", "reload", "true"),
        ("provision", "replication", "true"),
        ("consumer", "quarantine_bytes", "false"),
    ],
)
def test_true_and_false_are_no_numbers(file: Path, table: str, key: str, value: str) -> None:
    file.write_text(f"[{table}]\n{key} = {value}\n")
    with pytest.raises(SettingsRefused, match=rf"{table}.{key}.*not true or false"):
        load(file, {}, {})


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("relay.reload", "soon", "must be a number, not text; write a number of seconds, as 60"),
        ("relay.reload", "0", "must be at least 0.001; write a number of seconds, as 60"),
        ("relay.reload", "-inf", "must be a finite number; write a number of seconds, as 60"),
        ("relay.reload", "nan", "must be a finite number; write a number of seconds, as 60"),
        ("relay.reload", "1e9", "must be at most 86400.0; write a number of seconds, as 60"),
        ("relay.lease", "1", "must be at least 2.0; write a number of seconds, as 10"),
        ("relay.relod", "5", "there is no such key; did you mean timeouts.relay.reload?"),
        ("relay", "5", "must be a table, not text"),
    ],
)
def test_a_duration_that_cannot_be_used_is_refused_in_one_line(
    key: str, value: str, what: str
) -> None:
    with pytest.raises(SettingsRefused) as refused:
        load(None, {f"timeouts.{key}": value}, {})
    (line,) = str(refused.value).splitlines()[1:]
    assert line.strip() == f"--set timeouts.{key}: {what}"


def test_a_file_that_is_not_toml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "sinergi.toml"
    path.write_text("agency = \n")
    with pytest.raises(SettingsRefused, match=r"sinergi\.toml: it is not TOML: .* line 1"):
        load(path, {}, {})


def test_what_is_not_set_is_named_when_it_is_needed() -> None:
    settings = load(None, {"agreements": "x"}, {})
    with pytest.raises(SettingsRefused, match=r"producer\.database: is not set"):
        _ = settings.producer_database
    with pytest.raises(SettingsRefused, match="is not set, but this command needs it"):
        _ = settings.consumer_database  # `sinergi journal` reads it too, and materialises nothing
    with pytest.raises(SettingsRefused, match="set SINERGI_KAFKA__BOOTSTRAP"):
        settings.connection()
    with pytest.raises(SettingsRefused, match="agency: is not set"):
        _ = settings.agency


def test_a_password_comes_from_its_file_and_is_never_shown(file: Path) -> None:
    secret = file.parent / "password"
    secret.touch(0o600)
    secret.write_text("hush\n")
    flags = {
        "kafka.password_file": str(secret),
        "consumer.database": "postgresql://bnnk:hush@db/x?password=hush&sslmode=require",
    }
    settings = load(file, flags, {})
    connection = settings.connection()
    assert connection.options["sasl.password"] == "hush"
    assert connection.options["security.protocol"] == "sasl_ssl"
    assert "hush" not in repr(connection)
    assert "hush" not in repr(settings.entries())
    assert settings.consumer_database.startswith("postgresql://bnnk:hush@db/x")


def secret(folder: Path, name: str) -> str:
    """A file with a password that is its name."""
    path = folder / name
    path.touch(0o600)
    path.write_text(f"{name}\n")
    return str(path)


def logins(file: Path, flags: dict[str, str]) -> dict[BusRole | None, tuple[str, str]]:
    """User and password of each role, and of whoever has none."""
    settings = load(file, flags, {})
    found = {role: settings.connection(role).options for role in (*BusRole, None)}
    return {role: (each["sasl.username"], each["sasl.password"]) for role, each in found.items()}


def test_each_role_logs_in_with_its_own_user_and_password(file: Path) -> None:
    flags = {
        "kafka.username": "operator",
        "kafka.password_file": secret(file.parent, "common"),
        "producer.kafka.username": "relay",
        "producer.kafka.password_file": secret(file.parent, "own"),
    }
    assert logins(file, flags) == {
        BusRole.PRODUCER: ("relay", "own"),
        BusRole.CONSUMER: ("operator", "common"),
        None: ("operator", "common"),
    }


def test_without_a_user_each_role_is_the_principal_that_the_agreement_gives_it(
    tmp_path: Path,
) -> None:
    settings = load(
        None,
        {
            "agency": "lapas",
            "kafka.bootstrap": "h:1",
            "kafka.security": "SASL_SSL",
            "kafka.password_file": secret(tmp_path, "common"),
        },
        {},
    )
    users = {role: settings.connection(role).options["sasl.username"] for role in BusRole}
    assert users == {BusRole.PRODUCER: "lapas.producer", BusRole.CONSUMER: "lapas.consumer"}
    with pytest.raises(SettingsRefused, match=r"kafka\.username: is not set, but SASL_SSL"):
        settings.connection()


def test_a_wrong_file_of_a_role_is_named_by_its_own_key(file: Path) -> None:
    flags = {"consumer.kafka.password_file": "nowhere"}
    with pytest.raises(SettingsRefused, match=r"consumer\.kafka\.password_file: nowhere cannot"):
        load(file, flags, {}).connection(BusRole.CONSUMER)
    flags = {"kafka.password_file": secret(file.parent, "common")}
    flags |= {"producer.kafka.private_key_file": "nowhere"}
    with pytest.raises(SettingsRefused, match=r"producer\.kafka\.private_key_file: nowhere"):
        load(file, flags, {}).connection(BusRole.PRODUCER)
    assert load(file, flags, {}).connection(BusRole.CONSUMER).bootstrap


def test_roles_that_log_in_alike_share_a_connection_and_a_password_that_is_read_once(
    file: Path,
) -> None:
    pipe = file.parent / "pipe"
    os.mkfifo(pipe, 0o600)
    with ThreadPoolExecutor(1) as thread:
        written = thread.submit(pipe.write_text, "once\n")
        settings = load(file, {"kafka.password_file": str(pipe)}, {})
        one, other = (settings.connection(role) for role in BusRole)
        written.result(PATIENCE_SECONDS)
    assert one is other
    assert one.options["sasl.password"] == "once"


def test_a_user_without_a_password_is_refused(file: Path) -> None:
    with pytest.raises(SettingsRefused, match=r"kafka\.password_file: is not set, but SASL_SSL"):
        load(file, {}, {}).connection()
    with pytest.raises(SettingsRefused, match="cannot be read"):
        load(file, {"kafka.password_file": "nowhere"}, {}).connection()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://a:b@c/d", "postgresql://a:***@c/d"),
        ("postgresql://a:b:c@d:5/e", "postgresql://a:***@d:5/e"),
        ("postgresql://a:b%40@c/d?password=e", "postgresql://a:***@c/d?password=***"),
        (
            "postgresql://a:b@c@d/e?sslpassword=f&sslmode=prefer",
            "postgresql://a:***@d/e?sslpassword=***&sslmode=prefer",
        ),
        ("postgresql://a:b@c/d?passwrd=e", "postgresql://***"),
        ("postgresql://a:b/c@d/e", "postgresql://***"),
        ("postgresql+psycopg://a:b/c@d/e", "postgresql+psycopg://***"),
        ("postgresql+psycopg://a:b@c/d", "postgresql+psycopg://a:***@c/d"),
        ("postgres://a:b@c,d:5/e?password=f", "postgres://a:***@c,d:5/e?password=***"),
        ("host=c user=a password='b c'", "user=a password=*** host=c"),
        ("password = b nonsense", "***"),
        ("service=register", "service=register"),
        ("postgresql://a@c/d", "postgresql://a@c/d"),
        ("host:9092", "host:9092"),
        (None, None),
    ],
)
def test_passwords_in_urls_are_masked(text: str | None, shown: str | None) -> None:
    assert masked(text) == shown


def test_a_variable_that_is_no_setting_is_hinted_at() -> None:
    environment = {"SINERGI_AGENCI": "x", "SINERGI_AGENCY": "x", "SINERGI_DEBUG": "1", "HOME": "/"}
    environment |= {"SINERGI_KAFKA__BOTSTRAP": "x", "SINERGI_PROVISION__NOPE": "x"}
    names = ("GRACE_HOURS", "OPEN_BROKERS", "PASSWORDS", "REPLICATION")
    known = ", ".join(f"SINERGI_PROVISION__{each}" for each in names)
    assert stray_variables(environment) == [
        "SINERGI_AGENCI: did you mean SINERGI_AGENCY?",
        "SINERGI_KAFKA__BOTSTRAP: did you mean SINERGI_KAFKA__BOOTSTRAP?",
        f"SINERGI_PROVISION__NOPE: known are {known}",
    ]


@pytest.mark.parametrize(
    "brokers",
    [
        "h",
        "h:",
        "h:abc",
        "h:0",
        "h:65536",
        "h:99999",
        "h:1,i",
        "h:1,",
        "::1:9092",
        "[::1]",
        "[1:2]:3",
    ],
)
def test_an_address_of_brokers_that_the_client_would_read_as_another_is_refused(
    brokers: str, tmp_path: Path
) -> None:
    with pytest.raises(
        SettingsRefused, match=r"--set kafka\.bootstrap: .* (is no address|no port)"
    ):
        load(None, {"kafka.bootstrap": brokers}, {})
    with pytest.raises(InitRefused, match=r"^--kafka: "):
        write_first_files(tmp_path, PlannedFiles(BNNK, BUS, kafka=brokers))


@pytest.mark.parametrize("brokers", ["h:1", "h:65535, i.example:2", "[::1]:9092", "SSL://h:1"])
def test_addresses_of_brokers_are_taken(brokers: str) -> None:
    assert load(None, {"kafka.bootstrap": brokers}, {}).values.kafka.bootstrap == brokers


@pytest.mark.parametrize("name", ["ca_file", "certificate_file", "private_key_file"])
def test_a_file_for_the_client_that_is_missing_is_named_with_its_setting(
    name: str,
) -> None:
    flags = {"kafka.bootstrap": "h:1", "kafka.security": "SSL", f"kafka.{name}": "no/such.pem"}
    expected = rf"kafka\.{name}: no/such\.pem cannot be read \(No such file or directory\)"
    with pytest.raises(SettingsRefused, match=expected):
        load(None, flags, {}).connection()


@pytest.mark.parametrize("table", ["kafka", "consumer.kafka"])
@pytest.mark.parametrize(
    ("name", "other"),
    [("certificate_file", "private_key_file"), ("private_key_file", "certificate_file")],
)
def test_half_of_a_login_by_certificate_is_refused(
    tmp_path: Path, table: str, name: str, other: str
) -> None:
    flags = {"kafka.bootstrap": "h:1", "kafka.security": "SSL", "agency": "lapas"}
    flags[f"{table}.{name}"] = secret(tmp_path, "one")
    expected = rf"{table}\.{name}: is set without {other}, .* write {other} under \[{table}\] too"
    with pytest.raises(SettingsRefused, match=expected):
        load(None, flags, {}).connection(BusRole.CONSUMER)
    flags[f"consumer.kafka.{other}"] = secret(tmp_path, "two")
    assert load(None, flags, {}).connection(BusRole.CONSUMER).bootstrap


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_private_key_that_is_encrypted_is_refused(tmp_path: Path, form: PrivateFormat) -> None:
    key = tmp_path / "own.key"
    key.touch(0o600)
    made = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(made.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"hush")))
    flags = {"kafka.bootstrap": "h:1", "kafka.security": "SSL"}
    flags |= {"kafka.private_key_file": str(key), "kafka.certificate_file": str(key)}
    expected = r"kafka\.private_key_file: .* is encrypted, .*`openssl pkey -in .* decrypts it"
    with pytest.raises(SettingsRefused, match=expected):
        load(None, flags, {}).connection()


def test_an_empty_password_file_is_named(file: Path) -> None:
    empty = file.parent / "empty"
    empty.touch(0o600)
    flags = {"kafka.password_file": str(empty)}
    with pytest.raises(SettingsRefused, match=r"kafka\.password_file: .*empty is empty; write"):
        load(file, flags, {}).connection()


def test_an_error_about_a_login_names_the_table_of_its_role(file: Path) -> None:
    flags = {"consumer.kafka.password_file": secret(file.parent, "own"), "agency": "lapas"}
    flags |= {"kafka.password_file": secret(file.parent, "common")}
    connection = load(file, flags, {}).connection(BusRole.CONSUMER)
    assert connection.tables == {"password_file": "consumer.kafka"}
    assert load(file, flags, {}).connection(BusRole.PRODUCER).tables == {}


def test_init_names_the_option_of_a_database_once(tmp_path: Path) -> None:
    plan = PlannedFiles(BNNK, BUS, producer="mysql://x/y", consumer="mysql://x/y")
    with pytest.raises(InitRefused) as refused:
        write_first_files(tmp_path, plan)
    assert str(refused.value).count("is no PostgreSQL URL") == 1
    assert str(refused.value).startswith("--database: ")


@pytest.mark.parametrize(
    ("brokers", "security", "warned_of"),
    [
        ("kafka.example:9092", "PLAINTEXT", ["kafka.example:9092"]),
        ("10.0.0.7:9092,127.0.0.1:9092", "SASL_PLAINTEXT", ["10.0.0.7:9092"]),
        ("[2001:db8::1]:9092", "PLAINTEXT", ["[2001:db8::1]:9092"]),
        ("kafka.example:9092", "SASL_SSL", []),
        ("kafka.example:9092", "SSL", []),
        ("localhost:9092,127.0.0.1:9092,[::1]:9092,127.8.0.1:1", "PLAINTEXT", []),
    ],
)
def test_brokers_on_other_machines_without_tls_are_warned_of_once(
    tmp_path: Path, brokers: str, security: str, warned_of: list[str]
) -> None:
    flags = {"kafka.bootstrap": brokers, "kafka.security": security, "agency": BNNK}
    settings = load(None, flags | {"kafka.password_file": secret(tmp_path, "hush")}, {})
    with capture_logs() as logs:
        for role in (*BusRole, BusRole.CONSUMER):
            settings.connection(role)
    assert [each["brokers"] for each in logs] == [warned_of][: len(warned_of)]


def founded(folder: Path) -> WrittenFiles:
    return write_first_files(folder, PlannedFiles(BNNK, BUS, database="register", kafka="h:1"))


def test_init_writes_what_the_settings_then_read(tmp_path: Path) -> None:
    made = founded(tmp_path)
    settings = load(made.settings, UNSIGNED, {})
    assert (settings.agency, settings.values.bus, settings.consumer_name) == (BNNK, BUS, "register")
    assert settings.connection().bootstrap == "h:1"
    for path in (tmp_path / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    agreement = EXAMPLE.read_text()
    for line in made.party(BNNK).splitlines():
        if line.startswith(("keys", "receipt_keys")):
            agreement = _with_line(agreement, line)
    (tmp_path / "agreements" / "pks.toml").write_text(agreement)
    agreements = settings.agreements()
    (key,) = settings.signing_keys(agreements)
    assert key.public == made.key
    assert settings.receipt_key(agreements).public == made.receipt_key


def _with_line(agreement: str, line: str) -> str:
    """The example with BNNK's own line in place of the one for the same setting."""
    head, rest = agreement.split(f"[parties.{BNNK}]\n")
    name = line.partition(" ")[0]
    pattern = rf"(?ms)^{name} = \[.*?\]$"
    return f"{head}[parties.{BNNK}]\n{re.sub(pattern, line, rest, count=1)}"


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    made = founded(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InitRefused, match="is there already; it is never overwritten"):
        founded(tmp_path)
    made.settings.unlink()
    with pytest.raises(InitRefused, match=r"bnnk-banyuwangi\.key is there already"):
        founded(tmp_path)
    assert not made.settings.exists()
    assert all(path.read_bytes() == data for path, data in before.items() if path.exists())


@pytest.mark.parametrize(
    "plan",
    [
        PlannedFiles("BNNK", BUS),
        PlannedFiles(BNNK, "two words"),
        PlannedFiles(BNNK, BUS, database="a/b"),
    ],
)
def test_init_refuses_names_that_the_bus_cannot_carry(tmp_path: Path, plan: PlannedFiles) -> None:
    with pytest.raises(InitRefused):
        write_first_files(tmp_path, plan)
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_no_agreement_shows_signs_nothing(tmp_path: Path) -> None:
    made = founded(tmp_path)
    (tmp_path / "agreements" / "pks.toml").write_bytes(EXAMPLE.read_bytes())
    settings = load(made.settings, UNSIGNED, {})
    agreements = settings.agreements()
    said = why_refused(lambda: settings.signing_keys(agreements))
    assert f"{BNNK}.key holds {BUS}/{BNNK}+{made.key.id.hex()}" in said
    wanted = next(iter(agreements)).parties[BNNK].key
    assert f"the agreements show {BUS}/{BNNK}+{wanted.id.hex()}: put the file" in said
    assert "sinergi init" not in said
    said = why_refused(lambda: settings.receipt_key(agreements))
    assert "the receipt key of database register is not in" in said


def test_a_database_that_no_agreement_names_is_told_with_those_that_are(tmp_path: Path) -> None:
    made = founded(tmp_path)
    (tmp_path / "agreements" / "pks.toml").write_bytes(EXAMPLE.read_bytes())
    settings = load(made.settings, UNSIGNED | {"consumer.name": "reg"}, {})
    said = why_refused(lambda: settings.receipt_key(settings.agreements()))
    assert f"consumer.name: the agreements show no receipt key of {BNNK}'s database reg" in said
    assert "they name register" in said
    assert "sinergi init" not in said


def test_a_missing_folder_of_keys_and_an_empty_one_are_told_apart(tmp_path: Path) -> None:
    made = founded(tmp_path)
    (tmp_path / "agreements" / "pks.toml").write_bytes(EXAMPLE.read_bytes())
    (tmp_path / "empty").mkdir()
    for folder, said in (("none", "there is no such folder"), ("empty", "it holds no *.key file")):
        settings = load(made.settings, UNSIGNED | {"keys": str(tmp_path / folder)}, {})
        assert f"({said})" in why_refused(lambda: settings.signing_keys(settings.agreements()))  # noqa: B023 - called at once


def test_a_full_disk_while_keys_are_written_is_told_with_the_file_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InitRefused, match=rf"{BNNK}\.key: No space left on device"):
        founded(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_of_agreements_is_named_once(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(AgreementRefused) as raised:
            Agreements.load(folder)
        assert str(raised.value).count(str(folder)) == 1


def why_refused(work: Callable[[], object]) -> str:
    with pytest.raises(SettingsRefused) as raised:
        work()
    return str(raised.value)


def test_a_second_key_in_the_folder_signs_too_once_the_agreement_shows_it(tmp_path: Path) -> None:
    made = founded(tmp_path)
    following = SigningKey.generate(f"{BUS}/{BNNK}")
    following.save(tmp_path / "keys" / "following.key")
    until = "until = { seizure = [120, 97, 104] }"
    line = f'keys = ["{following.public}"]\nreplaced_keys = [{{ key = "{made.key}", {until} }}]'
    (tmp_path / "agreements" / "pks.toml").write_text(_with_line(EXAMPLE.read_text(), line))
    settings = load(made.settings, UNSIGNED, {})
    keys = {key.public for key in settings.signing_keys(settings.agreements())}
    assert keys == {made.key, following.public}


def test_what_has_no_effect_in_an_agreement_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = founded(tmp_path)
    text = EXAMPLE.read_text().replace("partitions = 3", 'partitions = 3\nretention = "P5Y"', 1)
    (tmp_path / "agreements" / "pks.toml").write_text(text)
    settings = load(made.settings, UNSIGNED, {})
    for _ in range(2):
        settings.agreements()
    said = "".join(capsys.readouterr())
    assert said.count("pks.toml: events.seizure.retention: it has no effect") == 1


def test_a_missing_folder_of_agreements_is_named_if_it_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = tmp_path / "pks"
    for settings in (
        load(None, {"agreements": str(chosen)}, {}),
        load(None, {}, {"SINERGI_AGREEMENTS": str(chosen)}),
    ):
        with pytest.raises(AgreementRefused, match=rf"{chosen} cannot be used"):
            settings.agreements()
    assert "SINERGI_AGREEMENTS" in why_refused(load(None, {}, {}).agreements)


def test_agreements_of_another_bus_are_refused(tmp_path: Path) -> None:
    made = founded(tmp_path)
    (tmp_path / "agreements" / "pks.toml").write_bytes(EXAMPLE.read_bytes())
    with pytest.raises(SettingsRefused, match=r"bus: is other\.example"):
        load(made.settings, UNSIGNED | {"bus": "other.example"}, {}).agreements()


def test_a_setting_that_is_missing_is_asked_for_in_the_file_that_was_read(tmp_path: Path) -> None:
    file = tmp_path / "operator.toml"
    file.write_text('[kafka]\nbootstrap = "a.example:9092"\n')
    settings = load(file, environment={})
    where = r"at the top in .*/operator\.toml or set SINERGI_AGENCY; or name the settings of an"
    with pytest.raises(SettingsRefused, match=where):
        _ = settings.agency
