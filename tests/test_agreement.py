"""Agreements: a valid file is loaded, and every error of an invalid one is reported at once."""

from __future__ import annotations

import copy
import json
import os
import tomllib
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sinergi_schemas.agreements.collection import Agreement, Agreements
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.errors import AgreementRefused, NotAgreed
from sinergi_schemas.seal import heads
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.seal.key_ring import KeyRing
from sinergi_schemas.seal.keys import Algorithm, SigningKey, VerifyingKey
from sinergi_schemas.topics import Topic
from test_seal_keys import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = Path(__file__).parent.parent / "examples" / "agreement" / "banyuwangi.toml"
VECTORS = Path(__file__).parent / "vectors" / "seal"
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
    (drop("bus"), "bus: it is missing; write the name of the bus"),
    (put("Sinergi Bus", "bus"), "bus: 'Sinergi Bus' cannot name a bus"),
    (put(7, "title"), "title: must be text in quotes, not a whole number"),
    (put("two\nlines", "title"), "title: must be one line of text"),
    (put([], "legal_basis"), "legal_basis: must not be empty"),
    (put("…", "parties", BNNK, "name"), f"parties.{BNNK}.name: '…' is only the placeholder"),
    (put("NAME OF THE AGENCY", "parties", BNNK, "name"), "is only the placeholder; write"),
    (put(1, "titel"), "titel: there is no such key; did you mean title?"),
    (put(1, "events", "seizure", "reader"), "events.seizure.reader: there is no such key; did you"),
    (drop("numbers"), "numbers: it is missing; write [{ party"),
    (
        put("bnk", "numbers", 1, "party"),
        "numbers item 2.party: bnk is not a party of this agreement",
    ),
    (put("bnk", "numbers", 1, "party"), f"numbers: {BNNK} has no number; add"),
    (put(LAPAS, "numbers", 1, "party"), f"numbers: {LAPAS} occurs 2 times"),
    (drop("numbers", 0, "number"), "numbers item 1.number: it is missing"),
    (drop("in_force"), "in_force: it is missing"),
    (drop("in_force", "from"), "in_force.from: it is missing"),
    (drop("in_force", "zone"), "in_force.from: is a date, so it needs a zone"),
    (
        put("Asia/Djakarta", "in_force", "zone"),
        "in_force.zone: 'Asia/Djakarta' is not an IANA zone",
    ),
    (
        put("2025-10-23", "in_force", "from"),
        "in_force.from: must be a date or a time with an offset, without quotes",
    ),
    (
        put(datetime.fromisoformat("2025-01-01T00:00:00"), "in_force", "from"),
        "is a time without an offset, and zone is the zone of dates only; write a date, or add the",
    ),
    (
        put(datetime(2024, 1, 1, tzinfo=UTC), "in_force", "until"),
        "in_force.until: is before from",
    ),
    (drop("parties", POLRESTA), f"events.seizure.publishers item 3: {POLRESTA} is not a party"),
    (put("x", "parties", POLRESTA), f"parties.{POLRESTA}: must be a table, not text"),
    (put([], "parties", LAPAS, "keys"), f"parties.{LAPAS}.keys: must not be empty"),
    (
        put("a+b+c", "parties", LAPAS, "keys", 0),
        f"parties.{LAPAS}.keys item 1: is not a public key",
    ),
    (
        put(other_key(BNNK), "parties", LAPAS, "keys", 0),
        f"parties.{LAPAS}.keys item 1: has the name {BUS}/{BNNK}; the key must have",
    ),
    (
        put(other_key(LAPAS, Algorithm.COSIGNATURE), "parties", LAPAS, "keys", 0),
        f"parties.{LAPAS}.keys item 1: is a receipt key",
    ),
    (
        put(other_key(f"{LAPAS}/sdp"), "parties", LAPAS, "receipt_keys", 0, "key"),
        f"parties.{LAPAS}.receipt_keys item 1.key: is a checkpoint key",
    ),
    (
        put("S D P", "parties", LAPAS, "receipt_keys", 0, "database"),
        f"parties.{LAPAS}.receipt_keys item 1.database: write lower-case",
    ),
    (
        twice_the_same_key,
        f"replaced_keys item 1.key: is the same key as parties.{POLRESTA}.keys item 1;",
    ),
    (two_keys_that_sign, f"parties.{LAPAS}.keys: contains 2 keys, but only one may sign; move"),
    (
        replaced(),
        f"parties.{POLRESTA}.replaced_keys item 1.until: seizure is missing; write its last",
    ),
    (
        replaced(seizure=[1, 2]),
        "replaced_keys item 1.until.seizure: contains 2 sizes for 3 partitions",
    ),
    (replaced(seizure=[1, 2, 3], transfer=[1, 2, 3]), f"until.transfer: {POLRESTA} is not a pub"),
    (replaced(seizure=[1, 2, -3]), "replaced_keys item 1.until.seizure item 3: must be at least 0"),
    (replaced(seizure=[1, "2", 3]), "until.seizure item 2: must be a whole number, not text"),
    (replaced(seizure=7), "until.seizure: must be a list in brackets, not a whole number"),
    (
        replaced_in_the_wrong_order,
        "replaced_keys item 2.until.seizure: is lower than that of the key",
    ),
    (
        lambda raw: raw.pop("parties"),
        f"numbers item 1.party: {LAPAS} is not a party of this agreement, which names none; write",
    ),
    (drop("events"), "events: must contain one or more event types"),
    (put([], "events", "seizure", "readers"), "events.seizure.readers: must not be empty"),
    (put(["lapas-banyuwang"], "events", "seizure", "readers"), f"did you mean {LAPAS}?"),
    (
        put([LAPAS], "events", "transfer", "readers"),
        f"events.transfer.readers: {LAPAS} is the only reader of its own events",
    ),
    (put([LAPAS, LAPAS], "events", "transfer", "publishers"), "occurs 2 times; write it once"),
    (put(["CURIOSITY"], "events", "seizure", "purposes"), "CURIOSITY is not a purpose"),
    (put(0, "events", "seizure", "partitions"), "events.seizure.partitions: must be at least 1"),
    (put("3", "events", "seizure", "partitions"), "must be a whole number, not text"),
    (put(bool(1), "events", "seizure", "partitions"), "must be a whole number, not true or false"),
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
    raw["events"]["transfer"]["purposes"] = 5
    raw["events"]["control"] = copy.deepcopy(raw["events"]["transfer"]) | {"purposes": ["ESCORT"]}
    keys = sorted(line.split(": ")[0] for line in lines(raw))
    assert keys == [
        "events.control",
        "events.seizure.partitions",
        "events.seizure.readers item 1",
        "events.transfer.purposes",
        "in_force.zone",
        "numbers item 1.number",
        f"parties.{BNNK}.nme",
        f"parties.{LAPAS}.keys item 1",
        f"parties.{POLRESTA}.receipt_keys item 1.database",
        "title",
    ]


def test_a_wrong_bus_is_one_problem_at_the_bus(raw: dict[str, Any]) -> None:
    raw["bus"] = "sinergi.banyuwagi.example"
    (line,) = lines(raw)
    what = f"bus: is sinergi.banyuwagi.example, but all keys are of the bus {BUS}"
    assert (
        line == f'{what}; write "{BUS}", or ask the parties for keys of sinergi.banyuwagi.example'
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[parties.lapas-rekaan]\n[parties.lapas-rekaan]\n",
            "the table [parties.lapas-rekaan] is there twice (at line 2, column 22); make one",
        ),
        ('[a."b.\'c"]\n[a."b.\'c"]\n', "the table [a.b.'c] is there twice (at line 2, column 10)"),
        ("a = { b = 1 }\n[a.c]\n", "the table [a.c] is there twice (at line 2, column 5)"),
        ("bus = 1\nbus = 2\n", "a key is there twice (at line 2, column 8)"),
    ],
)
def test_what_a_file_has_twice_is_named_as_people_write_it(text: str, said: str) -> None:
    with pytest.raises(AgreementRefused) as caught:
        parse(PATH, text.encode())
    assert f"it is not TOML: {said}" in str(caught.value)


def test_a_file_that_is_not_toml_names_the_line() -> None:
    with pytest.raises(AgreementRefused, match="at line 2, column"):
        parse(PATH, b'bus = "x"\ntitle = \n')
    with pytest.raises(AgreementRefused, match="byte 9 is not UTF-8"):
        parse(PATH, b'title = "\xff"\n')


def test_a_folder_without_agreements_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AgreementRefused, match="contains no agreement"):
        Agreements.load(tmp_path)
    with pytest.raises(AgreementRefused, match="cannot be read"):
        Agreements.load(tmp_path / "nowhere")


def test_a_fifo_in_the_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.toml")
    with pytest.raises(AgreementRefused, match=r"a.toml: cannot be read \(it is no regular file\)"):
        Agreements.load(tmp_path)


def test_a_folder_with_the_name_of_a_file_is_named_and_no_descriptor_stays_open(
    tmp_path: Path,
) -> None:
    (tmp_path / "yy.toml").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(AgreementRefused) as caught:
        Agreements.load(tmp_path)
    assert f"{tmp_path}/yy.toml: cannot be read (Is a directory); name a file in it" in str(
        caught.value
    )
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_mistakes_of_all_files_of_a_folder_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("bus = 1\n")
    (tmp_path / "b.toml").write_text("= 1\n")
    (tmp_path / "notes.txt").write_text("not an agreement")
    with pytest.raises(AgreementRefused) as caught:
        Agreements.load(tmp_path)
    assert f"{tmp_path}/a.toml: bus: must be text in quotes" in str(caught.value)
    assert f"{tmp_path}/b.toml: it is not TOML" in str(caught.value)


def test_of_very_many_files_that_are_refused_the_first_are_named_and_the_others_counted(
    tmp_path: Path, raw: dict[str, Any]
) -> None:
    for number in range(1_500):
        (tmp_path / f"{number:04}.toml").write_text("= 1\n")
    with pytest.raises(AgreementRefused) as caught:
        Agreements.load(tmp_path)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{tmp_path} cannot be used as an agreement:"
    assert lines[0].startswith(f"  {tmp_path}/0000.toml: it is not TOML")
    assert (len(lines), lines[-1]) == (51, "  and 1,450 more")
    with pytest.raises(AgreementRefused) as caught:
        Agreements([replace(read(raw), path=Path(f"{number:03}.toml")) for number in range(200)])
    first, *lines = str(caught.value).splitlines()
    assert "; 004.toml; and 195 more cannot be used" in first
    assert lines[-1].endswith(" more")


def successor(raw: dict[str, Any]) -> dict[str, Any]:
    later = copy.deepcopy(raw)
    later["title"] = "addendum"
    later["in_force"]["from"] = datetime(2026, 1, 1, tzinfo=UTC)
    return later


def together(raw: dict[str, Any], later: dict[str, Any]) -> Agreements:
    """Two versions in one folder, of which the later one names the earlier one."""
    earlier = read(raw)
    document = tomli_w.dumps({"replaces": [earlier.hash]} | later).encode()
    return Agreements([earlier, parse(Path("later.toml"), document)])


def refused(raw: dict[str, Any], later: dict[str, Any]) -> list[str]:
    with pytest.raises(AgreementRefused) as caught:
        together(raw, later)
    return str(caught.value).split("\n  ")[1:]


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
        together(raw, later)


def test_two_buses_in_one_folder_are_refused(raw: dict[str, Any]) -> None:
    later = successor(raw)
    later["bus"] = "other.example"
    for party in later["parties"]:
        key = SigningKey.generate(f"other.example/{party}").public
        later["parties"][party] |= {"keys": [str(key)], "receipt_keys": []}
    with pytest.raises(AgreementRefused, match=f"bus: is other.example, but {BUS} in pks.toml"):
        together(raw, later)


def test_a_key_that_changes_hands_between_agreements_is_refused(raw: dict[str, Any]) -> None:
    later = successor(raw)
    taken = SigningKey.generate(f"{BUS}/{LAPAS}")
    raw["parties"][LAPAS]["keys"] = [str(taken.public)]
    stolen = replace(taken.public, name=f"{BUS}/{BNNK}")
    later["parties"][BNNK]["keys"] = [str(stolen)]
    with pytest.raises(AgreementRefused, match=f"{BUS}/{BNNK} is the same key as {BUS}/{LAPAS}"):
        together(raw, later)


def test_one_file_twice_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(AgreementRefused, match="is the same file as"):
        Agreements([read(raw), read(raw)])


def test_a_retention_is_taken_and_remarked_since_a_signed_file_cannot_be_changed(
    raw: dict[str, Any],
) -> None:
    assert read(raw).remarks == ()
    raw["events"]["seizure"]["retention"] = "P5Y"
    (remark,) = read(raw).remarks
    assert remark.startswith("events.seizure.retention: it has no effect: Sinergi deletes no rows")
    assert not hasattr(read(raw).events["seizure"], "retention")
    raw["events"]["seizure"]["retention"] = "5 years"
    assert lines(raw) == [
        'events.seizure.retention: \'5 years\' is not a period; write one as "P5Y", or "forever"'
    ]


# Whose keys count for what


def replaced_by(raw: dict[str, Any], agency: str, new: str, **until: list[int]) -> None:
    """Let an agreement state that a new key replaces the one that it shows."""
    party = raw["parties"][agency]
    old = {"key": party["keys"][0], "until": until}
    party["replaced_keys"] = [*party.get("replaced_keys", []), old]
    party["keys"] = [new]


def only(raw: dict[str, Any], event_type: str) -> dict[str, Any]:
    """An agreement of the same parties on one event type alone, and later."""
    later = successor(raw)
    later["events"] = {event_type: later["events"][event_type]}
    return later


ESCAPES = "suspicious-visit"
UNTIL = {"seizure": [5, 0, 7], "transfer": [120, 97, 104], ESCAPES: [1, 2, 3]}


def test_a_second_agreement_on_another_event_type_adds_no_key(raw: dict[str, Any]) -> None:
    """A key of the prison's that nobody but the other side has seen forged rows under its name."""
    del raw["events"][ESCAPES]
    later = successor(raw)
    later["events"] = {ESCAPES: raw["events"]["transfer"]}
    theirs, ours = other_key(LAPAS), raw["parties"][LAPAS]["keys"][0]
    later["parties"][LAPAS]["keys"] = [theirs]
    (line,) = refused(raw, later)
    assert line.startswith(f"later.toml: parties.{LAPAS}.keys: is {theirs[:-45]}, but {ours[:-45]}")
    assert "in pks.toml, and neither file lists the other's key in replaced_keys" in line


def test_a_key_that_a_second_agreement_declares_counts_for_its_own_event_type_only(
    raw: dict[str, Any],
) -> None:
    del raw["events"][ESCAPES]
    later = successor(raw)
    later["events"] = {ESCAPES: raw["events"]["transfer"]}
    replaced_by(later, LAPAS, other_key(LAPAS), **{ESCAPES: [0, 0, 0]})
    agreements = together(raw, later)
    old, new = (each.parties[LAPAS].key for each in (read(raw), read(later)))
    assert agreements.ring(TRANSFER, 0).spans == KeyRing.of(old).spans
    assert agreements.ring(Topic(LAPAS, ESCAPES), 2).allowed(1) == [new]
    assert agreements.keys(LAPAS) == [new, old]


def test_heads_of_a_key_from_another_agreement_say_nothing_of_a_topic(raw: dict[str, Any]) -> None:
    """It can sign heads, and then states of its own event type only what they say of that."""
    del raw["events"][ESCAPES]
    later = successor(raw)
    later["events"] = {ESCAPES: raw["events"]["transfer"]}
    new = SigningKey.generate(f"{BUS}/{LAPAS}")
    replaced_by(later, LAPAS, str(new.public), **{ESCAPES: [0, 0, 0]})
    agreements = together(raw, later)
    stated = tuple(
        TreeHead(f"sinergi.{LAPAS}.{name}", 0, 9, bytes(32))
        for name in ("transfer", ESCAPES, "unheard-of")
    )
    note = heads.sign(SignedHeads(BUS, LAPAS, 1, stated), [new])
    found = agreements.credible(heads.verify(note, BUS, LAPAS, agreements.keys(LAPAS)))
    assert [each.topic for each in found.heads] == [f"sinergi.{LAPAS}.{ESCAPES}"]


def test_a_receipt_key_counts_for_what_its_agreement_lets_its_agency_read(
    raw: dict[str, Any],
) -> None:
    later = only(raw, ESCAPES)
    more = other_key(f"{BNNK}/second", Algorithm.COSIGNATURE)
    later["parties"][BNNK]["receipt_keys"].append({"database": "second", "key": more})
    agreements = together(raw, later)
    assert more in map(str, agreements.receipt_keys(BNNK))
    assert more in map(str, agreements.receipt_keys(BNNK, Topic(LAPAS, ESCAPES)))
    assert more not in map(str, agreements.receipt_keys(BNNK, TRANSFER))
    assert agreements.receipt_keys(BNNK, Topic(BNNK, "transfer")) == []


def test_a_newer_file_keeps_every_receipt_key_of_a_database(raw: dict[str, Any]) -> None:
    later = successor(raw)
    kept = later["parties"][BNNK]["receipt_keys"][0]
    new = {"database": "register", "key": other_key(f"{BNNK}/register", Algorithm.COSIGNATURE)}
    later["parties"][BNNK]["receipt_keys"] = [new]
    (line,) = refused(raw, later)
    assert f"{BNNK}.receipt_keys: database register lacks {kept['key'][:-45]} of pks.toml" in line
    later["parties"][BNNK]["receipt_keys"] = [new, kept]
    assert [str(key) for key in together(raw, later).receipt_keys(BNNK)] == [
        new["key"],
        kept["key"],
    ]


# A key is replaced


def test_the_newer_agreement_alone_proves_what_was_sealed_before_it(raw: dict[str, Any]) -> None:
    later, new = successor(raw), other_key(LAPAS)
    replaced_by(later, LAPAS, new, **UNTIL)
    for agreements in (together(raw, later), Agreements([read(later)])):
        old = read(raw).parties[LAPAS].key
        for number, last in enumerate(UNTIL["transfer"]):
            ring = agreements.ring(TRANSFER, number)
            assert ring.allowed(last)[0] == old
            assert [str(key) for key in ring.allowed(last + 1)] == [new]
        assert agreements.ring(TRANSFER, 3).spans == agreements.ring(TRANSFER, -1).spans == ()


def test_a_newer_file_that_forgets_a_replaced_key_is_refused(raw: dict[str, Any]) -> None:
    second, third = successor(raw), successor(raw)
    replaced_by(second, LAPAS, other_key(LAPAS), **UNTIL)
    third["parties"][LAPAS]["keys"] = [other_key(LAPAS)]
    third["in_force"]["from"] = datetime(2027, 1, 1, tzinfo=UTC)
    (line,) = refused(second, third)
    assert "and neither file lists the other's key" in line


def test_a_newer_file_that_goes_back_to_a_replaced_key_is_refused(raw: dict[str, Any]) -> None:
    second, third = successor(raw), successor(raw)
    replaced_by(second, LAPAS, other_key(LAPAS), **UNTIL)
    third["in_force"]["from"] = datetime(2027, 1, 1, tzinfo=UTC)
    (line,) = refused(second, third)
    assert line.startswith(f"later.toml: parties.{LAPAS}.keys: is {BUS}/{LAPAS}+")
    assert (
        "of pks.toml replaces that key; this file is the newer one, so it must contain both" in line
    )


def test_a_file_on_something_else_may_show_the_key_from_before_its_replacement(
    raw: dict[str, Any],
) -> None:
    del raw["events"][ESCAPES]
    replaced_by(
        raw, LAPAS, other_key(LAPAS), **{key: UNTIL[key] for key in ("seizure", "transfer")}
    )
    later = successor(raw)
    later["events"] = {ESCAPES: raw["events"]["transfer"]}
    party = later["parties"][LAPAS]
    party["keys"] = [party.pop("replaced_keys")[0]["key"]]
    agreements = together(raw, later)
    assert [str(key) for key in agreements.ring(Topic(LAPAS, ESCAPES), 0).allowed(9)] == party[
        "keys"
    ]


def test_the_newest_file_on_a_topic_says_where_a_key_ends(raw: dict[str, Any]) -> None:
    """A last size that was set too low is mended by another version."""
    second, third, new = successor(raw), successor(raw), other_key(LAPAS)
    replaced_by(second, LAPAS, new, **UNTIL)
    replaced_by(third, LAPAS, new, **(UNTIL | {"transfer": [500, 500, 500]}))
    third["in_force"]["from"] = datetime(2027, 1, 1, tzinfo=UTC)
    assert together(second, third).ring(TRANSFER, 0).spans[0].last == 500


# An old file is taken away


def test_a_file_that_follows_another_names_it(raw: dict[str, Any]) -> None:
    digest = read(raw).hash
    (line,) = refused(raw, successor(raw) | {"replaces": []})
    assert line.startswith(
        "later.toml: replaces: does not name pks.toml, an earlier agreement that covers"
    )
    assert line.endswith(f'add "{digest}" to it')


def test_of_two_files_from_the_same_moment_on_nobody_is_told_which_one_to_change(
    raw: dict[str, Any],
) -> None:
    """Everybody has a copy of the older one, and which that is no file says."""
    later = successor(raw) | {"replaces": [], "in_force": raw["in_force"]}
    (line,) = [each for each in refused(raw, later) if "from the same time on as" in each]
    assert line.endswith("must name the older one by its SHA-256, and start later")


def test_an_old_file_that_is_taken_away_is_missed_by_its_successor(raw: dict[str, Any]) -> None:
    """Events name it by its hash: whoever reads them anew could not tell what it allowed."""
    digest = read(raw).hash
    with pytest.raises(AgreementRefused) as caught:
        Agreements([read(successor(raw) | {"replaces": [digest]})])
    assert f"replaces: the earlier file with the SHA-256 {digest} is missing" in str(caught.value)


def test_a_third_version_names_the_second_which_names_the_first(raw: dict[str, Any]) -> None:
    first = read(raw)
    second = read(successor(raw) | {"replaces": [first.hash]})
    later = successor(raw) | {"title": "third", "replaces": [second.hash]}
    later["in_force"] = {"from": datetime(2027, 1, 1, tzinfo=UTC)}
    assert len(Agreements([first, second, read(later)]).versions) == 3
    with pytest.raises(AgreementRefused, match="is missing, and events"):
        Agreements([first, read(later)])


@pytest.mark.parametrize("kind", ["small_order", "not_canonical", "not_on_the_curve"])
def test_a_key_with_which_anybody_signs_is_refused_in_every_place(
    raw: dict[str, Any], kind: str
) -> None:
    """64 of 64 checkpoints were forged under such keys without a private key."""
    points = json.loads((VECTORS / "public-keys.json").read_text())[kind]
    for point in points:
        spoiled = copy.deepcopy(raw)
        text = text_of(f"{BUS}/{LAPAS}", Algorithm.ED25519, bytes.fromhex(point))
        receipts = text_of(f"{BUS}/{LAPAS}/sdp", Algorithm.COSIGNATURE, bytes.fromhex(point))
        spoiled["parties"][LAPAS]["keys"] = [text]
        spoiled["parties"][LAPAS]["receipt_keys"][0]["key"] = receipts
        replaced_by(spoiled, POLRESTA, other_key(POLRESTA), seizure=[1, 1, 1])
        old = text_of(f"{BUS}/{POLRESTA}", Algorithm.ED25519, bytes.fromhex(point))
        spoiled["parties"][POLRESTA]["replaced_keys"][0]["key"] = old
        said = lines(spoiled)
        for place in ("keys item 1", "receipt_keys item 1.key", "replaced_keys item 1.key"):
            assert any(f"{place}: is not a public key: the key" in each for each in said), said


def test_no_checkpoint_is_forged_under_a_key_of_small_order() -> None:
    """64 are forged that OpenSSL takes, each without a private key; no ring can hold their keys."""
    points = json.loads((VECTORS / "public-keys.json").read_text())["small_order"]
    neutral = bytes.fromhex(points[0]) + bytes(32)
    for number in range(64):
        public = bytes.fromhex(points[number % len(points)])
        key = Ed25519PublicKey.from_public_bytes(public)
        for extra in count():
            text = f"{BUS}/{TRANSFER.name}/0\n{number}\n{'A' * 43}=\n{extra}\n"
            with suppress(InvalidSignature):
                key.verify(neutral, text.encode())
                break
        with pytest.raises(ValueError, match="prime order"):
            VerifyingKey(f"{BUS}/{LAPAS}", Algorithm.ED25519, public)
