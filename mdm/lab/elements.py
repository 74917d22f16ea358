"""XML as a tree in document order, for answers whose order matters; the parser refuses a DOCTYPE and all excess."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.parsers import expat

from mdm.lab.mde2 import NAMESPACES
from mdm.upstream.xml import GuardedExpat, XmlLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Element", "Unfit", "read_elements"]

_LIMITS: Final = XmlLimits(bytes=1024 * 1024, depth=32, elements=2000, attributes=32)
_PREFIXES: Final = {namespace: prefix for prefix, namespace in NAMESPACES.items()}
_SEPARATOR: Final = " "


class Unfit(Exception):  # noqa: N818 - named for what the document is
    """A document that Windows would make nothing of; the text says where."""


@dataclass(slots=True)
class Element:
    """One element; names have the prefixes of `mdm.lab.mde2`, `other:` in a namespace unknown there, none without one."""

    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> list[Element]:
        """The children of that name."""
        return [child for child in self.children if child.name == name]

    def only(self, name: str) -> Element:
        """The one child of that name; raises Unfit for none or several."""
        found = self.all(name)
        if len(found) != 1:
            raise Unfit(f"{name} stands {len(found)} times in {self.name}, and not once")
        return found[0]

    def value(self, name: str) -> str:
        """The text of the one child of that name; raises Unfit where it is empty."""
        text = self.only(name).text.strip()
        if not text:
            raise Unfit(f"{name} in {self.name} is empty")
        return text

    def descend(self, *names: str) -> Element:
        """The element at the end of a path of only children."""
        element = self
        for name in names:
            element = element.only(name)
        return element

    def in_order(self, *wanted: str) -> None:
        """Raise Unfit unless the children are these in this order; `?` behind a name: or not there, `+`: or more."""
        names = [child.name for child in self.children]
        at = 0
        for each in wanted:
            name, mark = (each[:-1], each[-1]) if each[-1] in "?+" else (each, "")
            count = 0
            while at < len(names) and names[at] == name and (count == 0 or mark == "+"):
                at, count = at + 1, count + 1
            if count == 0 and mark != "?":
                found = names[at] if at < len(names) else "nothing more"
                raise Unfit(f"in {self.name}, {found} stands where {name} has to")
        if at < len(names):
            raise Unfit(f"in {self.name}, {names[at]} stands where nothing more may")

    def walk(self) -> Iterator[Element]:
        """This element and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_elements(document: bytes) -> Element:
    """Read a document; raises Unfit for what is no XML, or more of it than any answer needs."""
    builder = _Builder()
    parser = GuardedExpat(_LIMITS).ParserCreate(namespace_separator=_SEPARATOR)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError) as problem:
        raise Unfit(f"it is no XML that can be read ({problem})") from None
    return builder.open[0].children[0]


class _Builder:
    """Puts what expat reports into a tree; the first of `open` holds the root."""

    def __init__(self) -> None:
        self.open = [Element("", {})]

    def start(self, name: str, attributes: dict[str, str]) -> None:
        element = Element(_named(name), {_named(key): value for key, value in attributes.items()})
        self.open[-1].children.append(element)
        self.open.append(element)

    def end(self, _name: str) -> None:
        self.open.pop()

    def characters(self, text: str) -> None:
        self.open[-1].text += text


def _named(name: str) -> str:
    namespace, separator, local = name.rpartition(_SEPARATOR)
    return f"{_PREFIXES.get(namespace, 'other')}:{local}" if separator else local
