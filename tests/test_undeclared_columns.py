"""A revision also replaces what another version of Sinergi has written of the one before.

The tables have a column and a child table of a newer version, which this one does not declare, and
a column that the agency has added by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agency_pair import AgencyPair, transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OF_A_NEWER_VERSION = (
    "ALTER TABLE sinergi.transfer ADD vehicle text",
    "CREATE TABLE sinergi.transfer_stop (LIKE sinergi.transfer_escort INCLUDING ALL)",
    """
    INSERT INTO sinergi_consumer.projection_column (projection, table_name, column_name) VALUES
    ('transfer', 'transfer', 'vehicle'), ('transfer', 'transfer_stop', 'record_id'),
    ('transfer', 'transfer', 'dropped_again'), ('transfer', 'transfer_dropped_again', 'agency')
    """,
)
OF_THE_AGENCY = "ALTER TABLE sinergi.transfer ADD note text"
WRITTEN = (
    "UPDATE sinergi.transfer SET vehicle = 'P 1 X', note = 'ours'",
    "INSERT INTO sinergi.transfer_stop SELECT * FROM sinergi.transfer_escort",
)
ROWS = "SELECT record_id, revision, vehicle, note FROM sinergi.transfer ORDER BY record_id"
STOPS = "SELECT record_id FROM sinergi.transfer_stop ORDER BY record_id"
ESCORT = ({"escort_agency": "Brimob", "count": 3},)


@pytest.fixture
def pair(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> Iterator[AgencyPair]:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    execute(pair, *OF_A_NEWER_VERSION, OF_THE_AGENCY)
    pair.publish(*(transfer(each, escort=ESCORT) for each in ("A", "B", "C")))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 3)
    execute(pair, *WRITTEN)
    with pair.relaying():
        yield pair


def execute(pair: AgencyPair, *statements: str) -> None:
    with pair.consumer.begin() as connection:
        for each in statements:
            connection.exec_driver_sql(each)


def test_a_correction_replaces_values_that_this_version_does_not_know(pair: AgencyPair) -> None:
    pair.publish(transfer("A", "CORRECTED"), transfer("B", "CORRECTED", escort=ESCORT))
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 5)
    assert pair.ask(ROWS) == [
        ("A", 2, None, "ours"),
        ("B", 2, None, "ours"),
        ("C", 1, "P 1 X", "ours"),
    ]
    assert pair.ask(STOPS) == [("C",)]


def test_it_replaces_them_too_where_the_database_refuses_another_event(pair: AgencyPair) -> None:
    execute(pair, "ALTER TABLE sinergi.transfer ADD CHECK (record_id <> 'BAD')")
    pair.publish(transfer("BAD"), transfer("A", "CORRECTED"), transfer("D"))
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 6)
    assert pair.count("sinergi_consumer.quarantine") == 1
    assert pair.ask(ROWS) == [
        ("A", 2, None, "ours"),
        ("B", 1, "P 1 X", "ours"),
        ("C", 1, "P 1 X", "ours"),
        ("D", 1, None, None),
    ]
    assert pair.ask(STOPS) == [("B",), ("C",)]
