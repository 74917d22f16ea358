"""The wap-provisioningdoc: certificates, the w7 account and the DMClient settings that make a device poll.

Names are case-sensitive, and datatypes must be explicit where they stand (MS-MDE2 2.2.9). INIT is never sent: Windows
gives up management with it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import xmltodict

from csp.sync_version import WANTED

if TYPE_CHECKING:
    from mdm.ca.renewal import RenewalPeriod
    from mdm.devices.registry import Credentials
    from mdm.enrolment.poll_schedule import PollSchedule

__all__ = [
    "Account",
    "Certificate",
    "enrolment_document",
    "renewal_document",
]

_ENCODING: Final = "application/vnd.syncml.dm+xml"
"""The bridge reads SyncML as XML only."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with the name Windows stores it under."""

    der: bytes
    thumbprint: str
    """SHA-1 in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where the device is to poll, and as whom."""

    address: str
    """URL of the OMA DM endpoint."""
    provider_id: str
    name: str
    """For people: who manages the device."""
    credentials: Credentials
    user: str
    """UPN of who enrolled it."""
    device_name: str
    device_id: str
    """Our id of the device (EntDMID), which must be there before the first renewal."""


def enrolment_document(
    *,
    root: Certificate,
    intermediate: Certificate | None,
    client: Certificate,
    subject: str,
    user_store: bool,
    account: Account,
    poll: PollSchedule,
    renewal: RenewalPeriod,
) -> bytes:
    """The document of an enrolment. `subject` is that of the client certificate, as RFC 4514 writes it."""
    store = _store(user_store)
    trusted = _trusted(root, intermediate)
    # Beside the thumbprint and not in it, unlike in a renewal.
    own = _branch(store, [_stored(client), {"@type": "PrivateKeyContainer"}])
    renew = _branch(
        "Renew",
        parms=[
            _typed("ROBOSupport", "true", "boolean"),
            _typed("RenewPeriod", str(renewal.days), "integer"),
            _typed("RetryInterval", str(renewal.retry_days), "integer"),
        ],
    )
    return _write(
        [
            _branch("CertificateStore", trusted),
            _branch("CertificateStore", [_branch("My", [own, _branch("WSTEP", [renew])])]),
            _application(account, subject, store),
            _branch("DMClient", [_branch("Provider", [_provider(account, poll)])]),
        ]
    )


def renewal_document(
    *,
    client: Certificate,
    user_store: bool,
    provider_id: str,
    authority: tuple[Certificate, Certificate | None] | None = None,
) -> bytes:
    """The document of a renewal: the new certificate, and nothing that could undo what the device has.

    `authority` is root and intermediate, where another one has issued than before; the device has its former one.
    """
    # In the thumbprint's node and not beside it, unlike in an enrolment (certificate-renewal-windows-mdm).
    stored = _stored(client, [{"@type": "PrivateKeyContainer"}])
    own = _branch("My", [_branch(_store(user_store), [stored])])
    trusted = [] if authority is None else _trusted(*authority)
    return _write(
        [
            _branch("CertificateStore", [*trusted, own]),
            _branch("APPLICATION", parms=[_parm("PROVIDER-ID", provider_id)]),
        ]
    )


def _store(user_store: bool) -> str:  # noqa: FBT001 - as the documents say it
    return "User" if user_store else "System"


def _trusted(root: Certificate, intermediate: Certificate | None) -> list[dict[str, Any]]:
    trusted = [_branch("Root", [_branch("System", [_stored(root)])])]
    if intermediate is not None:
        trusted.append(_branch("CA", [_branch("System", [_stored(intermediate)])]))
    return trusted


def _application(account: Account, subject: str, store: str) -> dict[str, Any]:
    """The w7 account; both APPAUTH must be there, and the device finds its certificate by the subject."""
    credentials = account.credentials
    parms = [
        _parm("APPID", "w7"),
        _parm("PROVIDER-ID", account.provider_id),
        _parm("NAME", account.name),
        _parm("ADDR", account.address),
        _parm("CONNRETRYFREQ", "6"),
        _parm("INITIALBACKOFFTIME", "30000"),
        _parm("MAXBACKOFFTIME", "120000"),
        {"@name": "BACKCOMPATRETRYDISABLED"},
        _parm("DEFAULTENCODING", _ENCODING),
        _parm(
            "SSLCLIENTCERTSEARCHCRITERIA",
            f"Subject={quote(subject, safe='')}&Stores={quote(chr(92).join(('My', store)), safe='')}",
        ),
    ]
    server = credentials.server
    ours = [] if server is None else [_parm("AAUTHSECRET", server.password), _parm("AAUTHDATA", server.nonce)]
    return _branch(
        "APPLICATION",
        [
            _branch("APPAUTH", parms=[_parm("AAUTHLEVEL", "CLIENT"), _parm("AAUTHTYPE", "DIGEST"), *ours]),
            _branch(
                "APPAUTH",
                parms=[
                    _parm("AAUTHLEVEL", "APPSRV"),
                    _parm("AAUTHTYPE", "DIGEST"),
                    _parm("AAUTHNAME", credentials.username),
                    _parm("AAUTHSECRET", credentials.password),
                    _parm("AAUTHDATA", credentials.nonce),
                ],
            ),
        ],
        parms=parms,
    )


def _provider(account: Account, poll: PollSchedule) -> dict[str, Any]:
    schedule = [_typed(name, str(number), "integer") for name, number in poll.nodes().items()]
    return _branch(
        account.provider_id,
        [_branch("Poll", parms=[*schedule, _typed("PollOnLogin", "true", "boolean")])],
        parms=[
            _typed("UPN", account.user, "string"),
            _typed("EntDeviceName", account.device_name, "string"),
            _typed("EntDMID", account.device_id, "string"),
            _typed("SyncApplicationVersion", WANTED, "string"),
        ],
    )


def _stored(certificate: Certificate, children: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return _branch(
        certificate.thumbprint,
        children,
        parms=[_parm("EncodedCertificate", base64.b64encode(certificate.der).decode())],
    )


def _branch(
    kind: str, children: list[dict[str, Any]] | None = None, *, parms: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {"@type": kind, "parm": parms or [], "characteristic": children or []}


def _parm(name: str, value: str) -> dict[str, Any]:
    return {"@name": name, "@value": value}


def _typed(name: str, value: str, datatype: str) -> dict[str, Any]:
    return {"@name": name, "@value": value, "@datatype": datatype}


def _write(characteristics: list[dict[str, Any]]) -> bytes:
    document = {"wap-provisioningdoc": {"@version": "1.1", "characteristic": characteristics}}
    return xmltodict.unparse(document, full_document=False, short_empty_elements=True).encode()
