"""An update document put together from the pieces of an offline scan file.

The file has the pieces that Windows' own update client gets: core, extended and localised fragments without
namespaces and with several roots. What the catalogue reads of them is written down again as the document a server
would have sent; applicability rules and payload files, which are for the client, are not. Relations, categories
and dates come from the master list (metadata notes, sections 12 and 13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, TreeBuilder, tostring
from xml.parsers.expat import ExpatError

from mdm.catalog.metadata import METADATA_LIMITS, MetadataError
from mdm.upstream.xml import GuardedExpat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mdm.catalog.scan_index import ScanEntry

__all__ = ["assemble"]

_UPD: Final = "{http://schemas.microsoft.com/msus/2002/12/Update}"
_CAT: Final = "{http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Category}"
_SKIPPED: Final = frozenset({"ApplicabilityRules", "Files"})
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PROPERTIES: Final = frozenset({"Properties", "ExtendedProperties"})


def assemble(entry: ScanEntry, fragments: Iterable[bytes]) -> str:
    """Return the document; raises MetadataError for fragments that cannot be read or say too little."""
    pieces = [piece for fragment in fragments for piece in _read(fragment)]
    root = Element(f"{_UPD}Update")
    SubElement(
        root,
        f"{_UPD}UpdateIdentity",
        UpdateID=entry.identity.update_id,
        RevisionNumber=str(entry.identity.revision_number),
    )
    properties = SubElement(root, f"{_UPD}Properties")
    for piece in pieces:
        if piece.tag in _PROPERTIES:
            properties.attrib.update(piece.attrib)
            properties.extend(_qualified(each) for each in piece)
    if "UpdateType" not in properties.attrib:
        raise MetadataError("its core fragment is missing, or names no UpdateType")
    if entry.created is not None:
        properties.set("CreationDate", entry.created)
    if entry.language is not None:
        properties.set("DefaultPropertiesLanguage", entry.language)
    texts = SubElement(root, f"{_UPD}LocalizedPropertiesCollection")
    texts.extend(_qualified(each) for each in pieces if each.tag == "LocalizedProperties")
    _add_eula_files(texts, entry)
    _add_relationships(root, entry, pieces)
    if properties.get("UpdateType") == "Category":
        handler = SubElement(root, f"{_UPD}HandlerSpecificData")
        found = (each.get("CategoryType") for piece in pieces for each in piece.iter("CategoryInformation"))
        category_type = next((each for each in found if each), None) or entry.category_type
        information = SubElement(handler, f"{_CAT}CategoryInformation")
        if category_type is not None:
            information.set("CategoryType", category_type)
    return tostring(root, encoding="unicode")


def _add_eula_files(texts: Element, entry: ScanEntry) -> None:
    for sha1, language in entry.eula_files:
        # of several files without a language nobody could say which is whose
        if sha1 and (language or len(entry.eula_files) == 1):
            SubElement(texts, f"{_UPD}EulaFile", Digest=sha1, Language=language or "all")


def _add_relationships(root: Element, entry: ScanEntry, pieces: Iterable[Element]) -> None:
    relationships = SubElement(root, f"{_UPD}Relationships")
    superseded = SubElement(relationships, f"{_UPD}SupersededUpdates")
    for each in entry.supersedes:
        SubElement(superseded, f"{_UPD}UpdateIdentity", UpdateID=each)
    prerequisites = SubElement(relationships, f"{_UPD}Prerequisites")
    for clause in entry.requires:
        alternatives = SubElement(prerequisites, f"{_UPD}AtLeastOne")
        for each in clause:
            SubElement(alternatives, f"{_UPD}UpdateIdentity", UpdateID=each)
    if entry.categories:
        categories = SubElement(prerequisites, f"{_UPD}AtLeastOne", IsCategory="true")
        for each in entry.categories:
            SubElement(categories, f"{_UPD}UpdateIdentity", UpdateID=each)
    # the core fragment tells which parts are alternatives, the master list only which parts there are
    told = [each for piece in pieces if piece.tag == "Relationships" for each in piece.iter("BundledUpdates")]
    bundled = SubElement(relationships, f"{_UPD}BundledUpdates")
    bundled.extend(_qualified(clause) for each in told for clause in each)
    if not told:
        for identity in entry.bundles:
            SubElement(
                bundled,
                f"{_UPD}UpdateIdentity",
                UpdateID=identity.update_id,
                RevisionNumber=str(identity.revision_number),
            )


def _qualified(element: Element) -> Element:
    """The element and what is in it, in the namespace that fragments leave out."""
    copy = Element(f"{_UPD}{element.tag}", element.attrib)
    copy.text = element.text
    copy.extend(_qualified(each) for each in element)
    return copy


def _read(fragment: bytes) -> list[Element]:
    """The roots of a fragment, without what is for the client."""
    pieces = _Pieces()
    # without a namespace separator expat takes undeclared prefixes as they stand
    parser = GuardedExpat(METADATA_LIMITS).ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = pieces.start
    parser.EndElementHandler = pieces.end
    parser.CharacterDataHandler = pieces.characters
    try:
        parser.Parse(b"<pieces>", False)
        parser.Parse(fragment.removeprefix(_BYTE_ORDER_MARK), False)
        parser.Parse(b"</pieces>", True)
    except (ExpatError, ValueError) as problem:
        raise MetadataError(f"a fragment cannot be read: {problem}") from problem
    return list(pieces.close())


class _Pieces:
    """Makes the tree of a fragment by local names, without the subtrees that are skipped."""

    def __init__(self) -> None:
        self._tree = TreeBuilder()
        self._skipped = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Begin an element."""
        tag = name.rpartition(":")[2]
        if self._skipped or tag in _SKIPPED:
            self._skipped += 1
        else:
            plain = {key: value for key, value in attributes.items() if ":" not in key and key != "xmlns"}
            self._tree.start(tag, plain)

    def end(self, name: str) -> None:
        """End an element."""
        if self._skipped:
            self._skipped -= 1
        else:
            self._tree.end(name.rpartition(":")[2])

    def characters(self, text: str) -> None:
        """Take text."""
        if not self._skipped:
            self._tree.data(text)

    def close(self) -> Element:
        """Return the element that holds the roots."""
        return self._tree.close()
