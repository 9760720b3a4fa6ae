"""Every output file that a person names is written by the same rule."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from sinergi_schemas.errors import OutputExists, OutputRefused
from sinergi_schemas.files.output_file import AS_USUAL, OWNER_FOLDER, OutputFile
from sinergi_schemas.files.output_folder import make_folder
from test_wrong_input_audit import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from test_wrong_input_audit import CommandResult

__all__ = ["ask"]  # fixture

ROOT = Path(__file__).parents[1]


def write(path: Path, data: bytes = b"new", *, force: bool = False) -> None:
    with OutputFile.open(path, force=force) as target:
        target.write(data)


def entries(folder: Path) -> dict[str, bytes | str]:
    """What a folder holds: the bytes of its files, the targets of its links, else the kind."""
    found: dict[str, bytes | str] = {}
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[path.name] = str(path.readlink())
        elif stat.S_ISREG(mode):
            found[path.name] = path.read_bytes()
        else:
            found[path.name] = stat.filemode(mode)[0]
    return found


@pytest.mark.parametrize("name", ["events.csv", "a%b", "ü,ö", "a\\b", "a b\n", "x" * 255, "-x"])
def test_a_new_file_is_the_owners_and_stands_alone(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert entries(tmp_path) == {name: b"new"}
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_a_file_for_everybody_is_as_the_umask_says(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    before = os.umask(0o027)
    try:
        with OutputFile.open(path, mode=AS_USUAL) as target:
            target.write(b"new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_there_is_replaced_by_force_only(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"old")
    for attempt in (write, OutputFile.check):
        with pytest.raises(OutputExists, match=r"events\.csv already exists"):
            attempt(path)
    assert entries(tmp_path) == {"events.csv": b"old"}
    OutputFile.check(path, force=True)
    write(path, force=True)
    assert entries(tmp_path) == {"events.csv": b"new"}


def broken_off(target: OutputFile) -> None:
    target.write(b"half")
    raise KeyboardInterrupt


@pytest.mark.parametrize("there", [True, False])
def test_what_is_not_finished_leaves_everything_as_it_was(tmp_path: Path, *, there: bool) -> None:
    path = tmp_path / "events.csv"
    if there:
        path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), OutputFile.open(path, force=True) as target:
        broken_off(target)
    assert entries(tmp_path) == ({"events.csv": b"old"} if there else {})


def test_a_file_that_comes_meanwhile_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    with pytest.raises(OutputExists), OutputFile.open(path):
        path.write_bytes(b"somebody's")
    assert entries(tmp_path) == {"events.csv": b"somebody's"}


def test_a_file_system_without_hard_links_keeps_the_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    write(tmp_path / "one")
    with pytest.raises(OutputExists), OutputFile.open(tmp_path / "two"):
        (tmp_path / "two").write_bytes(b"somebody's")
    assert entries(tmp_path) == {"one": b"new", "two": b"somebody's"}


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    (tmp_path / "folder").mkdir()
    folder = tmp_path / "folder-link"
    folder.symlink_to("folder")
    real.write_bytes(b"old")
    link.symlink_to("real")
    with pytest.raises(OutputExists):
        write(link)
    write(link, force=True)
    write(folder / "inside")
    assert entries(tmp_path) == {
        "real": b"new",
        "link": "real",
        "folder": "d",
        "folder-link": "folder",
    }
    assert entries(tmp_path / "folder") == {"inside": b"new"}


@pytest.mark.parametrize("target", ["nowhere", "link", "folder/inside"])
def test_a_link_to_nothing_makes_nothing(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(target)
    for attempt in (write, OutputFile.check):
        for force in (True, False):
            with pytest.raises(OutputRefused, match="a symbolic link to nothing"):
                attempt(tmp_path / "link", force=force)
    assert entries(tmp_path) == {"folder": "d", "link": target}
    assert entries(tmp_path / "folder") == {}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("folder", r"it is a folder\); name a file in it"),
        ("none/file", r"the folder .*/none does not exist\); make it, or name another file"),
        ("file/x", "file is no folder|Not a directory"),
        ("x" * 256, "File name too long"),
    ],
)
def test_what_can_be_no_file_is_refused_before_any_work(
    tmp_path: Path, path: str, why: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    for attempt in (write, OutputFile.check):
        with pytest.raises(OutputRefused, match=why):
            attempt(tmp_path / path)
    assert entries(tmp_path) == {"folder": "d", "file": b"old"}


@contextmanager
def read_from(path: Path) -> Iterator[list[bytes]]:
    """Somebody who reads a FIFO to its end."""
    found: list[bytes] = []
    reader = Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    yield found
    reader.join(20)


@pytest.mark.parametrize("force", [True, False])
def test_a_fifo_is_written_into_and_stays(tmp_path: Path, *, force: bool) -> None:
    path, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(path)
    link.symlink_to("fifo")
    for each in (path, link):
        with read_from(path) as found:
            write(each, b"data", force=force)
        assert found == [b"data"]
    assert entries(tmp_path) == {"fifo": "p", "link": "fifo"}


@pytest.mark.parametrize("force", [True, False])
def test_a_device_is_written_into_and_stays(*, force: bool) -> None:
    before = Path("/dev/null").stat()
    write(Path("/dev/null"), force=force)
    after = Path("/dev/null").stat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    with pytest.raises(OutputRefused, match=r"/dev/full cannot be written \(No space left"):
        write(Path("/dev/full"), force=force)
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_standard_output_that_cannot_be_written_is_called_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it would fail once more
    monkeypatch.setattr("sys.stdout", full)
    said = r"^standard output cannot be written \(No space left"
    with pytest.raises(OutputRefused, match=said), OutputFile.open(Path("-")) as target:
        target.write(b"x")
    monkeypatch.undo()
    with suppress(OSError):
        full.close()


CODE = """
import sys
from pathlib import Path
from sinergi_schemas.files.output_file import OutputFile
print("first")
with OutputFile.open(Path(sys.argv[1])) as target:
    target.write(b"second\\n")
print("third")
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "-", "link"])
def test_standard_output_by_any_name_is_written_into(tmp_path: Path, name: str) -> None:
    """In the order in which things are said, also where a shell has sent it to a file."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    command = [sys.executable, "-c", CODE, name]
    piped = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    with (tmp_path / "out").open("wb") as out:
        subprocess.run(command, cwd=tmp_path, stdout=out, check=True)
    assert piped.stdout == b"first\nsecond\nthird\n"
    assert entries(tmp_path) == {"link": "/dev/stdout", "out": piped.stdout}


def test_a_reader_that_closes_a_pipe_is_no_error_of_ours() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError), OutputFile.open(Path(f"/dev/fd/{writer}")) as target:
        target.write(b"x" * 100_000)
    os.close(writer)


def test_nothing_else_in_the_commands_writes_a_file() -> None:
    """Whoever opens a file to write beside the rule has its reason here."""
    reasons = {
        "deploy/sinergi/cli/terminal.py": "a stream that was closed before we began",
        "deploy/sinergi/cli/native_output.py": "standard error, by another descriptor",
        "deploy/sinergi/settings/initialise.py": "an agency's own first files, never over others",
        "deploy/sinergi/settings/agreement_files.py": "the note of signatures, which grows by one",
        "deploy/sinergi/provision/passwords.py": "a new password, never over another one",
        "deploy/sinergi/local": "the services' own folder",
        "deploy/sinergi/demo": "the demo's own folder",
    }
    for place in ("producers/sinergi_producers", "consumers/sinergi_consumers", "deploy/sinergi"):
        for path in sorted((ROOT / place).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(tuple(reasons)):
                assert list(writers(path)) == [], name


def writers(path: Path) -> Iterator[int]:
    """The lines of a module on which it writes, removes or replaces a file."""
    methods = {"write_text", "write_bytes", "touch", "unlink", "rmtree", "hardlink_to"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in methods or (name in {"open", "fdopen"} and opens_to_write(node)):
                yield node.lineno


def opens_to_write(call: ast.Call) -> bool:
    """Whether one of its arguments is a mode that writes."""
    values = (*call.args, *(each.value for each in call.keywords))
    modes = [each.value for each in values if isinstance(each, ast.Constant)]
    return any(
        isinstance(each, str) and set(each) & set("wax+") and set(each) <= set("rwaxbt+")
        for each in modes
    )


OUT = "none/file"
TOPIC = "sinergi.lapas-banyuwangi.transfer"


@pytest.mark.parametrize(
    "words",
    [
        ["archive", "create", TOPIC, "-o", OUT],
        ["evidence", "create", TOPIC, "--key", "P/1", "--why", "a test", "-o", OUT],
        ["evidence", "page", "-o", OUT],
        ["record", "transfer", "P/1", "--html", OUT],
        ["reconcile", TOPIC, "--out", OUT],
        ["replay", TOPIC, "--output", "ndjson", "--out", OUT],
        ["verify", TOPIC, "--out", OUT],
    ],
    ids=" ".join,
)
def test_every_command_says_that_the_folder_of_its_file_does_not_exist(
    ask: Callable[..., CommandResult], words: list[str]
) -> None:
    found = ask(*words)
    assert (found.status, found.out) == (2, "")
    said = f"{OUT} cannot be written (the folder none does not exist); make it, or name another"
    assert said in found.line
    assert not Path("none").exists()


def test_a_folder_for_files_is_made_with_those_above_it(tmp_path: Path) -> None:
    made, file = tmp_path / "of" / "today", tmp_path / "file"
    make_folder(made, OWNER_FOLDER)
    make_folder(made, AS_USUAL)
    assert made.stat().st_mode & 0o777 == OWNER_FOLDER
    file.write_bytes(b"old")
    with pytest.raises(OutputRefused, match=r"it is no folder\); name another folder"):
        make_folder(file)
