"""Valid checkpoints over leaves that do not exist delay no other topic-partition."""

from __future__ import annotations

from dataclasses import replace
from time import process_time
from typing import TYPE_CHECKING

import pytest

from agency_pair import AgencyPair
from foreign_messages import false_seal, leaf, write_all
from sinergi_consumers.testing.sinks import transfer as at_revision
from sinergi_schemas.seal.candidates import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from foreign_messages import Wire
    from sinergi_consumers.testing.tape import TapeMessage

HOSTILE, HONEST = 0, 1
# What one look took of this process before there was an allowance: half a minute.
MOST_SECONDS = 10.0


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """Two partitions, which share nothing but their readers, in place of two agencies."""
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=2)


def wire(written: Iterable[TapeMessage]) -> list[Wire]:
    return [(each.value(), each.key(), [*each.headers()]) for each in written]


def hold_up(pair: AgencyPair, flood: Sequence[Wire]) -> None:
    """Two honest events come in, one before and one after the other partition has halted."""
    tape = pair.tape(HONEST)
    write_all(pair, HOSTILE, flood)
    begun = process_time()
    with pair.materialising():
        for turn in (1, 2):
            write_all(pair, HONEST, wire(tape.write([at_revision(f"P/{turn}", 1)])))
            pair.until_rows("sinergi.transfer_history", turn)
            pair.until(lambda: pair.count("sinergi_consumer.halt") == 1, "a halt")
    assert process_time() - begun < MOST_SECONDS


@pytest.mark.long
def test_signed_checkpoints_of_falling_sizes_hold_up_no_other_partition(pair: AgencyPair) -> None:
    flood = [leaf(at, b"x") for at in range(WINDOW - 1)]
    flood += [leaf(at, b"y%d" % turn) for at in range(0, WINDOW - 1, 50) for turn in range(3)]
    falling = range(WINDOW - 1, WINDOW - 501, -1)
    flood += [leaf(size - 1, b"x", false_seal(pair, HOSTILE, size)) for size in falling]
    hold_up(pair, flood)


@pytest.mark.long
def test_true_checkpoints_on_forged_leaves_hold_nothing_up_and_hold_once_the_leaves_come(
    pair: AgencyPair,
) -> None:
    tape, count = pair.tape(HOSTILE), 400
    true = [tape.write([at_revision(f"M/{at}", 1)])[0] for at in range(count)]
    doubles = [leaf(at, b"y%d" % turn) for at in range(count) for turn in range(2)]
    forged = [replace(each, value_bytes=(each.value() or b"") + b"?") for each in true]
    hold_up(pair, [*doubles, *wire(reversed(forged))])
    write_all(pair, HOSTILE, wire(true))
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 2 + count)
        pair.until(lambda: pair.count("sinergi_consumer.halt") == 0, "no halt")
