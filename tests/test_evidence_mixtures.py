"""Bundles of parts of several valid ones, with manifests that fit: both verifiers agree on each.

Whoever has several bundles can exchange proofs, checkpoints, schemas and statements between them,
and change, double and drop lines and members.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import sinergi
from evidence_bundles import KEYS, READER, SOFTWARE, TP, WHEN, contents, leaves, signed
from sinergi_consumers.audit.evidence import archive, bag, places, readable
from sinergi_consumers.audit.evidence.composition import (
    BundleContents,
    EventEvidence,
    TreeEvidence,
    compose,
)
from sinergi_consumers.audit.evidence.places import EvidencePlace
from sinergi_consumers.audit.evidence.readable import SealedLeaf
from sinergi_consumers.audit.evidence.trees import ConsistencyProof
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.seal.leaf_tree import LeafTree
from sinergi_schemas.seal.merkle import leaf_hash
from sinergi_schemas.seal.proof import Proof
from test_evidence_page import browser, folder, of_the_page, page

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

__all__ = ["browser", "folder", "page"]  # fixtures

pytestmark = pytest.mark.long

Payload = dict[str, bytes]

# What text formats and languages read differently.
_ODD = (
    *(b"\xef\xbb\xbf", b"\0", b"\r", b"\n", b"\xc2\xa0", b"\xe2\x80\xa8", b"\xff", b"\xed\xa0\x80"),
    *(b"\\u0000", b"\\ud800", b"-0", b"1e400", b"9007199254740993", b"NaN", b'"__proto__":1,'),
    *(b"\xe2\x80\x94 ", b"=", b"\xd9\xa5", b"00", b"+5", b"5.0", b"{}", b"", b" ", b"\\"),
)


def _older() -> BundleContents:
    """What a bundle holds of the tree when it had four leaves: the other events."""
    tree, schema = LeafTree(), Catalog.shipped().newest("transfer")
    tree.extend(map(leaf_hash, leaves()))
    note, whole = signed(tree, 4), contents()

    def event(index: int) -> EventEvidence:
        leaf = SealedLeaf.parse(leaves()[index])
        proof = Proof(index, tree.inclusion_path(index, 4), note)
        told = readable.event_of(leaf, schema)
        return EventEvidence(EvidencePlace(TP, index), leaf, told, proof, {})

    extends = ConsistencyProof(3, tree.consistency_path(3, 4), note)
    found = TreeEvidence(TP, 4, tree.root(4), note, extends)
    events = event(0), event(2)
    return replace(whole, events=events, trees=(found, whole.trees[1]), asked_for={"key": "MUT/1"})


@cache
def payloads() -> tuple[Payload, ...]:
    """Those of three bundles: a signed one, one of an older tree, and one without a signature."""
    sealed = replace(contents(), signers=(READER,)), replace(_older(), signers=(READER,))
    whole = (compose(each, WHEN, SOFTWARE) for each in (*sealed, contents()))
    return tuple(bag.payload_of(archive.unpack(each).files) for each in whole)


@st.composite
def mixtures(draw: st.DrawFn) -> Payload:
    """One of them with some files changed, exchanged, copied, added or taken away."""
    mixed = dict(draw(st.sampled_from(payloads())))
    for _ in range(draw(st.integers(1, 3))):
        names = sorted(mixed)
        name = draw(st.sampled_from(names))
        match draw(st.sampled_from(["odd", "odd", "line", "exchange", "copy", "add", "drop"])):
            case "odd":
                data, odd = mixed[name], draw(st.sampled_from(_ODD))
                at = draw(st.integers(0, len(data)))
                mixed[name] = data[:at] + odd + data[at + draw(st.integers(0, 1)) :]
            case "line":
                lines = mixed[name].split(b"\n")
                at = draw(st.integers(0, len(lines) - 1))
                lines[at : at + 1] = [lines[at]] * draw(st.sampled_from([0, 2]))
                mixed[name] = b"\n".join(lines)
            case "exchange":
                other = draw(st.sampled_from(payloads()))
                name = draw(st.sampled_from(sorted(other)))
                mixed[name] = other[name]
            case "copy":
                mixed[name] = mixed[draw(st.sampled_from(names))]
            case "add":
                mixed[name.replace("1", "2")] = mixed[name]
                mixed["data/constructor"] = b""
            case "drop" if len(mixed) > 1:
                del mixed[name]
    return mixed


def test_a_mixture_of_bundles_gets_the_same_verdict_of_both_verifiers(
    page: Page, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file: Path = tmp_path_factory.mktemp("mixtures") / "case.zip"
    keys = [word for each in KEYS for word in ("--key", str(each))]

    @given(mixtures())
    def agree(mixed: Payload) -> None:
        file.write_bytes(archive.pack(bag.bagged(mixed, WHEN, SOFTWARE)))
        status, out, err = sinergi("evidence", "verify", str(file), "--json", *keys)
        found = json.loads(out)
        problems = sorted({each["file"] for each in found["disproved"] + found["not_checked"]})
        theirs = of_the_page(page, file.read_bytes(), "\n".join(map(str, KEYS)))
        assert [status, problems, ""] == theirs
        assert "Traceback" not in err
        if status == 0:  # then all that is proved is of the bundle from which it comes
            proved = {each for each in mixed if each.endswith((".leaf", ".checkpoint"))}
            known = [each for each in payloads() if mixed[places.SEARCH] == each[places.SEARCH]]
            assert not known or any(
                all(mixed[name] == each.get(name) for name in proved) for each in known
            )

    agree()
