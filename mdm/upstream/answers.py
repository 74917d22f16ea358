"""The answers of MS-WSUSSS: bytes in, values out; members are found by name, never by position.

Each reader raises SoapFault if the body is a fault, and InvalidAnswer if a member the bridge needs is missing
or unreadable. Answers that can be long have an `open_..._reader` beside their `read_...`, for bytes as they arrive.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from mdm.upstream.errors import InvalidAnswer, SoapFault
from mdm.upstream.messages import (
    AuthConfig,
    AuthorizationCookie,
    AuthPlugIn,
    ConfigData,
    Cookie,
    DecryptionKey,
    Deployment,
    DeploymentResult,
    DriverIdList,
    DriverSet,
    Language,
    RevisionIdList,
    TargetGroup,
    UpdateData,
    UpdateIdentity,
    UpdateRecord,
    UrlData,
    wire_guid,
)
from mdm.upstream.stream import BODY, StreamReader
from mdm.upstream.xml import Node, XmlLimits, child, children, read_soap_body, text_of

__all__ = [
    "LIST_LIMITS",
    "UPDATE_LIMITS",
    "open_driver_id_list_reader",
    "open_revision_id_list_reader",
    "open_update_data_reader",
    "read_auth_config",
    "read_authorization_cookie",
    "read_config_data",
    "read_cookie",
    "read_deployments",
    "read_download_files",
    "read_driver_set_data",
    "read_fault",
    "read_related_revisions",
    "read_revision_id_list",
    "read_update_data",
    "read_update_decryption_data",
]

LIST_LIMITS: Final = XmlLimits(bytes=64 * 1024 * 1024, elements=1_500_000)
"""Half a million ids; the longest list published has 24,509 in 3 MB."""
UPDATE_LIMITS: Final = XmlLimits(bytes=96 * 1024 * 1024)
"""One document may have 47 MB, and escaping makes it longer."""

_INT_MAX: Final = 2**31 - 1
_NO_GUID: Final = "00000000-0000-0000-0000-000000000000"

T = TypeVar("T")


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
        max_computer_ids_per_request=_limit(result, "sd:MaxNumberOfComputerIdsInRequest"),
        max_pnp_ids_per_request=_limit(result, "sd:MaxNumberOfPnpHardwareIdsInRequest"),
        max_decryptions_per_request=_limit(result, "sd:MaxUpdatesPerRequestInGetUpdateDecryptionData"),
    )


def open_revision_id_list_reader() -> StreamReader[RevisionIdList]:
    """Return a reader of GetRevisionIdListResponse (MS-WSUSSS 3.1.4.5)."""
    revisions: list[UpdateIdentity] = []

    def finish(body: dict[str, Any]) -> RevisionIdList:
        result = _member(body, "sd:", "GetRevisionIdList")
        return RevisionIdList(text_of(child(result, "sd:Anchor")), tuple(revisions))

    place = _place("GetRevisionIdList", "sd:NewRevisions/sd:UpdateIdentity")
    return StreamReader({place: lambda node: revisions.append(_identity(node))}, finish, LIST_LIMITS)


def read_revision_id_list(data: bytes) -> RevisionIdList:
    """Read a whole GetRevisionIdListResponse."""
    return _at_once(open_revision_id_list_reader(), data)


def open_driver_id_list_reader() -> StreamReader[DriverIdList]:
    """Return a reader of GetDriverIdListResponse (MS-WSUSSS 3.1.4.7)."""
    revisions: list[UpdateIdentity] = []
    new: list[str] = []
    removed: list[str] = []

    def finish(body: dict[str, Any]) -> DriverIdList:
        result = _member(body, "sd:", "GetDriverIdList")
        anchor = text_of(child(result, "sd:Anchor"))
        return DriverIdList(anchor, tuple(revisions), tuple(new), tuple(removed))

    take = {
        _place("GetDriverIdList", "sd:NewRevisions/sd:UpdateIdentity"): lambda node: revisions.append(
            _identity(node)
        ),
        _place("GetDriverIdList", "sd:NewDriverSets/sd:guid"): lambda node: new.append(_guid(node, "guid")),
        _place("GetDriverIdList", "sd:RemovedDriverSets/sd:guid"): lambda node: removed.append(
            _guid(node, "guid")
        ),
    }
    return StreamReader(take, finish, LIST_LIMITS)


def read_driver_set_data(data: bytes) -> tuple[DriverSet, ...]:
    """Read GetDriverSetDataResponse (MS-WSUSSS 3.1.4.8)."""
    result = _result(data, "sd:", "GetDriverSetData", may_be_empty=True)
    return tuple(
        DriverSet(
            _guid(child(each, "sd:DriverSetId"), "DriverSetId"),
            text_of(child(each, "sd:DriverSetXml"), exact=True),
        )
        for each in children(child(result, "sd:DriverSets"), "sd:ServerSyncDriverSetData")
    )


def read_update_decryption_data(data: bytes) -> tuple[DecryptionKey, ...]:
    """Read GetUpdateDecryptionDataResponse (MS-WSUSSS 3.1.4.12)."""
    result = _result(data, "sd:", "GetUpdateDecryptionData", may_be_empty=True)
    keys: list[DecryptionKey] = []
    for update in children(child(result, "sd:UpdateFileDecryptionData"), "sd:ServerSyncUpdateFileDecryption"):
        identity = _identity(child(update, "sd:UpdateId"))
        keys += (
            DecryptionKey(identity, _text(file, "sd:FileDigest"), text_of(child(file, "sd:DecryptionKey")))
            for file in children(child(update, "sd:FileDecryptionData"), "sd:ServerSyncFileDecryption")
        )
    return tuple(keys)


def read_deployments(data: bytes) -> DeploymentResult:
    """Read GetDeploymentsResponse (MS-WSUSSS 3.1.4.10)."""
    result = _result(data, "sd:", "GetDeployments")
    return DeploymentResult(
        anchor=text_of(child(result, "sd:Anchor")),
        groups=tuple(map(_target_group, children(child(result, "sd:Groups"), "sd:ServerSyncTargetGroup"))),
        deployments=tuple(
            map(_deployment, children(child(result, "sd:Deployments"), "sd:ServerSyncDeployment"))
        ),
        dead_deployments=_guids(result, "sd:DeadDeployments"),
        hidden_updates=_guids(result, "sd:HiddenUpdates"),
        accepted_eulas=_guids(result, "sd:AcceptedEulas"),
    )


def read_download_files(data: bytes) -> None:
    """Read DownloadFilesResponse, which has no members (MS-WSUSSS 3.1.4.11)."""
    _result(data, "sd:", "DownloadFiles", may_be_empty=True)


def read_related_revisions(data: bytes) -> tuple[UpdateIdentity, ...]:
    """Read GetRelatedRevisionsForUpdatesResponse (MS-WSUSSS 3.1.4.9)."""
    result = _result(data, "sd:", "GetRelatedRevisionsForUpdates", may_be_empty=True)
    return tuple(map(_identity, children(result, "sd:UpdateIdentity")))


def open_update_data_reader(limits: XmlLimits = UPDATE_LIMITS) -> StreamReader[UpdateData]:
    """Return a reader of GetUpdateDataResponse; blobs stay undecoded (MS-WSUSSS 3.1.4.6)."""
    records: list[UpdateRecord] = []
    urls: list[UrlData] = []

    def finish(body: dict[str, Any]) -> UpdateData:
        _member(body, "sd:", "GetUpdateData", may_be_empty=True)
        return UpdateData(tuple(records), tuple(urls))

    def record(node: Node) -> None:
        if node is not None:
            records.append(_record(node))

    def url(node: Node) -> None:
        if node is not None:
            urls.append(_url(node))

    take = {
        _place("GetUpdateData", "sd:updates/sd:ServerSyncUpdateData"): record,
        _place("GetUpdateData", "sd:fileUrls/sd:ServerSyncUrlData"): url,
    }
    return StreamReader(take, finish, limits)


def read_update_data(data: bytes, limits: XmlLimits = UPDATE_LIMITS) -> UpdateData:
    """Read a whole GetUpdateDataResponse."""
    return _at_once(open_update_data_reader(limits), data)


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


def _result(data: bytes, prefix: str, operation: str, *, may_be_empty: bool = False) -> Node:
    return _member(read_soap_body(data), prefix, operation, may_be_empty=may_be_empty)


def _member(body: dict[str, Any], prefix: str, operation: str, *, may_be_empty: bool = False) -> Node:
    """The Result element of an answer; raises SoapFault if the body holds a fault instead."""
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


def _place(operation: str, path: str) -> str:
    """Where in an answer's Result something stands, as `StreamReader` names it."""
    return f"{BODY}/sd:{operation}Response/sd:{operation}Result/{path}"


def _at_once(reader: StreamReader[T], data: bytes) -> T:
    reader.feed(data)
    return reader.close()


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


def _limit(node: Node, name: str) -> int:
    """A limit of a call that not every server knows: 0 if it is left out."""
    return 0 if text_of(child(node, name)) is None else _integer(node, name)


def _guid(node: Node, name: str) -> str:
    try:
        return wire_guid(text_of(node) or "")
    except ValueError as problem:
        raise InvalidAnswer(f"{name} is {problem}") from problem


def _guids(node: Node, name: str) -> tuple[str, ...]:
    return tuple(_guid(each, "guid") for each in children(child(node, name), "sd:guid"))


def _identity(node: Node) -> UpdateIdentity:
    _text(node, "sd:UpdateID")
    return UpdateIdentity(_guid(child(node, "sd:UpdateID"), "UpdateID"), _integer(node, "sd:RevisionNumber"))


def _target_group(node: Node) -> TargetGroup:
    parent = _guid(child(node, "sd:ParentGroupId"), "ParentGroupId")
    return TargetGroup(
        _guid(child(node, "sd:TargetGroupID"), "TargetGroupID"),
        None if parent == _NO_GUID else parent,
        text_of(child(node, "sd:Name")) or "",
        _boolean(node, "sd:IsBuiltin"),
    )


def _deployment(node: Node) -> Deployment:
    return Deployment(
        deployment_id=_guid(child(node, "sd:DeploymentGuid"), "DeploymentGuid"),
        identity=UpdateIdentity(
            _guid(child(node, "sd:UpdateId"), "UpdateId"), _integer(node, "sd:RevisionNumber")
        ),
        action=_integer(node, "sd:Action"),
        group_id=_guid(child(node, "sd:TargetGroupId"), "TargetGroupId"),
        deadline=_text(node, "sd:Deadline"),
        go_live=_text(node, "sd:GoLiveTime"),
        assigned=_boolean(node, "sd:IsAssigned"),
    )


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
