"""The requests of MS-WSUSSS, member for member in schema order.

Get63LanguageOnly is always sent: Microsoft Update wants it although a WSUS does without. DssProtocolVersion
is never sent to GetRevisionIdList (MS-WSUSSS 3.1.4.5). Argument names keep the schema's uneven case:
`updateIds` but `updateIDs`, `PlugInID` but `PlugInId`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mdm.upstream.xml import DA, SD, write_soap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mdm.upstream.messages import (
        AuthorizationCookie,
        Cookie,
        DriverFilter,
        RevisionFilter,
        UpdateIdentity,
    )

__all__ = [
    "AUTH_PATH",
    "PROTOCOL_VERSION",
    "SYNC_PATH",
    "SoapRequest",
    "download_files",
    "get_auth_config",
    "get_authorization_cookie",
    "get_config_data",
    "get_cookie",
    "get_deployments",
    "get_driver_id_list",
    "get_driver_set_data",
    "get_related_revisions",
    "get_revision_id_list",
    "get_update_data",
    "get_update_decryption_data",
]

PROTOCOL_VERSION: Final = "1.20"
"""What WSUS 10 speaks; with less, updates that need more are silently left out (MS-WSUSSS 3.1.4.5)."""

SYNC_PATH: Final = "/ServerSyncWebService/ServerSyncWebService.asmx"
"""Of the real servers; the soap:address of the published WSDL answers 404."""
AUTH_PATH: Final = "/DssAuthWebService/DssAuthWebService.asmx"


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """A call ready to post."""

    operation: str
    namespace: str
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """Content-Type and SOAPAction; the double quotes belong to the latter's value."""
        return {
            "Content-Type": "text/xml; charset=utf-8",
            "SOAPAction": f'"{self.namespace}/{self.operation}"',
        }


def _request(namespace: str, operation: str, **members: Any) -> SoapRequest:
    present = {name: value for name, value in members.items() if value is not None}
    return SoapRequest(operation, namespace, write_soap(namespace, operation, present))


def _cookie(cookie: Cookie) -> dict[str, str]:
    return {"Expiration": cookie.expiration, "EncryptedData": cookie.encrypted_data}


def get_auth_config() -> SoapRequest:
    """GetAuthConfig: no members, no cookie (MS-WSUSSS 3.1.4.1)."""
    return _request(SD, "GetAuthConfig")


def get_authorization_cookie(account_name: str, account_guid: str) -> SoapRequest:
    """GetAuthorizationCookie, the one call in the auth service's namespace (MS-WSUSSS 3.1.4.2)."""
    return _request(DA, "GetAuthorizationCookie", accountName=account_name, accountGuid=account_guid)


def get_cookie(authorization: AuthorizationCookie, old_cookie: Cookie | None = None) -> SoapRequest:
    """GetCookie, with the authorization cookie made anew in its own namespace (MS-WSUSSS 3.1.4.3)."""
    members = {"PlugInId": authorization.plugin_id, "CookieData": authorization.cookie_data}
    return _request(
        SD,
        "GetCookie",
        authCookies={"AuthorizationCookie": members},
        oldCookie=_cookie(old_cookie) if old_cookie else None,
        protocolVersion=PROTOCOL_VERSION,
    )


def get_config_data(cookie: Cookie, config_anchor: str | None = None) -> SoapRequest:
    """GetConfigData; no anchor the first time (MS-WSUSSS 3.1.4.4)."""
    return _request(SD, "GetConfigData", cookie=_cookie(cookie), configAnchor=config_anchor)


def get_revision_id_list(cookie: Cookie, revision_filter: RevisionFilter) -> SoapRequest:
    """GetRevisionIdList (MS-WSUSSS 3.1.4.5)."""
    members: dict[str, Any] = {}
    if revision_filter.anchor is not None:
        members["Anchor"] = revision_filter.anchor
    members["GetConfig"] = _boolean(revision_filter.get_config)
    members["Get63LanguageOnly"] = "false"
    if revision_filter.categories:
        members["Categories"] = _ids_and_deltas(revision_filter.categories)
    if revision_filter.classifications:
        members["Classifications"] = _ids_and_deltas(revision_filter.classifications)
    if revision_filter.languages:
        members["Languages"] = _array("LanguageAndDelta", revision_filter.languages)
    return _request(SD, "GetRevisionIdList", cookie=_cookie(cookie), filter=members)


def get_update_data(cookie: Cookie, identities: Sequence[UpdateIdentity]) -> SoapRequest:
    """GetUpdateData, for at most MaxNumberOfUpdatesPerRequest revisions (MS-WSUSSS 3.1.4.6)."""
    return _request(SD, "GetUpdateData", cookie=_cookie(cookie), updateIds=_identities(identities))


def get_related_revisions(cookie: Cookie, update_ids: Sequence[str]) -> SoapRequest:
    """GetRelatedRevisionsForUpdates: an update's current revisions (MS-WSUSSS 3.1.4.9)."""
    return _request(
        SD, "GetRelatedRevisionsForUpdates", cookie=_cookie(cookie), updateIDs={"guid": list(update_ids)}
    )


def get_driver_id_list(cookie: Cookie, driver_filter: DriverFilter) -> SoapRequest:
    """GetDriverIdList (MS-WSUSSS 3.1.4.7); here DssProtocolVersion must be sent, and is empty."""
    members: dict[str, Any] = {"DssProtocolVersion": None}
    if driver_filter.anchor is not None:
        members["Anchor"] = driver_filter.anchor
    # an empty Categories means any operating system, so it is there even then
    members["Categories"] = _ids_and_deltas(driver_filter.categories)
    members["ComputerIds"] = _ids_and_deltas(driver_filter.computer_ids)
    members["PnpHardwareIds"] = _array("HardwareIdAndDelta", driver_filter.pnp_ids)
    return _request(SD, "GetDriverIdList", cookie=_cookie(cookie), filter=members)


def get_driver_set_data(cookie: Cookie, driver_sets: Sequence[str]) -> SoapRequest:
    """GetDriverSetData, for at most MaxNumberOfDriverSetsPerRequest sets (MS-WSUSSS 3.1.4.8)."""
    return _request(SD, "GetDriverSetData", cookie=_cookie(cookie), driverSets={"guid": list(driver_sets)})


def get_update_decryption_data(cookie: Cookie, identities: Sequence[UpdateIdentity]) -> SoapRequest:
    """GetUpdateDecryptionData (MS-WSUSSS 3.1.4.12)."""
    return _request(SD, "GetUpdateDecryptionData", cookie=_cookie(cookie), updateIds=_identities(identities))


def get_deployments(cookie: Cookie, sync_anchor: str, deployment_anchor: str | None = None) -> SoapRequest:
    """GetDeployments (MS-WSUSSS 3.1.4.10); `sync_anchor` is that of the last revision list."""
    return _request(
        SD,
        "GetDeployments",
        cookie=_cookie(cookie),
        deploymentAnchor=deployment_anchor,
        syncAnchor=sync_anchor,
    )


def download_files(cookie: Cookie, digests: Sequence[str]) -> SoapRequest:
    """DownloadFiles: ask the upstream to fetch content it lacks, by base64 SHA-1 (MS-WSUSSS 3.1.4.11)."""
    return _request(
        SD, "DownloadFiles", cookie=_cookie(cookie), fileDigestList={"base64Binary": list(digests)}
    )


def _boolean(value: bool) -> str:  # noqa: FBT001 - a formatter of the value
    return "true" if value else "false"


def _ids_and_deltas(pairs: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    return _array("IdAndDelta", pairs)


def _array(name: str, pairs: Sequence[tuple[str | int, bool]]) -> dict[str, Any]:
    return {name: [{"Id": str(each), "Delta": _boolean(delta)} for each, delta in pairs]}


def _identities(identities: Sequence[UpdateIdentity]) -> dict[str, Any]:
    return {
        "UpdateIdentity": [
            {"UpdateID": each.update_id, "RevisionNumber": str(each.revision_number)} for each in identities
        ]
    }
