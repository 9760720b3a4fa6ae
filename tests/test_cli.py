"""The command line: exit statuses, one clear line for each error, and the right stream."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from errno import EMFILE
from importlib.metadata import packages_distributions, requires, version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from polars.exceptions import PanicException

import sinergi
from long_cases import long_after
from sinergi.cli import commands, root
from sinergi_schemas import errors
from sinergi_schemas.agreements.signatures import note_path
from sinergi_schemas.agreements.tables import NAME_PLACEHOLDER
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., tuple[int, str, str]]

EXAMPLE = Path(__file__).parent.parent / "examples" / "agreement" / "banyuwangi.toml"
BUS, BNNK = "sinergi.banyuwangi.example", "bnnk-banyuwangi"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A command line in an empty folder and environment: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("SINERGI_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = root.run(arguments)
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.mark.parametrize("name", sorted(commands.installed()))
def test_every_command_explains_itself(run: Run, name: str) -> None:
    status, out, _ = run(name, "--help")
    assert status == 0
    assert f"sinergi {name}" in out
    assert "<bool>" not in out  # a flag takes no value


def test_a_mistyped_command_gets_the_nearest_one_and_no_other(run: Run) -> None:
    assert "Did you mean 'provision'?" in run("provison")[2]
    assert "Did you mean" not in run("xyzzy")[2]


@pytest.mark.parametrize("option", [("--config", "x.toml"), ("--set", "agency=a"), ("--debug",)])
def test_an_option_of_all_commands_that_stands_behind_one_is_told_its_place(
    run: Run, option: tuple[str, ...]
) -> None:
    for command in ("replay", "archive show"):
        said = run(*command.split(), *option)[2]
        assert f"{option[0]} stands before the command: `sinergi {option[0]} … COMMAND`" in said
        assert "No such option: --confg" in run(*command.split(), "--confg", "x.toml")[2]


@pytest.mark.parametrize("name", sorted(commands.installed()))
def test_no_help_breaks_a_line_before_it_is_full(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The line ends of the source are no line ends of the help."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(name, "--help")[1].splitlines()
    box = next(number for number, each in enumerate(lines) if each.startswith("╭"))
    for line, following in pairwise(each.rstrip() for each in lines[3:box]):
        if following.strip() and line.strip() and not following.startswith("  "):
            assert len(line) + 1 + len(following.split()[0]) > 79, line


HEAVY = (
    *("alembic", "confluent_kafka", "cryptography", "fastavro", "polars", "psycopg", "pydantic"),
    *("rich.markdown", "rich.traceback", "sqlalchemy", "sinergi.metrics", "sinergi_consumers"),
    *("sinergi_producers", "sinergi_schemas.events", "sinergi_schemas.kafka"),
)
HELP = {"rich.markdown", "rich.traceback"}  # typer imports them to show a help or a usage error
OUTBOX = {"confluent_kafka", "cryptography", "psycopg", "pydantic", "sinergi_producers"}
REPLAY = {"confluent_kafka", "cryptography", "fastavro", "psycopg", "pydantic", "sinergi_consumers"}


def loaded(*arguments: str) -> tuple[set[str], str]:
    """The heavy modules whose code has run when a command ends, and its standard output."""
    code = (
        "import atexit, sys; from sinergi.cli import main; from sinergi import deferred_imports;"
        f"heavy = [each for each in {HEAVY} if deferred_imports.is_loaded(each)];"
        "assert not heavy;"
        f"found = lambda: [each for each in {HEAVY} if deferred_imports.is_loaded(each)];"
        "atexit.register(lambda: print(*found()));"
        "main()"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *lines, last = done.stdout.split("\n")[:-1]
    return set(last.split()), "\n".join(lines)


def test_help_names_every_command_and_loads_none_of_them() -> None:
    modules, shown = loaded("--help")
    assert modules <= HELP
    for name in commands.installed():
        assert f" {name} " in shown


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--version"], set()),
        (["settings"], {"pydantic", "psycopg"}),
        (["outbox", "list"], {*OUTBOX, "sinergi_schemas.kafka"}),
        (["status", "--help"], HELP | {"cryptography", "pydantic"}),
        (["replay", "--help"], HELP | REPLAY | {"sinergi_schemas.events", "sinergi_schemas.kafka"}),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_command_loads_only_the_libraries_that_it_uses(
    arguments: list[str], needed: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert loaded(*arguments)[0] <= needed


@pytest.mark.parametrize(
    "command",
    long_after(
        2,
        [
            *("replay", "status", "record", "received", "verify", "rebuild", "withheld"),
            *("reconcile", "journal", "archive create", "archive show", "archive restore"),
            *("evidence create", "evidence verify", "evidence page", "quarantine list"),
        ],
    ),
)
def test_no_command_loads_the_libraries_of_tables_before_it_has_work_for_them(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take half of the time in which a command starts."""
    monkeypatch.chdir(tmp_path)
    assert not loaded(*command.split(), "--help")[0] & {"alembic", "polars", "sqlalchemy"}


def test_a_mistyped_command_or_option_is_status_2(
    run: Run,
) -> None:
    for arguments in (
        ["provisoin"],
        ["--nonsense"],
        ["provision", "pln"],
        ["--set", "x", "settings"],
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert err


def test_settings_show_each_value_and_who_said_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("sinergi.toml").write_text(
        'agency = "bnnk-banyuwangi"\n[producer]\ndatabase = "postgresql://bnnk:hush@db/register"\n'
    )
    monkeypatch.setenv("SINERGI_KAFKA__BOOTSTRAP", "here:9092")
    status, out, _ = run("--set", "consumer.name=archive", "settings", "--json")
    assert status == 0
    document = json.loads(out)
    assert document["file"] == "sinergi.toml"
    seen = {each["key"]: (each["value"], each["origin"]) for each in document["settings"]}
    assert seen["agency"] == (BNNK, "sinergi.toml")
    assert seen["kafka.bootstrap"] == ("here:9092", "SINERGI_KAFKA__BOOTSTRAP")
    assert seen["consumer.name"] == ("archive", "--set consumer.name")
    assert seen["producer.database"][0] == "postgresql://bnnk:***@db/register"
    assert "hush" not in out + run("settings")[1]


def test_the_version_is_the_one_that_is_installed(run: Run) -> None:
    assert run("--version") == (0, f"sinergi {version('sinergi')}\n", "")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("outbox discard abc", "must be a whole number"),
        ("db upgrade --role reader", "'reader' is not one of 'producer', 'consumer'"),
        ("quarantine list --event x", "must be a UUID"),
        ("quarantine list --partition -1", "must be greater than or equal to 0"),
        ("--log-level loud relay", "'loud' is not one of"),
    ],
)
def test_a_wrong_argument_is_told_in_words_for_people(run: Run, command: str, said: str) -> None:
    status, out, err = run(*command.split())
    assert (status, out) == (2, "")
    told = " ".join(err.replace("│", " ").split())
    assert said in told
    assert not any(raw in told for raw in ("Input should", "Value error", "unable to parse"))


def test_a_database_that_is_none_is_told_by_the_option_that_named_it(run: Run) -> None:
    status, _, err = run("db", "upgrade", "--role", "producer", "--database", "nonsense")
    assert status == 2
    assert "--database: is no PostgreSQL URL" in err
    assert "producer.database" not in err


def test_an_error_is_one_line_on_stderr_and_status_2(
    run: Run,
) -> None:
    status, out, err = run("--config", "nowhere.toml", "settings")
    assert (status, out) == (2, "")
    assert (
        err == "sinergi: The settings cannot be used:\n  nowhere.toml: cannot be read"
        " (No such file or directory); check its name and folder\n"
    )


def raised_after_an_interrupt(why: Exception) -> Exception:
    """An error of code that cleans up after Ctrl-C, for example of a module that is half loaded."""
    why.__context__ = KeyboardInterrupt()
    return why


@pytest.mark.parametrize(
    ("raised", "status", "line"),
    [
        (errors.DatabaseAway("57P03"), 2, "sinergi: The database is not available"),
        (errors.DatabaseBroken("42P01", "t"), 2, "sinergi: The database refuses the statement"),
        (
            RuntimeError("Budi bin Slamet"),
            2,
            "sinergi: this is a bug: RuntimeError at test_cli.py:",
        ),
        (
            PanicException("Budi bin Slamet"),
            2,
            "sinergi: this is a bug: PanicException at test_cli.py:",
        ),
        (OSError(EMFILE, "x"), 2, "sinergi: The system gives this process no more open files"),
        (RuntimeError("can't start new thread"), 2, "sinergi: The system gives this process no"),
        (
            PanicException('failed to spawn: Os { code: 11, kind: WouldBlock, message: "x" }'),
            2,
            "sinergi: The system gives this process no more threads or processes (Resource",
        ),
        (MemoryError(), 2, "sinergi: The system gives this process no more memory (Cannot"),
        (KeyboardInterrupt(), 130, "sinergi: stopped"),
        (raised_after_an_interrupt(ImportError()), 130, "sinergi: stopped"),
    ],
)
def test_whatever_a_command_raises_is_one_line(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    status: int,
    line: str,
) -> None:
    def fail() -> None:
        raise raised

    monkeypatch.setattr("sinergi.cli.settings.root.settings", fail)
    found, out, err = run("settings")
    assert (found, out) == (status, "")
    assert err.startswith(line)
    assert err.count("\n") == 1
    assert "Budi" not in err


def test_a_command_that_cannot_be_loaded_gives_no_verdict() -> None:
    """Python would end with 1, which means that something is disproved."""
    script = (
        "import sys; sys.modules['sinergi.cli.root'] = None; from sinergi.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "verify"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sinergi: it cannot be loaded (ModuleNotFoundError: ")
    assert done.stderr.count("\n") == 1


def test_with_json_logs_the_error_that_ends_a_command_is_a_json_line_too(run: Run) -> None:
    status, out, err = run("--log-json", "--config", "nowhere.toml", "settings")
    assert (status, out) == (2, "")
    (line,) = map(json.loads, err.splitlines())
    assert (line["level"], line["error"]) == ("error", "SettingsRefused")
    assert "nowhere.toml: cannot be read (No such file or directory); check" in line["event"]
    assert "Traceback" not in err
    _, _, err = run("--debug", "--log-json", "--config", "nowhere.toml", "settings")
    (line,) = map(json.loads, err.splitlines())
    assert line["exception"].startswith("Traceback")


def test_debug_shows_where_an_error_arose(run: Run) -> None:
    _, _, err = run("--debug", "--set", "nope=1", "settings")
    assert "Traceback" in err
    assert err.splitlines()[-2] == "sinergi: The settings cannot be used:"


def leaves(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that has none below it, with its words."""
    below = getattr(command, "commands", {})
    for name, each in below.items():
        yield from leaves(each, *words, name)
    if not below:
        yield words, command


@pytest.mark.parametrize("name", sorted(commands.installed()))
def test_every_command_that_meets_a_missing_library_when_it_runs_names_the_extra(name: str) -> None:
    def missing(**_: object) -> None:
        raise ModuleNotFoundError(name="polars.something")

    for words, command in leaves(commands.load(name), "sinergi", name):
        command.callback = missing
        with typer.Context(command) as context, pytest.raises(errors.ExtraMissing) as caught:
            command.invoke(context)
        said = f"`{' '.join(words)}` needs the library polars, which is not installed here."
        assert str(caught.value).startswith(said)
        remedy = "from your clone of Sinergi: `pip install '/path/to/the/clone[consumers]'`."
        assert remedy in str(caught.value)


def test_the_libraries_of_every_extra_are_known() -> None:
    modules = {
        each.replace("-", "_"): module
        for module, distributions in packages_distributions().items()
        for each in distributions
    }
    wanted = {}
    for each in requires("sinergi") or ():
        if found := re.fullmatch(r"([a-z0-9-]+)[^;]*; extra == .(\w+).", each):
            name = found[1].replace("-", "_")
            wanted[modules.get(name, name)] = found[2]
    assert wanted == commands._EXTRAS


WITHOUT_EXTRAS = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from sinergi.cli import root
sys.exit(root.run(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("command", "extra"),
    long_after(
        2,
        [
            (["local", "up"], "local"),
            (["demo"], "consumers"),  # it needs both
            (["local", "status"], "local"),
            (["local", "database", "register"], "local"),
            (["--set", "agency=a", "--set", "kafka.bootstrap=h:1", "materialise"], "consumers"),
            (["db", "upgrade", "--role", "consumer", "--sql"], "consumers"),
            (["quarantine", "list"], "consumers"),
            (["replay", "sinergi.a.transfer"], "consumers"),
            (["schemas", "check"], "consumers"),
        ],
    ),
    ids=str,
)
def test_after_an_install_without_extras_each_command_names_the_extra_that_it_needs(
    tmp_path: Path, command: list[str], extra: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, ",".join(commands._EXTRAS), *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"from your clone of Sinergi: `pip install '/path/to/the/clone[{extra}]'`" in done.stderr


def test_init_prints_the_agencys_part_of_an_agreement(
    run: Run,
) -> None:
    arguments = ["init", "--agency", BNNK, "--bus", BUS, "--name", "register"]
    status, out, err = run(*arguments)
    assert status == 0
    party = tomllib.loads(out)["parties"][BNNK]
    assert party["keys"][0].startswith(f"{BUS}/{BNNK}+")
    assert party["receipt_keys"][0]["key"].startswith(f"{BUS}/{BNNK}/register+")
    assert "PRIVATE" not in out + err
    assert out.isascii()
    assert party["name"] == NAME_PLACEHOLDER
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "sinergi.toml is there already; it is never overwritten" in err
    assert "`sinergi --config sinergi.toml keys show` prints the public keys again" in err
    status, shown, _ = run("--config", "sinergi.toml", "keys", "show")
    assert (status, tomllib.loads(shown)["parties"]) == (0, {BNNK: party})


def test_provision_plans_applies_and_is_then_done(run: Run, kafka: str) -> None:
    """On an agreement of its own, so that no other test's topics are touched."""
    mark = secrets.token_hex(4)
    bus, one, two = "cli.example", f"cli-{mark}-one", f"cli-{mark}-two"
    parties = []
    for agency in (one, two):
        status, out, _ = run("init", "--agency", agency, "--bus", bus, "--folder", agency)
        assert status == 0
        parties.append(out.replace(NAME_PLACEHOLDER, agency))
    folder = Path(one)
    agreement = folder / "agreements" / "pks.toml"
    agreement.write_text(
        f'bus = "{bus}"\ntitle = "t"\nlegal_basis = ["l"]\n'
        f'numbers = [{{ party = "{one}", number = "1" }}, {{ party = "{two}", number = "2" }}]\n'
        '[in_force]\nfrom = 2020-01-01\nzone = "Asia/Jakarta"\n'
        f"{''.join(parties)}"
        f'[events.transfer]\npublishers = ["{one}"]\nreaders = ["{two}"]\n'
        'purposes = ["ESCORT"]\npartitions = 2\n'
    )
    sign(run, agreement, one, two)
    known = ["--config", str(folder / "sinergi.toml"), "--set", f"kafka.bootstrap={kafka}"]
    known += ["--set", "provision.open_brokers=true"]
    status, out, _ = run(*known, "provision", "plan", "--json")
    names = {step["topic"]: step["verdict"] for step in json.loads(out)["topics"]}
    assert names == dict.fromkeys(
        [f"sinergi.{one}.control", f"sinergi.{one}.transfer", f"sinergi.{two}.receipts"],
        "create",
    )
    assert status == 1
    assert run(*known, "provision", "apply")[0] == 0
    status, out, _ = run(*known, "provision", "plan")
    assert status == 0
    assert out.count("  ok") == 3
    agreement.write_text(agreement.read_text().replace("partitions = 2", "partitions = 3"))
    note_path(agreement).unlink()
    sign(run, agreement, one, two)
    assert run(*known, "provision", "plan")[0] == 2
    status, _, err = run(*known, "provision", "apply")
    assert status == 2
    assert f"sinergi.{one}.transfer: it has 2 partitions where 3 are wanted" in err


def sign(run: Run, agreement: Path, *agencies: str, unknown_type: str | None = None) -> None:
    """Let agencies sign, each with the settings in its folder."""
    allowed = ["--unknown-type", unknown_type] if unknown_type else []
    command = ["agreement", "sign", *allowed, str(agreement)]
    for each in agencies:
        assert run("--config", f"{each}/sinergi.toml", *command)[0] == 0


def test_no_topic_is_made_for_an_event_type_that_is_misspelt_unless_it_is_named(
    run: Run, kafka: str
) -> None:
    mark = secrets.token_hex(4)
    one, two = f"cli-{mark}-one", f"cli-{mark}-two"
    parties = [
        run("init", "--agency", each, "--bus", BUS, "--folder", each, "--full-name", each)[1]
        for each in (one, two)
    ]
    agreement = Path(one) / "agreements" / "pks.toml"
    agreement.write_text(
        f'bus = "{BUS}"\ntitle = "t"\nlegal_basis = ["l"]\n'
        f'numbers = [{{ party = "{one}", number = "1" }}, {{ party = "{two}", number = "2" }}]\n'
        '[in_force]\nfrom = 2020-01-01\nzone = "Asia/Jakarta"\n'
        f"{''.join(parties)}"
        f'[events.sezure]\npublishers = ["{one}"]\nreaders = ["{two}"]\n'
        'purposes = ["ESCORT"]\npartitions = 1\n'
    )
    sign(run, agreement, one, two, unknown_type="sezure")
    known = ["--config", f"{one}/sinergi.toml", "--set", f"kafka.bootstrap={kafka}"]
    known += ["--set", "provision.open_brokers=true", "provision"]
    topic = f"sinergi.{one}.sezure"
    status, _, err = run(*known, "apply")
    assert status == 2
    assert f"{topic}: sezure is no event type of this version" in err
    assert "did you mean seizure?" in err
    status, out, _ = run(*known, "plan", "--json")
    verdicts = {step["topic"]: step["verdict"] for step in json.loads(out)["topics"]}
    assert status == 2
    assert verdicts.pop(topic) == "refused"
    assert set(verdicts.values()) == {"ok"}
    assert run(*known, "apply", "--unknown-type", "sezure")[0] == 0
    assert run(*known, "plan")[0] == 0


def test_init_prints_the_name_that_it_is_told(run: Run) -> None:
    name = 'Lapas "Rekaan"'
    status, out, _ = run("init", "--agency", BNNK, "--bus", BUS, "--full-name", name)
    assert status == 0
    assert tomllib.loads(out)["parties"][BNNK]["name"] == name


# A command that would wait for a silent broker for an hour, and not for ten seconds as usual.
PATIENT = {"SINERGI_TIMEOUTS__KAFKA__ANSWER": "3600"}


def test_ctrl_c_ends_a_process_at_once_with_status_130_and_one_line(tmp_path: Path) -> None:
    """A real process, stopped while it waits for a broker that takes its call and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_SECONDS)
        process = subprocess.Popen(
            [sys.executable, "-m", "sinergi", "provision", "plan"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **PATIENT,
                "PYTHONFAULTHANDLER": "1",
                "SINERGI_KAFKA__BOOTSTRAP": f"127.0.0.1:{silent.getsockname()[1]}",
                "SINERGI_AGREEMENTS": str(EXAMPLE.parent),
                "SINERGI_UNSIGNED_AGREEMENTS": "true",
            },
            cwd=tmp_path,
        )
        with process, stacks_if_stuck(process), silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, out, err.splitlines()[-1]) == (130, "", "sinergi: stopped")


@contextmanager
def stacks_if_stuck(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process that does not end by itself, and fail with where each of its threads is."""
    try:
        yield
    except (TimeoutError, subprocess.TimeoutExpired):
        process.send_signal(signal.SIGABRT)
        pytest.fail(f"the process is stuck:\n{process.communicate()[1]}")


def test_python_m_sinergi_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sinergi", "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage: sinergi" in done.stdout


def test_the_package_gives_its_names_and_loads_none_before() -> None:
    for name in sinergi.__all__:
        assert getattr(sinergi, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = sinergi.Nothing
    code = "import sys, sinergi; print(sorted(each for each in sys.modules if 'sinergi' in each))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['sinergi']\n"


def test_an_agencys_system_opens_its_outbox_in_one_line(run: Run, tmp_path: Path) -> None:
    run("init", "--agency", BNNK, "--bus", BUS)
    settings = tmp_path / "sinergi.toml"
    # Nobody has the private keys of the example.
    settings.write_text(f"unsigned_agreements = true\n{settings.read_text('utf-8')}", "utf-8")
    Path("agreements/pks.toml").write_bytes(EXAMPLE.read_bytes())
    assert isinstance(sinergi.open_outbox(), sinergi.Outbox)
    assert isinstance(sinergi.open_outbox(settings), sinergi.Outbox)
    assert isinstance(sinergi.open_outbox(str(settings)), sinergi.Outbox)
    settings.write_text(settings.read_text("utf-8").replace(BNNK, "bnnk-rekan"), encoding="utf-8")
    with pytest.raises(errors.SettingsRefused, match="bnnk-rekan is party to no agreement"):
        sinergi.open_outbox()
