"""The steps from a key of an agency to the next one, as the files of agreements state them.

A file with `replaced_keys` states that each of these keys is followed by the next one, and the last
of them by the key that signs. Whoever writes a file can write any keys there. So a step counts only
if some file that states it has valid signatures by both of its keys: the replaced key itself agrees
to its end. Later files repeat the step, and rely on that file.

If the replaced key is lost, nobody can give that signature. Then each operator confirms the new key
by a setting, after comparing it with the agency by another way than the file's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi_schemas.agreements.model import Agreement, Party
    from sinergi_schemas.seal.keys import VerifyingKey


class KeyStep(NamedTuple):
    """A key of an agency, and the key that replaces it."""

    before: VerifyingKey
    after: VerifyingKey


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """What decides, beside a file itself, whose signatures it needs.

    Attributes:
        agreements: those of its folder; the file itself may be among them.
        witnesses: the hashes of the files in which a step has the signatures of both its keys.
        confirmed: keys that the operator has compared with their agencies.
    """

    agreements: Sequence[Agreement] = ()
    witnesses: Mapping[KeyStep, frozenset[str]] = field(default_factory=dict)
    confirmed: frozenset[VerifyingKey] = frozenset()

    def latest_key(self, party: Party) -> VerifyingKey:
        """The key that follows all others of an agency, so far as these files replace its key."""
        histories = [
            keys
            for each in self.agreements
            if party.agency in each.parties
            and (keys := each.parties[party.agency].keys)[: len(party.keys)] == party.keys
        ]
        return max((party.keys, *histories), key=len)[-1]

    def unwitnessed(self, agreement: Agreement, agency: str) -> list[KeyStep]:
        """The steps of a party that need the signature of the replaced key in this very file."""
        return [
            step
            for step in steps(agreement.parties[agency])
            if step.after not in self.confirmed
            and not self.witnesses.get(step, frozenset()) - {agreement.hash}
        ]


def steps(party: Party) -> Iterator[KeyStep]:
    """Each key of a party that another one replaces, the oldest first."""
    for before, after in pairwise(party.keys):
        yield KeyStep(before, after)
