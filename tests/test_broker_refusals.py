"""Settings and rights that the brokers refuse: each error names the cause, once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import tomli_w
from confluent_kafka.admin import AclOperation, ResourceType
from structlog.testing import capture_logs

from agency_pair import DATABASE, AgencyPair, running, transfer
from secured_kafka import PASSWORD, USER, Secured
from sinergi.provision.cluster import Cluster
from sinergi.provision.topics import WantedTopic
from sinergi_consumers.audit import statement_reading
from sinergi_schemas import errors
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import cluster_id, describe, ends, open_admin
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.producer import open_producer
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.kafka.scan import PartitionScan, open_scan
from sinergi_schemas.timeouts import KafkaTimeouts, RelayTimeouts, Timeouts
from sinergi_schemas.topics import TopicPartition, control_topic, receipts_topic
from test_kafka import send
from test_relay import relay_of, sent, until_sent
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.long

NO_RECEIPTS = "receipts cannot be read: none of them is kept"
# A broker that only asks for a certificate lets the client in, without the rights of its name. Then
# this is the only line that tells why.
NOT_SENT = "not sending any client certificates"
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE


@pytest.fixture
def pair(
    tmp_path: Path, broker: Secured, agency_slug: str, databases: Callable[[], str]
) -> AgencyPair:
    """A bus whose topics are there, and on which `USER` has no right yet."""
    broker.forget()
    pair = AgencyPair(tmp_path, broker.bootstrap, agency_slug, databases(), databases())
    pair.connection = broker.connection()
    return pair


@pytest.fixture
def topic(broker: Secured, topic_name: Callable[[], str]) -> str:
    """A topic with one message, on which `USER` has no right."""
    broker.forget()
    name = topic_name()
    broker.topic(name)
    send(broker.bootstrap, name, 1)
    return name


# Settings


def hasty(address: str, options: dict[str, str]) -> Connection:
    """A connection whose clients wait for 2 seconds."""
    return Connection(address, options, timeouts=KafkaTimeouts(answer=2.0))


def asked(address: str, options: dict[str, str]) -> errors.SinergiError:
    """What a client says that asks a broker for its name."""
    with capture_logs() as logs, pytest.raises(errors.SinergiError) as raised:
        cluster_id(open_admin(hasty(address, options)))
    loud = [each for each in logs if each["log_level"] not in ("debug", "info")]
    loud = [each for each in loud if NOT_SENT not in str(each)]
    assert not loud, "what the error says is not logged besides"
    return raised.value


def refused(address: str, options: dict[str, str]) -> errors.SinergiError:
    """As `asked`, again where a busy broker has not answered within the time that a request has."""
    found: list[errors.SinergiError] = []

    def is_refused() -> bool:
        found.append(asked(address, options))
        return not isinstance(found[-1], errors.BrokerAway)

    until(is_refused, "a refusal")
    return found[-1]


def refused_login(address: str, options: dict[str, str]) -> errors.LoginRefused:
    """As `refused`, for a login."""
    found = refused(address, options)
    assert isinstance(found, errors.LoginRefused)
    return found


def answers(connection: Connection) -> bool:
    """Whether a broker answers; a busy one may not within the time that a request has."""
    try:
        return bool(cluster_id(open_admin(connection)))
    except errors.BrokerAway:
        return False


@pytest.mark.parametrize("security", ["plaintext", "sasl_plaintext", "ssl", "sasl_ssl"])
@pytest.mark.parametrize("listener", ["bootstrap", "login", "tls", "login_tls"])
def test_a_wrong_security_protocol_is_named(broker: Secured, security: str, listener: str) -> None:
    address = getattr(broker, listener)
    options = {"security.protocol": security, "ssl.ca.location": str(broker.ca_file)}
    if security.startswith("sasl"):
        options = broker.options() | options
    expected = {"bootstrap": "plaintext", "login": "sasl_plaintext"}
    expected |= {"tls": "ssl", "login_tls": "sasl_ssl"}
    if expected[listener] == security:
        until(lambda: answers(hasty(address, options)), "an answer")
        return
    why = asked(address, options)
    assert isinstance(why, errors.LoginRefused | errors.BrokerAway)
    assert "security" in str(why)
    assert "password" not in str(why)


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"sasl.mechanism": "SCRAM-SHA-256"}, "mechanism"),
        ({"sasl.password": "another"}, "username or password_file"),
        ({"sasl.username": "somebody"}, "username or password_file"),
        ({"ssl.ca.location": "another authority"}, "ca_file"),
        ({"ssl.ca.location": None}, "ca_file"),
    ],
)
@pytest.mark.parametrize("listener", ["login", "login_tls"])
def test_a_wrong_login_or_authority_names_the_setting(
    broker: Secured, listener: str, change: dict[str, Any], setting: str
) -> None:
    security = {"login": "sasl_plaintext", "login_tls": "sasl_ssl"}[listener]
    options = broker.options() | {"security.protocol": security}
    if security == "sasl_ssl":
        options |= {"ssl.ca.location": str(broker.ca_file)}
    elif setting == "ca_file":
        return  # a connection without TLS has no authority
    if change == {"ssl.ca.location": "another authority"}:
        change = {"ssl.ca.location": str(broker.other_ca_file)}
    options = {key: value for key, value in (options | change).items() if value is not None}
    why = refused(getattr(broker, listener), options)
    kind = errors.BrokerCertificateRefused if setting == "ca_file" else errors.LoginRefused
    assert isinstance(why, kind)
    assert f"Mend {setting} under [kafka]" in str(why)
    assert PASSWORD not in str(why)


def test_a_reader_whose_password_is_no_longer_valid_names_the_login_and_not_bootstrap(
    broker: Secured, topic: str
) -> None:
    """As after `sinergi provision rotate`, where other clients of the connection are still open."""
    connection = Connection(broker.login, broker.options() | {"sasl.password": "before"})
    tp = TopicPartition(topic, 0)
    for ask in (PartitionScan.bounds, lambda scan: next(scan.read(0, 1))):
        with open_scan(connection, tp) as scan, pytest.raises(errors.LoginRefused) as refused:
            ask(scan)
        assert refused.value.setting == "username or password_file"


def test_a_client_certificate_that_is_missing_names_the_setting(broker: Secured) -> None:
    options = {"security.protocol": "ssl", "ssl.ca.location": str(broker.ca_file)}
    why = refused_login(broker.mutual, options)
    assert why.setting == "certificate_file and private_key_file"
    assert "and none is set" in str(why)


def test_a_client_certificate_of_another_authority_is_told_with_the_authority(
    broker: Secured, tmp_path: Path
) -> None:
    own = broker.other_authority.write_client(tmp_path, "lapas")
    options = {"security.protocol": "ssl", "ssl.ca.location": str(broker.ca_file)}
    options |= {"ssl.certificate.location": own["certificate_file"]}
    options |= {"ssl.key.location": own["private_key_file"]}
    why = refused_login(broker.mutual, options)
    assert "the authority that has issued this one, CN=somebody else" in str(why)
    assert "Mend certificate_file and private_key_file under [kafka]" in str(why)


def test_a_host_that_the_certificate_does_not_name_is_told(
    broker: Secured,
) -> None:
    options = {"security.protocol": "ssl", "ssl.ca.location": str(broker.ca_file)}
    why = refused(broker.tls.replace("127.0.0.1", "localhost"), options)
    assert "it is not issued for localhost but for 127.0.0.1" in str(why)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_cannot_be_read_names_the_setting(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    options = {"security.protocol": "ssl", "ssl.ca.location": str(file)}
    with pytest.raises(errors.KafkaSettingsRefused, match=r"Mend ca_file under \[kafka\]"):
        open_admin(Connection("127.0.0.1:1", options))


@pytest.mark.parametrize(
    "open_client", [open_admin, open_producer, partial(open_consumer, group="g")]
)
def test_a_key_that_does_not_fit_its_certificate_names_the_table_of_its_role(
    tmp_path: Path, broker: Secured, open_client: Callable[[Connection], object]
) -> None:
    one, other = (broker.authority.write_client(tmp_path, each) for each in ("one", "other"))
    options = {"security.protocol": "ssl", "ssl.certificate.location": one["certificate_file"]}
    options |= {"ssl.key.location": other["private_key_file"]}
    own = Connection(broker.mutual, options, tables={"private_key_file": "consumer.kafka"})
    where = r"Mend private_key_file under \[consumer\.kafka\]"
    with pytest.raises(errors.KafkaSettingsRefused, match=where):
        open_client(own)


def test_a_port_where_no_kafka_answers_names_bootstrap(services: Any) -> None:
    from sqlalchemy.engine import make_url

    url = make_url(services.postgresql)
    why = asked(f"{url.host}:{url.port}", {})
    assert isinstance(why, errors.BrokerAway)
    assert "check bootstrap" in str(why)


@pytest.mark.parametrize(
    ("kafka", "setting"),
    [
        ({"security": "SSL", "ca_file": "other.pem"}, "ca_file"),
        ({"security": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-256"}, "mechanism"),
        ({"security": "SASL_PLAINTEXT", "mechanism": "PLAIN", "username": "x"}, "username"),
    ],
)
def test_a_command_names_the_wrong_setting_in_its_one_line(
    pair: AgencyPair, broker: Secured, tmp_path: Path, kafka: dict[str, str], setting: str
) -> None:
    folder = tmp_path / "settings"
    folder.mkdir()
    address = broker.tls if kafka["security"] == "SSL" else broker.login
    found = {"bootstrap": address} | kafka
    if "ca_file" in found:
        found["ca_file"] = str(broker.other_ca_file)
    else:
        (folder / "password").touch(0o600)
        (folder / "password").write_text(PASSWORD)
        found = {"username": USER, "password_file": "password"} | found
    settings = {"agreements": str(pair.folder), "kafka": found}
    (folder / "sinergi.toml").write_text(tomli_w.dumps(settings))
    command = [sys.executable, "-m", "sinergi", "--config", str(folder / "sinergi.toml")]
    done = subprocess.run(
        [*command, "provision", "plan"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"Mend {setting}" in done.stderr


# Rights


def test_what_reads_without_a_group_needs_a_right_on_its_topic_and_on_no_group(
    broker: Secured, topic: str
) -> None:
    broker.permit(TOPIC, topic, READ)
    with closing(RangeReader(broker.connection())) as reader:
        scan = PartitionScan(reader, TopicPartition(topic, 0))
        low, high = scan.bounds()
        read = [each for chunk in scan.read(low, high) for each in chunk]
        assert [each.value() for each in read] == [b"0"]
        # The broker refuses the group meanwhile, each half second, and nobody minds.
        assert not [each for _ in range(4) for each in reader._consumer.consume(10, 0.5)]


def test_a_right_that_is_given_meanwhile_is_never_taken_for_brokers_that_are_away(
    broker: Secured, topic: str
) -> None:
    tp = TopicPartition(topic, 0)
    with ThreadPoolExecutor(1) as thread:
        for _ in range(10):
            broker.forget()
            with closing(RangeReader(broker.connection())) as reader:
                giving = thread.submit(broker.permit, TOPIC, topic, READ)
                while not giving.done():
                    with suppress(errors.NotPermitted):
                        reader.bounds(tp)
                giving.result()
                assert reader.bounds(tp) == (0, 1)


@pytest.mark.parametrize("rights", [(), (DESCRIBE,)])
def test_a_reader_without_the_right_to_a_topic_names_it(
    broker: Secured, topic: str, rights: tuple[AclOperation, ...]
) -> None:
    broker.permit(TOPIC, topic, *rights)
    with pytest.raises(errors.NotPermitted) as why:
        read_all(broker.connection(), topic)
    assert is_about(why.value, "Read", topic)


def read_all(connection: Connection, topic: str) -> list[bytes | None]:
    """The values of a topic's messages."""
    with open_scan(connection, TopicPartition(topic, 0)) as scan:
        low, high = scan.bounds()
        return [each.value() for chunk in scan.read(low, high) for each in chunk]


def test_a_topic_that_is_not_there_is_not_taken_for_one_that_may_not_be_read(
    broker: Secured, topic: str
) -> None:
    broker.permit(TOPIC, "*", READ)
    with pytest.raises(errors.TopicAway, match="absent"):
        read_all(broker.connection(), f"{topic}-absent")
    with pytest.raises(errors.TopicAway, match="absent"):
        ends(open_admin(broker.connection()), [TopicPartition(f"{topic}-absent", 0)])


def test_who_asks_about_a_topic_without_the_right_names_it(broker: Secured, topic: str) -> None:
    admin = open_admin(broker.connection())
    for ask in (
        lambda: describe(admin, [topic]),
        lambda: ends(admin, [TopicPartition(topic, 0)]),
    ):
        with pytest.raises(errors.NotPermitted) as why:
            ask()
        assert is_about(why.value, "Describe", topic)


def test_who_provisions_without_the_right_names_topic_and_operation(
    broker: Secured, topic: str
) -> None:
    cluster = Cluster(open_admin(broker.connection()))
    broker.permit(TOPIC, "*", DESCRIBE)
    with pytest.raises(errors.NotPermitted) as why:
        cluster.plan([WantedTopic(topic, 1, {"retention.ms": "-1"})])
    assert is_about(why.value, "DescribeConfigs", topic)
    broker.permit(TOPIC, "*", AclOperation.DESCRIBE_CONFIGS)
    with pytest.raises(errors.NotPermitted) as why:
        cluster.plan([WantedTopic(topic, 1, {"retention.ms": "-1"})])
    assert "lacks the right DescribeConfigs on the cluster" in str(why.value)
    broker.permit(ResourceType.BROKER, "kafka-cluster", AclOperation.DESCRIBE_CONFIGS)
    for name, operation in ((topic, "AlterConfigs"), (f"{topic}-new", "Create")):
        steps = cluster.plan([WantedTopic(name, 1, {"retention.ms": "1000"})])
        with pytest.raises(errors.NotPermitted) as why:
            cluster.apply(steps)
        assert is_about(why.value, operation, name)


@pytest.mark.parametrize("rights", [(), (DESCRIBE,)])
def test_a_relay_that_may_not_write_names_the_topic_and_goes_on_once_it_may(
    pair: AgencyPair, broker: Secured, rights: tuple[AclOperation, ...]
) -> None:
    pair.publish(transfer("P/1"))
    broker.permit(TOPIC, pair.topic.name, *rights)
    with capture_logs() as logs, running(relay_of(pair).run):
        pair.until(lambda: is_said(logs, "waiting", pair.topic.name), "it says what it lacks")
        assert sent(pair) == 0
        broker.permit(TOPIC, pair.topic.name, READ, WRITE)
        until_sent(pair, 1)
        # The events go out, though the heads may not.
        control = control_topic(pair.publisher)
        pair.until(lambda: is_said(logs, "topic is not written", control), "and that heads lack")
        broker.permit(TOPIC, control, WRITE)
        pair.until(
            lambda: "topic is written again" in [each["event"] for each in list(logs)],
            "the heads go out",
        )
    waits = [each["why"] for each in logs if each["event"] == "waiting"]
    assert len(waits) == len(set(waits)), "each cause is said once"


def test_a_materialiser_that_may_not_write_receipts_names_their_topic_and_goes_on(
    pair: AgencyPair, broker: Secured
) -> None:
    publish_one(pair, broker)
    broker.permit(TOPIC, pair.topic.name, READ)
    broker.permit(GROUP, "*", READ)
    receipts = receipts_topic(pair.reader)
    with capture_logs() as logs, pair.materialising():
        pair.until_rows("sinergi.transfer_history", 1)
        pair.until(lambda: is_said(logs, "topic is not written", receipts), "it says what it lacks")
        broker.permit(TOPIC, receipts, WRITE)
        published = "SELECT count(*) FROM sinergi_consumer.receipt WHERE published_at IS NOT NULL"
        pair.until(lambda: pair.ask(published) == [(1,)], "the receipt goes out")


@pytest.mark.parametrize("rights", [(), (DESCRIBE,)])
@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_materialiser_that_may_not_join_its_group_names_it_and_goes_on_once_it_may(
    pair: AgencyPair,
    broker: Secured,
    protocol: Literal["consumer", "classic"],
    rights: tuple[AclOperation, ...],
) -> None:
    group = f"{pair.reader}.{DATABASE}"
    publish_one(pair, broker)
    pair.connection = replace(pair.connection, group_protocol=protocol)
    broker.permit(TOPIC, pair.topic.name, READ)
    broker.permit(GROUP, group, *rights)
    with capture_logs() as logs, pair.materialising():
        lacks = f"User:{USER} lacks the right Read on group {group}"
        pair.until(lambda: lacks in str(list(logs)), "it says what it lacks")
        broker.permit(GROUP, group, READ)
        pair.until_rows("sinergi.transfer_history", 1)
    assert len([each for each in logs if lacks in str(each)]) <= 2, "said once a client's word"


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
def test_a_materialiser_that_may_not_read_a_topic_names_it_and_goes_on_once_it_may(
    pair: AgencyPair, broker: Secured, protocol: Literal["consumer", "classic"]
) -> None:
    publish_one(pair, broker)
    pair.connection = replace(pair.connection, group_protocol=protocol)
    broker.permit(GROUP, f"{pair.reader}.{DATABASE}", READ)
    with capture_logs() as logs, pair.materialising():
        lacks = f"User:{USER} lacks the right Read on topic {pair.topic.name}"
        pair.until(lambda: lacks in str(list(logs)), "it says what it lacks")
        broker.permit(TOPIC, pair.topic.name, READ)
        pair.until_rows("sinergi.transfer_history", 1)


def publish_one(pair: AgencyPair, broker: Secured) -> None:
    """Publish one event by a relay that may do everything."""
    ours = pair.connection
    pair.connection = Connection(broker.bootstrap)
    pair.publish(transfer("P/1"))
    with pair.relaying():
        until_sent(pair, 1)
    pair.connection = ours


def test_a_relay_that_may_not_read_receipts_says_so_once_and_sends_all_events(
    pair: AgencyPair, broker: Secured
) -> None:
    pair.timeouts = Timeouts(relay=RelayTimeouts(receipts=0.05))
    broker.permit(TOPIC, pair.topic.name, READ, WRITE)
    broker.permit(TOPIC, control_topic(pair.publisher), WRITE)
    with capture_logs() as logs, pair.relaying():
        pair.until(lambda: is_said(logs, NO_RECEIPTS, receipts_topic(pair.reader)), "it is said")
        for number in range(3):
            pair.publish(transfer(f"P/{number}"))
            until_sent(pair, number + 1)
    assert len([each for each in logs if each["event"] == NO_RECEIPTS]) == 1


Right = tuple[ResourceType, str, tuple[AclOperation, ...]]

# What docs/runbooks.md says that each process needs, and nothing more.
NEEDS: dict[str, tuple[str, Callable[[AgencyPair], list[Right]]]] = {
    "relay": (
        "Write on its own control topic; Read on the receipts topics of its own readers",
        lambda pair: [
            (TOPIC, pair.topic.name, (READ, WRITE)),
            (TOPIC, control_topic(pair.publisher), (WRITE,)),
            (TOPIC, receipts_topic(pair.reader), (READ,)),
        ],
    ),
    "materialise": (
        "Read on the event topics; Write on its own receipts topic; Read on the group",
        lambda pair: [
            (TOPIC, pair.topic.name, (READ,)),
            (TOPIC, receipts_topic(pair.reader), (WRITE,)),
            (GROUP, f"{pair.reader}.{DATABASE}", (READ,)),
        ],
    ),
    "replay": (
        "Read on the event topic, its owner's control topic and its readers' receipts topics",
        lambda pair: [
            (TOPIC, pair.topic.name, (READ,)),
            (TOPIC, control_topic(pair.publisher), (READ,)),
            (TOPIC, receipts_topic(pair.reader), (READ,)),
        ],
    ),
}


def test_each_process_needs_the_rights_that_the_runbook_names_and_no_more(
    pair: AgencyPair, broker: Secured
) -> None:
    runbook = (Path(__file__).parents[1] / "docs" / "runbooks.md").read_text("utf-8")

    def grant(process: str) -> None:
        told, needs = NEEDS[process]
        assert told in " ".join(runbook.split())
        broker.forget()
        for resource, name, operations in needs(pair):
            broker.permit(resource, name, *operations)

    pair.publish(transfer("P/1"))
    with capture_logs() as logs:
        grant("relay")
        with pair.relaying():
            until_sent(pair, 1)
        grant("materialise")
        with pair.materialising():
            pair.until_rows("sinergi.transfer_history", 1)
            published = (
                "SELECT count(*) FROM sinergi_consumer.receipt WHERE published_at > '-infinity'"
            )
            pair.until(lambda: pair.ask(published) == [(1,)], "the receipt is published")
        grant("replay")
        for name in (
            pair.topic.name,
            control_topic(pair.publisher),
            receipts_topic(pair.reader),
        ):
            read_all(pair.connection, name)
        statements = statement_reading.gather(pair.bus, pair.topic)
    assert {each.kind for each in statements.largest} == {"heads", "receipt"}
    assert "lacks the right" not in str(logs)


def is_about(why: errors.SinergiError, operation: str, topic: str) -> bool:
    assert isinstance(why, errors.NotPermitted)
    assert f"User:{USER} lacks the right {operation} on topic {topic}" in str(why)
    assert f"--operation {operation} --topic {topic}`" in str(why)
    return True


def is_said(logs: list[Any], event: str, topic: str) -> bool:
    """Whether a line names who lacks a right on a topic."""
    return any(
        each["event"] == event
        and f"User:{USER} lacks the right" in each["why"]
        and f"topic {topic}" in each["why"]
        for each in list(logs)
    )
