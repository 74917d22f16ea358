"""The limited parser: which trees it builds, what it writes back, and what it refuses, at which cost."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias
from xml.etree.ElementTree import ParseError, XMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncml.errors import LimitExceeded, MalformedMessage, RemoteProtocolError
from syncml.limits import DEFAULT_LIMITS, Limits
from syncml.namespaces import XML
from syncml.xmltree import Element, escape, escape_attribute, parse, pieces, split_name

if TYPE_CHECKING:
    from collections.abc import Callable


def tree(
    name: str,
    *content: str | Element,
    namespace: str = "",
    attributes: tuple[tuple[str, str], ...] = (),
) -> Element:
    """An element as the parser should build it: of the content, text goes where ElementTree keeps it."""
    element = Element(f"{{{namespace}}}{name}" if namespace else name, dict(attributes))
    for node in content:
        if not isinstance(node, str):
            element.append(node)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + node
        else:
            element.text = (element.text or "") + node
    return element


Plain: TypeAlias = "tuple[str, tuple[tuple[str, str], ...], str, str, tuple[Plain, ...]]"


def plain(element: Element) -> Plain:
    """The element as a value that compares."""
    return (
        element.tag,
        tuple(element.attrib.items()),
        element.text or "",
        element.tail or "",
        tuple(plain(child) for child in element),
    )


# (document, its tree, the text written for the tree)
SHAPES = [
    ("<a/>", tree("a"), "<a/>"),
    ("<a></a>", tree("a"), "<a/>"),
    ("<a>x</a>", tree("a", "x"), "<a>x</a>"),
    ("<a> x </a>", tree("a", " x "), "<a> x </a>"),
    ("<a>1<b/>2<c>3</c>4</a>", tree("a", "1", tree("b"), "2", tree("c", "3"), "4"), None),
    ("<a><![CDATA[<&]]></a>", tree("a", "<&"), "<a>&lt;&amp;</a>"),
    ("<a>x<![CDATA[y]]>z</a>", tree("a", "xyz"), "<a>xyz</a>"),
    ("<a>x<!-- no -->y<?no pi?>z</a>", tree("a", "xyz"), "<a>xyz</a>"),
    ("<a>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;</a>", tree("a", "<>&\"'A\U0001f600"), None),
    ("<a>\r\n\r</a>", tree("a", "\n\n"), "<a>\n\n</a>"),
    ("<a>&#13;</a>", tree("a", "\r"), "<a>&#13;</a>"),
    ("<a b='1' c='2'/>", tree("a", attributes=(("b", "1"), ("c", "2"))), '<a b="1" c="2"/>'),
    ("<a b='\t\n&#9;&#10;&#13;\"&lt;&gt;'/>", tree("a", attributes=(("b", '  \t\n\r"<>'),)), None),
    ('<a xmlns="urn:x"><b/></a>', tree("a", tree("b", namespace="urn:x"), namespace="urn:x"), None),
    (
        '<a xmlns="urn:x"><b xmlns="">1</b><c/></a>',
        tree("a", tree("b", "1"), tree("c", namespace="urn:x"), namespace="urn:x"),
        None,
    ),
    (
        '<p:a xmlns:p="urn:x"><p:b/><c/></p:a>',
        tree("a", tree("b", namespace="urn:x"), tree("c"), namespace="urn:x"),
        '<a xmlns="urn:x"><b/><c xmlns=""/></a>',
    ),
    (
        '<a xmlns:p="urn:x" xmlns:q="urn:y" p:b="1" q:b="2" p:c="3" b="4"/>',
        tree("a", attributes=(("{urn:x}b", "1"), ("{urn:y}b", "2"), ("{urn:x}c", "3"), ("b", "4"))),
        '<a xmlns:n1="urn:x" n1:b="1" xmlns:n2="urn:y" n2:b="2" n1:c="3" b="4"/>',
    ),
    (
        '<xml:a xml:lang="en"><b/></xml:a>',
        tree("a", tree("b"), namespace=XML, attributes=((f"{{{XML}}}lang", "en"),)),
        None,
    ),
    ('<a xmlns:p="u&amp;&lt;v" p:b=""/>', tree("a", attributes=(("{u&<v}b", ""),)), None),
    ("<\u00e9l\u00e9ment/>", tree("\u00e9l\u00e9ment"), None),
]


@pytest.mark.parametrize(("document", "expected", "_written"), SHAPES)
def test_a_document_becomes_its_tree(document: str, expected: Element, _written: str | None) -> None:
    """Names, attributes, text and children arrive in document order."""
    assert plain(parse(document.encode(), DEFAULT_LIMITS)) == plain(expected)


@pytest.mark.parametrize(("document", "expected", "written"), SHAPES)
def test_a_tree_is_written_in_one_form(document: str, expected: Element, written: str | None) -> None:
    """What is written has only the declarations it needs, and reads as the same tree."""
    text = "".join(pieces(tree("around", expected), ""))
    if written is not None:
        assert text == written
    assert plain(parse(text.encode(), DEFAULT_LIMITS)) == plain(expected)


def test_pieces_declare_nothing_the_place_already_declares() -> None:
    """Elements of the surrounding default namespace stand bare, text is escaped."""
    around = tree("around", "<", tree("a", namespace="urn:x"), tree("b", "&"), "\r")
    assert "".join(pieces(around, "urn:x")) == '&lt;<a/><b xmlns="">&amp;</b>&#13;'


def test_pieces_come_one_by_one() -> None:
    """A caller that stops early does not pay for the rest."""
    emitted = pieces(tree("around", "1", tree("a", "2", tree("b"), "3", tree("c"), "4"), "5"), "")
    assert list(emitted) == ["1", "<a>2", "<b/>3", "<c/>4", "</a>5"]


@pytest.mark.parametrize(
    ("text", "in_content", "in_attribute"),
    [
        ("a b", "a b", "a b"),
        ("&<>", "&amp;&lt;&gt;", "&amp;&lt;&gt;"),
        ("\"'", "\"'", "&quot;'"),
        ("\t\r\n", "\t&#13;\n", "&#9;&#13;&#10;"),
        ("&lt;", "&amp;lt;", "&amp;lt;"),
    ],
)
def test_escaping(text: str, in_content: str, in_attribute: str) -> None:
    """Only what would be read otherwise is replaced."""
    assert (escape(text), escape_attribute(text)) == (in_content, in_attribute)


@pytest.mark.parametrize(
    ("name", "namespace", "local"),
    [("a", "", "a"), ("{urn:x}a", "urn:x", "a"), ("{u{v}a", "u{v", "a"), ("", "", "")],
)
def test_a_name_has_two_parts(name: str, namespace: str, local: str) -> None:
    """The namespace stands in braces before the local name."""
    assert split_name(name) == (namespace, local)


def test_long_text_is_whole() -> None:
    """Text longer than any buffer of the parser arrives unchanged."""
    text = "\U0001f600x\n" * 20_000
    assert parse(f"<a>{text}</a>".encode(), DEFAULT_LIMITS).text == text


_NAMES = st.sampled_from(["a", "b", "Item", "p:a", "q:b", "\u00e9"])
_TEXT = st.sampled_from(
    ["", "x", " \n", "&lt;&#65;", "\u732b", "<![CDATA[<a b='>]]>", "<!-- <a> ' -->", "<?x <b?>", "x" * 99]
)
_ATTRIBUTES = st.lists(
    st.sampled_from(['a="1"', "p:a='>'", "q:a='&lt;'", 'xml:lang="en"', 'xmlns="urn:d"', "xmlns:p='urn:y'", "xmlns=''"]),
    unique=True,
    max_size=4,
).map(lambda each: "".join(f" {one}" for one in each))  # fmt: skip


def _elements(inside: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    content = st.lists(_TEXT | inside, max_size=4).map("".join)
    return st.builds(
        lambda name, more, within: f"<{name}{more}>{within}</{name}>", _NAMES, _ATTRIBUTES, content
    )


@given(st.recursive(_TEXT, _elements, max_leaves=30))
def test_the_tree_is_that_of_the_standard_library(inside: str) -> None:
    """Within the limits nothing is read in another way than ElementTree reads it."""
    document = f"<r xmlns:p='urn:x' xmlns:q='urn:y'>{inside}</r>".encode()
    library = XMLParser()  # noqa: S314 - it reads what this test has written
    try:
        library.feed(document)
        expected = plain(library.close())
    except ParseError as error:  # an attribute twice, by way of two prefixes
        with pytest.raises(MalformedMessage, match=str(error).partition(":")[0]):
            parse(document, DEFAULT_LIMITS)
    else:
        assert plain(parse(document, DEFAULT_LIMITS)) == expected


# --- encodings ------------------------------------------------------------------------------------------

ACCEPTED_ENCODINGS = [
    b"\xef\xbb\xbf<a>\xc3\xa9</a>",
    b'<?xml version="1.0"?><a>\xc3\xa9</a>',
    b'<?xml version="1.0" encoding="UTF-8"?><a>\xc3\xa9</a>',
    b"<?xml version='1.0' encoding='utf-8' standalone='yes'?><a>\xc3\xa9</a>",
    b"\xef\xbb\xbf<?xml version='1.0' encoding='Utf-8'?>\r\n<a>\xc3\xa9</a>\n",
]


@pytest.mark.parametrize("document", ACCEPTED_ENCODINGS)
def test_utf_8_is_read_with_and_without_its_marks(document: bytes) -> None:
    """A BOM and a declaration of UTF-8 in any case change nothing."""
    assert plain(parse(document, DEFAULT_LIMITS)) == plain(tree("a", "\u00e9"))


REFUSED = [
    # (document, part of the detail)
    ("<a/>".encode("utf-16"), "NUL byte at offset 3"),
    ("<a/>".encode("utf-16-le"), "NUL byte at offset 1"),
    ("<a/>".encode("utf-16-be"), "NUL byte at offset 0"),
    ("<a/>".encode("utf-32"), "NUL byte"),
    (b"\xff\xfe", "not UTF-8 at byte offset 0"),
    ('<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"), "NUL byte"),
    (b'<?xml version="1.0" encoding="UTF-16"?><a/>', "'UTF-16', not UTF-8"),
    (b'<?xml version="1.0" encoding="UTF-7"?><a>+ADw-b/+AD4-</a>', "'UTF-7', not UTF-8"),
    (b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>', "'ISO-8859-1', not UTF-8"),
    (b'<?xml version="1.0" encoding="' + b"x" * 9_000 + b'"?><a/>', "'xxxxxxxxxxxxxxxxxxxx', not UTF-8"),
    (b"<a>\xe9</a>", "not UTF-8 at byte offset 3"),
    (b"<a>\xc0\xbc</a>", "not UTF-8 at byte offset 3"),  # an overlong "<"
    (b"<a>\xed\xa0\x80</a>", "not UTF-8 at byte offset 3"),  # a surrogate
    (b"<a>\xf4\x90\x80\x80</a>", "not UTF-8 at byte offset 3"),  # past U+10FFFF
    (b"<a>\xc3", "not UTF-8 at byte offset 3"),
    (b"<a>\0</a>", "NUL byte at offset 3"),
    (b"<a>&#0;</a>", "at 1:4"),
    (b"<a>\x01</a>", "at 1:4"),
    (b"<a>&#xFFFE;</a>", "at 1:4"),
    (b"<a>&#xD800;</a>", "at 1:4"),
    (b"<a>\xef\xbf\xbe</a>", "at 1:4"),
    # not well-formed
    (b"", "no element found at 1:1"),
    (b"\xef\xbb\xbf", "no element found"),
    (b"hello", "at 1:1"),
    (b"<a>", "no element found at 1:4"),
    (b"<a>\n<b></a>", "mismatched tag at 2:6"),
    (b"<a/><b/>", "junk after document element at 1:5"),
    (b"<a/>x", "junk after document element"),
    (b" <?xml version='1.0'?><a/>", "at 1:2"),
    (b"<a b='1' b='2'/>", "duplicate attribute"),
    (b"<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>", "duplicate attribute"),
    (b"<p:a/>", "unbound prefix"),
    (b"<a p:b=''/>", "unbound prefix"),
    (b"<a xmlns:p=''/>", "prefix"),
    (b"<a xmlns:xml='urn:x'/>", "prefix"),
    (b"<a xmlns='http://www.w3.org/2000/xmlns/'/>", "prefix"),
    (b"<a xmlns='u}v'/>", "syntax error"),
    (b"<a>&nbsp;</a>", "undefined entity"),
    (b"<a b='<'/>", "not well-formed"),
    (b"<a>]]></a>", "not well-formed"),
    (b"<a><![CDATA[x</a>", "unclosed CDATA section"),
    # any DOCTYPE
    (b"<!DOCTYPE a><a/>", "DOCTYPE is not allowed at 1:12"),
    (b"<!DOCTYPE a []><a/>", "DOCTYPE is not allowed"),
    (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "DOCTYPE is not allowed"),
    (b'<!DOCTYPE a PUBLIC "-//x" "http://127.0.0.1:9/"><a/>', "DOCTYPE is not allowed"),
    (b'<?xml version="1.0"?>\n<!-- x -->\n<!DOCTYPE a [<!ATTLIST a b CDATA "c">]><a/>', "at 3:"),
    (b"<a><!DOCTYPE a></a>", "not well-formed"),
    (b"<!doctype a><a/>", "at 1:1"),
]


@pytest.mark.parametrize(("document", "detail"), REFUSED)
def test_what_is_no_plain_utf_8_document_is_malformed(document: bytes, detail: str) -> None:
    """Another encoding, bad characters, bad syntax and every DOCTYPE end in one short sentence."""
    with pytest.raises(MalformedMessage) as refused:
        parse(document, DEFAULT_LIMITS)
    assert detail in refused.value.detail
    assert len(refused.value.detail) < 100


def test_a_doctype_as_text_is_text() -> None:
    """Only a real document type declaration is refused."""
    document = b"<a><!-- <!DOCTYPE a> --><![CDATA[<!DOCTYPE html>]]></a>"
    assert parse(document, DEFAULT_LIMITS).text == "<!DOCTYPE html>"


# --- limits ---------------------------------------------------------------------------------------------

SMALL = Limits(bytes=1024, depth=5, elements=9, attributes=3, tag=80, name=12, text=20, namespaces=4)

# name of the limit -> documents that reach exactly the given number, and the words of the refusal
AT: list[tuple[str, Callable[[int], str], str]] = [
    ("bytes", lambda n: "<a/>" + " " * (n - 4), "bytes, more than"),
    ("bytes", lambda n: "<a/><!--" + "\u00e9" * (n // 2 - 6) + "x" * (n % 2 + 1) + "-->", "bytes, more than"),
    ("depth", lambda n: "<a>" * n + "</a>" * n, "open elements"),
    ("depth", lambda n: "<a>" * (n - 1) + "<b/><c/>" + "</a>" * (n - 1), "open elements"),
    ("elements", lambda n: "<a>" + "<b/>" * (n - 1) + "</a>", "elements"),
    ("attributes", lambda n: "<a " + " ".join(f"a{i}=''" for i in range(n)) + "/>", "attributes on one"),
    ("tag", lambda n: f"<a b='{'x' * (n - 9)}'/>", "a tag of more than"),
    ("tag", lambda n: f"<r><a b='{'>' * (n - 16)}' c=\"'>\"/></r>", "a tag of more than"),
    ("tag", lambda n: f"<a>\n <b c=''{' ' * (n - 8)}>x</b></a>", "a tag of more than"),
    ("name", lambda n: f"<{'a' * n}/>", "a name of more than"),
    ("name", lambda n: f"<a xmlns='{'u' * (n - 1)}'/>", "a name of more than"),
    ("name", lambda n: f"<a xmlns:p='{'u' * (n - 3)}'><p:abc/></a>", "a name of more than"),
    ("name", lambda n: f"<a {'b' * n}=''/>", "a name of more than"),
    ("name", lambda n: f"<a xmlns:p='u:' p:{'b' * (n - 2)}=''/>", "a name of more than"),
    ("name", lambda n: "<" + "\u00e9" * n + "/>", "a name of more than"),
    ("text", lambda n: f"<a>{'x' * n}</a>", "characters of text"),
    ("text", lambda n: f"<a><![CDATA[{'x' * n}]]></a>", "characters of text"),
    ("text", lambda n: f"<a>{'x' * (n // 2)}<b>y</b>{'z' * (n - n // 2)}</a>", "characters of text"),
    ("text", lambda n: "<a>" + "x" * (n - 1) + "&lt;</a>", "characters of text"),
    ("text", lambda n: "<a>" + "x" * (n - 1) + "\U0001f600</a>", "characters of text"),
    ("namespaces", lambda n: "<a " + " ".join(f"xmlns:p{i}='u'" for i in range(n)) + "/>", "namespace decl"),
    (
        "namespaces",
        lambda n: "<a " + " ".join(f"xmlns:p{i}='u'" for i in range(n - 1)) + "><b xmlns='u'/></a>",
        "nam",
    ),
    (
        "namespaces",
        lambda n: "<a " + " ".join(f"xmlns:p{i}='u'" for i in range(n - 1)) + "><b xmlns=''/></a>",
        "nam",
    ),
]


@pytest.mark.parametrize("limits", [SMALL, DEFAULT_LIMITS], ids=["small", "default"])
@pytest.mark.parametrize(("name", "document", "words"), AT)
def test_a_limit_may_be_reached(
    name: str, document: Callable[[int], str], words: str, limits: Limits
) -> None:
    """A document that is exactly at a limit is read."""
    parse(document(getattr(limits, name)).encode(), limits)


@pytest.mark.parametrize("limits", [SMALL, DEFAULT_LIMITS], ids=["small", "default"])
@pytest.mark.parametrize(("name", "document", "words"), AT)
def test_a_limit_may_not_be_passed(
    name: str, document: Callable[[int], str], words: str, limits: Limits
) -> None:
    """One more is refused, and the detail names the limit and its value."""
    allowed: int = getattr(limits, name)
    with pytest.raises(LimitExceeded, match=words) as refused:
        parse(document(allowed + 1).encode(), limits)
    assert str(allowed) in refused.value.detail


def test_different_names_are_bounded() -> None:
    """A name may come again and again; only so many different ones may come."""
    limits = replace(DEFAULT_LIMITS, names=3)
    parse(b"<a><b/><c/><b/><b/><c/></a>", limits)
    with pytest.raises(LimitExceeded, match="more than 3 different element names at 1:"):
        parse(b"<a><b/><c/><b/><d/></a>", limits)


def test_a_parse_can_stop_at_a_child_of_the_root() -> None:
    """The tree ends with it; neither a grandchild nor the root of that name is meant."""
    document = b"<h><x><h/></x><h>1</h><h>2</h> & no XML"
    root = parse(document, DEFAULT_LIMITS, until="h")
    assert plain(root) == plain(tree("h", tree("x", tree("h")), tree("h", "1")))
    with pytest.raises(MalformedMessage):
        parse(document, DEFAULT_LIMITS, until="y")
    assert plain(parse(b"<a><b/></a>", DEFAULT_LIMITS, until="y")) == plain(tree("a", tree("b")))


def test_attributes_in_all_are_bounded_like_elements() -> None:
    """Each attribute name carries its namespace, so their number is bounded over the document too."""
    limits = replace(SMALL, attributes=9)
    parse(b"<a b='' c='' d='' e='' f='' g='' h='' i=''><j k=''/></a>", limits)
    with pytest.raises(LimitExceeded, match="more than 9 attributes in all"):
        parse(b"<a b='' c='' d='' e='' f='' g='' h='' i=''><j k='' l=''/></a>", limits)


def test_namespaces_count_while_in_scope() -> None:
    """Declarations of siblings do not add up: each child of Meta carries its own."""
    siblings = "<b xmlns='u'/>" * (SMALL.namespaces + 1)
    assert len(parse(f"<a>{siblings}</a>".encode(), SMALL)) == SMALL.namespaces + 1


def test_a_namespace_is_no_longer_than_a_name() -> None:
    """It would be part of each name in it; refused where it is declared, whether a name is in it or not."""
    parse(f"<a xmlns:p='{'u' * SMALL.name}'/>".encode(), SMALL)
    with pytest.raises(LimitExceeded, match="a namespace of more than 12 characters at 1:"):
        parse(f"<a xmlns:p='{'u' * (SMALL.name + 1)}'/>".encode(), SMALL)
    assert plain(parse(b"<a xmlns=''/>", SMALL)) == plain(tree("a"))


LONG = "x" * SMALL.tag


@pytest.mark.parametrize(
    "document",
    [
        f"<!--{LONG}--><a/>",
        f"<?x {LONG}?><a/>",
        f"<a><![CDATA[{LONG}]]></a>",
        f"<a b=''/>{' ' * SMALL.tag}",
        f"<a b='>'/><!--{LONG}-->",
        f"<a></a{' ' * SMALL.tag}>",
    ],
)
def test_only_start_tags_count_as_tags(document: str) -> None:
    """Long comments, instructions, sections and white space are no start tags."""
    parse(document.encode(), replace(SMALL, text=100))


def test_a_long_tag_is_refused_where_it_stands() -> None:
    """The place is that of the tag, and the tag after a text with a quotation mark is seen as well."""
    with pytest.raises(LimitExceeded, match="a tag of more than 80 octets at 2:3"):
        parse(f"<a>\n' <b c='{LONG}'/></a>".encode(), SMALL)
    with pytest.raises(MalformedMessage, match="at 1:"):
        parse(f"<a b='{LONG}".encode(), SMALL)


def test_text_counts_for_each_element_alone() -> None:
    """Many short texts may be longer together than one text may be."""
    each = "x" * SMALL.text
    assert parse(f"<a>{each}<b>{each}</b><b>{each}</b></a>".encode(), SMALL).text == each


def test_a_refusal_names_the_place() -> None:
    """Line and column where the parser stopped, behind the tag past the limit, are in the detail."""
    with pytest.raises(LimitExceeded, match=r"at 3:9$"):
        parse(b"<a>\n<b>\n<c/><d/></b></a>", replace(SMALL, elements=3))
    with pytest.raises(LimitExceeded, match=r"more than 20 characters of text in one element at 2:"):
        parse(b"<a>\n<b>12345678901<c/>1234567890</b></a>", SMALL)


# --- attacks --------------------------------------------------------------------------------------------


def _laughs() -> bytes:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "lol">{entities}]><x>&a9;</x>'.encode()


ATTACKS: dict[str, Callable[[], bytes]] = {
    "billion laughs": _laughs,
    "quadratic blow-up": lambda: (
        b'<!DOCTYPE x [<!ENTITY a "' + b"x" * 50_000 + b'">]><x>' + b"&a;" * 5_000 + b"</x>"
    ),
    "external entity": lambda: b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "parameter entity": lambda: b'<!DOCTYPE x [<!ENTITY % a SYSTEM "http://127.0.0.1:9/">%a;]><x/>',
    "doctype without entities": lambda: b"<!DOCTYPE x><x/>",
    "attribute default": lambda: b'<!DOCTYPE x [<!ATTLIST x admin CDATA "yes">]><x/>',
    "100,000 deep": lambda: b"<a>" * 100_000 + b"</a>" * 100_000,
    "74,000 deep, in the bytes allowed": lambda: b"<a>" * 74_000 + b"</a>" * 74_000,
    "174,000 deep, never closed": lambda: b"<a>" * 174_000,
    "100,000 attributes": lambda: b"<a " + b" ".join(b"a%d=''" % i for i in range(100_000)) + b"/>",
    "50,000 attributes": lambda: b"<a " + b" ".join(b"a%x=''" % i for i in range(50_000)) + b"/>",
    "30,000 namespace declarations": lambda: (
        b"<a " + b" ".join(b"xmlns:a%x='u'" % i for i in range(30_000)) + b"/>"
    ),
    "500,000 siblings": lambda: b"<a>" + b"<b/>" * 500_000 + b"</a>",
    "130,000 siblings": lambda: b"<a>" + b"<b/>" * 130_000 + b"</a>",
    "12 MB of text": lambda: b"<a>" + b"x" * 12_000_000 + b"</a>",
    "500 KB of text": lambda: b"<a>" + b"x" * 500_000 + b"</a>",
    "500 KB of line ends": lambda: b"<a>" + b"\r\n" * 262_000,
    "text in 130,000 pieces": lambda: b"<a>" + b"&lt;" * 130_000,
    "text between 57,000 comments": lambda: b"<a>" + b"xx<!---->" * 57_000,
    "name of 200,000 characters": lambda: b"<" + b"a" * 200_000 + b"/>",
    "attribute name of 200,000 characters": lambda: b"<a " + b"a" * 200_000 + b"=''/>",
    "attribute value never closed": lambda: b"<a b='" + b"&lt;" * 130_000,
    "CDATA never closed": lambda: b"<a><![CDATA[" + b"]]" * 260_000,
    "comment never closed": lambda: b"<a><!--" + b"- " * 260_000,
    "declaration of 500 KB": lambda: b'<?xml version="1.0" encoding="' + b"x" * 500_000 + b'"?><a/>',
    "names that carry a long namespace": lambda: (
        b"<a xmlns:p='" + b"u" * 250 + b"'>"
        + b"".join(b"<b " + b" ".join(b"p:a%x=''" % (16 * i + j) for j in range(16)) + b"/>" for i in range(2_800))
        + b"</a>"
    ),
    "one tag of thousands of attributes in a long namespace": lambda: (
        b"<a xmlns:p='" + b"u" * 100_000 + b"'><b " + b" ".join(b"p:a%x=''" % i for i in range(30_000)) + b"/></a>"
    ),
    "the same, the namespace declared last": lambda: (
        b"<b " + b" ".join(b"p:a%x=''" % i for i in range(30_000)) + b" xmlns:p='" + b"u" * 100_000 + b"'/>"
    ),
    "the same, behind what looks like the end of the tag": lambda: (
        b"<b c='>' " + b" ".join(b"p:a%x='>'" % i for i in range(25_000)) + b" xmlns:p='" + b"u" * 100_000 + b"'/>"
    ),
    "UTF-16": lambda: ("<a>" + "<b/>" * 60_000 + "</a>").encode("utf-16"),
    "UTF-7": lambda: b'<?xml version="1.0" encoding="UTF-7"?><a>' + b"+ADw-" * 90_000 + b"</a>",
    "bad UTF-8 at the end": lambda: b"<a>" + b"<b/>" * 19_000 + b"\xff</a>",
    "NUL at the end": lambda: b"<a>" + b"<b/>" * 19_000 + b"\0</a>",
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_refused_in_time_and_space(attack: Callable[[], bytes]) -> None:
    """Every hostile document ends in its error before it costs 16 MiB, or the time of a quadratic parser.

    The budget is 50 ms of CPU; ten times that tells the quadratic from a slow or busy machine.
    """
    document = attack()
    spent = []
    for _ in range(3):  # the best of three: another process may have had the caches
        started = time.process_time()
        with pytest.raises(RemoteProtocolError):
            parse(document, DEFAULT_LIMITS)
        spent.append(time.process_time() - started)
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            parse(document, DEFAULT_LIMITS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert min(spent) < 0.5
    assert peak < 16 * 1024 * 1024
