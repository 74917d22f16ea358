"""The sample envelopes of MS-MDE2 and Microsoft's pages: requests are read, answers have the samples' shape."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lxml import etree

from mdm.ca.csr import read_csr
from mdm.ca.renewal import RenewalPeriod
from mdm.devices.registry import Credentials, ServerCredentials
from mdm.enrolment.discovery import DISCOVER, Discover, read_discover, write_discover_response
from mdm.enrolment.envelope import BinaryToken, UsernameToken, read_envelope
from mdm.enrolment.faults import EnrolmentFault, ErrorType, Spelling, Subcode, write_fault
from mdm.enrolment.policy import GET_POLICIES, read_get_policies, write_get_policies_response
from mdm.enrolment.poll_schedule import PollSchedule
from mdm.enrolment.provisioning import Account, Certificate, enrolment_document, renewal_document
from mdm.enrolment.renewal import by_certificate
from mdm.enrolment.wstep import RST, RequestKind, read_token_request, write_token_response
from mdm.lab.mde2 import NAMESPACES

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "mde2"

pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the sample messages are not beside this checkout"
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PLACEHOLDER = re.compile(rb"(<(?:\w+:)?BinarySecurityToken\s[^>]*PKCS(?:10|7)\"[^>]*>)[^<]*(?=</)", re.DOTALL)


def sample(name: str) -> bytes:
    """A sample's bytes."""
    return (SHARED / name).read_bytes()


def names(pattern: str) -> list[str]:
    """Samples by pattern; those that Microsoft prints in a form that is no XML end in .txt."""
    return sorted(path.name for path in SHARED.glob(pattern) if path.suffix == ".xml")


def filled(name: str) -> bytes:
    """A sample whose certificate request is more than the words "insert here"."""
    return PLACEHOLDER.sub(rb"\1QUJD", sample(name))


def skeleton(node: etree._Element) -> object:
    """Names and order of elements and their attributes, without any text."""
    return (
        node.tag,
        sorted(name for name in node.attrib if name != "CorrelationId"),
        [skeleton(child) for child in node if isinstance(child.tag, str)],
    )


def bodies(ours: bytes, theirs: bytes) -> tuple[object, object]:
    """The skeletons of the first element in each body, whichever SOAP version the sample prints."""
    found = [etree.fromstring(data).xpath('//*[local-name() = "Body"]/*[1]')[0] for data in (ours, theirs)]
    return skeleton(found[0]), skeleton(found[1])


@pytest.mark.parametrize("name", names("msmde2-4.1.1*") + names("msdocs-*-1-env-Discover.xml"))
def test_discover(name: str) -> None:
    """Each is read, with its version and the way to authenticate it offers."""
    found = read_discover(read_envelope(sample(name), DISCOVER))
    assert found.version >= (3, 0)
    # One page prints the policy without its element, which no client does.
    misprinted = name == "msdocs-certificate-authentication-device-enrollment-1-env-Discover.xml"
    assert len(found.auth_policies) == (0 if misprinted else 1)
    assert found.email


@pytest.mark.parametrize("name", names("msmde2-4.1.2*") + names("msdocs-*-2-env-DiscoverResponse.xml"))
def test_discover_response(name: str) -> None:
    """The same elements in the same order, for each way to authenticate."""
    policy = etree.fromstring(sample(name)).xpath('string(//*[local-name() = "AuthPolicy"])').strip()
    ours = write_discover_response(
        Discover("", (4, 0), (policy,), None, None, None),
        relates_to="x",
        activity_id="y",
        policy_url="https://x",
        enrolment_url="https://x",
        sign_in_url="https://x",
    )
    found, wanted = bodies(ours, sample(name))
    assert found == wanted


@pytest.mark.parametrize("name", names("msmde2-4.2.1*") + names("msdocs-*-3-env-GetPolicies.xml"))
def test_get_policies(name: str) -> None:
    """Each is read, with the security token of its kind."""
    envelope = read_envelope(sample(name), GET_POLICIES)
    read_get_policies(envelope)
    kind = (
        UsernameToken if "on-?premise" in name or "onpremise" in name or "on-premise" in name else BinaryToken
    )
    assert isinstance(envelope.token, kind)


@pytest.mark.parametrize(
    "name", names("msmde2-4.2.1*-certificate.xml") + names("msmde2-4.2.1*-federated.xml")
)
def test_get_policies_by_certificate(name: str) -> None:
    """It is the certificate that says who asks where the message says so, and not in a federated one."""
    token = read_envelope(sample(name), GET_POLICIES).token
    assert by_certificate(token) is name.endswith("-certificate.xml")


@pytest.mark.parametrize("name", names("msmde2-4.2.[23]-getpolicies-response*"))
def test_get_policies_response(name: str) -> None:
    """The elements of MS-MDE2 4.2, without those for attestation, which 3.3.4.1.1.2 leaves to the server."""
    theirs = re.sub(
        rb"<(AttestationFailureBehavior|OperationTimeout|attestation)>.*?</\1>",
        b"",
        sample(name),
        flags=re.DOTALL,
    )
    ours = write_get_policies_response(
        relates_to="x", validity=timedelta(days=365), renewal=timedelta(days=42)
    )
    found, wanted = bodies(ours, theirs)
    assert found == wanted


@pytest.mark.parametrize("name", names("msdocs-*-4-env-GetPoliciesResponse.xml"))
def test_get_policies_response_of_the_pages(name: str) -> None:
    """The pages print less than the specification: what they have is in ours, in the same order."""
    ours, theirs = (
        [each.tag for each in etree.fromstring(data).iter("{*}*")]
        for data in (
            write_get_policies_response(
                relates_to="x", validity=timedelta(days=365), renewal=timedelta(days=42)
            ),
            sample(name),
        )
    )
    start = f"{{{NAMESPACES['p']}}}GetPoliciesResponse"
    rest = iter(ours[ours.index(start) :])
    assert all(tag in rest for tag in theirs[theirs.index(start) :])


@pytest.mark.parametrize(
    "name", names("msmde2-4.3.1*") + names("msdocs-*-5-env-wstep.xml") + names("fleet-windows-1-wstep.xml")
)
def test_request_security_token(name: str) -> None:
    """Each is read as a request to issue."""
    request = read_token_request(read_envelope(filled(name), RST))
    assert request.kind is RequestKind.ISSUE
    assert request.claims.os_version


def test_a_certificate_request_inside() -> None:
    """The one sample that carries a real one: base64 with line breaks, and its signature holds."""
    request = read_token_request(read_envelope(sample("fleet-windows-1-wstep.xml"), RST))
    assert request.request == sample("fleet-windows-1-pkcs10.der")
    assert read_csr(request.request).public_key_der


def test_the_renewal_request() -> None:
    """A PKCS#7 under the value type of Microsoft's page, with an empty password."""
    envelope = read_envelope(filled("msdocs-certificate-renewal-windows-mdm-1-env-wstep.xml"), RST)
    assert envelope.token == UsernameToken("user@contoso.com", "")
    assert read_token_request(envelope).kind is RequestKind.RENEW


@pytest.mark.parametrize("name", names("msmde2-4.3.2*") + names("msdocs-*-6-env-wstep.xml"))
def test_token_response(name: str) -> None:
    """The same elements in the same order, in SOAP 1.2 although the samples print 1.1."""
    ours = write_token_response(b"<x/>", relates_to="x", now=NOW)
    if b"DispositionMessage" not in sample(name):  # one page leaves it out
        ours = re.sub(rb"<DispositionMessage[^>]*>", b"", ours)
    found, wanted = bodies(ours, sample(name))
    assert found == wanted
    assert etree.fromstring(ours).tag == "{http://www.w3.org/2003/05/soap-envelope}Envelope"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (
            "msmde2-2.2.10-fault-authorization.xml",
            EnrolmentFault(Subcode.AUTHORIZATION, "This User is not authorized to enroll"),
        ),
        (
            "msmde2-2.2.10-fault-devicecapreached.xml",
            EnrolmentFault(Subcode.AUTHORIZATION, "device cap reached", error=ErrorType.DEVICE_CAP_REACHED),
        ),
        (
            "msdocs-mobile-device-enrollment-1-env.xml",
            EnrolmentFault(Subcode.AUTHORIZATION, "This User is not authorized to enroll"),
        ),
        (
            "msdocs-mobile-device-enrollment-2-env.xml",
            EnrolmentFault(Subcode.AUTHORIZATION, "device cap reached", error=ErrorType.DEVICE_CAP_REACHED),
        ),
    ],
)
@pytest.mark.parametrize("spelling", Spelling)
def test_faults(name: str, fault: EnrolmentFault, spelling: Spelling) -> None:
    """In the printed spelling exactly the sample's fault; in the standard one the same but for case."""
    trace = "2493ee37-beeb-4cb9-833c-cadde9067645"
    ours = write_fault(fault, relates_to="x", trace_id=trace, spelling=spelling)
    found, wanted = (
        etree.fromstring(data).xpath('//*[local-name() = "body" or local-name() = "Body"]/*')[0]
        for data in (ours, sample(name))
    )
    flat = [
        [(etree.QName(node).localname, (node.text or "").strip()) for node in each.iter()]
        for each in (found, wanted)
    ]
    if spelling is Spelling.STANDARD:
        assert flat[0] != flat[1]
        flat = [[(tag.lower(), text.lower()) for tag, text in each] for each in flat]
    assert flat[0] == flat[1]


def parms(document: etree._Element, *types: str) -> set[str]:
    """Names of the parms below a path of characteristics."""
    where = "".join(f'/characteristic[@type="{each}"]' for each in types)
    return {parm.get("name") for parm in document.xpath(f"/wap-provisioningdoc{where}/parm")}


def test_the_provisioning_document() -> None:
    """Everything that the on-premise sample sets, under the same names."""
    text = sample("msdocs-on-premise-authentication-device-enrollment-7-wapdoc.txt").decode(
        "utf-8", "replace"
    )
    theirs = etree.fromstring(re.sub(r"<!.*?-->", "", text, flags=re.DOTALL))
    certificate = Certificate(b"x", "AB")
    credentials = Credentials(
        "syncml:auth-md5",
        "u",
        "p",
        "bg==",
        each_message=True,
        server=ServerCredentials("x", "u", "p", "bg=="),
    )
    ours = etree.fromstring(
        enrolment_document(
            root=certificate,
            intermediate=None,
            client=certificate,
            subject="CN=x",
            user_store=True,
            account=Account("https://x/omadm", "TestMDMServer", "x", credentials, "u", "d", "i"),
            poll=PollSchedule(),
            renewal=RenewalPeriod(42, 4),
        )
    )
    for path in (
        ("CertificateStore", "My", "WSTEP", "Renew"),
        ("APPLICATION",),
        ("APPLICATION", "APPAUTH"),
        ("DMClient", "Provider", "TestMDMServer"),
        ("DMClient", "Provider", "TestMDMServer", "Poll"),
    ):
        assert parms(theirs, *path)
        assert parms(ours, *path) >= parms(theirs, *path), path
    sides = [
        [each.get("type") for each in document.xpath('//characteristic[@type="User"]/characteristic')][1:]
        for document in (ours, theirs)
    ]
    assert sides == [["PrivateKeyContainer"]] * 2


@pytest.mark.parametrize("replaced", [False, True])
def test_the_renewal_document(replaced: bool) -> None:  # noqa: FBT001
    """The sample's; with the root, as there, only where the device does not have it."""
    theirs = etree.fromstring(sample("msdocs-certificate-renewal-windows-mdm-2-wapdoc.xml"))
    if not replaced:
        (root,) = theirs.xpath('//characteristic[@type="Root"]')
        root.getparent().remove(root)
    ours = renewal_document(
        client=Certificate(b"x", "AB"),
        user_store=True,
        provider_id="TestMDMServer",
        authority=(Certificate(b"y", "CD"), None) if replaced else None,
    )
    thumbprints = {"AB", "CD", "EncodedClientCertHashInsertedHere", "EncodedRootCertHashInsertedHere "}
    found, wanted = (
        [
            (
                node.tag,
                "thumbprint" if node.get("type") in thumbprints else node.get("type") or node.get("name"),
            )
            for node in document.iter("characteristic", "parm")
        ]
        for document in (etree.fromstring(ours), theirs)
    )
    assert found == wanted


def test_no_sample_is_forgotten() -> None:
    """Each sample that is XML is held against the code by a test of this file."""
    source = Path(__file__).read_text(encoding="utf-8")
    patterns = re.findall(r'"((?:ms|fleet)[^"]*)"', source)
    used = {path.name for pattern in patterns for path in SHARED.glob(pattern)}
    assert {path.name for path in SHARED.glob("*.xml")} <= used
