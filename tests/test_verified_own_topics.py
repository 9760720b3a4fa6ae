"""`sinergi verify` of an agency that reads and publishes: its own topics are verified too."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import NewTopic

from sinergi import migrate
from sinergi.cli.root import run
from sinergi_schemas.kafka.admin import open_admin
from test_verify import empty, separate, verified, verified_pair
from verified_database import COUNT
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agency_pair import AgencyPair
    from verified_database import VerifiedDatabase

__all__ = ["empty", "separate", "verified", "verified_pair"]  # fixtures


@dataclass
class Neighbour:
    """The publisher of a pair, which reads transfers of the reader too, of which there are none."""

    pair: AgencyPair
    database: str
    capsys: pytest.CaptureFixture[str]

    @property
    def own(self) -> str:
        return self.pair.topic.name

    @property
    def other(self) -> str:
        return f"sinergi.{self.pair.reader}.transfer"

    def verify(self, *words: str) -> tuple[int, dict[str, Any]]:
        settings = ("--config", str(self.pair.agency_settings))
        self.capsys.readouterr()
        status = run([*settings, "--set", f"consumer.database={self.database}", *words, "--json"])
        out, err = self.capsys.readouterr()
        assert out, err
        return status, json.loads(out)


@pytest.fixture
def neighbour(
    separate: VerifiedDatabase,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> Neighbour:
    pair = separate.pair
    swapped = {"publishers": [pair.reader], "readers": [pair.publisher]}
    events = {"transfer": pair.agreement["events"]["transfer"] | swapped}
    pair.agree(pair.agreement | {"events": events}, "other.toml")
    made = Neighbour(pair, databases(), capsys)
    migrate.upgrade(made.database, migrate.Role.CONSUMER, pair.projections)
    admin = open_admin(pair.connection)
    topic = NewTopic(made.other, pair.partitions, -1)
    admin.create_topics([topic])[made.other].result(PATIENCE_SECONDS)
    return made


def of_topic(found: dict[str, Any], topic: str) -> dict[str, tuple[str, str]]:
    """The parts of a topic: verdict and what was found."""
    return {
        each["part"]: (each["verdict"], each["found"])
        for each in found["parts"]
        if each["of"].endswith(topic)
    }


def test_an_agency_verifies_its_own_topics_beside_those_that_it_reads(
    neighbour: Neighbour,
) -> None:
    status, found = neighbour.verify("verify")
    assert status == 2  # nobody has published in the other topic
    own = of_topic(found, neighbour.own)
    assert {part: verdict for part, (verdict, _) in own.items()} == {
        "seal": "proved",
        "heads": "proved",
        "receipts": "proved",
    }
    assert own["seal"][1] == f"{COUNT} leaves"
    assert own["receipts"][1] == f"{COUNT} of {COUNT} leaves"
    assert {"seal", "position"} <= of_topic(found, neighbour.other).keys()
    # No row of its own events is expected in its database.
    rows = [each for each in found["parts"] if each["part"] == "rows"]
    assert rows
    assert found["differing_rows"] == 0


def test_an_agency_may_name_its_own_topic_alone(neighbour: Neighbour) -> None:
    status, found = neighbour.verify("verify", neighbour.own)
    assert status == 0
    assert {each["part"] for each in found["parts"]} == {"seal", "heads", "receipts"}


def test_own_topics_in_an_archive_are_verified_too(neighbour: Neighbour, tmp_path: Path) -> None:
    file = tmp_path / "archive.zip"
    assert neighbour.verify("archive", "create", "-o", str(file))[0] == 0
    _, of_brokers = neighbour.verify("verify")
    _, of_archive = neighbour.verify("verify", "--archive", str(file))
    for topic in (neighbour.own, neighbour.other):
        found = of_topic(of_archive, topic)
        assert found.keys() == of_topic(of_brokers, topic).keys()
        assert found["seal"] == of_topic(of_brokers, topic)["seal"]


def test_where_no_producer_is_set_up_its_own_topics_are_left_out_unless_named(
    verified: VerifiedDatabase,
) -> None:
    """The machine of a materialiser need not have the producer's password."""
    pair = verified.pair
    own = f"sinergi.{pair.reader}.transfer"
    swapped = {"publishers": [pair.reader], "readers": [pair.publisher]}
    events = {"transfer": pair.agreement["events"]["transfer"] | swapped}
    pair.agree(pair.agreement | {"events": events}, "other.toml")
    status, found = verified.document("verify")
    assert status == 0
    assert own not in json.dumps(found)
    status, _, err = verified.run("verify", own)
    assert status == 2
    assert f"{own} is not on these brokers" in err
