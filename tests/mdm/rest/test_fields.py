"""The parts of request models."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mdm.rest.fields import Body, Flag, Guid, Name, PageQuery, Query, field_errors, printable

GUID = "0fa1201d-4330-4fa8-8ae9-b877473b6441"


@pytest.mark.parametrize("text", ["", "a", "Büro 5", "日本", "a‑b", "\u00a0", "\U0001f600"])
def test_printable(text: str) -> None:
    """Letters of every script are."""
    assert printable(text)


@pytest.mark.parametrize("text", ["\x00", "a\nb", "\x1b[31m", "\x7f", "\x85", "\ud800"])
def test_not_printable(text: str) -> None:
    """Controls and lone surrogates are not."""
    assert not printable(text)


@given(st.text())
def test_a_name_never_has_blanks_around_it_or_controls(text: str) -> None:
    """Whatever is sent: a clean name or a ValidationError."""
    try:
        name = TypeAdapter(Name).validate_python(text)
    except ValidationError:
        return
    assert name == name.strip()
    assert 0 < len(name) <= 200
    assert printable(name)


@given(st.text())
def test_a_guid_is_lower_case_or_refused(text: str) -> None:
    """Whatever is sent: one form or a ValidationError."""
    try:
        guid = TypeAdapter(Guid).validate_python(text)
    except ValidationError:
        return
    assert len(guid) == 36
    assert guid == guid.lower()


@pytest.mark.parametrize("text", [GUID, GUID.upper(), f"{{{GUID}}}", f" {GUID} ", f"%7b{GUID}%7D"])
def test_guid_forms(text: str) -> None:
    """Any one of them means the same."""
    assert TypeAdapter(Guid).validate_python(text) == GUID


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False)])
def test_flags(text: str, *, value: bool) -> None:
    """Two spellings."""
    assert TypeAdapter(Flag).validate_python(text) is value


@pytest.mark.parametrize("text", ["", "1", "0", "yes", "True", "TRUE", "on", " true"])
def test_no_other_flags(text: str) -> None:
    """A client that writes something else learns so."""
    with pytest.raises(ValidationError):
        TypeAdapter(Flag).validate_python(text)


class Shape(Body):
    """A body of the test's own."""

    number: int
    name: Name
    many: list[int] | None = None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "x"}, [("/number", "required")]),
        ({"number": "1", "name": "x"}, [("/number", "wrong_type")]),
        ({"number": True, "name": "x"}, [("/number", "wrong_type")]),
        ({"number": 1, "name": "x", "many": [1, "2"]}, [("/many/1", "wrong_type")]),
        ({"number": 1, "name": "", "x~/y": 0}, [("/name", "too_short"), ("/x~0~1y", "unknown_member")]),
    ],
)
def test_pointers_and_codes(body: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """JSON pointers as RFC 6901 escapes them, codes that do not change with pydantic."""
    with pytest.raises(ValidationError) as caught:
        Shape.model_validate(body)
    assert [(error.pointer, error.code) for error in field_errors(caught.value)] == expected


def test_the_value_sent_is_not_repeated() -> None:
    """It may be a secret in the wrong place."""
    with pytest.raises(ValidationError) as caught:
        Shape.model_validate({"number": "hunter2", "name": "x" * 300, "password": "hunter2"})
    assert "hunter2" not in str(field_errors(caught.value))


def test_page_defaults() -> None:
    """Fifty rows, from the beginning."""
    query = PageQuery.model_validate({})
    assert (query.limit, query.cursor) == (50, None)
    assert Query.model_config["frozen"] is True


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("05", 5), ("500", 500)])
def test_limits(text: str, limit: int) -> None:
    """Digits from 1 to 500."""
    assert PageQuery.model_validate({"limit": text}).limit == limit


@pytest.mark.parametrize(
    "text", ["", "0", "501", "-1", "+5", " 5", "5.0", "5_0", "1e1", "５", "²", "9" * 5000]
)
def test_no_other_limits(text: str) -> None:
    """No spelling that only Python would call a number."""
    with pytest.raises(ValidationError):
        PageQuery.model_validate({"limit": text})
