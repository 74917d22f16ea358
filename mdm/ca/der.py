"""DER (X.690) read one level at a time, over the original octets: for what common libraries refuse to load.

A reader calls itself nowhere: each call takes one level apart and the caller decides whether to go deeper, so a
document nested a thousand times costs no more than its outermost level. What a string holds is not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from mdm.ca.errors import InvalidDer

__all__ = ["MAX_CHILDREN", "MAX_OCTETS", "Element", "Tag", "read_children", "read_element", "read_oid"]

MAX_OCTETS: Final = 64 * 1024
"""The largest document; a request of Windows has less than 2 KiB."""
MAX_CHILDREN: Final = 256
"""The most elements at one level."""
_MAX_OID_OCTETS: Final = 64
_LONG_FORM: Final = 0x80
_HIGH_TAG: Final = 0x1F
_MAX_LENGTH_OCTETS: Final = 3
"""Enough for `MAX_OCTETS`."""


class Tag(IntEnum):
    """The identifier octets that a certificate request and a signed message around one are made of."""

    BOOLEAN = 0x01
    INTEGER = 0x02
    BIT_STRING = 0x03
    OCTET_STRING = 0x04
    NULL = 0x05
    OBJECT_IDENTIFIER = 0x06
    SEQUENCE = 0x30
    SET = 0x31
    CONTEXT_0 = 0xA0
    CONTEXT_1 = 0xA1


@dataclass(frozen=True, slots=True)
class Element:
    """One element: identifier octet, contents, and the octets it was read from, header included."""

    tag: int
    content: bytes
    encoded: bytes


def read_element(data: bytes, tag: int) -> Element:
    """Return the one element that `data` is; raises InvalidDer for another tag, or anything behind it."""
    if len(data) > MAX_OCTETS:
        raise InvalidDer(f"More than {MAX_OCTETS} octets.")
    element = _at(data, 0)
    if len(element.encoded) != len(data):
        raise InvalidDer("There is something behind the end.")
    if element.tag != tag:
        raise InvalidDer(f"Tag 0x{element.tag:02x} stands where 0x{tag:02x} was expected.")
    return element


def read_children(element: Element, *tags: int | None) -> tuple[Element, ...]:
    """Return the elements that make up a constructed one's contents.

    With `tags` there must be exactly so many, each with its tag (None: any). Raises InvalidDer otherwise.
    """
    found: list[Element] = []
    offset = 0
    while offset < len(element.content):
        if len(found) == MAX_CHILDREN:
            raise InvalidDer(f"More than {MAX_CHILDREN} elements at one level.")
        found.append(_at(element.content, offset))
        offset += len(found[-1].encoded)
    if tags:
        if len(found) != len(tags):
            raise InvalidDer(f"There are {len(found)} elements where {len(tags)} were expected.")
        for child, tag in zip(found, tags, strict=True):
            if tag is not None and child.tag != tag:
                raise InvalidDer(f"Tag 0x{child.tag:02x} stands where 0x{tag:02x} was expected.")
    return tuple(found)


def read_oid(element: Element) -> str:
    """Return an OBJECT IDENTIFIER in dotted form; raises InvalidDer."""
    content = element.content
    if element.tag != Tag.OBJECT_IDENTIFIER:
        raise InvalidDer(f"Tag 0x{element.tag:02x} stands where an object identifier was expected.")
    if not 0 < len(content) <= _MAX_OID_OCTETS or content[-1] & 0x80:
        raise InvalidDer("An object identifier is empty, cut off, or too long.")
    arcs: list[int] = []
    arc = 0
    start = True
    for octet in content:
        if start and octet == _LONG_FORM:
            raise InvalidDer("An object identifier has leading zeros.")
        arc = arc << 7 | octet & 0x7F
        start = octet < _LONG_FORM
        if start:
            arcs.append(arc)
            arc = 0
    # X.690 8.19.4: the first number holds two arcs, and only the third root arc has more than 40 below it.
    root = min(arcs[0] // 40, 2)
    return ".".join(map(str, (root, arcs[0] - 40 * root, *arcs[1:])))


def _at(data: bytes, start: int) -> Element:
    """The element that begins at `start`, with the definite and shortest length that DER demands."""
    if len(data) - start < 2:  # noqa: PLR2004 - a tag and a length are an octet each at least
        raise InvalidDer("An element is cut off.")
    tag, length = data[start], data[start + 1]
    begin = start + 2
    if tag & _HIGH_TAG == _HIGH_TAG:
        raise InvalidDer("A tag has more than one octet.")
    if length >= _LONG_FORM:
        octets = data[begin : begin + (length & 0x7F)]
        begin += length & 0x7F
        if not 0 < length & 0x7F <= _MAX_LENGTH_OCTETS or len(octets) != length & 0x7F:
            raise InvalidDer("A length is indefinite, too long, or cut off.")
        length = int.from_bytes(octets)
        if octets[0] == 0 or length < _LONG_FORM:
            raise InvalidDer("A length is not in its shortest form.")
    end = begin + length
    if end > len(data):
        raise InvalidDer("An element is longer than what holds it.")
    return Element(tag, data[begin:end], data[start:end])
