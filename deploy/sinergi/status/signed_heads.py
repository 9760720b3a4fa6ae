"""The newest heads that agencies have signed, among all that lies in their control topics.

Anybody who may write to a control topic can put old heads after the newest ones, any number of
times, or notes that claim any time. So the heads with the newest signed time count, wherever they
lie, and none is dropped unless newer ones were verified. The time in heads that only replaced keys
have signed does not count: such heads are used only where there are no others.

The last messages are read. If they show no heads of the last minutes, older ones may be the newest,
so these are read as well. If still older messages remain, the newest heads are unknown.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.clock import from_posix_time
from sinergi_schemas.seal import heads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka.ranges import RangeReader
    from sinergi_schemas.seal.heads import SignedHeads
    from sinergi_schemas.topics import TopicPartition

# The second step has the heads of a month, if no message was ever compacted.
LENGTHS = (5_000, 50_000)
_MOST_UNVERIFIED = 64
_MOST_UNVERIFIED_BYTES = 1024 * 1024
_MOST_DIGITS = 18
_KEY = b"heads"


@dataclass(frozen=True, slots=True)
class FoundHeads:
    """The heads of an agency.

    Attributes:
        heads: the newest that it has signed, with the lines that count; None without any.
        is_dated: whether their time counts; see `Agreements.is_dated`.
        fault: why its control topic has no valid heads, although there are some.
        unread: older messages of its control topic that may be newer heads, and were not read.
    """

    heads: SignedHeads | None = None
    fault: str | None = None
    unread: int = 0
    is_dated: bool = True

    @property
    def signed_at(self) -> datetime | None:
        """When it has signed them; None if that is unknown."""
        return from_posix_time(self.heads.posix_time) if self.heads and self.is_dated else None


def find_heads(
    reader: RangeReader,
    agreements: Agreements,
    controls: Mapping[str, TopicPartition],
    offsets: Mapping[TopicPartition, range],
    now: datetime,
) -> dict[str, FoundHeads]:
    """The newest heads of some agencies.

    Args:
        controls: the control topic of each agency.
        offsets: the offsets that each control topic has; one that is missing has no heads.

    Raises:
        SinergiError: see `RangeReader.messages`.
    """
    newest = {control: _Newest(agreements, agency) for agency, control in controls.items()}
    unread = dict(offsets)
    for length in LENGTHS:
        for control, received in reader.messages(_last(unread, length)):
            if received.key() == _KEY:
                newest[control].consider((received.value() or b"")[: heads.MOST_BYTES + 1])
        unread = {
            control: rest
            for control, each in unread.items()
            if (rest := each[:-length]) and not newest[control].is_fresh(now)
        }
    return {
        agency: newest[control].finish(len(unread.get(control, ())))
        for agency, control in controls.items()
    }


def _last(offsets: Mapping[TopicPartition, range], count: int) -> dict[TopicPartition, range]:
    return {tp: each[-count:] for tp, each in offsets.items()}


class _Newest:
    """Finds the newest valid heads among many notes: verifies and keeps only a few of them."""

    def __init__(self, agreements: Agreements, agency: str) -> None:
        self._agreements = agreements
        self._agency = agency
        self._keys = agreements.keys(agency)
        self._best: SignedHeads | None = None
        self._undated: SignedHeads | None = None
        self._fault: str | None = None
        self._unverified: dict[bytes, int] = {}
        self._bytes = 0
        self._seen: set[bytes] = set()

    def consider(self, note: bytes) -> None:
        """Consider a note that may hold heads of the agency."""
        at = _claimed_time(note)
        if self._best and at < self._best.posix_time:
            return
        digest = hashlib.sha256(note).digest()
        if digest in self._seen:
            return
        self._seen.add(digest)
        self._unverified[note] = at
        self._bytes += len(note)
        if len(self._unverified) > _MOST_UNVERIFIED or self._bytes > _MOST_UNVERIFIED_BYTES:
            self._verify_newest()

    def is_fresh(self, now: datetime) -> bool:
        """Whether the agency has signed heads in the last minutes, as a working relay does."""
        self._verify_all()
        if self._best is None:
            return False
        return now.timestamp() - self._best.posix_time <= heads.STALE_SECONDS

    def finish(self, unread: int) -> FoundHeads:
        """What was found.

        Args:
            unread: older messages that were not read.
        """
        self._verify_all()
        best = self._best or self._undated
        if best is None:
            return FoundHeads(None, self._fault, unread)
        return FoundHeads(self._agreements.credible(best), None, unread, best is self._best)

    def _verify_all(self) -> None:
        while self._unverified:
            self._verify_newest()

    def _verify_newest(self) -> None:
        """Verify the unverified note with the newest time; if it is valid, drop all older ones."""
        note = max(self._unverified, key=self._unverified.__getitem__)
        self._forget([note])
        text = note.decode(errors="replace")
        try:
            stated = heads.verify(text, self._agreements.bus, self._agency, self._keys)
        except errors.SealBroken as why:
            self._fault = str(why)
            return
        if not self._agreements.is_dated(stated):
            if self._undated is None or _newness(stated) > _newness(self._undated):
                self._undated = stated
        elif self._best is None or _newness(stated) > _newness(self._best):
            self._best = stated
            at = stated.posix_time
            self._forget([each for each, of in self._unverified.items() if of < at])

    def _forget(self, notes: Iterable[bytes]) -> None:
        for each in notes:
            del self._unverified[each]
            self._bytes -= len(each)


def _claimed_time(note: bytes) -> int:
    """The time in the second line of a note; nothing verifies it. 0 if it has none."""
    _, _, rest = note.partition(b"\n")
    digits = rest[: _MOST_DIGITS + 1].partition(b"\n")[0]
    return int(digits) if digits.isdigit() and len(digits) <= _MOST_DIGITS else 0


def _newness(stated: SignedHeads) -> tuple[int, int]:
    """Orders heads by their time, which has whole seconds, and within one by their leaves."""
    return stated.posix_time, sum(each.size for each in stated.heads)
