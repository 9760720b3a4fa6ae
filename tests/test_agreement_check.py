"""An event becomes rows only if the agreement that it names allows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from agency_pair import BUS, AgencyPair, agreement
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.decode.agreement_check import NOT_AGREED, AgreementCheck
from sinergi_consumers.decode.decoder import Decoder
from sinergi_consumers.reading.partition import Partition
from sinergi_consumers.testing.sinks import TOPIC, transfer
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import codec
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.codes import Purpose
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.seal.merkle import Frontier
from test_personal_data import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_consumers.decode.batches import DecodedBatch
    from sinergi_schemas.agreements.collection import Agreement
    from sinergi_schemas.events import Transfer

READER = "bnnk-rekaan"
KEY = SigningKey.generate(f"{BUS}/{TOPIC.agency}")
RECEIPTS = SigningKey.generate(f"{BUS}/{READER}/main", Algorithm.COSIGNATURE)
AT = datetime(2026, 3, 3, tzinfo=UTC)


def read(name: str, **changes: Any) -> Agreement:
    document = agreement(KEY.public, RECEIPTS.public, **changes)
    return parse(Path(name), tomli_w.dumps(document).encode())


def in_force(starts: datetime, ends: datetime) -> dict[str, Any]:
    return {"in_force": {"from": starts, "until": ends}}


ENDED = read("ended.toml", **in_force(AT.replace(year=2010), AT.replace(year=2020)))
GOOD = read("good.toml", replaces=[ENDED.hash])
COMING = read(
    "coming.toml", replaces=[GOOD.hash], **in_force(AT.replace(year=2040), AT.replace(year=2050))
)
ALL = Agreements([GOOD, ENDED, COMING])


def event(digest: str, at: datetime = AT, purpose: str = "PRISON_SECURITY") -> Transfer:
    """An event as a publisher who does not use our outbox may write it."""
    sound = transfer("P/1", occurred_at=at, departed_at=at).issued(
        agency=TOPIC.agency, agreement=GOOD.hash, recorded_at=at, revision=1
    )
    return sound.model_copy(update={"agreement": digest, "purpose": Purpose[purpose]})


def decoded(
    *events: Transfer, agreements: Agreements = ALL, reader: str | None = READER
) -> DecodedBatch:
    tape = Tape(BUS, TOPIC, key=KEY)
    datums = [(each.event_id, each.record_id, codec.encode(each, tape.schema)) for each in events]
    partition = Partition(BUS, TOPIC, 0, tape.keys, Frontier.empty())
    batch = partition.receive(tape.write_datums(datums))
    assert batch
    agreed = AgreementCheck(agreements, reader)
    (part,) = Decoder(Catalog.shipped(), TOPIC.event_type, agreed).parts(batch)
    return part


def why(*events: Transfer, **how: Any) -> list[str]:
    result = decoded(*events, **how)
    assert {each.reason for each in result.refused} <= {NOT_AGREED}
    assert result.events.height + len(result.refused) == len(events)
    return [each.detail for each in result.refused]


def test_an_event_under_the_agreement_that_it_names_becomes_rows() -> None:
    assert why(event(GOOD.hash)) == []
    assert why(event(ENDED.hash, AT.replace(year=2015))) == []


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        (event("0" * 64), f"it names the hash {'0' * 64}, and no agreement here has it; loaded: "),
        (event(GOOD.hash.upper()), "it names what is no hash, and no agreement here has it"),
        (event(ENDED.hash), "ended.toml, which it names, was not in force when it was recorded"),
        (event(COMING.hash), "coming.toml, which it names, was not in force when it was recorded"),
        (event(GOOD.hash, AT.replace(year=1999)), "good.toml, which it names, was not in force"),
        (
            event(GOOD.hash, purpose="STATISTICS"),
            "good.toml, which it names, does not share it for",
        ),
        (event(GOOD.hash, purpose="UNKNOWN"), "good.toml, which it names, does not share it for"),
    ],
)
def test_an_event_that_no_agreement_allows_is_set_apart_alone(forged: Transfer, said: str) -> None:
    result = decoded(event(GOOD.hash), forged, event(GOOD.hash))
    (refused,) = result.refused
    assert (refused.message.leaf_index, refused.reason, refused.revision) == (1, NOT_AGREED, 1)
    assert said in refused.detail
    assert result.events["leaf_index"].to_list() == [0, 2]


def test_a_hash_that_is_not_loaded_is_told_with_those_that_are() -> None:
    (said,) = why(event("0" * 64))
    assert f"good.toml ({GOOD.hash[:16]}…)" in said


def test_an_agreement_that_does_not_name_the_publisher_or_the_reader_allows_nothing() -> None:
    other = read("other.toml")
    terms = replace(other.events["transfer"], readers=("polresta-rekaan",))
    unread = replace(other, hash="1" * 64, events={"transfer": terms})
    unpublished = replace(other, hash="2" * 64, events={"seizure": terms})
    agreements = Agreements([GOOD, ENDED])
    agreements._by_hash = {each.hash: each for each in (GOOD, unread, unpublished)}
    assert why(event("1" * 64), event("2" * 64), agreements=agreements) == [
        f"other.toml, which it names, does not let {READER} read it",
        f"other.toml, which it names, does not let {TOPIC.agency} publish transfer",
    ]


def test_an_audit_is_nobodys_reader() -> None:
    assert why(event(GOOD.hash), reader=None) == []
    assert why(event(GOOD.hash), reader="polresta-rekaan") != []
    assert why(event("0" * 64), reader=None) != []


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([GOOD, ENDED, COMING, None]),
            st.integers(-3_000, 9_000),
            st.sampled_from([each.value for each in Purpose]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_of_any_events_exactly_those_that_are_agreed_become_rows(
    drawn: list[tuple[Agreement | None, int, str]],
) -> None:
    moments = [AT.replace(year=2015) + timedelta(days=days) for _, days, _ in drawn]
    events = [
        event(named.hash if named else "f" * 64, at, purpose)
        for (named, _, purpose), at in zip(drawn, moments, strict=True)
    ]
    expected = [
        index
        for index, ((named, _, purpose), at) in enumerate(zip(drawn, moments, strict=True))
        if named and named.permits(TOPIC.agency, "transfer", at) and purpose == "PRISON_SECURITY"
    ]
    assert decoded(*events).events["leaf_index"].to_list() == expected


def test_the_first_and_the_last_instant_in_force_count_and_those_beside_do_not() -> None:
    step = timedelta(microseconds=1)
    assert GOOD.ends
    assert why(event(GOOD.hash, GOOD.starts), event(GOOD.hash, GOOD.ends - step)) == []
    assert len(why(event(GOOD.hash, GOOD.starts - step), event(GOOD.hash, GOOD.ends))) == 2


def test_events_that_are_not_agreed_come_in_by_themselves_once_the_agreement_is_loaded(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> None:
    """They wait in quarantine meanwhile, and looking at them again writes nothing."""
    (tmp_path / "pair").mkdir()
    pair = AgencyPair(tmp_path / "pair", kafka, agency_slug, databases(), databases(), partitions=1)
    (first,) = pair.agreements
    later = pair.agreement | {"title": "Addendum", "replaces": [first.hash]}
    later["in_force"] = {"from": datetime(2026, 1, 1, tzinfo=UTC)}
    text = tomli_w.dumps(later)
    tape = pair.tape()
    tape.agreement = parse(tmp_path / "later.toml", text.encode()).hash
    send(pair, tape.write([transfer(f"P/{at}") for at in range(20)]))
    waiting = "SELECT 1 FROM sinergi_consumer.quarantine WHERE state = 'open' AND reason = '{}'"
    waiting = waiting.format(NOT_AGREED)
    with pair.materialising():
        pair.until(lambda: len(pair.ask(waiting)) == 40, "all of them wait, in both projections")
    with pair.materialising():
        again = "SELECT 1 FROM sinergi_consumer.position WHERE epoch = 2"
        pair.until(lambda: len(pair.ask(again)) == 2, "claimed once more")
    assert len(pair.ask(waiting)) == 40
    assert pair.count("sinergi.transfer") == pair.count("sinergi_consumer.decision") == 0
    pair.agree(text, "later.toml")
    del pair.agreements, pair.bus
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 20)
    assert pair.ask(waiting) == []
    assert pair.count("sinergi.transfer") == 20
    assert pair.ask("SELECT DISTINCT decided_by, outcome, why FROM sinergi_consumer.decision") == [
        ("sinergi materialise", "retried", "an agreement that allows it is loaded now")
    ]


def test_a_replay_hands_out_what_no_agreement_allows_and_counts_it_apart(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> None:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    tape = pair.tape()
    good = tape.write([transfer("P/1")])
    tape.agreement = "0" * 64
    send(pair, [*good, *tape.write([transfer("P/2")])])
    replay = Replay(replace(pair.bus, reader=None), pair.topic)
    shown = [leaf for frame in replay.events(ReplayFilter()) for leaf in frame["leaf_index"]]
    (tally,) = replay.partition_counts
    assert shown == [0, 1]
    (found,) = tally.not_agreed.causes
    assert found.cause.startswith(f"it names the hash {'0' * 64}")
    assert [leaf for _, leaf in found.places] == [1]
