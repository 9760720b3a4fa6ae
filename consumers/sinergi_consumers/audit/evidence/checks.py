"""What the checks of a bundle's files have in common: where they read, and how they report."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sinergi_consumers.audit.evidence import places
from sinergi_consumers.audit.evidence.bag import BundleProblem
from sinergi_schemas import errors
from sinergi_schemas.plain_text import first_sentence
from sinergi_schemas.seal.note import key_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sinergi_consumers.audit.evidence.trust import TrustedKeys
    from sinergi_consumers.audit.evidence.verdict import EvidenceVerdict
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.keys import VerifyingKey
    from sinergi_schemas.seal.note import Note
    from sinergi_schemas.topics import TopicPartition

T = TypeVar("T")


class Disproved(ValueError):
    """A file of the bundle is not what it has to be.

    Attributes:
        problem: the file, and what is wrong with it.
    """

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path} {what}")
        self.problem = BundleProblem(path, what)


class BundleChecks:
    """Base of the checks of one bundle.

    Args:
        bus: the name of the bus.
        payload: the files by their paths.
        trusted: the keys.
        verdict: every problem is added to it.
    """

    def __init__(
        self,
        bus: str,
        payload: Mapping[str, bytes],
        trusted: TrustedKeys,
        verdict: EvidenceVerdict,
    ) -> None:
        self.bus = bus
        self.payload = payload
        self.trusted = trusted
        self.verdict = verdict

    def attempt(self, check: Callable[..., T], *args: object) -> T | None:
        """The result of a check; None if it has disproved a file, which is then reported."""
        try:
            return check(*args)
        except Disproved as why:
            self.verdict.disproved.append(why.problem)
            return None

    def leave(self, path: str, what: str) -> None:
        """Report something that cannot be checked."""
        self.verdict.unchecked.append(BundleProblem(path, what))

    def content(self, path: str) -> bytes:
        """The bytes of a file.

        Raises:
            Disproved: it is missing.
        """
        if path not in self.payload:
            raise Disproved(path, "is missing")
        return self.payload[path]

    def text(self, path: str) -> str:
        """The text of a file.

        Raises:
            Disproved: it is missing, or is not text.
        """
        try:
            return self.content(path).decode()
        except UnicodeDecodeError:
            raise Disproved(path, "is not text in UTF-8") from None

    def owner_rings(self, path: str, tp: TopicPartition, note: Note) -> list[KeyRing]:
        """The rings of a topic-partition's owner; none if no given key has signed the checkpoint.

        Raises:
            Disproved: see `is_checkable`.
        """
        rings = self.trusted.rings(self.bus, tp)
        keys = [span.key for ring in rings for span in ring.spans]
        owner = f"{self.bus}/{places.topic_of(tp).agency}"
        return rings if self.is_checkable(path, note, owner, keys) else []

    def is_checkable(self, path: str, note: Note, name: str, keys: Sequence[VerifyingKey]) -> bool:
        """Whether a given key has signed a note; if not, the file stays unchecked.

        A key of the signer that is not given may be his, or that of a forger.

        Args:
            name: whose note it is.
            keys: those of that name that are given.

        Raises:
            Disproved: nobody has signed it under that name.
        """
        if not keys:
            self.leave(path, f"is signed by {name}, whose key is not given")
            return False
        if any(each.claims(key) for each in note.signatures for key in keys):
            return True
        others = [each.name_with_id for each in note.signatures if each.name == name]
        if not others:
            raise Disproved(path, f"is not signed by {name}")
        what = f"is signed by {', '.join(others)}, a key that is not given"
        self.leave(path, f"{what} (given: {key_names(keys)}): ask its owner which is right")
        return False

    def check_signatures(
        self, path: str, note: Note, keys_of: Callable[[str, str], Sequence[VerifyingKey]]
    ) -> None:
        """Verify each signature of a note; one by a key that is not given stays unchecked.

        Args:
            keys_of: the trusted keys of a name on a bus.

        Raises:
            Disproved: one does not hold.
        """
        for each in note.signatures:
            claimed = [key for key in keys_of(self.bus, each.name) if each.claims(key)]
            if not claimed:
                self.leave(path, f"is signed by {each.name_with_id}, a key that is not given")
            elif not any(key.verify(each.value, note.text.encode()) for key in claimed):
                raise Disproved(path, f"has a signature of {each.name} that does not hold")


def first_valid(
    rings: list[KeyRing], verify: Callable[[KeyRing], object], path: str, what: str
) -> None:
    """Check that one of the rings verifies something.

    Raises:
        Disproved: none does.
    """
    why = ""
    for ring in rings:
        try:
            verify(ring)
        except errors.SealBroken as refused:
            why = first_sentence(str(refused))
        else:
            return
    raise Disproved(path, f"{what}: {why}")
