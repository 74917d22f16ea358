"""`mdm.ca.der`: one level at a time, and nothing but DER."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.ca.der import MAX_CHILDREN, MAX_OCTETS, Element, Tag, read_children, read_element, read_oid
from mdm.ca.errors import InvalidDer


def tlv(tag: int, content: bytes) -> bytes:
    """An element as DER writes it."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65000])
def test_each_form_of_a_length(size: int) -> None:
    """Short, and long with one or two octets; header and contents are told apart."""
    data = tlv(Tag.OCTET_STRING, b"x" * size)
    assert read_element(data, Tag.OCTET_STRING) == Element(Tag.OCTET_STRING, b"x" * size, data)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "cut off"),
        (b"\x30", "cut off"),
        (b"\x30\x01", "longer than what holds it"),
        (b"\x30\x80\x00\x00", "indefinite"),
        (b"\x30\x82\x01", "cut off"),
        (b"\x30\x84\x00\x00\x00\x00", "too long"),
        (b"\x30\xff" + b"\xff" * 127, "too long"),
        (b"\x30\x83\xff\xff\xff", "longer than what holds it"),
        (b"\x30\x81\x05hello", "shortest form"),
        (b"\x30\x82\x00\x80" + b"x" * 128, "shortest form"),
        (b"\x3f\x81\x01\x00", "more than one octet"),
        (b"\x30\x00\x00", "behind the end"),
        (b"\x04\x00", "Tag 0x04 stands where 0x30 was expected"),
        (tlv(0x30, b"x" * MAX_OCTETS), "More than 65536 octets"),
    ],
)
def test_what_is_not_der_is_refused(data: bytes, sentence: str) -> None:
    """With the reason."""
    with pytest.raises(InvalidDer, match=sentence):
        read_element(data, Tag.SEQUENCE)


def test_children_are_counted_and_their_tags_compared() -> None:
    """Without tags any number of any kind comes back; with tags exactly those."""
    one, two = tlv(Tag.INTEGER, b"\x05"), tlv(Tag.NULL, b"")
    element = read_element(tlv(Tag.SEQUENCE, one + two), Tag.SEQUENCE)
    assert [each.encoded for each in read_children(element)] == [one, two]
    assert read_children(element, Tag.INTEGER, None) == read_children(element)
    with pytest.raises(InvalidDer, match="2 elements where 3"):
        read_children(element, Tag.INTEGER, Tag.NULL, None)
    with pytest.raises(InvalidDer, match="0x05 stands where 0x03"):
        read_children(element, None, Tag.BIT_STRING)


def test_a_level_is_bounded() -> None:
    """As many elements as are allowed, and one more."""
    full = Element(Tag.SEQUENCE, tlv(Tag.NULL, b"") * MAX_CHILDREN, b"")
    assert len(read_children(full)) == MAX_CHILDREN
    with pytest.raises(InvalidDer, match="More than 256 elements"):
        read_children(Element(Tag.SEQUENCE, full.content + b"\x05\x00", b""))


def test_depth_costs_nothing() -> None:
    """Ten thousand levels are one level to who reads one."""
    data = b""
    for _ in range(10_000):
        data = tlv(Tag.SEQUENCE, data)
    (child,) = read_children(read_element(data, Tag.SEQUENCE))
    assert child.encoded in data


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        ("2a864886f70d01010b", "1.2.840.113549.1.1.11"),
        ("2b0e03021d", "1.3.14.3.2.29"),
        ("2b060104018237420100", "1.3.6.1.4.1.311.66.1.0"),
        ("550403", "2.5.4.3"),
        ("00", "0.0"),
        ("27", "0.39"),
        ("28", "1.0"),
        ("8837", "2.999"),
    ],
)
def test_object_identifiers(octets: str, text: str) -> None:
    """Of each root arc (X.690 8.19)."""
    assert read_oid(Element(Tag.OBJECT_IDENTIFIER, bytes.fromhex(octets), b"")) == text


@pytest.mark.parametrize("octets", ["", "80", "8055", "2a8001", "2a86", "2b" + "ff" * 62 + "7f7f"])
def test_what_is_no_object_identifier(octets: str) -> None:
    """Empty, with leading zeros, cut off, endless."""
    with pytest.raises(InvalidDer, match="object identifier"):
        read_oid(Element(Tag.OBJECT_IDENTIFIER, bytes.fromhex(octets), b""))


def test_another_element_is_no_object_identifier() -> None:
    """Its tag says so."""
    with pytest.raises(InvalidDer, match="0x02 stands where an object identifier"):
        read_oid(Element(Tag.INTEGER, b"\x2a", b""))


TREES = st.recursive(
    st.binary(max_size=300),
    lambda below: st.lists(below, max_size=6),
    max_leaves=30,
)


def encode(tree: Any) -> bytes:
    """Lists are sequences, octets are octet strings."""
    if isinstance(tree, bytes):
        return tlv(Tag.OCTET_STRING, tree)
    return tlv(Tag.SEQUENCE, b"".join(map(encode, tree)))


def decode(element: Element) -> Any:
    """The same again."""
    if element.tag == Tag.OCTET_STRING:
        return element.content
    return [decode(child) for child in read_children(element)]


@given(TREES)
def test_what_was_written_is_read(tree: Any) -> None:
    """Whatever the tree."""
    data = encode(tree)
    assert decode(read_element(data, data[0])) == tree


@given(st.binary(max_size=200), st.sampled_from(list(Tag)))
def test_any_octets_are_an_element_or_an_error(data: bytes, tag: Tag) -> None:
    """And an element is all of them, as is each level below."""
    with contextlib.suppress(InvalidDer):
        element = read_element(data, tag)
        assert element.encoded == data
        assert b"".join(child.encoded for child in read_children(element)) == element.content
        read_oid(element)
