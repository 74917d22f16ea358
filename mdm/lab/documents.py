"""One update revision and its XML document, element for element as Microsoft publishes them.

`Revision` is the structured value the generator works with; `render` writes the document and `document` adds
what an upstream must know to list it. Element order, prefixes and the habit of re-declaring a prefix on inner
elements follow real documents, so that a reader that passes here has met what it will meet outside.
Source: MS-WSUSSS 3.1.1.1, MS-WUSP 3.1.1.1.
"""

from __future__ import annotations

import base64
import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

__all__ = [
    "NAMESPACES",
    "AtLeastOne",
    "Document",
    "EulaFile",
    "File",
    "Handler",
    "Identity",
    "Reach",
    "Revision",
    "Text",
    "document",
    "render",
]

_MSUS = "http://schemas.microsoft.com/msus/2002/12/"

NAMESPACES = {
    "pub": _MSUS + "Publishing",
    "bar": _MSUS + "BaseApplicabilityRules",
    "lar": _MSUS + "LogicalApplicabilityRules",
    "cbsar": _MSUS + "CbsApplicabilityRules",
    "drv": _MSUS + "UpdateHandlers/WindowsDriver",
    "cat": _MSUS + "UpdateHandlers/Category",
    "cmd": _MSUS + "UpdateHandlers/CommandLineInstallation",
    "cbs": _MSUS + "UpdateHandlers/Cbs",
    "osi": "http://schemas.microsoft.com/msus/2016/01/UpdateHandlers/OSInstaller",
    "upd": _MSUS + "Update",
}
"""Prefix -> namespace, in the order a document's root declares those it uses; `pub` and `upd` always."""

_HARDWARE_ID = re.compile(r'<drv:WindowsDriverMetaData [^>]*\bHardwareID="([^"]*)"')
_XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


class Identity(NamedTuple):
    """One revision of one update; `update_id` is lower-case."""

    update_id: str
    revision_number: int


@dataclass(frozen=True, slots=True)
class File:
    """A payload or licence file, found by its digests."""

    name: str
    size: int
    """Bytes."""
    sha1: bytes
    sha256: bytes
    modified: datetime
    url: str | None = None
    """MUUrl; None for a file the upstream serves itself from `content`."""
    content: bytes | None = None
    patching_type: str | None = None
    """`SelfContained`, `Express`, ...; None leaves it out."""
    key: bytes | None = None
    """DecryptionKey of a file that is encrypted at its URL; None for a plain one."""

    @property
    def digest(self) -> str:
        """SHA-1 in base64: the key that joins metadata and fileUrls."""
        return base64.b64encode(self.sha1).decode("ascii")

    @property
    def content_path(self) -> str:
        """`/Content/<last two hex digits>/<SHA-1 hex>.<extension>` (MS-WSUSSS 2.1)."""
        name = self.sha1.hex().upper()
        _, dot, extension = self.name.rpartition(".")
        return f"/Content/{name[-2:]}/{name}{dot}{extension if dot else ''}"


@dataclass(frozen=True, slots=True)
class EulaFile:
    """One language's licence text of an update with an EulaID."""

    language: str
    file: File
    geo_id: str | None = None
    """ISO 3166 alpha-3 of the one country this text is for; None for the rest of the world."""


@dataclass(frozen=True, slots=True)
class Text:
    """LocalizedProperties of one language."""

    language: str
    title: str
    description: str | None = None
    uninstall_notes: str | None = None
    more_info_url: str | None = None
    support_url: str | None = None


@dataclass(frozen=True, slots=True)
class AtLeastOne:
    """A prerequisite clause satisfied by any of its ids; `is_category` marks the clauses that classify."""

    ids: tuple[str, ...]
    is_category: bool = False


@dataclass(frozen=True, slots=True)
class Handler:
    """How the payload installs: handler prefix, xsi:type and the inner XML of HandlerSpecificData."""

    prefix: str
    type: str
    content: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Which Windows builds an update is for, and the build revision (UBR) it brings them to."""

    builds: frozenset[int]
    ubr: int | None = None
    """None: no matter how patched the device is."""


@dataclass(frozen=True, slots=True)
class Revision:
    """Everything a document says, and (`reach`) which virtual devices would be offered it."""

    update_id: str
    revision_number: int
    update_type: str
    """`Category`, `Detectoid`, `Software` or `Driver`."""
    texts: tuple[Text, ...]
    created: datetime
    publisher_id: str
    upper_case_id: bool = False
    """The document writes its own UpdateID in upper case, as old categories do."""

    # Properties
    max_download_size: int | None = None
    explicitly_deployable: bool | None = None
    auto_select: bool | None = None
    is_public: bool | None = None
    per_user: bool | None = None
    expired: bool = False
    eula_id: str | None = None
    msrc_severity: str | None = None
    product_name: str | None = None
    release_version: str | None = None
    reboot_behavior: str | None = None
    impact: str | None = None
    requires_network: bool = False
    uninstallable: bool = False
    support_url: str | None = None
    security_bulletin: str | None = None
    kb_articles: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    """The languages of the product it is for, e.g. `de`; none: it does not matter."""

    # everything after Properties
    eula_files: tuple[EulaFile, ...] = ()
    superseded: tuple[str, ...] = ()
    prerequisites: tuple[str | AtLeastOne, ...] = ()
    bundled: tuple[tuple[Identity, ...], ...] = ()
    """Clauses of BundledUpdates: of each, one applicable child is chosen."""
    is_installed: str | None = None
    is_installable: str | None = None
    is_superseded: str | None = None
    rule_metadata: str | None = None
    """ApplicabilityRules parts as XML with their own namespace declarations."""
    files: tuple[File, ...] = ()
    handler: Handler | None = None

    reach: Reach | None = None
    """None: no virtual device is offered it."""

    @property
    def identity(self) -> Identity:
        """UpdateID and RevisionNumber together."""
        return Identity(self.update_id, self.revision_number)

    @property
    def visible(self) -> bool:
        """True for what an administrator sees: software or driver, deployable by itself, not expired."""
        return (
            self.update_type in ("Software", "Driver")
            and self.explicitly_deployable is True
            and not self.expired
        )


@dataclass(frozen=True, slots=True)
class Document:
    """The XML of one revision and the facts an upstream lists and serves it by."""

    update_id: str
    revision_number: int
    xml: str
    files: tuple[File, ...] = ()
    """Payload and licence files: FileDigestList and fileUrls."""
    update_type: str = "Software"
    categories: frozenset[str] = frozenset()
    """Ids of the `IsCategory` clauses: products and classification, or a category's parents."""
    prerequisites: frozenset[str] = frozenset()
    """All ids of the other clauses."""
    bundled: tuple[Identity, ...] = ()
    languages: frozenset[str] = frozenset()
    """The languages of the product it is for; none: it does not matter."""
    hardware_ids: frozenset[str] = frozenset()
    """Of a driver, lower-case."""

    @property
    def identity(self) -> Identity:
        """UpdateID and RevisionNumber together."""
        return Identity(self.update_id, self.revision_number)


def document(revision: Revision) -> Document:
    """The rendered revision, ready to be served."""
    clauses = [clause for clause in revision.prerequisites if isinstance(clause, AtLeastOne)]
    categories = {key for clause in clauses if clause.is_category for key in clause.ids}
    plain = {key for clause in clauses if not clause.is_category for key in clause.ids}
    plain |= {key for key in revision.prerequisites if isinstance(key, str)}
    return Document(
        update_id=revision.update_id,
        revision_number=revision.revision_number,
        xml=render(revision),
        files=revision.files + tuple(eula.file for eula in revision.eula_files),
        update_type=revision.update_type,
        categories=frozenset(key.lower() for key in categories),
        prerequisites=frozenset(key.lower() for key in plain),
        bundled=tuple(child for clause in revision.bundled for child in clause),
        languages=frozenset(revision.languages),
        hardware_ids=frozenset(
            html.unescape(each).lower() for each in _HARDWARE_ID.findall(revision.rule_metadata or "")
        ),
    )


def render(revision: Revision) -> str:
    """The `upd:Update` document: no declaration, no white space between elements, WSUS's element order."""
    shown = revision.update_id.upper() if revision.upper_case_id else revision.update_id
    body = "".join(
        (
            f'<upd:UpdateIdentity UpdateID="{shown}" RevisionNumber="{revision.revision_number}" />',
            _properties(revision),
            _localized(revision),
            _relationships(revision),
            _rules(revision),
            _element("upd:Files", map(_file, revision.files)),
            _handler(revision.handler),
        )
    )
    used = [p for p in NAMESPACES if p in ("pub", "upd") or f"<{p}:" in body or f'"{p}:' in body]
    declarations = " ".join(f'xmlns:{prefix}="{NAMESPACES[prefix]}"' for prefix in used)
    return f"<upd:Update {declarations}>{body}</upd:Update>"


def _properties(revision: Revision) -> str:
    handler = NAMESPACES[revision.handler.prefix] if revision.handler else None
    sized = revision.max_download_size is not None
    values = {
        "UpdateType": revision.update_type,
        "DefaultPropertiesLanguage": "en",
        "Handler": handler,
        "MaxDownloadSize": str(revision.max_download_size) if sized else None,
        "MinDownloadSize": "0" if sized else None,
        "ExplicitlyDeployable": _flag(revision.explicitly_deployable),
        "AutoSelectOnWebSites": _flag(revision.auto_select),
        "EulaID": revision.eula_id,
        "MsrcSeverity": revision.msrc_severity,
        "PerUser": _flag(revision.per_user),
        "IsPublic": _flag(revision.is_public),
        "ProductName": revision.product_name,
        "ReleaseVersion": revision.release_version,
        "PublicationState": "Expired" if revision.expired else "Published",
        "CreationDate": revision.created.strftime("%Y-%m-%dT%H:%M:%S.")
        + f"{revision.created.microsecond // 1000:03d}Z",
        "PublisherID": revision.publisher_id,
    }
    behavior = _attributes(
        {
            "RebootBehavior": revision.reboot_behavior,
            "Impact": revision.impact,
            "RequiresNetworkConnectivity": "true" if revision.requires_network else None,
        }
    )
    children = [f"<upd:InstallationBehavior{behavior} />"] if behavior else []
    if revision.uninstallable:
        children.append("<upd:UninstallationBehavior />")
    children += _texts(
        {"upd:SupportUrl": revision.support_url, "upd:SecurityBulletinID": revision.security_bulletin}
    )
    children += [f"<upd:KBArticleID>{number}</upd:KBArticleID>" for number in revision.kb_articles]
    children += [f"<upd:Language>{language}</upd:Language>" for language in revision.languages]
    if any(file.key is not None for file in revision.files):
        children.append("<upd:SecuredFragment>FileDecryption</upd:SecuredFragment>")
    # WSUS writes a start and an end tag even when there is nothing between them
    return f"<upd:Properties{_attributes(values)}>{''.join(children)}</upd:Properties>"


def _localized(revision: Revision) -> str:
    parts = [
        _element(
            "upd:LocalizedProperties",
            _texts(
                {
                    "upd:Language": text.language,
                    "upd:Title": text.title,
                    "upd:Description": text.description,
                    "upd:UninstallNotes": text.uninstall_notes,
                    "upd:MoreInfoUrl": text.more_info_url,
                    "upd:SupportUrl": text.support_url,
                }
            ),
        )
        for text in revision.texts
    ]
    parts += map(_eula_file, revision.eula_files)
    return _element("upd:LocalizedPropertiesCollection", parts)


def _relationships(revision: Revision) -> str:
    superseded = (f'<upd:UpdateIdentity UpdateID="{key}" />' for key in revision.superseded)
    bundled = (
        _element(
            "upd:AtLeastOne",
            (
                f'<upd:UpdateIdentity UpdateID="{child.update_id}" RevisionNumber="{child.revision_number}" />'
                for child in clause
            ),
        )
        for clause in revision.bundled
    )
    return _element(
        "upd:Relationships",
        (
            _element("upd:SupersededUpdates", superseded),
            _element("upd:Prerequisites", map(_prerequisite, revision.prerequisites)),
            _element("upd:BundledUpdates", bundled),
        ),
    )


def _prerequisite(clause: str | AtLeastOne) -> str:
    if isinstance(clause, str):
        return f'<upd:UpdateIdentity UpdateID="{clause}" />'
    mark = ' IsCategory="true"' if clause.is_category else ""
    inner = "".join(f'<upd:UpdateIdentity UpdateID="{key}" />' for key in clause.ids)
    return f"<upd:AtLeastOne{mark}>{inner}</upd:AtLeastOne>"


def _rules(revision: Revision) -> str:
    return _element(
        "upd:ApplicabilityRules",
        (
            _element("upd:IsInstalled", [revision.is_installed or ""]),
            _element("upd:IsInstallable", [revision.is_installable or ""]),
            _element("upd:IsSuperseded", [revision.is_superseded or ""]),
            _element("upd:Metadata", [revision.rule_metadata or ""]),
        ),
    )


def _file(file: File) -> str:
    values = _file_attributes(file) | {
        "Modified": file.modified.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "PatchingType": file.patching_type,
        "IsEncrypted": None if file.key is None else "true",
    }
    return f"<upd:File{_attributes(values)}>{_sha256(file)}</upd:File>"


def _eula_file(eula: EulaFile) -> str:
    values = _file_attributes(eula.file) | {"Language": eula.language, "GeoId": eula.geo_id}
    return f"<upd:EulaFile{_attributes(values)}>{_sha256(eula.file)}</upd:EulaFile>"


def _file_attributes(file: File) -> dict[str, str | None]:
    return {
        "Digest": file.digest,
        "DigestAlgorithm": "SHA1",
        "FileName": file.name,
        "Size": str(file.size),
    }


def _sha256(file: File) -> str:
    value = base64.b64encode(file.sha256).decode("ascii")
    return f'<upd:AdditionalDigest Algorithm="SHA256">{value}</upd:AdditionalDigest>'


def _handler(handler: Handler | None) -> str:
    if handler is None:
        return ""
    return (
        f'<upd:HandlerSpecificData xsi:type="{handler.prefix}:{handler.type}" {_XSI}>'
        f"{handler.content}</upd:HandlerSpecificData>"
    )


def _element(name: str, parts: Iterable[str]) -> str:
    inner = "".join(parts)
    return f"<{name}>{inner}</{name}>" if inner else ""


def _texts(values: dict[str, str | None]) -> Iterator[str]:
    return (
        f"<{name}>{html.escape(value, quote=False)}</{name}>"
        for name, value in values.items()
        if value is not None
    )


def _attributes(values: dict[str, str | None]) -> str:
    return "".join(f' {name}="{html.escape(value)}"' for name, value in values.items() if value is not None)


def _flag(value: bool | None) -> str | None:  # noqa: FBT001 - a formatter of booleans
    return None if value is None else str(value).lower()
