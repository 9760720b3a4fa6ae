"""Evidence is made, and holds, where a key that was replaced has signed further heads."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agency_pair import BUS
from signed_agreement import write_signed
from sinergi_consumers.audit.evidence_collection import EvidenceAudit
from sinergi_consumers.audit.replay import Replay
from sinergi_schemas import topics
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.seal import heads
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.seal.keys import SigningKey
from test_audit import put
from test_evidence_creation import EvidenceDesk, desk, desk_pair

if TYPE_CHECKING:
    import pytest

    from agency_pair import AgencyPair
    from sinergi_consumers.audit.replay import ReplayCounts

__all__ = ["desk", "desk_pair"]  # fixtures

NEXT = "next.toml"
FAR = 4_000_000_000  # seconds since 1970


def replace_key(pair: AgencyPair, sizes: list[int]) -> SigningKey:
    """The owner replaces its key up to the sizes that its trees have; the new key."""
    document = deepcopy(pair.agreement)
    party = document["parties"][pair.publisher]
    new = SigningKey.generate(pair.key.name)
    party["keys"] = [str(new.public)]
    party["replaced_keys"] = [{"key": str(pair.key.public), "until": {"transfer": sizes}}]
    path = pair.folder / "pks.toml"
    document["replaces"] = [parse(path, path.read_bytes()).hash]
    document["in_force"]["from"] = datetime(2021, 1, 1, tzinfo=UTC)
    write_signed(pair.folder / NEXT, document, (new, *pair.party_keys))
    return new


def test_heads_by_a_replaced_key_beyond_its_sizes_keep_no_event_out_of_a_bundle(
    desk: EvidenceDesk,
) -> None:
    pair = desk.pair
    trees = [*audited(desk)]
    first, second = trees
    replace_key(pair, [each.verified for each in trees])
    # One line that is true and newer, and one that the key may no longer sign.
    stated = (
        TreeHead(pair.topic.name, 0, first.verified + 1, b"x" * 32),
        TreeHead(pair.topic.name, 1, second.verified, second.root),
    )
    signed = heads.sign(SignedHeads(BUS, pair.publisher, FAR, stated), [pair.key])
    put(pair, topics.control_topic(pair.publisher), b"heads", signed.encode())
    status, _, err = desk.create("--key", "P/3")
    assert status == 0, err
    status, found, err = desk.verify("--agreement", str(pair.folder / NEXT))
    assert status == 0, err
    assert len(found["events"]) == 2
    assert {each["heads_leaves"] for each in found["trees"]} == {each.verified for each in trees}


def audited(desk: EvidenceDesk) -> list[ReplayCounts]:
    replay = Replay(desk.pair.bus, desk.pair.topic)
    return [replay.verify(number) for number in range(desk.pair.partitions)]


def test_a_bundle_that_does_not_verify_is_no_success(
    desk: EvidenceDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the owner's heads of one moment contradict a topic that is read later."""
    whole = EvidenceAudit._heads

    def other_heads(self: EvidenceAudit) -> SignedHeads | None:
        found = whole(self)
        assert found is not None
        other = (replace(each, root=b"x" * 32) for each in found.heads)
        stated = replace(found, heads=tuple(other))
        self._collected.heads[self.topic.agency] = heads.sign(stated, [desk.pair.key])
        return stated

    monkeypatch.setattr(EvidenceAudit, "_heads", other_heads)
    status, _, err = desk.create("--key", "P/3")
    assert (status, "does not show that the tree extends that of the heads" in err) == (1, True)
    assert desk.verify()[0] == 1
