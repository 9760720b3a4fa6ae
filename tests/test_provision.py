"""Provisioning: what is missing, what would be done; a second run does nothing."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType

from sinergi.provision.cluster import Cluster
from sinergi.provision.plan import ProvisionPlan
from sinergi.provision.topics import ExistingTopic, TopicAction, WantedTopic, compare, wanted
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.errors import BrokerAway, LoginRefused, ProvisionRefused, TopicAway
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import (
    Admin,
    cluster_id,
    describe,
    open_admin,
    partition_count,
    topic_id,
)
from sinergi_schemas.timeouts import KafkaTimeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parent.parent / "examples" / "agreement"
IN_FORCE = datetime(2026, 6, 1, tzinfo=UTC)
EVENTS = {"cleanup.policy": "delete", "retention.ms": "-1"}


def test_every_topic_of_the_agreements_in_force_is_wanted() -> None:
    found = {each.name: each for each in wanted(Agreements.load(EXAMPLE), IN_FORCE)}
    assert {name: each.partitions for name, each in found.items()} == {
        "sinergi.bnnk-banyuwangi.control": 1,
        "sinergi.bnnk-banyuwangi.receipts": 1,
        "sinergi.bnnk-banyuwangi.seizure": 3,
        "sinergi.lapas-banyuwangi.control": 1,
        "sinergi.lapas-banyuwangi.receipts": 1,
        "sinergi.lapas-banyuwangi.seizure": 3,
        "sinergi.lapas-banyuwangi.suspicious-visit": 3,
        "sinergi.lapas-banyuwangi.transfer": 3,
        "sinergi.polresta-banyuwangi.control": 1,
        "sinergi.polresta-banyuwangi.receipts": 1,
        "sinergi.polresta-banyuwangi.seizure": 3,
    }
    events = found["sinergi.lapas-banyuwangi.transfer"].settings
    assert events["cleanup.policy"] == "delete"
    assert events["retention.ms"] == events["retention.bytes"] == "-1"
    assert events["message.timestamp.type"] == "LogAppendTime"
    assert found["sinergi.lapas-banyuwangi.receipts"].settings["cleanup.policy"] == "compact"


def test_nothing_is_wanted_before_an_agreement_is_in_force() -> None:
    assert wanted(Agreements.load(EXAMPLE), datetime(2025, 10, 22, tzinfo=UTC)) == []


@pytest.mark.parametrize(
    ("found", "verdict", "settings"),
    [
        (None, TopicAction.CREATE, {**EVENTS, "min.insync.replicas": "2"}),
        (ExistingTopic(3, 3, {**EVENTS, "min.insync.replicas": "2"}), TopicAction.OK, {}),
        (ExistingTopic(3, 1, {**EVENTS, "min.insync.replicas": "1"}), TopicAction.OK, {}),
        (
            ExistingTopic(
                3, 3, {**EVENTS, "retention.ms": "604800000", "min.insync.replicas": "1"}
            ),
            TopicAction.CHANGE,
            {"retention.ms": "-1", "min.insync.replicas": "2"},
        ),
        (ExistingTopic(4, 3, {**EVENTS, "min.insync.replicas": "2"}), TopicAction.OK, {}),
        (ExistingTopic(4, 3, EVENTS), TopicAction.CHANGE, {"min.insync.replicas": "2"}),
        (ExistingTopic(2, 3, EVENTS), TopicAction.REFUSED, {}),
    ],
)
def test_each_difference_has_its_verdict(
    found: ExistingTopic | None, verdict: TopicAction, settings: dict[str, str]
) -> None:
    there = {"t": found} if found else {}
    (step,) = compare([WantedTopic("t", 3, EVENTS)], there, copies=3)
    assert (step.verdict, step.settings) == (verdict, settings)


@pytest.mark.parametrize("name", ["sinergi.lapas-rekaan.control", "sinergi.lapas-rekaan.transfer"])
def test_further_partitions_are_told_and_nobody_is_asked_to_do_anything(name: str) -> None:
    there = ExistingTopic(4, 3, {**EVENTS, "min.insync.replicas": "2"})
    (step,) = compare([WantedTopic(name, 1, EVENTS)], {name: there}, copies=3)
    assert step.what == (
        "it has 4 partitions where 1 is wanted; the further ones are left aside, and nothing has to"
        " be done about them"
    )


def test_a_topic_with_fewer_copies_than_usual_is_told_with_the_command_that_makes_more() -> None:
    there = ExistingTopic(1, 1, {**EVENTS, "min.insync.replicas": "1"})
    (step,) = compare([WantedTopic("t", 1, EVENTS)], {"t": there}, copies=3)
    assert step.verdict is TopicAction.OK
    assert step.what == (
        "it has 1 copy where 3 are usual; more are made with kafka-reassign-partitions"
    )


def test_missing_partitions_are_told_with_the_command_that_adds_them() -> None:
    want = [WantedTopic("t", 3, EVENTS, "pks.toml")]
    (step,) = compare(want, {"t": ExistingTopic(2, 3, EVENTS)}, copies=3)
    assert "`kafka-topics --alter --topic t --partitions 3`" in step.what
    assert "or pks.toml is not the agreement of this bus" in step.what
    assert step.what.index("pks.toml") < step.what.index("kafka-topics")


@pytest.fixture
def admin(kafka: str) -> Admin:
    return open_admin(Connection(kafka))


@pytest.fixture
def mine(admin: Admin, request: pytest.FixtureRequest) -> Iterator[list[WantedTopic]]:
    """Topics that only this test has; they are deleted behind it."""
    prefix = f"sinergi.provision-{request.node.name.partition('[')[0].replace('_', '-')[:80]}"
    found = [
        WantedTopic(f"{prefix}.seizure", 3, EVENTS),
        WantedTopic(f"{prefix}.control", 1, {"cleanup.policy": "compact"}),
    ]
    yield found
    for future in admin.delete_topics([each.name for each in found]).values():
        future.exception()


def shown(admin: Admin, name: str, *, there: bool) -> None:
    """Wait until the brokers know what the controller has done."""
    while (name in describe(admin, [name])) is not there:
        pass


def verdicts(cluster: Cluster, want: list[WantedTopic]) -> list[TopicAction]:
    return [step.verdict for step in cluster.plan(want)]


def test_topics_are_made_and_a_second_run_finds_nothing_to_do(
    admin: Admin, mine: list[WantedTopic]
) -> None:
    cluster = Cluster(admin)
    steps = cluster.plan(mine)
    assert {step.verdict for step in steps} == {TopicAction.CREATE}
    assert describe(admin, [each.name for each in mine]) == {}
    cluster.apply(steps)
    assert verdicts(cluster, mine) == [TopicAction.OK, TopicAction.OK]
    assert [partition_count(admin, each.name) for each in mine] == [3, 1]
    cluster.apply(steps)
    assert verdicts(cluster, mine) == [TopicAction.OK, TopicAction.OK]


def test_a_setting_that_somebody_changed_is_mended(admin: Admin, mine: list[WantedTopic]) -> None:
    cluster = Cluster(admin)
    spoiled = [WantedTopic(mine[0].name, 3, {**EVENTS, "retention.ms": "1000"}), mine[1]]
    cluster.apply(cluster.plan(spoiled))
    steps = cluster.plan(mine)
    assert [step.what for step in steps] == ["retention.ms 1000 → -1", ""]
    cluster.apply(steps)
    assert verdicts(cluster, mine) == [TopicAction.OK, TopicAction.OK]


def test_a_topic_with_fewer_partitions_is_refused_and_left_and_the_others_are_made(
    admin: Admin, mine: list[WantedTopic]
) -> None:
    cluster = Cluster(admin)
    admin.create_topics([NewTopic(mine[0].name, 2)])[mine[0].name].result()
    shown(admin, mine[0].name, there=True)
    steps = cluster.plan(mine)
    assert [step.verdict for step in steps] == [TopicAction.REFUSED, TopicAction.CREATE]
    cluster.apply(steps)
    with pytest.raises(ProvisionRefused, match=f"{mine[0].name}: it has 2 partitions"):
        ProvisionPlan("bus", "cluster", {}, (), steps, None).check_refused()
    assert [partition_count(admin, each.name) for each in mine] == [2, 1]
    assert verdicts(cluster, mine) == [TopicAction.REFUSED, TopicAction.OK]


def test_a_topic_with_further_partitions_has_its_settings_mended(
    admin: Admin, mine: list[WantedTopic]
) -> None:
    cluster, name = Cluster(admin), mine[0].name
    admin.create_topics([NewTopic(name, 4, config={"retention.ms": "1000"})])[name].result()
    shown(admin, name, there=True)
    steps = cluster.plan(mine)
    assert steps[0].what.startswith("retention.ms 1000 → -1")
    assert "it has 4 partitions where 3 are wanted" in steps[0].what
    cluster.apply(steps)
    assert verdicts(cluster, mine) == [TopicAction.OK, TopicAction.OK]
    assert partition_count(admin, name) == 4


def test_a_topic_made_anew_has_another_id(admin: Admin, mine: list[WantedTopic]) -> None:
    cluster, name = Cluster(admin), mine[0].name
    cluster.apply(cluster.plan(mine))
    before = topic_id(admin, name)
    assert topic_id(admin, name) == before
    admin.delete_topics([name], operation_timeout=30)[name].result()
    shown(admin, name, there=False)
    with pytest.raises(TopicAway, match="sinergi provision apply"):
        topic_id(admin, name)
    cluster.apply(cluster.plan(mine))
    assert topic_id(admin, name) != before
    assert cluster_id(admin) == cluster_id(admin) != ""


def test_the_settings_of_the_example_are_taken_by_the_broker(
    admin: Admin, mine: list[WantedTopic]
) -> None:
    """Every setting that we want exists on a real broker under its name."""
    real = wanted(Agreements.load(EXAMPLE), IN_FORCE)
    by_policy = {each.settings["cleanup.policy"]: each.settings for each in real}
    named = [
        WantedTopic(each.name, each.partitions, by_policy[each.settings["cleanup.policy"]])
        for each in mine
    ]
    cluster = Cluster(admin, copies=1)
    cluster.apply(cluster.plan(named))
    assert verdicts(cluster, named) == [TopicAction.OK, TopicAction.OK]
    resource = ConfigResource(ResourceType.TOPIC, mine[0].name)
    settings = next(iter(admin.describe_configs([resource]).values())).result()
    assert settings["retention.ms"].value == "-1"
    assert settings["message.timestamp.type"].value == "LogAppendTime"


def test_a_cluster_that_is_away_is_not_taken_for_an_empty_one() -> None:
    nowhere = Connection("127.0.0.1:1", timeouts=KafkaTimeouts(answer=1.0))
    with pytest.raises(BrokerAway):
        Cluster(open_admin(nowhere)).plan([WantedTopic("t", 1, EVENTS)])


def test_a_login_on_a_broker_that_wants_none_is_a_refused_login_and_no_timeout(
    kafka: str,
) -> None:
    """The broker only hangs up; that it wants no login shows in the error callback alone."""
    options = {
        "security.protocol": "sasl_plaintext",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "x",
        "sasl.password": "y",
    }
    with pytest.raises(LoginRefused, match="Mend security"):
        cluster_id(open_admin(Connection(kafka, options, timeouts=KafkaTimeouts(answer=3.0))))


def test_a_topic_that_one_broker_does_not_know_yet_is_asked_for_again(
    admin: Admin, mine: list[WantedTopic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brokers learn of a new topic one after another, and each question may reach another one."""
    cluster = Cluster(admin)
    cluster.apply(cluster.plan(mine))
    asked, asks = 0, admin.describe_configs

    def describe(resources: list[ConfigResource], **options: Any) -> Any:
        nonlocal asked
        asked += resources[0].restype == ResourceType.TOPIC
        if asked != 1 or resources[0].restype != ResourceType.TOPIC:
            return asks(resources, **options)
        lacking: Future[Any] = Future()
        lacking.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
        return dict.fromkeys(resources, lacking)

    monkeypatch.setattr(admin, "describe_configs", describe)
    assert {each.verdict for each in cluster.plan(mine)} == {TopicAction.OK}
    assert asked == 2
