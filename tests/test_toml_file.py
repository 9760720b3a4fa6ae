"""Any TOML file is read as it is written, or refused with one clear error."""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import Any
from zoneinfo import available_timezones

import pytest
import tomli_w
from hypothesis import example, given
from hypothesis import strategies as st

from sinergi.settings import settings
from sinergi_producers.sources.files.mapping import Mapping
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.errors import AgreementRefused, MappingRefused, SettingsRefused
from sinergi_schemas.files import toml_file

ROOT = Path(__file__).parent.parent
AGREEMENT = ROOT / "examples" / "agreement" / "banyuwangi.toml"
MAPPING = ROOT / "examples" / "inter-prison-transfers" / "mapping.toml"
SETTINGS = {
    "agency": "bnnk",
    "bus": "sinergi.test.example",
    "agreements": "pks",
    "kafka": {"bootstrap": "127.0.0.1:9092", "security": "PLAINTEXT", "username": "a"},
    "producer": {"database": "postgresql://user@host/name"},
    "consumer": {"quarantine_bytes": 5, "name": "main"},
    "provision": {"replication": 3},
}
BEYOND = "0x" + "f" * 6_000
# What a value is replaced by stands in quotes until the file is written.
PLACE = re.compile(r'"@(\d+)@"')

DATES = [
    "9999-12-31",
    "9999-12-30",
    "0001-01-01",
    "0001-01-02",
    "9999-12-31T23:59:59.999999-23:59",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00",
    "2025-10-23",
    "07:00:00",
]
NUMBERS = [BEYOND, "9" * 5_000, str(2**63), str(-(2**63)), str(2**64), "-1", "0", "nan", "-inf"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
SIMPLE = st.one_of(
    st.sampled_from(DATES + NUMBERS + ["true", "[]", "{}"]),
    st.integers().map(str),
    st.floats().map(lambda each: f"{each:.30f}" if abs(each) < 1e9 else "1e400"),
    st.sampled_from([*sorted(available_timezones()), "", "../x", "Asia"]).map('"{}"'.format),
    TEXTS.map(lambda text: tomli_w.dumps({"x": text}).removeprefix("x = ").strip()),
)
VALUES = st.one_of(
    SIMPLE,
    st.recursive(
        SIMPLE,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]"),
            inner.map("{{ until = {} }}".format),
            inner.map('{{ party = {}, "a.b" = 1 }}'.format),
        ),
        max_leaves=8,
    ),
    st.integers(1, 4_000).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(1, 4_000).map(lambda depth: "{a=" * depth + "1" + "}" * depth),
    st.integers(1, 400).map(lambda parts: f"{{{'a.' * parts}b = 1}}"),
)


def places(value: object) -> list[tuple[str | int, ...]]:
    """The paths of all values below one."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return []
    return [(key, *rest) for key, inner in value.items() for rest in ((), *places(inner))]


@st.composite
def spoiled(draw: st.DrawFn, text: str) -> bytes:
    """A file with other values in some of its places, and keys that it does not know."""
    document = tomllib.loads(text)
    given: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(places(document)))
        table: Any = document
        for step in path:
            table = table[step]
        if isinstance(table, dict) and draw(st.booleans()):
            last = draw(st.sampled_from(["x", "retention", "until", "replaced_keys"]) | TEXTS)
        table[last] = f"@{len(given)}@"
        given.append(draw(VALUES))
    written = PLACE.sub(lambda found: given[int(found[1])], tomli_w.dumps(document))
    return written.encode()


AGREEMENTS = spoiled(AGREEMENT.read_text("utf-8"))


@given(data=AGREEMENTS)
@example(data=AGREEMENT.read_bytes().replace(b"until = 2030-10-22", b"until = 9999-12-31"))
@example(data=AGREEMENT.read_bytes().replace(b"from = 2025-10-23", b"from = 0001-01-01"))
def test_whatever_an_agreement_file_holds_it_is_used_or_refused_by_one_error(data: bytes) -> None:
    with suppress(AgreementRefused):
        found = Agreements([parse(Path("pks.toml"), data)])
        found.topics(datetime.now(UTC))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("toml")


@given(data=spoiled(tomli_w.dumps(SETTINGS)))
def test_whatever_a_settings_file_holds_it_is_used_or_refused_by_one_error(
    folder: Path, data: bytes
) -> None:
    file = folder / "sinergi.toml"
    file.write_bytes(data)
    with suppress(SettingsRefused):
        settings.load(file, {}, {}).entries()


@given(data=spoiled(MAPPING.read_text("utf-8")))
def test_whatever_a_mapping_file_holds_it_is_used_or_refused_by_one_error(
    folder: Path, data: bytes
) -> None:
    file = folder / "mapping.toml"
    file.write_bytes(data)
    with suppress(MappingRefused):
        Mapping.load(file)


FRAGMENTS = ['"""', "'''", *"\"'#\n[]{}=.,\\a1- ", "a.b", " = ", "\r\n", "[[", "9999-12-31", "0x"]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=200).map("".join))
def test_any_text_is_read_as_toml_reads_it_or_refused(text: str) -> None:
    with suppress(ValueError):
        found = toml_file.read(text.encode())
        assert found == tomllib.loads(text)


@given(st.lists(TEXTS | st.sampled_from(['"', "'", '"""', "'''", "#", "\\", "[" * 40, "a." * 40])))
def test_brackets_and_dots_in_text_and_comments_count_for_nothing(texts: list[str]) -> None:
    written = tomli_w.dumps({"a": texts}) + "# " + "[" * 99 + ".a" * 99 + "\n"
    written += tomli_w.dumps({"b": ["\n".join(texts)]}, multiline_strings=True)
    assert toml_file.read(written.encode()) == tomllib.loads(written)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("\na = " + "[" * 17 + "]" * 17, "line 2 nests more than 16 lists and tables"),
        ("[x]\n[x" + ".a" * 16 + "]", "line 2 holds a key of more than 16 parts; write fewer"),
        ("[a" + ".a" * 9 + "]\na" + ".a" * 9 + " = 1", "lies below more than 16 lists and tab"),
        (f"[x]\na = [1, {BEYOND}]", "line 2 holds a key or a number of more than 1,000 characters"),
        (f"[x]\na = [1, {2**63}]", "x.a item 2: is a number of more than 64 bits; write a smaller"),
    ],
)
def test_what_is_beyond_the_limits_of_a_file_is_named_with_its_place(
    written: str, said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        toml_file.read(written.encode())


@pytest.mark.parametrize("zone", ["Asia/Jakarta", "America/Los_Angeles", "UTC"])
@pytest.mark.parametrize("until", ["9999-12-31", "9999-12-31T23:59:59-07:00"])
def test_an_agreement_until_the_end_of_the_calendar_has_no_end(until: str, zone: str) -> None:
    text = AGREEMENT.read_text("utf-8").replace("Asia/Jakarta", zone)
    agreement = parse(AGREEMENT, text.replace("2030-10-22", until).encode())
    assert agreement.ends is None
    assert agreement.in_force(datetime.max.replace(tzinfo=UTC))


@pytest.mark.parametrize("start", ["0001-01-01", "0001-01-01T00:00:00+07:00"])
def test_an_agreement_from_the_beginning_of_the_calendar_holds_ever_since(start: str) -> None:
    text = AGREEMENT.read_text("utf-8").replace("2025-10-23", start)
    agreement = parse(AGREEMENT, text.encode())
    assert agreement.in_force(datetime.min.replace(tzinfo=UTC))
    assert agreement.ends == datetime(2030, 10, 22, 17, tzinfo=UTC)


def test_the_last_day_but_one_of_the_calendar_is_an_end_like_any_other() -> None:
    agreement = parse(AGREEMENT, AGREEMENT.read_bytes().replace(b"2030-10-22", b"9999-12-30"))
    assert agreement.ends == datetime(9999, 12, 30, 17, tzinfo=UTC)


def test_an_agreement_that_begins_behind_the_calendar_is_refused() -> None:
    data = AGREEMENT.read_bytes().replace(b"2025-10-23", b"9999-12-31T23:59:59-07:00")
    with pytest.raises(
        AgreementRefused, match=r"in_force\.from: is after the last date of the cal"
    ):
        parse(AGREEMENT, data)


def names(form: str, count: int) -> str:
    """A list of names that are like each other."""
    return "[" + ", ".join(f'"{form.format(each)}"' for each in range(count)) + "]"


@pytest.mark.parametrize(
    "written",
    [
        "[a]\nb." + "a." * 100_000 + "a = 1",
        "".join(f"{'a.' * 15}b{each} = 1\n" for each in range(7_000)),
        "".join(f"[parties.agency-number-{each}]\n" for each in range(1_000))
        + f"[events.x]\nreaders = {names('agency-numbed-{}', 8_000)}",
        f"[parties.{'ab' * 400}]\n[events.x]\nreaders = {names('ba' * 400 + '{}', 200)}",
        "".join(f"[events.e{each}]\npublishers = ['a']\n" for each in range(4_000))
        + f"[parties.a]\nreplaced_keys = [{'{},' * 30_000}]",
        "".join(f"[events.e{each}]\npublisher = 1\n" for each in range(7_000)),
        f"[events.x]\npurposes = {names('INVESTIGATIOM{}', 11_000)}",
        f"replaces = {names('{:064x}', 3_900)}",
    ],
)
def test_no_agreement_file_takes_long_to_refuse_or_fills_the_log(written: str) -> None:
    begun = process_time()
    with pytest.raises(AgreementRefused) as caught:
        parse(Path("pks.toml"), written.encode())
    assert process_time() - begun < 20  # it was minutes; the slowest now takes 4 s
    assert len(str(caught.value).splitlines()) <= 52
    assert len(str(caught.value)) < 60_000


def test_of_a_thousand_problems_some_are_told_and_the_number_of_the_others() -> None:
    text = AGREEMENT.read_text("utf-8").replace(
        "title = ", "".join(f"titel{each} = 1\n" for each in range(200)) + "title = "
    )
    with pytest.raises(AgreementRefused, match=r"\n  and 150 more$") as caught:
        parse(AGREEMENT, text.encode())
    hinted = [line for line in str(caught.value).splitlines() if "did you mean title?" in line]
    assert len(hinted) == 10


def test_a_file_that_is_too_large_is_refused_by_its_size(tmp_path: Path) -> None:
    (tmp_path / "pks.toml").write_bytes(b"#" * 10_000_000)
    with pytest.raises(
        AgreementRefused, match=r"pks\.toml: cannot be read \(it holds more than 262,144 bytes"
    ):
        Agreements.load(tmp_path)
