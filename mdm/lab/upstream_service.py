"""What the virtual upstream answers: one function per operation of the server-to-server protocol.

They follow a WSUS 10.0 as observed, where the specification leaves a choice; departures are in the docstrings.
Members stand in the order of the WSDL. Source: MS-WSUSSS 3.1.4, WSDL in its section 6.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mdm.lab.cabinet import pack_blob
from mdm.lab.documents import Identity
from mdm.lab.soap import ErrorCode, Fault, Members, Unreadable, element, text_element
from mdm.lab.upstream_cookies import CookieMint, CookieRefused, Ticket, timestamp
from mdm.lab.upstream_store import InvalidAnchor, RevisionFilter, UnknownGeneration
from mdm.upstream.messages import wire_guid

if TYPE_CHECKING:
    from collections.abc import Callable

    from mdm.lab.documents import Document, File
    from mdm.lab.upstream_options import UpstreamOptions
    from mdm.lab.upstream_store import Anchor, UpstreamStore

__all__ = ["AUTH", "REPORTING", "SERVICES", "SYNC", "Context", "Operation"]

SYNC = "/serversyncwebservice/serversyncwebservice.asmx"
AUTH = "/dssauthwebservice/dssauthwebservice.asmx"
REPORTING = "/reportingwebservice/reportingwebservice.asmx"

_SD = "http://www.microsoft.com/SoftwareDistribution"
_DA = f"{_SD}/Server/DssAuthWebService"
_IM = f"{_SD}/Server/IMonitorable"

_PLUGIN = "DssTargeting"
_PROTOCOL = "1.20"
_AUTHORIZATION_LIFETIME = timedelta(days=1)
_PLAIN_UTF16_BYTES = 5_120
_MAX_DIGESTS = 100
_ACCOUNT = re.compile(r"(?:[\w-]+\\)?[\w-]+(?:\.[\w-]+)*\$?", re.ASCII)
"""A fully qualified name, or DOMAIN\\HOST$ as Windows machine accounts arrive."""
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)

_NO_GUID = "00000000-0000-0000-0000-000000000000"
_ALL_COMPUTERS = "a0a08746-4dbe-4a37-9adf-9e7652c0b421"
_UNASSIGNED = "b73ca6ed-5727-47f3-84de-015e03f6a88a"

_LANGUAGES = (
    (0, "all", "all"),
    (1025, "ar", "Arabic"),
    (1028, "zh-tw", "Chinese (Traditional)"),
    (1029, "cs", "Czech"),
    (1030, "da", "Danish"),
    (1031, "de", "German"),
    (1032, "el", "Greek"),
    (1033, "en", "English"),
    (1034, "es", "Spanish"),
    (1035, "fi", "Finnish"),
    (1036, "fr", "French"),
    (1037, "he", "Hebrew"),
    (1038, "hu", "Hungarian"),
    (1040, "it", "Italian"),
    (1041, "ja", "Japanese"),
    (1042, "ko", "Korean"),
    (1043, "nl", "Dutch"),
    (1044, "no", "Norwegian"),
    (1045, "pl", "Polish"),
    (1046, "pt-br", "Portuguese (Brazil)"),
    (1049, "ru", "Russian"),
    (1053, "sv", "Swedish"),
    (1055, "tr", "Turkish"),
    (2052, "zh-cn", "Chinese (Simplified)"),
    (2070, "pt", "Portuguese (Portugal)"),
    (3076, "zh-hk", "Chinese (Hong Kong SAR)"),
    (66577, "ja-nec", "Japanese NEC"),
)


@dataclass(frozen=True, slots=True)
class Context:
    """What an operation may use."""

    store: UpstreamStore
    mint: CookieMint
    options: UpstreamOptions
    base_url: str
    """Scheme, host and port as the client wrote them, without a slash at the end."""
    now: datetime


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one service."""

    namespace: str
    answer: Callable[[Members, Context], str | None]
    """Gives the XML of the Result element, None for a response without one; raises Fault or Unreadable."""
    needs_cookie: bool = True


def _get_auth_config(_call: Members, context: Context) -> str:
    plugin = element(
        "AuthPlugInInfo",
        (
            text_element("PlugInID", _PLUGIN),
            # relative, and to be appended to the server's URL: a Windows client then asks with a double slash
            text_element("ServiceUrl", "DssAuthWebService/DssAuthWebService.asmx"),
            element("Parameter", ()),
        ),
    )
    changed = text_element("LastChange", timestamp(context.store.created))
    return element("GetAuthConfigResult", (changed, element("AuthInfo", (plugin,))))


def _get_authorization_cookie(call: Members, context: Context) -> str:
    """Anybody with a well-formed name and GUID gets a cookie, as from a real WSUS."""
    if not _ACCOUNT.fullmatch(call.text("accountName") or ""):
        raise Fault(ErrorCode.INVALID_PARAMETERS, "machineName")  # sic: MS-WSUSSS note 28
    try:
        account_guid = wire_guid(call.text("accountGuid") or "")
    except ValueError:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "accountGuid") from None
    ticket = Ticket(account_guid, context.now + _AUTHORIZATION_LIFETIME)
    return element(
        "GetAuthorizationCookieResult",
        (text_element("PlugInId", _PLUGIN), text_element("CookieData", context.mint.authorization(ticket))),
    )


def _get_cookie(call: Members, context: Context) -> str:
    offered = call.items("authCookies", "AuthorizationCookie")
    if len(offered) != 1:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "authCookies")
    try:
        ticket = context.mint.check_authorization(offered[0].text("CookieData"), context.now)
    except CookieRefused:
        raise Fault(ErrorCode.INVALID_AUTHORIZATION_COOKIE) from None
    version = _VERSION.fullmatch(call.text("protocolVersion") or "")
    if version is None:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "protocolVersion")
    if int(version[1]) != 1:
        raise Fault(ErrorCode.INCOMPATIBLE_PROTOCOL_VERSION)
    expires = min(ticket.expires, context.now + context.options.cookie_lifetime)
    return element(
        "GetCookieResult",
        (
            text_element("Expiration", timestamp(expires)),
            text_element("EncryptedData", context.mint.cookie(Ticket(ticket.account_guid, expires))),
        ),
    )


def _get_config_data(call: Members, context: Context) -> str:
    text = call.text("configAnchor")
    known = _anchor(context, text, "configAnchor") if text is not None else None
    # languages never change here: whoever has an anchor has them
    languages = () if known is not None else map(_language, _LANGUAGES)
    return element(
        "GetConfigDataResult",
        (
            text_element("CatalogOnlySync", "true"),
            text_element("LazySync", "true"),
            text_element("ServerHostsPsfFiles", "false"),
            text_element("MaxNumberOfComputerIdsInRequest", "0"),
            text_element("MaxNumberOfDriverSetsPerRequest", "0"),
            text_element("MaxNumberOfPnpHardwareIdsInRequest", "0"),
            text_element("MaxNumberOfUpdatesPerRequest", str(context.options.max_updates)),
            text_element("NewConfigAnchor", str(context.store.anchor(context.now))),
            text_element("ProtocolVersion", _PROTOCOL),
            element("LanguageUpdateList", languages),
            text_element("MaxUpdatesPerRequestInGetUpdateDecryptionData", str(context.options.max_updates)),
        ),
    )


def _language(language: tuple[int, str, str]) -> str:
    number, short, long = language
    return element(
        "ServerSyncLanguageData",
        (
            text_element("LanguageID", str(number)),
            text_element("ShortLanguage", short),
            text_element("LongLanguage", long),
            text_element("Enabled", "true" if short in ("all", "en", "de") else "false"),
        ),
    )


def _get_revision_id_list(call: Members, context: Context) -> str:
    wanted = call.members("filter")
    text = wanted.text("Anchor")
    if text is not None:
        _anchor(context, text, "filter")
    anchor, found = context.store.revisions(
        RevisionFilter(
            configuration=wanted.flag("GetConfig", default=False),
            anchor=text,
            categories=_deltas(wanted, "Categories"),
            classifications=_deltas(wanted, "Classifications"),
        ),
        context.now,
    )
    return element(
        "GetRevisionIdListResult",
        (text_element("Anchor", str(anchor)), element("NewRevisions", map(_identity_element, found))),
    )


def _deltas(wanted: Members, array: str) -> dict[str, bool] | None:
    if not wanted.has(array):
        return None
    return {
        _guid(item.required("Id"), "Id"): item.flag("Delta", default=False)
        for item in wanted.items(array, "IdAndDelta")
    }


def _get_update_data(call: Members, context: Context) -> str:
    wanted = _identities(call, context)
    found = {identity: context.store.get(identity) for identity in wanted}
    missing = [identity for identity, document in found.items() if document is None]
    if missing:
        raise Fault(ErrorCode.INTERNAL_SERVER_ERROR, _missing_message(context, wanted, missing))
    updates: list[str] = []
    files: dict[str, File] = {}
    size = 0
    for identity in wanted:
        document = found[identity]
        if document is None or (updates and size > context.options.max_answer_bytes):
            break
        updates.append(_update(document, context))
        size += len(updates[-1])
        files |= {file.digest: file for file in document.files}
    urls = (_url(file, context) for file in files.values())
    return element("GetUpdateDataResult", (element("updates", updates), element("fileUrls", urls)))


def _missing_message(context: Context, wanted: list[Identity], missing: list[Identity]) -> str:
    """Microsoft Update's words, as its clients parse them; a WSUS says nothing."""
    if context.options.missing == "wsus":
        return ""
    returned = len([identity for identity in wanted if identity not in missing])
    names = ", ".join(f"{key}.{number}" for key, number in missing)
    return (
        f"Requested {len(wanted)} returned {returned} (test content removed: 0). Missing Revisions: {names}"
    )


def _update(document: Document, context: Context) -> str:
    digests = (text_element("base64Binary", file.digest) for file in document.files)
    listed = element("FileDigestList", digests) if document.files else ""
    if _compressed(document, context.options):
        packed = base64.b64encode(pack_blob(document.xml)).decode("ascii")
        blobs = listed + text_element("XmlUpdateBlobCompressed", packed)
    else:
        blobs = text_element("XmlUpdateBlob", document.xml) + listed
    return element("ServerSyncUpdateData", (_identity_element(document.identity, "Id"), blobs))


def _compressed(document: Document, options: UpstreamOptions) -> bool:
    if options.compress == "auto":
        return len(document.xml.encode("utf-16-le")) > _PLAIN_UTF16_BYTES
    return options.compress == "always"


def _url(file: File, context: Context) -> str:
    return element(
        "ServerSyncUrlData",
        (
            text_element("FileDigest", file.digest),
            text_element("MUUrl", file.url or f"{context.base_url}{file.content_path}"),
            element("UssUrl", ()),
        ),
    )


def _get_update_decryption_data(call: Members, context: Context) -> str:
    """No file of this upstream is encrypted, so no key is ever needed."""
    _identities(call, context)
    return element("GetUpdateDecryptionDataResult", (element("UpdateFileDecryptionData", ()),))


def _get_related_revisions(call: Members, context: Context) -> str:
    """The highest revision of each id it knows; the specification calls this operation unused."""
    wanted = [_guid(text, "updateIDs") for text in call.texts("updateIDs", "guid")]
    if not 1 <= len(wanted) <= context.options.max_updates:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "updateIDs")
    found = [context.store.newest(key) for key in wanted]
    return element(
        "GetRelatedRevisionsForUpdatesResult",
        (_identity_element(document.identity) for document in found if document is not None),
    )


def _get_deployments(call: Members, context: Context) -> str:
    """What a server for autonomous downstream servers has: the two built-in groups and no deployments."""
    _anchor(context, call.text("syncAnchor") or "", "syncAnchor")
    deployments = call.text("deploymentAnchor")
    if deployments is not None:
        _anchor(context, deployments, "deploymentAnchor")
    groups = (
        element(
            "ServerSyncTargetGroup",
            (
                text_element("TargetGroupID", key),
                text_element("ParentGroupId", parent),
                text_element("Name", name),
                text_element("IsBuiltin", "true"),
            ),
        )
        for key, parent, name in (
            (_ALL_COMPUTERS, _NO_GUID, "All Computers"),
            (_UNASSIGNED, _ALL_COMPUTERS, "Unassigned Computers"),
        )
    )
    return element(
        "GetDeploymentsResult",
        (
            text_element("Anchor", str(context.store.anchor(context.now))),
            element("Groups", groups),
            element("Deployments", ()),
            element("DeadDeployments", ()),
            element("HiddenUpdates", ()),
            element("AcceptedEulas", ()),
        ),
    )


def _download_files(call: Members, context: Context) -> None:
    """Accept digests of any known file; there is nothing to fetch, the licence texts are already here."""
    digests = call.texts("fileDigestList", "base64Binary")
    if not 1 <= len(digests) <= _MAX_DIGESTS:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "fileDigestList")
    unknown = [digest for digest in digests if not context.store.knows_digest(digest)]
    if unknown:
        raise Fault(ErrorCode.FILE_DIGESTS_MISSING, "|".join(unknown))


def _ping(_call: Members, context: Context) -> str:
    moment = timestamp(context.now)
    return element(
        "PingResult",
        (
            text_element("SuccessFlag", "true"),
            text_element("ServicesTime", moment),
            text_element("IsHttps", str(context.base_url.startswith("https:")).lower()),
            text_element("ConfigFileLastModifiedTime", timestamp(context.store.created)),
            text_element("ConfigFileNextExpirationTime", moment),
            text_element("ConfigFileExpirationModuloInMinutes", "0"),
        ),
    )


def _anchor(context: Context, text: str, parameter: str) -> Anchor:
    try:
        return context.store.read_anchor(text)
    except InvalidAnchor:
        raise Fault(ErrorCode.INVALID_PARAMETERS, parameter) from None
    except UnknownGeneration:
        raise Fault(ErrorCode.SERVER_CHANGED) from None


def _identities(call: Members, context: Context) -> list[Identity]:
    found = [
        Identity(_guid(item.required("UpdateID"), "UpdateID"), item.integer("RevisionNumber"))
        for item in call.items("updateIds", "UpdateIdentity")
    ]
    if not 1 <= len(found) <= context.options.max_updates:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "updateIds")
    return found


def _guid(text: str, name: str) -> str:
    try:
        return wire_guid(text)
    except ValueError:
        raise Unreadable(f"{name} is not a guid") from None


def _identity_element(identity: Identity, name: str = "UpdateIdentity") -> str:
    key, number = identity
    return f"<{name}><UpdateID>{key}</UpdateID><RevisionNumber>{number}</RevisionNumber></{name}>"


_PING = {"other:Ping": Operation(_IM, _ping, needs_cookie=False)}

SERVICES = {
    SYNC: _PING
    | {
        "sd:GetAuthConfig": Operation(_SD, _get_auth_config, needs_cookie=False),
        "sd:GetCookie": Operation(_SD, _get_cookie, needs_cookie=False),
        "sd:GetConfigData": Operation(_SD, _get_config_data),
        "sd:GetRevisionIdList": Operation(_SD, _get_revision_id_list),
        "sd:GetUpdateData": Operation(_SD, _get_update_data),
        "sd:GetUpdateDecryptionData": Operation(_SD, _get_update_decryption_data),
        "sd:GetRelatedRevisionsForUpdates": Operation(_SD, _get_related_revisions),
        "sd:GetDeployments": Operation(_SD, _get_deployments),
        "sd:DownloadFiles": Operation(_SD, _download_files),
    },
    AUTH: _PING
    | {"da:GetAuthorizationCookie": Operation(_DA, _get_authorization_cookie, needs_cookie=False)},
    REPORTING: _PING,
}
"""Path in lower case -> call as `read_call` names it -> operation."""
