"""Each rule takes what it describes and says in words what it refuses."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.values import (
    DATE_PATTERN,
    MOMENT_PATTERN,
    Allowed,
    AnyText,
    Choice,
    Date,
    Flags,
    Moment,
    Number,
    Range,
    Text,
    Truth,
    is_xml_text,
)

COLOUR = Text("red|green", "red or green")
HIGHEST = "a whole number from 0 to 2147483647"

RULES: list[tuple[Allowed, str, str | None]] = [
    (Choice((2, 4, 16)), "2", None),
    (Choice((2, 4, 16)), "16", None),
    (Choice((2, 4, 16)), "3", "must be one of 2, 4, 16"),
    (Choice((2, 4, 16)), "", "must be one of 2, 4, 16"),
    (Choice((2, 4, 16)), "02", "must be one of 2, 4, 16"),
    (Choice((2, 4, 16)), "two", "must be one of 2, 4, 16"),
    (Flags((1, 4)), "0", None),
    (Flags((1, 4)), "5", None),
    (Flags((1, 4)), "2", "must be 0 or a sum of 1, 4"),
    (Flags((1, 4)), "8", "must be 0 or a sum of 1, 4"),
    (Flags((1, 4)), "0x1", "must be 0 or a sum of 1, 4"),
    (Range(8, 18), "8", None),
    (Range(8, 18), "18", None),
    (Range(8, 18), "7", "must be a whole number from 8 to 18"),
    (Range(8, 18), "19", "must be a whole number from 8 to 18"),
    (Range(8, 18), "-8", "must be a whole number from 8 to 18"),
    (Range(8, 18), "9.5", "must be a whole number from 8 to 18"),
    (Range(0, 9), "٣", "must be a whole number from 0 to 9"),
    (Number(), "0", None),
    (Number(), "2147483647", None),
    (Number(), "2147483648", f"must be {HIGHEST}"),
    (Number(), "9" * 5000, f"must be {HIGHEST}"),
    (Number(), "-1", f"must be {HIGHEST}"),
    (Truth(), "true", None),
    (Truth(), "false", None),
    (Truth(), "True", "must be true or false"),
    (Truth(), "1", "must be true or false"),
    (Truth(), "", "must be true or false"),
    (Date(), "2028-02-29", None),
    (Date(), "2027-02-29", "is a day that does not exist"),
    (Date(), "0000-01-01", "is a day that does not exist"),
    (Date(), "20280229", "must be a date written yyyy-mm-dd"),
    (Date(), "2028-02-29T00:00:00", "must be a date written yyyy-mm-dd"),
    (Date(), "", "must be a date written yyyy-mm-dd"),
    (Moment(), "", None),
    (Moment(), "2026-11-21T22:00:00", None),
    (Moment(), "2026-11-21T22:00:00Z", None),
    (Moment(), "2026-11-21T22:00:00+14:00", None),
    (Moment(), "2026-02-30T22:00:00", "is on a day that does not exist"),
    *(
        (Moment(), text, "must be empty or a date and time written yyyy-mm-ddThh:mm:ss")
        for text in (
            "2026-11-21",
            "T22:00:00",
            "22:00:00",
            "2026-11-21 22:00:00",
            "2026-11-21T24:00:00",
            "2026-11-21T22:60:00",
            "2026-11-21T22:00",
            "2026-11-21T22:00:00+15:00",
            "2026-11-21T22:00:00\n",
        )
    ),
    (COLOUR, "red", None),
    (COLOUR, "red ", "must be red or green"),
    (COLOUR, "blue", "must be red or green"),
    (Text(r"\S+", "anything"), "\x00", "must be anything"),
    (AnyText(), "", None),
    (AnyText(), "Grüße\t\r\n😀", None),
    (AnyText(";"), "a;b", None),
    (AnyText(), "\x1b[0m", "must be text without control characters"),
    (AnyText(), "\ud800", "must be text without control characters"),
]


@pytest.mark.parametrize(("rule", "value", "objection"), RULES)
def test_a_value_passes_or_is_objected_to(rule: Allowed, value: str, objection: str | None) -> None:
    """Both sides of each bound, other ways to write the same, and what is no value of that kind at all."""
    assert rule.objection(value) == objection


@given(st.sampled_from([rule for rule, _, _ in RULES]), st.text() | st.integers().map(str))
def test_any_text_is_taken_or_objected_to(rule: Allowed, value: str) -> None:
    """No text raises, and what is taken can stand in a message."""
    objection = rule.objection(value)
    if objection is None:
        assert is_xml_text(value)
    else:
        assert objection.startswith(("must be ", "is "))


@given(st.dates())
def test_every_day_is_a_date(day: date) -> None:
    """Whatever the calendar has is taken, and the pattern that a description shows agrees."""
    assert Date().objection(day.isoformat()) is None
    assert re.fullmatch(DATE_PATTERN, day.isoformat())


@given(
    st.dates(),
    st.times().map(lambda moment: moment.replace(microsecond=0)),
    st.none() | st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_every_moment_is_one(day: date, hour: time, zone: timezone | None) -> None:
    """Day and time to the second, in any time zone there is or none, are taken as Python writes them."""
    text = datetime.combine(day, hour, zone).isoformat()
    assert Moment().objection(text) is None
    assert re.fullmatch(MOMENT_PATTERN, text)


@pytest.mark.parametrize("character", ["\t", "\n", "\r", " ", "\ud7ff", "\ue000", "\ufffd", "😀"])
def test_xml_carries(character: str) -> None:
    """The edges of what XML 1.0 allows."""
    assert is_xml_text(f"a{character}b")


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x1f", "\ud800", "\ufffe", "\uffff"])
def test_xml_does_not_carry(character: str) -> None:
    """The edges of what it does not."""
    assert not is_xml_text(f"a{character}b")
