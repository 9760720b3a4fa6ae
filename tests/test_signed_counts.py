"""Signed counts: their one form, and what is refused. The vector was made without the package."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinergi_consumers.audit.reconciliation import signed_counts
from sinergi_consumers.audit.reconciliation.signed_counts import DayCount, DayKey, SignedCounts
from sinergi_schemas import errors
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.seal.note import sign_note
from sinergi_schemas.topics import TopicPartition
from test_reconcile import COUNT, FROZEN, Desk, desk, desk_pair, totals

__all__ = ["desk", "desk_pair"]  # fixtures

BUS, AGENCY = "sinergi.example", "bnnk-rekaan"
KEY = SigningKey.generate(f"{BUS}/{AGENCY}")
KEYS = {AGENCY: [KEY.public]}
TOPIC = "sinergi.lapas-rekaan.transfer"
VECTOR = Path(__file__).parent / "vectors" / "counts" / "text.txt"
EVENTS = (
    UUID("01a23281-1434-73cd-bc42-a8b214636195"),
    UUID("01a23284-a760-7412-b682-91c10d215f74"),
)

sides = st.sampled_from(["outbox", "main", "register"])
sizes = st.dictionaries(
    st.tuples(sides, st.builds(TopicPartition, st.just(TOPIC), st.integers(0, 999))),
    st.integers(0, 10**18 - 1),
    max_size=5,
)
counts = st.builds(
    DayCount, st.integers(0, 2**40), st.integers(0, 2**40), st.binary(min_size=32, max_size=32)
)
days = st.dictionaries(
    st.builds(DayKey, sides, st.just(TOPIC), st.none() | st.dates()), counts, max_size=5
)
documents = st.builds(
    SignedCounts,
    st.just(BUS),
    st.just(AGENCY),
    st.integers(0, 253_402_300_799),
    st.sampled_from(["Asia/Jakarta", "Asia/Jayapura"]),
    sizes,
    days,
)


def signed(text: str) -> str:

    return sign_note(text, [KEY])


@given(documents)
def test_what_is_signed_is_what_is_read(stated: SignedCounts) -> None:
    assert signed_counts.verify(signed_counts.sign(stated, [KEY]), BUS, KEYS) == stated


def test_the_text_and_the_hash_are_those_of_the_specification() -> None:
    frame = pl.DataFrame(
        {
            "partition": [0, 0],
            "leaf": [1, 0],
            "high": [EVENTS[1].int >> 64, EVENTS[0].int >> 64],
            "low": [each.int & (2**64 - 1) for each in reversed(EVENTS)],
            "day": [date(2026, 3, 3)] * 2,
        },
        schema_overrides={"high": pl.UInt64, "low": pl.UInt64},
    )
    expected = hashlib.sha256(b"".join(each.bytes for each in EVENTS)).digest()
    assert signed_counts.digests(frame) == {date(2026, 3, 3): (2, expected)}
    stated = SignedCounts(
        BUS,
        AGENCY,
        int(datetime(2026, 3, 4, tzinfo=UTC).timestamp()),
        "Asia/Jakarta",
        {("main", TopicPartition(TOPIC, 0)): 2},
        {DayKey("main", TOPIC, date(2026, 3, 3)): DayCount(2, 0, expected)},
    )
    assert str(stated) == VECTOR.read_text("ascii")


FIRST = f"{BUS}/{AGENCY}/counts\n1\nAsia/Jakarta\n"
HASH = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.mark.parametrize(
    "text",
    [
        f"{BUS}/{AGENCY}/heads\n1\nAsia/Jakarta\n",
        f"{BUS}/{AGENCY}/counts\n",
        f"{BUS}/{AGENCY}/counts\n253402300800\nAsia/Jakarta\n",
        f"{BUS}/stranger/counts\n1\nAsia/Jakarta\n",
        f"other.example/{AGENCY}/counts\n1\nAsia/Jakarta\n",
        f"{FIRST}size main {TOPIC}/0 01\n",
        f"{FIRST}size main {TOPIC}/0 -1\n",
        f"{FIRST}size main {TOPIC}/0 1\nsize main {TOPIC}/0 1\n",
        f"{FIRST}size main {TOPIC}/0 1\nday main {TOPIC} 2026-03-03 1 0 {HASH}\n",
        f"{FIRST}day main {TOPIC} 20260303 1 0 {HASH}\n",
        f"{FIRST}day main {TOPIC} 2026-02-30 1 0 {HASH}\n",
        f"{FIRST}day main {TOPIC} 2026-03-03 1 0 {HASH[:-4]}\n",
        f"{FIRST}day main {TOPIC} 2026-03-03 1 0\n",
        f"{FIRST}hour main {TOPIC} 2026-03-03 1 0 {HASH}\n",
    ],
)
def test_a_text_that_is_not_in_its_one_form_is_refused(text: str) -> None:
    with pytest.raises(errors.NoteMalformed):
        signed_counts.verify(signed(text), BUS, KEYS)


def test_counts_of_a_key_that_no_agreement_has_are_refused() -> None:
    stranger = SigningKey.generate(f"{BUS}/{AGENCY}")
    with pytest.raises((errors.SignatureMissing, errors.SignatureInvalid)):
        signed_counts.verify(
            signed_counts.sign(SignedCounts(BUS, AGENCY, 1, "Asia/Jakarta", {}, {}), [stranger]),
            BUS,
            KEYS,
        )


def test_signed_counts_of_a_side_that_is_read_itself_are_counted_beside_it(
    desk: Desk, tmp_path: Path
) -> None:
    """What was lost after they were signed shows at the side that is read, and at no other."""
    of_reader, of_owner = tmp_path / "reader.note", tmp_path / "owner.note"
    assert desk.write_counts(of_reader) == 0
    assert desk.reconcile("--write-counts", str(of_owner))[0] == 0
    lost = "record_id = 'P/3'"
    desk.execute(
        desk.pair.consumer,
        f"DELETE FROM sinergi.transfer_history_escort WHERE {lost}",
        f"DELETE FROM sinergi.transfer_history WHERE {lost}",
    )
    desk.execute(
        desk.pair.producer,
        FROZEN.format("DISABLE"),
        f"DELETE FROM sinergi_producer.outbox WHERE {lost}",
        FROZEN.format("ENABLE"),
    )
    files = ("--counts", str(of_reader), "--counts", str(of_owner))
    status, found = desk.document(*files)
    signed = (f"{desk.reader} (signed)", f"{desk.pair.publisher}/outbox (signed)")
    assert status == 1
    assert {*found["signed_counts"]} == {*signed}
    assert {each["side"] for each in found["differences"]} == {desk.reader, "outbox"}
    assert [totals(found, each, "events") for each in signed] == [COUNT, COUNT]
    assert [totals(found, each, "events") for each in (desk.reader, "outbox")] == [COUNT - 1] * 2
