"""The answers of MS-WSUSSS: bytes in, values out; members are found by name, never by position.

Each reader raises SoapFault if the body is a fault, and InvalidAnswer if a member the bridge needs is missing
or unreadable.
"""

from __future__ import annotations

from typing import Any, Final

from mdm.upstream.errors import InvalidAnswer, SoapFault
from mdm.upstream.messages import (
    AuthConfig,
    AuthorizationCookie,
    AuthPlugIn,
    ConfigData,
    Cookie,
    Language,
    RevisionIdList,
    UpdateData,
    UpdateIdentity,
    UpdateRecord,
    UrlData,
    wire_guid,
)
from mdm.upstream.xml import ANSWER_LIMITS, Node, XmlLimits, child, children, read_soap_body, text_of

__all__ = [
    "read_auth_config",
    "read_authorization_cookie",
    "read_config_data",
    "read_cookie",
    "read_fault",
    "read_related_revisions",
    "read_revision_id_list",
    "read_update_data",
]

_INT_MAX: Final = 2**31 - 1


def read_auth_config(data: bytes) -> AuthConfig:
    """Read GetAuthConfigResponse; LastChange is to be ignored (MS-WSUSSS 3.1.4.1)."""
    result = _result(data, "sd:", "GetAuthConfig")
    plugins = tuple(
        AuthPlugIn(_text(each, "sd:PlugInID"), _text(each, "sd:ServiceUrl"))
        for each in children(child(result, "sd:AuthInfo"), "sd:AuthPlugInInfo")
    )
    return AuthConfig(plugins)


def read_authorization_cookie(data: bytes) -> AuthorizationCookie:
    """Read GetAuthorizationCookieResponse (MS-WSUSSS 3.1.4.2)."""
    result = _result(data, "da:", "GetAuthorizationCookie")
    return AuthorizationCookie(_text(result, "da:PlugInId"), _text(result, "da:CookieData"))


def read_cookie(data: bytes) -> Cookie:
    """Read GetCookieResponse, keeping Expiration as it is written (MS-WSUSSS 3.1.4.3)."""
    result = _result(data, "sd:", "GetCookie")
    return Cookie(_text(result, "sd:Expiration"), _text(result, "sd:EncryptedData"))


def read_config_data(data: bytes) -> ConfigData:
    """Read GetConfigDataResponse (MS-WSUSSS 3.1.4.4); a WSUS 2.0 leaves ProtocolVersion out."""
    result = _result(data, "sd:", "GetConfigData")
    languages = children(child(result, "sd:LanguageUpdateList"), "sd:ServerSyncLanguageData")
    return ConfigData(
        catalog_only_sync=_boolean(result, "sd:CatalogOnlySync"),
        lazy_sync=_boolean(result, "sd:LazySync"),
        server_hosts_psf_files=_boolean(result, "sd:ServerHostsPsfFiles"),
        max_updates_per_request=_integer(result, "sd:MaxNumberOfUpdatesPerRequest"),
        max_driver_sets_per_request=_integer(result, "sd:MaxNumberOfDriverSetsPerRequest"),
        new_config_anchor=text_of(child(result, "sd:NewConfigAnchor")),
        protocol_version=text_of(child(result, "sd:ProtocolVersion")),
        languages=tuple(
            Language(
                _integer(each, "sd:LanguageID"),
                text_of(child(each, "sd:ShortLanguage")) or "",
                text_of(child(each, "sd:LongLanguage")) or "",
                _boolean(each, "sd:Enabled"),
            )
            for each in languages
        ),
    )


def read_revision_id_list(data: bytes) -> RevisionIdList:
    """Read GetRevisionIdListResponse (MS-WSUSSS 3.1.4.5)."""
    result = _result(data, "sd:", "GetRevisionIdList")
    revisions = children(child(result, "sd:NewRevisions"), "sd:UpdateIdentity")
    return RevisionIdList(text_of(child(result, "sd:Anchor")), tuple(map(_identity, revisions)))


def read_related_revisions(data: bytes) -> tuple[UpdateIdentity, ...]:
    """Read GetRelatedRevisionsForUpdatesResponse (MS-WSUSSS 3.1.4.9)."""
    result = _result(data, "sd:", "GetRelatedRevisionsForUpdates", may_be_empty=True)
    return tuple(map(_identity, children(result, "sd:UpdateIdentity")))


def read_update_data(data: bytes, limits: XmlLimits = ANSWER_LIMITS) -> UpdateData:
    """Read GetUpdateDataResponse; blobs stay undecoded (MS-WSUSSS 3.1.4.6)."""
    result = _result(data, "sd:", "GetUpdateData", limits=limits, may_be_empty=True)
    records = children(child(result, "sd:updates"), "sd:ServerSyncUpdateData")
    urls = children(child(result, "sd:fileUrls"), "sd:ServerSyncUrlData")
    return UpdateData(tuple(map(_record, records)), tuple(map(_url, urls)))


def read_fault(data: bytes) -> SoapFault | None:
    """Return the fault of an HTTP 500 answer, or None if the bytes hold none."""
    try:
        return _fault(read_soap_body(data))
    except InvalidAnswer:
        return None


def _fault(body: dict[str, Any]) -> SoapFault | None:
    if "soap:Fault" not in body:
        return None
    fault = child(body, "soap:Fault")
    # SOAP 1.1: detail; SOAP 1.2: a Detail of no namespace beside its own (MS-WSUSSS 2.2.9.2)
    detail = child(fault, "detail") or child(fault, "Detail") or child(fault, "soap:Detail")
    method = text_of(child(detail, "Method"))
    return SoapFault(
        text_of(child(detail, "ErrorCode")),
        text_of(child(detail, "Message")) or "",
        method.strip('"') if method else None,
    )


def _result(
    data: bytes, prefix: str, operation: str, *, limits: XmlLimits = ANSWER_LIMITS, may_be_empty: bool = False
) -> Node:
    body = read_soap_body(data, limits)
    fault = _fault(body)
    if fault is not None:
        raise fault
    name = f"{prefix}{operation}Response"
    if name not in body:
        raise InvalidAnswer(f"the answer to {operation} is not a {operation}Response")
    result = child(child(body, name), f"{prefix}{operation}Result")
    if not may_be_empty and not isinstance(result, dict):
        raise InvalidAnswer(f"the answer to {operation} has no {operation}Result")
    return result


def _text(node: Node, name: str) -> str:
    text = text_of(child(node, name))
    if text is None:
        raise InvalidAnswer(f"{name.rpartition(':')[2]} is missing in the answer")
    return text


def _boolean(node: Node, name: str) -> bool:
    text = _text(node, name)
    if text not in {"true", "false", "1", "0"}:
        raise InvalidAnswer(f"{name.rpartition(':')[2]} is not a boolean: {text[:40]!r}")
    return text in {"true", "1"}


def _integer(node: Node, name: str) -> int:
    text = _text(node, name)
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_INT_MAX)) and int(text) <= _INT_MAX):
        raise InvalidAnswer(f"{name.rpartition(':')[2]} is not a number from 0 to {_INT_MAX}: {text[:40]!r}")
    return int(text)


def _identity(node: Node) -> UpdateIdentity:
    try:
        update_id = wire_guid(_text(node, "sd:UpdateID"))
    except ValueError as problem:
        raise InvalidAnswer(f"UpdateID is {problem}") from problem
    return UpdateIdentity(update_id, _integer(node, "sd:RevisionNumber"))


def _record(node: Node) -> UpdateRecord:
    digests = children(child(node, "sd:FileDigestList"), "sd:base64Binary")
    return UpdateRecord(
        _identity(child(node, "sd:Id")),
        text_of(child(node, "sd:XmlUpdateBlob"), exact=True),
        text_of(child(node, "sd:XmlUpdateBlobCompressed")),
        tuple(digest for digest in map(text_of, digests) if digest is not None),
    )


def _url(node: Node) -> UrlData:
    return UrlData(
        _text(node, "sd:FileDigest"),
        text_of(child(node, "sd:MUUrl")),
        text_of(child(node, "sd:UssUrl")),
    )
