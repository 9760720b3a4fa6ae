"""Passwords that several commands write at once: the file that stays is what the brokers have."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

from sinergi.provision import passwords
from sinergi.provision.passwords import PasswordFolder
from sinergi_schemas import errors
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path


def test_of_two_commands_at_once_the_file_holds_the_password_that_was_set_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a watch and a person's rotation."""
    folder = tmp_path / "passwords"
    on_brokers: list[bytes] = []
    waits = Event()
    monkeypatch.setattr(passwords, "sleep", lambda _: waits.set())

    def second() -> None:
        writing = PasswordFolder(folder, print)
        with writing.locked():
            on_brokers.append(writing.write("user", is_first=False))
            writing.confirm("user", is_first=False)

    thread = Thread(target=second)
    first = PasswordFolder(folder, print)
    with first.locked():
        password = first.write("user", is_first=False)
        thread.start()
        assert PasswordFolder(folder, print).unset() == []  # nothing was interrupted
        until(lambda: waits.is_set() or not thread.is_alive(), "the second one waits, or is done")
        on_brokers.append(password)
        first.confirm("user", is_first=False)
    thread.join(PATIENCE_SECONDS)
    assert len(on_brokers) == 2
    assert (folder / "user.password").read_bytes().strip() == on_brokers[-1]
    assert not (folder / "user.password.new").exists()


def test_a_command_that_keeps_the_lock_is_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_LOCK_SECONDS", 0.1)
    folder, other = (PasswordFolder(tmp_path / "passwords", print) for _ in range(2))
    with folder.locked(), pytest.raises(errors.PasswordFileRefused, match="is locked by another"):
        other.locked().__enter__()


def test_a_file_that_cannot_get_its_final_name_is_refused_before_the_password_is_set(
    tmp_path: Path,
) -> None:
    folder = PasswordFolder(tmp_path, print)
    tmp_path.chmod(0o700)
    folder.file("user").mkdir()
    with folder.locked(), pytest.raises(errors.PasswordFileRefused, match="Is a directory"):
        folder.write("user", is_first=True)
    assert folder.unset() == folder.unfinished() == []


def test_a_user_whose_making_was_interrupted_is_told_apart_from_one_that_has_a_password(
    tmp_path: Path,
) -> None:
    folder = PasswordFolder(tmp_path / "passwords", print)
    with folder.locked():
        folder.write("made", is_first=True)
        folder.write("replaced", is_first=False)
        assert PasswordFolder(tmp_path / "passwords", print).unfinished() == []  # it is at work
    assert (folder.unfinished(), folder.unset()) == (["made"], ["replaced"])
    with folder.locked():
        for user, is_first in (("made", False), ("replaced", True)):
            folder.write(user, is_first=is_first)
            folder.confirm(user, is_first=is_first)
    assert folder.unset() == folder.unfinished() == []
