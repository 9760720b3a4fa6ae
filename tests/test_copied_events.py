"""pydantic's model_copy validates nothing, so `publish` validates every event again."""

from __future__ import annotations

import traceback
import warnings
from contextlib import redirect_stderr
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import strategies
from agency_pair import transfer
from sinergi import Action
from sinergi_schemas import errors
from sinergi_schemas.events import MODELS, Event, Exhibit, Person, Transfer, Unit
from test_outbox import outbox

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "Rahasia3510010101900001"
NAIVE = datetime(2026, 3, 9, 7, 30)  # noqa: DTZ001 - the attack
WRONG = [
    SECRET,
    SECRET.encode(),
    "",
    " ",
    "\ud800" + SECRET,
    3510010101900001,
    -1,
    1.5,
    float("nan"),
    True,
    None,
    NAIVE,
    datetime(2026, 3, 9, tzinfo=UTC),
    date(2026, 3, 9),
    Decimal("sNaN"),
    Decimal("4.82"),
    [SECRET],
    (SECRET, SECRET),
    [[SECRET]],
    {SECRET},
    {"nama": SECRET},
    {"name": SECRET, "role": SECRET},
    Unit(name="Lapas Rekaan").model_copy(update={"name": 5}),
    Unit.model_construct(),
    (Person.model_construct(name=SECRET),) * 2,
    (Exhibit.model_construct(label=SECRET, form=[SECRET], count_unit={SECRET}),),
    type("Named", (), {"__repr__": lambda _: SECRET})(),
]
OF_EVERY_TYPE = [strategies.seizures, strategies.transfers, strategies.visits]


@cache
def its_outbox() -> Any:
    return outbox()


def refusal_of(event: Any) -> errors.SinergiError:
    """The error of publish, which has no transaction here; no value may appear in any output."""
    box = its_outbox()
    with warnings.catch_warnings(record=True) as warned, redirect_stderr(StringIO()) as written:
        warnings.simplefilter("always")
        with pytest.raises(errors.SinergiError) as caught:
            box.publish(None, event)
        with pytest.raises(errors.SinergiError):
            box.publish_many(None, [event])
    text = "".join(traceback.format_exception(caught.value))
    for hidden in (SECRET, SECRET[-16:]):
        assert hidden not in text
    assert not warned
    assert not written.getvalue()
    return caught.value


def copies(event: Event, value: object) -> Iterator[Event]:
    """Copies of an event, each with the value in another field or in a field of another part."""
    for name in (*type(event).model_fields, "event_type", "bogus"):
        yield event.model_copy(update={name: value})
        part: Any = getattr(event, name, None)
        if isinstance(part, BaseModel):
            for inner in type(part).model_fields:
                yield event.model_copy(update={name: part.model_copy(update={inner: value})})
        elements = part if isinstance(part, tuple) else ()
        for place, element in enumerate(elements):
            if not isinstance(element, BaseModel):
                continue
            for inner in type(element).model_fields:
                copied = element.model_copy(update={inner: value})
                changed = (*elements[:place], copied, *elements[place + 1 :])
                yield event.model_copy(update={name: changed})


@given(
    event=st.sampled_from(OF_EVERY_TYPE).flatmap(lambda of_type: of_type(issued=False)),
    value=st.sampled_from(WRONG),
)
def test_a_copy_with_any_value_in_any_field_gives_only_our_errors_and_no_value(
    event: Event, value: object
) -> None:
    for copied in copies(event, value):
        refusal_of(copied)


@pytest.mark.parametrize(
    ("update", "problem"),
    [
        ({"departed_at": NAIVE}, "departed_at: has no offset from UTC: state its zone"),
        ({"record_id": " "}, "record_id: is blank, but it is required"),
        ({"case_number": " "}, "case_number: is blank: leave it out if nothing is known"),
        ({"destinaton": 1}, "destinaton: is not a field of Transfer; did you mean destination?"),
        ({"event_type": "seizure"}, "event_type: is not a field of Transfer"),
        ({"action": "CHANGED"}, "action: is not a code of its list; state UNKNOWN if nothing"),
    ],
)
def test_a_copy_is_refused_as_a_new_event_would_be(update: dict[str, Any], problem: str) -> None:
    refused = refusal_of(transfer("P/1").model_copy(update=update))
    assert isinstance(refused, errors.EventRefused)
    assert str(refused).startswith(f"The transfer is refused: {problem}")


def test_the_attack_knows_every_event_type() -> None:
    assert len(OF_EVERY_TYPE) == len(MODELS)


def test_every_wrong_field_of_a_copy_is_named() -> None:
    copied = transfer("P/1").model_copy(
        update={"departed_at": NAIVE, "zone": "WIB", "origin": Unit.model_construct(nama="x")}
    )
    refused = refusal_of(copied)
    assert isinstance(refused, errors.EventRefused)
    assert {problem.partition(":")[0] for problem in refused.problems} == {
        "departed_at",
        "zone",
        "origin.name",
    }


def test_an_event_made_without_its_fields_is_refused() -> None:
    refused = refusal_of(Transfer.model_construct())
    assert isinstance(refused, errors.EventRefused)
    assert "record_id: is required" in refused.problems


def test_an_event_without_an_event_type_is_refused() -> None:
    fields = {name: getattr(transfer("P/1"), name) for name in Event.model_fields}
    assert "has no event type" in str(refusal_of(Event(**fields)))


def test_text_in_the_place_of_a_code_is_the_code() -> None:
    copied = transfer("P/1").model_copy(update={"action": "CORRECTED"})
    assert isinstance(refusal_of(copied), errors.TransactionRefused)
    assert Action["CORRECTED"] is Action.CORRECTED


def test_an_event_id_that_is_taken_names_model_copy() -> None:
    for error in (errors.EventIdTaken, errors.EventDiffers):
        assert "model_copy` keeps" in str(error("0"))
