"""Sealing: waiting rows become leaves in their order, under checkpoints that verify."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_tapes import takes
from sinergi_producers.relay.sealing import NOT_COVERED, OutboxRow, Sealer, TreeKey
from sinergi_schemas import errors
from sinergi_schemas.message import leaf_data
from sinergi_schemas.seal.key_ring import KeyRing, KeySpan
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.seal.merkle import Frontier, leaf_hash
from sinergi_schemas.seal.note import parse_note
from sinergi_schemas.seal.reader import TreeReader
from sinergi_schemas.topics import partition_for

if TYPE_CHECKING:
    from sinergi_producers.relay.sealing import SealedBatch

BUS, AGENCY = "sinergi.test.example", "lapas-rekaan"
KEY = SigningKey.generate(f"{BUS}/{AGENCY}")
COUNTS = {"transfer": 3, "seizure": 2}
SEALER = Sealer(
    BUS, AGENCY, [KEY], COUNTS, lambda _: True, lambda *_: KeyRing.of(KEY.public), lambda _: None
)


def row(number: int, event_type: str = "transfer", key: str | None = None) -> OutboxRow:
    name = f"P/{number}" if key is None else key
    return OutboxRow(
        number,
        UUID(int=number),
        event_type,
        name.encode(),
        datetime(2026, 3, 3, tzinfo=UTC),
        bytes(31) + event_type[:1].encode(),
        f"datum {number}".encode(),
        None,
    )


def empty_trees() -> dict[TreeKey, Frontier]:
    return {
        TreeKey(name, number): Frontier.empty()
        for name, count in COUNTS.items()
        for number in range(count)
    }


def grow(trees: dict[TreeKey, Frontier], batch: SealedBatch) -> None:
    trees.update((each.tree_key, each.after) for each in batch.updates)


rows_of_any_type = st.lists(
    st.tuples(st.sampled_from(sorted(COUNTS)), st.text(max_size=8)), max_size=40
).map(lambda given: [row(at + 1, name, key) for at, (name, key) in enumerate(given)])


@given(st.lists(rows_of_any_type, max_size=4))
def test_every_row_becomes_one_leaf_in_order_and_every_checkpoint_verifies(
    batches: list[list[OutboxRow]],
) -> None:
    trees = empty_trees()
    readers = {
        (name, number): TreeReader(
            f"{BUS}/sinergi.{AGENCY}.{name}/{number}", KeyRing.of(KEY.public), Frontier.empty()
        )
        for name, number in trees
    }
    for rows in batches:
        batch = SEALER.seal(rows, trees)
        assert sorted(each.id for growth in batch.updates for each in growth.rows) == [
            each.id for each in rows
        ]
        for growth in batch.updates:
            name, number = growth.tree_key
            assert growth.start == trees[growth.tree_key].size
            assert [each.id for each in growth.rows] == sorted(each.id for each in growth.rows)
            last = len(growth.rows) - 1
            for at, each in enumerate(growth.rows):
                assert (each.event_type, partition_for(each.key, COUNTS[name])) == growth.tree_key
                is_verified = takes(
                    readers[growth.tree_key],
                    growth.start + at,
                    leaf_hash(leaf_data(each.fingerprint, each.key, each.datum)),
                    growth.sealed if at == last else None,
                )
                assert is_verified == (at == last)
            assert readers[name, number].size == growth.after.size
        grow(trees, batch)
    assert {tree_key: reader.frontier for tree_key, reader in readers.items()} == trees


def test_rows_that_no_agreement_covers_are_held_and_get_no_leaf() -> None:
    sealer = replace(SEALER, is_agreed=lambda name: name != "seizure")
    batch = sealer.seal([row(1), row(2, "seizure"), row(3), row(4, "seizure")], empty_trees())
    assert batch.held == {NOT_COVERED: [2, 4]}
    assert sorted(each.id for growth in batch.updates for each in growth.rows) == [1, 3]


def changing(last: int) -> tuple[Sealer, SigningKey]:
    """A sealer whose key is replaced after a size, and the new key."""
    newer = SigningKey.generate(f"{BUS}/{AGENCY}")
    ring = KeyRing((KeySpan(KEY.public, last), KeySpan(newer.public)))
    return replace(SEALER, keys=[newer, KEY], ring=lambda *_: ring), newer


def test_after_its_last_size_a_replaced_key_signs_nothing_and_need_not_be_there() -> None:
    sealer, newer = changing(0)
    for keys in ([newer], [newer, KEY]):
        (growth,) = replace(sealer, keys=keys).seal([row(1)], empty_trees()).updates
        (signature,) = parse_note(growth.sealed.note).signatures
        assert signature.claims(newer.public)


def test_nothing_is_sealed_without_the_key_that_must_sign_it() -> None:
    sealer, newer = changing(1)
    with pytest.raises(errors.SigningKeyMissing, match=r"transfer/\d for 1 leaf must be signed by"):
        replace(sealer, keys=[newer]).seal([row(1)], empty_trees())
    with pytest.raises(errors.SigningKeyMissing, match="for 2 leaves"):
        replace(sealer, keys=[KEY]).seal([row(1, key="P"), row(2, key="P")], empty_trees())


def test_both_keys_sign_while_one_replaces_the_other() -> None:
    sealer, newer = changing(1)
    batch = sealer.seal([row(1)], empty_trees())
    (growth,) = batch.updates
    origin = f"{BUS}/sinergi.{AGENCY}.transfer/{growth.tree_key.partition}"
    for key in (KEY, newer):
        reader = TreeReader(origin, KeyRing.of(key.public), Frontier.empty())
        each = growth.rows[0]
        leaf = leaf_hash(leaf_data(each.fingerprint, each.key, each.datum))
        assert takes(reader, 0, leaf, growth.sealed)


def test_nothing_waiting_grows_nothing() -> None:
    batch = SEALER.seal([], empty_trees())
    assert (batch.updates, batch.held) == ([], {})
