"""An agreement file that cannot be used stops nothing else."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import NewTopic
from structlog.testing import capture_logs

from agency_pair import RELOADING, AgencyPair, running, transfer
from sinergi.cli.root import run
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.errors import AgreementRefused
from sinergi_schemas.kafka.admin import open_admin
from test_relay import relay_of
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNUSABLE = {
    "nested": "a = " + "[" * 3_000 + "]" * 3_000,
    "huge": f"numbers = [{{ party = 0x{'f' * 6_000} }}]",
    "deep": "a." * 20_000 + "a = 1",
    "late": "[in_force]\nfrom = 9999-12-31T23:59:59-07:00",
    "empty": "",
}


@pytest.fixture
def pair(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
) -> AgencyPair:
    """A bus on which agreements are read again each moment."""
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), 1, timeouts=RELOADING)


def test_running_processes_keep_their_agreements_beside_a_file_that_cannot_be_used(
    pair: AgencyPair,
) -> None:
    refused: Counter[str] = Counter()

    def loading(name: str) -> Callable[[], Agreements]:
        def load() -> Agreements:
            try:
                return Agreements.load(pair.folder)
            except AgreementRefused:
                refused[name] += 1
                raise

        return load

    pair.bus = replace(pair.bus, load=loading("materialiser"))
    relay = relay_of(pair, loading("relay"))
    with running(relay.run), pair.materialising():
        pair.publish(transfer("T/0"))
        pair.until_rows("sinergi.transfer", 1)
        for count, (name, text) in enumerate(UNUSABLE.items(), start=2):
            refused.clear()
            (pair.folder / "hostile.toml").write_text(text, encoding="utf-8")
            pair.until(lambda: len(refused) == 2, f"both have refused the {name} file")
            pair.publish(transfer(f"T/{count}"))
            pair.until_rows("sinergi.transfer", count)


def of_an_unknown_type(pair: AgencyPair) -> dict[str, Any]:
    """A valid agreement by which both agencies publish and read what only a newer version knows."""
    terms = pair.agreement["events"]["transfer"]
    both = {
        "publishers": [pair.publisher, pair.reader],
        "readers": [pair.publisher, pair.reader],
    }
    return pair.agreement | {"events": {"gossip": terms | both}}


def make_topics(pair: AgencyPair) -> None:
    """What `sinergi provision apply` makes of it."""
    admin = open_admin(pair.connection)
    names = [f"sinergi.{each}.gossip" for each in (pair.publisher, pair.reader)]
    for made in admin.create_topics([NewTopic(each, 1, 1) for each in names]).values():
        made.result(timeout=PATIENCE_SECONDS)


def test_what_is_known_goes_on_when_an_agreement_on_an_unknown_event_type_is_loaded(
    pair: AgencyPair,
) -> None:
    make_topics(pair)
    pair.bus = replace(pair.bus, load=lambda: Agreements.load(pair.folder))
    relay = relay_of(pair, lambda: Agreements.load(pair.folder))
    with capture_logs() as log, running(relay.run), pair.materialising():
        pair.publish(transfer("T/0"))
        pair.until_rows("sinergi.transfer", 1)
        pair.agree(of_an_unknown_type(pair), "gossip.toml")
        told = {
            "this version does not know an event type of the agreements",
            "topic not read, since this version does not know its event type",
        }
        pair.until(lambda: told <= {each["event"] for each in log}, "both have said so")
        pair.publish(transfer("T/1"))
        pair.until_rows("sinergi.transfer", 2)
    assert all("install the version" in each["mend"] for each in log if "mend" in each)


def test_processes_start_beside_an_agreement_on_an_unknown_event_type(
    pair: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    make_topics(pair)
    pair.agree(of_an_unknown_type(pair), "gossip.toml")
    pair.publish(transfer("T/0"))
    with pair.relaying(), pair.worker("a") as worker:
        pair.until_rows("sinergi.transfer", 1)
        (warning,) = [each for each in worker.said if each.get("event_type") == "gossip"]
        assert warning["topic"] == f"sinergi.{pair.publisher}.gossip"
        assert warning["level"] == "warning"
        assert "install the version of Sinergi that has it" in warning["mend"]
    capsys.readouterr()
    assert run(["--config", str(pair.reader_settings), "status", "--json"]) in {0, 1}
    document = json.loads(capsys.readouterr().out)
    assert [each["topic"] for each in document["reading"]["topics"]] == [pair.topic.name]
    for agency in (pair.publisher, pair.reader):
        said = f"sinergi.{agency}.gossip is left aside, since this version does not know the event"
        assert any(each.startswith(said) for each in document["remarks"])


def test_a_materialiser_with_nothing_but_unknown_event_types_to_read_says_so(
    pair: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.agree(of_an_unknown_type(pair))
    assert run(["--config", str(pair.reader_settings), "materialise"]) == 2
    assert "There is no event type gossip; there are seizure" in capsys.readouterr().err
