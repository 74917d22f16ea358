"""The messages of MS-WSUSSS as values: what the upstream says, and the filter we send.

GUIDs are lower-case without braces. Opaque texts (anchors, cookies, the cookie's Expiration) are kept exactly
as received, because they are echoed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = [
    "AuthConfig",
    "AuthPlugIn",
    "AuthorizationCookie",
    "ConfigData",
    "Cookie",
    "DecryptionKey",
    "Deployment",
    "DeploymentResult",
    "DriverFilter",
    "DriverIdList",
    "DriverSet",
    "Language",
    "RevisionFilter",
    "RevisionIdList",
    "TargetGroup",
    "UpdateData",
    "UpdateIdentity",
    "UpdateRecord",
    "UrlData",
    "wire_guid",
]

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


def wire_guid(text: str) -> str:
    """Return a GUID of the wire type `guid` (8-4-4-4-12, any case, no braces) in lower case.

    Raises ValueError. Old categories are written in upper case, everything else in lower case.
    """
    guid = text.strip().lower()
    if not _GUID.fullmatch(guid):
        raise ValueError(f"not a GUID: {text[:60]!r}")
    return guid


@dataclass(frozen=True, slots=True, order=True)
class UpdateIdentity:
    """One revision of one update."""

    update_id: str
    revision_number: int

    def __str__(self) -> str:
        """Write it as Microsoft Update does in its fault messages: `<guid>.<revision>`."""
        return f"{self.update_id}.{self.revision_number}"


@dataclass(frozen=True, slots=True)
class AuthPlugIn:
    """One way to authenticate; a WSUS offers exactly one, `DssTargeting` (MS-WSUSSS 3.1.4.1)."""

    plugin_id: str
    service_url: str
    """Relative to the server in practice."""


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Answer of GetAuthConfig."""

    plugins: tuple[AuthPlugIn, ...]


@dataclass(frozen=True, slots=True)
class AuthorizationCookie:
    """Answer of GetAuthorizationCookie: opaque, exchanged for a Cookie (MS-WSUSSS 3.1.4.2)."""

    plugin_id: str
    cookie_data: str = field(repr=False)
    """Base64."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """Answer of GetCookie: opaque, sent with every later call (MS-WSUSSS 3.1.4.3)."""

    expiration: str
    """The dateTime as received: it is echoed unchanged, and has up to 7 fractional digits."""
    encrypted_data: str = field(repr=False)
    """Base64."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language of the upstream; LanguageID 0 is the flag "all languages"."""

    language_id: int
    short_language: str
    long_language: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class ConfigData:
    """Answer of GetConfigData (MS-WSUSSS 3.1.4.4), read by name: servers order the members differently."""

    catalog_only_sync: bool
    lazy_sync: bool
    server_hosts_psf_files: bool
    max_updates_per_request: int
    max_driver_sets_per_request: int
    """0 on a WSUS: not offered."""
    new_config_anchor: str | None
    protocol_version: str | None
    """A pair of integers: "1.20" is later than "1.8"."""
    languages: tuple[Language, ...]
    """Only those changed since the anchor sent."""
    max_computer_ids_per_request: int = 0
    """Of GetDriverIdList, as is the next; 0: not offered."""
    max_pnp_ids_per_request: int = 0
    max_decryptions_per_request: int = 0
    """0 of an upstream that does not say."""


@dataclass(frozen=True, slots=True)
class RevisionFilter:
    """Filter of GetRevisionIdList (MS-WSUSSS 3.1.4.5); with `get_config` the lists are ignored.

    Each pair is (GUID, Delta); Delta=False asks for everything of that id even when an anchor is sent.
    """

    get_config: bool
    anchor: str | None = None
    categories: tuple[tuple[str, bool], ...] = ()
    classifications: tuple[tuple[str, bool], ...] = ()
    languages: tuple[tuple[int, bool], ...] = ()
    """The first of each pair is an LCID."""


@dataclass(frozen=True, slots=True)
class RevisionIdList:
    """Answer of GetRevisionIdList: not paged, in no particular order, perhaps several revisions of an id."""

    anchor: str | None
    revisions: tuple[UpdateIdentity, ...]


@dataclass(frozen=True, slots=True)
class UpdateRecord:
    """One revision as delivered: exactly one of `text` and `cabinet` is there (MS-WSUSSS 2.2.4.3).

    `mdm.upstream.blob.BlobReader` gives the document; it is not decoded before it is needed, so that one
    bad blob costs one revision and not the whole answer.
    """

    identity: UpdateIdentity
    text: str | None = field(repr=False)
    """XmlUpdateBlob, exactly as written."""
    compressed: str | None = field(repr=False)
    """XmlUpdateBlobCompressed in base64."""
    file_digests: tuple[str, ...] = ()
    """Base64 SHA-1 of each file of this revision."""


@dataclass(frozen=True, slots=True)
class UrlData:
    """Where a file can be had."""

    file_digest: str
    """Base64 SHA-1."""
    mu_url: str | None
    """Absent for locally published updates."""
    uss_url: str | None
    """Unused by the protocol; an empty element on a WSUS."""


@dataclass(frozen=True, slots=True)
class UpdateData:
    """Answer of GetUpdateData (MS-WSUSSS 3.1.4.6): order and completeness are not promised."""

    updates: tuple[UpdateRecord, ...]
    file_urls: tuple[UrlData, ...]


@dataclass(frozen=True, slots=True)
class DriverFilter:
    """Filter of GetDriverIdList (MS-WSUSSS 3.1.4.7): pairs of an id and its Delta flag, as in `RevisionFilter`."""

    anchor: str | None = None
    categories: tuple[tuple[str, bool], ...] = ()
    """Operating systems; none is any."""
    computer_ids: tuple[tuple[str, bool], ...] = ()
    """Computer hardware ids, GUIDs."""
    pnp_ids: tuple[tuple[str, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class DriverIdList:
    """Answer of GetDriverIdList; Microsoft Update may leave the anchor out of a full list."""

    anchor: str | None
    revisions: tuple[UpdateIdentity, ...]
    new_driver_sets: tuple[str, ...]
    removed_driver_sets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DriverSet:
    """One set of GetDriverSetData (MS-WSUSSS 3.1.4.8)."""

    driver_set_id: str
    document: str | None = field(repr=False)
    """DriverSetXml, exactly as written."""


@dataclass(frozen=True, slots=True)
class DecryptionKey:
    """The key of one encrypted file (MS-WSUSSS 3.1.4.12)."""

    identity: UpdateIdentity
    file_digest: str
    """Base64 SHA-1."""
    key: str | None = field(repr=False)
    """Base64; None for a file that needs none."""


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """A group of computers of the upstream."""

    group_id: str
    parent_id: str | None
    """None of the root."""
    name: str
    builtin: bool


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the upstream's administrators decided about one update and one group."""

    deployment_id: str
    identity: UpdateIdentity
    action: int
    """0 install, 1 uninstall, 2 scan, 3 block."""
    group_id: str
    deadline: str
    """As received; the year 9999 means none."""
    go_live: str
    assigned: bool


@dataclass(frozen=True, slots=True)
class DeploymentResult:
    """Answer of GetDeployments (MS-WSUSSS 3.1.4.10)."""

    anchor: str | None
    groups: tuple[TargetGroup, ...]
    """All of them."""
    deployments: tuple[Deployment, ...]
    """Changed since the anchor."""
    dead_deployments: tuple[str, ...]
    hidden_updates: tuple[str, ...]
    """All of them."""
    accepted_eulas: tuple[str, ...]
    """All of them."""
