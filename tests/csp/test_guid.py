"""GUIDs are read in every form devices write and written in one."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.errors import InvalidGuid
from csp.guid import guid_of_name, guid_segment, is_guid, parse_guid

GUID = "a317dafe-baf4-453f-b232-a7075efae36e"


@pytest.mark.parametrize(
    "text",
    [
        GUID,
        GUID.upper(),
        "{" + GUID + "}",
        "%7b" + GUID + "%7d",
        "%7B" + GUID.upper() + "%7D",
        # Microsoft's EnterpriseAppManagement sample has the blank
        "%7B " + GUID + "%7D",
        " \t{ " + GUID + " }\r\n",
        GUID.replace("-", "%2d"),
    ],
)
def test_every_form_reads_as_one_guid(text: str) -> None:
    """Case, one pair of braces, one level of percent-encoding and blanks make no difference."""
    assert parse_guid(text) == GUID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        GUID[:-1],
        GUID + "0",
        GUID.replace("-", ""),
        GUID.replace("a", "g"),
        "{" + GUID,
        GUID + "}",
        "{{" + GUID + "}}",
        "(" + GUID + ")",
        "%257b" + GUID + "%257d",
        "%7" + GUID,
        "%ff" + GUID,
        GUID.replace("1", "\u0661"),
        GUID + "\u00a0",
        GUID + "/Type",
    ],
)
def test_what_is_no_guid_is_refused(text: str) -> None:
    """A lost digit, one brace, two encodings or foreign digits are InvalidGuid, never another exception."""
    with pytest.raises(InvalidGuid, match="is not a GUID"):
        parse_guid(text)


def test_a_name_is_not_decoded_again() -> None:
    """Names of `LocURI.segments` are already unescaped; a percent sign in one is part of the name."""
    assert guid_of_name("{" + GUID.upper() + "}") == GUID
    with pytest.raises(InvalidGuid):
        guid_of_name("%7b" + GUID + "%7d")


@pytest.mark.parametrize(("name", "expected"), [(GUID, True), ("{" + GUID + "}", True), ("{guid}", False)])
def test_is_guid_tells_guid_names_from_others(name: str, expected: bool) -> None:  # noqa: FBT001 - a table
    """It is the same judgement as `guid_of_name`, without an exception."""
    assert is_guid(name) is expected


def test_a_segment_is_written_in_the_documented_form() -> None:
    """Escaped braces in lower case around lower-case digits, as the Update CSP page shows."""
    assert guid_segment("{" + GUID.upper() + "}") == f"%7b{GUID}%7d"


def test_a_segment_cannot_be_made_from_rubbish() -> None:
    """No text can smuggle a path or a query into a LocURI through `guid_segment`."""
    with pytest.raises(InvalidGuid):
        guid_segment("a/b?list=Struct")


@given(value=st.uuids(), braces=st.booleans(), upper=st.booleans(), blanks=st.text(" \t\n", max_size=3))
def test_any_guid_survives_writing_and_reading(
    value: uuid.UUID,
    braces: bool,  # noqa: FBT001 - drawn by hypothesis
    upper: bool,  # noqa: FBT001 - as above
    blanks: str,
) -> None:
    """Whatever form it comes in, the normal form equals Python's, and our segment reads back as it."""
    text = "{" + str(value) + "}" if braces else str(value)
    text = blanks + (text.upper() if upper else text) + blanks
    assert parse_guid(text) == str(value)
    assert parse_guid(guid_segment(text)) == str(value)


@given(st.text())
def test_any_text_is_a_guid_or_invalid(text: str) -> None:
    """No text raises anything but InvalidGuid."""
    try:
        guid = parse_guid(text)
    except InvalidGuid:
        assert not is_guid(text)
    else:
        assert str(uuid.UUID(guid)) == guid
