"""Evidence is made from the topics, and verifies with nothing but the agreement."""

from __future__ import annotations

import json
import stat
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import NewTopic

from agency_pair import DATABASE, AgencyPair, transfer
from sinergi.cli.reading_place import ReadingPlace
from sinergi.cli.root import run
from sinergi.settings.settings import Settings
from sinergi_consumers.audit.evidence import archive, bag, places
from sinergi_consumers.audit.replay import Replay
from sinergi_schemas import errors
from sinergi_schemas.events import parse
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.seal.keys import SigningKey
from test_events import transfer as transfer_document
from test_replay_several_topics import related
from verified_database import until_receipted
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_schemas.agreements.collection import Agreements

PERSONAL = "Contoh Dua"


class EvidenceDesk:
    """An auditor's command line in a folder of his own, beside a publisher and its reader."""

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair = pair
        self._capsys = capsys
        self.file = pair.folder / "case.zip"

    def create(self, *options: str) -> tuple[int, str, str]:
        reason = [] if "--why" in options else ["--why", "Perkara 12/Pid.Sus/2026"]
        settings = ["--config", str(self.pair.reader_settings)]
        return self._run(
            *settings, "evidence", "create", *options, *reason, "--out", str(self.file)
        )

    def archive(self, topic: str, file: Path) -> tuple[int, str, str]:
        settings = ["--config", str(self.pair.reader_settings)]
        return self._run(*settings, "archive", "create", topic, "--out", str(file))

    def verify(self, *keys: str) -> tuple[int, dict[str, Any], str]:
        """The exit status, the document and the remarks; only the agreement is given, and keys."""
        agreement = str(self.pair.folder / "pks.toml")
        command = ("evidence", "verify", str(self.file), "--agreement", agreement, "--json")
        arguments = (*command, *keys)
        status, out, err = self._run(*arguments)
        return status, json.loads(out), err

    def payload(self) -> dict[str, bytes]:
        return bag.payload_of(archive.unpack(self.file.read_bytes()).files)

    def _run(self, *arguments: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = run(list(arguments))
        return (status, *self._capsys.readouterr())


@pytest.fixture(scope="module")
def desk_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """One with ten records of which one was corrected, and receipts of all events."""
    pair = pair_of_module()
    pair.publish(*(transfer(f"P/{number}") for number in range(10)))
    pair.publish(transfer("P/3", "CORRECTED", reason="SECURITY"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 11)
        until_receipted(pair)
    return pair


@pytest.fixture
def desk(
    desk_pair: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> EvidenceDesk:
    """One with copies of both databases. All tests share its topics, and none changes them."""
    return EvidenceDesk(desk_pair.copied(tmp_path, databases), capsys)


@pytest.fixture(scope="module")
def wide_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """One with a transfer after a seizure, whose topic is agreed and was deleted."""
    pair = pair_of_module()
    document = deepcopy(pair.agreement)
    terms = document["events"]["transfer"] | {"purposes": ["INVESTIGATION"]}
    document["events"] |= {"transfer": terms, "seizure": terms}
    pair.agree(document)
    to_seizure = related(pair.publisher, "seizure", "S/1")
    pair.publish(parse("transfer", {**transfer_document(record_id="T/1"), "related": [to_seizure]}))
    admin, name = open_admin(pair.connection), f"sinergi.{pair.publisher}.seizure"
    for made in admin.create_topics([NewTopic(name, pair.partitions, -1)]).values():
        made.result(PATIENCE_SECONDS)
    sent = "SELECT sum(sent_size) FROM sinergi_producer.tree"
    with pair.relaying():
        pair.until(lambda: pair.ask(sent, pair.producer) == [(1,)], "sent")
    for gone in admin.delete_topics([name]).values():
        gone.result(PATIENCE_SECONDS)
    pair.until(lambda: name not in describe(admin, [name]), "topic deleted")
    return pair


@pytest.fixture
def wide_desk(
    wide_pair: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> EvidenceDesk:
    return EvidenceDesk(wide_pair.copied(tmp_path, databases), capsys)


def test_evidence_of_a_record_verifies_with_the_agreement_alone(desk: EvidenceDesk) -> None:
    status, out, err = desk.create("--key", "P/3", "--by", "Ombudsman Rekaan")
    assert (status, out) == (0, ""), err
    assert stat.S_IMODE(desk.file.stat().st_mode) == 0o600
    status, found, err = desk.verify()
    assert status == 0, err
    assert found["sha256"] in err
    told = [(each["event"]["record_id"], each["event"]["revision"]) for each in found["events"]]
    assert told == [("P/3", 1), ("P/3", 2)]
    for each in found["events"]:
        (receipt,) = each["receipts"]
        assert receipt["database"] == f"{desk.pair.reader}/{DATABASE}"
    assert found["stated"]["custody"]["made_by"] == "Ombudsman Rekaan"
    assert found["stated"]["custody"]["why"] == "Perkara 12/Pid.Sus/2026"
    assert sum(each["leaves"] for each in found["trees"]) == 11
    assert all(each["heads_signed_at"] for each in found["trees"])
    assert b"first receipt" in desk.payload()[places.REPORT_HTML]
    assert desk.payload()[places.REPORT_PDF].startswith(b"%PDF-")
    meanings = json.loads(next(data for path, data in desk.payload().items() if "schemas" in path))
    assert all(field["doc"] for field in meanings["fields"])


def test_an_event_that_is_not_there_is_attested_with_the_trees_that_were_searched(
    desk: EvidenceDesk,
) -> None:
    status, _, err = desk.create("--key", "P/99")
    assert status == 0, err
    assert "sinergi: read 11 events of 1 topic; 0 match" in err
    assert "make the file again with --sign KEYFILE" in err
    status, found, err = desk.verify()
    assert (status, found["events"], found["verdict"]) == (2, [], "not proved")
    assert "nobody has signed this" in err
    assert sum(each["leaves"] for each in found["trees"]) == 11
    search = json.loads(desk.payload()[places.SEARCH])
    assert search["asked_for"] == {"key": "P/99", "related": False}
    assert [each["matching"] for each in search["trees"]] == [0, 0]


def test_the_maker_signs_what_he_states_with_his_own_key(desk: EvidenceDesk) -> None:
    key, file = SigningKey.generate("ombudsman.example/desk"), desk.pair.folder / "maker.key"
    key.save(file)
    status, _, err = desk.create("--key", "P/99", "--sign", str(file))
    assert status == 0, err
    assert "signed by ombudsman.example/desk" in err
    status, found, err = desk.verify("--key", str(key.public))
    assert (status, found["verdict"], found["proved"]) == (0, "attested", None)
    assert found["stated"]["signed_by"] == ["ombudsman.example/desk"]
    assert "attested, not proved: ombudsman.example/desk has signed" in err
    assert desk.verify()[0] == 2  # without his key nobody can check it


def test_topics_that_were_not_searched_are_named_with_the_reason(
    wide_desk: EvidenceDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, missing = wide_desk, f"sinergi.{wide_desk.pair.publisher}.seizure"
    status, _, err = desk.create("--key", "T/1")
    assert status == 2
    assert "1 topic could not be read" in err
    status, found, err = desk.verify()
    assert status == 2
    assert f"states that {missing} could not be read: {missing} is not on these brokers" in err
    (told,) = found["stated"]["not_searched"]
    assert (told["topic"], told["reason"]) == (missing, "not-read")
    assert missing.encode() in desk.payload()[places.REPORT_HTML]

    status, _, err = desk.create("--key", "T/1", "--type", "transfer", "--force")
    assert status == 0, err
    status, found, err = desk.verify()
    assert status == 0
    assert f"not searched: {missing} was not asked for" in err
    assert found["stated"]["asked_for"]["event_types"] == ["transfer"]

    only = [desk.pair.topic]
    monkeypatch.setattr(ReadingPlace, "readable", lambda _: only)
    status, _, err = desk.create("--key", "T/1", "--force")
    assert status == 0, err
    assert f"{missing} may not be read by the maker, by the agreements" in err


def test_topics_that_an_archive_lacks_are_not_called_forbidden(wide_desk: EvidenceDesk) -> None:
    desk, missing = wide_desk, f"sinergi.{wide_desk.pair.publisher}.seizure"
    file = desk.pair.folder / "transfer.zip"
    assert desk.archive(desk.pair.topic.name, file)[0] == 0
    status, _, err = desk.create("--key", "T/1", "--archive", str(file))
    assert status == 0, err
    assert f"not searched: {missing} is not in the archive that was searched" in err
    status, found, _ = desk.verify()
    (told,) = found["stated"]["not_searched"]
    assert (status, told["topic"], told["reason"]) == (0, missing, "not-archived")
    assert b"not in the archive that was searched" in desk.payload()[places.REPORT_HTML]


def test_related_records_that_were_not_read_are_told_by_maker_report_and_verifier(
    wide_desk: EvidenceDesk,
) -> None:
    desk, missing = wide_desk, f"sinergi.{wide_desk.pair.publisher}.seizure"
    status, _, err = desk.create("--key", "T/1", "--type", "transfer", "--related")
    assert status == 2
    assert "1 related record of 1 topic that was not read" in err
    status, found, err = desk.verify()
    assert status == 2
    assert f"states that 1 related records lie in {missing}, which was not read" in err
    assert found["stated"]["related_not_read"] == [{"topic": missing, "records": 1}]
    assert b"related records in a topic that was not read" in desk.payload()[places.REPORT_HTML]


def test_a_broken_partition_gives_no_evidence_and_the_others_do(
    desk: EvidenceDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Replay.batches

    def broken(self: Replay, counts: Any, sizes: Any) -> Iterator[VerifiedBatch]:
        yield from whole(self, counts, sizes)
        if counts.partition == 1:
            raise errors.SealGap(f"{self.name}/1", 3, 9)

    monkeypatch.setattr(Replay, "batches", broken)
    status, _, err = desk.create("--name", PERSONAL)
    assert status == 1
    assert "lacks leaf 3" in err
    status, found, _ = desk.verify()
    assert [each["name"] for each in found["trees"]] == [f"{desk.pair.topic.name}/0"]
    assert (status, "/1" in json.dumps(found["events"])) == (2, False)
    (told,) = found["stated"]["not_searched"]
    assert (told["partition"], told["reason"]) == (1, "not-sealed")
    assert "lacks leaf 3" in told["detail"]


def test_personal_data_are_in_the_bundle_and_not_in_what_is_shown(desk: EvidenceDesk) -> None:
    status, out, err = desk.create("--name", PERSONAL)
    assert status == 0, err
    assert PERSONAL not in out + err
    assert PERSONAL.encode() in desk.payload()[places.SEARCH]


def test_a_file_that_is_there_is_not_overwritten(desk: EvidenceDesk) -> None:
    desk.file.write_text("mine", encoding="utf-8")
    status, _, err = desk.create("--key", "P/3")
    assert status == 2
    assert "already exists" in err
    assert desk.file.read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "say which events, as by --case, --key, --nik or --name"),
        (("--key", "P/1", "--why", " "), "--why is empty"),
        (("--nik", "12"), "--nik has a value that no event can have"),
        (("--key", "P/1", "no-topic"), "'no-topic' is not sinergi.<agency>.<event-type>"),
    ],
)
def test_a_wrong_request_is_told_in_one_line_and_nothing_is_written(
    options: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    reason = () if "--why" in options else ("--why", "x")
    assert run(["evidence", "create", *options, *reason, "--out", "case.zip"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1
    assert not Path("case.zip").exists()


def test_the_agreements_are_read_once_so_that_all_of_a_bundle_is_under_the_same(
    desk: EvidenceDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Agreements] = []
    load = Settings.agreements

    def counted(self: Settings) -> Agreements:
        loaded.append(load(self))
        return loaded[-1]

    monkeypatch.setattr(Settings, "agreements", counted)
    assert desk.create("--key", "P/3")[0] == 0
    assert len(loaded) == 1
