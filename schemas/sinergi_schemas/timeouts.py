"""How long each process waits, and how often it looks: every duration that an operator may set.

All are in seconds. `title` says what a value bounds; docs/reference.md prints it.

The function `setup_of` in cli/relay.py and in cli/materialise.py passes all of them on, in a
`RelaySetup` or a `MaterialiserSetup`. From there, or from the settings, each table goes to:

    KafkaTimeouts         `Settings.connection` → `Connection`, of which every client has one
    DatabaseTimeouts      `relay.factory`, `materialise.factory`, `Recovery` → `Database`; also
                          `sinergi quarantine retry`
    RelayTimeouts         `relay.factory` → `OutboxStore`, `Relay` → `TermSetup`, `Backoff`;
                          `Recovery` uses `lease` and `silence`
    MaterialiserTimeouts  `materialise.factory` → `Assignment`, `Receipts`, `Materialiser` →
                          `LoadedAgreements`, `Pauses`, `PositionCheck`
    StatusTimeouts        `cli.status`, `status.gathering`
    ProvisionTimeouts     `cli.provision` → `ProvisionWatch`
    MetricsTimeouts       `cli.monitoring` → `sinergi.metrics`, where `--listen` is given

Not every command uses them for its database. `sinergi db` and `sinergi publish` wait for locks as
long as `postgresql.engine` says. The other commands, for example
`sinergi status` and `sinergi outbox list`, use the defaults of `DatabaseTimeouts`, whatever the
settings say. The durations of libpq, which an address may state, are in `postgresql.connection`.

Some durations are no setting. Where a value is part of one algorithm, for example the time between
two looks at a signal, it is a constant beside that algorithm. So are two pauses of a materialiser:
before it stores a batch again (`materialise.store`), and before it replaces a client that has lost
its membership (`materialise.group_errors`). Where the other agencies count on a value, for example
on signed heads that are renewed each minute, it is a constant too.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sinergi_schemas.files.toml_file import refuse_boolean

_LEAST, _MOST = 0.001, 86_400.0

Seconds = Annotated[float, BeforeValidator(refuse_boolean)]


def _seconds(default: float, title: str, *, least: float = _LEAST, most: float = _MOST) -> Any:
    """A duration: its default, what it bounds, and the least and the most that it may be."""
    return Field(
        default=default,
        ge=least,
        le=most,
        allow_inf_nan=False,
        title=title,
        description=f"a number of seconds, as {default:g}",
    )


class TimeoutTable(BaseModel):
    """Durations of one part of the program, which refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaTimeouts(TimeoutTable):
    """What each client of a connection to the brokers waits for."""

    # librdkafka takes an hour at most, and `change` is doubled for one request.
    answer: Seconds = _seconds(
        10.0, "how long a client waits for the brokers' answer to a request", most=3_600.0
    )
    change: Seconds = _seconds(
        30.0,
        "how long `sinergi provision` waits until topics, users and rights are read or changed",
        most=1_800.0,
    )
    report: Seconds = _seconds(
        30.0, "how long a relay waits for the next delivery report before it opens another client"
    )
    silence: Seconds = _seconds(
        30.0,
        "how long a replay, `sinergi quarantine`, or a materialiser that looks for where to start"
        " reading, waits for a message of a topic before the topic is away",
    )


class DatabaseTimeouts(TimeoutTable):
    """What the transactions of relay and materialiser wait for."""

    lock: Seconds = _seconds(
        2.0, "how long a statement of a relay or materialiser waits for a lock", most=3_600.0
    )
    idle: Seconds = _seconds(
        10.0,
        "how long the server keeps a transaction of theirs that is between two statements",
        least=5.0,
    )
    stalled: Seconds = _seconds(
        10.0,
        "how long a process that holds a lock may stand still within a statement, before another"
        " one that needs the lock ends its session",
    )


class RelayTimeouts(TimeoutTable):
    """How often a relay looks, and how long it waits."""

    # An idle relay renews its lease between two pauses, so a pause is much shorter than a lease.
    lease: Seconds = _seconds(
        10.0, "how long the lease lasts that makes one relay the leader", least=2.0
    )
    idle: Seconds = _seconds(
        0.05, "a relay's shortest pause before it looks for new rows, where none was", most=0.5
    )
    # With it, a relay asks less than 5 times a second after half a minute without a row, and the
    # next event is on its topic within 0.3 s.
    idle_most: Seconds = _seconds(
        0.23,
        "a relay's longest such pause: it takes a hundredth of the time for which no row has come",
        most=0.5,
    )
    horizon: Seconds = _seconds(1.0, "how often a relay asks which transactions are still open")
    full_read: Seconds = _seconds(60.0, "how often a relay reads the outbox from its first row")
    silence: Seconds = _seconds(
        10.0, "how long a relay waits for a message of its own topics before they are away"
    )
    reload: Seconds = _seconds(60.0, "how often a relay reads agreements and private keys again")
    receipts: Seconds = _seconds(10.0, "how often a relay reads new receipts of its readers")
    retry_first: Seconds = _seconds(
        0.1, "a relay's first pause after a failure; each next is double"
    )
    retry_most: Seconds = _seconds(5.0, "a relay's longest pause after a failure")
    unconfirmed: Seconds = _seconds(
        10.0, "how long messages of a relay may wait until they are confirmed; then /readyz is 503"
    )
    stop: Seconds = _seconds(
        10.0, "how long a relay that ends its term waits until its control topic is written"
    )


class MaterialiserTimeouts(TimeoutTable):
    """How often a materialiser looks, and how long it waits."""

    reload: Seconds = _seconds(60.0, "how often a materialiser reads the agreements again")
    silence: Seconds = _seconds(
        5.0,
        "how long a materialiser looks for a quarantined event in a topic that gives no message",
    )
    stalled: Seconds = _seconds(
        10.0, "how often a materialiser that receives nothing looks whether its client has stalled"
    )
    retry_first: Seconds = _seconds(
        2.0,
        "the first pause before a halted topic-partition is looked at again; each next is double",
    )
    retry_most: Seconds = _seconds(
        300.0, "the longest pause before a halted topic-partition is looked at again"
    )
    retry_unclaimed: Seconds = _seconds(
        10.0, "the longest pause before a topic-partition that could not be claimed is tried again"
    )
    retry_start: Seconds = _seconds(
        1.0, "the pause before a materialiser that could not start tries again"
    )
    positions: Seconds = _seconds(
        5.0, "how often a materialiser checks that the database still has its positions"
    )
    report: Seconds = _seconds(
        60.0, "how long receipts wait for the next delivery report before another client is opened"
    )
    stop: Seconds = _seconds(
        10.0, "how long a materialiser that stops waits until its receipts are published"
    )


class StatusTimeouts(TimeoutTable):
    """What `sinergi status` waits for, and what it takes for late."""

    silence: Seconds = _seconds(
        10.0, "how long `sinergi status` waits for a message of a topic before the topic is away"
    )
    patience: Seconds = _seconds(
        60.0,
        "how long `sinergi status` lets a row wait for its seal, a leaf for the broker, and a"
        " message for the tables, before it names a problem",
    )


class ProvisionTimeouts(TimeoutTable):
    """How often `sinergi provision apply --watch` looks."""

    look: Seconds = _seconds(
        60.0, "how long `sinergi provision apply --watch` waits before it plans again"
    )


class MetricsTimeouts(TimeoutTable):
    """What a process with `--listen` answers, and how often it looks for what it shows."""

    loop: Seconds = _seconds(
        120.0,
        "how long a process may work before its loop goes round again; then /healthz answers 503",
    )
    database: Seconds = _seconds(
        10.0, "how often a process with `--listen` reads the database for /metrics"
    )
    brokers: Seconds = _seconds(
        60.0, "how often a process with `--listen` asks the brokers for /metrics"
    )
    statement: Seconds = _seconds(
        5.0, "after how long the server ends a statement of theirs that reads for /metrics"
    )


class Timeouts(TimeoutTable):
    """The durations of one process."""

    kafka: KafkaTimeouts = KafkaTimeouts()
    database: DatabaseTimeouts = DatabaseTimeouts()
    relay: RelayTimeouts = RelayTimeouts()
    materialiser: MaterialiserTimeouts = MaterialiserTimeouts()
    status: StatusTimeouts = StatusTimeouts()
    provision: ProvisionTimeouts = ProvisionTimeouts()
    metrics: MetricsTimeouts = MetricsTimeouts()


DEFAULT = Timeouts()
"""The values where no setting says another."""
