"""Errors of the brokers, of their topics and of messages."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused, ServiceAway, TopicHalted, Unavailable
from sinergi_schemas.plain_text import some


class HandshakeRefused(Unavailable):
    """The brokers and this machine do not let each other in. Mend the login or the certificate."""


class LoginRefused(HandshakeRefused):
    """The brokers refuse the login: {what} ({reported}). Mend {setting} under {where} in
    sinergi.toml.

    Attributes:
        setting: the setting that is wrong.
        reported: what the brokers or their client report.
        where: the table, or the tables, in which it stands.
    """

    setting: str
    what: str
    reported: str
    where: str = "[kafka]"


class BrokerCertificateRefused(HandshakeRefused):
    """The TLS certificate of {broker} is not valid here: {what} ({reported}). {remedy}.

    Attributes:
        broker: its host and port.
        reported: what OpenSSL says of it.
        remedy: what mends it, and where.
    """

    broker: str
    what: str
    reported: str
    remedy: str


class NotPermitted(Unavailable):
    """{principal} lacks the right {operation} on {resource} ({reported}). Ask the brokers'
    operator: `sinergi provision apply` grants what an agreement gives, and otherwise
    `kafka-acls --add --allow-principal '{principal}' --operation {operation} {flags}`.

    Attributes:
        kind: topic, group, cluster or transactional-id, as `kafka-acls` calls them.
        names: the names of the topics, or of the group; empty for the cluster.
    """

    principal: str
    operation: str
    kind: str
    names: tuple[str, ...]
    reported: str

    @property
    def resource(self) -> str:
        """What the right is missing on."""
        if not self.names:
            return f"the {self.kind}"
        # Brokers give the same answer for a topic that they do not have: it might be a secret.
        asks = self.kind == "topic" and self.operation in ("Describe", "Read")
        absent = ", or there is no such topic" if asks else ""
        return f"{self.kind} {some(self.names, ', ')}{absent}"

    @property
    def flags(self) -> str:
        """The options that name the resource to `kafka-acls`."""
        return some((f"--{self.kind} {name}" for name in self.names), " ") or f"--{self.kind}"


class BrokerTooOld(Refused):
    """The brokers lack a feature that is needed ({reported}). Kafka 4.0 or newer has it; with an
    older one set group_protocol = "classic" under [kafka] in sinergi.toml.
    """

    reported: str


class KafkaSettingsRefused(Refused):
    """The Kafka client does not accept its settings ({reported}). Mend {setting} under {where} in
    sinergi.toml.

    Attributes:
        where: the table, or the tables, in which the setting stands.
    """

    reported: str
    setting: str
    where: str = "[kafka]"


class BrokerAway(ServiceAway):
    """The brokers do not answer ({reported}). Check `bootstrap` under [kafka] and the network."""

    reported: str


class ControllerAway(BrokerAway):
    """The cluster's controller does not answer ({reported}), so nothing is changed. If a broker has
    just gone away, another takes over within seconds: try again. Else most of the brokers are away:
    start the others, or check the network.
    """


class TopicNotKnown(BrokerAway):
    """A broker does not know {topics} ({reported}). If the topic was made a moment ago, the broker
    learns of it by itself; if it was never made, `sinergi provision apply` makes it.
    """

    topics: str = "a topic"


class BrokersChanging(BrokerAway):
    """The brokers are passing on a task from one to another ({reported}). This takes seconds. If it
    lasts, ask the brokers' operator.
    """


class BrokerRefuses(Unavailable):
    """The brokers or their client refuse the request ({reported}). Ask the brokers' operator."""

    reported: str


class MessageTooLarge(BrokerRefuses):
    """A batch of messages is larger than max.message.bytes of its topic ({reported}).
    `sinergi provision apply` sets what the events of Sinergi need.
    """


class BrokersMissing(ServiceAway):
    """These topics wait for more brokers and were not made; all else is done:{listing}"""

    listing: str


class AccessControlMissing(ServiceAway):
    """Brokers without an authorizer: {brokers}. Whoever reaches them may read and write everything.
    Set authorizer.class.name on them and restart them; for a bus for trials set
    provision.open_brokers to true. All else is done.
    """

    brokers: str


class TopicAway(ServiceAway):
    """{topic} does not answer ({why}). Ask the brokers' operator."""

    topic: str
    why: str


class TopicMissing(TopicAway):
    """{topic} is not on these brokers ({why}). If it was never made, `sinergi provision apply`
    makes it; else ask its owner and the brokers' operator.
    """

    why: str = "none of them has it"


class ReplayedTopicMissing(TopicMissing):
    """{topic} is not on these brokers ({why}). Ask its owner and the brokers' operator; a file of
    `sinergi archive` is read with --archive FILE, a copy of it under another name by
    `sinergi replay {topic} --copy NAME`.
    """


class TopicChanged(ServiceAway):
    """{topic} was changed while it was read: {what}. Try again; if it happens again, ask the
    brokers' operator.
    """

    topic: str
    what: str


class OffsetGone(TopicHalted):
    """Leaf {index} of {topic}/{partition} is no longer on the broker: it was deleted, or the topic
    was created again. Its owner's relay sends it again when it is restarted; otherwise restore the
    topic from a copy. Nothing after the gap is materialised.
    """

    topic: str
    partition: int
    index: int


class PartitionsDiffer(TopicHalted):
    """{topic} has {found:partitions} where {file} says {expected}. Either this file is not the
    agreement of this bus: ask another party for theirs. Or the topic lacks partitions: only then
    let the brokers' operator add them, for Kafka cannot remove them again: `kafka-topics --alter
    --topic {topic} --partitions {expected}`.

    Attributes:
        file: the agreement.
    """

    topic: str
    found: int
    expected: int
    file: str


class MessageMalformed(Refused):
    """The message at offset {offset} of {topic}/{partition} is not one of Sinergi's: {what}. It is
    skipped. Only the topic's owner may write there: ask the broker's operator who wrote it.
    """

    topic: str
    partition: int
    offset: int
    what: str
