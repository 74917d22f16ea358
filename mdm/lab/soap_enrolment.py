"""The answers of MS-MDE2 as a device reads them: whatever Windows would stumble over is an error that names it.

Windows says only a number when an enrolment fails. Here an answer is read, or it is `Unfit` and says why, or it is a
fault with the server's subcode, error type and text.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from mdm.lab.certificate_request import Digest
from mdm.lab.elements import Unfit, read_elements

if TYPE_CHECKING:
    import httpx2

    from mdm.lab.elements import Element

__all__ = [
    "MEDIA_TYPE",
    "Discovered",
    "Fault",
    "KeyPolicy",
    "read_body",
    "read_discovery",
    "read_document",
    "read_policies",
]

MEDIA_TYPE: Final = "application/soap+xml; charset=utf-8"
_OK: Final = 200
_SERVER_ERROR: Final = 500
"""Under which WCF sends faults; this bridge sends them with 200."""
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_DEFAULT_BITS: Final = 2048
_LONGEST_KEY: Final = 4096
"""Bits; a policy that wants more is a mistake, and such keys take minutes to make."""

_DOCUMENT_TYPE: Final = (
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/DeviceEnrollmentProvisionDoc"
)

# MS-MDE2 4.2.2, in its order.
_RESPONSE: Final = (
    "p:policyID",
    "p:policyFriendlyName",
    "p:nextUpdateHours",
    "p:policiesNotChanged",
    "p:policies",
)
_ATTRIBUTES: Final = (
    "p:commonName?",
    "p:policySchema",
    "p:certificateValidity?",
    "p:permission?",
    "p:privateKeyAttributes",
    "p:revision?",
    "p:supersededPolicies",
    "p:privateKeyFlags",
    "p:subjectNameFlags",
    "p:enrollmentFlags",
    "p:generalFlags",
    "p:hashAlgorithmOIDReference",
    "p:rARequirements",
    "p:keyArchivalAttributes",
    "p:extensions",
    "p:attestation?",
)
_KEY_ATTRIBUTES: Final = (
    "p:minimalKeyLength",
    "p:keySpec",
    "p:keyUsageProperty",
    "p:permissions",
    "p:algorithmOIDReference",
    "p:AttestationFailureBehavior?",
    "p:OperationTimeout?",
    "p:cryptoProviders",
)


class Fault(Exception):  # noqa: N818 - SOAP's own word
    """The answer is a fault."""

    def __init__(self, subcode: str, error_type: str, text: str) -> None:
        """`error_type` is empty where the fault has no detail."""
        super().__init__(text)
        self.subcode = subcode
        self.error_type = error_type
        self.text = text


@dataclass(frozen=True, slots=True)
class Discovered:
    """Where to go on, and how to authenticate."""

    auth_policy: str
    version: str
    policy_url: str | None
    enrolment_url: str
    authentication_url: str | None


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """What kind of key and request the server wants; the default is what Windows does without being told."""

    bits: int = _DEFAULT_BITS
    digest: Digest = Digest.SHA1


def read_body(response: httpx2.Response, action: str, message_id: str) -> Element:
    """The body of an answer with this Action to this message; raises Fault, or Unfit for what is neither."""
    if response.status_code not in {_OK, _SERVER_ERROR}:
        raise Unfit(f"it is HTTP {response.status_code} {response.text[:200].strip()}".rstrip())
    _check_transport(response)
    envelope = read_elements(response.content)
    if envelope.name.lower() != "s:envelope":
        raise Unfit(f"its root is {envelope.name}, and not a SOAP 1.2 envelope")
    fault = _fault(envelope)
    if fault is not None:
        raise fault
    envelope.in_order("s:Header", "s:Body")
    header, body = envelope.children
    if header.value("a:Action") != action:
        raise Unfit(f"its Action is {header.value('a:Action')}, and not {action}")
    if header.value("a:RelatesTo") != message_id:
        raise Unfit(f"it relates to {header.value('a:RelatesTo')}, and not to what was sent")
    if response.status_code != _OK:
        raise Unfit(f"it comes with HTTP {response.status_code} and holds no fault")
    return body


def _check_transport(response: httpx2.Response) -> None:
    headers = response.headers
    if "transfer-encoding" in headers:
        raise Unfit(f"it comes in pieces (Transfer-Encoding: {headers['transfer-encoding']})")
    if headers.get("content-length") != str(len(response.content)):
        raise Unfit("its Content-Length is missing or wrong")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE.partition(";")[0]:
        raise Unfit(f"its Content-Type is {media_type or 'missing'}, and not that of SOAP 1.2")


def _fault(envelope: Element) -> Fault | None:
    """The fault, in the spelling of the standard or in the lower case that MS-MDE2 prints."""
    named = {element.name.lower(): element for element in envelope.walk()}
    if "s:fault" not in named:
        return None
    subcodes = [
        value.text.strip()
        for element in envelope.walk()
        if element.name.lower() == "s:subcode"
        for value in element.children
    ]
    texts = {name: element.text.strip() for name, element in named.items()}
    return Fault(
        subcodes[0].partition(":")[2] if subcodes else "no subcode",
        texts.get("e:errortype", ""),
        texts.get("s:text", "") or "the server gives no reason",
    )


def read_discovery(body: Element, offered: tuple[str, ...], requested: str) -> Discovered:
    """Read DiscoverResponse; its members may stand in any order. Raises Unfit."""
    result = body.descend("d:DiscoverResponse", "d:DiscoverResult")
    policy = result.value("d:AuthPolicy")
    if policy not in offered:
        raise Unfit(f"AuthPolicy is {policy}, which was not offered")
    version = result.value("d:EnrollmentVersion")
    if not _version(version) <= _version(requested):
        raise Unfit(f"EnrollmentVersion is {version}, and {requested} is the newest this device speaks")
    found = Discovered(
        policy,
        version,
        _url(result, "d:EnrollmentPolicyServiceUrl"),
        _url(result, "d:EnrollmentServiceUrl") or "",
        _url(result, "d:AuthenticationServiceUrl"),
    )
    if not found.enrolment_url:
        raise Unfit("EnrollmentServiceUrl is missing")
    if found.policy_url is not None and _host(found.policy_url) != _host(found.enrolment_url):
        raise Unfit("its policy service and its enrolment service are on two hosts")
    if policy == "Federated" and found.authentication_url is None:
        raise Unfit("AuthPolicy is Federated, and AuthenticationServiceUrl is missing")
    return found


def _version(text: str) -> tuple[int, ...]:
    numbers = text.split(".")
    if len(numbers) != 2 or not all(each.isascii() and each.isdigit() for each in numbers):  # noqa: PLR2004
        raise Unfit(f"EnrollmentVersion is {text}, and no version")
    return tuple(map(int, numbers))


def _url(result: Element, name: str) -> str | None:
    if not result.all(name):
        return None
    url = result.value(name)
    if urlsplit(url).scheme != "https" or not urlsplit(url).hostname:
        raise Unfit(f"{name.partition(':')[2]} is {url}, and Windows goes to https only")
    return url


def _host(url: str) -> str | None:
    return urlsplit(url).hostname


def read_policies(body: Element) -> KeyPolicy:
    """Read GetPoliciesResponse, whose elements have one order; raises Unfit."""
    root = body.only("p:GetPoliciesResponse")
    root.in_order("p:response", "p:cAs", "p:oIDs")
    root.only("p:response").in_order(*_RESPONSE)
    policy = root.descend("p:response", "p:policies", "p:policy")
    policy.in_order("p:policyOIDReference", "p:cAs", "p:attributes")
    attributes = policy.only("p:attributes")
    attributes.in_order(*_ATTRIBUTES)
    key = attributes.only("p:privateKeyAttributes")
    key.in_order(*_KEY_ATTRIBUTES)
    bits = key.value("p:minimalKeyLength")
    if not (bits.isascii() and bits.isdigit() and int(bits[:6]) <= _LONGEST_KEY):
        raise Unfit(f"minimalKeyLength is {bits}")
    reference = attributes.only("p:hashAlgorithmOIDReference").text.strip()
    values = [
        each.value("p:value")
        for each in root.only("p:oIDs").all("p:oID")
        if each.value("p:oIDReferenceID") == reference
    ]
    return KeyPolicy(max(int(bits), _DEFAULT_BITS), Digest.SHA256 if _SHA256 in values else Digest.SHA1)


def read_document(body: Element) -> bytes:
    """The provisioning document in RequestSecurityTokenResponseCollection; raises Unfit."""
    response = body.descend("t:RequestSecurityTokenResponseCollection", "t:RequestSecurityTokenResponse")
    response.in_order("t:TokenType", "e:DispositionMessage", "t:RequestedSecurityToken", "e:RequestID")
    token = response.descend("t:RequestedSecurityToken", "o:BinarySecurityToken")
    if token.attributes.get("ValueType") != _DOCUMENT_TYPE:
        raise Unfit(f"its token is of the type {token.attributes.get('ValueType', 'nothing')}")
    try:
        return base64.b64decode(token.text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("its token is not base64") from None
