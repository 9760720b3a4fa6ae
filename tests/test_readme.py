"""The commands and programs of the README work as they are printed."""

from __future__ import annotations

import re
import shlex
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import sinergi
import test_events
from agency_pair import AgencyPair, transfer
from sinergi.cli.root import run
from sinergi_consumers.decode.decoder import Decoder
from sinergi_consumers.projections.projection import Projection
from sinergi_consumers.reading.partition import Partition
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic
from test_audit import copied, whole

if TYPE_CHECKING:
    from collections.abc import Callable

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
AGENCY = "lapas-rekaan"


def blocks(language: str, section: str) -> list[str]:
    (chapter,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    return re.findall(rf"^```{language}\n(.*?)^```$", chapter, re.DOTALL | re.MULTILINE)


@pytest.fixture
def pair(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> AgencyPair:
    """A pair whose settings lie where a person would stand."""
    made = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    keys = tmp_path / "keys"
    keys.mkdir()
    made.key.save(keys / "publisher.key")
    monkeypatch.chdir(tmp_path)
    write_settings(made, made.publisher, producer={"database": made.producer_url})
    return made


def write_settings(pair: AgencyPair, agency: str, **tables: dict[str, str]) -> None:
    settings = {"agency": agency, "agreements": ".", "kafka": {"bootstrap": pair.kafka}, **tables}
    (pair.folder / "sinergi.conf").write_text(tomli_w.dumps(settings), encoding="utf-8")


def test_the_programmers_lines_publish_in_the_transaction(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINERGI_CONFIG", str(pair.folder / "sinergi.conf"))

    class Base(DeclarativeBase):
        pass

    class Mutasi(Base):
        __tablename__ = "mutasi"
        number: Mapped[str] = mapped_column(primary_key=True)

    Base.metadata.create_all(pair.producer)
    (lines,) = blocks("python", "You are the agency's programmer")
    row = Mutasi(number="MUT/2026/0088")
    exec(lines, {"Session": Session, "engine": pair.producer, "mutasi": row})  # noqa: S102
    question = "SELECT record_id, (SELECT count(*) FROM mutasi) FROM sinergi_producer.outbox"
    assert pair.ask(question, pair.producer) == [("MUT/2026/0088", 1)]


def test_the_integrators_lines_count_grams_by_region_and_month() -> None:
    (lines,) = blocks("python", "You are the integrator")
    names: dict[str, Any] = {}
    exec(lines, names)  # noqa: S102
    projection = names["grams"]
    assert isinstance(projection, Projection)
    assert [table.name for table in projection.tables] == [
        "grams_by_region_record",
        "grams_by_region",
    ]
    events = decoded(Topic("polresta-rekaan", "seizure"), seizure())
    rows = projection.rows(events)["grams_by_region"]
    assert rows.select("region_code", "month", "grams").rows() == [
        ("35.10", date(2026, 3, 1), Decimal("3.5147"))
    ]


def test_the_auditors_commands_answer(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SINERGI_CONFIG", str(pair.folder / "sinergi.conf"))
    pair.publish(transfer("MUT/2026/0088"))
    with pair.relaying():
        pair.until(
            lambda: (
                pair.ask("SELECT sum(sent_size) FROM sinergi_producer.tree", pair.producer)
                == [(1,)]
            ),
            "sent",
        )
    (lines,) = blocks("console", "You are the auditor")
    commands = [line.removeprefix("$ sinergi ") for line in lines.splitlines()]
    assert len(commands) == 4
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer", 1)
        for command in commands:
            words = shlex.split(command.replace(AGENCY, pair.publisher))
            copy = words.index("--copy") + 1 if "--copy" in words else None
            if copy:
                words[copy] = copied(pair, whole, whole)
            assert run(words) == 0, capfd.readouterr()
    assert (pair.folder / "transfers.parquet").stat().st_size > 0


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (Path(__file__).parent.parent / target).exists(), target


def seizure() -> sinergi.Seizure:
    """A complete one with two exhibits of 3.1047 and 0.4100 g."""
    weights = ("3.1047", "0.4100")
    exhibits = [
        test_events.exhibit(label=f"A.{number}", net_weight_g=weight)
        for number, weight in enumerate(weights, start=1)
    ]
    return sinergi.Seizure.model_validate(test_events.seizure(exhibits=exhibits))


def decoded(topic: Topic, event: sinergi.Event) -> Any:
    tape = Tape("sinergi.test.example", topic)
    partition = Partition(tape.bus, topic, 0, tape.keys, Frontier.empty())
    batch = partition.receive(tape.write([event]))
    assert batch is not None
    (part,) = Decoder(Catalog.shipped(), topic.event_type).parts(batch)
    return part.events


def test_every_module_stands_on_the_map_of_the_architecture() -> None:
    root = Path(__file__).parent.parent
    drawn = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = [each.parent for each in root.glob("*/sinergi*/py.typed")]
    assert len(packages) == 4
    missing = [
        each.relative_to(root)
        for package in packages
        for each in package.iterdir()
        if each.suffix in ("", ".py") and not each.name.startswith(("_", "py.typed"))
        if not re.search(rf"\b{each.stem}\b", drawn)
    ]
    assert missing == []
