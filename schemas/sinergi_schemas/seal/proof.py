"""Proofs that a checkpoint covers a leaf, as files that verify offline (C2SP tlog-proof).

c2sp.org/tlog-proof@v1
index <leaf index>
<base64 of a hash>                      the audit path, from the leaf's sibling upwards
                                        an empty line
<the checkpoint's note>

A line `extra <base64>` may come before the index line. No signature covers it, and it is ignored.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.merkle import HASH_LENGTH, leaf_hash, verify_inclusion
from sinergi_schemas.seal.note import parse_base64, parse_size

if TYPE_CHECKING:
    from sinergi_schemas.seal.checkpoint import Checkpoint
    from sinergi_schemas.seal.key_ring import KeyRing

_FIRST = "c2sp.org/tlog-proof@v1"
_LONGEST_PATH = 63


@dataclass(frozen=True, slots=True)
class Proof:
    """The index of a leaf, its audit path, and the checkpoint that covers it.

    Attributes:
        path: the hashes from the leaf's sibling upwards.
        note: the checkpoint with all its signatures.
    """

    index: int
    path: tuple[bytes, ...]
    note: str

    @classmethod
    def parse(cls, text: str) -> Proof:
        """Read a proof from its text. It verifies nothing.

        Raises:
            NoteMalformed: the text is not a proof.
        """
        head, separator, note = text.partition("\n\n")
        lines = head.split("\n")
        if lines[1:] and lines[1].startswith("extra "):
            parse_base64(lines.pop(1).removeprefix("extra "))
        has_index = bool(lines[1:]) and lines[1].startswith("index ")
        if not separator or lines[0] != _FIRST or not has_index:
            raise errors.NoteMalformed(
                f"a proof must have the first line {_FIRST}, an index and a checkpoint"
            )
        path = tuple(map(parse_base64, lines[2:]))
        if len(path) > _LONGEST_PATH or any(len(step) != HASH_LENGTH for step in path):
            raise errors.NoteMalformed("the path of a proof is not a list of SHA-256 hashes")
        return cls(parse_size(lines[1].removeprefix("index ")), path, note)

    def __str__(self) -> str:
        steps = (base64.b64encode(step).decode() for step in self.path)
        return "\n".join([_FIRST, f"index {self.index}", *steps]) + f"\n\n{self.note}"

    def verify(self, leaf_data: bytes, origin: str, keys: KeyRing) -> Checkpoint:
        """Verify that the owner of a topic sealed a leaf with this index. Returns the checkpoint.

        Raises:
            ProofFalse: the path does not lead from the leaf to the checkpoint's root.
            SealBroken: the checkpoint is not valid, see `checkpoint.verify`.
        """
        stated = checkpoint.verify(self.note, origin, keys)
        leaf = leaf_hash(leaf_data)
        if not verify_inclusion(leaf, self.index, stated.size, self.path, stated.root):
            raise errors.ProofFalse(origin, self.index, stated.size)
        return stated
