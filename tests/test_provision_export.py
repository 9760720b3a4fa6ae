"""Resources for Strimzi: what the agreements need, and by Strimzi's own classes nothing else."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
import yaml

from provisioned_bus import DUA, LAPAS, agreement, year
from sinergi.cli.root import run
from sinergi.provision.rights import AclEntry, given_rights
from sinergi.provision.strimzi import StrimziCluster, as_yaml, strimzi_export
from sinergi.provision.topics import compare, wanted
from sinergi_schemas import errors
from strimzi.strict_reader import StrictReader
from test_agreement import BNNK, POLRESTA
from test_provision_access import agreements, raw

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sinergi.provision.strimzi import StrimziExport

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CLUSTER = StrimziCluster("bus")


def exported(*documents: dict[str, Any], at: datetime = NOW) -> StrimziExport:
    return strimzi_export(agreements(*documents), at, CLUSTER)


def of_kind(export: StrimziExport, kind: str) -> dict[str, dict[str, Any]]:
    """The specs of the resources of a kind, by their names."""
    found = {each["metadata"]["name"]: each for each in export.resources if each["kind"] == kind}
    assert len(found) == sum(each["kind"] == kind for each in export.resources)
    assert all(
        each["metadata"]["labels"] == {"strimzi.io/cluster": "bus"} for each in found.values()
    )
    return {name: each["spec"] for name, each in found.items()}


def entries(export: StrimziExport) -> set[AclEntry]:
    """The rights that the users have, as Strimzi reads them."""
    prefixes = {"scram-sha-512": "User:", "tls-external": "User:CN="}
    patterns = {"literal": "LITERAL", "prefix": "PREFIXED"}
    return {
        AclEntry(
            prefixes[spec["authentication"]["type"]] + name,
            rule["resource"]["type"].upper(),
            rule["resource"]["name"],
            patterns[rule["resource"]["patternType"]],
            operation.upper(),
        )
        for name, spec in of_kind(export, "KafkaUser").items()
        for rule in spec["authorization"]["acls"]
        for operation in rule["operations"]
    }


def with_principals(**principals: list[str]) -> dict[str, Any]:
    found = raw()
    found["parties"][BNNK]["principals"] = principals
    return found


def test_topics_and_rights_are_those_of_the_plan() -> None:
    export = exported(raw())
    steps = compare(wanted(agreements(raw()), NOW), {}, 3)
    assert of_kind(export, "KafkaTopic") == {
        each.topic: {
            "partitions": each.partitions,
            "replicas": 3,
            "config": {**each.settings, "min.insync.replicas": "2"},
        }
        for each in steps
    }
    assert entries(export) == set(given_rights(agreements(raw()), NOW))
    assert export.left_out == []


def test_a_certificate_is_named_by_its_common_name_and_needs_no_password() -> None:
    document = with_principals(producer=["CN=relay.bnnk"], consumer=["bnnk.reader"])
    export = exported(document)
    users = of_kind(export, "KafkaUser")
    assert users["relay.bnnk"]["authentication"] == {"type": "tls-external"}
    assert users["bnnk.reader"]["authentication"] == {"type": "scram-sha-512"}
    assert entries(export) == set(given_rights(agreements(document), NOW))


@pytest.mark.parametrize(
    ("principal", "why"),
    [
        ("Relay", "Kubernetes allows small letters, digits, dots and hyphens in a name"),
        ("relay@bnnk", "Kubernetes allows small letters, digits, dots and hyphens in a name"),
        ("relay.", "Kubernetes allows small letters, digits, dots and hyphens in a name"),
        ("CN=Relay", "Kubernetes allows small letters, digits, dots and hyphens in a name"),
        (f"CN={'a' * 65}", "Kubernetes allows small letters, digits, dots and hyphens in a name"),
        ("CN=relay,O=bnnk", "Strimzi knows no subject with more than one attribute"),
        ("CN=relay+O=bnnk", "Strimzi knows no subject with more than one attribute"),
        ("O=bnnk", "Strimzi knows no subject but CN=…"),
    ],
)
def test_a_principal_that_strimzi_cannot_name_is_told(principal: str, why: str) -> None:
    document = with_principals(producer=[principal])
    export = exported(document)
    lost = set(given_rights(agreements(document), NOW)) - entries(export)
    assert {each.principal for each in lost} == {f"User:{principal}"}
    assert list(export.left_out) == [f"{principal}, which has {len(lost)} rights: {why}"]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("sinergi-clients-ca-cert", "sinergi"),
        ("sinergi-keys", "sinergi"),
        ("sinergi-databases", "sinergi"),
        ("sinergi", "sinergi"),
        ("bus-cluster-ca", "bus"),
        ("bus-brokers-0", "bus"),
    ],
)
def test_a_user_whose_password_would_overwrite_a_secret_of_the_cluster_is_refused(
    name: str, begins: str
) -> None:
    document = with_principals(consumer=[name])
    export = strimzi_export(agreements(document), NOW, StrimziCluster("bus"))
    (line,) = export.left_out
    assert line.startswith(f"{name}, which has ")
    assert line.endswith(
        f"its Secret might be one of the cluster's own, whose names begin with {begins}"
    )
    assert name not in {each["metadata"]["name"] for each in export.resources}
    fine = with_principals(
        consumer=[f"CN={name}"], producer=["sinergi-rekaan.producer", "business"]
    )
    assert not strimzi_export(agreements(fine), NOW, StrimziCluster("bus")).left_out


def test_of_two_principals_that_would_share_a_name_one_is_told() -> None:
    export = exported(with_principals(producer=["CN=bnnk"], consumer=["bnnk"]))
    (line,) = export.left_out
    assert line.startswith("bnnk, which has ")
    assert line.endswith(": its KafkaUser would have the name of that of CN=bnnk")


@pytest.mark.parametrize("mine", ["CN=polresta.reader", "relay"])
def test_nobody_takes_the_user_of_another_agency_by_the_name_of_its_own_principal(
    mine: str,
) -> None:
    """Applied, the user of the one would replace that of the other."""
    document = with_principals(producer=[mine])
    document["parties"][POLRESTA]["principals"] = {"consumer": ["polresta.reader", "CN=relay"]}
    pairs = {
        "CN=polresta.reader": f"polresta.reader of {POLRESTA} and CN=polresta.reader of {BNNK}",
        "relay": f"relay of {BNNK} and CN=relay of {POLRESTA}",
    }
    with pytest.raises(errors.ExportRefused, match=f"{pairs[mine]} would have one KafkaUser"):
        exported(document)


def test_a_user_whose_agreements_have_ended_is_written_without_rights() -> None:
    """`kubectl apply` would leave alone what is not written, with all its rights."""
    document = raw(in_force={"from": year(2020), "until": year(2026)})
    before, after = exported(document, at=datetime(2025, 1, 1, tzinfo=UTC)), exported(document)
    assert of_kind(before, "KafkaUser").keys() == of_kind(after, "KafkaUser").keys()
    assert entries(before)
    assert entries(after) == set()


def test_a_topic_outlasts_its_agreement_and_does_not_precede_it() -> None:
    """A topic that is missing from the resources is deleted by whoever prunes."""
    ended = raw(in_force={"from": year(2020), "until": year(2021)})
    assert of_kind(exported(ended), "KafkaTopic") == of_kind(exported(raw()), "KafkaTopic")
    assert of_kind(exported(ended, at=datetime(2019, 1, 1, tzinfo=UTC)), "KafkaTopic") == {}


def test_a_topic_of_an_unknown_event_type_is_told_unless_it_is_named() -> None:
    document = raw()
    document["events"]["transferr"] = document["events"].pop("transfer")
    document["auditors"] = {}
    left_out = exported(document).left_out
    assert left_out
    assert all("transferr is no event type of this version" in each for each in left_out)
    export = strimzi_export(agreements(document), NOW, CLUSTER, ["transferr"])
    assert export.left_out == []


def test_the_brokers_are_those_of_every_bus() -> None:
    export = exported(raw())
    (kafka,) = (each["spec"]["kafka"] for each in export.resources if each["kind"] == "Kafka")
    assert kafka["config"]["min.insync.replicas"] == "2"
    assert kafka["config"]["auto.create.topics.enable"] == "false"
    assert all(each["tls"] and each["authentication"] for each in kafka["listeners"])
    assert kafka["authorization"] == {"type": "simple"}
    (pool,) = of_kind(export, "KafkaNodePool").values()
    assert pool["replicas"] == 3
    five = strimzi_export(agreements(raw()), NOW, StrimziCluster("bus", copies=5))
    assert {each["replicas"] for each in of_kind(five, "KafkaTopic").values()} == {5}
    (pool,) = of_kind(five, "KafkaNodePool").values()
    assert pool["replicas"] == 5


# By Strimzi's own classes


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> StrictReader:
    return StrictReader(tmp_path_factory.mktemp("classes"))


def everything() -> list[dict[str, Any]]:
    """Resources of every kind, with every kind of user."""
    ended = raw(in_force={"from": year(2020), "until": year(2026)})
    found = exported(with_principals(producer=["CN=relay.bnnk"])).resources
    return deepcopy([*found, *exported(ended).resources])


@pytest.mark.long
def test_strimzi_reads_every_resource_and_knows_every_field(reader: StrictReader) -> None:
    resources = everything()
    assert reader.read(as_yaml(resources)) == [f"read {len(resources)}"]


def misnamed(kind: str, *path: str) -> bytes:
    """The resources, with a field of the first resource of a kind misnamed."""
    resources = everything()
    at: Any = next(each for each in resources if each["kind"] == kind)
    for key in path[:-1]:
        at = at[int(key) if isinstance(at, list) else key]
    at[f"{path[-1]}x"] = at.pop(path[-1])
    return as_yaml(resources)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "path", "what"),
    [
        ("Kafka", "spec.kafka.listeners.0.authentication", 'Unrecognized field "authenticationx"'),
        ("KafkaNodePool", "spec.replicas", 'Unrecognized field "replicasx"'),
        ("KafkaTopic", "spec.partitions", 'Unrecognized field "partitionsx"'),
        ("KafkaUser", "spec.authorization.acls.0.resource.patternType", "patternTypex"),
        ("KafkaUser", "spec", 'Unrecognized field "specx"'),
    ],
)
def test_strimzi_refuses_a_field_that_it_does_not_know(
    reader: StrictReader, kind: str, path: str, what: str
) -> None:
    first, last = reader.read(misnamed(kind, *path.split(".")))
    assert first.startswith(f"{kind} ")
    assert what in first
    assert last == f"read {len(everything()) - 1}"


@pytest.mark.long
def test_what_strimzi_requires_is_missed_and_what_it_sets_itself_is_refused(
    reader: StrictReader,
) -> None:
    resources = everything()
    del resources[1]["spec"]["roles"]
    resources[0]["spec"]["kafka"]["config"]["ssl.keystore.type"] = "PEM"
    kafka, pool, *_ = reader.read(as_yaml(resources))
    assert kafka == "Kafka bus: Strimzi does not take Kafka.Spec.Kafka.ssl.keystore.type"
    assert pool == "KafkaNodePool bus-brokers: KafkaNodePool.Spec.Roles is required"


# The command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An operator's folder, with an agreement."""
    (tmp_path / "agreements").mkdir()
    agree(tmp_path, agreement(in_force={"from": year(2020)}))
    settings = {"agreements": "agreements", "unsigned_agreements": True}
    (tmp_path / "sinergi.toml").write_text(tomli_w.dumps(settings))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def agree(folder: Path, document: dict[str, Any]) -> None:
    (folder / "agreements/pks.toml").write_text(tomli_w.dumps(document))


def export(*options: str) -> int:
    return run(["provision", "export", *options])


def kinds(text: str) -> Iterable[str]:
    return [each["kind"] for each in yaml.safe_load_all(text)]


def test_the_resources_are_written_for_the_cluster_that_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--cluster", "bnnk-bus", "--expose", "nodeport", "--disk", "2Ti")
    assert export("--format", "strimzi", *options, "--out", "bus.yaml") == 0
    assert capsys.readouterr().out == ""
    kafka, pool, *others = yaml.safe_load_all((folder / "bus.yaml").read_text())
    assert kafka["metadata"]["name"] == "bnnk-bus"
    assert {each["type"] for each in kafka["spec"]["kafka"]["listeners"]} == {"nodeport"}
    assert pool["spec"]["storage"]["volumes"][0]["size"] == "2Ti"
    labels = {each["metadata"]["labels"]["strimzi.io/cluster"] for each in (pool, *others)}
    assert labels == {"bnnk-bus"}
    assert export("--out", "bus.yaml") == 2
    assert "bus.yaml already exists" in capsys.readouterr().err
    assert export("--out", "bus.yaml", "--force") == 0


@pytest.mark.usefixtures("folder")
def test_without_a_file_the_resources_go_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert export() == 0
    found = kinds(capsys.readouterr().out)
    assert {*found} == {"Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser"}


def test_what_is_not_exported_is_told_and_the_rest_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = agreement(in_force={"from": year(2020)})
    document["parties"][LAPAS]["principals"] = {"producer": ["CN=relay,O=Lapas"]}
    agree(folder, document)
    assert export() == 1
    out, err = capsys.readouterr()
    assert "KafkaUser" in kinds(out)
    line = "sinergi: not exported: CN=relay,O=Lapas, which has 5 rights: Strimzi knows no subject"
    assert err.splitlines() == [f"{line} with more than one attribute"]


def test_what_is_refused_writes_no_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = agreement(in_force={"from": year(2020)})
    document["parties"][DUA]["principals"] = {"producer": [f"CN={LAPAS}.producer"]}
    agree(folder, document)
    out = folder / "bus.yaml"
    assert export("--out", str(out)) == 2
    assert not out.exists()
    assert "let one of the agreements name another principal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("--format helm", "'helm' is not"),
        ("--cluster Bus", "'Bus' is no name; write"),
        (f"--cluster {'a' * 33}", "is no name"),
        ("--cluster -a", "'-a' is no name"),
        ("--cluster a.b", "'a.b' is no name"),
        ("--disk 10", "'10' is no size; write 500Gi or 2Ti"),
        ("--disk 0Gi", "'0Gi' is no size"),
        ("--expose everywhere", "'everywhere' is not"),
        ("--out none/bus.yaml", "none/bus.yaml"),
        ("--out agreements", "agreements"),
        ("--set agreements=none", "none"),
    ],
)
def test_wrong_input_is_told_in_one_line_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str], options: str, what: str
) -> None:
    before = sorted(folder.rglob("*"))
    assert run([*setting(options), "provision", "export", *rest(options)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert what in err
    assert "Traceback" not in err
    assert sorted(folder.rglob("*")) == before


def setting(options: str) -> list[str]:
    return options.split() if options.startswith("--set") else []


def rest(options: str) -> list[str]:
    return [] if options.startswith("--set") else options.split()
