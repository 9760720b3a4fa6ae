"""A question to a cluster is asked again while its brokers replace one that has gone away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sinergi.provision import repeated_question
from sinergi_schemas import errors
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import broker_ids

if TYPE_CHECKING:
    from sinergi_schemas.kafka.admin import Admin


@pytest.fixture
def connection(kafka: str) -> Connection:
    return Connection(kafka)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated_question, "_PAUSE_SECONDS", 0)


def test_it_is_asked_with_a_new_client_until_the_controller_answers(
    connection: Connection,
) -> None:
    asked: list[Admin] = []
    told: list[int] = []

    def question(admin: Admin) -> list[int]:
        asked.append(admin)
        if len(asked) < repeated_question.TRIES:
            raise errors.ControllerAway("timed out")
        return broker_ids(admin)

    assert repeated_question.ask(connection, question, told.append)
    assert len({id(each) for each in asked}) == repeated_question.TRIES
    assert told == [3, 2, 1]


def test_the_last_failure_is_reported(connection: Connection) -> None:
    def question(_: Admin) -> None:
        raise errors.ControllerAway("timed out")

    with pytest.raises(errors.ControllerAway):
        repeated_question.ask(connection, question, lambda _: None)


def test_it_is_asked_once_if_no_broker_answers_at_all() -> None:
    told: list[int] = []

    def question(_: Admin) -> None:
        raise errors.BrokerAway("refused")

    with pytest.raises(errors.BrokerAway):
        repeated_question.ask(Connection("127.0.0.1:1"), question, told.append)
    assert told == []
