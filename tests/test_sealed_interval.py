"""Which statements enclose an interval: the rules of `sealed_interval`, without a broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sinergi_consumers.audit.sealed_interval import (
    HeadsGap,
    IntervalStatements,
    TimeInterval,
    missing_second,
)
from sinergi_consumers.audit.statements import HEADS, RECEIPT, SignedStatement
from sinergi_schemas.seal.heads import STALE_SECONDS

SINCE = datetime(2026, 3, 3, 8, tzinfo=UTC)
UNTIL = datetime(2026, 3, 3, 17, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def signed(at: datetime, size: int, kind: str = HEADS, name: str = "bus/owner") -> SignedStatement:
    return SignedStatement(name, kind, 0, size, bytes(32), at, "")


def receipt(at: datetime, size: int) -> SignedStatement:
    return signed(at, size, RECEIPT, "bus/reader/main")


def statements(*each: SignedStatement) -> IntervalStatements:
    found = IntervalStatements(TimeInterval(SINCE, UNTIL), lambda: UNTIL + timedelta(days=1))
    for one in each:
        found.add(one)
    return found


@pytest.mark.parametrize("turned", [False, True])
def test_the_nearest_statements_enclose_it_in_whatever_order_they_are_read(*, turned: bool) -> None:
    known = [
        signed(SINCE - 60 * SECOND, 4),
        signed(SINCE - 120 * SECOND, 3),
        signed(UNTIL + 60 * SECOND, 9),
        signed(UNTIL, 8),
    ]
    found = statements(*(reversed(known) if turned else known))
    assert found.leaves(0) == range(4, 8)


def test_a_second_that_does_not_lie_before_the_interval_as_a_whole_does_not_count() -> None:
    """The signature may have been made at its end."""
    assert statements(signed(SINCE - SECOND, 3), signed(UNTIL, 8)).leaves(0) == range(3, 8)
    assert statements(signed(SINCE, 3), signed(UNTIL, 8)).leaves(0) == range(8)
    half = IntervalStatements(TimeInterval(SINCE + SECOND / 2, UNTIL), lambda: UNTIL)
    half.add(signed(SINCE, 3))
    half.add(signed(UNTIL, 8))
    assert half.leaves(0) == range(8)


def test_a_receipt_takes_the_first_place_and_never_the_second() -> None:
    found = statements(receipt(SINCE - SECOND, 3), receipt(UNTIL, 8))
    assert (found.first(0), found.second(0)) == (receipt(SINCE - SECOND, 3), None)
    assert "at least 8 leaves were sealed" in missing_second(found, 0, "owner")


def test_a_reader_whose_clock_is_behind_moves_no_leaf_out_of_the_range() -> None:
    """Its receipt for nine leaves is dated before the interval; the owner had eight after it."""
    found = statements(signed(SINCE - 60 * SECOND, 2), receipt(SINCE - SECOND, 9), signed(UNTIL, 8))
    assert found.leaves(0) == range(2, 8)


def test_heads_that_state_fewer_leaves_than_earlier_ones_enclose_nothing() -> None:
    found = statements(signed(SINCE - SECOND, 8), signed(UNTIL, 3))
    assert found.leaves(0) is None
    assert "state fewer leaves than those before" in missing_second(found, 0, "owner")
    found.add(signed(UNTIL + SECOND, 9))
    assert found.leaves(0) == range(8, 9)


def test_heads_that_are_dated_ahead_enclose_nothing_and_are_kept_to_be_named() -> None:
    ahead = signed(UNTIL + timedelta(days=2), 8)
    found = statements(ahead)
    assert (found.second(0), found.ahead) == (None, {ahead.name: ahead})


def test_heads_that_were_signed_while_the_audit_went_on_are_not_dated_ahead() -> None:
    now = UNTIL
    found = IntervalStatements(TimeInterval(SINCE, UNTIL), lambda: now)
    now += 2 * SECOND
    found.add(signed(UNTIL + SECOND, 8))
    assert (found.leaves(0), found.ahead) == (range(8), {})


def test_a_gap_is_longer_than_the_agreed_time_and_has_open_ends_where_no_heads_are_known() -> None:
    agreed = timedelta(seconds=STALE_SECONDS)
    every = [signed(SINCE - SECOND + number * agreed, 1) for number in range(182)]
    assert statements(*every).gaps() == []
    (gap,) = statements(*every[:5], *every[6:]).gaps()
    assert gap == HeadsGap(every[4].at, every[6].at)
    assert statements(*every[100:]).gaps() == [HeadsGap(None, every[100].at)]
    assert statements(*every[:100]).gaps() == [HeadsGap(every[99].at, None)]
    assert statements().gaps() == [HeadsGap(None, None)]


def test_of_the_receipts_in_a_gap_the_largest_of_each_database_and_partition_bridges_it() -> None:
    noon = SINCE + timedelta(hours=4)
    found = statements(
        signed(SINCE - SECOND, 1),
        receipt(noon, 2),
        receipt(noon + timedelta(hours=1), 3),
        signed(UNTIL, 4),
    )
    (gap,) = found.gaps()
    assert found.bridges(gap) == [receipt(noon + timedelta(hours=1), 3)]
