"""What the maker of a bundle states: what was looked for, in which trees, and what was not read.

Nobody can prove it from the bundle: without the other leaves, a reader cannot see that none of them
matches. So the maker can sign it. The text of the note is

    <bus>/evidence
    <SHA-256 of data/search.json, in hex>
    <SHA-256 of data/custody.json, in hex>

No origin of a tree, no heads and no agreement begin with such a line.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, NoReturn

from sinergi_consumers.audit.evidence import places
from sinergi_consumers.audit.evidence.checks import BundleChecks, Disproved
from sinergi_consumers.audit.evidence.omissions import (
    REASONS,
    SearchStatement,
    UnreadRelated,
    UnsearchedTopic,
)
from sinergi_schemas import errors
from sinergi_schemas.seal.note import parse_bounded, sign_note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_schemas.seal.keys import SigningKey

_MOST_NOTE_BYTES, _MOST_SIGNATURES = 16 * 1024, 16
_MOST_RECORDS = 1 << 53


def text_of(bus: str, search: bytes, custody: bytes) -> str:
    """The text that the maker signs."""
    return f"{bus}/evidence\n{sha256(search).hexdigest()}\n{sha256(custody).hexdigest()}\n"


def sign(bus: str, search: bytes, custody: bytes, keys: Iterable[SigningKey]) -> str:
    """The note with the signatures of the maker."""
    return sign_note(text_of(bus, search, custody), keys)


def stated(search: dict[str, Any]) -> SearchStatement:
    """What `search.json` says was left out.

    Raises:
        Disproved: it is not well-formed.
    """
    unsearched, related = search["not_searched"], search["related_not_read"]
    if not isinstance(unsearched, list) or not isinstance(related, list):
        _refuse()
    return SearchStatement(tuple(map(_unsearched, unsearched)), tuple(map(_related, related)))


def _unsearched(found: Any) -> UnsearchedTopic:
    if not isinstance(found, dict) or found.keys() != set(UnsearchedTopic._fields):
        _refuse()
    each, detail = UnsearchedTopic(**found), found["detail"]
    partition = 0 if each.partition is None else each.partition
    if not isinstance(detail, str) or each.reason not in tuple(REASONS):
        _refuse()
    _check_topic(each.topic, partition)
    return each


def _related(found: Any) -> UnreadRelated:
    if not isinstance(found, dict) or found.keys() != set(UnreadRelated._fields):
        _refuse()
    each = UnreadRelated(**found)
    if type(each.records) is not int or not 0 < each.records < _MOST_RECORDS:
        _refuse()
    _check_topic(each.topic, 0)
    return each


def _check_topic(topic: Any, partition: Any) -> None:
    is_number = type(partition) is int and 0 <= partition < _MOST_RECORDS
    path = f"data/trees/{topic}/{partition}.checkpoint"
    if not (isinstance(topic, str) and is_number and places.placed(path)):
        _refuse()


def _refuse() -> NoReturn:
    raise Disproved(places.SEARCH, "does not state in its form what was not searched")


class StatementChecks(BundleChecks):
    """Step 7: what the maker states, and whether he has signed it."""

    def run(self, left_out: SearchStatement) -> None:
        """Verify the signature, and report what is stated without one.

        It is the last step: an absence counts if its trees do.
        """
        self.verdict.statement = left_out
        if places.STATEMENT in self.payload:
            self.attempt(self._check_signatures)
        for each in left_out.not_searched:
            if each.is_failure:
                self.leave(places.SEARCH, f"states that {each}")
        for topic, records in left_out.related_not_read:
            what = f"{records} related records lie in {topic}, which was not read"
            self.leave(places.SEARCH, f"states that {what}")
        has_leaves = any(path.endswith(".leaf") for path in self.payload)
        if not has_leaves and places.STATEMENT not in self.payload:
            what = "states that no event matches; nobody has signed this, so anybody can have"
            self.leave(places.SEARCH, f"{what} written it")

    def _check_signatures(self) -> None:
        path = places.STATEMENT
        try:
            what = "the statement of the maker"
            note = parse_bounded(self.text(path), what, _MOST_NOTE_BYTES, _MOST_SIGNATURES)
        except errors.NoteMalformed as why:
            raise Disproved(path, f"is not a signed note: {why.what}") from None
        search, custody = self.content(places.SEARCH), self.content(places.CUSTODY)
        if note.text != text_of(self.bus, search, custody):
            what = f"signs another {places.SEARCH} or {places.CUSTODY} than those of the bundle"
            raise Disproved(path, what)
        self.check_signatures(path, note, self.trusted.of_signer)
        # A signature under a name that is known may be by another key, which is not given.
        signed = [
            each.name
            for each in note.signatures
            if any(map(each.claims, self.trusted.of_signer(self.bus, each.name)))
        ]
        self.verdict.signed_by += dict.fromkeys(signed)
