"""What a broker of a bus is set to, and why.

`bus_settings` holds for every broker: of the local services, in containers, on machines and under
Strimzi. `ACCESS` holds where this project configures TLS and rights; Strimzi does that itself.
`KEEPING` holds where events are kept for years. `ONE_MACHINE` holds for the local services alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_COPIES = 3
_AS_IN_SYNC = "As `min.insync.replicas`."


class BrokerSetting(NamedTuple):
    """A setting of a broker.

    Attributes:
        name: as in Kafka's documentation, "Broker Configs".
        why: the reason, in whole sentences.
    """

    name: str
    value: str
    why: str


_EVERYWHERE = (
    BrokerSetting(
        "auto.create.topics.enable",
        "false",
        "Only `sinergi provision` makes topics, with the partitions that an agreement names. A"
        " topic that a mere request makes has another number of partitions.",
    ),
    BrokerSetting(
        "unclean.leader.election.enable",
        "false",
        "A broker that lacks messages never becomes the leader of a partition. It would drop events"
        " that are sealed, and every reader would halt that partition.",
    ),
    BrokerSetting(
        "log.message.timestamp.type",
        "LogAppendTime",
        "The broker's clock sets the time of a message, so that a producer cannot claim another.",
    ),
    BrokerSetting(
        "connections.max.reauth.ms",
        "600000",
        "A connection that logged in with a password logs in again every ten minutes, or is closed."
        " So a password that was replaced, and a user that was removed, end with it by then. The"
        " clients do this by themselves, and a login costs milliseconds.",
    ),
    BrokerSetting(
        "log.retention.ms",
        "-1",
        "No message is deleted because of its age: a seal covers all leaves from the first. Topics"
        " of `sinergi provision` have their own setting too.",
    ),
)

KEEPING = (
    BrokerSetting(
        "delete.topic.enable",
        "false",
        "Nobody can delete a topic, neither by mistake nor with the operator's password. To remove"
        " a topic that was made by mistake, set this to true and restart the brokers in turn.",
    ),
)

ACCESS = (
    BrokerSetting(
        "authorizer.class.name",
        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "Rights are entries of an access control list, which `sinergi provision` derives from the"
        " agreements. Without an authorizer whoever connects may do everything.",
    ),
    BrokerSetting(
        "allow.everyone.if.no.acl.found",
        "false",
        "A topic without an entry is open to nobody.",
    ),
    BrokerSetting(
        "sasl.enabled.mechanisms",
        "SCRAM-SHA-512",
        "Agencies and auditors log in with passwords that the brokers do not store (RFC 7677), and"
        " that `sinergi provision` sets.",
    ),
    BrokerSetting(
        "listener.name.agency.scram-sha-512.sasl.jaas.config",
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        "The brokers check these passwords themselves.",
    ),
    BrokerSetting(
        "listener.name.operator.ssl.client.auth",
        "required",
        "Brokers and operator log in with certificates, which need no broker that already runs.",
    ),
    BrokerSetting(
        "listener.name.controller.ssl.client.auth",
        "required",
        "Only a broker speaks to the controllers. They cannot check SCRAM passwords before they"
        " have read the metadata that holds them.",
    ),
)

ONE_MACHINE = (
    BrokerSetting(
        "offsets.topic.num.partitions", "4", "A broker with a small heap starts faster with few."
    ),
    BrokerSetting("transaction.state.log.num.partitions", "4", "As above."),
    BrokerSetting(
        "group.initial.rebalance.delay.ms", "0", "A test does not wait for further members."
    ),
    *(
        BrokerSetting(
            f"group.consumer.{name}.ms",
            value,
            "The partitions of a killed worker are assigned to others within 8 s, not 45 s.",
        )
        for name, value in (
            ("session.timeout", "8000"),
            ("min.session.timeout", "8000"),
            ("heartbeat.interval", "1000"),
            ("min.heartbeat.interval", "1000"),
        )
    ),
    BrokerSetting(
        "log.cleaner.dedupe.buffer.size", "16777216", "The default does not fit in a small heap."
    ),
)


def bus_settings(brokers: int) -> tuple[BrokerSetting, ...]:
    """The settings of every broker of a bus.

    Args:
        brokers: how many there are. Fewer than three keep fewer copies.
    """
    return (*_EVERYWHERE, *_copies(min(brokers, _MOST_COPIES)))


def as_properties(settings: Iterable[BrokerSetting]) -> dict[str, str]:
    """The values by their names."""
    return {each.name: each.value for each in settings}


def _copies(copies: int) -> tuple[BrokerSetting, ...]:
    count, in_sync = str(copies), str(max(1, copies - 1))
    kept = "What Kafka keeps of {} is as safe as the events are."
    return (
        BrokerSetting(
            "default.replication.factor",
            count,
            "Each message is on three brokers, so that the loss of a disk loses none.",
        ),
        BrokerSetting(
            "min.insync.replicas",
            in_sync,
            "A message counts as written when two brokers have it. With one broker down writing"
            " goes on; with two down it waits, and nothing is lost.",
        ),
        BrokerSetting("offsets.topic.replication.factor", count, kept.format("consumer groups")),
        BrokerSetting("transaction.state.log.replication.factor", count, kept.format("producers")),
        BrokerSetting("transaction.state.log.min.isr", in_sync, _AS_IN_SYNC),
        BrokerSetting(
            "share.coordinator.state.topic.replication.factor", count, kept.format("share groups")
        ),
        BrokerSetting("share.coordinator.state.topic.min.isr", in_sync, _AS_IN_SYNC),
    )
