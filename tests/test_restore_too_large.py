"""`sinergi archive restore` into a topic that does not take messages of the archive's size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from sinergi.restoring import topic_restoring
from sinergi_schemas import errors
from sinergi_schemas.limits import MOST_BATCH_BYTES
from test_archive import ArchivedPair, leaves, lost, own_archived, pair
from test_forged_restore import restore

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["own_archived", "pair"]  # fixtures

LARGEST = r"leaf \d+ of \S+/\d in the archive has ([\d,]+) bytes"


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that may not see the settings of topics, as those of agencies."""

    def refuse(_: object, topics: Sequence[str]) -> None:
        raise errors.NotPermitted("User:agency", "DescribeConfigs", "topic", tuple(topics), "")

    monkeypatch.setattr(topic_restoring, "topic_settings", refuse)


def refused(own_archived: ArchivedPair, limit: int) -> str:
    """What is said of a restore into a topic that takes so many bytes, and sends nothing."""
    lost(own_archived.pair, **{"max.message.bytes": str(limit)})
    status, out, err = restore(own_archived, own_archived.file)
    assert (status, out, err.count("sinergi: ")) == (2, "", 1)
    assert leaves(own_archived.pair) == []
    assert "GAPLESS" not in err
    found = re.search(LARGEST, err)
    assert found is not None, err
    assert 100 < int(found.group(1).replace(",", "")) < 10_000
    assert f"batches of Sinergi have up to {MOST_BATCH_BYTES:,}" in err
    assert "`sinergi provision apply` sets that, and restore again" in err
    return err


@pytest.mark.parametrize("limit", [300, 3_000])  # less than one message, and than one batch
def test_a_topic_that_takes_too_few_bytes_is_refused_before_anything_is_sent(
    own_archived: ArchivedPair, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_restoring, "open_producer", lambda *_, **__: pytest.fail("it sends"))
    topic = own_archived.pair.topic.name
    said = refused(own_archived, limit)
    assert f"max.message.bytes of {topic} is {limit:,}, which is too small" in said


@pytest.mark.usefixtures("blind")
def test_a_login_that_may_not_see_the_limit_is_told_what_the_brokers_refuse(
    own_archived: ArchivedPair,
) -> None:
    topic = own_archived.pair.topic.name
    assert f"max.message.bytes of {topic} is too small" in refused(own_archived, 300)
