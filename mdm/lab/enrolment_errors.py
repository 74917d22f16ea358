"""Why a virtual device has not enrolled, or not renewed.

EnrolmentFailed
  ServerUnreachable
  AnswerUnfit
  EnrolmentRefused
  CannotRenew
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mdm.lab.soap_enrolment import Fault

__all__ = ["AnswerUnfit", "CannotRenew", "EnrolmentFailed", "EnrolmentRefused", "ServerUnreachable"]


_NUMBERS: Final = {
    "messageformat": "80180001",
    "authentication": "80180002",
    "authorization": "80180003",
    "certificaterequest": "80180004",
    "enrollmentserver": "80180005",
    "internalservicefault": "80180006",
    "invalidsecurity": "80180007",
    "devicecapreached": "80180013",
    "devicenotsupported": "80180014",
    "notsupported": "80180015",
    "noteligibletorenew": "80180016",
    "inmaintenance": "80180017",
    "userlicense": "80180018",
    "invalidenrollmentdata": "80180019",
}
"""What Windows shows for a fault, whose text it keeps to itself (MS-MDE2 2.2.9)."""


class EnrolmentFailed(Exception):  # noqa: N818 - named for the state of things
    """A device has not enrolled, or not renewed; the text says why, as a sentence."""


class ServerUnreachable(EnrolmentFailed):
    """No connection, no TLS, or no answer."""


class AnswerUnfit(EnrolmentFailed):
    """An answer that Windows would not take."""


class CannotRenew(EnrolmentFailed):
    """The device has nothing to renew, or has let the time pass."""


class EnrolmentRefused(EnrolmentFailed):
    """The server's fault, as it told it."""

    def __init__(self, step: str, fault: Fault) -> None:
        """`step` is what was refused."""
        kind = f"{fault.subcode}, {fault.error_type}" if fault.error_type else fault.subcode
        number = _NUMBERS.get(fault.error_type.lower()) or _NUMBERS.get(fault.subcode.lower())
        shown = f"; Windows shows 0x{number}" if number else ""
        super().__init__(f"{step} is refused ({kind}{shown}): {fault.text}")
        self.subcode = fault.subcode
        self.error_type = fault.error_type
        self.text = fault.text
