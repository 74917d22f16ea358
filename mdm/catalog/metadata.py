"""The update document ("SusXml") as a value: one `upd:Update` in, one frozen `ParsedRevision` out.

Elements are matched by namespace and local name, because prefixes vary and are declared anew on inner elements.
ApplicabilityRules and Files are for the Windows agent, and a cumulative update's rules alone reach 47 MB: of any but
a short document they are passed over while parsing. Only what they say of drivers is looked at. Everything else of
the document is small; the original is kept by the store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError

from mdm.catalog.short_documents import LONGEST, ShortDocuments
from mdm.upstream.messages import UpdateIdentity, wire_guid
from mdm.upstream.xml import GuardedExpat, XmlLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "METADATA_LIMITS",
    "DriverInfo",
    "EulaFile",
    "LocalizedText",
    "MetadataError",
    "MetadataReader",
    "ParsedRevision",
    "Relation",
    "parse_metadata",
]

METADATA_LIMITS: Final = XmlLimits(bytes=64 * 1024 * 1024, depth=200, elements=3_000_000, attributes=100)
"""The largest document published has 47 MB; its size is in applicability rules, many shallow elements."""

_EXPAT: Final = GuardedExpat(METADATA_LIMITS)
_SHORT: Final = ShortDocuments(METADATA_LIMITS)

_UPD: Final = "{http://schemas.microsoft.com/msus/2002/12/Update}"
_CAT: Final = "{http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Category}"
_DRIVER: Final = (
    "{http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver}WindowsDriverMetaData"
)
# as expat names them: without ElementTree's opening brace
_AGENTS: Final = ("ApplicabilityRules", "Files")
_PASSED_OVER: Final = frozenset(f"{_UPD[1:]}{name}" for name in _AGENTS)
_KEPT: Final = frozenset({_DRIVER[1:]})

_UPDATE_TYPES: Final = frozenset({"Software", "Driver", "Category", "Detectoid"})
_KB: Final = re.compile(r"(?:KB)?([0-9]{1,10})", re.ASCII | re.IGNORECASE)
_URL: Final = re.compile(r"https?://\S+", re.ASCII | re.IGNORECASE)
_INT_MAX: Final = 2**31 - 1
_BIGINT_MAX: Final = 2**63 - 1
_NEVER_YEARS: Final = frozenset({1, 1601, 1753, 9999})
"""Years that Microsoft's servers write for "no date"."""


class MetadataError(ValueError):
    """A document that cannot be used; the message is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class LocalizedText:
    """What an update says of itself in one language."""

    language: str
    """Lower case: `en`, `zh-cn`; `all` where it is the same in every language."""
    title: str | None
    description: str | None
    uninstall_notes: str | None
    more_info_url: str | None
    support_url: str | None


@dataclass(frozen=True, slots=True)
class EulaFile:
    """A licence text in one language, to be fetched by digest (MS-WUSP 3.1.1.1)."""

    sha1: str
    """Base64."""
    sha256: str | None
    """Base64."""
    file_name: str
    size: int | None
    language: str
    """Lower case."""
    geo_id: str | None
    """ISO 3166 alpha-3 of the country it is for; None is the rest of the world."""


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """What a driver is for (MS-WUSP, WindowsDriver.xsd): the same for all of its hardware ids."""

    hardware_ids: tuple[str, ...]
    """Lower case, as they are compared."""
    driver_class: str | None
    provider: str | None
    manufacturer: str | None
    model: str | None
    version: str | None
    """a.b.c.d"""
    date: str | None
    """As written, `2026-10-13`."""


@dataclass(frozen=True, slots=True)
class Relation:
    """An edge to another update; its target need not be known here."""

    kind: str
    """`supersedes`, `bundles` or `requires`."""
    clause: int
    """Clauses of a kind are conjoined, targets inside one are alternatives; superseded ones are all in 0."""
    target_id: str
    target_revision: int | None = None
    """Only `bundles` names one."""


@dataclass(frozen=True, slots=True)
class ParsedRevision:
    """One revision of an update, category or detectoid."""

    identity: UpdateIdentity
    update_type: str
    """`Software`, `Driver`, `Category` or `Detectoid`."""
    texts: tuple[LocalizedText, ...]
    default_language: str | None
    kb_articles: tuple[str, ...]
    """Digits only."""
    msrc_severity: str | None
    security_bulletin: str | None
    created: datetime | None
    publication_state: str
    """`Published` or `Expired`."""
    explicitly_deployable: bool
    eula_id: str | None
    eula_files: tuple[EulaFile, ...]
    categories: tuple[str, ...]
    """Ids of IsCategory clauses only: a bundle's children repeat the same ids in plain clauses."""
    relations: tuple[Relation, ...]
    """IsCategory clauses are not among them."""
    handler: str | None
    reboot_behavior: str | None
    can_uninstall: bool
    max_download_size: int | None
    """Bytes; of a bundle often 0."""
    support_url: str | None
    """http or https, as is `more_info_url`."""
    more_info_url: str | None
    category_type: str | None
    """Of a Category: `UpdateClassification`, `Product`, `ProductFamily`, `Company`; many have none."""
    driver: DriverInfo | None = None
    """Of a Driver, unless its document does not say."""

    @property
    def text(self) -> LocalizedText | None:
        """The text for an administrator: English, or the document's default language, or any."""
        by_language = {each.language: each for each in reversed(self.texts) if each.title}
        for language in ("en", self.default_language, "all"):
            if language in by_language:
                return by_language[language]
        return next((each for each in self.texts if each.title), None)

    @property
    def other_texts(self) -> Iterator[LocalizedText]:
        """What it says of itself in every other language, once in each."""
        text = self.text
        seen = {text.language if text is not None else None}
        for each in self.texts:
            if each.language not in seen and (each.title or each.description):
                seen.add(each.language)
                yield each

    @property
    def title(self) -> str:
        """The title; the UpdateID of a document that has none."""
        text = self.text
        return text.title if text is not None and text.title else self.identity.update_id

    @property
    def parent_id(self) -> str | None:
        """Of a Category: the first category it belongs to (Product -> ProductFamily -> Company)."""
        return self.categories[0] if self.update_type == "Category" and self.categories else None


def parse_metadata(document: str, limits: XmlLimits = METADATA_LIMITS) -> ParsedRevision:
    """Read one update document; raises MetadataError for one that cannot be used."""
    reader = MetadataReader(limits)
    # half a surrogate pair is not well-formed, which is for the parser to say
    reader.feed(document.encode(errors="surrogatepass"))
    return reader.close()


class MetadataReader:
    """Reads one update document piece by piece: `feed` its bytes in UTF-8, then `close` for the revision."""

    def __init__(self, limits: XmlLimits = METADATA_LIMITS) -> None:
        """Begin a document."""
        self._limits = limits
        self._held = b""
        """All there is so far, as long as that is short."""
        self._guarded: _GuardedTree | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raises MetadataError, here or in the end, for what cannot be read."""
        if self._guarded is None:
            self._held += data
            if len(self._held) <= LONGEST:
                return
            self._guarded = _GuardedTree(self._limits)
            data, self._held = self._held, b""
        self._guarded.feed(data)

    def close(self) -> ParsedRevision:
        """Return what the document says; raises MetadataError."""
        if self._guarded is not None:
            return _revision_of(self._guarded.close())
        short = _SHORT if self._limits is METADATA_LIMITS else ShortDocuments(self._limits)
        root = short.read(self._held)
        if root is None:
            guarded = _GuardedTree(self._limits)
            guarded.feed(self._held)
            root = guarded.close()
        return _revision_of(root)


class _GuardedTree:
    """Builds the tree of any document without what is for the Windows agent, and never beyond the limits."""

    def __init__(self, limits: XmlLimits) -> None:
        self._tree = TreeBuilder()
        self._tags = _Tags()
        expat = _EXPAT if limits is METADATA_LIMITS else GuardedExpat(limits)
        self._parser = expat.ParserCreate("utf-8", "}")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._tree.data

    def feed(self, data: bytes) -> None:
        self._parse(data, final=False)

    def close(self) -> Element:
        self._parse(b"", final=True)
        return self._tree.close()

    def _parse(self, data: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(data, final)
        except (ExpatError, ValueError) as problem:  # ValueError: a limit or a DOCTYPE
            raise MetadataError(f"the document cannot be read: {problem}") from problem

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        # drivers' metadata inside what is passed over becomes children of the root
        if name in _PASSED_OVER:
            self._parser.pass_over(_KEPT)
        else:
            self._tree.start(self._tags[name], attributes)

    def _end(self, name: str) -> None:
        self._tree.end(self._tags[name])


class _Tags(dict[str, str]):
    """ElementTree's form of expat's names: only the opening brace is missing."""

    def __missing__(self, name: str) -> str:
        self[name] = f"{{{name}" if "}" in name else name
        return self[name]


def _revision_of(root: Element) -> ParsedRevision:
    if root.tag != f"{_UPD}Update":
        raise MetadataError("the document is not an Update")
    properties = _required(root, "Properties")
    texts_collection = root.find(f"{_UPD}LocalizedPropertiesCollection")
    texts = tuple(_localized_texts(texts_collection))
    update_type = properties.get("UpdateType")
    if update_type not in _UPDATE_TYPES:
        raise MetadataError(f"the UpdateType is {update_type!r:.60}")
    installation = properties.find(f"{_UPD}InstallationBehavior")
    category = root.find(f"{_UPD}HandlerSpecificData/{_CAT}CategoryInformation")
    prerequisites, categories = _prerequisites(root.find(f"{_UPD}Relationships/{_UPD}Prerequisites"))
    return ParsedRevision(
        identity=_identity(_required(root, "UpdateIdentity")),
        update_type=update_type,
        texts=texts,
        default_language=_lower(properties.get("DefaultPropertiesLanguage")),
        kb_articles=tuple(_kb_articles(properties)),
        msrc_severity=_clean(properties.get("MsrcSeverity")),
        security_bulletin=_text(properties, "SecurityBulletinID"),
        created=_moment(properties.get("CreationDate")),
        publication_state=_clean(properties.get("PublicationState")) or "Published",
        explicitly_deployable=_boolean(properties.get("ExplicitlyDeployable")),
        eula_id=_optional_guid(properties.get("EulaID")),
        eula_files=tuple(_eula_files(texts_collection)),
        categories=categories,
        relations=(*_superseded(root), *_bundled(root), *prerequisites),
        handler=_clean(properties.get("Handler")),
        reboot_behavior=_clean(installation.get("RebootBehavior")) if installation is not None else None,
        can_uninstall=properties.find(f"{_UPD}UninstallationBehavior") is not None,
        max_download_size=_size(properties.get("MaxDownloadSize")),
        support_url=_web_url(
            _text(properties, "SupportUrl"), *(each.support_url for each in _english_first(texts))
        ),
        more_info_url=_web_url(*(each.more_info_url for each in _english_first(texts))),
        category_type=_clean(category.get("CategoryType")) if category is not None else None,
        driver=_driver(_driver_elements(root)) if update_type == "Driver" else None,
    )


def _required(parent: Element, name: str) -> Element:
    found = parent.find(f"{_UPD}{name}")
    if found is None:
        raise MetadataError(f"the document has no {name}")
    return found


def _text(parent: Element, name: str) -> str | None:
    return _clean(parent.findtext(f"{_UPD}{name}"))


# --- values ---------------------------------------------------------------------------------------------


def _clean(text: str | None) -> str | None:
    return text.strip() or None if text is not None else None


def _lower(text: str | None) -> str | None:
    cleaned = _clean(text)
    return cleaned.lower() if cleaned else None


def _boolean(text: str | None) -> bool:
    """Absent is false, as everywhere in these documents."""
    return text is not None and text.strip().lower() in {"true", "1"}


def _guid(text: str | None) -> str:
    try:
        return wire_guid(text or "")
    except ValueError as problem:
        raise MetadataError(f"an id is {problem}") from problem


def _optional_guid(text: str | None) -> str | None:
    return _guid(text) if _clean(text) else None


def _revision_number(text: str | None) -> int:
    number = _number(text, _INT_MAX)
    if number is None:
        raise MetadataError(f"a RevisionNumber is {text!r:.60}")
    return number


def _number(text: str | None, highest: int) -> int | None:
    cleaned = (text or "").strip()
    if not (cleaned.isascii() and cleaned.isdigit()) or len(cleaned) > len(str(highest)):
        return None
    return int(cleaned) if int(cleaned) <= highest else None


def _size(text: str | None) -> int | None:
    return _number(text, _BIGINT_MAX)


def _moment(text: str | None) -> datetime | None:
    """Read a UTC dateTime with up to 7 fractional digits; None for none, and for the years that mean none."""
    cleaned = _clean(text)
    if cleaned is None:
        return None
    try:
        moment = datetime.fromisoformat(cleaned)
        if moment.year in _NEVER_YEARS:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except ValueError as problem:
        raise MetadataError(f"the CreationDate is {cleaned!r:.60}") from problem


def _web_url(*candidates: str | None) -> str | None:
    """The first http or https URL: what a console may make a link of."""
    return next((each for each in candidates if each is not None and _URL.fullmatch(each)), None)


# --- parts of the document ------------------------------------------------------------------------------


def _identity(element: Element) -> UpdateIdentity:
    return UpdateIdentity(_guid(element.get("UpdateID")), _revision_number(element.get("RevisionNumber")))


def _localized_texts(collection: Element | None) -> Iterator[LocalizedText]:
    for element in _each(collection, "LocalizedProperties"):
        yield LocalizedText(
            language=_lower(_text(element, "Language")) or "all",
            title=_text(element, "Title"),
            description=_text(element, "Description"),
            uninstall_notes=_text(element, "UninstallNotes"),
            more_info_url=_text(element, "MoreInfoUrl"),
            support_url=_text(element, "SupportUrl"),
        )


def _english_first(texts: tuple[LocalizedText, ...]) -> Iterable[LocalizedText]:
    return sorted(texts, key=lambda each: each.language != "en")


def _eula_files(collection: Element | None) -> Iterator[EulaFile]:
    for element in _each(collection, "EulaFile"):
        sha1 = _clean(element.get("Digest"))
        if sha1 is None:
            raise MetadataError("an EulaFile has no Digest")
        more = _each(element, "AdditionalDigest")
        yield EulaFile(
            sha1=sha1,
            sha256=next((_clean(each.text) for each in more if each.get("Algorithm") == "SHA256"), None),
            file_name=_clean(element.get("FileName")) or "",
            size=_size(element.get("Size")),
            language=_lower(element.get("Language")) or "all",
            geo_id=_clean(element.get("GeoId")),
        )


def _driver_elements(root: Element) -> list[Element]:
    """From the root, where a tree without the agent's parts has them, or from these parts."""
    agents = (part for name in _AGENTS for part in _each(root, name))
    return [*root.findall(_DRIVER), *(element for part in agents for element in part.iter(_DRIVER))]


def _driver(elements: list[Element]) -> DriverInfo | None:
    if not elements:
        return None
    first = elements[0]
    ids = dict.fromkeys(_lower(each.get("HardwareID")) for each in elements)
    return DriverInfo(
        hardware_ids=tuple(each for each in ids if each),
        driver_class=_clean(first.get("Class")),
        provider=_clean(first.get("Provider")),
        manufacturer=_clean(first.get("Manufacturer")),
        model=_clean(first.get("Model")),
        version=_clean(first.get("DriverVerVersion")),
        date=_clean(first.get("DriverVerDate")),
    )


def _kb_articles(properties: Element) -> Iterator[str]:
    for element in _each(properties, "KBArticleID"):
        number = _KB.fullmatch(_clean(element.text) or "")
        if number:
            yield number[1]


def _each(parent: Element | None, name: str) -> list[Element]:
    return parent.findall(f"{_UPD}{name}") if parent is not None else []


def _superseded(root: Element) -> list[Relation]:
    elements = root.findall(f"{_UPD}Relationships/{_UPD}SupersededUpdates/{_UPD}UpdateIdentity")
    return _clause("supersedes", 0, elements)


def _bundled(root: Element) -> Iterator[Relation]:
    for clause, element in enumerate(root.findall(f"{_UPD}Relationships/{_UPD}BundledUpdates/*")):
        yield from _clause("bundles", clause, _alternatives(element))


def _prerequisites(parent: Element | None) -> tuple[list[Relation], tuple[str, ...]]:
    """Sort the conjunction into requirements and categories."""
    required: list[Relation] = []
    categories: dict[str, None] = {}
    clause = 0
    for element in parent if parent is not None else ():
        if _boolean(element.get("IsCategory")):
            categories.update(dict.fromkeys(_guid(each.get("UpdateID")) for each in _alternatives(element)))
        else:
            required += _clause("requires", clause, _alternatives(element))
            clause += 1
    return required, tuple(categories)


def _alternatives(element: Element) -> list[Element]:
    """The UpdateIdentity elements of an AtLeastOne, or the plain UpdateIdentity itself."""
    return [element] if element.tag == f"{_UPD}UpdateIdentity" else _each(element, "UpdateIdentity")


def _clause(kind: str, clause: int, elements: Iterable[Element]) -> list[Relation]:
    """One edge per target; of a target named twice, the one with the highest revision."""
    targets: dict[str, int | None] = {}
    for element in elements:
        target = _guid(element.get("UpdateID"))
        named: Any = element.get("RevisionNumber")
        revision = _revision_number(named) if kind == "bundles" and named is not None else None
        targets[target] = max((revision, targets.get(target)), key=lambda each: -1 if each is None else each)
    return [Relation(kind, clause, target, revision) for target, revision in targets.items()]
