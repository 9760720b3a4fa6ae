"""Errors of the brokers, of their topics and of messages."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused, ServiceAway, TopicHalted, Unavailable


class LoginRefused(Unavailable):
    """The brokers do not let us in: {what} ({said}). Mend {setting} under [kafka] in sinergi.toml.

    Attributes:
        setting: the one that is wrong.
        said: by the brokers or their client.
    """

    setting: str
    what: str
    said: str


class NotPermitted(Unavailable):
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


class BrokerAway(ServiceAway):
    """The brokers do not answer ({said}). Check `bootstrap` under [kafka] and the way to them; what
    runs for ever tries again until they do.
    """

    said: str


class BrokerRefuses(Unavailable):
    """The brokers or their client refuse the work itself ({said}); ask the brokers' operator."""

    said: str


class TopicAway(ServiceAway):
    """{topic} does not answer ({why}). Look after the brokers, or run `sinergi provision apply`;
    what runs for ever tries again until it does.
    """

    topic: str
    why: str


class OffsetGone(TopicHalted):
    """Leaf {index} of {topic}/{partition} is no longer on the broker: it was deleted or the topic
    made anew. Its owner's relay sends it again when it is started again; otherwise restore the
    topic from a copy. Nothing after the gap is materialised.
    """

    topic: str
    partition: int
    index: int


class PartitionsDiffer(TopicHalted):
    """{topic} has {found:partitions} where the agreement says {expected}. Let the brokers' operator
    add the missing ones: `kafka-topics --alter --topic {topic} --partitions {expected}`.
    """

    topic: str
    found: int
    expected: int


class MessageMalformed(Refused):
    """The message at offset {offset} of {topic}/{partition} is not one of ours: {what}. It is
    skipped. Only the topic's owner may write there: let the broker's operator look at who did.
    """

    topic: str
    partition: int
    offset: int
    what: str
