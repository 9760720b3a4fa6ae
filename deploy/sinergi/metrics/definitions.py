"""Every metric: its name, its type, its labels and what it means. docs/reference.md prints them.

Durations are in seconds and sizes in bytes. Events are counted as *leaves* once they are sealed,
and as *rows* of the outbox before.

A label has a value for each topic of the loaded agreements, for each of their readers, or for each
word of a fixed list, so that the number of series is bounded by the agreements, whatever others
write into a topic or a table. What fits nowhere is counted under `other`. No label and no value
says anything about a person, a record or an event.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OTHER = "other"
"""The value of a label for all that no agreement names."""


class MetricKind(StrEnum):
    """The types of Prometheus that are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """One metric.

    Attributes:
        name: as a query names it; that of a counter ends with `_total`.
        processes: the commands that show it.
        meaning: one clause, with the unit.
    """

    name: str
    kind: MetricKind
    processes: tuple[str, ...]
    meaning: str
    labels: tuple[str, ...] = ()


_RELAY, _MATERIALISE, _PROVISION = ("relay",), ("materialise",), ("provision",)
_BOTH = ("relay", "materialise")
_ALL = ("relay", "materialise", "provision")

_COUNTER, _GAUGE, _HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

PROCESS_INFO = MetricDefinition(
    "sinergi_process_info",
    _GAUGE,
    _ALL,
    "1; its labels say which process of which agency it is, and its version",
    ("process", "agency", "version"),
)
LOOP_AGE = MetricDefinition(
    "sinergi_loop_age_seconds", _GAUGE, _ALL, "how long ago the loop of the process went round"
)
ALIVE = MetricDefinition("sinergi_alive", _GAUGE, _ALL, "1 if /healthz answers yes, else 0")
READY = MetricDefinition("sinergi_ready", _GAUGE, _ALL, "1 if /readyz answers yes, else 0")
STATE = MetricDefinition(
    "sinergi_state",
    _GAUGE,
    _ALL,
    "1 for what the process does now, 0 for the rest: starting, standing by, working, or waiting"
    " because something failed",
    ("state",),
)
FAILURES = MetricDefinition(
    "sinergi_failures_total",
    _COUNTER,
    _ALL,
    "what failed and is tried again, by the policy of the error: unavailable, halted or superseded",
    ("policy",),
)
AGREEMENTS_LOADED = MetricDefinition(
    "sinergi_agreements_loaded",
    _GAUGE,
    _ALL,
    "1 if the process could read the agreements when it last tried; 0 if not, so that those which"
    " it read before stay in use",
)
BATCHES = MetricDefinition(
    "sinergi_batch_seconds",
    _HISTOGRAM,
    _BOTH,
    "how long a step of a batch took: seal and send in a relay, store in a materialiser",
    ("step",),
)
SEALED = MetricDefinition(
    "sinergi_relay_sealed_leaves_total",
    _COUNTER,
    _RELAY,
    "leaves that this process has sealed since it began",
    ("topic",),
)
SENT = MetricDefinition(
    "sinergi_relay_sent_leaves_total",
    _COUNTER,
    _RELAY,
    "leaves that the brokers have confirmed to this process since it began, also those sent again",
    ("topic",),
)
HELD = MetricDefinition(
    "sinergi_relay_held_rows_total",
    _COUNTER,
    _RELAY,
    "rows that this process has held since it began",
)
STORED = MetricDefinition(
    "sinergi_materialiser_stored_leaves_total",
    _COUNTER,
    _MATERIALISE,
    "leaves that this process has stored since it began",
    ("topic",),
)
PARTITIONS = MetricDefinition(
    "sinergi_materialiser_partitions",
    _GAUGE,
    _MATERIALISE,
    "topic-partitions of this worker: assigned by the group, claimed (it reads them), halted",
    ("state",),
)
PROVISION_CHANGES = MetricDefinition(
    "sinergi_provision_changes_total",
    _COUNTER,
    _PROVISION,
    "changes that this process has made on the brokers, of a topic, a user or a right",
    ("what",),
)
PROVISION_REFUSED = MetricDefinition(
    "sinergi_provision_refused_topics",
    _GAUGE,
    _PROVISION,
    "topics that the last plan refuses, since they differ from their agreement",
)
PROVISION_REFUSED_USERS = MetricDefinition(
    "sinergi_provision_refused_users",
    _GAUGE,
    _PROVISION,
    "users that the last plan refuses, since Sinergi did not make them",
)

REPORTED = (
    PROCESS_INFO,
    LOOP_AGE,
    ALIVE,
    READY,
    STATE,
    FAILURES,
    AGREEMENTS_LOADED,
    BATCHES,
    SEALED,
    SENT,
    HELD,
    STORED,
    PARTITIONS,
    PROVISION_CHANGES,
    PROVISION_REFUSED,
    PROVISION_REFUSED_USERS,
)
"""Those that a process knows itself."""


LOOK_UP = MetricDefinition(
    "sinergi_look_up",
    _GAUGE,
    _BOTH,
    "1 if the last look at the database or the brokers succeeded, and not ten pauses ago; else 0,"
    " and what it would show is missing",
    ("source",),
)
LOOK_SECONDS = MetricDefinition(
    "sinergi_look_seconds", _GAUGE, _BOTH, "how long the last look took", ("source",)
)
LOOK_AGE = MetricDefinition(
    "sinergi_look_age_seconds",
    _GAUGE,
    _BOTH,
    "how long ago the last look ended that succeeded; missing until one has",
    ("source",),
)

_OWN = ("topic",)
PUBLISHED_EVENTS = MetricDefinition(
    "sinergi_published_events",
    _GAUGE,
    _RELAY,
    "events that this agency has published: sealed leaves, and rows that wait or are held",
    _OWN,
)
SEALED_LEAVES = MetricDefinition(
    "sinergi_sealed_leaves", _GAUGE, _RELAY, "leaves in the trees of a topic", _OWN
)
SENT_LEAVES = MetricDefinition(
    "sinergi_sent_leaves", _GAUGE, _RELAY, "leaves of a topic that the brokers have confirmed", _OWN
)
UNSEALED_ROWS = MetricDefinition(
    "sinergi_unsealed_rows",
    _GAUGE,
    _RELAY,
    "rows that wait for their seal: live, or of a backfill, which waits until nothing live does",
    ("topic", "kind"),
)
OLDEST_UNSEALED = MetricDefinition(
    "sinergi_oldest_unsealed_seconds",
    _GAUGE,
    _RELAY,
    "age of the oldest live row that waits for its seal; 0 if none does",
    _OWN,
)
OLDEST_UNSENT = MetricDefinition(
    "sinergi_oldest_unsent_seconds",
    _GAUGE,
    _RELAY,
    "since when the oldest leaf is sealed that the brokers have not confirmed; 0 if there is none",
    _OWN,
)
HELD_ROWS = MetricDefinition(
    "sinergi_held_rows",
    _GAUGE,
    _RELAY,
    "rows that the relay holds, until a person or a new agreement mends them",
    _OWN,
)
LEASE_HELD = MetricDefinition(
    "sinergi_lease_held",
    _GAUGE,
    _RELAY,
    "1 if some relay of this outbox holds the lease, by the clock of the database, else 0",
)

MATERIALISED_LEAVES = MetricDefinition(
    "sinergi_materialised_leaves",
    _GAUGE,
    _MATERIALISE,
    "leaves of a topic that are in the tables of every projection",
    _OWN,
)
QUARANTINED_EVENTS = MetricDefinition(
    "sinergi_quarantined_events",
    _GAUGE,
    _MATERIALISE,
    "events of a topic that are open in quarantine",
    _OWN,
)
QUARANTINE_BYTES = MetricDefinition(
    "sinergi_quarantine_bytes",
    _GAUGE,
    _MATERIALISE,
    "what quarantine keeps of the events of a publisher",
    ("publisher",),
)
QUARANTINE_QUOTA = MetricDefinition(
    "sinergi_quarantine_quota_bytes",
    _GAUGE,
    _MATERIALISE,
    "`consumer.quarantine_bytes`: what quarantine keeps of each publisher at most",
)
HALTED_PARTITIONS = MetricDefinition(
    "sinergi_halted_partitions",
    _GAUGE,
    _MATERIALISE,
    "partitions of a topic that are halted, whichever worker reads them",
    _OWN,
)
SKIPPED_MESSAGES = MetricDefinition(
    "sinergi_skipped_messages",
    _GAUGE,
    _MATERIALISE,
    "foreign messages of a topic that were skipped",
    _OWN,
)

RECEIPTED_LEAVES = MetricDefinition(
    "sinergi_receipted_leaves",
    _GAUGE,
    _RELAY,
    "leaves of a topic for which a reader's database has signed a receipt, which was verified",
    ("topic", "reader"),
)
RECEIPT_TIME = MetricDefinition(
    "sinergi_receipt_timestamp_seconds",
    _GAUGE,
    _RELAY,
    "when a reader's database signed its newest receipt for a topic, in seconds since 1970",
    ("topic", "reader"),
)

TOPIC_READ = MetricDefinition(
    "sinergi_topic_read",
    _GAUGE,
    _BOTH,
    "1 if the last look could read a topic; 0 if it does not exist, may not be read, or holds so"
    " much of others that its newest state is unknown: its figures are then missing or too low",
    _OWN,
)

AVAILABLE_LEAVES = MetricDefinition(
    "sinergi_available_leaves",
    _GAUGE,
    _MATERIALISE,
    "leaves that a topic shows under checkpoints of its owner",
    _OWN,
)
BEHIND_LEAVES = MetricDefinition(
    "sinergi_behind_leaves",
    _GAUGE,
    _MATERIALISE,
    "leaves of a topic that are on the brokers and not in the tables",
    _OWN,
)
BEHIND = MetricDefinition(
    "sinergi_behind_seconds",
    _GAUGE,
    _MATERIALISE,
    "age of the oldest message of a topic that is not in the tables, by its time on the broker; 0"
    " if none is missing",
    _OWN,
)
HEADS_TIME = MetricDefinition(
    "sinergi_heads_timestamp_seconds",
    _GAUGE,
    _MATERIALISE,
    "when a publisher's relay last signed its heads, which it does each minute, in seconds since"
    " 1970",
    ("publisher",),
)

LOOKED = (
    LOOK_UP,
    LOOK_SECONDS,
    LOOK_AGE,
    PUBLISHED_EVENTS,
    SEALED_LEAVES,
    SENT_LEAVES,
    UNSEALED_ROWS,
    OLDEST_UNSEALED,
    OLDEST_UNSENT,
    HELD_ROWS,
    LEASE_HELD,
    MATERIALISED_LEAVES,
    QUARANTINED_EVENTS,
    QUARANTINE_BYTES,
    QUARANTINE_QUOTA,
    HALTED_PARTITIONS,
    SKIPPED_MESSAGES,
    RECEIPTED_LEAVES,
    RECEIPT_TIME,
    TOPIC_READ,
    AVAILABLE_LEAVES,
    BEHIND_LEAVES,
    BEHIND,
    HEADS_TIME,
)
"""Those that are read from a database or from the brokers, from time to time."""

METRICS = (*REPORTED, *LOOKED)
"""All metrics, in the order of the reference page."""
