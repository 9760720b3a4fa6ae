"""The keys of a topic-partition's owner: which key must sign a tree of a size, and which may.

Keys are replaced by tree size, never by clock. Each replaced key has a last tree size that it may
sign. The next key must sign every larger tree. The next key may also sign smaller trees, but its
signature alone is not sufficient there, so that a new key cannot create another history of old
leaves.

    size      1 ………………… 100 | 101 …………………
    old key   must sign       | is ignored
    new key   may sign        | must sign

The relay signs with both keys as soon as it has both. Readers that do not have the new key yet
continue up to the last size of the old key.
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
    """A key, and the last tree size that it may sign; None if it was not replaced."""

    key: VerifyingKey
    last: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one topic-partition, the oldest first.

    An empty ring verifies nothing.
    """

    spans: tuple[KeySpan, ...]

    @classmethod
    def of(cls, key: VerifyingKey) -> KeyRing:
        """The ring of an owner whose key was never replaced."""
        return cls((KeySpan(key),))

    def allowed(self, size: int) -> list[VerifyingKey]:
        """The key that must sign a tree of this size, followed by the keys that may sign it."""
        return [each.key for each in self.spans if each.last is None or size <= each.last]

    def accepts(self, size: int, signers: Collection[VerifyingKey]) -> bool:
        """Whether the key that must sign a tree of this size is among the signers.

        A tree of size 0 has no leaves, so any key of the ring may sign it.
        """
        if size == 0:
            return any(each.key in signers for each in self.spans)
        return any(key in signers for key in self.allowed(size)[:1])

    def verify(self, note: Note, size: int) -> None:
        """Verify that the key that must sign a tree of this size has signed the note.

        Raises:
            SignatureInvalid: a signature by a key that must or may sign is not valid.
            KeyReplaced: it is signed by a replaced key whose last size is smaller than this.
            SignatureMissing: it is signed by none of the keys, or only by a later one.
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

    def allowed_signers(self, size: int, keys: Iterable[SigningKey]) -> list[SigningKey]:
        """The private keys that must or may sign a tree of this size, in the order of `allowed`."""
        by_public = {each.public: each for each in keys}
        return [by_public[key] for key in self.allowed(size) if key in by_public]

    def signers(self, origin: str, size: int, keys: Iterable[SigningKey]) -> list[SigningKey]:
        """The owner's private keys that sign a tree of this size, the required one first.

        Args:
            origin: `<bus>/<topic>/<partition>`, for the error.
            size: of the tree.
            keys: the owner's private keys.

        Raises:
            SigningKeyMissing: the key that must sign is not among them.
        """
        found = self.allowed_signers(size, keys)
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
