"""The settings of a broker: one source, which a broker takes and which the files are made of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from sinergi.broker.server_properties import server_properties
from sinergi.broker.settings import (
    ACCESS,
    KEEPING,
    ONE_MACHINE,
    as_properties,
    bus_settings,
)
from sinergi.local import process
from sinergi.local.certificates import BROKER, OPERATOR
from sinergi.local.kafka import LocalKafka
from sinergi.local.state import LocalState
from sinergi_schemas.kafka.admin import open_admin
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy/broker/server.properties"


def parsed(text: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


@dataclass(frozen=True)
class FileKafka(LocalKafka):
    """A broker of the file, with the addresses and the certificates of the local one."""

    def _settings(self) -> str:
        operator, agency = self.state.kafka_port, self.state.agency_port
        here = f"OPERATOR://127.0.0.1:{operator},AGENCY://127.0.0.1:{agency}"
        controller = f"127.0.0.1:{self.state.controller_port}"
        own = {
            "listeners": f"{here},CONTROLLER://{controller}",
            "advertised.listeners": here,
            "controller.quorum.voters": f"1@{controller}",
            "super.users": f"User:CN={BROKER};User:CN={OPERATOR}",
            "log.dirs": "kafka",
            "ssl.keystore.location": "tls/broker.pem",
            "ssl.truststore.location": "tls/ca.pem",
            # Kafka's default is larger than the heap of a broker of a test.
            "log.cleaner.dedupe.buffer.size": "16777216",
        }
        # What stands here last holds.
        return FILE.read_text() + "".join(f"\n{key}={value}" for key, value in own.items())


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str | None]]:
    """What a broker that runs with the file says that it is set to; None where it keeps silent."""
    folder = tmp_path_factory.mktemp("broker")
    kafka = FileKafka(folder, LocalState.of(folder, is_secured=True))
    program = kafka.program()
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(program.start, leashed=True).result()
        try:
            until(kafka.answers, f"the broker answers: {kafka.log}")
            admin = open_admin(kafka.connection)
            broker = ConfigResource(ResourceType.BROKER, "1")
            found = admin.describe_configs([broker])[broker].result()
            yield {name: entry.value for name, entry in found.items()}
        finally:
            process.stop(running, kafka.stops_by)


def test_the_file_is_what_the_settings_make() -> None:
    assert FILE.read_text() == server_properties(), (
        "python -m sinergi.broker.server_properties > deploy/broker/server.properties"
    )


@pytest.mark.long
def test_a_broker_knows_every_setting_of_the_file_and_takes_its_value(
    described: dict[str, str | None],
) -> None:
    """A broker tells no value of a setting that it does not know, nor of a secret."""
    own = {"listeners", "advertised.listeners", "controller.quorum.voters", "super.users"}
    own |= {"log.dirs", "ssl.keystore.location", "ssl.truststore.location"}
    # The first is a secret, and only the authorizer knows the second.
    untold = ("listener.name.agency.scram-sha-512.sasl.jaas.config", ACCESS[1].name)
    wanted = {name: each for name, each in parsed(FILE.read_text()).items() if name not in own}
    assert {name: described[name] for name in wanted} == wanted | dict.fromkeys(untold)


def test_every_setting_has_its_reason_and_stands_once() -> None:
    settings = (*bus_settings(3), *KEEPING, *ACCESS, *ONE_MACHINE)
    assert all(each.why.endswith(".") for each in settings)
    names = [each.name for each in settings]
    assert len(names) == len({*names})
    stated = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    assert len(stated) == len(parsed(FILE.read_text()))


@pytest.mark.parametrize(
    ("brokers", "copies", "in_sync"), [(1, "1", "1"), (2, "2", "1"), (3, "3", "2"), (7, "3", "2")]
)
def test_all_copies_but_one_must_have_a_message(brokers: int, copies: str, in_sync: str) -> None:
    found = as_properties(bus_settings(brokers))
    assert {value for name, value in found.items() if "replication.factor" in name} == {copies}
    assert {value for name, value in found.items() if "min.i" in name} == {in_sync}


def test_the_local_broker_has_the_settings_of_the_file(tmp_path: Path) -> None:
    local = parsed(LocalKafka(tmp_path, LocalState.of(tmp_path, is_secured=True))._settings())
    file = parsed(FILE.read_text())
    one = as_properties(bus_settings(1))
    for each in (*bus_settings(3), *ACCESS):
        assert local[each.name] == one.get(each.name, each.value), each.name
        assert file[each.name] == each.value
