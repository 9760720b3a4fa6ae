"""Each audit of an archive makes what the same audit of the brokers makes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agency_pair import transfer
from sinergi.exit_status import ExitStatus
from sinergi_consumers.archives.archive_file import ArchiveFile
from sinergi_consumers.audit.evidence import archive, bag, places
from test_archive import ArchivedPair, archived, archived_pair, own_archived, pair
from test_archive_output import all_sent, create
from test_replay import one_byte_changed
from test_replay_as_of import Past, auditor, past, past_of_module
from test_replay_into import empty, installed, live
from verified_database import VerifiedDatabase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from live_database import LiveReader

__all__ = [
    "archived",
    "archived_pair",
    "auditor",
    "empty",
    "installed",
    "live",
    "own_archived",
    "pair",
    "past",
    "past_of_module",
]


def test_evidence_from_an_archive_is_that_from_the_brokers_byte_by_byte(
    archived: ArchivedPair,
) -> None:
    folder = archived.pair.folder
    bundles: list[dict[str, bytes]] = []
    custodies: list[str] = []
    agreement = str(folder / "pks.toml")
    for place in ((), ("--archive", str(archived.file))):
        file = str(folder / f"case-{len(bundles)}.zip")
        words = ("evidence", "create", "--key", "P/7", "--why", "12/Pid.Sus/2026", "-o", file)
        status, _, err = archived.run(*words, *place)
        assert status == 0, err
        status, _, err = archived.run("evidence", "verify", file, "--agreement", agreement)
        assert status == 0, err
        payload = bag.payload_of(archive.unpack((folder / file).read_bytes()).files)
        custodies.append(payload[places.CUSTODY].decode())
        # Custody, search and report have the time and the login of their maker.
        made = places.SINGLE - {places.KEYS}
        bundles.append({path: data for path, data in payload.items() if path not in made})
    assert bundles[0] == bundles[1]
    kinds = {path.rpartition(".")[2] for path in bundles[0]}
    assert kinds >= {"leaf", "tlog-proof", "checkpoint", "heads"}
    digest = ArchiveFile(archived.file).digest
    assert [digest in each for each in custodies] == [False, True]


def archive_of(live: LiveReader) -> str:
    """An archive of the reader's topic."""
    file = str(live.pair.folder / "archive.zip")
    status, _, err = live.sinergi("archive", "create", live.pair.topic.name, "-o", file)
    assert status == 0, err
    return file


def test_a_replay_of_an_archive_fills_the_same_tables(
    live: LiveReader, empty: str, databases: Callable[[], str]
) -> None:
    live.materialise()
    other = databases()
    for url, place in ((empty, ()), (other, ("--archive", archive_of(live)))):
        status, out, err = live.sinergi("replay", "--into", url, *place)
        assert (status, out) == (ExitStatus.SUCCESS, ""), err
    assert live.tables(other) == live.tables(empty) == live.tables()


def test_the_tables_of_a_time_are_the_same_from_an_archive(
    past: Past, auditor: Path, databases: Callable[[], str]
) -> None:
    """An auditor without the reader's database takes the receipts from the archive too."""
    file = archive_of(past.live)
    words = ("--as-of", past.at.isoformat(), "--reader", past.reader)
    found = []
    for settings in (None, auditor):
        for place in ((), ("--archive", file)):
            url = databases()
            status, _, err = past.replay(*words, "--into", url, *place, settings=settings)
            tables = past.live.tables(url) if status == ExitStatus.SUCCESS else err
            found.append((status, tables))
    assert found[0][0] == ExitStatus.SUCCESS, found[0]
    assert found[0] == found[1]
    assert found[2] == found[3]


def compared(archived: ArchivedPair, file: Path) -> tuple[int, dict[str, Any], str]:
    """Exit status, document and last line of a replay of the brokers against an archive."""
    words = ("replay", archived.pair.topic.name, "--json", "--against-archive", str(file))
    status, out, err = archived.run(*words)
    (document,) = json.loads(out)
    return status, document, err.splitlines()[-1]


def test_a_topic_that_has_grown_since_its_archive_has_every_leaf_of_it(
    own_archived: ArchivedPair,
) -> None:
    pair = own_archived.pair
    pair.publish(*(transfer(f"Q/{number}") for number in range(20)))
    with pair.relaying():
        pair.until(lambda: all_sent(pair, 50), "sent")
    status, document, verdict = compared(own_archived, own_archived.file)
    assert (status, document["holds"]) == (ExitStatus.SUCCESS, True)
    assert verdict == f"verdict: {pair.topic.name} is what {pair.publisher} sealed"
    found = document["compared"]
    assert (found["with"], found["leaves"], found["findings"]) == (str(own_archived.file), 30, [])
    assert all(each.startswith(f"{own_archived.file}/") for each in found["remarks"])
    assert len(found["remarks"]) == pair.partitions
    _, rows, _ = own_archived.run("journal", "--json", "--limit", "1")
    (entry,) = json.loads(rows)["rows"]
    asked, digest = entry["asked_for"], ArchiveFile(own_archived.file).digest
    named = (asked["against_archive"], asked["against_archive_digest"])
    assert named == (str(own_archived.file), digest)


def test_a_leaf_that_differs_between_the_brokers_and_an_archive_is_named_in_either(
    archived: ArchivedPair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair, broken = archived.pair, archived.pair.folder / "broken.zip"
    operator = VerifiedDatabase(pair, capsys)
    whole = [operator.messages(pair.topic.name, number) for number in range(pair.partitions)]
    name, count = pair.topic.name, pair.partitions
    change = one_byte_changed(3)
    operator.replace_topic(name, count, lambda at, all_: change(all_) if at == 1 else all_)
    status, document, _ = compared(archived, archived.file)
    (finding,) = document["findings"]
    assert (status, document["compared"]["findings"]) == (ExitStatus.NEGATIVE, [])
    assert (finding["partition"], finding["leaf"]) == (1, 3)
    assert f"compared with {archived.file}: leaf 3 differs" in finding["remarks"]
    assert create(archived, "-o", str(broken))[0] == ExitStatus.NEGATIVE
    operator.replace_topic(name, count, lambda at, _: whole[at])
    status, document, verdict = compared(archived, broken)
    assert (status, document["holds"], document["findings"]) == (ExitStatus.SUCCESS, True, [])
    assert verdict.endswith(f"the other copy, {broken}, is not: leaf 3 of partition 1 differs")


def test_the_journal_names_the_archive_that_was_read_and_an_interval_from_its_begin(
    archived: ArchivedPair,
) -> None:
    interval = ("--from", "2026-01-01T00:00Z", "--to", "2026-02-01T00:00Z")
    digest, read = ArchiveFile(archived.file).digest, ("--archive", str(archived.file))
    for place in (read, ()):
        status, _, err = archived.run("withheld", *interval, *place)
        assert status == ExitStatus.SUCCESS, err
    _, table, _ = archived.run("journal")
    _, rows, _ = archived.run("journal", "--json", "--limit", "2")
    of_brokers, of_archive = (each["asked_for"] for each in json.loads(rows)["rows"])
    named = {"archive": str(archived.file), "archive_digest": digest}
    assert of_archive == {**of_brokers, **named}
    assert [*of_brokers] == ["topics", "from", "to"]
    words = "".join(table.split())
    assert words.count(f"archive_digest:{digest}") == 1
    assert words.count("from:2026-01-01T00:00Z;to:2026-02-01T00:00Z") == 2
