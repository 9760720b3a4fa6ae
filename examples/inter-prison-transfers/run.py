"""Runs and checks the example of README.md: from a file to two databases.

    1. start Kafka and PostgreSQL          5. wait until both readers have every row
    2. create three agencies               6. compare with counts taken by other code
    3. create their tables and topics      7. publish the file again: nothing may change
    4. relay, materialisers, publish       8. stop everything

    run.py [FILE]     without FILE a small register of the same shape is generated

The last line is one JSON object; the exit status is 0 only if everything agrees.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from signal import SIGTERM, signal
from typing import Any

import counting
import psycopg
import small_register
import tomli_w
from rich.console import Console
from sqlalchemy import make_url

from sinergi.local import Local
from sinergi.local.process import Program, ended_within, stop

HERE = Path(__file__).parent
BUS = "sinergi.nz.example"
PUBLISHER = "nz-corrections"
READERS = ("nz-courts", "nz-police")
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.2

MOVES = """
    SELECT origin_name, destination_name, to_char(departed_at AT TIME ZONE zone, 'YYYY-MM'),
           count(*)
    FROM sinergi.transfer GROUP BY 1, 2, 3
"""
STATUSES = "SELECT coalesce(status_as_written, ''), count(*) FROM sinergi.transfer GROUP BY 1"
ROWS = "SELECT count(*) FROM sinergi.transfer"
HISTORY_ROWS = "SELECT count(*) FROM sinergi.transfer_history"
CONTENTS = """
    SELECT count(*), count(DISTINCT event_id), md5(string_agg(t::text, ',' ORDER BY event_id))
    FROM sinergi.transfer_history t
"""
console = Console(stderr=True, highlight=False, soft_wrap=True)


class Failed(Exception):
    """A result differs from what the example must give."""


@dataclass
class Agency:
    """One agency: its folder with settings, keys and agreements, and its database."""

    name: str
    folder: Path
    database: str
    keys: dict[str, str]

    @classmethod
    def create(cls, name: str, folder: Path, local: Local) -> Agency:
        """Create its database, settings and keys."""
        database = local.database(name)
        made = sinergi(
            "init", "--json", "--agency", name, "--bus", BUS, "--folder", str(folder),
            "--database", database, "--kafka", local.bootstrap, "--kafka-ca", str(local.ca_file),
        )  # fmt: skip
        return cls(name, folder, database, json.loads(made))

    def run(self, *arguments: str) -> str:
        """Run a command with the agency's settings, and return its output."""
        return sinergi("--config", str(self.folder / "sinergi.toml"), *arguments)

    def publish(self, register: Path, refusals: Path) -> dict[str, Any]:
        """Publish a register with a progress bar, and return the summary of its lines."""
        words = ("publish", str(register), "--mapping", str(HERE / "mapping.toml"))
        return dict(json.loads(self.run(*words, "--refused", str(refusals), "--json")))

    def query(self, question: str) -> list[Any]:
        """Return the rows of a query on its database."""
        url = make_url(self.database).set(drivername="postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
            return connection.execute(question).fetchall()


def sinergi(*arguments: str) -> str:
    """Run `sinergi` as a person would, and return its output."""
    publishes = "publish" in arguments
    done = subprocess.run(  # noqa: S603 - this distribution itself, without a shell
        [sys.executable, "-m", "sinergi", *arguments],
        check=False,
        stdout=subprocess.PIPE,
        stderr=None if publishes else subprocess.PIPE,
        text=True,
    )
    if done.returncode not in ((0, 1) if publishes else (0,)):
        words = " ".join(arguments)
        raise Failed(f"sinergi {words}: exit status {done.returncode}\n{done.stderr or ''}")
    return done.stdout


def agreement(agencies: list[Agency]) -> bytes:
    """Return the agreement of the three, with the public keys that `sinergi init` printed."""
    document = {
        "bus": BUS,
        "title": "Statistics of transfers between prisons",
        "legal_basis": ["made up for this example"],
        "numbers": [{"party": each.name, "number": "1/2026"} for each in agencies],
        "in_force": {
            "from": date(2026, 1, 1),
            "until": date(2099, 12, 31),
            "zone": "Pacific/Auckland",
        },
        "parties": {
            each.name: {
                "name": each.name,
                "keys": [each.keys["key"]],
                "receipt_keys": [{"database": "main", "key": each.keys["receipt_key"]}],
            }
            for each in agencies
        },
        "events": {
            "transfer": {
                "publishers": [PUBLISHER],
                "readers": list(READERS),
                "purposes": ["STATISTICS"],
                "partitions": 3,
            }
        },
    }  # fmt: skip
    return tomli_w.dumps(document).encode()


def agree(file: Path, agencies: list[Agency], operator: Path) -> None:
    """Write the agreement, let each agency sign it, and give everybody a copy with the note."""
    file.write_bytes(agreement(agencies))
    for agency in agencies:
        agency.run("agreement", "sign", str(file))
    for folder in (operator, *(each.folder for each in agencies)):
        for path in (file, file.with_name(f"{file.name}.note")):
            shutil.copy(path, folder / "agreements")


def provision(agencies: list[Agency], operator: Path) -> None:
    """Make topics, users and rights as the operator, and hand each agency its passwords."""
    sinergi("--config", str(operator / "operator.toml"), "provision", "apply")
    for agency in agencies:
        for password in (operator / "passwords").glob(f"{agency.name}.*"):
            shutil.move(password, agency.folder / "passwords")


class Service:
    """A process of an agency that keeps running: its relay or a materialiser."""

    def __init__(self, agency: Agency, command: str) -> None:
        self.name = f"{command} of {agency.name}"
        self.log = agency.folder / f"{command}.log"
        config = str(agency.folder / "sinergi.toml")
        words = (sys.executable, "-m", "sinergi", "--config", config, command)
        self._process = Program(words, self.log).start(leashed=True)

    def check(self) -> None:
        """Check that it runs."""
        if ended_within(self._process, 0):
            raise Failed(f"the {self.name} has ended:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Stop it in order, and wait until it has ended."""
        stop(self._process, SIGTERM)


def until_there(readers: list[Agency], services: list[Service], rows: int) -> None:
    """Wait until every reader has so many rows; fail if no more rows arrive."""
    patience, before = PATIENCE_SECONDS, -1
    pause = threading.Event()
    with console.status("waiting for rows …") as status:
        while True:
            there = [each.query(HISTORY_ROWS)[0][0] for each in readers]
            status.update(f"rows: {', '.join(f'{count:,}' for count in there)} of {rows:,}")
            if min(there) >= rows:
                return
            patience = PATIENCE_SECONDS if sum(there) != before else patience - LOOK_SECONDS
            before = sum(there)
            for service in services:
                service.check()
            if patience < 0:
                raise Failed(
                    f"{there} rows of {rows} arrived, and no more for {PATIENCE_SECONDS:.0f} s"
                )
            pause.wait(LOOK_SECONDS)


def compare(reader: Agency, counted: counting.Counted) -> None:
    """Compare a reader's table with the counts taken directly from the file."""
    moves = Counter({(origin, to, month): n for origin, to, month, n in reader.query(MOVES)})
    statuses = Counter(dict(reader.query(STATUSES)))
    differ = sum(abs(moves[key] - counted.moves[key]) for key in moves | counted.moves)
    if differ or statuses != counted.statuses:
        raise Failed(
            f"{reader.name}: {differ} rows differ by origin, destination and month, or status"
        )
    console.print(
        f"  {reader.name}: {moves.total():,} rows; {len(moves):,} counts by origin, destination and"
        f" month and {len(statuses)} of legal status equal those of the file"
    )


def bring_up(stack: ExitStack, folder: Path) -> list[Agency]:
    """Start Kafka and PostgreSQL, and create the agencies; the publisher is the first."""
    local = stack.enter_context(Local(folder / "local", console))
    agencies = [Agency.create(name, folder / name, local) for name in (PUBLISHER, *READERS)]
    operator = local.operator_settings.parent
    agree(folder / "transfers.toml", agencies, operator)
    provision(agencies, operator)
    for agency in agencies:
        role = "producer" if agency.name == PUBLISHER else "consumer"
        agency.run("db", "upgrade", "--role", role)
    return agencies


def start(stack: ExitStack, agencies: list[Agency]) -> list[Service]:
    """Start the publisher's relay and the readers' materialisers."""
    services = []
    for agency in agencies:
        command = "relay" if agency.name == PUBLISHER else "materialise"
        services.append(Service(agency, command))
        stack.callback(services[-1].stop)
    return services


def run(register: Path, folder: Path) -> dict[str, Any]:
    """Run the whole example, and return its last line."""
    counted = counting.count(register)
    refusals = folder / "refused.ndjson"
    with ExitStack() as stack:
        console.print("Starting Kafka and PostgreSQL, creating three agencies")
        publisher, *readers = agencies = bring_up(stack, folder)
        services = start(stack, agencies)

        console.print(f"{PUBLISHER} publishes {register.name}")
        first = publisher.publish(register, refusals)
        until_there(readers, services, first["published"])
        for reader in readers:
            compare(reader, counted)

        console.print(f"{PUBLISHER} publishes the same file again")
        before = [each.query(CONTENTS) for each in readers]
        second = publisher.publish(register, refusals)
        check(counted, first, second)
        waiting = publisher.query("SELECT count(*) FROM sinergi_producer.outbox")
        if before != [each.query(CONTENTS) for each in readers] or waiting != [(counted.lines,)]:
            raise Failed("publishing the same file again changed something")
        console.print(f"  published: {second['published']}, already there: {second['already']:,}")
        rows = {each.name: each.query(ROWS)[0][0] for each in readers}
    result = {"lines": first["lines"], "published": first["published"], "refused": first["refused"]}
    return result | {"rows": rows}


def check(counted: counting.Counted, first: dict[str, Any], second: dict[str, Any]) -> None:
    """Compare both summaries of `publish` with the counts taken directly from the file."""
    expected = {"lines": counted.lines, "published": counted.lines, "already": 0}
    again = {"lines": counted.lines, "published": 0, "already": counted.lines}
    for reported, wanted in ((first, expected), (second, again)):
        wanted |= {"refused": 0, "warned": counted.same}
        differ = {key: reported[key] for key in wanted if reported[key] != wanted[key]}
        if differ:
            raise Failed(f"publish reported {differ}, but the file has {wanted}")


def interrupt(_signal: int, _frame: object) -> None:
    """End the example on SIGTERM as on Ctrl-C: everything is stopped."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the example on the given file, or on a generated one."""
    signal(SIGTERM, interrupt)
    with tempfile.TemporaryDirectory(prefix="sinergi-example-") as made:
        folder = Path(made)
        register = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "small-register.csv"
        if len(sys.argv) == 1:
            small_register.write(register)
        if not register.is_file():
            console.print(f"{register} does not exist; name another, or none for a generated one")
            return 2
        try:
            result = run(register, folder)
        except Failed as why:
            console.print(f"failed: {why}", style="red", markup=False)
            return 1
        except KeyboardInterrupt:
            console.print("stopped")
            return 130
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
