"""The pages of docs/spec say what the code does, and their vectors are read by tests."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sinergi_consumers.testing.sinks import transfer
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import message
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.message import Envelope, HeaderTemplate
from sinergi_schemas.topics import Topic

ROOT = Path(__file__).parent.parent
SPEC = ROOT / "docs" / "spec"
PAGES = {path.name: path.read_text("utf-8") for path in SPEC.glob("*.md")}
SCHEMA = Catalog.shipped().newest("transfer")
TOPIC = Topic("lapas-rekaan", "transfer")


def headers() -> dict[str, bytes]:
    envelope = Envelope("some-id", datetime(2026, 3, 3, tzinfo=UTC), "00-1-2-01")
    template = HeaderTemplate("sinergi.example", TOPIC, SCHEMA.fingerprint)
    return dict(template.headers(b"P/1", 7, envelope))


def test_the_page_lists_the_headers_that_a_message_has() -> None:
    listed = re.findall(r"^\| `([a-z_-]+)` \|", PAGES["message.md"], re.MULTILINE)
    of_a_batch = {message.CHECKPOINT, message.FRONTIER}
    assert set(listed) == headers().keys() | of_a_batch


def test_a_message_names_its_schema_and_its_frame_truly() -> None:
    found = headers()
    assert found["content-type"] == b"application/vnd.confluent.avro"
    prefix, _, digest = found["ce_dataschema"].decode().partition(";")
    assert prefix == "ni:///sha-256"
    assert base64.urlsafe_b64decode(f"{digest}=") == SCHEMA.fingerprint


@given(st.sampled_from([b"application/avro", b"", b"text/plain"]), st.booleans())
def test_messages_with_other_headers_of_cloudevents_stay_valid(kind: bytes, has_uri: bool) -> None:  # noqa: FBT001
    """As earlier versions wrote them."""
    (new,) = Tape("bus", TOPIC).write([transfer("P/1")])
    old = new.with_header("content-type", kind)
    if not has_uri:
        old = replace(old, pairs=tuple(each for each in old.pairs if each[0] != "ce_dataschema"))
    assert message.parse(old) == message.parse(new)


def test_links_lead_somewhere_and_the_vectors_exist() -> None:
    for name, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (SPEC / target).exists(), (name, target)
        for target in re.findall(r"`(seal|evidence|contract)/([a-z.-]+)`", text):
            assert (ROOT / "tests" / "vectors" / "/".join(target)).exists(), target
        for test in re.findall(r"`tests/(\w+\.py)`", text):
            assert (ROOT / "tests" / test).exists(), test
