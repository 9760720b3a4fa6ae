"""The keys nearest to a misspelt one are kept, and nothing grows with what is read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sinergi_consumers.audit.near_keys import keep_nearest
from sinergi_consumers.audit.records import reading
from sinergi_schemas.topics import partition_for
from test_archive import archived, archived_pair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from test_archive import ArchivedPair

__all__ = ["archived", "archived_pair"]  # fixtures


def nearest(wanted: str, *batches: Iterable[bytes]) -> list[str]:
    kept: list[str] = []
    for keys in batches:
        messages: Any = (SimpleNamespace(key=each) for each in keys)
        keep_nearest(kept, wanted, messages)
    return kept


def test_the_nearest_keys_of_all_batches_come_first_and_few_are_kept() -> None:
    many = [f"MUT/2026/{number:04}".encode() for number in range(5_000)]
    found = nearest("MUT/2026/O930", many[:93], many[93:], many[100:200])
    assert found[0] == "MUT/2026/0930"
    assert len(found) == 3
    transposed = nearest("MUT/2062/0093", many)
    assert transposed[0] == "MUT/2026/0093"


def test_a_key_that_nobody_can_have_meant_is_no_hint() -> None:
    assert nearest("MUT/2026/0093", [b"LP/A/17/III/2026", b"", b"\xff\xfe", b"M" * 100_000]) == []
    assert nearest("M" * 5_000, [b"M" * 100]) == []


def test_no_key_is_compared_after_the_wanted_one_was_read() -> None:
    compared: list[bytes] = []

    def later() -> Iterator[bytes]:
        compared.append(b"P/77")
        yield b"P/77"

    assert nearest("P/7", [b"P/6", b"P/8"], [b"P/7", b"P/71"], later()) == ["P/7"]
    assert compared == []


def test_a_key_of_another_partition_is_found_by_the_command_that_is_named(
    archived: ArchivedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A misspelt key belongs to another partition, as often as not; only that one was read."""
    monkeypatch.setattr(reading, "_MOST_COMPARED", 0)  # as where the topic is long
    count, topic = archived.pair.partitions, archived.pair.topic.name
    meant = partition_for(b"P/7", count)
    misspelt = next(
        key for key in map("P/7{}".format, "xyzw") if partition_for(key.encode(), count) != meant
    )
    for command in ("record", "received"):
        status, _, err = archived.run(command, "transfer", misspelt)
        assert status == 1
        assert "did you mean P/7" not in err
        hint = f"`sinergi replay {topic} --key {misspelt}` compares the keys of its other part"
        assert hint in err
    _, _, err = archived.run("replay", topic, "--key", misspelt)
    assert "--key: did you mean P/7" in err
