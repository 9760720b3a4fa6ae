"""Every principal of a bus may do on the brokers what the agreement says, and nothing else.

The brokers themselves say what each principal may do with every topic, group and the cluster; and
the attempts that matter most are made.
"""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from provisioned_bus import AGENCIES, BNNK, LAPAS, STRANGER, ProvisionedBus, agreement, year
from secured_kafka import PASSWORD, USER
from sinergi.provision.access_control import ALL_ENTRIES
from sinergi.provision.passwords import PasswordFolder
from sinergi.provision.provisioner import Provisioner
from sinergi_schemas import errors, topics
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.connection import Attempt
from sinergi_schemas.kafka.producer import serve
from sinergi_schemas.kafka.scan import open_scan
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from sinergi_schemas.kafka.admin import Admin

TOPICS = (
    "sinergi.lapas.transfer",
    "sinergi.lapas-dua.transfer",
    "sinergi.bnnk.seizure",
    *(f"sinergi.{each}.control" for each in AGENCIES),
    *(f"sinergi.{each}.receipts" for each in AGENCIES),
    "something.else",
)
GROUPS = ("lapas.main", "lapas-dua.main", "bnnk.main", "lapas", "else")
R, W, RW = "R", "W", "RW"
# Prisons publish transfers and read seizures; the narcotics agency reads transfers and publishes
# seizures; the auditor audits transfers.
MATRIX: dict[str, dict[str, str]] = {
    "lapas.producer": {
        "sinergi.lapas.transfer": RW,
        "sinergi.lapas.control": RW,
        "sinergi.bnnk.receipts": R,
    },
    "lapas.consumer": {
        "sinergi.bnnk.seizure": R,
        "sinergi.bnnk.control": R,
        "sinergi.lapas.receipts": RW,
        "sinergi.lapas-dua.receipts": R,
        "lapas.main": R,
    },
    "lapas-dua.producer": {
        "sinergi.lapas-dua.transfer": RW,
        "sinergi.lapas-dua.control": RW,
        "sinergi.bnnk.receipts": R,
    },
    "lapas-dua.consumer": {
        "sinergi.bnnk.seizure": R,
        "sinergi.bnnk.control": R,
        "sinergi.lapas.receipts": R,
        "sinergi.lapas-dua.receipts": RW,
        "lapas-dua.main": R,
    },
    "bnnk.producer": {
        "sinergi.bnnk.seizure": RW,
        "sinergi.bnnk.control": RW,
        "sinergi.lapas.receipts": R,
        "sinergi.lapas-dua.receipts": R,
    },
    "bnnk.consumer": {
        "sinergi.lapas.transfer": R,
        "sinergi.lapas-dua.transfer": R,
        "sinergi.lapas.control": R,
        "sinergi.lapas-dua.control": R,
        "sinergi.bnnk.receipts": RW,
        "bnnk.main": R,
    },
    "ombudsman.auditor": {
        "sinergi.lapas.transfer": R,
        "sinergi.lapas-dua.transfer": R,
        "sinergi.lapas.control": R,
        "sinergi.lapas-dua.control": R,
        "sinergi.bnnk.receipts": R,
    },
    STRANGER: {},
}
ALLOWED = {
    "": set(),
    R: {AclOperation.READ, AclOperation.DESCRIBE},
    W: {AclOperation.WRITE, AclOperation.DESCRIBE},
    RW: {AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE},
}
UNCOORDINATED = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}


@pytest.fixture(scope="module")
def bus(secured_bus: ProvisionedBus) -> ProvisionedBus:
    secured_bus.agree(agreement(in_force={"from": year(2020)}))
    secured_bus.broker.topic("something.else")
    assert secured_bus.provision("plan") == 1
    assert secured_bus.provision("apply") == 0
    assert secured_bus.provision("plan") == 0
    return secured_bus


def allowed(admin: Admin) -> dict[str, set[AclOperation]]:
    """What the brokers say that a principal may do: topics, groups, and the cluster."""
    topics = admin.describe_topics(
        TopicCollection(list(TOPICS)), include_authorized_operations=True
    )
    found = {name: _operations(future) for name, future in topics.items()}
    for name in GROUPS:
        until(partial(_group_answers, admin, name, found), f"a coordinator of {name}")
    cluster = admin.describe_cluster(include_authorized_operations=True)
    return found | {"the cluster": _operations(cluster)}


def _group_answers(admin: Admin, name: str, found: dict[str, set[AclOperation]]) -> bool:
    """Add what may be done with a group; False while no broker coordinates it yet."""
    asked = admin.describe_consumer_groups([name], include_authorized_operations=True)
    try:
        found[name] = _operations(asked[name])
    except KafkaException as why:
        if why.args[0].code() in UNCOORDINATED:
            return False
        raise
    return True


def _operations(future: Any) -> set[AclOperation]:
    try:
        return set(future.result(PATIENCE_SECONDS).authorized_operations or ())
    except KafkaException as why:
        if why.args[0].code() in REFUSED:
            return set()
        if why.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return {AclOperation.READ, AclOperation.DESCRIBE}
        raise


@pytest.mark.parametrize("principal", MATRIX)
def test_the_brokers_let_a_principal_do_what_the_agreement_says_and_nothing_else(
    bus: ProvisionedBus, principal: str
) -> None:
    expected = {name: ALLOWED[MATRIX[principal].get(name, "")] for name in (*TOPICS, *GROUPS)}
    assert allowed(bus.admin(principal)) == expected | {"the cluster": set()}


def test_the_operator_may_do_everything_which_shows_that_the_matrix_can_fail(
    bus: ProvisionedBus,
) -> None:
    found = allowed(bus.broker.admin)
    assert all(AclOperation.DELETE in found[name] for name in TOPICS)
    assert AclOperation.CREATE in found["the cluster"]


def sent(bus: ProvisionedBus, principal: str, topic: str, **options: Any) -> int | None:
    """Write a message; the code with which it was refused, or None."""
    found: list[int | None] = []
    until(lambda: _is_decided(bus, principal, topic, options, found), f"{principal} on {topic}")
    return found[0]


def _is_decided(
    bus: ProvisionedBus,
    principal: str,
    topic: str,
    options: dict[str, Any],
    found: list[int | None],
) -> bool:
    """Write by a new client; False where the client library has lost the reason of a refusal."""
    client = Producer({**bus.client(principal), "enable.idempotence": True, **options})

    def report(why: KafkaError | None, _: object) -> None:
        found.append(why.code() if why else None)

    try:
        if "transactional.id" in options:
            client.init_transactions(PATIENCE_SECONDS)
        client.produce(topic, b"x", b"key", on_delivery=report)
        while len(client):
            serve(client, 0.5, Attempt(f"User:{principal}", "Write", (topic,)))
    except errors.NotPermitted:
        found[:] = [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    except errors.BrokerRefuses:
        return False
    except KafkaException as why:
        found[:] = [why.args[0].code()]
    return bool(found)


@pytest.mark.parametrize("principal", MATRIX)
def test_a_principal_writes_to_its_own_topics_and_to_no_other(
    bus: ProvisionedBus, principal: str
) -> None:
    for topic in TOPICS:
        expected = None if W in MATRIX[principal].get(topic, "") else REFUSED
        code = sent(bus, principal, topic)
        assert code is None if expected is None else code in expected, topic


def test_nobody_may_write_in_transactions(bus: ProvisionedBus) -> None:
    code = sent(bus, "lapas.producer", TOPICS[0], **{"transactional.id": "x"})
    assert code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def joined(bus: ProvisionedBus, principal: str, group: str, topic: str) -> int | None:
    """Join a group and wait for an assignment; the code with which it was refused, or None."""
    consumer = Consumer({**bus.client(principal), "group.id": group, "group.protocol": "consumer"})
    assigned: list[object] = []
    refused: list[int] = []
    consumer.subscribe([topic], on_assign=lambda *_: assigned.append(1))

    def is_known() -> bool:
        for each in consumer.consume(10, 0.1):
            error = each.error()
            if error is not None and error.code() in REFUSED:
                refused.append(error.code())
        return bool(assigned or refused)

    try:
        until(is_known, f"{principal} in {group}")
    finally:
        consumer.close()
    return refused[0] if refused else None


def test_a_consumer_joins_the_groups_of_its_own_agency_only(bus: ProvisionedBus) -> None:
    seizure = "sinergi.bnnk.seizure"
    refused = KafkaError.GROUP_AUTHORIZATION_FAILED
    assert joined(bus, "lapas.consumer", "lapas.main", seizure) is None
    assert joined(bus, "lapas.consumer", "lapas-dua.main", seizure) == refused
    assert joined(bus, "lapas-dua.consumer", "lapas.main", seizure) == refused
    assert joined(bus, "lapas.producer", "lapas.main", seizure) == refused


def test_an_ended_agreement_takes_every_right_and_user_away_at_the_next_apply(
    bus: ProvisionedBus,
) -> None:
    admin = bus.admin("bnnk.consumer")
    assert allowed(admin)["sinergi.lapas.transfer"]
    try:
        bus.agree(agreement(in_force={"from": year(2020), "until": year(2021)}))
        write_control(bus)
        assert bus.provision("apply") == 0
        until(lambda: not any(allowed(admin).values()), "no right is left")
        assert scram_of(bus, "bnnk.consumer") == []
        assert bus.provision("plan") == 0
    finally:
        bus.agree(agreement(in_force={"from": year(2020)}))
        for each in (bus.folder / "passwords").iterdir():
            each.unlink()
        assert bus.provision("apply") == 0


def test_a_clock_that_is_years_ahead_takes_no_password_away(bus: ProvisionedBus) -> None:
    """No apply can give a password back; rights come back by themselves."""
    file = bus.folder / "passwords/lapas.consumer.password"
    before = file.read_text()
    provisioner = Provisioner(bus.broker.admin, PasswordFolder(bus.folder / "passwords", print))
    bus.agree(agreement(in_force={"from": year(2020), "until": year(2040)}))
    agreements = Agreements.load(bus.folder / "agreements")
    try:
        write_control(bus)
        provisioner.apply(provisioner.plan(agreements, year(2041)))
        assert scram_of(bus, "lapas.consumer")
        assert not [each for each in entries_of(bus) if each.principal == "User:lapas.consumer"]
        trusting = replace(provisioner, trusts_clock=True).plan(agreements, year(2041))
        steps = [each for each in trusting.access or () if each.user == "lapas.consumer"]
        assert [each.action for each in steps] == ["remove"]
    finally:
        bus.agree(agreement(in_force={"from": year(2020)}))
        assert bus.provision("apply") == 0
    assert file.read_text() == before
    assert allowed(bus.admin("lapas.consumer"))["sinergi.bnnk.seizure"] == ALLOWED[R]


def write_control(bus: ProvisionedBus) -> None:
    """Write a message to a control topic, as a relay does each minute."""
    producer = Producer({"bootstrap.servers": bus.broker.bootstrap})
    producer.produce("sinergi.lapas.control", b"heads", b"heads")
    assert producer.flush(PATIENCE_SECONDS) == 0


def test_a_rotated_password_replaces_the_old_one_and_open_connections_go_on(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    old = bus.client("lapas.producer")
    open_before = Producer({**old, "enable.idempotence": True})
    open_before.produce(TOPICS[0], b"before", b"key")
    assert open_before.flush(PATIENCE_SECONDS) == 0
    before = capsys.readouterr()
    assert bus.provision("rotate", LAPAS, "--json") == 0
    said = capsys.readouterr()
    files = {each["user"]: each["file"] for each in json.loads(said.out)}
    assert files.keys() == {f"{LAPAS}.producer", f"{LAPAS}.consumer"}
    assert all(Path(each).is_file() for each in files.values())
    assert said.err.count("new password in") == 2
    assert bus.client("lapas.producer")["sasl.password"] != old["sasl.password"]
    assert bus.client("lapas.producer")["sasl.password"] not in said.out + said.err + before.err
    assert sent(bus, "lapas.producer", TOPICS[0]) is None, "the new one logs in"
    open_before.produce(TOPICS[0], b"after", b"key")
    assert open_before.flush(PATIENCE_SECONDS) == 0
    refused: list[KafkaError] = []
    client = Producer({**old, "error_cb": refused.append})
    until(lambda: client.poll(0.1) is not None and bool(refused), "the old one is refused")
    assert KafkaError._AUTHENTICATION in {each.code() for each in refused}


@pytest.mark.parametrize(
    ("owner", "what"),
    [
        ("lapass", "no agreement names it; did you mean lapas?"),
        ("ombudsman.auditor", "no agreement names it"),
    ],
)
def test_passwords_of_nobody_are_not_replaced(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str], owner: str, what: str
) -> None:
    assert bus.provision("rotate", owner) == 2
    assert f"The passwords of {owner} cannot be replaced: {what}" in capsys.readouterr().err


def test_what_others_have_granted_is_shown_and_left(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    bus.broker.permit(ResourceType.TOPIC, "something.else", AclOperation.READ)
    assert bus.provision("apply") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"User:{USER}" in shown
    assert "no agreement in the folder gives it" in shown
    assert PASSWORD not in shown
    stranger = bus.admin(STRANGER)
    assert allowed(stranger)["something.else"] == ALLOWED[R]
    bus.broker.forget()
    assert bus.provision("apply") == 0


def attempts(admin: Admin, principal: str, topic: str) -> dict[str, set[int | None]]:
    """What an administrator may try with a topic; the codes with which each was refused."""
    name = TopicPartition(topic, 0, 0)
    resource = ConfigResource(
        ResourceType.TOPIC,
        topic,
        incremental_configs=[
            ConfigEntry("retention.ms", "1", incremental_operation=AlterConfigOpType.SET)
        ],
    )
    made = f"{topic}.made-by.{principal}"
    entry = AclBinding(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{principal}", "*",
        AclOperation.ALL, AclPermissionType.ALLOW,
    )  # fmt: skip
    user = ScramMechanism.SCRAM_SHA_512
    password = UserScramCredentialUpsertion(
        "lapas.consumer", ScramCredentialInfo(user, 4096), b"mine now"
    )
    asked: dict[str, dict[Any, Future[Any]]] = {
        "create": admin.create_topics([NewTopic(made, 1, 1)]),
        "add partitions": admin.create_partitions([NewPartitions(topic, 2)]),
        "alter": admin.incremental_alter_configs([resource]),
        "delete records": admin.delete_records([name]),
        "delete": admin.delete_topics([topic]),
        "give a right": admin.create_acls([entry]),
        "set a password": admin.alter_user_scram_credentials([password]),
    }
    return {what: {_code(each) for each in found.values()} for what, found in asked.items()}


def _code(future: Future[Any]) -> int | None:
    try:
        future.result(PATIENCE_SECONDS)
    except KafkaException as why:
        return int(why.args[0].code())
    return None


@pytest.mark.parametrize("principal", MATRIX)
def test_nobody_makes_changes_empties_or_deletes_a_topic_or_gives_rights(
    bus: ProvisionedBus, principal: str
) -> None:
    admin = bus.admin(principal)
    for topic in TOPICS:
        for what, codes in attempts(admin, principal, topic).items():
            # Who may not describe a topic does not learn where its records are.
            hidden = {KafkaError._NOENT} if what == "delete records" else set()
            assert codes <= REFUSED | hidden, (what, topic, codes)


def test_the_operator_may_try_all_of_it_which_shows_that_a_refusal_means_something(
    bus: ProvisionedBus,
) -> None:
    bus.broker.topic("for.the.operator")
    admin = bus.broker.admin
    assert (
        _code(admin.create_partitions([NewPartitions("for.the.operator", 2)])["for.the.operator"])
        is None
    )
    (future,) = admin.delete_records([TopicPartition("for.the.operator", 0, 0)]).values()
    assert _code(future) is None
    assert _code(admin.delete_topics(["for.the.operator"])["for.the.operator"]) is None


@pytest.mark.parametrize("principal", MATRIX)
def test_a_principal_fetches_from_the_topics_that_it_may_read_and_from_no_other(
    bus: ProvisionedBus, principal: str
) -> None:
    for topic in TOPICS:
        is_allowed = R in MATRIX[principal].get(topic, "")
        assert fetched(bus, principal, topic) is is_allowed, topic


def fetched(bus: ProvisionedBus, principal: str, topic: str) -> bool:
    """Read a topic as a replay does, without a group: whether the brokers let it."""
    connection = Connection(bus.broker.login, bus.options(principal))
    try:
        with open_scan(connection, topics.TopicPartition(topic, 0)) as scan:
            for _ in scan.read(*scan.bounds()):
                pass
    except errors.NotPermitted:
        return False
    return True


def test_a_consumer_commits_offsets_of_its_own_group_only(bus: ProvisionedBus) -> None:
    for principal, group, expected in (
        ("lapas.consumer", "lapas.offsets", None),
        ("lapas.consumer", "lapas-dua.offsets", KafkaError.GROUP_AUTHORIZATION_FAILED),
        ("lapas-dua.consumer", "lapas.offsets", KafkaError.GROUP_AUTHORIZATION_FAILED),
        ("lapas.producer", "lapas.offsets", KafkaError.GROUP_AUTHORIZATION_FAILED),
    ):
        assert committed(bus.admin(principal), group) == expected, (principal, group)


def committed(admin: Admin, group: str) -> int | None:
    """Commit an offset of a group; the code with which that was refused, or None."""
    found: list[int | None] = []

    def is_decided() -> bool:
        offset = TopicPartition("sinergi.bnnk.seizure", 0, 0)
        (future,) = admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, [offset])]
        ).values()
        code = _code(future)
        if code not in UNCOORDINATED:
            found.append(code)
        return bool(found)

    until(is_decided, f"a coordinator of {group}")
    return found[0]


def test_a_user_of_the_operator_that_an_agreement_names_is_refused_and_stays_as_it_is(
    bus: ProvisionedBus, capsys: pytest.CaptureFixture[str]
) -> None:
    """It keeps its password and its rights, whatever the agreement says and when it ends."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    made = UserScramCredentialUpsertion("monitoring", info, PASSWORD.encode())
    for answer in bus.broker.admin.alter_user_scram_credentials([made]).values():
        answer.result(30)
    until(lambda: bool(scram_of(bus, "monitoring")), "the broker shows the user")
    before = scram_of(bus, "monitoring")
    document = agreement(in_force={"from": year(2025)})
    document["parties"][BNNK]["principals"] = {"consumer": ["monitoring"]}
    bus.agree(document)
    assert bus.provision("plan") == 2
    assert bus.provision("apply") == 2
    said = capsys.readouterr().err
    assert "User:monitoring: Sinergi did not make this user, and does not touch it" in said
    assert bus.provision("rotate", BNNK) == 0
    assert scram_of(bus, "monitoring") == before
    assert not (bus.folder / "passwords/monitoring.password").exists()
    shown = [each for each in entries_of(bus) if each.principal == "User:monitoring"]
    assert shown == []
    bus.agree(document | {"in_force": {"from": year(2024), "until": year(2025)}})
    assert bus.provision("apply") == 0
    assert scram_of(bus, "monitoring") == before
    gone = UserScramCredentialDeletion("monitoring", ScramMechanism.SCRAM_SHA_512)
    for removed in bus.broker.admin.alter_user_scram_credentials([gone]).values():
        removed.result(30)
    bus.agree(agreement(in_force={"from": year(2020)}))
    assert bus.provision("apply") == 0


def scram_of(bus: ProvisionedBus, user: str) -> list[int]:
    """The iterations of a user's passwords."""
    asked = bus.broker.admin.describe_user_scram_credentials()
    assert isinstance(asked, Future)
    found = asked.result(PATIENCE_SECONDS).get(user)
    return [each.iterations for each in found.scram_credential_infos] if found else []


def entries_of(bus: ProvisionedBus) -> list[AclBinding]:
    return list(bus.broker.admin.describe_acls(ALL_ENTRIES).result(30))
