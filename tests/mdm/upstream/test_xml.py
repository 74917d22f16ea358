"""The guarded door to xmltodict: what it lets through, what it refuses, and that there is no other door."""

from __future__ import annotations

import contextlib
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.upstream.errors import InvalidAnswer
from mdm.upstream.xml import (
    DA,
    SD,
    SOAP,
    GuardedExpat,
    XmlLimits,
    XmlRefused,
    child,
    children,
    read_soap_body,
    text_of,
    write_soap,
)

OPEN = f'<s:Envelope xmlns:s="{SOAP}"><s:Body>'
CLOSE = "</s:Body></s:Envelope>"


def body(inner: str, limits: XmlLimits | None = None) -> dict[str, object]:
    """Read an envelope around `inner`."""
    return read_soap_body(f"{OPEN}{inner}{CLOSE}".encode(), limits or XmlLimits())


def test_names_depend_on_the_namespace_and_not_on_the_prefix() -> None:
    """Whatever prefix a peer chooses, an element is named by its namespace."""
    spellings = [
        f'<GetCookieResponse xmlns="{SD}"><a/></GetCookieResponse>',
        f'<x:GetCookieResponse xmlns:x="{SD}"><x:a/></x:GetCookieResponse>',
        f'<soap:GetCookieResponse xmlns:soap="{SD}"><soap:a/></soap:GetCookieResponse>',
    ]
    assert {str(body(each)) for each in spellings} == {"{'sd:GetCookieResponse': {'sd:a': None}}"}


@pytest.mark.parametrize("namespace", ["sd", "soap", "", "urn:other", "http://x:sd", f"{SD}/"])
def test_a_foreign_namespace_cannot_pass_for_a_known_one(namespace: str) -> None:
    """Only the exact namespace gives the prefix `sd:`."""
    assert not [name for name in body(f'<Call xmlns="{namespace}"/>') if name.startswith(("sd:", "soap:"))]


def test_both_soap_versions_are_read() -> None:
    """SOAP 1.2 envelopes are read like those of 1.1."""
    for namespace in (SOAP, "http://www.w3.org/2003/05/soap-envelope"):
        text = f'<e:Envelope xmlns:e="{namespace}"><e:Body><a xmlns="{DA}">t</a></e:Body></e:Envelope>'
        assert read_soap_body(text.encode()) == {"da:a": "t"}


def test_repeatable_elements_are_always_lists() -> None:
    """One child of a repeatable name comes as a list of one; nil ones are left out."""
    one = body(f'<r xmlns="{SD}"><UpdateIdentity>x</UpdateIdentity></r>')["sd:r"]
    nil = body(f'<r xmlns="{SD}"><UpdateIdentity/></r>')["sd:r"]
    assert children(one, "sd:UpdateIdentity") == ["x"]
    assert children(nil, "sd:UpdateIdentity") == []
    assert children(None, "sd:UpdateIdentity") == children("text", "sd:UpdateIdentity") == []


def test_an_element_that_may_stand_once_is_refused_twice() -> None:
    """`child` refuses a list rather than pick one."""
    with pytest.raises(InvalidAnswer, match="Anchor stands in the answer more than once"):
        child(body(f'<r xmlns="{SD}"><Anchor>1</Anchor><Anchor>2</Anchor></r>')["sd:r"], "sd:Anchor")


def test_text_is_stripped_unless_it_must_be_exact() -> None:
    """White space around a value is noise; that of a document is not ours to drop."""
    node = body(f'<a xmlns="{SD}">  \n t </a>')["sd:a"]
    assert text_of(node) == "t"
    assert text_of(node, exact=True) == "  \n t "
    assert text_of(body("<a> </a>")["a"]) is None
    assert text_of({"x": "y"}) is None


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "no element found"),
        (b"<html>", "no element found"),
        (b"not xml", "syntax error"),
        (OPEN.encode() + b"\xff" + CLOSE.encode(), "not well-formed"),
        (f"<!DOCTYPE x>{OPEN}{CLOSE}".encode(), "DOCTYPE"),
        (f'<!DOCTYPE x [<!ENTITY a "b">]>{OPEN}&a;{CLOSE}'.encode(), "DOCTYPE"),
        (f'<!DOCTYPE x [<!ATTLIST x y CDATA "z">]>{OPEN}{CLOSE}'.encode(), "DOCTYPE"),
        (f"{OPEN}&undefined;{CLOSE}".encode(), "undefined entity"),
        (f"{OPEN}<a>\u20ac</a>{CLOSE}".encode("cp1252"), "not well-formed"),
        (b"<a/>", "not a SOAP envelope"),
        (f'<s:Envelope xmlns:s="{SOAP}"><s:Body/></s:Envelope>'.encode(), "not a SOAP envelope"),
        (f'<s:Envelope xmlns:s="{SOAP}"><s:Body>text</s:Body></s:Envelope>'.encode(), "not a SOAP envelope"),
    ],
)
def test_what_is_no_soap_envelope_is_one_documented_error(document: bytes, reason: str) -> None:
    """Everything unreadable is InvalidAnswer with the reason."""
    with pytest.raises(InvalidAnswer, match=reason):
        read_soap_body(document)


@pytest.mark.parametrize(
    ("limits", "inner", "reason"),
    [
        (XmlLimits(bytes=500), "x" * 500, "more than 500 bytes"),
        (XmlLimits(depth=5), "<a><b><c><d/></c></b></a>", "more than 5 elements deep"),
        (XmlLimits(elements=5), "<a/><a/><a/><a/>", "more than 5 elements"),
        (XmlLimits(attributes=2), '<a x="1" y="2" z="3"/>', "more than 2 attributes"),
        (XmlLimits(name=60), f"<{'n' * 61}/>", "more than 60 characters"),
        (XmlLimits(name=60), f'<a {"n" * 61}="1"/>', "more than 60 characters"),
        (XmlLimits(namespaces=2), '<a xmlns="u:1"><b xmlns="u:2"/></a>', "more than 2 namespaces"),
    ],
)
def test_each_limit_refuses_one_more(limits: XmlLimits, inner: str, reason: str) -> None:
    """One over any limit is refused, and the reason names the limit."""
    with pytest.raises(InvalidAnswer, match=reason):
        body(inner, limits)


@pytest.mark.parametrize(
    ("limits", "inner"),
    [
        (XmlLimits(bytes=len(OPEN) + len(CLOSE) + 4), "<a/>"),
        (XmlLimits(depth=5), "<a><b><c/></b></a>" * 3),
        (XmlLimits(elements=5), "<a/><b/><c/>"),
        (XmlLimits(attributes=2), '<a x="1" y="2"/>'),
        (XmlLimits(name=60), f"<{'n' * 60}/>"),
        (XmlLimits(namespaces=2), '<a xmlns="u:1"/><b xmlns="u:2"/><c xmlns="u:3"/>'),
    ],
)
def test_each_limit_admits_what_just_fits(limits: XmlLimits, inner: str) -> None:
    """A document at the limit is read; scopes that have ended no longer count."""
    assert body(inner, limits)


@pytest.mark.parametrize(
    "attack",
    [
        "<a>" * 100_000 + "</a>" * 100_000,
        "<a " + " ".join(f'n{i}="v"' for i in range(100_000)) + "/>",
        f"<{'n' * 200_000}/>",
        "<a>" + "".join(f'<b xmlns:p{i}="u:{i}">' for i in range(10_000)),
    ],
    ids=["deep", "attributes", "name", "namespaces"],
)
def test_hostile_documents_are_refused(attack: str) -> None:
    """What other parsers accept, or choke on, is refused before it becomes a tree."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidAnswer):
            body(attack)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


class PassingOver:
    """Handlers that note what they get, and pass over the content of every <skip>."""

    def __init__(self, limits: XmlLimits | None = None) -> None:
        """Begin a document."""
        self.seen: list[str] = []
        self.parser = GuardedExpat(limits or XmlLimits()).ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = lambda name: self.seen.append(f"/{name}")
        self.parser.CharacterDataHandler = self.seen.append

    def start(self, name: str, _attributes: object) -> None:
        """Note a start."""
        self.seen.append(name)
        if name == "skip":
            self.parser.pass_over({"kept"})

    def read(self, *pieces: str) -> list[str]:
        """Parse, and return what was seen."""
        for piece in pieces:
            self.parser.Parse(piece.encode(), False)
        self.parser.Parse(b"", True)
        return self.seen


def test_what_is_passed_over_reaches_no_handler_but_for_what_is_kept() -> None:
    """Nested elements of the same name end nothing too early, and everything behind is handed on again."""
    document = "<a>1<skip>2<b><skip/>3</b><kept>4<kept/></kept></skip>5<skip/><c>6</c></a>"
    expected = ["a", "1", "skip", "kept", "kept", "/kept", "/kept", "5", "skip", "c", "6", "/c", "/a"]
    assert PassingOver().read(document) == expected
    assert PassingOver().read(*document) == expected


@pytest.mark.parametrize(
    ("limits", "inner", "reason"),
    [
        (XmlLimits(depth=4), "<b><c><d/></c></b>", "more than 4 elements deep"),
        (XmlLimits(elements=4), "<b/><b/><b/>", "more than 4 elements"),
        (XmlLimits(attributes=1), '<b x="1" y="2"/>', "more than 1 attributes"),
        (XmlLimits(name=9), f"<{'n' * 10}/>", "more than 9 characters"),
        (XmlLimits(name=9), f'<b {"n" * 10}="1"/>', "more than 9 characters"),
        (XmlLimits(namespaces=1), '<b xmlns="u:1"><c xmlns="u:2"/></b>', "more than 1 namespaces"),
        (XmlLimits(bytes=30), "x" * 30, "more than 30 bytes"),
    ],
)
def test_what_is_passed_over_is_bounded_as_all_else(limits: XmlLimits, inner: str, reason: str) -> None:
    """Nobody looks at it, and it cannot be used to hide from a limit."""
    reader = PassingOver(limits)
    if "xmlns" in inner:
        reader.parser = GuardedExpat(limits).ParserCreate("utf-8", " ")
        reader.parser.StartElementHandler = reader.start
        reader.parser.EndElementHandler = reader.parser.CharacterDataHandler = reader.seen.append
    with pytest.raises(XmlRefused, match=reason):
        reader.read(f"<a><skip>{inner}</skip></a>")


def test_names_are_remembered_up_to_a_bound() -> None:
    """A peer that never uses a name twice fills no memory, and a name too long is refused all the same."""
    expat = GuardedExpat(XmlLimits(name=20))

    def parse(document: str) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = lambda _name, _attributes: None
        parser.EndElementHandler = parser.CharacterDataHandler = lambda _text: None
        parser.Parse(document.encode(), True)

    for first in range(0, 3000, 300):
        parse(f"<a>{''.join(f'<n{number}/>' for number in range(first, first + 300))}</a>")
        assert len(expat.names) <= 600
    with pytest.raises(XmlRefused):
        parse(f"<{'n' * 21}/>")


def test_a_request_is_written_in_order_and_escaped() -> None:
    """Members keep their order, lists repeat, text and empty members are escaped and short."""
    written = write_soap(SD, "Call", {"b": "<&>", "a": {"x": ["1", "2"]}, "empty": None}).decode()
    assert written == (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<soap:Envelope xmlns:soap="{SOAP}"><soap:Body><Call xmlns="{SD}">'
        "<b>&lt;&amp;&gt;</b><a><x>1</x><x>2</x></a><empty/></Call></soap:Body></soap:Envelope>"
    )


XML_TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), min_size=1
).filter(lambda text: text.strip())


@given(XML_TEXT)
def test_text_survives_writing_and_reading(text: str) -> None:
    """What is written comes back the same, whatever signs it has."""
    read = read_soap_body(write_soap(SD, "Call", {"Anchor": text}))
    assert text_of(child(read["sd:Call"], "sd:Anchor"), exact=True) == text


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No input raises anything but InvalidAnswer."""
    with contextlib.suppress(InvalidAnswer):
        read_soap_body(data)


def test_nothing_else_in_the_product_calls_xmltodict() -> None:
    """The guard is worth something only while nobody goes around it: each of these parses through `GuardedExpat`."""
    product = Path(__file__).parents[3] / "mdm"
    users = {
        path.relative_to(product).as_posix()
        for path in product.rglob("*.py")
        if re.search(r"^\s*(import|from) xmltodict", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert users == {"enrolment/envelope.py", "enrolment/provisioning.py", "upstream/xml.py"}
