"""`sinergi status` with settings of another agency, of another bus, or of huge agreements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tomli_w

from agency_pair import BUS, DATABASE, agreement, signs_nothing_else, transfer
from signed_agreement import write_signed
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.seal.note import MOST_SIGNATURES
from test_status import Operator, fifty, kinds, operator, until_sent

if TYPE_CHECKING:
    from pathlib import Path

    from agency_pair import AgencyPair

__all__ = ["operator"]


def test_agreements_with_other_keys_are_named_before_what_follows_from_them(
    operator: Operator, tmp_path: Path
) -> None:
    pair = operator.pair
    with pair.relaying(), pair.materialising():
        pair.publish(*fifty())
        pair.until_rows("sinergi.transfer_history", 50)
        until_sent(pair, 50)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    key = SigningKey.generate(f"{BUS}/{pair.publisher}")
    other = agreement(key.public, pair.receipt_key.public, pair.partitions)
    write_signed(wrong / "pks.toml", other, [key, signs_nothing_else(pair.reader)])
    for document in (
        operator.reader(agreements=str(wrong)),
        operator.publisher(agreements=str(wrong)),
    ):
        assert document["exit_status"] == 1
        assert document["lines"][0] == (
            f"{pair.topic.name} has messages, but no checkpoint under a key in the agreements in"
            f" {wrong}: the folder is the wrong one, or lacks the newest agreement"
        )
    assert not {"agreements"} & kinds(operator.reader())


def test_the_database_of_another_agency_is_named_with_its_agency(operator: Operator) -> None:
    pair = operator.pair
    with pair.relaying(), pair.materialising():
        pair.publish(transfer("P/1"))
        pair.until_rows("sinergi.transfer_history", 1)
        pair.until(lambda: pair.count("sinergi_consumer.receipt") > 0, "a receipt is there")
    for agency, role, owner, settings in (
        (pair.reader, "producer", pair.publisher, {"database": pair.producer_url}),
        (
            pair.publisher,
            "consumer",
            pair.reader,
            {"database": pair.consumer_url, "name": DATABASE},
        ),
    ):
        document = operator._document(agency, **{role: settings})
        assert document["exit_status"] == 1
        assert document["lines"][0] == (
            f"{role}.database is the database of {owner}, and `agency` in the settings is {agency}:"
            " correct one of the two"
        )


def test_agreements_with_thousands_of_missing_topics_are_one_line_and_no_partitions(
    operator: Operator,
) -> None:
    """594 publishers of three event types with a thousand partitions each, in six small files."""
    pair = operator.pair
    for number in range(6):
        agree_hugely(pair, number, MOST_SIGNATURES - 1)
    document = operator.reader(unsigned_agreements=True)
    assert document["away"] == []
    (problem,) = (each for each in document["problems"] if each["kind"] == "topic")
    assert "and 1,779 more topics are not on the broker" in problem["what"]
    read = document["reading"]["topics"]
    assert len(read) == 1783
    assert sum(len(each["partitions"]) for each in read) == pair.partitions


def agree_hugely(pair: AgencyPair, number: int, count: int) -> None:
    """One more agreement, with so many publishers of three event types, and one reader."""
    names = [f"p{number}-{each}" for each in range(count)]
    huge = dict(pair.agreement)
    parties = {pair.reader: huge["parties"][pair.reader]}
    for name in names:
        key = SigningKey.generate(f"{BUS}/{name}").public
        parties[name] = {"name": "x", "keys": [str(key)]}
    huge["parties"] = parties
    huge["numbers"] = [{"party": name, "number": "1"} for name in parties]
    events = {
        "publishers": names,
        "readers": [pair.reader],
        "purposes": ["STATISTICS"],
        "partitions": 1000,
    }
    huge["events"] = dict.fromkeys(("transfer", "seizure", "suspicious-visit"), events)
    text = tomli_w.dumps(huge).replace("    ", "").replace(",\n", ",")
    (pair.folder / f"huge-{number}.toml").write_text(text, encoding="utf-8")
