"""`sinergi status` names agreements that have ended, begin later or end soon."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from agency_pair import BUS, agreement
from sinergi.status.agreement_periods import periods
from sinergi.status.facts import PublisherFacts
from sinergi.status.judgement import judge
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from test_status import FACTS, PUBLISHED

if TYPE_CHECKING:
    from pathlib import Path

KEY = SigningKey.generate(f"{BUS}/lapas-rekaan")
RECEIPTS = SigningKey.generate(f"{BUS}/bnnk-rekaan/main", Algorithm.COSIGNATURE)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
TOPIC = "sinergi.lapas-rekaan.transfer"


def written(folder: Path, name: str, **changes: Any) -> dict[str, Any]:
    found = agreement(KEY.public, RECEIPTS.public, **changes)
    (folder / name).write_text(tomli_w.dumps(found), encoding="utf-8")
    return found


def lines(folder: Path, agency: str, at: datetime) -> list[str]:
    found = periods(Agreements.load(folder), agency, at)
    return [each.removeprefix(f"{folder}/") for each in found]


def period(start: datetime, end: datetime | None) -> dict[str, Any]:
    return {"from": start} | ({"until": end} if end else {})


@pytest.mark.parametrize("agency", ["lapas-rekaan", "bnnk-rekaan"])
def test_an_agreement_is_named_before_it_begins_when_it_ends_soon_and_when_it_has_ended(
    tmp_path: Path, agency: str
) -> None:
    written(tmp_path, "pks.toml", in_force=period(datetime(2025, 1, 1, tzinfo=UTC), NEW_YEAR))
    (line,) = lines(tmp_path, agency, datetime(2024, 12, 1, tzinfo=UTC))
    assert line.startswith("pks.toml is in force from 202")
    assert line.endswith("; its topics are made then")
    assert lines(tmp_path, agency, NEW_YEAR - timedelta(days=31)) == []
    (line,) = lines(tmp_path, agency, NEW_YEAR - timedelta(days=30))
    assert line.startswith("pks.toml ends on 202")
    assert line.endswith(f", in 30 days, and no later agreement covers {TOPIC}")
    (line,) = lines(tmp_path, agency, NEW_YEAR)
    assert line.startswith("pks.toml ended on 202")
    assert line.endswith(f"once another agreement covers {TOPIC}")


def test_agreements_of_others_and_those_that_others_continue_are_not_named(tmp_path: Path) -> None:
    first = period(datetime(2025, 1, 1, tzinfo=UTC), NEW_YEAR)
    written(tmp_path, "pks.toml", in_force=first)
    assert lines(tmp_path, "polres-rekaan", NEW_YEAR) == []
    (earlier,) = Agreements.load(tmp_path)
    later = period(NEW_YEAR, None)
    written(tmp_path, "next.toml", in_force=later, replaces=[earlier.hash])
    assert lines(tmp_path, "lapas-rekaan", NEW_YEAR) == []
    (line,) = lines(tmp_path, "lapas-rekaan", NEW_YEAR - timedelta(days=1))
    assert line.startswith("next.toml is in force from ")
    assert "topics" not in line


def test_periods_are_notes_and_change_no_exit_status() -> None:
    verdict = judge(replace(FACTS, periods=("pks.toml ends on 2026-03-31",)))
    assert (verdict.exit_status, verdict.remarks) == (0, ("pks.toml ends on 2026-03-31",))


def test_a_topic_of_no_agreement_in_force_may_be_missing_unless_it_had_leaves() -> None:
    assert FACTS.publishing
    for sent, status in ((0, 0), (7, 1)):
        trees = tuple(replace(each, sealed=sent, sent=sent) for each in PUBLISHED.partitions)
        topic = replace(PUBLISHED, found=0, is_in_force=False, partitions=trees)
        side = PublisherFacts(FACTS.publishing.lease, (topic,))
        verdict = judge(replace(FACTS, publishing=side))
        assert verdict.exit_status == status
    assert verdict.lines[0].startswith(f"{TOPIC} is not on the broker, and had 7 leaves")
