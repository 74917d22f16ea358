"""Short update documents, read by a parser that is C from end to end.

Nearly every document of a catalogue has some kilobytes, and most of what the guarded parser costs is being told of
each element. Here the whole tree is built without that, for documents so short that what the guards are for can be
ruled out before, or looked at after. Whatever is not plainly harmless is left to the guarded parser, which then says
what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import ParseError, XMLParser

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from mdm.upstream.xml import XmlLimits

__all__ = ["LONGEST", "ShortDocuments"]

LONGEST: Final = 16 * 1024
"""Bytes of a document that is built whole."""
_ELEMENT: Final = len("<a/>")
"""Bytes of the shortest element."""
_NAMES: Final = 2_000
"""Names remembered; update metadata has some 150."""


@dataclass(frozen=True, slots=True)
class ShortDocuments:
    """Reads short documents within some limits."""

    limits: XmlLimits
    names: set[str] = field(default_factory=set, compare=False, repr=False)
    """Names known not to be too long: those of one document come again in the next."""

    def read(self, document: bytes) -> Element | None:
        """Return the root of a document in UTF-8; None for one that is long, not well-formed or beyond the limits.

        None as well for one that has a DOCTYPE, or anything that looks like it: a comment, a CDATA section.
        """
        limits = self.limits
        if (
            len(document) > min(LONGEST, limits.bytes, limits.elements * _ELEMENT)
            or b"<!" in document
            # one element more than these, which has no end tag, may be open at once; so many prefixes be in scope
            or document.count(b"</") >= limits.depth
            or document.count(b"xmlns") > limits.namespaces
        ):
            return None
        parser = XMLParser(encoding="utf-8")  # noqa: S314 - what is dangerous has been ruled out above
        try:
            parser.feed(document)
            root: Element = parser.close()
        except (ParseError, ValueError):
            return None
        return root if self._are_within(root) else None

    def _are_within(self, root: Element) -> bool:
        """Whether no element has too many attributes or too long a name."""
        names, most = self.names, self.limits.attributes
        for element in root.iter():
            attributes = element.attrib
            if element.tag not in names and not self._is_short(element.tag):
                return False
            if len(attributes) > most:
                return False
            if attributes and not (names.issuperset(attributes) or all(map(self._is_short, attributes))):
                return False
        return True

    def _is_short(self, name: str) -> bool:
        # the brace that a name with a namespace begins with is ElementTree's own
        if len(name) - name.startswith("{") > self.limits.name:
            return False
        if len(self.names) < _NAMES:
            self.names.add(name)
        return True
