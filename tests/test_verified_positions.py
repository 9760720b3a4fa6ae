"""`sinergi verify` and `reconcile` over positions and checkpoints that somebody has edited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sinergi_schemas.topics import TopicPartition
from test_reconcile import COUNT, Desk, desk, desk_pair, totals
from test_verify import verified, verified_pair

if TYPE_CHECKING:
    from verified_database import VerifiedDatabase

__all__ = ["desk", "desk_pair", "verified", "verified_pair"]  # fixtures

_OF_ONE = "WHERE projection = 'transfer' AND partition = 0"


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (r"frontier = '\x00'", "1 bytes are not a sequence of SHA-256 hashes"),
        ("tree_size = tree_size + 1024", "hashes are not a frontier of"),
        ("tree_size = 0", "hashes are not a frontier of 0 leaves"),
    ],
    ids=["hashes", "larger", "smaller"],
)
def test_a_position_whose_hashes_do_not_fit_is_disproved_and_all_else_is_checked(
    verified: VerifiedDatabase, edit: str, why: str
) -> None:
    pair = verified.pair
    verified.execute(
        f"UPDATE sinergi_consumer.position SET {edit} {_OF_ONE}",
        "UPDATE sinergi.transfer_history SET reason = 'OWN_REQUEST'"
        " WHERE record_id = 'P/3' AND revision = 1",
    )
    status, found = verified.document("verify")
    disproved = {each["part"]: each for each in found["parts"] if each["verdict"] == "disproved"}
    assert (status, sorted(disproved)) == (1, ["position", "rows"])
    assert disproved["position"]["of"] == f"transfer on {pair.topic.name}"
    assert "partition 0: sinergi_consumer.position.frontier" in disproved["position"]["found"]
    assert why in disproved["position"]["found"]
    assert "sinergi_consumer.position" in disproved["position"]["could_be_done_by"]
    assert disproved["rows"]["of"] == "sinergi.transfer_history"
    not_checked = {each["of"]: each for each in found["parts"] if each["verdict"] == "not checked"}
    assert "sinergi.transfer" in not_checked
    where = TopicPartition(pair.topic.name, 0)
    assert f"its position was edited in {where}" in not_checked["sinergi.transfer"]["found"]


def test_a_name_that_is_no_topic_is_disproved_and_all_else_is_proved(
    verified: VerifiedDatabase,
) -> None:
    verified.execute(
        "INSERT INTO sinergi_consumer.position (projection, topic, partition)"
        " VALUES ('transfer', 'no topic', 7)",
        "INSERT INTO sinergi_consumer.checkpoint SELECT (jsonb_populate_record(c,"
        """ '{"topic": "no topic"}')).* FROM sinergi_consumer.checkpoint AS c""",
    )
    status, found = verified.document("verify")
    wrong = [each for each in found["parts"] if each["verdict"] != "proved"]
    assert status == 1
    assert [each["part"] for each in wrong].count("position") == 1
    assert {(each["part"], each["verdict"]) for each in wrong} == {
        ("checkpoint", "disproved"),
        ("position", "disproved"),
    }
    assert all("no topic" in each["of"] for each in wrong)


def test_a_database_with_an_edited_position_is_not_reconciled_and_the_other_sides_are(
    desk: Desk,
) -> None:
    desk.execute(
        desk.pair.consumer, "UPDATE sinergi_consumer.position SET tree_size = tree_size + 1024"
    )
    status, found = desk.document()
    assert (status, found["equal"]) == (2, None)
    assert "hashes are not a frontier of" in found["not_read"][desk.reader]
    assert totals(found, "outbox", "events") == COUNT
