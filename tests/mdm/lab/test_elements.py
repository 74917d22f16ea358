"""XML in document order."""

from __future__ import annotations

import pytest

from mdm.lab.elements import Unfit, read_elements
from mdm.lab.mde2 import NAMESPACES

SOAP = NAMESPACES["s"]


def test_names_have_our_prefixes() -> None:
    """By namespace, whatever the document calls them; attributes too."""
    root = read_elements(
        f'<x:Envelope xmlns:x="{SOAP}" xmlns:y="urn:y" x:a="1" b="2"><y:Body/><Plain>t</Plain></x:Envelope>'.encode()
    )
    assert (root.name, root.attributes) == ("s:Envelope", {"s:a": "1", "b": "2"})
    assert [child.name for child in root.children] == ["other:Body", "Plain"]
    assert root.value("Plain") == "t"
    assert [each.name for each in root.walk()] == ["s:Envelope", "other:Body", "Plain"]


@pytest.mark.parametrize(
    "document",
    [b"", b"text", b"<a>", b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', b"<a>" * 40 + b"</a>" * 40],
)
def test_what_is_no_answer(document: bytes) -> None:
    """No XML, a DOCTYPE, or a depth no answer has."""
    with pytest.raises(Unfit, match="no XML that can be read"):
        read_elements(document)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (("a", "b", "b", "c"), None),
        (("a", "b+", "c"), None),
        (("a", "x?", "b+", "c", "y?"), None),
        (("a", "b", "c"), "b stands where c has to"),
        (("b+", "a", "c"), "a stands where b has to"),
        (("a", "b+"), "c stands where nothing more may"),
        (("a", "b+", "c", "d"), "nothing more stands where d has to"),
    ],
)
def test_order(wanted: tuple[str, ...], problem: str | None) -> None:
    """Elements in their one order, some of them optional or repeated."""
    root = read_elements(b"<r><a/><b/><b/><c/></r>")
    if problem is None:
        root.in_order(*wanted)
        return
    with pytest.raises(Unfit, match=f"in r, {problem}"):
        root.in_order(*wanted)


def test_the_one_child() -> None:
    """None, several, and an empty one are said."""
    root = read_elements(b"<r><a> </a><b/><b/><c><d>1</d></c></r>")
    assert root.descend("c", "d").text == "1"
    for name, words in (("b", "stands 2 times"), ("x", "stands 0 times"), ("a", "is empty")):
        with pytest.raises(Unfit, match=words):
            root.value(name)
