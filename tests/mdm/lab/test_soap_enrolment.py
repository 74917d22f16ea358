"""Answers as a strict device reads them: the bridge's own pass, and each thing Windows would stumble over is named."""

from __future__ import annotations

import base64
from datetime import timedelta

import httpx2
import pytest

from mdm.enrolment.faults import EnrolmentFault, ErrorType, Spelling, Subcode, write_fault
from mdm.enrolment.policy import write_get_policies_response
from mdm.lab.certificate_request import Digest
from mdm.lab.elements import Element, Unfit, read_elements
from mdm.lab.mde2 import DISCOVER, NAMESPACES
from mdm.lab.soap_enrolment import (
    MEDIA_TYPE,
    Fault,
    read_body,
    read_discovery,
    read_document,
    read_policies,
)

ACTION = f"{DISCOVER}Response"
SHA256 = b"2.16.840.1.101.3.4.2.1"
OFFERED = ("OnPremise", "Federated")


def envelope(body: str = "<x/>", action: str = ACTION, relates_to: str = "urn:1") -> str:
    """An answer."""
    return (
        f'<s:Envelope xmlns:s="{NAMESPACES["s"]}" xmlns:a="{NAMESPACES["a"]}"><s:Header><a:Action>{action}</a:Action>'
        f"<a:RelatesTo>{relates_to}</a:RelatesTo></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


def response(content: str | bytes, status: int = 200, **headers: str) -> httpx2.Response:
    """An answer as it comes from the network."""
    octets = content.encode() if isinstance(content, str) else content
    own = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(octets))}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(status, headers={**own, **given}, content=octets)


def body_of(content: str | bytes) -> Element:
    """The body of an envelope."""
    return read_elements(content.encode() if isinstance(content, str) else content).only("s:Body")


def test_a_good_answer() -> None:
    """Its body."""
    assert read_body(response(envelope()), ACTION, "urn:1").children[0].name == "x"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (response("no", 404), "HTTP 404 no"),
        (response(envelope(), 500), "HTTP 500 and holds no fault"),
        (response(envelope(), Transfer_Encoding="chunked"), "comes in pieces"),
        (response(envelope(), Content_Length="1"), "Content-Length is missing or wrong"),
        (response(envelope(), Content_Type="text/xml"), "Content-Type is text/xml"),
        (response("<a/>"), "root is a, and not"),
        (
            response(envelope().replace(NAMESPACES["s"], "http://schemas.xmlsoap.org/soap/envelope/")),
            "root is other:",
        ),
        (response(envelope(action="urn:x")), "its Action is urn:x"),
        (response(envelope(relates_to="urn:2")), "it relates to urn:2"),
        (
            response(envelope().replace("<s:Body><x/></s:Body>", "")),
            "nothing more stands where s:Body has to",
        ),
    ],
)
def test_what_windows_would_not_take(answer: httpx2.Response, problem: str) -> None:
    """Each is named."""
    with pytest.raises(Unfit, match=problem):
        read_body(answer, ACTION, "urn:1")


@pytest.mark.parametrize("spelling", Spelling)
@pytest.mark.parametrize("status", [200, 500])
def test_a_fault_in_either_spelling(spelling: Spelling, status: int) -> None:
    """Subcode, error type and the server's words."""
    refused = EnrolmentFault(
        Subcode.AUTHORIZATION, "The user has two devices.", error=ErrorType.DEVICE_CAP_REACHED
    )
    answer = write_fault(refused, relates_to="urn:1", trace_id="t", spelling=spelling)
    with pytest.raises(Fault, match="The user has two devices") as it:
        read_body(response(answer, status), ACTION, "urn:1")
    assert (it.value.subcode.lower(), it.value.error_type.lower()) == ("authorization", "devicecapreached")


def test_a_fault_that_says_little() -> None:
    """Nothing but its element."""
    with pytest.raises(Fault, match="no reason") as it:
        read_body(response(envelope("<s:Fault/>")), ACTION, "urn:1")
    assert (it.value.subcode, it.value.error_type) == ("no subcode", "")


def discovery(**members: str) -> Element:
    """DiscoverResponse; an empty member is left out."""
    said = {
        "AuthPolicy": "OnPremise",
        "EnrollmentVersion": "4.0",
        "EnrollmentPolicyServiceUrl": "https://mdm.test/p",
        "EnrollmentServiceUrl": "https://mdm.test/e",
        **members,
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in said.items() if value)
    return body_of(
        envelope(
            f'<DiscoverResponse xmlns="{NAMESPACES["d"]}"><DiscoverResult>{inner}</DiscoverResult></DiscoverResponse>'
        )
    )


def test_discovery() -> None:
    """Where to go on; without a policy service Windows asks for no policy."""
    found = read_discovery(discovery(), OFFERED, "7.0")
    assert (found.auth_policy, found.version, found.policy_url) == ("OnPremise", "4.0", "https://mdm.test/p")
    assert (found.enrolment_url, found.authentication_url) == ("https://mdm.test/e", None)
    assert read_discovery(discovery(EnrollmentPolicyServiceUrl=""), OFFERED, "7.0").policy_url is None


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"AuthPolicy": "Certificate"}, "AuthPolicy is Certificate, which was not offered"),
        ({"EnrollmentVersion": "8.0"}, "EnrollmentVersion is 8.0, and 7.0 is the newest"),
        ({"EnrollmentVersion": "new"}, "EnrollmentVersion is new, and no version"),
        ({"EnrollmentServiceUrl": ""}, "EnrollmentServiceUrl is missing"),
        ({"EnrollmentServiceUrl": "http://mdm.test/e"}, "https only"),
        ({"EnrollmentServiceUrl": "https://other.test/e"}, "on two hosts"),
        ({"AuthPolicy": "Federated"}, "AuthenticationServiceUrl is missing"),
    ],
)
def test_discovery_that_leads_nowhere(members: dict[str, str], problem: str) -> None:
    """Each is named."""
    with pytest.raises(Unfit, match=problem):
        read_discovery(discovery(**members), OFFERED, "7.0")


POLICIES = write_get_policies_response(
    relates_to="urn:1", validity=timedelta(days=365), renewal=timedelta(days=42)
)


@pytest.mark.parametrize(
    ("changed", "bits", "digest"),
    [
        (POLICIES, 2048, Digest.SHA256),
        (POLICIES.replace(b">2048<", b">3072<"), 3072, Digest.SHA256),
        (POLICIES.replace(b">2048<", b">1024<"), 2048, Digest.SHA256),
        (POLICIES.replace(SHA256, b"1.3.14.3.2.29"), 2048, Digest.SHA1),
        (POLICIES.replace(b"Reference>0</hash", b"Reference>7</hash"), 2048, Digest.SHA1),
    ],
)
def test_the_policy_is_obeyed(changed: bytes, bits: int, digest: Digest) -> None:
    """The key's length, never under 2048; the hash that the reference names, or else SHA-1 as the captured client."""
    policy = read_policies(body_of(changed))
    assert (policy.bits, policy.digest) == (bits, digest)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b">2048<", b">many<", "minimalKeyLength is many"),
        (b">2048<", b">99999<", "minimalKeyLength is 99999"),
        (b"supersededPolicies", b"generalFlagz", "p:generalFlagz stands where p:supersededPolicies"),
        (b"policyOIDReference", b"policyReference", "p:policyReference stands where"),
        (b"keySpec", b"keyspec", "p:keyspec stands where p:keySpec has to"),
    ],
)
def test_a_policy_out_of_order(old: bytes, new: bytes, problem: str) -> None:
    """Windows reads the elements in order, and so each that is not in its place is named."""
    assert old in POLICIES
    with pytest.raises(Unfit, match=problem):
        read_policies(body_of(POLICIES.replace(old, new)))


def token(encoded: str, *, kind: str = "DeviceEnrollmentProvisionDoc", disposition: bool = True) -> Element:
    """RequestSecurityTokenResponseCollection."""
    said = f'<DispositionMessage xmlns="{NAMESPACES["e"]}"/>' if disposition else ""
    uri = f"http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/{kind}"
    return body_of(
        envelope(
            f'<RequestSecurityTokenResponseCollection xmlns="{NAMESPACES["t"]}"><RequestSecurityTokenResponse>'
            f'<TokenType>x</TokenType>{said}<RequestedSecurityToken><BinarySecurityToken xmlns="{NAMESPACES["o"]}" '
            f'ValueType="{uri}">{encoded}</BinarySecurityToken></RequestedSecurityToken>'
            f'<RequestID xmlns="{NAMESPACES["e"]}">0</RequestID></RequestSecurityTokenResponse>'
            "</RequestSecurityTokenResponseCollection>"
        )
    )


def test_the_document_in_its_token() -> None:
    """The octets, and an error for another token, another order, and what is not base64."""
    assert read_document(token(base64.b64encode(b"document").decode())) == b"document"
    for unfit, problem in (
        (token("ZG9j", kind="Other"), "of the type .*Other"),
        (token("ZG9j", disposition=False), "where e:DispositionMessage has to"),
        (token("ZG9"), "not base64"),
    ):
        with pytest.raises(Unfit, match=problem):
            read_document(unfit)
