"""Replaces an agency's key for checkpoints: the key, and its lines in the next agreement.

A key ends by tree size. Up to the last size of the old key both keys sign, so that readers who have
not loaded the new agreement go on. Above it the new key signs alone, and such readers wait until
they have loaded the agreement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi.settings.own_keys import held_keys
from sinergi_producers.relay.sealing import TreeKey
from sinergi_schemas import errors
from sinergi_schemas.seal.keys import Algorithm, SigningKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sinergi_schemas.agreements.collection import Agreement, Agreements, Party
    from sinergi_schemas.agreements.model import ReplacedKey
    from sinergi_schemas.seal.keys import VerifyingKey

Sizes = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Successor:
    """The lines of the next version of one agreement.

    Attributes:
        before: the version that it follows.
        key: the new key of the agency.
        replaced: all its earlier keys with their last sizes, the oldest first.
    """

    before: Agreement
    agency: str
    key: VerifyingKey
    replaced: Sequence[tuple[VerifyingKey, Sizes]]

    def __str__(self) -> str:
        party = [
            f"[parties.{self.agency}]",
            f'keys = ["{self.key}"]',
            "replaced_keys = [",
            *(f'  {{ key = "{key}", until = {_inline(until)} }},' for key, until in self.replaced),
            "]",
        ]
        return "\n".join(
            [
                f"# The version that follows {self.before.path.name}: at the top of the file",
                f'replaces = ["{self.before.hash}"]',
                "",
                "# … and in the agency's part, in place of its keys",
                *party,
                "",
            ]
        )


def following_key(folder: Path, bus: str, agency: str, known: Sequence[VerifyingKey]) -> SigningKey:
    """The agency's key that no agreement has yet; if there is none, it is made and saved.

    Raises:
        SettingsRefused: the folder cannot be read.
        KeyFileRefused: a file in the folder is no key, others may read it, or none can be written.
    """
    name = f"{bus}/{agency}"
    held = held_keys(folder)
    for key in held.values():
        if (key.name, key.algorithm) == (name, Algorithm.ED25519) and key.public not in known:
            return key
    made = SigningKey.generate(name)
    number = 2
    while folder / f"{agency}.{number}.key" in held:
        number += 1
    made.save(folder / f"{agency}.{number}.key")
    return made


def successors(
    agreements: Agreements,
    agency: str,
    key: VerifyingKey,
    sizes: Mapping[TreeKey, int],
    margin: int,
) -> list[Successor]:
    """The lines of the next version of each agreement that is the newest for one of its topics.

    Args:
        sizes: of the agency's trees, as they are sealed.
        margin: how many more leaves of each partition the old key signs.

    Raises:
        NotAgreed: no agreement lets the agency publish.
    """
    newest = {
        each.hash: each
        for topic in agreements.published_by(agency)
        for each in [next(a for a in agreements if a.covers(agency, topic.event_type))]
    }
    if not newest:
        raise errors.NotAgreed(f"sinergi.{agency}.*")
    found = []
    for each in newest.values():
        party = each.parties[agency]
        ends = {
            name: [
                sizes.get(TreeKey(name, number), 0) + margin for number in range(terms.partitions)
            ]
            for name, terms in each.events.items()
            if agency in terms.publishers
        }
        replaced = [
            *map(_unchanged, party.replaced_keys),
            (party.key, _raised(ends, party)),
        ]
        found.append(Successor(each, agency, key, replaced))
    return found


def _unchanged(each: ReplacedKey) -> tuple[VerifyingKey, Sizes]:
    return each.key, {name: [*sizes] for name, sizes in each.until.items()}


def _raised(ends: Sizes, party: Party) -> Sizes:
    """The last sizes of a key, none below that of the key that it replaced."""
    if not party.replaced_keys:
        return ends
    before = party.replaced_keys[-1].until
    return {name: [*map(max, sizes, before[name])] for name, sizes in ends.items()}


def _inline(until: Sizes) -> str:
    """A table on one line, as TOML wants it inside a list."""
    parts = (f"{name} = [{', '.join(map(str, sizes))}]" for name, sizes in sorted(until.items()))
    return f"{{ {', '.join(parts)} }}"
