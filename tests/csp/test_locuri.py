"""A LocURI is read and written by the rules of OMA DM_TND 1.2.1 chapter 5."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp.errors import InvalidLocURI
from csp.guid import guid_segment
from csp.locuri import LocURI, escape, unescape

GUID = "a317dafe-baf4-453f-b232-a7075efae36e"

# text on the wire, names, query; those of this table are in the form we write
CASES = [
    ("./Vendor/MSFT/Update", ("Vendor", "MSFT", "Update"), None),
    ("./DevDetail", ("DevDetail",), None),
    (
        f"./Vendor/MSFT/Update/ApprovedUpdates/%7b{GUID}%7d",
        ("Vendor", "MSFT", "Update", "ApprovedUpdates", "{" + GUID + "}"),
        None,
    ),
    ("./Vendor/MSFT/Update?list=StructData", ("Vendor", "MSFT", "Update"), "list=StructData"),
    ("./A?list=Struct", ("A",), "list=Struct"),
    ("./A?list=TNDS", ("A",), "list=TNDS"),
    ("./A?list=TNDS+ACL-Format", ("A",), "list=TNDS+ACL-Format"),
    ("./A?prop=Type", ("A",), "prop=Type"),
    ("./A/a%20b/%c3%a9%3f%2f%25", ("A", "a b", "é?/%"), None),
    ("./A/a*b~(c)!'-_.d", ("A", "a*b~(c)!'-_.d"), None),
]


@pytest.mark.parametrize(("text", "segments", "query"), CASES)
def test_reading_and_writing_agree(text: str, segments: tuple[str, ...], query: str | None) -> None:
    """The table holds in both directions."""
    assert LocURI.parse(text) == LocURI(segments, query)
    assert str(LocURI(segments, query)) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("./A \t\r\n", "./A"),
        ("./A/%7B5C%7D", "./A/%7b5C%7d"),
        ("./A/{5c}", "./A/%7b5c%7d"),
        ("./A/a b", "./A/a%20b"),
        ("./A/%41", "./A/A"),
        ("./A/%2541", "./A/%2541"),
        ("./A/é", "./A/%c3%a9"),
        ("./A?list=Struct ", "./A?list=Struct"),
    ],
)
def test_other_forms_are_read_and_written_in_ours(text: str, written: str) -> None:
    """Blanks behind, raw braces and needless or upper-case escapes are read; we write one form."""
    assert str(LocURI.parse(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "./",
        "/Vendor",
        "Vendor/MSFT",
        " ./Vendor",
        "./A/",
        "./A//B",
        ".//A",
        "./*",
        "./A/*/B",
        "./A/%2a",
        "./A/../B",
        "./A/./B",
        "./A/%2e%2e",
        "./A/%",
        "./A/%4",
        "./A/%zz",
        "./A/%ff",
        "./A?",
        "./A?list",
        "./A?list=",
        "./A?list=structdata",
        "./A?list=StructData&prop=Type",
        "./A?prop=",
        "./A?prop=a/b",
        "./A?other=1",
        "./A?list=Struct?list=Struct",
        "?list=Struct",
    ],
)
def test_what_breaks_a_rule_is_refused(text: str) -> None:
    """No leading slash, no empty segment, no `*` or dots as a name, no stray `%`, no unknown query."""
    with pytest.raises(InvalidLocURI):
        LocURI.parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/Vendor", "The LocURI '/Vendor' does not start with './'."),
        ("./A//B", "'' is not the name of a node."),
        ("./A/*", "'*' is not the name of a node."),
        ("./A/50%", "The segment '50%' has a % that escapes nothing."),
        ("./A/%ff", "The segment '%ff' is not UTF-8."),
        ("./A?list=all", "The query 'list=all' is neither list= nor prop=."),
    ],
)
def test_the_broken_rule_is_named(text: str, sentence: str) -> None:
    """The error is one sentence about the part that is wrong."""
    with pytest.raises(InvalidLocURI) as caught:
        LocURI.parse(text)
    assert caught.value.detail == sentence


@pytest.mark.parametrize(
    ("segments", "query"),
    [((), None), (("A", ""), None), (("*",), None), (("..",), None), (("\ud800",), None), (("A",), "x=1")],
)
def test_no_illegal_value_can_be_made(segments: tuple[str, ...], query: str | None) -> None:
    """The constructor refuses what the parser refuses, so every LocURI can be sent."""
    with pytest.raises(InvalidLocURI):
        LocURI(segments, query)


def test_a_child_is_named_unescaped_and_drops_the_query() -> None:
    """`/` takes a name, escapes it on writing, and does not carry `?list=` to the child."""
    child = LocURI.parse("./Vendor/MSFT/Update/ApprovedUpdates?list=Struct") / ("{" + GUID + "}")
    assert str(child) == f"./Vendor/MSFT/Update/ApprovedUpdates/{guid_segment(GUID)}"


def test_an_illegal_child_is_refused() -> None:
    """A child cannot be an empty name."""
    with pytest.raises(InvalidLocURI):
        LocURI.parse("./A") / ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("./Device/Vendor/MSFT/Update?list=Struct", "./Vendor/MSFT/Update?list=Struct"),
        ("./Vendor/MSFT/Update", "./Vendor/MSFT/Update"),
        ("./User/Vendor/MSFT/Policy", "./User/Vendor/MSFT/Policy"),
        ("./Device", "./Device"),
        ("./Device/Vendor", "./Vendor"),
        ("./Vendor/Device/A", "./Vendor/Device/A"),
    ],
)
def test_the_device_prefix_means_nothing(text: str, expected: str) -> None:
    """`./Device/…` and `./…` are the same node; `./User/…` is another."""
    assert str(LocURI.parse(text).canonical()) == expected


@pytest.mark.parametrize(
    ("text", "listing", "prop"),
    [
        ("./A", None, None),
        ("./A?list=StructData", "StructData", None),
        ("./A?list=TNDS-ACL", "TNDS-ACL", None),
        ("./A?prop=Format", None, "Format"),
    ],
)
def test_the_query_is_taken_apart(text: str, listing: str | None, prop: str | None) -> None:
    """`listing` and `prop` say what the query asks for, and `without_query` drops it."""
    uri = LocURI.parse(text)
    assert (uri.listing, uri.prop) == (listing, prop)
    assert uri.without_query() == LocURI.parse("./A")


def test_escape_refuses_what_utf8_cannot_carry() -> None:
    """A lone surrogate is InvalidLocURI, not UnicodeEncodeError, in both directions."""
    with pytest.raises(InvalidLocURI, match="UTF-8"):
        escape("\ud800")
    with pytest.raises(InvalidLocURI, match="UTF-8"):
        unescape("\ud800")


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in {"*", ".", ".."}
)
queries = st.none() | st.sampled_from(["list=Struct", "list=StructData", "list=TNDS+ACL", "prop=Name"])


@given(names)
def test_any_name_survives_escaping(name: str) -> None:
    """Escaped text is ASCII without separators and reads back as the name."""
    text = escape(name)
    assert text.isascii()
    assert not set(text) & set("/?{} \n")
    assert unescape(text) == name


@given(st.lists(names, min_size=1, max_size=6), queries)
def test_any_locuri_survives_writing_and_reading(segments: list[str], query: str | None) -> None:
    """parse(str(uri)) is uri."""
    uri = LocURI(tuple(segments), query)
    assert LocURI.parse(str(uri)) == uri


@given(st.text() | st.text("./%?*{}= ab2f", max_size=20).map(lambda text: "./" + text))
def test_any_text_is_a_locuri_or_invalid(text: str) -> None:
    """No text raises anything but InvalidLocURI, and what is read is stable under writing."""
    try:
        uri = LocURI.parse(text)
    except InvalidLocURI:
        return
    assert LocURI.parse(str(uri)) == uri
