"""An agency replaces its key as the runbook says, and what it sealed before still verifies."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import tomli_w

from agency_pair import BUS, RELOADING, AgencyPair, running, transfer
from signed_agreement import copy_signed, write_signed
from sinergi.cli.relay import setup_of
from sinergi.cli.root import run
from sinergi.settings import settings
from sinergi_producers.relay.factory import build_relay
from sinergi_schemas import message
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.seal.note import parse_note
from sinergi_schemas.seal.writer import TreeWriter
from test_personal_data import send
from test_relay import messages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi_consumers.testing.tape import TapeMessage
    from sinergi_producers.relay.loop import Relay
    from sinergi_schemas.seal.keys import VerifyingKey


SKIPPED = "SELECT 1 FROM sinergi_consumer.skipped WHERE cause LIKE '%KeyReplaced%'"


@pytest.fixture
def pair(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
) -> AgencyPair:
    """Reader and relay have a folder of agreements each, which they read again each moment."""
    folder = tmp_path / "agency"
    folder.mkdir()
    pair = AgencyPair(folder, kafka, agency_slug, databases(), databases(), 1, timeouts=RELOADING)
    readers = tmp_path / "reader"
    readers.mkdir()
    copy_signed(folder / "pks.toml", readers)
    pair.bus = replace(pair.bus, load=lambda: Agreements.load(readers))
    return pair


def relay_of(pair: AgencyPair) -> Relay:
    """A relay out of the agency's settings, as the command makes it."""
    return build_relay(setup_of(settings.load(pair.agency_settings, {}, {})))


def publish(pair: AgencyPair, *record_ids: str) -> None:
    """Publish events one by one, each under a checkpoint of its own."""
    for each in record_ids:
        pair.publish(transfer(each))
        pair.until(lambda: unsealed(pair) == 0, "what was published is sealed")


def leads(pair: AgencyPair, epoch: int) -> bool:
    question = f"SELECT 1 FROM sinergi_producer.lease WHERE epoch >= {epoch}"
    return bool(pair.ask(question, pair.producer))


def unsealed(pair: AgencyPair) -> int:
    question = "SELECT count(*) FROM sinergi_producer.outbox WHERE leaf_index IS NULL"
    return int(pair.ask(question, pair.producer)[0][0])


def replace_key(pair: AgencyPair, capsys: pytest.CaptureFixture[str], margin: int) -> str:
    """Steps 1 and 2 of the runbook: the next agreement, with the lines that the command prints."""
    capsys.readouterr()
    command = ["--config", str(pair.agency_settings), "keys", "replace", "--margin", str(margin)]
    assert run(command) == 0
    lines = tomllib.loads(capsys.readouterr().out)
    document = pair.agreement | {"replaces": lines["replaces"]}
    document["parties"][pair.publisher] |= lines["parties"][pair.publisher]
    document["in_force"]["from"] = datetime(2021, 1, 1, tzinfo=UTC)
    return tomli_w.dumps(document)


def agree(pair: AgencyPair, text: str) -> None:
    """Step 2 of the runbook: all parties sign the next version, the publisher with both keys."""
    file = pair.folder / "next.toml"
    _, reader = pair.party_keys
    write_signed(file, text, [reader])
    sign = ["--config", str(pair.agency_settings), "agreement", "sign", str(file)]
    assert run(sign) == 0


def signers(pair: AgencyPair) -> dict[int, list[bytes]]:
    """By tree size, the ids of the keys that have signed the topic's checkpoints."""
    found = {}
    for each in map(message.parse, messages(pair)):
        if each.sealed:
            note = parse_note(each.sealed.note)
            found[int(note.text.split("\n")[1])] = [line.key_id for line in note.signatures]
    return found


def ids(*keys: VerifyingKey) -> list[bytes]:
    return [each.id for each in keys]


def test_a_key_is_replaced_while_everything_runs_and_nothing_becomes_unprovable(
    pair: AgencyPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = pair.key.public
    with running(relay_of(pair).run), pair.materialising():
        publish(pair, "P/1", "P/2")
        text = replace_key(pair, capsys, margin=2)  # leaves 3 and 4 bear both signatures
        assert replace_key(pair, capsys, margin=2) == text, "the same key again"
        agree(pair, text)
        new = Agreements.load(pair.folder).keys(pair.publisher)[0]
        told = "SELECT 1 FROM sinergi_producer.lease WHERE epoch > 1"
        pair.until(lambda: bool(pair.ask(told, pair.producer)), "the relay has loaded it")
        publish(pair, "P/3", "P/4", "P/5", "P/6")
        # The reader knows the old agreement, and follows up to the last size of the old key.
        pair.until_rows("sinergi.transfer", 4)
        pair.until(lambda: 6 in signers(pair), "all of them on the topic")
        assert pair.count("sinergi.transfer") == 4
        copy_signed(pair.folder / "next.toml", tmp_path / "reader")
        pair.until_rows("sinergi.transfer", 6)
    assert signers(pair) == {
        1: ids(old),
        2: ids(old),
        3: ids(old, new),
        4: ids(old, new),
        5: ids(new),
        6: ids(new),
    }
    # The old private key is needed no more.
    (pair.agency_settings.parent / "keys" / "own.key").unlink()
    with running(relay_of(pair).run), pair.materialising():
        publish(pair, "P/7")
        pair.until_rows("sinergi.transfer", 7)
    assert pair.count("sinergi_consumer.quarantine") == 0
    # Whoever has only the newest agreements, and reads from the first leaf, proves all of it.
    assert run(["--config", str(pair.reader_settings), "replay", pair.topic.name]) == 0
    assert "is what" in "".join(capsys.readouterr())


def test_whoever_has_the_replaced_key_adds_nothing(
    pair: AgencyPair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(relay_of(pair).run):
        publish(pair, "P/1", "P/2")
    text = replace_key(pair, capsys, margin=0)
    agree(pair, text)
    copy_signed(pair.folder / "next.toml", tmp_path / "reader")
    del pair.agreements
    pair.bus = replace(pair.bus, agreements=pair.agreements)
    with running(relay_of(pair).run), pair.materialising():
        publish(pair, "P/3")
        pair.until(lambda: 3 in signers(pair), "the new key has signed")
        send(pair, forged(pair))
        pair.until(lambda: bool(pair.ask(SKIPPED)), "the reader has skipped what is forged")
        publish(pair, "P/4")
        pair.until_rows("sinergi.transfer", 4)
    rows = pair.ask("SELECT record_id FROM sinergi.transfer ORDER BY 1")
    assert rows == [("P/1",), ("P/2",), ("P/3",), ("P/4",)]


def forged(pair: AgencyPair) -> list[TapeMessage]:
    """The next leaf of the topic, sealed with the old key alone."""
    known = [each for each in map(message.parse, messages(pair)) if each.sealed]
    last = known[-1].sealed
    assert last
    tape = pair.tape()
    tape._writer = TreeWriter(
        f"{BUS}/{pair.topic.name}/0", [pair.key], Frontier(3, tuple(last.frontier))
    )
    return tape.write([transfer("FORGED")])
