"""A question for a group's members is asked again while brokers pass the group on."""

from __future__ import annotations

import pytest

from sinergi_schemas import errors
from sinergi_schemas.kafka import Connection, groups
from sinergi_schemas.kafka.admin import Admin, open_admin
from sinergi_schemas.kafka.groups import GroupMembers, settled_members


@pytest.fixture
def admin(kafka: str) -> Admin:
    return open_admin(Connection(kafka))


def test_the_members_are_asked_for_until_the_group_has_a_coordinator(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def members(_: Admin, group: str) -> GroupMembers:
        asked.append(group)
        if len(asked) < 3:
            raise errors.BrokersChanging("NOT_COORDINATOR")
        return GroupMembers(())

    monkeypatch.setattr(groups, "members", members)
    assert settled_members(admin, "bnnk.main") == GroupMembers(())
    assert asked == ["bnnk.main"] * 3


def test_a_group_that_never_gets_a_coordinator_is_reported(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def members(_admin: Admin, _group: str) -> GroupMembers:
        raise errors.BrokersChanging("NOT_COORDINATOR")

    monkeypatch.setattr(groups, "members", members)
    monkeypatch.setattr(Admin, "answer_seconds", 0.0)
    with pytest.raises(errors.BrokersChanging):
        settled_members(admin, "bnnk.main")
