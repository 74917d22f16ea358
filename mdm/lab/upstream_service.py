"""What the virtual upstream answers: one function per operation of the server-to-server protocol.

They follow a WSUS 10.0 as observed, where the specification leaves a choice; departures are in the docstrings.
Members stand in the order of the WSDL. Source: MS-WSUSSS 3.1.4, WSDL in its section 6.
"""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from mdm.lab.cabinet import pack_blob
from mdm.lab.soap import ErrorCode, Fault, Members, element, text_element
from mdm.lab.upstream_context import (
    DA,
    IM,
    SD,
    Context,
    Operation,
    anchor_of,
    deltas_of,
    guids_of,
    identities_of,
    identity_element,
)
from mdm.lab.upstream_cookies import CookieRefused, Ticket, timestamp
from mdm.lab.upstream_deployments import get_deployments
from mdm.lab.upstream_drivers import (
    MAX_COMPUTER_IDS,
    MAX_DRIVER_SETS,
    MAX_PNP_IDS,
    get_driver_id_list,
    get_driver_set_data,
)
from mdm.lab.upstream_languages import ENABLED, LANGUAGES, SHORT_NAMES
from mdm.lab.upstream_store import RevisionFilter
from mdm.upstream.messages import wire_guid

if TYPE_CHECKING:
    from mdm.lab.documents import Document, File, Identity
    from mdm.lab.upstream_options import UpstreamOptions

__all__ = ["AUTH", "REPORTING", "SERVICES", "SYNC", "Context", "Operation"]

SYNC = "/serversyncwebservice/serversyncwebservice.asmx"
AUTH = "/dssauthwebservice/dssauthwebservice.asmx"
REPORTING = "/reportingwebservice/reportingwebservice.asmx"

_PLUGIN = "DssTargeting"
_PROTOCOLS = {"wsus": "1.20", "mu": "1.21"}
_AUTHORIZATION_LIFETIME = timedelta(days=1)
_PLAIN_UTF16_BYTES = 5_120
_MAX_DIGESTS = 100
_ACCOUNT = re.compile(r"(?:[\w-]+\\)?[\w-]+(?:\.[\w-]+)*\$?", re.ASCII)
"""A fully qualified name, or DOMAIN\\HOST$ as Windows machine accounts arrive."""
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)

_CONFIG_ORDERS = {
    "wsus": ("ComputerIdsInRequest", "DriverSetsPerRequest", "PnpHardwareIdsInRequest", "UpdatesPerRequest"),
    "mu": ("UpdatesPerRequest", "DriverSetsPerRequest", "ComputerIdsInRequest", "PnpHardwareIdsInRequest"),
}
"""Two orders of one message: a client must read it by name."""


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
    known = anchor_of(context, text, "configAnchor") if text is not None else None
    flavour = context.options.flavour
    drivers = flavour == "mu"
    limits = {
        "UpdatesPerRequest": context.options.max_updates,
        "DriverSetsPerRequest": MAX_DRIVER_SETS if drivers else 0,
        "ComputerIdsInRequest": MAX_COMPUTER_IDS if drivers else 0,
        "PnpHardwareIdsInRequest": MAX_PNP_IDS if drivers else 0,
    }
    # languages never change here: whoever has an anchor has them
    languages = () if known is not None else map(_language, LANGUAGES)
    return element(
        "GetConfigDataResult",
        (
            text_element("CatalogOnlySync", str(not context.options.lazy_content).lower()),
            text_element("LazySync", "true"),
            text_element("ServerHostsPsfFiles", str(flavour == "mu").lower()),
            *(text_element(f"MaxNumberOf{each}", str(limits[each])) for each in _CONFIG_ORDERS[flavour]),
            text_element("NewConfigAnchor", str(context.store.anchor(context.now))),
            text_element("ProtocolVersion", _PROTOCOLS[flavour]),
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
            text_element("Enabled", str(short in ENABLED).lower()),
        ),
    )


def _get_revision_id_list(call: Members, context: Context) -> str:
    wanted = call.members("filter")
    if context.options.flavour == "mu" and not wanted.has("Get63LanguageOnly"):
        raise Fault(ErrorCode.INVALID_PARAMETERS, "filter")
    text = wanted.text("Anchor")
    if text is not None:
        anchor_of(context, text, "filter")
    anchor, found = context.store.revisions(
        RevisionFilter(
            configuration=wanted.flag("GetConfig", default=False),
            anchor=text,
            categories=deltas_of(wanted, "Categories"),
            classifications=deltas_of(wanted, "Classifications"),
            languages=_language_deltas(wanted),
        ),
        context.now,
    )
    return element(
        "GetRevisionIdListResult",
        (text_element("Anchor", str(anchor)), element("NewRevisions", map(identity_element, found))),
    )


def _language_deltas(wanted: Members) -> dict[str, bool] | None:
    """Short name -> Delta; a language this server does not know cannot select anything."""
    if not wanted.has("Languages"):
        return None
    found = (
        (SHORT_NAMES.get(item.integer("Id")), item.flag("Delta", default=False))
        for item in wanted.items("Languages", "LanguageAndDelta")
    )
    return {short: delta for short, delta in found if short is not None}


def _get_update_data(call: Members, context: Context) -> str:
    wanted = identities_of(call, context)
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
    return element("ServerSyncUpdateData", (identity_element(document.identity, "Id"), blobs))


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
    """The keys of encrypted files; of a file that is not encrypted there is nothing to say."""
    wanted = identities_of(call, context)
    found = {identity: context.store.get(identity) for identity in wanted}
    missing = [identity for identity, document in found.items() if document is None]
    if missing:
        raise Fault(ErrorCode.INTERNAL_SERVER_ERROR, _missing_message(context, wanted, missing))
    updates = (
        _keys(document)
        for document in found.values()
        if document is not None and any(file.key is not None for file in document.files)
    )
    return element("GetUpdateDecryptionDataResult", (element("UpdateFileDecryptionData", updates),))


def _keys(document: Document) -> str:
    files = (
        element(
            "ServerSyncFileDecryption",
            (
                text_element("FileDigest", file.digest),
                text_element("DecryptionKey", base64.b64encode(file.key).decode("ascii")),
            ),
        )
        for file in document.files
        if file.key is not None
    )
    return element(
        "ServerSyncUpdateFileDecryption",
        (identity_element(document.identity, "UpdateId"), element("FileDecryptionData", files)),
    )


def _get_related_revisions(call: Members, context: Context) -> str:
    """The highest revision of each id it knows; the specification calls this operation unused."""
    wanted = guids_of(call, "updateIDs")
    if not 1 <= len(wanted) <= context.options.max_updates:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "updateIDs")
    found = [context.store.newest(key) for key in wanted]
    return element(
        "GetRelatedRevisionsForUpdatesResult",
        (identity_element(document.identity) for document in found if document is not None),
    )


def _download_files(call: Members, context: Context) -> None:
    """Fetch files, of which the licence texts are all this server can have; a digest nobody knows fails the call."""
    digests = call.texts("fileDigestList", "base64Binary")
    if not 1 <= len(digests) <= _MAX_DIGESTS:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "fileDigestList")
    unknown = [digest for digest in digests if not context.store.knows_digest(digest)]
    if unknown:
        raise Fault(ErrorCode.FILE_DIGESTS_MISSING, "|".join(unknown))
    context.store.fetch(digests)


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


_PING = {"other:Ping": Operation(IM, _ping, needs_cookie=False)}

SERVICES = {
    SYNC: _PING
    | {
        "sd:GetAuthConfig": Operation(SD, _get_auth_config, needs_cookie=False),
        "sd:GetCookie": Operation(SD, _get_cookie, needs_cookie=False),
        "sd:GetConfigData": Operation(SD, _get_config_data),
        "sd:GetRevisionIdList": Operation(SD, _get_revision_id_list),
        "sd:GetUpdateData": Operation(SD, _get_update_data),
        "sd:GetUpdateDecryptionData": Operation(SD, _get_update_decryption_data),
        "sd:GetRelatedRevisionsForUpdates": Operation(SD, _get_related_revisions),
        "sd:GetDeployments": Operation(SD, get_deployments),
        "sd:GetDriverIdList": Operation(SD, get_driver_id_list),
        "sd:GetDriverSetData": Operation(SD, get_driver_set_data),
        "sd:DownloadFiles": Operation(SD, _download_files),
    },
    AUTH: _PING | {"da:GetAuthorizationCookie": Operation(DA, _get_authorization_cookie, needs_cookie=False)},
    REPORTING: _PING,
}
"""Path in lower case -> call as `read_call` names it -> operation."""
