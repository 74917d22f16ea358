"""The provisioning document as a strict device reads it: one good one, and what becomes of it with one thing wrong."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mdm.ca.certificates import build_client, build_intermediate, build_root
from mdm.lab.elements import Unfit
from mdm.lab.provisioning_document import finds, read_provisioning, read_renewal

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=365)


class Authority:
    """A root, an intermediate, and a device's certificate."""

    def __init__(self) -> None:
        """Make the keys, of curves because those are made at once."""
        root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = build_root(root_key, "Root", intermediates=1, now=NOW, not_after=LATER)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.middle = build_intermediate(
            self.key, "Middle", issuer=self.root, issuer_key=root_key, now=NOW, not_after=LATER
        )

    def client(self, key: rsa.RSAPrivateKey, name: str = "dev_1") -> x509.Certificate:
        """A device's certificate."""
        return build_client(
            key.public_key(),
            name,
            serial=7,
            issuer=self.middle,
            issuer_key=self.key,
            now=NOW,
            not_after=NOW + timedelta(days=30),
        )


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    """A device's key."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Who issues."""
    return Authority()


@pytest.fixture(scope="module")
def certificate(authority: Authority, key: rsa.RSAPrivateKey) -> x509.Certificate:
    """The device's certificate."""
    return authority.client(key)


def stored(certificate: x509.Certificate, inside: str = "") -> str:
    """A certificate under its thumbprint."""
    der = certificate.public_bytes(Encoding.DER)
    return (
        f'<characteristic type="{hashlib.sha1(der, usedforsecurity=False).hexdigest().upper()}"><parm name="EncodedCertificate" '
        f'value="{base64.b64encode(der).decode()}"/>{inside}</characteristic>'
    )


def branch(path: str, inner: str) -> str:
    """Characteristics around something."""
    names = path.split("/")
    return (
        "".join(f'<characteristic type="{name}">' for name in names)
        + inner
        + "</characteristic>" * len(names)
    )


def parm(name: str, value: str, datatype: str = "") -> str:
    """One parm."""
    typed = f' datatype="{datatype}"' if datatype else ""
    return f'<parm name="{name}" value="{value}"{typed}/>'


PRIVATE_KEY = '<characteristic type="PrivateKeyContainer"/>'
RENEW = (
    parm("ROBOSupport", "true", "boolean")
    + parm("RenewPeriod", "60", "integer")
    + parm("RetryInterval", "4", "integer")
)
CLIENT = branch(
    "APPAUTH", parm("AAUTHLEVEL", "CLIENT") + parm("AAUTHTYPE", "DIGEST") + parm("AAUTHSECRET", "s")
)
APPSRV = branch(
    "APPAUTH",
    parm("AAUTHLEVEL", "APPSRV")
    + parm("AAUTHTYPE", "DIGEST")
    + parm("AAUTHNAME", "dev_1")
    + parm("AAUTHSECRET", "secret")
    + parm("AAUTHDATA", base64.b64encode(b"nonce").decode()),
)
CRITERIA = "Subject=CN%3Ddev_1&amp;Stores=My%5CUser"
ADDRESS = "https://mdm.test/omadm"


def good(authority: Authority, certificate: x509.Certificate) -> str:
    """A document that a real client would take."""
    application = (
        parm("APPID", "w7")
        + parm("PROVIDER-ID", "Test")
        + parm("NAME", "Test")
        + parm("ADDR", ADDRESS)
        + '<parm name="BACKCOMPATRETRYDISABLED"/>'
        + parm("SSLCLIENTCERTSEARCHCRITERIA", CRITERIA)
        + CLIENT
        + APPSRV
    )
    provider = branch(
        "Poll", parm("NumberOfFirstRetries", "5", "integer") + parm("PollOnLogin", "true", "boolean")
    ) + parm("EntDMID", "dev_1", "string")
    return (
        '<wap-provisioningdoc version="1.1">'
        + branch("CertificateStore/Root/System", stored(authority.root))
        + branch("CertificateStore/CA/System", stored(authority.middle))
        + branch(
            "CertificateStore/My",
            branch("User", stored(certificate) + PRIVATE_KEY) + branch("WSTEP/Renew", RENEW),
        )
        + branch("APPLICATION", application)
        + branch("DMClient/Provider/Test", provider)
        + "</wap-provisioningdoc>"
    )


def test_a_good_document(authority: Authority, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> None:
    """Everything the device needs is taken from it."""
    found = read_provisioning(good(authority, certificate).encode(), key.public_key(), "User", NOW)
    assert (found.certificate, found.intermediate, found.root) == (
        certificate,
        authority.middle,
        authority.root,
    )
    assert (found.renew_days, found.retry_days) == (60, 4)
    assert (found.provider_id, found.address) == ("Test", ADDRESS)
    assert (found.login.kind, found.login.name, found.login.secret) == ("DIGEST", "dev_1", "secret")
    assert found.login.nonce == b"nonce"
    assert found.settings == {
        "Poll/NumberOfFirstRetries": "5",
        "Poll/PollOnLogin": "true",
        "EntDMID": "dev_1",
    }
    assert finds(found.search_criteria, certificate, "User")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('version="1.1"', 'version="1.0"', "not a wap-provisioningdoc of version 1.1"),
        ('<parm name="BACKCOMPATRETRYDISABLED"/>', "<p/>", "p is neither characteristic nor parm"),
        ('<parm name="BACKCOMPATRETRYDISABLED"/>', "<parm/>", "a parm has no name"),
        ('"DMClient"', '"dmclient"', "dmclient is none of"),
        (
            '"Root"><characteristic type="System"',
            '"Root"><characteristic type="system"',
            "Root/system is not where",
        ),
        ('type="User"', 'type="System"', r"My/System is not where Windows looks"),
        (PRIVATE_KEY, "", "PrivateKeyContainer is missing beside"),
        ('"WSTEP"', '"Wstep"', "My/Wstep is not where"),
        (branch("WSTEP/Renew", RENEW), "", "has no My/WSTEP/Renew"),
        (
            parm("RenewPeriod", "60", "integer"),
            parm("RenewPeriod", "60"),
            "RenewPeriod is missing, or its datatype",
        ),
        (parm("RenewPeriod", "60", "integer"), "", "RenewPeriod is missing, or its datatype"),
        (parm("RenewPeriod", "60", "integer"), parm("RenewPeriod", "soon", "integer"), "soon, and no number"),
        (
            parm("RenewPeriod", "60", "integer"),
            parm("RenewPeriod", "3", "integer"),
            "of 3 days with .* 4 cannot be",
        ),
        (parm("APPID", "w7"), "", "APPID of APPLICATION is not w7"),
        (parm("ADDR", ADDRESS), "", "ADDR is missing"),
        (parm("ADDR", ADDRESS), parm("ADDR", "http://mdm.test/omadm"), "polls https only"),
        (parm("NAME", "Test"), parm("INIT", "1"), "INIT stands in APPLICATION"),
        (parm("NAME", "Test"), parm("ADDR", ADDRESS), "ADDR stands in APPLICATION, .* has it already"),
        (parm("NAME", "Test"), parm("Name", "Test"), "Name stands in APPLICATION"),
        (CLIENT, "", "not both an APPAUTH"),
        (CLIENT, CLIENT.replace("DIGEST", "BASIC"), "CLIENT is not DIGEST"),
        (APPSRV, APPSRV.replace("DIGEST", "HMAC"), "APPSRV is HMAC"),
        ("bm9uY2U=", "bm9uY2U", "AAUTHDATA is not base64"),
        (
            'type="Provider"><characteristic type="Test"',
            'type="Provider"><characteristic type="test"',
            "Test stands 0 times in Provider",
        ),
        (parm("EntDMID", "dev_1", "string"), "", "EntDMID is missing"),
        (
            parm("EntDMID", "dev_1", "string"),
            parm("EntDMID", "dev_1"),
            "EntDMID below DMClient has no value or no",
        ),
        ('"5" datatype', '"five" datatype', "NumberOfFirstRetries is five"),
        ('PollOnLogin" value="true"', 'PollOnLogin" value="True"', "neither true nor false"),
    ],
)
def test_one_thing_wrong(
    authority: Authority,
    certificate: x509.Certificate,
    key: rsa.RSAPrivateKey,
    old: str,
    new: str,
    problem: str,
) -> None:
    """Each is named; Windows would say a number."""
    document = good(authority, certificate)
    assert old in document
    with pytest.raises(Unfit, match=problem):
        read_provisioning(document.replace(old, new).encode(), key.public_key(), "User", NOW)


def test_certificates_that_are_not_what_they_should_be(
    authority: Authority, certificate: x509.Certificate, key: rsa.RSAPrivateKey
) -> None:
    """Another key, a wrong thumbprint or encoding, a chain that does not close, more than one, none, the wrong time."""
    document = good(authority, certificate)

    def refused(changed: str, problem: str, now: datetime = NOW) -> None:
        with pytest.raises(Unfit, match=problem):
            read_provisioning(changed.encode(), key.public_key(), "User", now)

    other = authority.client(rsa.generate_private_key(65537, 2048))
    refused(document.replace(stored(certificate), stored(other)), "not for the key of the request")
    refused(document, "not valid now", NOW + timedelta(days=31))
    thumbprint = stored(certificate).split('"')[1]
    refused(document.replace(thumbprint, "A" * 40), "A{40} has another thumbprint")
    encoded = stored(certificate).split('"')[5]
    refused(document.replace(encoded, f"{encoded[:64]} {encoded[64:]}"), "cannot be read")
    refused(document.replace(encoded, "QUJD"), "cannot be read")
    middle = branch("CertificateStore/CA/System", stored(authority.middle))
    refused(document.replace(middle, ""), "CN=dev_1 is not issued by any authority")
    refused(
        document.replace(middle, middle.replace(stored(authority.middle), stored(Authority().middle))),
        "not issued by",
    )
    refused(document.replace(middle, middle + middle), "CA/System has more than one")
    root = branch("CertificateStore/Root/System", stored(authority.root))
    refused(document.replace(root, ""), "no root certificate")
    stranger = branch("CertificateStore/Root/System", stored(Authority().root))
    refused(document.replace(root, stranger), "CN=Middle is not issued by any authority")
    refused(document.replace(stored(certificate), ""), "My/User has no certificate")


def test_a_certificate_that_is_not_for_clients(authority: Authority, key: rsa.RSAPrivateKey) -> None:
    """It has to say so."""
    for usage in (None, x509.ExtendedKeyUsageOID.SERVER_AUTH):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dev_1")]))
            .issuer_name(authority.middle.subject)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(NOW - timedelta(hours=1))
            .not_valid_after(NOW + timedelta(days=1))
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        certificate = builder.sign(authority.key, SHA256())
        with pytest.raises(Unfit, match="good for clients"):
            read_provisioning(good(authority, certificate).encode(), key.public_key(), "User", NOW)


def renewal(certificate: x509.Certificate, *, inside: str = PRIVATE_KEY, more: str = "") -> bytes:
    """The document of a renewal."""
    return (
        '<wap-provisioningdoc version="1.1">'
        + branch("CertificateStore", more + branch("My/User", stored(certificate, inside)))
        + branch("APPLICATION", parm("PROVIDER-ID", "Test"))
        + "</wap-provisioningdoc>"
    ).encode()


def test_a_renewal(authority: Authority, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> None:
    """The key container stands inside; the device's own authorities close the chain, unless it brings others."""
    public, trusted = key.public_key(), (authority.middle, authority.root)
    found = read_renewal(renewal(certificate), public, "User", trusted, NOW)
    assert (found.certificate, found.root, found.intermediate) == (certificate, None, None)
    more = branch("Root/System", stored(authority.root)) + branch("CA/System", stored(authority.middle))
    brought = read_renewal(renewal(certificate, more=more), public, "User", (), NOW)
    assert (brought.root, brought.intermediate) == (authority.root, authority.middle)
    with pytest.raises(Unfit, match="missing inside"):
        read_renewal(renewal(certificate, inside=""), public, "User", trusted, NOW)
    with pytest.raises(Unfit, match="not issued by any"):
        read_renewal(renewal(certificate), public, "User", (), NOW)


@pytest.mark.parametrize(
    ("criteria", "store", "found"),
    [
        ("Subject=CN%3Ddev_1&Stores=My%5CUser", "User", True),
        ("Subject=CN%3dx%EF%80%80CN%3ddev_1&Stores=My%5CSystem%EF%80%80My%5CUser", "User", True),
        ("Subject=CN%3Ddev_1&Stores=My%5CUser", "System", False),
        ("Subject=CN%3Ddev_2&Stores=My%5CUser", "User", False),
        ("Subject=CN%3Ddev_1", "User", False),
        ("", "User", False),
    ],
)
def test_the_search_for_the_certificate(
    certificate: x509.Certificate, criteria: str, store: str, *, found: bool
) -> None:
    """By the whole subject and the store, several of each with U+F000 between; nothing is guessed."""
    assert finds(criteria, certificate, store) is found
