"""What the agreements need, as resources for Strimzi, which runs Kafka on Kubernetes.

    Kafka           the cluster, with TLS everywhere and rights by an access control list
    KafkaNodePool   its machines, each a broker and a controller (KRaft)
    KafkaTopic      a topic, named as the topic is
    KafkaUser       a principal with its rights, named as its SCRAM user or its certificate is

Strimzi knows two kinds of principals: the SCRAM user `<name>` and the certificate `CN=<name>`,
where `<name>` is the name of the KafkaUser. So a subject with more attributes cannot be exported,
nor can a name with capital letters.

What Kubernetes has and the resources lack would be deleted by whoever prunes, and would stay as it
is otherwise. So the resources have every topic that an agreement ever needed, and every principal
that an agreement ever named; one that has no rights now loses those that it had.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any

import yaml

from sinergi.broker.settings import KEEPING, as_properties, bus_settings
from sinergi.provision.rights import NO_GRACE, USER, given_rights, rights_with_grace
from sinergi.provision.topics import TopicAction, compare, wanted
from sinergi_schemas import errors
from sinergi_schemas.agreements.principals import is_subject
from sinergi_schemas.plain_text import counted, listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from sinergi.provision.rights import AclEntry, GivenRight
    from sinergi.provision.topics import TopicStep, WantedTopic
    from sinergi_schemas.agreements.collection import Agreements

_API = "kafka.strimzi.io/v1"
_LEAST_BROKERS = 3
# A name of a Kubernetes resource (RFC 1123, a subdomain).
_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_MOST_NAME, _MOST_COMMON_NAME, _MOST_CLUSTER_NAME = 253, 64, 32
_COMMON_NAME = "CN="
_OURS = "sinergi"
_PATTERNS = {"LITERAL": "literal", "PREFIXED": "prefix"}
# Strimzi keeps 9090 and 9091 for controllers and brokers.
_PASSWORD_PORT, _CERTIFICATE_PORT = 9093, 9094


class Exposure(StrEnum):
    """How agencies reach the brokers: Strimzi's type of a listener."""

    INTERNAL = "internal"
    NODEPORT = "nodeport"
    LOADBALANCER = "loadbalancer"


@dataclass(frozen=True, slots=True)
class StrimziCluster:
    """The cluster that the resources describe.

    Attributes:
        name: of the Kafka resource, which all others name.
        disk: the size of each broker's disk, such as `100Gi`.
        copies: of each partition; None for three.
    """

    name: str
    exposure: Exposure = Exposure.INTERNAL
    disk: str = "100Gi"
    copies: int | None = None

    @property
    def replication(self) -> int:
        """The copies of each partition."""
        return self.copies or _LEAST_BROKERS

    @property
    def brokers(self) -> int:
        """How many brokers there are."""
        return max(_LEAST_BROKERS, self.replication)


@dataclass(frozen=True, slots=True)
class StrimziExport:
    """Resources, and what cannot be one.

    Attributes:
        resources: each a document of Kubernetes.
        left_out: a line for each topic and each principal without a resource, with the reason.
    """

    resources: Sequence[dict[str, Any]]
    left_out: Sequence[str]


def is_cluster_name(text: str) -> bool:
    """Whether Strimzi can name the resources that it makes after a cluster of this name."""
    return len(text) <= _MOST_CLUSTER_NAME and re.fullmatch(_LABEL, text) is not None


def is_disk_size(text: str) -> bool:
    """Whether it is a size as Kubernetes writes it, in whole MiB, GiB or TiB."""
    return re.fullmatch(r"[1-9][0-9]{0,5}[MGT]i", text) is not None


def strimzi_export(
    agreements: Agreements,
    at: datetime,
    cluster: StrimziCluster,
    unknown_types: Sequence[str] = (),
    grace: timedelta = NO_GRACE,
) -> StrimziExport:
    """The resources that the agreements need.

    Args:
        at: the time of which the agreements in force give rights.
        unknown_types: event types whose topics are wanted although this version lacks them.
        grace: for how long after an agreement's end its rights are kept.

    Raises:
        ExportRefused: principals of two owners would have one KafkaUser.
    """
    topics = compare(_topics(agreements, at, unknown_types), {}, cluster.replication)
    users, left_out = _users(agreements, rights_with_grace(agreements, at, grace), cluster)
    refused = [f"{each.topic}: {each.what}" for each in topics if _is_refused(each)]
    resources = [
        _kafka(cluster),
        _node_pool(cluster),
        *(_topic(each, cluster) for each in topics if not _is_refused(each)),
        *users,
    ]
    return StrimziExport(resources, [*refused, *left_out])


def as_yaml(resources: Sequence[dict[str, Any]]) -> bytes:
    """Resources as YAML, a document for each."""
    # A mapping that stands in two places would be written once, and referred to by the other.
    dumper = type("_Dumper", (yaml.SafeDumper,), {"ignore_aliases": lambda *_: True})
    text = yaml.dump_all(
        resources, Dumper=dumper, explicit_start=True, sort_keys=False, width=100, encoding="utf-8"
    )
    assert isinstance(text, bytes)
    return text


def _topics(
    agreements: Agreements, at: datetime, unknown_types: Sequence[str]
) -> Iterator[WantedTopic]:
    """The topics that were ever wanted until now, in order."""
    moments = {at, *(each.starts for each in agreements if each.starts <= at)}
    found = {
        each.name: each
        for moment in sorted(moments)
        for each in wanted(agreements, moment, unknown_types)
    }
    yield from (found[name] for name in sorted(found))


def _is_refused(step: TopicStep) -> bool:
    return step.verdict is TopicAction.REFUSED


def _resource(
    kind: str, name: str, spec: dict[str, Any], cluster: StrimziCluster | None = None
) -> dict[str, Any]:
    labels = {"labels": {"strimzi.io/cluster": cluster.name}} if cluster else {}
    return {
        "apiVersion": _API,
        "kind": kind,
        "metadata": {"name": name, **labels},
        "spec": spec,
    }


def _kafka(cluster: StrimziCluster) -> dict[str, Any]:
    listeners = [
        ("agency", _PASSWORD_PORT, "scram-sha-512"),
        ("certificate", _CERTIFICATE_PORT, "tls"),
    ]
    spec = {
        "kafka": {
            "listeners": [
                {
                    "name": name,
                    "port": port,
                    "type": str(cluster.exposure),
                    "tls": True,
                    "authentication": {"type": login},
                }
                for name, port, login in listeners
            ],
            "authorization": {"type": "simple"},
            "config": as_properties((*bus_settings(cluster.brokers), *KEEPING)),
        },
        "entityOperator": {"topicOperator": {}, "userOperator": {}},
    }
    return _resource("Kafka", cluster.name, spec)


def _node_pool(cluster: StrimziCluster) -> dict[str, Any]:
    brokers = {
        "matchLabels": {"strimzi.io/cluster": cluster.name, "strimzi.io/broker-role": "true"}
    }
    apart = {"labelSelector": brokers, "topologyKey": "kubernetes.io/hostname"}
    disk = {"id": 0, "type": "persistent-claim", "size": cluster.disk, "deleteClaim": False}
    spec = {
        "replicas": cluster.brokers,
        "roles": ["controller", "broker"],
        "storage": {"type": "jbod", "volumes": [{**disk, "kraftMetadata": "shared"}]},
        "template": {
            "pod": {
                "affinity": {
                    "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}
                }
            }
        },
    }
    return _resource("KafkaNodePool", f"{cluster.name}-brokers", spec, cluster)


def _topic(step: TopicStep, cluster: StrimziCluster) -> dict[str, Any]:
    spec = {
        "partitions": step.partitions,
        "replicas": step.copies,
        "config": dict(sorted(step.settings.items())),
    }
    return _resource("KafkaTopic", step.topic, spec, cluster)


def _users(
    agreements: Agreements, given: Mapping[AclEntry, GivenRight], cluster: StrimziCluster
) -> tuple[list[dict[str, Any]], list[str]]:
    """A resource for each principal, and a line for each that cannot have one."""
    owners = {entry.principal: right.owner for entry, right in given_rights(agreements).items()}
    _check_owners(owners)
    users, left_out = [], []
    taken: dict[str, str] = {}
    for principal in sorted(owners):
        name = principal.removeprefix(USER)
        user = name.removeprefix(_COMMON_NAME)
        entries = [entry for entry in given if entry.principal == principal]
        why = _why_no_user(name, user) or _why_secret(name, cluster) or _why_taken(user, taken)
        if why:
            left_out.append(f"{name}, which has {counted(len(entries), 'right')}: {why}")
            continue
        taken[user] = name
        login = "tls-external" if is_subject(name) else "scram-sha-512"
        spec = {
            "authentication": {"type": login},
            "authorization": {"type": "simple", "acls": list(_rules(entries))},
        }
        users.append(_resource("KafkaUser", user, spec, cluster))
    return users, left_out


def _check_owners(owners: Mapping[str, str]) -> None:
    """Refuse a certificate CN=name beside the SCRAM user `name` of another owner.

    Whichever of them was left out, the KafkaUser of the other one would take its place, and an
    agency could so end another's rights by the name of its own principal.

    Args:
        owners: of all principals.

    Raises:
        ExportRefused: with a line for each pair.
    """
    found = []
    for principal, owner in sorted(owners.items()):
        name = principal.removeprefix(USER)
        other = f"{USER}{_COMMON_NAME}{name}"
        if owners.get(other, owner) != owner:
            what = f"{name} of {owner} and {_COMMON_NAME}{name} of {owners[other]} would have one"
            found.append(f"{what} KafkaUser; let one of the agreements name another principal")
    if found:
        raise errors.ExportRefused(listing(found))


def _why_no_user(name: str, user: str) -> str:
    """Why a principal cannot be a KafkaUser; empty if it can."""
    if is_subject(name) and not name.startswith(_COMMON_NAME):
        return "Strimzi knows no subject but CN=…"
    if is_subject(name) and ("," in user or "+" in user):
        return "Strimzi knows no subject with more than one attribute"
    most = _MOST_COMMON_NAME if is_subject(name) else _MOST_NAME
    if not _NAME.fullmatch(user) or len(user) > most:
        return "Kubernetes allows small letters, digits, dots and hyphens in a name"
    return ""


def _why_secret(name: str, cluster: StrimziCluster) -> str:
    """Why the password of a SCRAM user would overwrite another Secret; empty if it would not.

    Strimzi keeps it in a Secret with the user's name. Those of the cluster's own certificates
    begin with the cluster's name, and those of the processes in `deploy/kubernetes` with ours.
    """
    begins = next((each for each in {cluster.name, _OURS} if f"{name}-".startswith(f"{each}-")), "")
    if is_subject(name) or not begins or "." in name:
        return ""
    return f"its Secret might be one of the cluster's own, whose names begin with {begins}"


def _why_taken(user: str, taken: dict[str, str]) -> str:
    return f"its KafkaUser would have the name of that of {taken[user]}" if user in taken else ""


def _rules(entries: Iterable[AclEntry]) -> Iterator[dict[str, Any]]:
    """The rights of one principal, a rule for each topic or group."""

    def key(entry: AclEntry) -> tuple[str, str, str]:
        return entry.resource, entry.name, entry.pattern

    for (resource, name, pattern), found in groupby(sorted(entries, key=key), key):
        yield {
            "resource": {"type": resource.lower(), "name": name, "patternType": _PATTERNS[pattern]},
            "operations": sorted(entry.operation.capitalize() for entry in found),
        }
