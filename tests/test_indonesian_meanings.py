"""People read what a field means in Indonesian, of every version of every event type."""

from __future__ import annotations

from sinergi_schemas.avro_types.fields import described_fields
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.indonesian_meanings import MEANINGS, in_both, indonesian_of, shown_doc


def test_every_field_has_an_indonesian_meaning_and_no_translation_is_left_over() -> None:
    catalog = Catalog.shipped()
    stated = {
        shown_doc(field.doc)
        for event_type in catalog.event_types
        for schema in catalog.versions(event_type)
        for field in described_fields(schema.event)
    }
    assert {*MEANINGS} == stated
    for english, indonesian in MEANINGS.items():
        assert english != indonesian
        assert (english[-1], indonesian[-1]) == (".", ".")


def test_a_field_of_another_agencys_event_type_keeps_its_own_words() -> None:
    assert indonesian_of("A field of elsewhere.") == ""
    assert in_both("A field of elsewhere.") == "A field of elsewhere."
    assert in_both("Form (bentuk).") == "Bentuk. · Form (bentuk)."
