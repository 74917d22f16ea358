"""RequestSecurityToken: a certificate request with what the device says of itself (MS-WSTEP as in MS-MDE2 4.3)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from mdm.enrolment.envelope import (
    ENROLLMENT,
    SECEXT,
    TRUST,
    MessageUnreadable,
    children,
    only,
    required,
    text,
    value_of,
    write_envelope,
)
from mdm.enrolment.faults import EnrolmentFault, ErrorType, Subcode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mdm.enrolment.envelope import Envelope

__all__ = ["RST", "Claims", "RequestKind", "TokenRequest", "read_token_request", "write_token_response"]

RST: Final = f"{ENROLLMENT}/RST/wstep"
_RESPONSE: Final = f"{ENROLLMENT}/RSTRC/wstep"
_TOKEN_TYPE: Final = (
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/DeviceEnrollmentToken"  # noqa: S105 - a URI
)
_DOCUMENT_TYPE: Final = (
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/DeviceEnrollmentProvisionDoc"
)
_BASE64: Final = f"{SECEXT}#base64binary"
_PKCS10: Final = f"{ENROLLMENT}#PKCS10"
_PKCS7: Final = frozenset({f"{SECEXT}#PKCS7", f"{ENROLLMENT}#PKCS7"})
"""Microsoft's documents have the first, a deployed server takes the second."""
_BASE64_SEQUENCE: Final = b"M"
"""How DER begins that is written in base64; DER itself begins with "0"."""

_FRESH: Final = timedelta(minutes=5)
_MAX_ITEMS: Final = 100
_MAX_CLAIM: Final = 200


class RequestKind(StrEnum):
    """What is asked for."""

    ISSUE = "Issue"
    RENEW = "Renew"


_KINDS: Final = {f"{TRUST}/{kind}": kind for kind in RequestKind}


@dataclass(frozen=True, slots=True)
class Claims:
    """What the device says of itself: claims of a user who has authenticated, proven by nothing."""

    device_id: str | None
    """The Source of its later messages."""
    hardware_id: str | None
    """HWDevID, which outlives a new enrolment of the same hardware."""
    device_name: str | None
    full: bool
    """EnrollmentType Full: a user's enrolment, with the certificate in his store. False: the device's."""
    os_edition: str | None
    os_version: str | None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request for a certificate."""

    kind: RequestKind
    request: bytes
    """PKCS#10 to issue, PKCS#7 around one to renew; DER."""
    claims: Claims


def read_token_request(envelope: Envelope) -> TokenRequest:
    """Read RequestSecurityToken; raises MessageUnreadable, or EnrolmentFault for claims that are not taken."""
    body = only(envelope.body, "wst:RequestSecurityToken")
    if not isinstance(body, dict):
        raise MessageUnreadable("its body is not RequestSecurityToken")
    asked = required(body, "wst:RequestType")
    kind = _KINDS.get(asked)
    if kind is None:
        raise MessageUnreadable(f"RequestType is {asked[:200]!r}, and only Issue and Renew are known here")
    binary = only(body, "wsse:BinarySecurityToken")
    value_type = binary.get("@ValueType") if isinstance(binary, dict) else None
    if value_type not in ({_PKCS10} if kind is RequestKind.ISSUE else _PKCS7):
        raise MessageUnreadable(f"{kind} takes another kind of BinarySecurityToken")
    request = _base64(value_of(binary) or "")
    if kind is RequestKind.RENEW and request[:1] == _BASE64_SEQUENCE:
        # A renewal that a user has begun encodes twice, one of the system's own does not (certificate-renewal-windows-mdm).
        request = _base64(request.decode("latin-1"))
    if not request:
        raise MessageUnreadable("its BinarySecurityToken is empty")
    return TokenRequest(kind, request, _claims(only(body, "ac:AdditionalContext")))


def _base64(said: str) -> bytes:
    try:
        return base64.b64decode("".join(said.split()), validate=True)
    except (binascii.Error, ValueError):
        raise MessageUnreadable("its BinarySecurityToken is not base64") from None


def _claims(context: Any) -> Claims:
    items = children(context, "ac:ContextItem")
    if len(items) > _MAX_ITEMS:
        raise MessageUnreadable(f"it has more than {_MAX_ITEMS} context items")
    said: dict[str, str | None] = {}
    for item in items:
        name = item.get("@Name") if isinstance(item, dict) else None
        if name is not None:  # MAC and IMEI come again and again; nothing here needs the others of a name
            said.setdefault(name, text(item, "ac:Value"))
    enrolment_type = said.get("EnrollmentType") or "Full"
    if enrolment_type not in {"Full", "Device"}:
        raise _claim_refused("EnrollmentType", "is neither Full nor Device")
    return Claims(
        device_id=_claim(said, "DeviceID"),
        hardware_id=_claim(said, "HWDevID"),
        device_name=_claim(said, "DeviceName"),
        full=enrolment_type == "Full",
        os_edition=_claim(said, "OSEdition"),
        os_version=_claim(said, "OSVersion"),
    )


def _claim(said: Mapping[str, str | None], name: str) -> str | None:
    value = said.get(name)
    if value is not None and (len(value) > _MAX_CLAIM or not value.isprintable()):
        raise _claim_refused(name, f"has more than {_MAX_CLAIM} characters, or some that cannot be printed")
    return value


def _claim_refused(name: str, why: str) -> EnrolmentFault:
    return EnrolmentFault(
        Subcode.ENROLLMENT_SERVER,
        f"The device's {name} {why}.",
        error=ErrorType.INVALID_ENROLLMENT_DATA,
    )


def write_token_response(document: bytes, *, relates_to: str | None, now: datetime) -> bytes:
    """RequestSecurityTokenResponseCollection with a provisioning document; SOAP 1.2, unlike the printed sample."""
    token = {
        "@ValueType": _DOCUMENT_TYPE,
        "@EncodingType": _BASE64,
        "@xmlns": SECEXT,
        "#text": base64.b64encode(document).decode(),
    }
    response = {
        "TokenType": _TOKEN_TYPE,
        "DispositionMessage": {"@xmlns": ENROLLMENT},
        "RequestedSecurityToken": {"BinarySecurityToken": token},
        "RequestID": {"@xmlns": ENROLLMENT, "#text": "0"},
    }
    body = {
        "RequestSecurityTokenResponseCollection": {"@xmlns": TRUST, "RequestSecurityTokenResponse": response}
    }
    times = {"@u:Id": "_0", "u:Created": _moment(now), "u:Expires": _moment(now + _FRESH)}
    return write_envelope(_RESPONSE, body, relates_to=relates_to, security={"u:Timestamp": times})


def _moment(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"
