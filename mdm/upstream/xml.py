"""The one door to xmltodict: SOAP in and out, with bounds that xmltodict itself does not have.

Plain `xmltodict.parse` takes a DOCTYPE, applies its attribute defaults, and bounds neither depth nor count nor
size. Here the length is checked before parsing, and the expat parser underneath refuses a DOCTYPE and counts
depth, elements, attributes, namespaces and name length (`GuardedExpat`, which the catalogue's own metadata
parser uses as well).

Elements are named `soap:`, `sd:` or `da:` by namespace, whatever prefix the peer chose; a name of any other
namespace begins with `other:`, a name of none has no colon. Attributes are dropped: no answer of
MS-WSUSSS carries meaning in one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from xml.parsers import expat

import xmltodict

from mdm.upstream.errors import InvalidAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = [
    "ANSWER_LIMITS",
    "DA",
    "PREFIXES",
    "REPEATABLE",
    "SD",
    "SOAP",
    "GuardedExpat",
    "GuardedParser",
    "Node",
    "XmlLimits",
    "XmlRefused",
    "child",
    "children",
    "read_soap_body",
    "text_of",
    "write_soap",
]

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
"""SOAP 1.1, which this bridge sends."""
SOAP12: Final = "http://www.w3.org/2003/05/soap-envelope"
"""SOAP 1.2, read as well: which of the two a server speaks is its configuration (MS-WSUSSS 2.1)."""
SD: Final = "http://www.microsoft.com/SoftwareDistribution"
DA: Final = "http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService"

_NAMES: Final = 500
"""Names remembered; update metadata has some 150."""

Node: TypeAlias = "str | dict[str, Any] | list[Any] | None"
"""What xmltodict makes of an element: text, its children by name, several of a name, or nothing."""


@dataclass(frozen=True, slots=True)
class XmlLimits:
    """Bounds on one document; passing any of them raises `XmlRefused` before more work is done."""

    bytes: int = 32 * 1024 * 1024
    """The longest unfiltered list published is 3 MB for 24,509 ids; Windows bounds GetUpdateData at 2 MB."""
    depth: int = 64
    """Open elements at any point; the deepest WSUSSS answer has 9."""
    elements: int = 500_000
    """Three for each id of a revision list."""
    attributes: int = 64
    """On one element; update metadata has up to about 25."""
    name: int = 512
    """Characters of one element or attribute name, namespace included."""
    namespaces: int = 64
    """Declarations in scope at any point."""


ANSWER_LIMITS: Final = XmlLimits()


class XmlRefused(ValueError):  # noqa: N818 - named for what happened to the document
    """A guarded parser stopped: a DOCTYPE, or a limit; the message says which."""


class GuardedParser:
    """An expat parser for one document, whose handlers are reached through counters.

    Assign the handlers as on expat's own parser, then call `Parse`, once or piece by piece. Only what xmltodict,
    the metadata parser and `mdm.upstream.stream` use is there.
    """

    StartElementHandler: Callable[[str, Any], None]
    EndElementHandler: Callable[[str], None]
    CharacterDataHandler: Callable[[str], None]
    StartNamespaceDeclHandler: Callable[[str, str], None] | None = None
    EntityDeclHandler: Callable[..., None] | None = None
    """xmltodict assigns it; never called, because entities are declared in a DOCTYPE."""
    ordered_attributes: bool = False
    """True: attributes come as [name, value, name, value, ...] instead of a dict."""
    buffer_text: bool = False

    def __init__(
        self, limits: XmlLimits, names: set[str], encoding: str | None, namespace_separator: str | None
    ) -> None:
        """`encoding` overrules the document's own declaration; for `names` see GuardedExpat."""
        self._limits = limits
        self._names = names
        self._parser = expat.ParserCreate(encoding, namespace_separator)
        self._begun = False
        self._open = self._elements = self._namespaces = self._bytes = 0
        self._passed_from = 0
        """Open elements when the passing over began."""
        self._kept: Collection[str] = ()

    def Parse(self, data: bytes, final: bool) -> None:  # noqa: FBT001, N802 - expat's signature
        """Parse the document, or the next piece of it.

        Raises XmlRefused, or expat's own ExpatError for what is not well-formed.
        """
        self._bytes += len(data)
        if self._bytes > self._limits.bytes:
            raise XmlRefused(f"the document has more than {self._limits.bytes} bytes")
        if not self._begun:
            self._begin()
        self._parser.Parse(data, final)

    def pass_over(self, kept: Collection[str] = ()) -> None:
        """Keep the rest of the element that has just started, its end included, from the handlers.

        Only elements inside it whose names are `kept` reach them, without their text. What is passed over is bounded
        as everything else is, and costs a third.
        """
        self._passed_from, self._kept = self._open, kept
        self._parser.StartElementHandler = self._start_passed
        self._parser.EndElementHandler = self._end_passed
        self._parser.CharacterDataHandler = None

    def _begin(self) -> None:
        self._begun = True
        self._parser.ordered_attributes = self.ordered_attributes
        self._parser.buffer_text = self.buffer_text
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartNamespaceDeclHandler = self._start_namespace
        self._parser.EndNamespaceDeclHandler = self._end_namespace
        self._attend()

    def _attend(self) -> None:
        self._parser.StartElementHandler = self._start_element
        self._parser.EndElementHandler = self._end_element
        self._parser.CharacterDataHandler = self.CharacterDataHandler

    def _doctype(self, *_declaration: object) -> None:
        raise XmlRefused("the document has a DOCTYPE")

    def _start_namespace(self, prefix: str, uri: str) -> None:
        self._namespaces += 1
        if self._namespaces > self._limits.namespaces:
            raise XmlRefused(f"the document declares more than {self._limits.namespaces} namespaces at once")
        if self.StartNamespaceDeclHandler is not None:
            self.StartNamespaceDeclHandler(prefix, uri)

    def _end_namespace(self, _prefix: str) -> None:
        self._namespaces -= 1

    def _start_element(self, name: str, attributes: Any) -> None:
        self._count(name, attributes)
        self.StartElementHandler(name, attributes)

    def _end_element(self, name: str) -> None:
        self._open -= 1
        self.EndElementHandler(name)

    def _start_passed(self, name: str, attributes: Any) -> None:
        self._count(name, attributes)
        if name in self._kept:
            self.StartElementHandler(name, attributes)

    def _end_passed(self, name: str) -> None:
        self._open -= 1
        if self._open < self._passed_from:
            self._attend()
        elif name in self._kept:
            self.EndElementHandler(name)

    def _count(self, name: str, attributes: Any) -> None:
        """Hold one more element against the limits."""
        self._open += 1
        self._elements += 1
        limits = self._limits
        if self._open > limits.depth:
            raise XmlRefused(f"the document is more than {limits.depth} elements deep")
        if self._elements > limits.elements:
            raise XmlRefused(f"the document has more than {limits.elements} elements")
        if attributes:
            names = attributes[0::2] if self.ordered_attributes else attributes
            if len(names) > limits.attributes:
                raise XmlRefused(f"an element has more than {limits.attributes} attributes")
            if not self._names.issuperset(names):
                self._measure(names)
        if name not in self._names:
            self._measure((name,))

    def _measure(self, names: Collection[str]) -> None:
        """Hold names against their limit, and remember them."""
        if max(map(len, names)) > self._limits.name:
            raise XmlRefused(f"a name has more than {self._limits.name} characters")
        if len(self._names) > _NAMES:
            self._names.clear()
        self._names.update(names)


@dataclass(frozen=True, slots=True)
class GuardedExpat:
    """What xmltodict takes as `expat=`: makes guarded parsers."""

    limits: XmlLimits
    names: set[str] = field(default_factory=set, compare=False, repr=False)
    """Names known not to be too long: those of one document come again in the next."""

    def ParserCreate(  # noqa: N802 - expat's name
        self, encoding: str | None = None, namespace_separator: str | None = None
    ) -> GuardedParser:
        """Make a parser bound by these limits."""
        return GuardedParser(self.limits, self.names, encoding, namespace_separator)


class _Prefixes(dict[str, str]):
    """Namespace to prefix; an unknown namespace cannot pass for a known one by being spelt like its prefix."""

    def __missing__(self, namespace: str) -> str:
        return "other"


PREFIXES: Final[Mapping[str, str]] = _Prefixes({SOAP: "soap", SOAP12: "soap", SD: "sd", DA: "da"})

REPEATABLE: Final = frozenset(
    {
        "sd:AuthPlugInInfo",
        "sd:ServerSyncDeployment",
        "sd:ServerSyncDriverSetData",
        "sd:ServerSyncFileDecryption",
        "sd:ServerSyncLanguageData",
        "sd:ServerSyncTargetGroup",
        "sd:ServerSyncUpdateData",
        "sd:ServerSyncUpdateFileDecryption",
        "sd:ServerSyncUrlData",
        "sd:UpdateIdentity",
        "sd:base64Binary",
        "sd:guid",
    }
)
"""Always a list, or one child would come as a dict and two as a list."""


def read_soap_body(data: bytes, limits: XmlLimits = ANSWER_LIMITS) -> dict[str, Any]:
    """Return the children of soap:Body by name; text keeps its white space.

    Raises InvalidAnswer for anything that is not a SOAP envelope within the limits. Expat reads UTF-8, and UTF-16
    by its byte order mark, whatever the document declares.
    """
    if len(data) > limits.bytes:
        raise InvalidAnswer(f"the answer has more than {limits.bytes} bytes")
    try:
        document = xmltodict.parse(
            data,
            encoding="utf-8",
            expat=GuardedExpat(limits),
            process_namespaces=True,
            namespaces=PREFIXES,
            force_list=REPEATABLE,
            xml_attribs=False,
            strip_whitespace=False,
        )
    except (expat.ExpatError, ValueError) as problem:
        raise InvalidAnswer(f"the answer cannot be read as XML: {problem}") from problem
    body = child(child(document, "soap:Envelope"), "soap:Body")
    if not isinstance(body, dict):
        raise InvalidAnswer("the answer is not a SOAP envelope with a body")
    return body


def child(node: Node, name: str) -> Node:
    """Return the one child of that name, or None; raises InvalidAnswer if it stands there twice."""
    if not isinstance(node, dict):
        return None
    found: Node = node.get(name)
    if isinstance(found, list):
        raise InvalidAnswer(f"{name.rpartition(':')[2]} stands in the answer more than once")
    return found


def children(node: Node, name: str) -> list[Node]:
    """Return all children of a repeatable name, leaving out nil ones."""
    if not isinstance(node, dict):
        return []
    return [each for each in node.get(name, ()) if each is not None]


def text_of(node: Node, *, exact: bool = False) -> str | None:
    """Return an element's text, stripped unless `exact`; None if it has none or has children instead."""
    if not isinstance(node, str):
        return None
    return node if exact else node.strip() or None


def write_soap(namespace: str, operation: str, body: Mapping[str, Any]) -> bytes:
    """Return a SOAP 1.1 envelope with `operation` in `namespace`; lists repeat, order is kept, text is escaped."""
    call: dict[str, Any] = {"@xmlns": namespace, **body}
    envelope = {"soap:Envelope": {"@xmlns:soap": SOAP, "soap:Body": {operation: call}}}
    return xmltodict.unparse(envelope, encoding="utf-8", short_empty_elements=True).encode()
