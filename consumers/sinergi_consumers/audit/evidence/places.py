"""Where each file of a bundle's payload stands (docs/spec/bundle.md §3)."""

from __future__ import annotations

import re
from typing import NamedTuple

from sinergi_schemas.topics import Topic, TopicPartition, is_slug

CUSTODY = "data/custody.json"
SEARCH = "data/search.json"
KEYS = "data/keys.txt"
REPORT_HTML = "data/report.html"
STATEMENT = "data/statement.note"
REPORT_PDF = "data/report.pdf"
SINGLE = frozenset({CUSTODY, SEARCH, KEYS, STATEMENT, REPORT_HTML, REPORT_PDF})

_SLUG = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_TREE = rf"sinergi\.{_SLUG}\.{_SLUG}/{_NUMBER}"
_SHAPES = {
    "leaf": re.compile(rf"data/events/({_TREE})/({_NUMBER})\.leaf"),
    "document": re.compile(rf"data/events/({_TREE})/({_NUMBER})\.json"),
    "proof": re.compile(rf"data/events/({_TREE})/({_NUMBER})\.tlog-proof"),
    "receipt": re.compile(rf"data/events/({_TREE})/({_NUMBER})\.({_SLUG})\.({_SLUG})\.tlog-proof"),
    "checkpoint": re.compile(rf"data/trees/({_TREE})\.checkpoint"),
    "consistency": re.compile(rf"data/trees/({_TREE})\.heads"),
    "heads": re.compile(rf"data/heads/({_SLUG})\.heads"),
    "schema": re.compile(r"data/schemas/([0-9a-f]{64})\.avsc"),
    "agreement": re.compile(r"data/agreements/([0-9a-f]{64})\.toml"),
    "signatures": re.compile(r"data/agreements/([0-9a-f]{64})\.toml\.note"),
}


class EvidencePlace(NamedTuple):
    """The place of a leaf on the bus."""

    tp: TopicPartition
    leaf: int

    @property
    def stem(self) -> str:
        """The path of its files, without an ending."""
        return f"data/events/{self.tp}/{self.leaf}"

    @property
    def leaf_path(self) -> str:
        """The bytes that the leaf hash covers."""
        return f"{self.stem}.leaf"

    @property
    def document_path(self) -> str:
        """The event as JSON."""
        return f"{self.stem}.json"

    @property
    def proof_path(self) -> str:
        """The proof that the owner's checkpoint covers the leaf."""
        return f"{self.stem}.tlog-proof"

    def receipt_path(self, database: str) -> str:
        """The proof that a receipt covers the leaf.

        Args:
            database: the key's name, `<bus>/<reader>/<database>`.
        """
        reader, name = database.split("/")[-2:]
        return f"{self.stem}.{reader}.{name}.tlog-proof"


class PlacedFile(NamedTuple):
    """A file of the payload whose path says what it is.

    Attributes:
        kind: `leaf`, `document`, `proof`, `receipt`, `checkpoint`, `consistency`, `heads`,
            `schema`, `agreement` or `signatures`; `single` for a file with a fixed path.
        parts: what the path names, as text.
    """

    kind: str
    parts: tuple[str, ...]

    @property
    def tp(self) -> TopicPartition:
        """The topic-partition in the path."""
        topic, _, number = self.parts[0].rpartition("/")
        return TopicPartition(topic, int(number))

    @property
    def place(self) -> EvidencePlace:
        """The place of the leaf in the path."""
        return EvidencePlace(self.tp, int(self.parts[1]))


def checkpoint_path(tp: TopicPartition) -> str:
    """The owner's checkpoint of a topic-partition."""
    return f"data/trees/{tp}.checkpoint"


def consistency_path(tp: TopicPartition) -> str:
    """The proof that the tree of a topic-partition extends that of its owner's heads."""
    return f"data/trees/{tp}.heads"


def heads_path(agency: str) -> str:
    """The signed heads of an agency."""
    return f"data/heads/{agency}.heads"


def schema_path(fingerprint: bytes) -> str:
    """The file of a schema."""
    return f"data/schemas/{fingerprint.hex()}.avsc"


def agreement_path(digest: str) -> str:
    """The file of an agreement."""
    return f"data/agreements/{digest}.toml"


def signatures_path(digest: str) -> str:
    """The signatures of an agreement's parties."""
    return f"{agreement_path(digest)}.note"


def placed(path: str) -> PlacedFile | None:
    """What a path of the payload is; None if a bundle has no such file."""
    if path in SINGLE:
        return PlacedFile("single", (path,))
    for kind, shape in _SHAPES.items():
        if matched := shape.fullmatch(path):
            parts = matched.groups()
            return PlacedFile(kind, parts) if _is_place(parts[0]) else None
    return None


def _is_place(part: str) -> bool:
    """Whether the topic in a part, if it names one, has names of a possible length."""
    name = part.partition("/")[0]
    return "/" not in part or all(map(is_slug, name.split(".")[1:]))


def topic_of(tp: TopicPartition) -> Topic:
    """The topic of a topic-partition whose name was read from a path.

    Raises:
        ValueError: it is not the name of an event topic.
    """
    return Topic.parse(tp.topic)
