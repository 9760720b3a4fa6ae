"""The catalogue of schemas: fingerprint → schema, newest version of an event type, wire id.

A schema's fingerprint is the SHA-256 of its file's bytes. Avro's Parsing Canonical Form is no
fingerprint here, since it drops logical types: a decimal and the bytes under it would be one.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sinergi_schemas import errors, shape
from sinergi_schemas.topics import is_slug

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable

_IDS = "ids.toml"
_VERSION = re.compile(r"([1-9][0-9]*)\.avsc")


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of one event type's contract.

    Attributes:
        id: its number in the Confluent framing, unique and never given again.
        text: the file's bytes.
        fingerprint: their SHA-256, 32 bytes.
        parsed: the Avro schema as JSON reads it.
    """

    event_type: str
    version: int
    id: int
    text: bytes = field(repr=False)
    fingerprint: bytes
    parsed: dict[str, Any] = field(repr=False, compare=False, hash=False)

    @classmethod
    def from_bytes(cls, event_type: str, version: int, schema_id: int, text: bytes) -> Schema:
        """A schema out of the bytes of its file.

        Raises:
            SchemaRefused: it is no JSON, or has no safe shape.
        """
        name = f"{event_type}/{version}"
        shape.check_size(name, text)
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            raise errors.SchemaRefused(name, "it is not JSON in UTF-8") from None
        shape.check(name, parsed)
        return cls(event_type, version, schema_id, text, sha256(text).digest(), parsed)

    @property
    def name(self) -> str:
        """`<event-type>/<version>`."""
        return f"{self.event_type}/{self.version}"


class Catalog:
    """A set of schemas, all versions of each event type."""

    def __init__(self, schemas: Iterable[Schema]) -> None:
        self._versions: dict[str, list[Schema]] = {}
        for each in sorted(schemas, key=lambda each: (each.event_type, each.version)):
            self._versions.setdefault(each.event_type, []).append(each)

    @classmethod
    def load(cls, folder: Traversable) -> Catalog:
        """Read `<event-type>/<n>.avsc` and `ids.toml` out of a folder.

        Raises:
            SchemaRefused: a file is unsafe or unreadable, a version or an id is missing, or an id
                is given twice.
        """
        ids = _ids(folder)
        schemas = [
            Schema.from_bytes(name, version, _id_of(ids, f"{name}/{version}"), path.read_bytes())
            for name, version, path in _paths(folder)
        ]
        if not schemas:
            raise errors.SchemaRefused(str(folder), "it holds no <event-type>/<version>.avsc")
        catalog = cls(schemas)
        for name in catalog.event_types:
            versions = [each.version for each in catalog.versions(name)]
            if versions != list(range(1, len(versions) + 1)):
                raise errors.SchemaRefused(name, f"its versions {versions} have a hole")
        return catalog

    @classmethod
    @cache
    def shipped(cls) -> Catalog:
        """The schemas that this version of Sinergi brings along."""
        return cls.load(files("sinergi_schemas") / "avro")

    @property
    def event_types(self) -> tuple[str, ...]:
        """All event types, sorted."""
        return tuple(self._versions)

    def all(self) -> tuple[Schema, ...]:
        """All schemas by event type and version."""
        return tuple(each for versions in self._versions.values() for each in versions)

    def versions(self, event_type: str) -> tuple[Schema, ...]:
        """All versions of an event type, the oldest first.

        Raises:
            EventTypeUnknown: there is no such event type.
        """
        if event_type not in self._versions:
            raise errors.EventTypeUnknown(event_type, ", ".join(self._versions))
        return tuple(self._versions[event_type])

    def newest(self, event_type: str) -> Schema:
        """The newest version of an event type.

        Raises:
            EventTypeUnknown: there is no such event type.
        """
        return self.versions(event_type)[-1]

    def by_fingerprint(self, fingerprint: bytes) -> Schema | None:
        """The schema of a fingerprint, if it is here."""
        return self._by_fingerprint.get(fingerprint)

    @cached_property
    def _by_fingerprint(self) -> dict[bytes, Schema]:
        return {each.fingerprint: each for each in self.all()}


def _ids(folder: Traversable) -> dict[str, int]:
    try:
        ids = tomllib.loads((folder / _IDS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise errors.SchemaRefused(_IDS, "it is missing or not TOML") from None
    for name, number in ids.items():
        if type(number) is not int or not 0 < number < 1 << 31:
            raise errors.SchemaRefused(_IDS, f"the id of {name} is not a number from 1 on")
    if len(set(ids.values())) != len(ids):
        raise errors.SchemaRefused(_IDS, "an id is given twice")
    return ids


def _id_of(ids: dict[str, int], name: str) -> int:
    if name not in ids:
        raise errors.SchemaRefused(name, f"it has no id; add the next free one to {_IDS}")
    return ids[name]


def _paths(folder: Traversable) -> Iterable[tuple[str, int, Traversable]]:
    for inner in folder.iterdir():
        if inner.is_dir() and is_slug(inner.name):
            for path in inner.iterdir():
                matched = _VERSION.fullmatch(path.name)
                if matched is None:
                    raise errors.SchemaRefused(f"{inner.name}/{path.name}", "it is not <n>.avsc")
                yield inner.name, int(matched[1]), path
