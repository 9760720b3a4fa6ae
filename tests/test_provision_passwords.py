"""Each new user gets a password of its own, and one that nobody has is replaced."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import pytest

from provisioned_bus import AGENCIES, BNNK, LAPAS, ProvisionedBus, agreement, year
from sinergi.provision.access_control import AccessControl
from sinergi.provision.passwords import PasswordFolder
from sinergi.provision.progress import Progress
from sinergi_schemas import errors
from sinergi_schemas.kafka.admin import cluster_id, describe
from waiting import until

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bus(secured_bus: ProvisionedBus) -> ProvisionedBus:
    """A bus that is provisioned."""
    secured_bus.agree(agreement(in_force={"from": year(2020)}))
    assert secured_bus.provision("apply") == 0
    return secured_bus


def test_each_password_is_in_a_file_that_only_its_owner_may_read(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bus.folder / "passwords"
    files = sorted(folder.glob("*.password*"))
    assert [each.name for each in files] == sorted(
        f"{name}.password"
        for name in (
            *(f"{agency}.{role}" for agency in AGENCIES for role in ("consumer", "producer")),
            "ombudsman.auditor",
        )
    )
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    passwords = {each.read_text().strip() for each in files}
    assert len(passwords) == len(files)
    assert all(len(each) >= 40 for each in passwords)
    bus.provision("apply")
    said = capsys.readouterr()
    assert not any(each in said.out + said.err for each in passwords)


def test_a_password_that_was_written_and_not_set_is_replaced_by_the_next_apply(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a broker that went away between the file and the user."""
    user = f"{BNNK}.consumer"
    passwords = bus.folder / "passwords"
    folder = PasswordFolder(passwords, print)
    bus.delete(user)
    with folder.locked():
        unset = folder.write(user, is_first=True)
    assert unset.decode() in (passwords / f"{user}.password.first").read_text()
    assert bus.provision("apply") == 0
    assert "interrupted" not in capsys.readouterr().err
    assert not (passwords / f"{user}.password.first").exists()
    assert unset.decode() not in (passwords / f"{user}.password").read_text()
    assert describe(bus.admin(user), [f"sinergi.{LAPAS}.transfer"])


def test_users_are_made_in_groups_and_one_whose_file_cannot_be_written_hinders_no_other(
    bus: ProvisionedBus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    users = [f"{agency}.{role}" for agency in AGENCIES for role in ("producer", "consumer")]
    bus.delete(*users)
    blocked = f"{LAPAS}.producer"
    (bus.folder / f"passwords/{blocked}.password").mkdir()
    monkeypatch.setattr("sinergi.provision.access_control._MOST_USERS", 4)
    asked: list[int] = []
    alter = AccessControl._alter

    def counting(control: AccessControl, changes: Any) -> Any:
        asked.append(len(changes))
        return alter(control, changes)

    monkeypatch.setattr(AccessControl, "_alter", counting)
    assert bus.provision("apply") == 2
    assert f"{blocked}.password" in capsys.readouterr().err
    assert asked == [3]  # the others of its group; no further group is asked for
    (bus.folder / f"passwords/{blocked}.password").rmdir()
    assert bus.provision("apply") == 0
    assert sum(asked) == len(users) == 6
    for each in users:
        assert cluster_id(bus.admin(each))


def test_a_user_whose_making_was_interrupted_gets_a_password_by_the_next_apply(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a kill between the brokers' confirmation and the final name of the file."""
    user = f"{BNNK}.consumer"
    file = bus.folder / f"passwords/{user}.password"
    assert bus.provision("apply") == 0
    unset = file.read_text()
    file.rename(f"{file}.first")
    capsys.readouterr()
    assert bus.provision("plan", "--changes") == 1
    assert user in capsys.readouterr().out
    assert bus.provision("apply") == 0
    assert "interrupted" not in capsys.readouterr().err
    assert file.read_text() != unset
    assert [*file.parent.glob("*.first")] == []
    assert bus.provision("plan") == 0
    assert describe(bus.admin(user), [f"sinergi.{LAPAS}.transfer"])


def test_an_apply_that_waits_for_another_one_gives_no_second_password(
    bus: ProvisionedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is handed over perhaps when the second one goes on."""
    user = f"{BNNK}.consumer"
    file = bus.folder / f"passwords/{user}.password"
    assert bus.provision("apply") == 0
    bus.delete(user)
    create = AccessControl.create

    def after_another(*given: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(AccessControl, "create", create)
            assert bus.provision("apply") == 0
        first.append(file.read_text())
        create(*given)

    first: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(AccessControl, "create", after_another)
        assert bus.provision("apply") == 0
    assert [file.read_text()] == first
    assert describe(bus.admin(user), [f"sinergi.{LAPAS}.transfer"])


def test_a_password_whose_replacement_was_interrupted_is_named_until_it_is_rotated(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    user = f"{BNNK}.consumer"
    warning = f"a command was interrupted while it replaced the password of {user}"
    folder = PasswordFolder(bus.folder / "passwords", print)
    with folder.locked():
        folder.write(user, is_first=False)
    capsys.readouterr()
    assert bus.provision("plan") == 0
    assert warning in capsys.readouterr().err
    assert bus.provision("rotate", BNNK) == 0
    assert bus.provision("plan") == 0
    assert "interrupted" not in capsys.readouterr().err


def test_a_password_file_that_cannot_be_written_is_named_and_no_user_is_made(
    bus: ProvisionedBus, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    control = AccessControl(bus.broker.admin, PasswordFolder(tmp_path / "file" / "x", print))
    with pytest.raises(
        errors.PasswordFileRefused,
        match=r"file/x cannot be written \(Not a",
    ):
        control._give_passwords(["user"], Progress(), is_first=True)
    found = control.read()
    assert found
    assert "user" not in found.users


def test_a_folder_that_others_may_use_gets_no_password(bus: ProvisionedBus, tmp_path: Path) -> None:
    open_folder = tmp_path / "passwords"
    open_folder.mkdir()
    open_folder.chmod(0o755)
    control = AccessControl(bus.broker.admin, PasswordFolder(open_folder, print))
    with pytest.raises(errors.PasswordFileRefused, match="is in a folder that others may use"):
        control._give_passwords(["user"], Progress(), is_first=True)
    assert list(open_folder.iterdir()) == []


def test_the_files_of_a_user_go_with_the_user(bus: ProvisionedBus, tmp_path: Path) -> None:
    files: list[Path] = []
    control = AccessControl(bus.broker.admin, PasswordFolder(tmp_path / "new", files.append))
    control._give_passwords(["user"], Progress(), is_first=True)
    (file,) = files
    first = file.read_text()
    for answer in control._delete_users(["user"]):
        answer()
    assert not file.exists()
    until(lambda: "user" not in control._users()[0], "the brokers show no such user")
    control._give_passwords(["user"], Progress(), is_first=True)
    assert file.read_text() != first
    for answer in control._delete_users(["user"]):
        answer()
