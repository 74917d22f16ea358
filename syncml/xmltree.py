"""XML bytes to a tree and back: the only module that touches a parser.

expat hands each event to a function of `_watch`, which counts before the standard library's TreeBuilder builds, so
a hostile document is left at the first element, attribute or character past `Limits`. A DOCTYPE ends the parse
before anything is declared: there are no entities to expand, no external ones to fetch and no attribute defaults.
The document is parsed in one call, because expat rereads an unfinished token with every further piece.

The tree is that of `xml.etree.ElementTree`: a name in a namespace is written `{namespace}local`, text before the
first child is the element's `text`, and text behind a child is that child's `tail`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from syncml.errors import LimitExceeded, MalformedMessage, RemoteProtocolError
from syncml.namespaces import XML

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncml.limits import Limits

__all__ = ["SPACE", "Element", "escape", "escape_attribute", "parse", "pieces", "split_name"]

SPACE = " \t\r\n"
"""The white space of XML (production 3), which `str.strip` alone would take for more."""

# expat joins namespace and local name with it; it cannot occur in a URI, and expat refuses one that has it
_SEPARATOR = "}"


def parse(data: bytes, limits: Limits, *, until: str | None = None) -> Element:
    """The root element of `data`, which must be one XML 1.0 document in UTF-8 (a BOM is accepted).

    With `until`, a local name, the parser stops at the end of the first child of the root that has it: the
    tree ends there, and of what follows nothing is known but that it is UTF-8 and that no tag of it is too long.

    Raises `LimitExceeded` at the first thing past `limits`, and `MalformedMessage` for anything that is not
    well-formed or not UTF-8, and for every DOCTYPE; details name the line:column, from 1, of the stop.
    """
    if len(data) > limits.bytes:
        raise LimitExceeded(f"{len(data)} bytes, more than {limits.bytes}")
    # expat would follow a byte order mark or a NUL into UTF-16, whatever encoding it is told
    if b"\0" in data:
        raise MalformedMessage(f"a NUL byte at offset {data.index(0)}: not UTF-8 text")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"not UTF-8 at byte offset {error.start}") from None
    _check_tags(data, limits.tag)
    tree = TreeBuilder()
    parser = expat.ParserCreate("UTF-8", _SEPARATOR)
    parser.XmlDeclHandler = _check_declaration
    parser.StartDoctypeDeclHandler = _refuse_doctype
    _watch(parser, tree, limits, until)
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        place = f"{error.lineno}:{error.offset + 1}"
        raise MalformedMessage(f"{expat.ErrorString(error.code)} at {place}") from None
    except RemoteProtocolError as refusal:
        place = f"{parser.CurrentLineNumber}:{parser.CurrentColumnNumber + 1}"
        raise type(refusal)(f"{refusal.detail} at {place}") from None
    except _Enough:
        pass  # what was asked for is there
    return tree.close()


def split_name(name: str) -> tuple[str, str]:
    """Namespace URI, empty if none, and local name of what an element or an attribute is called in the tree."""
    namespace, _, local = name.rpartition(_SEPARATOR)
    return namespace[1:], local


def pieces(around: Element, namespace: str) -> Iterator[str]:
    """The content of an element as XML text, piece by piece, for a place where `namespace` is the default one.

    Only namespaces that differ from the surrounding one are declared: elements as default namespace,
    attributes by a prefix. A loop, not a recursion, and lazy, so that the caller can stop at its own limit.
    """
    if around.text:
        yield escape(around.text)
    path = [(iter(around), namespace, "")]
    while path:
        inside, default, end = path[-1]
        for element in inside:
            name, tag, within = _opening(element, default)
            tail = escape(element.tail or "")
            if element.text or len(element):
                path.append((iter(element), within, f"</{name}>{tail}"))
                yield f"<{tag}>{escape(element.text or '')}"
                break
            yield f"<{tag}/>{tail}"
        else:
            path.pop()
            if end:
                yield end


def escape(text: str) -> str:
    """Character data for element content; CR becomes a reference, for a parser turns a bare one into LF."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def escape_attribute(text: str) -> str:
    """Character data for a value in double quotes; white space a parser would normalise is a reference."""
    return escape(text).replace('"', "&quot;").replace("\t", "&#9;").replace("\n", "&#10;")


def _opening(element: Element, default: str) -> tuple[str, str, str]:
    """The element's name as written, what stands in its start tag, and the default namespace inside of it."""
    namespace, name = split_name(element.tag)
    if namespace == default and not element.attrib:
        return name, name, default
    declared = ""
    if namespace == XML:
        name = f"xml:{name}"
    elif namespace != default:
        default = namespace
        declared = f' xmlns="{escape_attribute(default)}"'
    return name, f"{name}{declared}{_attributes(element)}", default


def _attributes(element: Element) -> str:
    """The element's attributes, and the prefixes of their namespaces."""
    written = ""
    prefixes = {XML: "xml"}
    for key, value in element.attrib.items():
        uri, name = split_name(key)
        if uri or key != name:
            if uri not in prefixes:
                prefixes[uri] = f"n{len(prefixes)}"
                written += f' xmlns:{prefixes[uri]}="{escape_attribute(uri)}"'
            name = f"{prefixes[uri]}:{name}"
        written += f' {name}="{escape_attribute(value)}"'
    return written


def _check_declaration(_version: str, encoding: str | None, _standalone: int) -> None:
    """Refuse a document that calls itself anything but UTF-8: its author and we would read two texts."""
    if encoding is not None and encoding.upper() != "UTF-8":
        raise MalformedMessage(f"declared as {encoding[:20]!r}, not UTF-8")


def _refuse_doctype(*_declaration: object) -> NoReturn:
    raise MalformedMessage("a DOCTYPE is not allowed")


class _Enough(Exception):  # noqa: N818 - not an error
    """Ends a parse that need not go on."""


def _check_tags(data: bytes, most: int) -> None:
    """Refuse a start tag of more than `most` octets.

    expat has expanded all attributes of a tag, each with its namespace, before it tells of the first: thousands of
    them in a long namespace would be gigabytes.
    """
    # From a `<` that none follows for so long to the end of the tag, or to what cannot stand in one; possessive, so
    # that no octet is looked at again.
    long = rb"""<(?=[^<!?/][^<]{%d})(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+""" % (most - 1)
    for tag in re.finditer(long, data):
        start = tag.start()
        if tag.end() - start >= most:
            line, column = data.count(b"\n", 0, start) + 1, start - data.rfind(b"\n", 0, start)
            raise LimitExceeded(f"a tag of more than {most} octets at {line}:{column}")


def _watch(parser: expat.XMLParserType, tree: TreeBuilder, limits: Limits, until: str | None) -> None:
    """Have the parser's events counted against the limits, and the tree grown.

    Closures, because they are called some ten thousand times for one message.
    """
    names, scope = _Names(limits), _Scope(limits)
    known = names.known.get
    open_, close, add = tree.start, tree.end, tree.data
    deepest, longest = limits.depth, limits.text
    room = limits.elements
    depth = 0
    lengths = [0] * (deepest + 1)
    """Characters of text in each open element so far."""
    none: dict[str, str] = {}

    def start(name: str, attributes: list[str]) -> None:
        nonlocal room, depth
        room -= 1
        if room < 0:
            raise LimitExceeded(f"more than {limits.elements} elements")
        if depth == deepest:
            raise LimitExceeded(f"more than {deepest} open elements")
        depth += 1
        lengths[depth] = 0
        open_(known(name) or names.element(name), names.attributes(attributes) if attributes else none)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        close(name)

    def end_or_stop(name: str) -> None:
        end(name)
        if depth == 1 and name.rpartition(_SEPARATOR)[2] == until:
            raise _Enough

    def characters(text: str) -> None:
        length = lengths[depth] + len(text)
        if length > longest:
            raise LimitExceeded(f"more than {longest} characters of text in one element")
        lengths[depth] = length
        add(text)

    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end if until is None else end_or_stop
    parser.CharacterDataHandler = characters
    parser.StartNamespaceDeclHandler = scope.declare
    parser.EndNamespaceDeclHandler = scope.undeclare


class _Scope:
    """Counts the namespaces that are declared where the parser stands."""

    __slots__ = ("_declared", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._declared = 0

    def declare(self, _prefix: str | None, uri: str | None) -> None:
        self._declared += 1
        if self._declared > self._limits.namespaces:
            raise LimitExceeded(f"more than {self._limits.namespaces} namespace declarations in scope")
        # every name in it will carry it, and be refused
        if uri is not None and len(uri) > self._limits.name:
            raise LimitExceeded(f"a namespace of more than {self._limits.name} characters")

    def undeclare(self, _prefix: str | None) -> None:
        self._declared -= 1


class _Names:
    """Turns the names of expat into those of the tree, and bounds their length and number."""

    __slots__ = ("_attributes", "_limits", "known")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._attributes = 0
        self.known: dict[str, str] = {}
        """Names of elements by what expat calls them: a document has few names, many times."""

    def element(self, raw: str) -> str:
        """The name of an element that has not come before."""
        name = self._name(raw)
        if len(self.known) == self._limits.names:
            raise LimitExceeded(f"more than {self._limits.names} different element names")
        self.known[raw] = name
        return name

    def attributes(self, raw: list[str]) -> dict[str, str]:
        """The attributes of one element, which expat lists as names and values in turn."""
        limits = self._limits
        count = len(raw) // 2
        if count > limits.attributes:
            raise LimitExceeded(f"more than {limits.attributes} attributes on one element")
        # each name carries its namespace, so a few bytes of input can cost some hundred in memory
        self._attributes += count
        if self._attributes > limits.elements:
            raise LimitExceeded(f"more than {limits.elements} attributes in all")
        return {self._name(key): value for key, value in zip(raw[::2], raw[1::2], strict=True)}

    def _name(self, raw: str) -> str:
        qualified = _SEPARATOR in raw
        if len(raw) - qualified > self._limits.name:
            raise LimitExceeded(f"a name of more than {self._limits.name} characters")
        return f"{{{raw}" if qualified else raw
