"""XML bytes to a small tree and back: the only module that touches a parser.

expat hands each event to `_Builder`, which counts before it builds, so a hostile document is left at the
first element, attribute or character past `Limits`. A DOCTYPE ends the parse before anything is declared:
there are no entities to expand, no external ones to fetch and no attribute defaults. The document is
parsed in one call, because expat rereads an unfinished token with every further piece.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from syncml.errors import LimitExceeded, MalformedMessage, RemoteProtocolError
from syncml.namespaces import XML

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from syncml.limits import Limits

__all__ = ["SPACE", "Element", "escape", "escape_attribute", "parse", "pieces"]

SPACE = " \t\r\n"
"""The white space of XML (production 3), which `str.strip` alone would take for more."""

# expat joins namespace and local name with it; it cannot occur in a URI, and expat refuses one that has it
_SEPARATOR = "}"

_INSIDE_ROOT = 2
"""Elements open between two children of the root: the document and the root."""


@dataclass(slots=True)
class Element:
    """An element of the tree: its name, attributes and content in document order."""

    name: str
    """Local name."""
    namespace: str
    """Namespace URI, empty if none."""
    attributes: tuple[tuple[str, str], ...]
    """(name, value) pairs; a namespaced name is written `{namespace}local`."""
    content: list[str | Element]
    """Text and children, as they follow each other."""
    characters: int = field(default=0, compare=False)
    """Length of all text in `content`, counted while parsing."""

    @property
    def text(self) -> str:
        """Character data before the first child, as the peer wrote it."""
        content = self.content
        if len(content) == 1 and isinstance(content[0], str):
            return content[0]
        parts = []
        for node in content:
            if not isinstance(node, str):
                break
            parts.append(node)
        return "".join(parts)

    @property
    def children(self) -> list[Element]:
        """The elements among the content."""
        return [node for node in self.content if isinstance(node, Element)]


def parse(data: bytes, limits: Limits, *, until: str | None = None) -> Element:
    """The root element of `data`, which must be one XML 1.0 document in UTF-8 (a BOM is accepted).

    With `until`, a local name, the parser stops at the end of the first child of the root that has it: the
    tree ends there, and of what follows nothing is known but that it is UTF-8.

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
    builder = _Builder(limits, until)
    parser = expat.ParserCreate("UTF-8", _SEPARATOR)
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.XmlDeclHandler = _check_declaration
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartNamespaceDeclHandler = builder.declare
    parser.EndNamespaceDeclHandler = builder.undeclare
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end if until is None else builder.end_or_stop
    parser.CharacterDataHandler = builder.characters
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
    return builder.root


def pieces(nodes: Iterable[str | Element], namespace: str) -> Iterator[str]:
    """The nodes as XML text, piece by piece, for a place where `namespace` is the default one.

    Only namespaces that differ from the surrounding one are declared: elements as default namespace,
    attributes by a prefix. A loop, not a recursion, and lazy, so that the caller can stop at its own limit.
    """
    around: list[tuple[Iterator[str | Element], str, str]] = [(iter(nodes), namespace, "")]
    while around:
        inside, default, end = around[-1]
        for node in inside:
            if isinstance(node, str):
                yield escape(node)
                continue
            name, tag, within = _opening(node, default)
            if node.content:
                around.append((iter(node.content), within, f"</{name}>"))
                yield f"<{tag}>"
                break
            yield f"<{tag}/>"
        else:
            around.pop()
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
    name = element.name
    if element.namespace == default and not element.attributes:
        return name, name, default
    declared = ""
    if element.namespace == XML:
        name = f"xml:{name}"
    elif element.namespace != default:
        default = element.namespace
        declared = f' xmlns="{escape_attribute(default)}"'
    return name, f"{name}{declared}{_attributes(element)}", default


def _attributes(element: Element) -> str:
    """The element's attributes, and the prefixes of their namespaces."""
    written = ""
    prefixes = {XML: "xml"}
    for key, value in element.attributes:
        namespace, _, name = key.rpartition(_SEPARATOR)
        if namespace:
            uri = namespace[1:]
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


class _Builder:
    """Hears the parser's events, counts them against the limits and grows the tree."""

    __slots__ = ("_attributes", "_limits", "_names", "_namespaces", "_open", "_room", "_until")

    def __init__(self, limits: Limits, until: str | None) -> None:
        self._limits = limits
        self._until = until
        self._room = limits.elements
        """Elements that may still come."""
        self._attributes = 0
        self._namespaces = 0
        self._names: dict[str, tuple[str, str]] = {}
        """Local name and namespace by what expat calls them: a document has few names, many times."""
        self._open = [Element("", "", (), [])]
        """The path to where the parser stands; the first is the document, whose one child is the root."""

    @property
    def root(self) -> Element:
        return self._open[0].children[0]

    def start(self, tag: str, attributes: list[str]) -> None:
        path = self._open
        self._room -= 1
        if self._room < 0:
            raise LimitExceeded(f"more than {self._limits.elements} elements")
        if len(path) > self._limits.depth:
            raise LimitExceeded(f"more than {self._limits.depth} open elements")
        name, namespace = self._names.get(tag) or self._name(tag)
        element = Element(name, namespace, self._pairs(attributes) if attributes else (), [])
        path[-1].content.append(element)
        path.append(element)

    def end(self, _tag: str) -> None:
        self._open.pop()

    def end_or_stop(self, _tag: str) -> None:
        closed = self._open.pop()
        if len(self._open) == _INSIDE_ROOT and closed.name == self._until:
            raise _Enough

    def characters(self, text: str) -> None:
        element = self._open[-1]
        element.characters += len(text)
        if element.characters > self._limits.text:
            raise LimitExceeded(f"more than {self._limits.text} characters of text in one element")
        element.content.append(text)

    def declare(self, _prefix: str | None, _uri: str | None) -> None:
        self._namespaces += 1
        if self._namespaces > self._limits.namespaces:
            raise LimitExceeded(f"more than {self._limits.namespaces} namespace declarations in scope")

    def undeclare(self, _prefix: str | None) -> None:
        self._namespaces -= 1

    def _name(self, tag: str) -> tuple[str, str]:
        namespace, _, name = tag.rpartition(_SEPARATOR)
        if len(namespace) + len(name) > self._limits.name:
            raise LimitExceeded(f"a name of more than {self._limits.name} characters")
        if len(self._names) == self._limits.names:
            raise LimitExceeded(f"more than {self._limits.names} different element names")
        self._names[tag] = name, namespace
        return name, namespace

    def _pairs(self, attributes: list[str]) -> tuple[tuple[str, str], ...]:
        """Attributes with their names in the form of `Element.attributes`."""
        limits = self._limits
        count = len(attributes) // 2
        if count > limits.attributes:
            raise LimitExceeded(f"more than {limits.attributes} attributes on one element")
        # each name carries its namespace, so a few bytes of input can cost some hundred in memory
        self._attributes += count
        if self._attributes > limits.elements:
            raise LimitExceeded(f"more than {limits.elements} attributes in all")
        pairs = []
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            namespace, separator, name = key.rpartition(_SEPARATOR)
            if len(namespace) + len(name) > limits.name:
                raise LimitExceeded(f"a name of more than {limits.name} characters")
            pairs.append((f"{{{key}" if separator else key, value))
        return tuple(pairs)
