"""Wrong input of an auditor: exit status 2, nothing on standard output, one helpful line."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tomli_w
from confluent_kafka.admin import NewTopic

from agency_pair import BUS, AgencyPair, signs_nothing_else, transfer
from signed_agreement import write_signed
from sinergi.cli import root
from sinergi.exit_status import ExitStatus
from sinergi.settings.model import variable
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.topics import Topic
from test_cli import PATIENT
from test_events import NIK
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOPIC = "sinergi.lapas-rekaan.transfer"
AGREED = "sinergi.lapas-banyuwangi.transfer"
SEIZURES = "sinergi.lapas-banyuwangi.seizure"
NOWHERE = "127.0.0.1:1"
# Nobody has the private keys of the example.
SETTINGS = {
    "agreements": "agreements",
    "unsigned_agreements": True,
    "kafka": {"bootstrap": NOWHERE},
}


AS_OF = ["--as-of", "2026-03-03T17:00+07:00"]
INTO = ["--into", "postgresql://h/d"]


@dataclass
class CommandResult:
    """What came of a command."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """What is said, without the log."""
        return self.err[self.err.index("sinergi: ") :]


@pytest.fixture
def ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., CommandResult]:
    """A command at a desk whose broker is away."""
    monkeypatch.chdir(tmp_path)
    for name in ("SINERGI_CONFIG", "SINERGI_KAFKA__BOOTSTRAP"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "agreements").mkdir()
    example = Path(__file__).parent.parent / "examples" / "agreement" / "banyuwangi.toml"
    (tmp_path / "agreements" / "pks.toml").write_bytes(example.read_bytes())
    (tmp_path / "sinergi.toml").write_text(tomli_w.dumps(SETTINGS), encoding="utf-8")

    def asked(*words: str) -> CommandResult:
        capfd.readouterr()
        status = root.run(words)
        return CommandResult(status, *capfd.readouterr())

    return asked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["replay", "transfer"], "'transfer' is not sinergi.<agency>.<event-type>."),
        (
            ["replay", "change.sinergi.lapas-x.transfer"],
            "`sinergi replay sinergi.lapas-x.transfer --copy change.sinergi.lapas-x.transfer`",
        ),
        (
            ["replay", "sinergi.lapas-banyuwang.transfer"],
            "(no agency lapas-banyuwang; did you mean lapas-banyuwangi?)",
        ),
        (
            ["replay", "sinergi.bnnk-banyuwangi.transfer"],
            "covers sinergi.bnnk-banyuwangi.transfer (bnnk-banyuwangi has topics of seizure).",
        ),
        (
            ["replay", "sinergi.a.transfers"],
            "There is no event type transfers; did you mean transfer?",
        ),
        (["replay", TOPIC, "--to", "2026-03-03T17:00"], "lacks a zone offset, as +07:00"),
        (["replay", TOPIC, "--from", "2026-03-03"], "lacks a zone offset, as +07:00"),
        (["replay", TOPIC, "--to", "3 March"], "'3 March' is no time; write 2026-03-03T17:00+07"),
        (["replay", TOPIC, "--to", "2026-02-30T17:00+07:00"], "is no time; write 2026-03-03T17"),
        (
            ["replay", TOPIC, "--from", "2026-03-04T00:00Z", "--to", "2026-03-03T00:00Z"],
            "--from is not before --to",
        ),
        (["replay", TOPIC, TOPIC, "--copy", "x"], "--against-archive go with a single TOPIC"),
        (["replay", TOPIC, TOPIC, "--against", "x"], "--copy, --against and --against-archive go"),
        (["replay", TOPIC, TOPIC, "--against-archive", "x.zip"], "go with a single TOPIC"),
        (["replay", TOPIC, "--archive", "x.zip", "--copy", "x"], "leave --archive away"),
        (["replay", TOPIC, "--archive", "x.zip", "--against", "x"], "say --against-archive FILE"),
        (
            ["replay", TOPIC, "--archive", "x.zip", "--against-archive", "y.zip"],
            "leave --archive away",
        ),
        (["replay", TOPIC, "--against", "x", "--against-archive", "y.zip"], "one other copy"),
        (["replay", TOPIC, TOPIC], f"{TOPIC} is named twice"),
        (["replay", TOPIC, "--against", TOPIC], f"{TOPIC} would be compared with itself"),
        (["replay", TOPIC, "--copy", "x", "--against", "x"], "x would be compared with itself"),
        (["replay", AGREED, SEIZURES, "--output", "csv"], "say --out FOLDER for a file"),
        (
            ["replay", AGREED, "--out", "table.txt"],
            "a table is for the screen; with --out say --output ndjson or csv or parquet",
        ),
        (
            ["replay", AGREED, "--out", "x.csv"],
            "x.csv is named as csv, and --output is table; say --output csv, or name another file",
        ),
        (
            ["replay", AGREED, "--output", "ndjson", "--out", "x.Parquet"],
            "x.Parquet is named as parquet, and --output is ndjson; say --output parquet",
        ),
        (
            ["replay", AGREED, "--output", "csv", "--out", "no/x.csv"],
            "no/x.csv cannot be written (the folder no does not exist); make it, or name another",
        ),
        (
            ["replay", AGREED, "--output", "csv", "--out", "."],
            ". cannot be written (it is a folder)",
        ),
        (
            ["replay", TOPIC, "--json", "--output", "ndjson", "--out", "-"],
            "--json and the events would both go to standard output; say --out FILE",
        ),
        (
            ["replay", TOPIC, "--json", "--output", "ndjson", "--out", "/dev/stdout"],
            "--json and the events would both go to standard output; say --out FILE",
        ),
        (
            ["replay", "--agency", "nobody"],
            "--agency nobody leaves no topic to read; known are",
        ),
        (["replay", "--type", "transfers"], "--type transfers leaves no topic to read"),
        (["replay", "--output", "csv"], "say --out FOLDER for a file of each, or use ndjson"),
        (["replay", "--output", "parquet", "--out", "-"], "say --out FOLDER for a file of each"),
        (
            ["replay", "--nik", "351010"],
            "--nik has a value that no event can have; it has",
        ),
        (
            ["replay", "--region", "Banyuwangi"],
            "--region has a value that no event can have",
        ),
        (["replay", "--leaf", "3"], "--leaf '3' is no place; write PARTITION/LEAF"),
        (["replay", "--leaf", "0/5-3"], "--leaf '0/5-3' ends before it begins"),
        (["replay", "--name-like", "..."], "--name-like has no letter to look for"),
        (["replay", "--occurred-from", "2026"], "--occurred-from '2026' is no time"),
        (
            [
                "replay",
                "--occurred-from",
                "2026-03-04T00:00Z",
                "--occurred-to",
                "2026-03-04T00:00Z",
            ],
            "--occurred-from is not before --occurred-to",
        ),
        (["replay", "--into", "here"], "--into is no PostgreSQL URL; write it as postgresql://"),
        (["replay", "--into", "postgresql://h:x/d"], "--into its port is no number"),
        (
            ["replay", "--into", "postgresql://h/d", "--nik", NIK, "--related"],
            "with every event, as when live, and shows none; leave --nik, --related, and choose",
        ),
        (
            ["replay", *INTO, "--output", "csv"],
            "each table has a file of its own; say --output csv",
        ),
        (["replay", *INTO, "--out", "x"], "each table has a file of its own; say --output csv"),
        (["replay", *INTO, "--arrived-to", "2026-03-03T17:00Z"], "leave --arrived-from and --arr"),
        (["replay", "--arrived-from", "2026-03-03T17:00"], "lacks a zone offset, as +07:00"),
        (["replay", "--arrived-from", "2999-01-01T00:00Z"], "'2999-01-01T00:00Z' lies in the fut"),
        (
            ["replay", "--arrived-from", "2026-03-04T00:00Z", "--arrived-to", "2026-03-03T00:00Z"],
            "--arrived-from is not before --arrived-to",
        ),
        (["replay", "--arrived-to", "2026-03-03T17:00Z"], "say whose database: --reader AGENCY"),
        (
            ["replay", "--arrived-to", "2026-03-03T17:00Z", "--reader", "nobody"],
            'the agreements do not let "nobody" read any topic; readers are bnnk-banyuwangi',
        ),
        (["replay", "--reader", "bnnk-banyuwangi"], "--reader goes with --into, --arrived-from"),
        (["replay", *AS_OF], "--as-of fills tables; say --into URL"),
        (
            ["replay", "--as-of", "2026-03-03T17:00", *INTO],
            "--as-of '2026-03-03T17:00' lacks a zone offset, as +07:00",
        ),
        (["replay", "--as-of", "3 March", *INTO], "--as-of '3 March' is no time; write 2026-03"),
        (["replay", "--as-of", "2999-01-01T00:00Z", *INTO], "'2999-01-01T00:00Z' lies in the f"),
        (["replay", *AS_OF, *INTO], "say whose database: --reader AGENCY or AGENCY/DATABASE"),
        (
            ["replay", *AS_OF, *INTO, "--reader", "bnnk-banyuwangi/other"],
            "bnnk-banyuwangi has no other in the agreements; say --reader bnnk-banyuwangi/",
        ),
        (["replay", "--into", "postgresql://h/d", "--reader", "BNNK"], "'BNNK' names no database"),
        (["replay", "--into", "postgresql://h/d", "--reader", "bnnk/"], "'bnnk/' names no data"),
        (
            ["replay", "--into", "postgresql://h/d", "--reader", "nobody"],
            'the agreements do not let "nobody" read any topic; readers are bnnk-banyuwangi',
        ),
        (
            ["replay", TOPIC, "--into", "postgresql://h/d", "--reader", "bnnk-banyuwangi"],
            f'the agreements do not let "bnnk-banyuwangi" read {TOPIC}; readers are nobody',
        ),
        (["replay", TOPIC], f"No agreement in force covers {TOPIC}"),
        (["replay", "sinergi.bnnk-banyuwangi.transfer"], "No agreement in force covers sinergi"),
        (
            ["--set", "agreements=nowhere", "replay", TOPIC],
            "nowhere cannot be used as the folder of agreements (the setting `agreements`):\n  can",
        ),
        (
            ["--config", "nowhere.toml", "replay", TOPIC],
            "nowhere.toml: cannot be read (No such file or directory); check its name and folder",
        ),
        (["--config", ".", "replay", TOPIC], ".: cannot be read (Is a directory); name a file in"),
        (
            ["rebuild", "transfer"],
            "`sinergi rebuild` works on the database of a reading agency, and",
        ),
        (
            ["journal"],
            "That agency can run it, with its settings: `sinergi --config FILE journal`.",
        ),
        (["agreement", "show", "."], ".: cannot be read (Is a directory); name a file in it"),
        (["agreement", "show", "nix"], "(No such file or directory); check its name and folder"),
        (
            ["--set", "agreements=nix", "verify"],
            "cannot be read (No such file or directory); check its name, or make it",
        ),
        (
            ["--set", "agreements=sinergi.toml", "verify"],
            "cannot be read (Not a directory); name the folder, and not a file in it",
        ),
        (
            ["replay", AGREED, "--archive", "."],
            "cannot be read (Is a directory); name a file in it",
        ),
        (["--set", "kafka.bootstrap=", "replay", TOPIC], "kafka.bootstrap"),
        (["status"], "The brokers do not answer"),
        (["--set", "agency=UPPER", "status"], "'UPPER' cannot name an agency"),
        (["schemas", "show", "seizur"], "There is no event type seizur; did you mean seizure?"),
        (["schemas", "show", "seizure/9"], "There is no version 9 of seizure; the newest is"),
        (["schemas", "show", "seizure/x"], "There is no version x of seizure; the newest is"),
        (["schemas", "check", "nowhere"], "nowhere cannot be used: it cannot be read (No such"),
        (["schemas", "check", "sinergi.toml"], "cannot be read (Not a directory)"),
        (["schemas", "check", "."], "cannot be used: it is not <n>.avsc"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_mistake_is_told_in_one_line_and_nothing_is_shown(
    ask: Callable[..., CommandResult], words: list[str], said: str
) -> None:
    found = ask(*words)
    assert (found.status, found.out) == (ExitStatus.ERROR, "")
    assert said in found.line
    assert "Traceback" not in found.err
    assert len(found.line.splitlines()) <= 2


def test_an_auditor_is_told_what_is_for_agencies_and_which_line_would_give_a_right(
    ask: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    audited = [Topic("lapas-banyuwangi", "seizure")]
    monkeypatch.setattr(Agreements, "audited_by", lambda *_: audited)
    told = ask("status")
    assert told.status == 2
    assert "`sinergi status` is for an agency" in told.err
    told = ask("replay", AGREED)
    assert told.status == 2
    assert "no agreement lets ANONYMOUS read sinergi.lapas-banyuwangi.transfer" in told.err
    assert "reads under the table of [auditors] that has ANONYMOUS" in told.err


@pytest.mark.parametrize(
    "words",
    [
        ["replay", TOPIC, "--output", "xml"],
        ["replay", TOPIC, "--person", "x"],
        ["status", "extra"],
        ["schemas"],
        ["schemas", "shwo"],
        ["schemas", "show"],
    ],
)
def test_a_mistyped_word_is_answered_with_the_usage(
    ask: Callable[..., CommandResult], words: list[str]
) -> None:
    found = ask(*words)
    assert found.status == ExitStatus.ERROR
    assert "Usage: sinergi" in found.err + found.out


def test_a_broker_away_leaves_the_file_of_last_time_as_it_was(
    ask: Callable[..., CommandResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable("timeouts.kafka.answer"), "1")
    Path("events.csv").write_text("of last time", encoding="utf-8")
    before = sorted(Path.cwd().iterdir())
    found = ask("replay", AGREED, "--output", "csv", "--out", "events.csv")
    assert (found.status, found.out) == (ExitStatus.ERROR, "")
    assert found.line.startswith("sinergi: events.csv already exists, and is not overwritten")
    found = ask("replay", AGREED, "--output", "csv", "--out", "events.csv", "--force")
    assert found.status == ExitStatus.ERROR
    assert found.line.startswith("sinergi: The brokers do not answer (")
    assert Path("events.csv").read_text(encoding="utf-8") == "of last time"
    assert sorted(Path.cwd().iterdir()) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(b"partitions = 3", b"partitions = 0"),
        lambda text: text.replace(b"Aa8mAH", b"Ab8mAH"),
        lambda text: b"\xff" + text,
    ],
    ids=["cut off", "no partitions", "a key of another id", "not text"],
)
def test_an_agreement_that_cannot_be_read_names_the_file_and_the_place(
    ask: Callable[..., CommandResult], damage: Callable[[bytes], bytes]
) -> None:
    path = Path("agreements/pks.toml")
    path.write_bytes(damage(path.read_bytes()))
    found = ask("replay", TOPIC)
    assert (found.status, found.out) == (ExitStatus.ERROR, "")
    assert re.search(r"cannot be used as an agreement:\n  agreements/pks.toml: ", found.err)


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """A topic with some events, in a folder beside the desk."""
    folder = tmp_path / "pair"
    folder.mkdir()
    made = AgencyPair(folder, kafka, agency_slug, databases(), databases())
    made.publish(*(transfer(f"P/{number}") for number in range(300)))
    with made.relaying():
        made.until(
            lambda: (
                made.ask("SELECT sum(sent_size) FROM sinergi_producer.tree", made.producer)
                == [(300,)]
            ),
            "sent",
        )
    return made


def here(pair: AgencyPair) -> list[str]:
    return ["--set", f"kafka.bootstrap={pair.kafka}", "--set", f"agreements={pair.folder}"]


def test_an_agreement_with_another_key_proves_nothing_and_shows_nothing(
    ask: Callable[..., CommandResult], pair: AgencyPair
) -> None:
    agreement = pair.folder / "pks.toml"
    other = SigningKey.generate(f"{BUS}/{pair.publisher}")
    text = agreement.read_text(encoding="utf-8").replace(str(pair.key.public), str(other.public))
    write_signed(agreement, text, [other, signs_nothing_else(pair.reader)])
    found = ask(*here(pair), "replay", pair.topic.name, "--output", "ndjson")
    assert (found.status, found.out) == (ExitStatus.ERROR, "")
    assert "a checkpoint that the owner did not sign (SignatureMissing)" in found.err
    name, agency = pair.topic.name, pair.publisher
    said = f"verdict: undecided whether {name} is what {agency} sealed: no leaves and no"
    assert said in found.err


def test_an_emptied_topic_whose_heads_are_gone_too_is_not_told_to_be_whole(
    ask: Callable[..., CommandResult], pair: AgencyPair
) -> None:
    agreement = pair.folder / "pks.toml"
    other = SigningKey.generate(f"{BUS}/{pair.publisher}")
    text = agreement.read_text(encoding="utf-8").replace(str(pair.key.public), str(other.public))
    write_signed(agreement, text, [other, signs_nothing_else(pair.reader)])  # no head is this key's
    empty = f"copy.{pair.topic.name}"
    topics = open_admin(pair.connection)
    topics.create_topics([NewTopic(empty, pair.partitions, 1)])[empty].result(PATIENCE_SECONDS)
    found = ask(*here(pair), "replay", pair.topic.name, "--copy", empty, "--json")
    (verdict,) = json.loads(found.out)
    assert (found.status, verdict["exit_status"]) == (ExitStatus.ERROR, ExitStatus.ERROR)
    assert (verdict["holds"], verdict["findings"]) == (None, [])


def test_a_copy_that_is_not_there_is_named(
    ask: Callable[..., CommandResult], pair: AgencyPair
) -> None:
    for option in ("--copy", "--against"):
        found = ask(*here(pair), "replay", pair.topic.name, option, "nowhere", "--key", "none")
        assert found.status == ExitStatus.ERROR
        assert "there is no topic nowhere here; check its name" in found.err


def test_notes_that_find_no_room_are_named(
    ask: Callable[..., CommandResult], pair: AgencyPair
) -> None:
    Path("taken").write_text("a file", encoding="utf-8")
    found = ask(*here(pair), "replay", pair.topic.name, "--notes", "taken")
    assert found.status == ExitStatus.ERROR
    assert "sinergi: taken cannot be written (it is no folder); name another folder." in found.err
    assert found.out == ""


def test_a_reader_that_has_had_enough_is_no_disproof(
    ask: Callable[..., CommandResult], pair: AgencyPair
) -> None:
    assert ask is not None  # the desk
    command = [sys.executable, "-m", "sinergi", *here(pair), "replay", pair.topic.name]
    for output in ("ndjson", "parquet"):
        with subprocess.Popen(
            [*command, "--output", output], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            said = process.stderr.read().decode()
            assert process.wait(PATIENCE_SECONDS) == ExitStatus.OUTPUT_CLOSED, said
        assert "bug" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
def test_parquet_whose_reader_stalls_can_be_stopped(
    ask: Callable[..., CommandResult], pair: AgencyPair, number: signal.Signals, out: str
) -> None:
    assert ask is not None  # the desk
    reading, writing = os.pipe()
    # Two pages: one for the first four bytes, which are written before there is an event, and one
    # for events. So when it is full, the command waits for the file to be finished.
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 2 * os.sysconf("SC_PAGESIZE"))
    words = [*here(pair), "replay", pair.topic.name, "--output", "parquet", "--out", out]
    with subprocess.Popen(
        [sys.executable, "-m", "sinergi", *words],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **PATIENT},
    ) as process:
        assert process.stderr is not None
        try:
            # `select.select` takes no descriptor above 1,023.
            poll = select.poll()
            poll.register(writing, select.POLLOUT)
            until(lambda: not poll.poll(0), "the pipe is full")
            process.send_signal(number)
            assert process.wait(PATIENCE_SECONDS) == ExitStatus.STOPPED
        finally:
            process.kill()
        assert process.stderr.read().splitlines()[-1] == "sinergi: stopped"
    os.close(reading)
    os.close(writing)


def unfinished() -> Iterator[Path]:
    return Path.cwd().glob(".sinergi-*")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_replay_that_is_stopped_leaves_no_file(
    ask: Callable[..., CommandResult], number: signal.Signals
) -> None:
    assert ask is not None  # the desk
    with socket.create_server(("127.0.0.1", 0)) as broker:
        mute = f"kafka.bootstrap=127.0.0.1:{broker.getsockname()[1]}"
        words = ["--set", mute, "replay", AGREED, "--output", "csv", "--out", "events.csv"]
        with subprocess.Popen(
            [sys.executable, "-m", "sinergi", *words],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **PATIENT},
        ) as process:
            assert process.stderr is not None
            broker.settimeout(PATIENCE_SECONDS)
            broker.accept()[0].close()  # it is under way
            until(lambda: any(unfinished()), "the output is begun")
            process.send_signal(number)
            assert process.wait(PATIENCE_SECONDS) == ExitStatus.STOPPED
            assert process.stderr.read().splitlines()[-1] == "sinergi: stopped"
    assert not [*unfinished(), *Path.cwd().glob("events*")]
