"""The BagIt layout of a bundle (RFC 8493): its tag files, and the digests of all files.

evidence/bagit.txt                      the version of BagIt
evidence/bag-info.txt                   date, software, number of bytes and files
evidence/manifest-sha256.txt            the digest of each file below data/
evidence/tagmanifest-sha256.txt         the digest of each of the three above
evidence/data/…                         the payload
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = "evidence/"
DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

_PAYLOAD = "data/"
_BAGIT, _INFO = "bagit.txt", "bag-info.txt"
_MANIFEST, _TAG_MANIFEST = "manifest-sha256.txt", "tagmanifest-sha256.txt"
_TAGS = (_INFO, _BAGIT, _MANIFEST)
_LINE = re.compile(r"([0-9a-f]{64})  ([!-~]+)")


class BundleProblem(NamedTuple):
    """Something that is wrong with a file of a bundle.

    Attributes:
        file: its path in the bag.
        what: what is wrong, as the rest of a sentence that begins with the path.
    """

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


def bagged(payload: Mapping[str, bytes], date: str, software: str) -> dict[str, bytes]:
    """All files of a bag, by the names of their ZIP entries.

    Args:
        payload: the files by their paths, which begin with `data/`.
        date: the day on which it is made, as 2026-03-03.
        software: the program that makes it, with its version.
    """
    info = {
        "Bag-Software-Agent": software,
        "Bagging-Date": date,
        "Payload-Oxum": f"{sum(map(len, payload.values()))}.{len(payload)}",
    }
    tags = {
        _BAGIT: DECLARATION,
        _INFO: "".join(f"{name}: {value}\n" for name, value in info.items()).encode(),
        _MANIFEST: _manifest(payload),
    }
    tags[_TAG_MANIFEST] = _manifest(tags)
    return {f"{ROOT}{name}": data for name, data in {**payload, **tags}.items()}


def payload_of(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The payload of a bag, by paths that begin with `data/`.

    Args:
        files: by the names of their ZIP entries.
    """
    start = f"{ROOT}{_PAYLOAD}"
    return {name.removeprefix(ROOT): data for name, data in files.items() if name.startswith(start)}


def problems(files: Mapping[str, bytes]) -> list[BundleProblem]:
    """Why the files of a ZIP file are not a whole and unchanged bag; empty if they are.

    Args:
        files: by the names of their ZIP entries.
    """
    inside = {name.removeprefix(ROOT): data for name, data in files.items()}
    found = [
        BundleProblem(name, f"is not below {ROOT}") for name in files if not name.startswith(ROOT)
    ]
    payload = payload_of(files)
    tags = {name: inside[name] for name in _TAGS if name in inside}
    found += [
        BundleProblem(name, "is no file of a bundle")
        for name in inside
        if name not in payload and name not in (*_TAGS, _TAG_MANIFEST)
    ]
    found += _compared(_TAG_MANIFEST, inside.get(_TAG_MANIFEST), tags)
    found += [BundleProblem(name, "is missing") for name in _TAGS if name not in inside]
    found += _compared(_MANIFEST, inside.get(_MANIFEST), payload)
    if inside.get(_BAGIT, DECLARATION) != DECLARATION:
        found.append(BundleProblem(_BAGIT, "is not that of BagIt 1.0"))
    return list(dict.fromkeys(found))


def _manifest(files: Mapping[str, bytes]) -> bytes:
    """The digests of files, sorted by path (RFC 8493 §2.1.3)."""
    lines = (f"{sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return "".join(lines).encode()


def _compared(name: str, manifest: bytes | None, files: Mapping[str, bytes]) -> list[BundleProblem]:
    """Compare files with the manifest that lists them."""
    if manifest is None:
        return [BundleProblem(name, "is missing")]
    if manifest == _manifest(files):
        return []
    return list(_differences(name, manifest, files))


def _differences(name: str, manifest: bytes, files: Mapping[str, bytes]) -> Iterator[BundleProblem]:
    lines = manifest.decode("ascii", "replace").split("\n")
    listed = {}
    for line in lines[:-1]:
        matched = _LINE.fullmatch(line)
        if matched is None:
            yield BundleProblem(name, "has a line that is not a digest and a path")
        else:
            listed[matched[2]] = matched[1]
    if list(listed) != sorted(listed) or len(listed) != len(lines) - 1 or lines[-1]:
        yield BundleProblem(name, "does not list each file once, sorted by path")
    for path in sorted(listed.keys() | files.keys()):
        if path not in files:
            yield BundleProblem(path, f"is listed in {name}, and missing")
        elif path not in listed:
            yield BundleProblem(path, f"is not listed in {name}")
        elif sha256(files[path]).hexdigest() != listed[path]:
            yield BundleProblem(path, f"has another SHA-256 than {name} lists")
