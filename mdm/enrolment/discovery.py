"""Discover: a device says who it is about to be enrolled by, and learns where to go on (MS-MDE2 3.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mdm.enrolment.envelope import (
    DISCOVERY,
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
    from mdm.enrolment.envelope import Envelope

__all__ = ["DISCOVER", "Discover", "read_discover", "write_discover_response"]

DISCOVER: Final = f"{DISCOVERY}/IDiscoveryService/Discover"
_RESPONSE: Final = f"{DISCOVER}Response"

ON_PREMISE: Final = "OnPremise"
FEDERATED: Final = "Federated"
"""What a device offers that can show a page to sign in."""
CERTIFICATE: Final = "Certificate"
"""What a device offers that has a certificate of ours: it renews that. It enrols nobody."""
_OLDEST: Final = (3, 0)
"""Windows 10; what came before could not use the certificate as we do."""
_NEWEST: Final = (7, 0)
_VERSION: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})")


@dataclass(frozen=True, slots=True)
class Discover:
    """What a device says first."""

    email: str
    """As typed: `user@domain`, `domain\\user`, or nothing."""
    version: tuple[int, int]
    """RequestVersion."""
    auth_policies: tuple[str, ...]
    device_type: str | None
    application_version: str | None
    os_edition: str | None

    @property
    def enrolment_version(self) -> str:
        """The EnrollmentVersion to answer: the device's, but no newer than we speak."""
        major, minor = min(self.version, _NEWEST)
        return f"{major}.{minor}"


def read_discover(envelope: Envelope) -> Discover:
    """Read Discover; raises MessageUnreadable. The members may stand in any order (xsd:all)."""
    request = only(only(envelope.body, "d:Discover"), "d:request")
    if not isinstance(request, dict):
        raise MessageUnreadable("Discover has no request in it")
    said = required(request, "d:RequestVersion")
    version = _VERSION.fullmatch(said)
    if version is None:
        raise MessageUnreadable(
            f"RequestVersion is {said[:40]!r}, and not two numbers with a full stop between"
        )
    policies = (value_of(each) for each in children(only(request, "d:AuthPolicies"), "d:AuthPolicy"))
    return Discover(
        email=text(request, "d:EmailAddress") or "",
        version=(int(version[1]), int(version[2])),
        auth_policies=tuple(each for each in policies if each is not None),
        device_type=text(request, "d:DeviceType"),
        application_version=text(request, "d:ApplicationVersion"),
        os_edition=text(request, "d:OSEdition"),
    )


def write_discover_response(
    discover: Discover,
    *,
    relates_to: str | None,
    activity_id: str,
    policy_url: str,
    enrolment_url: str,
    sign_in_url: str | None = None,
) -> bytes:
    """DiscoverResponse with one of the ways to authenticate that the device has offered.

    Where there is a page to sign in, at `sign_in_url`, whoever can show a page is sent there.
    Raises EnrolmentFault where it offered none that this bridge has, or is older than Windows 10.
    """
    if discover.version < _OLDEST:
        raise EnrolmentFault(
            Subcode.ENROLLMENT_SERVER,
            "This Windows is too old to be managed here: Windows 10 or newer is needed.",
            error=ErrorType.NOT_SUPPORTED,
        )
    taken = (ON_PREMISE, CERTIFICATE) if sign_in_url is None else (FEDERATED, ON_PREMISE, CERTIFICATE)
    policy = next((each for each in taken if each in discover.auth_policies), None)
    if policy is None:
        offered = ", ".join(discover.auth_policies)[:100] or "nothing"
        ours = "user name and password (OnPremise) only"
        if sign_in_url is not None:
            ours = "its sign-in page (Federated) or user name and password (OnPremise)"
        raise EnrolmentFault(
            Subcode.ENROLLMENT_SERVER,
            f"The device offers to authenticate by {offered}, and this server takes {ours}. "
            "Enrol by Settings, Access work or school, Enrol only in device management.",
            error=ErrorType.NOT_SUPPORTED,
        )
    result: dict[str, Any] = {
        "AuthPolicy": policy,
        "EnrollmentVersion": discover.enrolment_version,
        "EnrollmentPolicyServiceUrl": policy_url,
        "EnrollmentServiceUrl": enrolment_url,
    }
    if policy == FEDERATED:
        result["AuthenticationServiceUrl"] = sign_in_url
    body = {"DiscoverResponse": {"@xmlns": DISCOVERY, "DiscoverResult": result}}
    return write_envelope(_RESPONSE, body, relates_to=relates_to, activity_id=activity_id)
