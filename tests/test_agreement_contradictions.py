"""Which agreements of a folder are compared with each other: no contradiction is missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sinergi_schemas.agreements import contradictions
from sinergi_schemas.agreements.collection import newest_first
from sinergi_schemas.agreements.contradictions import contradictions_between
from sinergi_schemas.agreements.model import (
    AgreedEventType,
    Agreement,
    Party,
    Principals,
    ReceiptKey,
    ReplacedKey,
)
from sinergi_schemas.seal.keys import Algorithm, SigningKey, VerifyingKey

if TYPE_CHECKING:
    import pytest

BUS = "bus.example"
AGENCIES = ("bnn", "lapas-satu", "lapas-dua")
KEYS = [SigningKey.generate(f"{BUS}/{name}").public for name in (*AGENCIES, "bnn")]
RECEIPT_KEYS = [
    ReceiptKey(database, SigningKey.generate(f"{BUS}/bnn/{database}", Algorithm.COSIGNATURE).public)
    for database in ("main", "main", "other")
]
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def party(agency: str, keys: list[VerifyingKey], principal: str, draw: st.DrawFn) -> Party:
    receipt_keys = draw(st.lists(st.sampled_from(RECEIPT_KEYS), max_size=2, unique=True))
    replaced = tuple(ReplacedKey(each, {}) for each in keys[:-1])
    principals = Principals((principal,), ())
    return Party(agency, agency, "PKS/1", keys[-1], replaced, tuple(receipt_keys), principals)


@st.composite
def agreements(draw: st.DrawFn) -> Agreement:
    """An agreement that is likely to contradict another one."""
    agencies = draw(st.lists(st.sampled_from(AGENCIES), min_size=1, unique=True))
    # One file has no key and no principal twice.
    keys = draw(st.permutations(KEYS))
    groups = [keys[:-2] if draw(st.booleans()) else keys[1:2], keys[2:3], keys[3:]]
    principals = draw(st.permutations(["one", "two", "three"]))
    types = draw(st.lists(st.sampled_from(["seizure", "transfer"]), max_size=2, unique=True))
    events = {
        each: AgreedEventType(each, tuple(agencies[:1]), (), (), draw(st.integers(1, 2)))
        for each in types
    }
    return Agreement(
        Path(f"{draw(st.integers(0, 9))}.toml"),
        draw(st.sampled_from("abcdef")),
        draw(st.sampled_from([BUS, BUS, "other.example"])),
        "",
        EPOCH + timedelta(days=draw(st.integers(0, 2))),
        None,
        (),
        {each: party(each, groups[at], principals[at], draw) for at, each in enumerate(agencies)},
        events,
        {},
        tuple(draw(st.sets(st.sampled_from("abcdef"), max_size=2))),
    )


@given(st.lists(agreements(), max_size=5))
def test_whatever_a_comparison_of_every_pair_finds_is_found(some: list[Agreement]) -> None:
    ordered = newest_first(some)
    every_pair = [
        (one.path, problem)
        for one, other in combinations(ordered, 2)
        for problem in contradictions._between(one, other)
    ]
    found = [*contradictions_between(tuple(ordered))]
    assert [each for each in found if each in every_pair] == every_pair


def test_agreements_with_one_reader_in_common_are_not_compared_pair_by_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A national reader has an agreement with each of a thousand agencies."""
    compared: list[object] = []
    monkeypatch.setattr(contradictions, "_between", lambda *pair: compared.extend(pair))
    reader = Party("bnn", "bnn", "PKS/1", KEYS[0], (), (RECEIPT_KEYS[0],), Principals((), ("bnn",)))
    some = [
        Agreement(
            Path(f"{number}.toml"),
            str(number),
            BUS,
            "",
            EPOCH,
            None,
            (),
            {"bnn": reader},
            {"transfer": AgreedEventType("transfer", (f"lapas-{number}",), ("bnn",), (), 1)},
            {},
        )
        for number in range(50)
    ]
    assert [*contradictions_between(tuple(some))] == []
    assert compared == []
