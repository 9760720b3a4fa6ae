"""The catalogue of schemas: by fingerprint, by event type and version, with their wire ids.

The fingerprint of a schema is the SHA-256 of the bytes of its file. It is not made of Avro's
Parsing Canonical Form, because that drops logical types: a decimal and plain bytes would have the
same fingerprint.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sinergi_schemas import errors
from sinergi_schemas.avro_types import shape
from sinergi_schemas.files.input_file import read_regular
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.topics import is_slug

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from importlib.resources.abc import Traversable

    from sinergi_schemas.avro_types.nodes import RecordType

_IDS = "ids.toml"
_MOST_BYTES = 1024 * 1024
_VERSION = re.compile(r"([1-9][0-9]*)\.avsc")


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of the schema of an event type.

    Attributes:
        version: 0 if it is not installed here but comes from another agency.
        id: its number in the Confluent framing. It is unique, and never given to another schema; 0
            if it is not installed here.
        text: the bytes of its file.
        fingerprint: the SHA-256 of these bytes, 32 bytes.
        parsed: the Avro schema as `json` reads it, for fastavro.
        event: the Avro schema as typed nodes, for everything else.
    """

    event_type: str
    version: int
    id: int
    text: bytes = field(repr=False)
    fingerprint: bytes
    parsed: dict[str, Any] = field(repr=False, compare=False)
    event: RecordType = field(repr=False, compare=False)

    @classmethod
    def from_bytes(cls, event_type: str, version: int, schema_id: int, text: bytes) -> Schema:
        """Make a schema of the bytes of its file.

        The same rules hold for a schema of another agency. Whether it is compatible with other
        versions, `avro_types.compatibility` says.

        Raises:
            SchemaRefused: the bytes are not JSON, or the shape of the schema is not safe.
        """
        name = f"{event_type}/{version}"
        shape.check_size(name, text)
        try:
            parsed = json.loads(
                text.decode(), object_pairs_hook=_distinct, parse_constant=_refuse_constant
            )
        except (ValueError, RecursionError):
            what = "it is not JSON in UTF-8, or has a name twice in one object"
            raise errors.SchemaRefused(name, what) from None
        event = shape.parse(name, parsed)
        return cls(event_type, version, schema_id, text, sha256(text).digest(), parsed, event)

    @classmethod
    def of_another_agency(cls, event_type: str, text: bytes) -> Schema:
        """Make a schema that is not installed here.

        Raises:
            SchemaRefused: as `from_bytes`.
        """
        return cls.from_bytes(event_type, 0, 0, text)

    @property
    def name(self) -> str:
        """`<event-type>/<version>`; of one that is not installed, the fingerprint's beginning."""
        return f"{self.event_type}/{self.version or self.fingerprint.hex()[:8]}"


class Catalog:
    """A set of schemas: of each event type, all versions."""

    def __init__(self, schemas: Iterable[Schema]) -> None:
        self._versions: dict[str, list[Schema]] = {}
        for each in sorted(schemas, key=lambda each: (each.event_type, each.version)):
            self._versions.setdefault(each.event_type, []).append(each)

    @classmethod
    def load(cls, folder: Traversable) -> Catalog:
        """Read a folder that holds `<event-type>/<n>.avsc` and `ids.toml`.

        Raises:
            SchemaRefused: a file cannot be read or is not a schema of safe shape, a version is
                missing, a file has no id, an id has no file or is given twice, or two files are
                the same.
        """
        try:
            found = {f"{name}/{n}": (name, n, text) for name, n, text in _files(folder)}
        except OSError as why:
            what = f"it {unread(why, is_folder=True)}"
            raise errors.SchemaRefused(str(folder), what) from why
        if not found:
            raise errors.SchemaRefused(str(folder), "it holds no <event-type>/<version>.avsc")
        ids = _ids(folder, found.keys())
        schemas = [
            Schema.from_bytes(name, version, ids[key], text)
            for key, (name, version, text) in found.items()
        ]
        _check_versions(schemas)
        return cls(schemas)

    @classmethod
    @cache
    def shipped(cls) -> Catalog:
        """The schemas that are part of this version of Sinergi."""
        return cls.load(files("sinergi_schemas") / "avro")

    @property
    def event_types(self) -> tuple[str, ...]:
        """All event types, sorted."""
        return tuple(self._versions)

    def all(self) -> tuple[Schema, ...]:
        """All schemas, sorted by event type and version."""
        return tuple(each for versions in self._versions.values() for each in versions)

    def versions(self, event_type: str) -> tuple[Schema, ...]:
        """All versions of an event type, the oldest first.

        Raises:
            EventTypeUnknown: the catalogue has no such event type.
        """
        if event_type not in self._versions:
            raise errors.EventTypeUnknown(event_type, self.event_types)
        return tuple(self._versions[event_type])

    def newest(self, event_type: str) -> Schema:
        """The newest version of an event type.

        Raises:
            EventTypeUnknown: the catalogue has no such event type.
        """
        return self.versions(event_type)[-1]

    def named(self, name: str) -> Schema:
        """The schema of a name.

        Args:
            name: `<event-type>/<version>`, or `<event-type>` for the newest version.

        Raises:
            EventTypeUnknown: the catalogue has no such event type.
            VersionUnknown: the event type has no such version.
        """
        event_type, slash, version = name.partition("/")
        newest = self.newest(event_type)
        for each in self.versions(event_type):
            if str(each.version) == version or (each is newest and not slash):
                return each
        raise errors.VersionUnknown(event_type, version, newest.version)

    def by_fingerprint(self, fingerprint: bytes) -> Schema | None:
        """The schema of a fingerprint; None if the catalogue does not have it."""
        return self._by_fingerprint.get(fingerprint)

    @cached_property
    def _by_fingerprint(self) -> dict[bytes, Schema]:
        return {each.fingerprint: each for each in self.all()}


def _files(folder: Traversable) -> Iterator[tuple[str, int, bytes]]:
    """The event type, the version and the bytes of every file of a schema."""
    for inner in folder.iterdir():
        if not inner.is_dir() or inner.name.startswith((".", "__")):
            continue
        if not is_slug(inner.name):
            what = "a folder is named as its event type: lower-case words joined by hyphens"
            raise errors.SchemaRefused(inner.name, what)
        for path in inner.iterdir():
            matched = _VERSION.fullmatch(path.name)
            if matched is None:
                raise errors.SchemaRefused(f"{inner.name}/{path.name}", "it is not <n>.avsc")
            try:
                data = _read(path)
            except OSError as why:
                what = f"it {unread(why)}"
                raise errors.SchemaRefused(f"{inner.name}/{path.name}", what) from None
            yield inner.name, int(matched[1]), data


def _read(path: Traversable) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: it cannot be read, or is larger than any file of a catalogue.
    """
    if not isinstance(path, Path):  # it is in an archive that holds the package
        return path.read_bytes()
    return read_regular(path, _MOST_BYTES)[1]


def _ids(folder: Traversable, names: Collection[str]) -> dict[str, int]:
    """The id of each schema.

    Args:
        folder: the folder of the catalogue.
        names: the names of all schemas in it.

    Raises:
        SchemaRefused: a schema has no id, an id has no schema, or two have the same one.
    """
    try:
        ids = tomllib.loads(_read(folder / _IDS).decode("utf-8-sig"))
    except (OSError, ValueError):
        raise errors.SchemaRefused(_IDS, "it is missing or not TOML in UTF-8") from None
    for name, number in ids.items():
        if type(number) is not int or not 0 < number < 1 << 31:
            raise errors.SchemaRefused(_IDS, f"the id of {name!r} is not a number from 1 on")
        if name not in names:
            raise errors.SchemaRefused(_IDS, f"it names {name!r}, and no file bears this name")
    for name in names:
        if name not in ids:
            raise errors.SchemaRefused(name, f"it has no id; add the next free one to {_IDS}")
    if len(set(ids.values())) != len(ids):
        raise errors.SchemaRefused(_IDS, "an id is given twice")
    return ids


def _check_versions(schemas: Iterable[Schema]) -> None:
    """Check that no two files are the same, and that no version is missing.

    Raises:
        SchemaRefused: one of these is not so.
    """
    seen: dict[bytes, Schema] = {}
    versions: dict[str, set[int]] = {}
    for each in schemas:
        if each.fingerprint in seen:
            what = f"it is the same file as {seen[each.fingerprint].name}"
            raise errors.SchemaRefused(each.name, what)
        seen[each.fingerprint] = each
        versions.setdefault(each.event_type, set()).add(each.version)
    for event_type, found in versions.items():
        missing = set(range(1, max(found))) - found
        if missing:
            raise errors.SchemaRefused(f"{event_type}/{min(missing)}", "it is missing")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. A name that stands in it twice is refused: readers differ on which counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse_constant(_: str) -> NoReturn:
    """Refuse NaN and Infinity: they are not JSON, but Python reads them."""
    raise ValueError
