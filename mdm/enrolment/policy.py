"""GetPolicies: what kind of key and request the device is to make (MS-XCEP as MS-MDE2 4.2 uses it).

The order of elements is that of MS-MDE2 4.2.2, with every element that is nil: Windows reads them in order. The hash
decides how the request will be signed: SHA-256, which documents before 2018 did not ask for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mdm.enrolment.envelope import POLICY, MessageUnreadable, write_envelope

if TYPE_CHECKING:
    from datetime import timedelta

    from mdm.enrolment.envelope import Envelope

__all__ = ["GET_POLICIES", "read_get_policies", "write_get_policies_response"]

GET_POLICIES: Final = f"{POLICY}/IPolicy/GetPolicies"
_RESPONSE: Final = f"{GET_POLICIES}Response"
_NIL: Final = {"@xsi:nil": "true"}
_KEY_BITS: Final = 2048
_PROVIDERS: Final = ("Microsoft Platform Crypto Provider", "Microsoft Software Key Storage Provider")
"""The TPM first; what has none makes its key in software."""


def read_get_policies(envelope: Envelope) -> None:
    """Hold the message against its shape; its content changes nothing. Raises MessageUnreadable."""
    if "p:GetPolicies" not in envelope.body:
        raise MessageUnreadable("its body is not GetPolicies")


def write_get_policies_response(*, relates_to: str | None, validity: timedelta, renewal: timedelta) -> bytes:
    """GetPoliciesResponse with the one policy there is: RSA of 2048 bits, a request signed with SHA-256.

    The elements for attestation of EnrollmentVersion 5.0 and 6.0 are optional (MS-MDE2 3.3.4.1.1.2). They are left
    out, because GetPolicies does not say the version: they could reach a device that does not know them. Without
    them a device that attests its key tries for 100 seconds at most, and enrols whatever comes of it.
    """
    attributes: dict[str, Any] = {
        "commonName": "CSPBridge",
        "policySchema": 3,
        "certificateValidity": {
            "validityPeriodSeconds": int(validity.total_seconds()),
            "renewalPeriodSeconds": int(renewal.total_seconds()),
        },
        "permission": {"enroll": "true", "autoEnroll": "false"},
        "privateKeyAttributes": {
            "minimalKeyLength": _KEY_BITS,
            "keySpec": _NIL,
            "keyUsageProperty": _NIL,
            "permissions": _NIL,
            "algorithmOIDReference": _NIL,
            "cryptoProviders": {"provider": list(_PROVIDERS)},
        },
        "revision": {"majorRevision": 101, "minorRevision": 0},
        "supersededPolicies": _NIL,
        "privateKeyFlags": _NIL,
        "subjectNameFlags": _NIL,
        "enrollmentFlags": _NIL,
        "generalFlags": _NIL,
        "hashAlgorithmOIDReference": 0,
        "rARequirements": _NIL,
        "keyArchivalAttributes": _NIL,
        "extensions": _NIL,
    }
    body = {
        "GetPoliciesResponse": {
            "@xmlns": POLICY,
            "response": {
                "policyID": None,
                "policyFriendlyName": _NIL,
                "nextUpdateHours": _NIL,
                "policiesNotChanged": _NIL,
                "policies": {"policy": {"policyOIDReference": 0, "cAs": _NIL, "attributes": attributes}},
            },
            "cAs": _NIL,
            "oIDs": {
                "oID": {
                    "value": "2.16.840.1.101.3.4.2.1",
                    "group": 4,
                    "oIDReferenceID": 0,
                    "defaultName": "szOID_NIST_sha256",
                }
            },
        }
    }
    return write_envelope(_RESPONSE, body, relates_to=relates_to)
