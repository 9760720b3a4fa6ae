"""Contradictions between two agreements of one folder, and agreements that are missing from it.

With a contradiction, two readers could interpret a topic differently. Without a replaced agreement
or key, events that were sealed under it cannot be checked.
"""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING

from sinergi_schemas.agreements.replacement import replaced_by
from sinergi_schemas.files.toml_file import FileProblem
from sinergi_schemas.plain_text import some
from sinergi_schemas.seal.note import key_names

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from pathlib import Path

    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.topics import Topic


def contradictions(agreements: tuple[Agreement, ...]) -> Iterator[tuple[Path, FileProblem]]:
    """All problems, each with the path of the newer one of the two files.

    Args:
        agreements: all loaded agreements, the newest first.
    """
    for path, digest in missing_files(agreements):
        yield path, _missing(digest)
    yield from contradictions_between(agreements)


def missing_files(agreements: tuple[Agreement, ...]) -> Iterator[tuple[Path, str]]:
    """Each earlier file that is not among the agreements: who replaces it, and its SHA-256."""
    known = {each.hash for each in agreements}
    for each in agreements:
        for digest in sorted({*each.replaces} - known):
            yield each.path, digest


def contradictions_between(
    agreements: tuple[Agreement, ...],
) -> Iterator[tuple[Path, FileProblem]]:
    """As `contradictions`, for some of the files of a folder: none is missed.

    Args:
        agreements: the newest first.
    """
    by_hash = {each.hash: each for each in agreements}
    comparable = _comparable(agreements)
    for index, one in enumerate(agreements):
        for digest in one.replaces:
            if digest in by_hash and one.starts < by_hash[digest].starts:
                what = f"is before that of {by_hash[digest].path}, which this file replaces"
                yield one.path, FileProblem("in_force.from", f"{what}; write a later date")
        for other in (agreements[older] for older in sorted(comparable[index])):
            yield from ((one.path, each) for each in _between(one, other))
            if _common(one, other) and other.hash not in replaced_by(one, by_hash):
                yield one.path, _not_replaced(one, other)


def _comparable(agreements: tuple[Agreement, ...]) -> list[set[int]]:
    """For each agreement the older ones that may contradict it, as indexes.

    They are those that say something else about the same thing, or cover the same topic. A bus may
    have thousands of agreements, and most of them have one reader in common, with the same keys.
    """
    said: dict[Hashable, dict[Hashable, list[int]]] = {}
    for index, each in enumerate(agreements):
        for subject, what in _statements(index, each):
            said.setdefault(subject, {}).setdefault(what, []).append(index)
    found: list[set[int]] = [set() for _ in agreements]
    for different in said.values():
        for these, others in combinations(different.values(), 2):
            for one, other in product(these, others):
                found[min(one, other)].add(max(one, other))
    return found


def _statements(index: int, agreement: Agreement) -> Iterator[tuple[Hashable, Hashable]]:
    """What an agreement says, each with its subject. What `_between` compares has to be in it."""
    yield "bus", agreement.bus
    # Two files that are the same, or cover the same topic, are compared whatever they say.
    yield ("hash", agreement.hash), index
    for topic in agreement.topics():
        yield ("topic", topic), index
    for principal, owner in agreement.owners():
        yield ("principal", principal), owner
    for agency, party in agreement.parties.items():
        yield ("keys", agency), party.keys
        yield ("receipt keys", agency), party.receipt_keys
        for key in party.keys:
            yield ("key", key.public), key.name


def _names(topics: list[Topic]) -> str:
    return some((each.name for each in topics), ", ")


def _missing(digest: str) -> FileProblem:
    what = f"the earlier file with the SHA-256 {digest} is missing, and events name it"
    return FileProblem("replaces", f"{what}; put it back, or readers refuse these events")


def _not_replaced(one: Agreement, other: Agreement) -> FileProblem:
    names = _names(_common(one, other))
    if one.starts == other.starts:
        what = f"covers {names} from the same time on as {other.path}, and neither names the other"
        hint = "the newer file must name the older one by its SHA-256, and start later"
        return FileProblem("replaces", f"{what}; {hint}")
    what = f"does not name {other.path}, an earlier agreement that covers {names}"
    return FileProblem("replaces", f'{what}; add "{other.hash}" to it')


def _common(one: Agreement, other: Agreement) -> list[Topic]:
    return sorted({*one.topics()} & {*other.topics()})


def _between(one: Agreement, other: Agreement) -> Iterator[FileProblem]:
    if one.hash == other.hash:
        yield FileProblem("", f"is the same file as {other.path}; remove one")
        return
    if one.bus != other.bus:
        yield FileProblem(
            "bus", f"is {one.bus}, but {other.bus} in {other.path}; both must name the same bus"
        )
    owners = {key.public: key.name for party in other.parties.values() for key in party.keys}
    for name, party in one.parties.items():
        for key in party.keys:
            owner = owners.get(key.public, key.name)
            if owner != key.name:
                what = f"{key.name} is the same key as {owner} in {other.path}; generate another"
                yield FileProblem(f"parties.{name}.keys", what)
    yield from _of_principals(one, other)
    for name in sorted(one.parties.keys() & other.parties.keys()):
        yield from _of_keys(name, one, other)
        yield from _of_receipt_keys(name, one, other)
    for topic in _common(one, other):
        yield from _about(topic, one, other)


def _of_keys(agency: str, one: Agreement, other: Agreement) -> Iterator[FileProblem]:
    """Two files may have different keys of an agency only if one file lists both as replaced."""
    ours, theirs = (each.parties[agency].keys for each in (one, other))
    at = f"parties.{agency}.keys"
    common = min(len(ours), len(theirs))
    if ours[:common] != theirs[:common]:
        what = f"is {key_names(ours)}, but {key_names(theirs)} in {other.path}, and neither file"
        hint = "lists the other's key in replaced_keys; ask the agency, and remove the wrong file"
        yield FileProblem(at, f"{what} {hint}")
    elif len(ours) < len(theirs) and any(each.agency == agency for each in _common(one, other)):
        newer = key_names(theirs[common : common + 1])
        what = f"is {key_names(ours[-1:])}, but {newer} of {other.path} replaces that key"
        yield FileProblem(at, f"{what}; this file is the newer one, so it must contain both")


def _of_principals(one: Agreement, other: Agreement) -> Iterator[FileProblem]:
    """A principal has the rights of its owner, so all files must give it the same owner."""
    theirs = dict(other.owners())
    for principal, owner in sorted(one.owners()):
        if theirs.get(principal, owner) != owner:
            what = f"{principal} is a principal of {theirs[principal]} in {other.path}"
            yield FileProblem(f"{owner}.principals", f"{what}; give each its own")


def _of_receipt_keys(agency: str, one: Agreement, other: Agreement) -> Iterator[FileProblem]:
    """The newer file must contain every receipt key that the older file has for a database."""
    ours, theirs = (each.parties[agency].receipt_keys for each in (one, other))
    databases = {each.database for each in ours}
    for lost in theirs:
        if lost.database in databases and lost not in ours:
            what = f"database {lost.database} lacks {key_names([lost.key])} of {other.path}"
            hint = "keep it after the new one, since only it verifies the receipts that it signed"
            yield FileProblem(f"parties.{agency}.receipt_keys", f"{what}; {hint}")


def _about(topic: Topic, one: Agreement, other: Agreement) -> Iterator[FileProblem]:
    key = f"events.{topic.event_type}"
    ours, theirs = (each.events[topic.event_type].partitions for each in (one, other))
    if ours != theirs:
        what = f"is {ours} for {topic.name}, but {theirs} in {other.path}; it can never change"
        yield FileProblem(f"{key}.partitions", what)
    if one.starts == other.starts:
        what = f"is the same as in {other.path}, so it is unclear which applies to {topic.name}"
        yield FileProblem("in_force.from", what)
