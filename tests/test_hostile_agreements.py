"""An agreement file that cannot be used stops nothing that runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sinergi_consumers import loaded
from sinergi_producers import relay as relaying
from sinergi_producers.backlog import Backlog
from sinergi_producers.relay import Identity, Relay
from sinergi_schemas.agreement import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.errors import AgreementRefused
from world import TERM_SECONDS, World, running, transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UNUSABLE = {
    "nested": "a = " + "[" * 3_000 + "]" * 3_000,
    "huge": f"numbers = [{{ party = 0x{'f' * 6_000} }}]",
    "deep": "a." * 20_000 + "a = 1",
    "late": "[in_force]\nfrom = 9999-12-31T23:59:59-07:00",
    "empty": "",
}


@pytest.fixture
def world(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """A bus on which agreements are read again each moment."""
    monkeypatch.setattr(loaded, "RELOAD_SECONDS", 0.2)
    monkeypatch.setattr(relaying, "_RELOAD_SECONDS", 0.2)
    return World(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


def test_running_processes_keep_their_agreements_beside_a_file_that_cannot_be_used(
    world: World,
) -> None:
    refused: Counter[str] = Counter()

    def loading(name: str) -> Callable[[], Agreements]:
        def load() -> Agreements:
            try:
                return Agreements.load(world.folder)
            except AgreementRefused:
                refused[name] += 1
                raise

        return load

    world.bus = replace(world.bus, load=loading("materialiser"))
    identity = Identity(world.publisher, [world.key], loading("relay"))
    backlog = Backlog(world.producer_url, TERM_SECONDS)
    relay = Relay(identity, backlog, world.connection, Catalog.shipped())
    with running(relay.run), world.materialising():
        world.publish(transfer("T/0"))
        world.until_rows("sinergi.transfer", 1)
        for count, (name, text) in enumerate(UNUSABLE.items(), start=2):
            refused.clear()
            (world.folder / "hostile.toml").write_text(text, encoding="utf-8")
            world.until(lambda: len(refused) == 2, f"both have refused the {name} file")
            world.publish(transfer(f"T/{count}"))
            world.until_rows("sinergi.transfer", count)
