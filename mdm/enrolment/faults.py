"""Why an enrolment is refused: the subcodes and error types of MS-MDE2 2.2.10, and the SOAP fault that tells them.

[MS-MDE2] prints its two sample faults in lower case down to the element names, and no document says what Windows
matches; `Spelling` keeps both, and the standard one is the default, because XML is case-sensitive and every SOAP 1.2
reader looks for `s:Fault`.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any, Final

from mdm.enrolment.envelope import ENROLLMENT, MessageUnreadable, write_envelope

__all__ = ["EnrolmentFault", "ErrorType", "Spelling", "Subcode", "unreadable", "write_fault"]

_ACTION: Final = f"{ENROLLMENT}/RSTRC/wstep"


class Subcode(Enum):
    """What kind of refusal it is; the value is the prefix and the name."""

    MESSAGE_FORMAT = ("s", "MessageFormat")
    """80180001: the message cannot be read."""
    AUTHENTICATION = ("s", "Authentication")
    """80180002: the user is not recognised."""
    AUTHORIZATION = ("s", "Authorization")
    """80180003: the user may not enrol."""
    CERTIFICATE_REQUEST = ("s", "CertificateRequest")
    """80180004: no certificate can be given."""
    ENROLLMENT_SERVER = ("s", "EnrollmentServer")
    """80180005: the server fails for a reason it knows, such as its database."""
    INTERNAL_SERVICE_FAULT = ("a", "InternalServiceFault")
    """80180006: the server fails for a reason nobody foresaw."""
    INVALID_SECURITY = ("a", "InvalidSecurity")
    """80180007: the security header cannot be used."""


class ErrorType(StrEnum):
    """The closer reason, in the fault's detail."""

    DEVICE_CAP_REACHED = "DeviceCapReached"
    """80180013: the user has as many devices as he may have."""
    NOT_SUPPORTED = "NotSupported"
    """80180015: the server does not manage this way."""
    NOT_ELIGIBLE_TO_RENEW = "NotEligibleToRenew"
    """80180016: the certificate is not renewed."""
    INVALID_ENROLLMENT_DATA = "InvalidEnrollmentData"
    """80180019: what the device says of itself is refused."""


class Spelling(StrEnum):
    """How a fault's names are written."""

    STANDARD = "standard"
    """As SOAP 1.2 and the tables of MS-MDE2 have them."""
    PRINTED = "printed"
    """In lower case inside the body, as the sample faults of MS-MDE2 2.2.10 have them."""


class EnrolmentFault(Exception):  # noqa: N818 - named for what the protocol calls it
    """An enrolment that is refused, with a text for the person before the device and its administrator."""

    def __init__(self, subcode: Subcode, text: str, *, error: ErrorType | None = None) -> None:
        """`text` goes to the device and into the log: it names no secret."""
        super().__init__(text)
        self.subcode = subcode
        self.text = text
        self.error = error


def unreadable(problem: MessageUnreadable) -> EnrolmentFault:
    """The fault for a message that cannot be read."""
    return EnrolmentFault(Subcode.MESSAGE_FORMAT, f"The message cannot be read: {problem}.")


def write_fault(
    fault: EnrolmentFault,
    *,
    relates_to: str | None,
    trace_id: str,
    spelling: Spelling = Spelling.STANDARD,
) -> bytes:
    """The envelope of a fault; `trace_id` is the request's id in our log."""
    prefix, name = fault.subcode.value
    body: dict[str, Any] = {
        "s:Fault": {
            "s:Code": {
                "s:Value": "s:Receiver",
                "s:Subcode": {"s:Value": f"{prefix}:{_case(name, spelling)}"},
            },
            "s:Reason": {"s:Text": {"@xml:lang": "en-us", "#text": fault.text}},
        }
    }
    if fault.error is not None:
        body["s:Fault"]["s:Detail"] = {
            "DeviceEnrollmentServiceError": {
                "@xmlns": ENROLLMENT,
                "ErrorType": _case(fault.error.value, spelling),
                "Message": fault.text,
                "TraceId": trace_id,
            }
        }
    if spelling is Spelling.PRINTED:
        body["s:Fault"]["s:Code"]["s:Value"] = "s:receiver"
        body = _lowered(body)
    return write_envelope(_ACTION, body, relates_to=relates_to, activity_id=trace_id)


def _case(name: str, spelling: Spelling) -> str:
    return name.lower() if spelling is Spelling.PRINTED else name


def _lowered(node: Any) -> Any:
    """The same elements under names in lower case; attributes keep theirs."""
    if not isinstance(node, dict):
        return node
    return {name if name[0] in "@#" else name.lower(): _lowered(child) for name, child in node.items()}
