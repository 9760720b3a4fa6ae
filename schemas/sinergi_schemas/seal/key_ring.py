"""The keys of a topic-partition's owner: which must sign a tree of which size, and which may.

Keys are replaced by tree size, never by clock. Each replaced key has the last size that it may
sign; its successor must sign every larger tree. Below that size the successor may sign as well, but
its signature alone does not suffice: nobody can make another history of old leaves with a new key.

    size      1 ………………… 100 | 101 …………………
    old key   must            | counts for nothing
    new key   may             | must

The relay signs with both keys as soon as it knows both. Readers that do not know the new key yet go
on up to the last size of the old one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.seal.note import key_names, verify_note

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey
    from sinergi_schemas.seal.note import Note


@dataclass(frozen=True, slots=True)
class KeySpan:
    """A key, and the last tree size that it may sign; None where it was not replaced."""

    key: VerifyingKey
    last: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one topic-partition in the order in which each replaced the one before.

    Without a span it holds no key, and nothing verifies.
    """

    spans: tuple[KeySpan, ...]

    @classmethod
    def of(cls, key: VerifyingKey) -> KeyRing:
        """The ring of an owner whose key was never replaced."""
        return cls((KeySpan(key),))

    def allowed(self, size: int) -> list[VerifyingKey]:
        """The key that must sign a tree of some size, and behind it those that may."""
        return [each.key for each in self.spans if each.last is None or size <= each.last]

    def accepts(self, size: int, signers: Collection[VerifyingKey]) -> bool:
        """Whether one of these keys is the one that must sign a tree of some size.

        A tree of size 0 claims nothing, and any key of the ring may state it.
        """
        if size == 0:
            return any(each.key in signers for each in self.spans)
        return any(key in signers for key in self.allowed(size)[:1])

    def verify(self, note: Note, size: int) -> None:
        """See that the key that must sign a tree of this size has signed the note.

        Raises:
            SignatureInvalid: a signature of a key that must or may sign it does not hold.
            KeyReplaced: it is signed by a key beyond the last size that this key may sign.
            SignatureMissing: it is signed by none of the keys, or by a later one alone.
        """
        allowed = self.allowed(size)
        try:
            verify_note(note, allowed)
            if len(allowed) > 1:
                verify_note(note, allowed[:1])
        except errors.SignatureMissing:
            for each in self.spans:
                if each.last is not None and each.last < size and _signed(note, each.key):
                    names = key_names(allowed[:1])
                    signer = key_names([each.key])
                    raise errors.KeyReplaced(note.subject, names, size, signer, each.last) from None
            raise errors.SignatureMissing(note.subject, key_names(allowed[:1])) from None

    def held(self, size: int, keys: Iterable[SigningKey]) -> list[SigningKey]:
        """Those of some private keys that must or may sign a tree of some size, in that order."""
        by_public = {each.public: each for each in keys}
        return [by_public[key] for key in self.allowed(size) if key in by_public]

    def signers(self, origin: str, size: int, keys: Iterable[SigningKey]) -> list[SigningKey]:
        """Those of an owner's private keys that sign a tree of this size, the required one first.

        Args:
            origin: `<bus>/<topic>/<partition>`, for the error.

        Raises:
            SigningKeyMissing: the required one is not among them.
        """
        found = self.held(size, keys)
        required = self.allowed(size)[:1]
        if not required or [each.public for each in found[:1]] != required:
            raise errors.SigningKeyMissing(origin, size, key_names(required))
        return found


def _signed(note: Note, key: VerifyingKey) -> bool:
    try:
        verify_note(note, [key])
    except (errors.SignatureMissing, errors.SignatureInvalid):
        return False
    return True
