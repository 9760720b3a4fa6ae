"""Agencies that log in to the brokers with certificates instead of passwords."""

from __future__ import annotations

import json
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tomli_w

from agency_pair import AgencyPair, transfer
from sinergi.cli.root import run
from sinergi.local import certificates
from test_relay import relay_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from secured_kafka import Secured

pytestmark = pytest.mark.long


@pytest.fixture
def pair(
    tmp_path: Path, broker: Secured, agency_slug: str, databases: Callable[[], str]
) -> AgencyPair:
    """A pair whose agreement names the subjects of certificates, provisioned by the operator."""
    broker.forget()
    made = AgencyPair(tmp_path, broker.bootstrap, agency_slug, databases(), databases())
    parties = made.agreement["parties"]
    parties[made.publisher]["principals"] = {"producer": [f"CN={made.publisher}"]}
    parties[made.reader]["principals"] = {"consumer": [f"CN={made.reader}"]}
    made.agree(made.agreement)
    operator = {
        "agency": made.reader,
        "agreements": str(made.folder),
        "kafka": {"bootstrap": broker.bootstrap},
    }
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator/sinergi.toml").write_text(tomli_w.dumps(operator))
    assert run(["--config", str(tmp_path / "operator/sinergi.toml"), "provision", "apply"]) == 0
    for file, agency in (
        (made.agency_settings, made.publisher),
        (made.reader_settings, made.reader),
    ):
        log_in(file, broker, broker.authority.write_client(file.parent, agency))
    return made


def log_in(file: Path, broker: Secured, certificate: dict[str, str]) -> None:
    """Let a settings file log in with a certificate."""
    document = tomllib.loads(file.read_text())
    document["kafka"] = {
        "bootstrap": broker.mutual,
        "security": "SSL",
        "ca_file": str(broker.ca_file),
        **certificate,
    }
    file.write_text(tomli_w.dumps(document))


def test_events_and_receipts_go_over_mutual_tls_and_no_user_is_made_for_a_certificate(
    pair: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(5)))
    with relay_process(pair), pair.worker("reader"):
        pair.until_rows("sinergi.transfer", 5)
        unsent = "sinergi_consumer.receipt WHERE published_at IS NULL"
        pair.until(lambda: pair.count(unsent) == 0, "the receipts are on their topic")
        capsys.readouterr()
        assert run(["--config", str(pair.agency_settings), "status", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["problems"] == []
    assert not (pair.folder / "operator/passwords").exists()


def test_a_certificate_that_the_agreement_does_not_name_may_do_nothing(
    pair: AgencyPair, broker: Secured, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = broker.authority.write_client(pair.reader_settings.parent, "stranger")
    log_in(pair.reader_settings, broker, stranger)
    assert run(["--config", str(pair.reader_settings), "replay", pair.topic.name]) == 2
    assert "User:CN=stranger lacks the right Read on topic" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["of another authority", "expired"])
def test_a_process_waits_while_its_certificate_is_refused_and_status_says_so(
    pair: AgencyPair,
    broker: Secured,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = tomllib.loads(pair.reader_settings.read_text())["kafka"]
    places = [Path(good[name]) for name in ("private_key_file", "certificate_file")]
    kept = [each.read_bytes() for each in places]
    authority = broker.other_authority
    if kind == "expired":
        authority = broker.authority
        monkeypatch.setattr(certificates, "_BEFORE", timedelta(days=9))
        monkeypatch.setattr(certificates, "_VALID", timedelta(days=-1))
    authority.write_client(pair.reader_settings.parent, pair.reader)
    pair.publish(transfer("P/1"))
    with relay_process(pair), pair.worker("reader") as worker:
        pair.until(lambda: "certificate" in str(worker.said), "the reader says why it waits")
        assert worker.process.poll() is None
        capsys.readouterr()
        assert run(["--config", str(pair.reader_settings), "status"]) == 2
        (line,) = [each for each in capsys.readouterr().out.splitlines() if "certificate" in each]
        assert "certificate_file" in line
        for path, content in zip(places, kept, strict=True):
            path.write_bytes(content)
        assert worker.process.poll() is None
        with pair.worker("again"):
            pair.until_rows("sinergi.transfer", 1)
