"""The catalogue: what it reads from a folder, and which folders it refuses."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from avro_schemas import field, record_of
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.events import MODELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Write = Callable[..., Path]

ONE = record_of(field("x", "int"))
TWO = record_of(field("x", "int"), field("y", ["null", "int"]))
IDS = '"probe/1" = 1\n"probe/2" = 2\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Makes a folder of schemas."""

    def make(files: Mapping[str, Any], ids: str = IDS) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        (tmp_path / "ids.toml").write_text(ids)
        return tmp_path

    return make


def refusal(folder: Path) -> str:
    with pytest.raises(errors.SchemaRefused) as refused:
        Catalog.load(folder)
    return str(refused.value)


def test_a_folder_is_loaded_with_all_versions_and_their_ids(write: Write) -> None:
    files = {"probe/1.avsc": ONE, "probe/2.avsc": TWO, "other-probe/1.avsc": {**ONE, "name": "O"}}
    folder = write(files, IDS + '"other-probe/1" = 7\n')
    catalog = Catalog.load(folder)
    assert catalog.event_types == ("other-probe", "probe")
    assert [(each.name, each.id) for each in catalog.all()] == [
        ("other-probe/1", 7),
        ("probe/1", 1),
        ("probe/2", 2),
    ]
    assert catalog.newest("probe").parsed == TWO
    assert catalog.versions("probe")[0].text == (folder / "probe/1.avsc").read_bytes()


def test_a_schema_is_found_by_the_sha_256_of_its_file(write: Write) -> None:
    folder = write({"probe/1.avsc": ONE, "probe/2.avsc": TWO})
    catalog = Catalog.load(folder)
    fingerprint = sha256((folder / "probe/2.avsc").read_bytes()).digest()
    assert catalog.by_fingerprint(fingerprint) is catalog.newest("probe")
    assert catalog.by_fingerprint(bytes(32)) is None


def test_a_schema_is_found_by_its_name_and_version(write: Write) -> None:
    catalog = Catalog.load(write({"probe/1.avsc": ONE, "probe/2.avsc": TWO}))
    assert catalog.named("probe/1").version == 1
    assert catalog.named("probe").version == 2
    for wrong in ("probe/3", "probe/", "probe/01", "probe/1/1"):
        with pytest.raises(errors.VersionUnknown, match="of probe; the newest is 2"):
            catalog.named(wrong)
    with pytest.raises(errors.EventTypeUnknown, match="no event type visit; there are probe"):
        catalog.named("visit/1")


def test_ten_versions_are_in_their_order_and_not_in_that_of_their_letters(write: Write) -> None:
    files = {f"probe/{n}.avsc": {**ONE, "doc": str(n)} for n in range(1, 12)}
    catalog = Catalog.load(write(files, "".join(f'"probe/{n}" = {n}\n' for n in range(1, 12))))
    assert [each.version for each in catalog.versions("probe")] == list(range(1, 12))


def test_a_schema_is_a_key_of_a_dictionary_and_cannot_be_changed(write: Write) -> None:
    first, second = Catalog.load(write({"probe/1.avsc": ONE, "probe/2.avsc": TWO})).all()
    again = Catalog.load(write({"probe/1.avsc": ONE, "probe/2.avsc": TWO})).all()[0]
    assert {first: "one", second: "two"}[again] == "one"
    with pytest.raises(AttributeError):
        first.id = 9  # type: ignore[misc]


def test_the_shipped_catalogue_is_read_once() -> None:
    assert Catalog.shipped() is Catalog.shipped()
    assert Catalog.shipped().event_types == tuple(sorted(MODELS))


# Folders that are refused


def test_a_hole_in_the_versions_is_refused(write: Write) -> None:
    folder = write({"probe/1.avsc": ONE, "probe/3.avsc": TWO}, '"probe/1" = 1\n"probe/3" = 2\n')
    assert refusal(folder) == "The schema probe/2 cannot be used: it is missing."


def test_a_history_that_does_not_begin_with_version_1_is_refused(write: Write) -> None:
    folder = write({"probe/2.avsc": TWO}, '"probe/2" = 2\n')
    assert refusal(folder) == "The schema probe/1 cannot be used: it is missing."


def test_a_version_without_an_id_is_refused(write: Write) -> None:
    folder = write({"probe/1.avsc": ONE, "probe/2.avsc": TWO}, '"probe/1" = 1\n')
    assert "probe/2 cannot be used: it has no id; add the next free one to ids" in refusal(folder)


def test_an_id_given_twice_is_refused(write: Write) -> None:
    folder = write({"probe/1.avsc": ONE, "probe/2.avsc": TWO}, '"probe/1" = 1\n"probe/2" = 1\n')
    assert refusal(folder) == "The schema ids.toml cannot be used: an id is given twice."


def test_an_id_of_a_file_that_was_taken_away_is_refused(write: Write) -> None:
    folder = write({"probe/1.avsc": ONE})
    assert "it names 'probe/2', and no file bears this name" in refusal(folder)


@pytest.mark.parametrize("number", ["0", "-1", "2147483648", "1.0", "true", '"1"', "[1]"])
def test_an_id_that_does_not_fit_the_frame_is_refused(write: Write, number: str) -> None:
    folder = write({"probe/1.avsc": ONE}, f'"probe/1" = {number}\n')
    assert "the id of 'probe/1' is not a number from 1 on" in refusal(folder)


@pytest.mark.parametrize("ids", ["not TOML", '"probe/1" = 1\n"probe/1" = 2\n'])
def test_ids_that_are_no_toml_are_refused(write: Write, ids: str) -> None:
    assert "ids.toml cannot be used: it is missing" in refusal(write({"probe/1.avsc": ONE}, ids))


def test_a_folder_without_ids_is_refused(write: Write) -> None:
    folder = write({"probe/1.avsc": ONE})
    (folder / "ids.toml").unlink()
    assert "ids.toml cannot be used: it is missing" in refusal(folder)


def test_one_file_under_two_versions_is_refused(write: Write) -> None:
    folder = write({"probe/1.avsc": ONE, "probe/2.avsc": ONE})
    assert "probe/2 cannot be used: it is the same file as probe/1" in refusal(folder)


@pytest.mark.parametrize("name", ["probe/01.avsc", "probe/v1.avsc", "probe/1.avsc.orig"])
def test_a_file_that_is_no_version_is_refused_and_not_passed_over(write: Write, name: str) -> None:
    folder = write({"probe/1.avsc": ONE, name: TWO}, '"probe/1" = 1\n')
    assert f"{name} cannot be used: it is not <n>.avsc" in refusal(folder)


@pytest.mark.parametrize("name", ["Probe", "probe_two", "probe.two"])
def test_a_folder_that_is_no_event_type_is_refused_and_not_passed_over(
    write: Write, name: str
) -> None:
    folder = write({"probe/1.avsc": ONE, f"{name}/1.avsc": TWO}, '"probe/1" = 1\n')
    assert "a folder is named as its event type" in refusal(folder)


def test_an_unsafe_shape_is_refused_by_the_name_of_its_file(write: Write) -> None:
    folder = write({"probe/1.avsc": record_of(field("x", "null"))}, '"probe/1" = 1\n')
    assert refusal(folder).startswith("The schema probe/1 cannot be used: x: null stands only")


def test_a_file_that_is_no_json_is_refused(write: Write) -> None:
    folder = write({"probe/1.avsc": "{"}, '"probe/1" = 1\n')
    assert refusal(folder).startswith("The schema probe/1 cannot be used: it is not JSON")


def test_a_folder_without_schemas_is_refused(write: Write) -> None:
    assert "it holds no <event-type>/<version>.avsc" in refusal(write({}))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "it cannot be read (No such file or directory)" in refusal(tmp_path / "nowhere")


def test_a_version_that_is_a_folder_is_refused(write: Write) -> None:
    folder = write({"probe/1.avsc": ONE})
    (folder / "probe/2.avsc").mkdir()
    assert "it cannot be read (Is a directory)" in refusal(folder)
