"""Short documents: read whole by the quick parser, or left to the guarded one."""

from __future__ import annotations

import pytest

from mdm.catalog.metadata import METADATA_LIMITS
from mdm.catalog.short_documents import LONGEST, ShortDocuments
from mdm.upstream.xml import XmlLimits

LIMITS = XmlLimits(bytes=10_000, depth=5, elements=100, attributes=3, name=20, namespaces=3)


def is_read(document: str, limits: XmlLimits = LIMITS) -> bool:
    """Whether the quick parser takes a document."""
    return ShortDocuments(limits).read(document.encode()) is not None


def test_a_tree_has_namespaces_attributes_and_texts() -> None:
    """The tree is that of ElementTree: names with their namespaces in braces."""
    root = ShortDocuments(LIMITS).read(
        b'<u:a xmlns:u="urn:x" b="1 &amp; 2"><u:c>\xe2\x82\xac</u:c><d/></u:a>'
    )
    assert root is not None
    assert (root.tag, root.attrib) == ("{urn:x}a", {"b": "1 & 2"})
    assert [(each.tag, each.text) for each in root] == [("{urn:x}c", "€"), ("d", None)]


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ("<a><a><a><a><a/></a></a></a></a>", "<a><a><a><a><a></a></a></a></a></a>"),
        ("<a b='' c='' d=''/>", "<a b='' c='' d='' e=''/>"),
        (f"<{'a' * 20}/>", f"<{'a' * 21}/>"),
        (f"<a {'a' * 20}=''/>", f"<a {'a' * 21}=''/>"),
        ("<a xmlns='urn:12345678901234'/>", "<a xmlns='urn:1234567890123456'/>"),
        (
            "<a xmlns:a='a' xmlns:b='b' xmlns:c='c'/>",
            "<a xmlns:a='a' xmlns:b='b' xmlns:c='c' xmlns:d='d'/>",
        ),
        (f"<a>{' ' * 393}</a>", f"<a>{' ' * 394}</a>"),
        ("<a>DOCTYPE</a>", "<!DOCTYPE a><a/>"),
        ("<a>text</a>", "<a><!-- text --></a>"),
        ("<a>text</a>", "<a><![CDATA[text]]></a>"),
        ("<a/>", "<a>"),
        ("<a/>", "<a/><b/>"),
        ("<a/>", "<a>&other;</a>"),
        ("<a/>", ""),
    ],
)
def test_what_is_not_plainly_harmless_is_left_alone(allowed: str, refused: str) -> None:
    """Too deep, too many, too long, a DOCTYPE or what looks like it, or not well-formed: not read here."""
    assert is_read(allowed)
    assert not is_read(refused)


@pytest.mark.parametrize("document", ["\ud800", "<a>\ud800</a>"])
def test_what_is_no_unicode_is_left_alone(document: str) -> None:
    """Half a surrogate pair is not well-formed."""
    assert ShortDocuments(LIMITS).read(document.encode(errors="surrogatepass")) is None


def test_only_short_documents_are_built_whole() -> None:
    """A tree takes many times the memory of its document."""
    assert is_read(f"<a>{' ' * (LONGEST - 7)}</a>", METADATA_LIMITS)
    assert not is_read(f"<a>{' ' * (LONGEST - 6)}</a>", METADATA_LIMITS)


def test_names_are_remembered_only_so_far() -> None:
    """An upstream that makes up names does not fill the memory with them, and each is still looked at."""
    documents = ShortDocuments(XmlLimits(name=10))
    for number in range(2_100):
        assert documents.read(f"<n{number}/>".encode()) is not None
    assert len(documents.names) == 2_000
    assert documents.read(b"<n2099/>") is not None
    assert documents.read(b"<n2345678901/>") is None
