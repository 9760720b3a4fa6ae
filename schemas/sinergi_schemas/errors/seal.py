"""Errors of signing keys, and of topics that are not what their owner sealed."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused, TopicHalted
from sinergi_schemas.plain_text import leaf_range


class KeyFileRefused(Refused):
    """The key file {path} cannot be used: {what}."""

    path: str
    what: str


class SigningKeyMissing(Refused):
    """A checkpoint of {origin} for {size:leaves} must be signed by {key}, which is not in the
    folder of private keys. Put its file there, or load the agreement that replaces it.
    """

    origin: str
    size: int
    key: str


class SealBroken(TopicHalted):
    """A topic is not what its owner sealed. Compare it with another copy, and ask its owner."""


class NoteMalformed(SealBroken):
    """A checkpoint is not a signed note ({what}). Only the topic's owner can write one: ask who
    else writes to the topic.
    """

    what: str


class SignatureInvalid(SealBroken):
    """The signature of {key} under {subject} is invalid: the text was changed, or another key
    signed it. Ask the owner of the key.
    """

    key: str
    subject: str


class SignatureMissing(SealBroken):
    """{subject} is not signed by any of {keys}. Load the agreement that names the key that signed
    it, or ask its owner.
    """

    subject: str
    keys: str


class KeyReplaced(SignatureMissing):
    """{subject} of {size:leaves} is signed by {signer}, which was replaced and signs nothing above
    {last:leaves}. {keys} must sign it. Either its owner's relay has not loaded the agreement that
    replaces the key, or somebody signs with the old key. Ask its owner.
    """

    size: int
    signer: str
    last: int


class OriginForeign(SealBroken):
    """{origin} holds a checkpoint of {found}: somebody put messages of another topic there."""

    origin: str
    found: str


class SealGap(SealBroken):
    """{origin} lacks leaf {index}, though its owner's checkpoint covers {size:leaves}: messages are
    missing. Restore them from another copy of the topic.

    Attributes:
        index: the first leaf that is missing.
        size: the size of the tree under the checkpoint.
    """

    origin: str
    index: int
    size: int


class CheckpointTooWide(SealBroken):
    """A checkpoint of {origin} covers {size:leaves}, and the one before it only {known}. Readers
    accept at most {most:leaves} between two. Compare the topic with another copy: a checkpoint
    between them was taken away or changed, or its owner's relay does not keep to the limit.
    """

    origin: str
    size: int
    known: int
    most: int


class BatchTooLarge(SealBroken):
    """The messages of {origin} at {leaves} take more than {most:bytes} under one checkpoint.
    Sinergi's relay makes no such batch, so the owner must check the relay. Nothing after these
    leaves is read.
    """

    origin: str
    start: int
    end: int
    most: int

    @property
    def leaves(self) -> str:
        """The range of the leaves, as text."""
        return leaf_range(self.start, self.end)


class SealMismatch(SealBroken):
    """The messages of {origin} at {leaves} are not those under its checkpoint. At least one was
    changed, swapped or inserted: `sinergi replay --against` another copy names it.
    """

    origin: str
    start: int
    end: int

    @property
    def leaves(self) -> str:
        """The range of the leaves, as text."""
        return leaf_range(self.start, self.end)


class ComparedMismatch(SealMismatch):
    """The messages of {origin} at {leaves} are not those under its checkpoint. At least one was
    changed, swapped or inserted: the comparison with {other} names it, if that copy has these
    leaves.
    """

    other: str

    @classmethod
    def of(cls, why: SealBroken, other: str) -> SealBroken:
        """The error of a copy that was compared with another one; other errors as they are."""
        if not isinstance(why, SealMismatch):
            return why
        return cls(why.origin, why.start, why.end, other)


class TailMissing(SealBroken):
    """{origin} ends at {size:leaves}, but according to {source} it has {stated}: its newest
    messages were cut off, or the copy was made before them. Restore them from another copy, or ask
    its owner.
    """

    origin: str
    size: int
    stated: int
    source: str


class FirstLeavesDeleted(SealGap):
    """{origin} lacks leaf {index}, though its owner or a reader has signed {size:leaves}: it begins
    at offset {offset}, so the brokers have deleted the messages before. Their operator must set
    retention.ms and retention.bytes of this topic to -1, as `sinergi provision apply` does. Then
    restore the messages from another copy of the topic.

    Attributes:
        offset: the first one that the brokers have.
    """

    offset: int

    @classmethod
    def of(cls, why: SealBroken, offset: int) -> SealBroken:
        """The error of a topic whose first leaves are missing; other errors as they are.

        Args:
            why: the error by the messages that were read.
            offset: the first one that was read; 0 where nothing was deleted.
        """
        if offset and isinstance(why, SealGap) and why.index == 0:
            return cls(why.origin, 0, why.size, offset)
        if offset and isinstance(why, TailMissing) and why.size == 0:
            return cls(why.origin, 0, why.stated, offset)
        return why


class LeavesCompacted(SealGap):
    """{origin} lacks leaf {index}, though its owner's checkpoint covers {size:leaves}, and there is
    no message at {offsets} any more, as after compaction. The brokers' operator must set
    cleanup.policy of this topic to delete, as `sinergi provision apply` does. Then restore the
    messages from another copy of the topic.

    Attributes:
        start: the first offset without a message.
        end: the offset after the last one.
    """

    start: int
    end: int

    @property
    def offsets(self) -> str:
        """The offsets, as text."""
        last = self.end - 1
        return f"offset {last}" if self.start == last else f"the offsets {self.start} to {last}"


class CheckpointInvalid(SealBroken):
    """According to {source}, {origin} has {stated:leaves}, but only {size} of them are covered by
    a valid checkpoint: the last one is missing or was changed. Restore it from another copy, or ask
    its owner.
    """

    origin: str
    size: int
    stated: int
    source: str


class SealFork(SealBroken):
    """{origin} shows two histories of {size:leaves}. If both are signed, its owner made two; if
    not, somebody inserted a message. Keep both copies, and ask its owner.
    """

    origin: str
    size: int


class ProofFalse(SealBroken):
    """The proof does not show leaf {index} under the checkpoint of size {size} of {origin}: the
    event, its place or the proof was changed. Ask for the evidence again.
    """

    origin: str
    index: int
    size: int
