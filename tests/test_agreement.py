"""Agreements: what a right one answers, and that everything wrong is said, at once and clearly."""

from __future__ import annotations

import copy
import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from sinergi_schemas.agreement import Agreement, Agreements
from sinergi_schemas.agreement_file import parse
from sinergi_schemas.errors import AgreementRefused, NotAgreed
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parent.parent / "examples" / "agreement" / "banyuwangi.toml"
PATH = Path("pks.toml")
BUS = "sinergi.banyuwangi.example"
LAPAS, BNNK, POLRESTA = "lapas-banyuwangi", "bnnk-banyuwangi", "polresta-banyuwangi"
SEIZURE, TRANSFER = Topic(BNNK, "seizure"), Topic(LAPAS, "transfer")


@pytest.fixture
def raw() -> dict[str, Any]:
    """The example as a mapping that a test may spoil."""
    return tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))


def read(raw: dict[str, Any]) -> Agreement:
    return parse(PATH, tomli_w.dumps(raw).encode())


def lines(raw: dict[str, Any]) -> list[str]:
    with pytest.raises(AgreementRefused) as caught:
        read(raw)
    head, *rest = str(caught.value).split("\n  ")
    assert head == "pks.toml cannot be used as an agreement:"
    return [line.removeprefix("pks.toml: ") for line in rest]


def test_the_example_answers_who_may_do_what() -> None:
    agreements = Agreements.load(EXAMPLE.parent)
    assert agreements.bus == BUS
    assert agreements.partitions(SEIZURE) == 3
    assert agreements.published_by(LAPAS) == [
        Topic(LAPAS, "seizure"),
        Topic(LAPAS, "suspicious-visit"),
        TRANSFER,
    ]
    assert agreements.read_by(LAPAS) == [SEIZURE, Topic(POLRESTA, "seizure")]
    assert [key.name for key in agreements.keys(BNNK)] == [f"{BUS}/{BNNK}"]
    assert [key.name for key in agreements.receipt_keys(BNNK)] == [f"{BUS}/{BNNK}/register"]
    assert agreements.keys("nobody") == []
    (agreement,) = agreements
    assert agreements.by_hash(agreement.hash) is agreement
    assert agreement.readers(TRANSFER) == (BNNK, LAPAS, POLRESTA)
    assert agreement.readers(Topic(BNNK, "transfer")) == ()


def test_a_topic_nobody_agreed_on_has_no_partitions() -> None:
    with pytest.raises(NotAgreed, match=r"sinergi\.bnnk-banyuwangi\.transfer"):
        Agreements.load(EXAMPLE.parent).partitions(Topic(BNNK, "transfer"))


@pytest.mark.parametrize(
    ("moment", "covered"),
    [
        ("2025-10-22T23:59:59.999999+07:00", False),
        ("2025-10-23T00:00:00+07:00", True),
        ("2030-10-22T23:59:59.999999+07:00", True),
        ("2030-10-23T00:00:00+07:00", False),
    ],
)
def test_a_date_means_its_whole_day_in_the_zone(moment: str, *, covered: bool) -> None:
    at = datetime.fromisoformat(moment)
    agreements = Agreements.load(EXAMPLE.parent)
    assert (agreements.covering(LAPAS, "transfer", at) is not None) is covered
    assert (TRANSFER in agreements.topics(at)) is covered
    assert agreements.covering(BNNK, "transfer", at) is None


def test_a_time_with_an_offset_is_taken_to_the_instant(raw: dict[str, Any]) -> None:
    raw["in_force"] = {"from": datetime.fromisoformat("2025-01-01T07:00:00+07:00")}
    agreement = read(raw)
    assert agreement.starts == datetime(2025, 1, 1, tzinfo=UTC)
    assert agreement.ends is None


def other_key(name: str, kind: Algorithm = Algorithm.ED25519) -> str:
    return str(SigningKey.generate(f"{BUS}/{name}", kind).public)


def drop(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def spoil(raw: Any) -> None:
        for step in path[:-1]:
            raw = raw[step]
        del raw[path[-1]]

    return spoil


def put(value: object, /, *path: str | int) -> Callable[[dict[str, Any]], None]:
    def spoil(raw: Any) -> None:
        for step in path[:-1]:
            raw = raw[step]
        raw[path[-1]] = value

    return spoil


def twice_the_same_key(raw: dict[str, Any]) -> None:
    same = raw["parties"][POLRESTA]["keys"][0]
    raw["parties"][POLRESTA]["replaced_keys"] = [{"key": same, "until": {"seizure": [1, 1, 1]}}]


def two_keys_that_sign(raw: dict[str, Any]) -> None:
    raw["parties"][LAPAS]["keys"].append(other_key(LAPAS))


def replaced(**until: object) -> Callable[[dict[str, Any]], None]:
    """A key of the police that was replaced, with these last sizes."""

    def spoil(raw: dict[str, Any]) -> None:
        raw["parties"][POLRESTA]["replaced_keys"] = [{"key": other_key(POLRESTA), "until": until}]

    return spoil


def replaced_in_the_wrong_order(raw: dict[str, Any]) -> None:
    raw["parties"][POLRESTA]["replaced_keys"] = [
        {"key": other_key(POLRESTA), "until": {"seizure": sizes}}
        for sizes in ([5, 9, 5], [6, 8, 6])
    ]


SPOILED = [
    (drop("bus"), "bus: it is missing; write the bus's name"),
    (put("Sinergi Bus", "bus"), "bus: 'Sinergi Bus' cannot name a bus"),
    (put(7, "title"), "title: must be text in quotes, not a whole number"),
    (put("two\nlines", "title"), "title: must be one line of readable text"),
    (put([], "legal_basis"), "legal_basis: must not be empty"),
    (put(1, "titel"), "titel: there is no such key; did you mean title?"),
    (put(1, "events", "seizure", "reader"), "events.seizure.reader: there is no such key; did you"),
    (drop("numbers"), "numbers: it is missing; write [{ party"),
    (put("bnk", "numbers", 1, "party"), "numbers.1.party: bnk is no party of this agreement"),
    (put("bnk", "numbers", 1, "party"), f"numbers: {BNNK} has none; add"),
    (put(LAPAS, "numbers", 1, "party"), f"numbers: {LAPAS} stands 2 times"),
    (drop("numbers", 0, "number"), "numbers.0.number: it is missing"),
    (drop("in_force"), "in_force: it is missing"),
    (drop("in_force", "from"), "in_force.from: it is missing"),
    (drop("in_force", "zone"), "in_force.from: is a date, so it needs a zone"),
    (put("Asia/Djakarta", "in_force", "zone"), "in_force.zone: 'Asia/Djakarta' is no IANA zone"),
    (put("2025-10-23", "in_force", "from"), "in_force.from: must be a date without quotes"),
    (
        put(datetime.fromisoformat("2025-01-01T00:00:00"), "in_force", "from"),
        "in_force.from: has no zone",
    ),
    (
        put(datetime(2024, 1, 1, tzinfo=UTC), "in_force", "until"),
        "in_force.until: lies before from",
    ),
    (drop("parties", POLRESTA), f"events.seizure.publishers.2: {POLRESTA} is no party"),
    (put("x", "parties", POLRESTA), f"parties.{POLRESTA}: must be a table, not text"),
    (put([], "parties", LAPAS, "keys"), f"parties.{LAPAS}.keys: must not be empty"),
    (put("a+b+c", "parties", LAPAS, "keys", 0), f"parties.{LAPAS}.keys.0: cannot be read as a key"),
    (
        put(other_key(BNNK), "parties", LAPAS, "keys", 0),
        f"parties.{LAPAS}.keys.0: is named {BUS}/{BNNK}; the key that belongs here",
    ),
    (
        put(other_key(LAPAS, Algorithm.COSIGNATURE), "parties", LAPAS, "keys", 0),
        f"parties.{LAPAS}.keys.0: is a receipt key",
    ),
    (
        put(other_key(f"{LAPAS}/sdp"), "parties", LAPAS, "receipt_keys", 0, "key"),
        f"parties.{LAPAS}.receipt_keys.0.key: is a checkpoint key",
    ),
    (
        put("S D P", "parties", LAPAS, "receipt_keys", 0, "database"),
        f"parties.{LAPAS}.receipt_keys.0.database: write lower-case",
    ),
    (
        twice_the_same_key,
        f"parties.{POLRESTA}.replaced_keys.0.key: stands at parties.{POLRESTA}.keys.0 already",
    ),
    (two_keys_that_sign, f"parties.{LAPAS}.keys: holds 2 keys, and one signs; put those that it"),
    (replaced(), f"parties.{POLRESTA}.replaced_keys.0.until: seizure is missing; write its last"),
    (replaced(seizure=[1, 2]), "replaced_keys.0.until.seizure: holds 2 sizes for 3 partitions"),
    (replaced(seizure=[1, 2, 3], transfer=[1, 2, 3]), f"until.transfer: {POLRESTA} does not publ"),
    (replaced(seizure=[1, 2, -3]), "replaced_keys.0.until.seizure.2: must be at least 0"),
    (replaced(seizure=[1, "2", 3]), "until.seizure.1: must be a whole number, not text"),
    (replaced(seizure=7), "until.seizure: must be a list in brackets, not a whole number"),
    (replaced_in_the_wrong_order, "replaced_keys.1.until.seizure: ends before the key that it"),
    (drop("events"), "events: must say what is shared"),
    (put([], "events", "seizure", "readers"), "events.seizure.readers: must not be empty"),
    (put(["lapas-banyuwang"], "events", "seizure", "readers"), f"did you mean {LAPAS}?"),
    (
        put([LAPAS], "events", "transfer", "readers"),
        f"events.transfer.readers: nobody but {LAPAS} reads what {LAPAS} publishes",
    ),
    (put([LAPAS, LAPAS], "events", "transfer", "publishers"), "stands 2 times; write it once"),
    (put(["CURIOSITY"], "events", "seizure", "purposes"), "CURIOSITY is no purpose"),
    (put(0, "events", "seizure", "partitions"), "events.seizure.partitions: must be at least 1"),
    (put("3", "events", "seizure", "partitions"), "must be a whole number, not text"),
    (put(bool(1), "events", "seizure", "partitions"), "must be a whole number, not true or false"),
    (put("5 years", "events", "seizure", "retention"), "'5 years' is not a period"),
]


@pytest.mark.parametrize(("spoil", "line"), SPOILED)
def test_each_thing_wrong_is_one_clear_line(
    raw: dict[str, Any], spoil: Callable[[dict[str, Any]], None], line: str
) -> None:
    spoil(raw)
    assert any(line in found for found in lines(raw)), lines(raw)


def test_everything_wrong_is_said_at_once(raw: dict[str, Any]) -> None:
    """Ten mistakes in all parts of one file: ten lines, and none about what is right."""
    del raw["title"]
    raw["numbers"][0]["number"] = 5
    raw["in_force"]["zone"] = "Banyuwangi"
    raw["parties"][LAPAS]["keys"] = ["nonsense"]
    raw["parties"][BNNK]["nme"] = "x"
    raw["parties"][POLRESTA]["receipt_keys"][0]["database"] = "-"
    raw["events"]["seizure"]["partitions"] = -1
    raw["events"]["seizure"]["readers"] = ["nobody-here"]
    raw["events"]["transfer"]["retention"] = 5
    raw["events"]["control"] = copy.deepcopy(raw["events"]["transfer"]) | {"retention": "P1Y"}
    keys = sorted(line.split(": ")[0] for line in lines(raw))
    assert keys == [
        "events.control",
        "events.seizure.partitions",
        "events.seizure.readers.0",
        "events.transfer.retention",
        "in_force.zone",
        "numbers.0.number",
        f"parties.{BNNK}.nme",
        f"parties.{LAPAS}.keys.0",
        f"parties.{POLRESTA}.receipt_keys.0.database",
        "title",
    ]


def test_a_file_that_is_not_toml_names_the_line() -> None:
    with pytest.raises(AgreementRefused, match="at line 2, column"):
        parse(PATH, b'bus = "x"\ntitle = \n')
    with pytest.raises(AgreementRefused, match="byte 9 is not UTF-8"):
        parse(PATH, b'title = "\xff"\n')


def test_a_folder_without_agreements_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AgreementRefused, match="holds no agreement"):
        Agreements.load(tmp_path)
    with pytest.raises(AgreementRefused, match="cannot be read"):
        Agreements.load(tmp_path / "nowhere")


def test_the_mistakes_of_all_files_of_a_folder_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("bus = 1\n")
    (tmp_path / "b.toml").write_text("= 1\n")
    (tmp_path / "notes.txt").write_text("not an agreement")
    with pytest.raises(AgreementRefused) as caught:
        Agreements.load(tmp_path)
    assert f"{tmp_path}/a.toml: bus: must be text in quotes" in str(caught.value)
    assert f"{tmp_path}/b.toml: it is not TOML" in str(caught.value)


def successor(raw: dict[str, Any]) -> dict[str, Any]:
    later = copy.deepcopy(raw)
    later["title"] = "addendum"
    later["in_force"]["from"] = datetime(2026, 1, 1, tzinfo=UTC)
    return later


def test_the_newest_in_force_holds(raw: dict[str, Any]) -> None:
    later = successor(raw)
    del later["events"]["suspicious-visit"]
    agreements = Agreements([read(raw), read(later)])

    def title(event_type: str, year: int) -> str:
        found = agreements.covering(LAPAS, event_type, datetime(year, 6, 1, tzinfo=UTC))
        return found.title if found else ""

    assert title("transfer", 2027) == "addendum"
    assert title("suspicious-visit", 2027) == raw["title"]
    assert title("transfer", 2025) == ""
    assert agreements.partitions(Topic(LAPAS, "suspicious-visit")) == 3


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (
            put(4, "events", "seizure", "partitions"),
            "is 4 for sinergi.bnnk-banyuwangi.seizure, but",
        ),
        (put(datetime(2025, 10, 22, 17, tzinfo=UTC), "in_force", "from"), "is the same as in"),
    ],
)
def test_agreements_that_contradict_each_other_are_refused(
    raw: dict[str, Any], spoil: Callable[[dict[str, Any]], None], what: str
) -> None:
    later = successor(raw)
    spoil(later)
    with pytest.raises(AgreementRefused, match=what):
        Agreements([read(raw), read(later)])


def test_two_buses_in_one_folder_are_refused(raw: dict[str, Any]) -> None:
    later = successor(raw)
    later["bus"] = "other.example"
    for party in later["parties"]:
        key = SigningKey.generate(f"other.example/{party}").public
        later["parties"][party] |= {"keys": [str(key)], "receipt_keys": []}
    with pytest.raises(AgreementRefused, match=f"bus: is other.example, but {BUS} in pks.toml"):
        Agreements([read(raw), read(later)])


def test_a_key_that_changes_hands_between_agreements_is_refused(raw: dict[str, Any]) -> None:
    later = successor(raw)
    taken = SigningKey.generate(f"{BUS}/{LAPAS}")
    raw["parties"][LAPAS]["keys"] = [str(taken.public)]
    stolen = replace(taken.public, name=f"{BUS}/{BNNK}")
    later["parties"][BNNK]["keys"] = [str(stolen)]
    with pytest.raises(AgreementRefused, match=f"{BUS}/{BNNK} is the same key as {BUS}/{LAPAS}"):
        Agreements([read(raw), read(later)])


def test_one_file_twice_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(AgreementRefused, match="is the same file as"):
        Agreements([read(raw), read(raw)])
