"""Unknown elements: kept whole by the reader, written back the same, refused when they are no XML."""

from __future__ import annotations

import pytest

from syncml.errors import LocalProtocolError
from syncml.extensions import read_extensions, write_extensions
from syncml.limits import DEFAULT_LIMITS
from syncml.messages import Extension
from syncml.namespaces import SYNCML_1_2, XML
from syncml.xmltree import parse

CASES = [
    (Extension("A"), "", "<A/>"),
    (Extension("A", SYNCML_1_2), SYNCML_1_2, "<A/>"),
    (Extension("A"), SYNCML_1_2, '<A xmlns=""/>'),
    (Extension("A", "urn:x"), SYNCML_1_2, '<A xmlns="urn:x"/>'),
    (Extension("A", text=" <&>\r "), "", "<A> &lt;&amp;&gt;&#13; </A>"),
    (Extension("A", attributes=(("b", '"\t'), ("{urn:x}c", ""))), "", None),
    (Extension("A", attributes=((f"{{{XML}}}lang", "en"),)), "", '<A xml:lang="en"/>'),
    (Extension("A", "u", "x", (), (Extension("B", "u", "y"), Extension("C", "v"))), "", None),
    (Extension("A", children=(Extension("B"), Extension("B", text="2"))), "", "<A><B/><B>2</B></A>"),
]


@pytest.mark.parametrize(("extension", "namespace", "written"), CASES)
def test_an_extension_is_written_and_read_the_same(
    extension: Extension, namespace: str, written: str | None
) -> None:
    """Name, namespace, text, attributes and children survive, whatever the default namespace around them."""
    text = write_extensions([extension], namespace)
    if written is not None:
        assert text == written
    around = parse(f'<r xmlns="{namespace}">{text}</r>'.encode(), DEFAULT_LIMITS)
    assert read_extensions(list(around)) == (extension,)


def test_extensions_keep_their_order() -> None:
    """Several extensions stand as they were given, none gives no text."""
    extensions = (Extension("B"), Extension("A"), Extension("B", text="2"))
    assert write_extensions(extensions, "") == "<B/><A/><B>2</B>"
    assert write_extensions((), "") == ""


def test_text_between_children_is_not_kept() -> None:
    """Only the text before the first child belongs to the value."""
    root = parse(b"<r><A>1<B/>2<C/>3</A></r>", DEFAULT_LIMITS)
    assert read_extensions(list(root)) == (Extension("A", "", "1", (), (Extension("B"), Extension("C"))),)


def _nested(depth: int) -> Extension:
    extension = Extension("A")
    for _ in range(depth - 1):
        extension = Extension("A", children=(extension,))
    return extension


NOT_XML = [
    Extension(""),
    Extension("a b"),
    Extension("a\n"),
    Extension("1a"),
    Extension("p:a"),
    Extension("xml:a"),
    Extension("a/><b"),
    Extension("!--x--"),
    Extension("?x?"),
    Extension("\ud800"),
    Extension("a", "urn:}x"),
    Extension("a", "\x01"),
    Extension("a", "http://www.w3.org/2000/xmlns/"),
    Extension("a", text="\x00"),
    Extension("a", text="\ufffe"),
    Extension("a", text="\udfff"),
    Extension("a", attributes=(("b", "1"), ("b", "2"))),
    Extension("a", attributes=(("xmlns", "urn:x"),)),
    Extension("a", attributes=(("xmlns:p", "urn:x"),)),
    Extension("a", attributes=(("b c", ""),)),
    Extension("a", attributes=(("{}b", ""),)),
    Extension("a", attributes=(("x}b", ""),)),
    Extension("a", attributes=(("b", "\x0b"),)),
    Extension("a" * 300),
    Extension("a", children=(Extension("b c"),)),
    _nested(DEFAULT_LIMITS.depth),
    _nested(5_000),
]


@pytest.mark.parametrize("extension", NOT_XML, ids=range(len(NOT_XML)))
def test_what_is_no_xml_is_refused(extension: Extension) -> None:
    """A name, namespace, attribute or text that could not be read back is the caller's fault."""
    with pytest.raises(LocalProtocolError, match="extension") as refused:
        write_extensions([extension], SYNCML_1_2)
    assert len(str(refused.value)) < 200


def test_extensions_may_nest_to_the_readers_limit() -> None:
    """One level is left for the element that holds them."""
    assert write_extensions([_nested(DEFAULT_LIMITS.depth - 1)], "").count("<A>") == DEFAULT_LIMITS.depth - 2
