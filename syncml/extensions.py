"""Elements this package does not know, between tree and message: kept whole, written back unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncml.errors import LocalProtocolError, RemoteProtocolError
from syncml.limits import DEFAULT_LIMITS
from syncml.messages import Extension
from syncml.xmltree import Element, escape_attribute, parse, pieces, split_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["read_extensions", "write_extensions"]


def read_extensions(elements: Sequence[Element] | Element) -> tuple[Extension, ...]:
    """The elements as values, in document order."""
    return tuple([_extension(element) for element in elements]) if len(elements) else ()


def write_extensions(extensions: Iterable[Extension], namespace: str) -> str:
    """The extensions as XML text for a place whose default namespace is `namespace`.

    Raises `LocalProtocolError` for one that is not XML: a name that is none, an attribute twice, a reserved
    namespace, nested deeper than `DEFAULT_LIMITS` allows.
    """
    return "".join([_written(extension, namespace) for extension in extensions])


def _extension(element: Element) -> Extension:
    namespace, name = split_name(element.tag)
    # not `element.attrib`: asking for it makes a dictionary, and few elements have attributes
    return Extension(name, namespace, element.text or "", tuple(element.items()), read_extensions(element))


def _written(extension: Extension, namespace: str) -> str:
    """XML text that is proven by reading it back: the parser's rules for names are not worth repeating."""
    alone = Element("_")
    alone.append(_element(extension, DEFAULT_LIMITS.depth))
    text = "".join(pieces(alone, namespace))
    try:
        around = parse(f'<_ xmlns="{escape_attribute(namespace)}">{text}</_>'.encode(), DEFAULT_LIMITS)
    except (RemoteProtocolError, UnicodeEncodeError) as error:
        raise LocalProtocolError(f"extension {extension.name[:40]!a} is not XML: {error}") from None
    if read_extensions(list(around)) != (extension,):
        raise LocalProtocolError(f"extension {extension.name[:40]!a} would be read as something else")
    return text


def _element(extension: Extension, room: int) -> Element:
    if not room:
        raise LocalProtocolError(f"extensions nested more than {DEFAULT_LIMITS.depth} deep")
    name = f"{{{extension.namespace}}}{extension.name}" if extension.namespace else extension.name
    element = Element(name, dict(extension.attributes))
    element.text = extension.text
    element.extend([_element(child, room - 1) for child in extension.children])
    return element
