"""What a Windows PC says when it enrols: the messages of MS-MDE2, with the constants that every PC sends.

Written as text, in the shape of real clients, and on purpose without the code that reads them.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = [
    "CLAIMS",
    "DISCOVER",
    "GET_POLICIES",
    "MESSAGE_IDS",
    "NAMESPACES",
    "PKCS7",
    "PKCS10",
    "RST",
    "binary_token",
    "discover",
    "envelope",
    "get_policies",
    "policies_message",
    "renewal_request",
    "security_token",
    "token_message",
    "username_token",
]

NAMESPACES: Final = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://www.w3.org/2005/08/addressing",
    "u": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
    "o": "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd",
    "t": "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
    "d": "http://schemas.microsoft.com/windows/management/2012/01/enrollment",
    "p": "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy",
    "e": "http://schemas.microsoft.com/windows/pki/2009/01/enrollment",
    "i": "http://www.w3.org/2001/XMLSchema-instance",
}
DISCOVER: Final = (
    "http://schemas.microsoft.com/windows/management/2012/01/enrollment/IDiscoveryService/Discover"
)
GET_POLICIES: Final = "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy/IPolicy/GetPolicies"
RST: Final = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RST/wstep"
PKCS10: Final = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment#PKCS10"
PKCS7: Final = f"{NAMESPACES['o']}#PKCS7"
MESSAGE_IDS: Final = {
    DISCOVER: "urn:uuid:748132ec-a575-4329-b01b-6171a9cf8478",
    GET_POLICIES: "urn:uuid:72048B64-0F19-448F-8C2E-B4C661860AA0",
    RST: "urn:uuid:0d5a1441-5891-453b-becf-a2e5f6ea3749",
}


_TO: Final = "https://mdm.example.test/EnrollmentServer/Discovery.svc"
_USER_TOKEN: Final = (
    "http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/DeviceEnrollmentUserToken"  # noqa: S105 - a URI
)


def envelope(action: str, body: str, security: str = "", to: str = _TO) -> bytes:
    """A message as Windows writes it; `to` is the URL it is sent to."""
    return f"""<s:Envelope xmlns:a="{NAMESPACES["a"]}" xmlns:s="{NAMESPACES["s"]}" xmlns:u="{NAMESPACES["u"]}"
      xmlns:wsse="{NAMESPACES["o"]}" xmlns:wst="{NAMESPACES["t"]}"
      xmlns:ac="http://schemas.xmlsoap.org/ws/2006/12/authorization"><s:Header>
    <a:Action s:mustUnderstand="1">{action}</a:Action><a:MessageID>{MESSAGE_IDS.get(action, "urn:x")}</a:MessageID>
    <a:ReplyTo><a:Address>http://www.w3.org/2005/08/addressing/anonymous</a:Address></a:ReplyTo>
    <a:To s:mustUnderstand="1">{escape(to)}</a:To>{security}</s:Header>
    <s:Body>{body}</s:Body></s:Envelope>""".encode()


def username_token(username: str, password: str) -> str:
    """The security header of the on-premise authentication."""
    return (
        '<wsse:Security s:mustUnderstand="1"><wsse:UsernameToken u:Id="uuid-cc1ccc1f-2fba-4bcf-b063-ffc0cac77917-4">'
        f'<wsse:Username>{escape(username)}</wsse:Username><wsse:Password wsse:Type="http://docs.oasis-open.org/wss/'
        '2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText">'
        f"{escape(password)}</wsse:Password></wsse:UsernameToken></wsse:Security>"
    )


def binary_token(token: str) -> str:
    """The security header of the federated authentication, around what the page of the server handed out."""
    encoded = base64.b64encode(token.encode()).decode()
    return (
        f'<wsse:Security s:mustUnderstand="1"><wsse:BinarySecurityToken ValueType="{_USER_TOKEN}" '
        f'EncodingType="{NAMESPACES["o"]}#base64binary">{encoded}</wsse:BinarySecurityToken></wsse:Security>'
    )


def discover(
    *policies: str,
    version: str = "4.0",
    email: str = "user@example.test",
    build: str = "10.0.22631.2506",
    edition: str = "4",
    to: str = _TO,
) -> bytes:
    """A Discover message."""
    offered = "".join(f"<AuthPolicy>{policy}</AuthPolicy>" for policy in policies)
    return envelope(
        DISCOVER,
        f'<Discover xmlns="{NAMESPACES["d"]}"><request xmlns:i="{NAMESPACES["i"]}"><EmailAddress>{escape(email)}</EmailAddress>'
        f"<RequestVersion>{version}</RequestVersion><DeviceType>CIMClient_Windows</DeviceType>"
        f"<ApplicationVersion>{build}</ApplicationVersion><OSEdition>{edition}</OSEdition>"
        f"<AuthPolicies>{offered}</AuthPolicies></request></Discover>",
        to=to,
    )


def get_policies(username: str, password: str) -> bytes:
    """A GetPolicies message of the on-premise authentication."""
    return policies_message(username_token(username, password))


def policies_message(security: str, to: str = _TO) -> bytes:
    """A GetPolicies message with this security header."""
    return envelope(
        GET_POLICIES,
        f'<GetPolicies xmlns="{NAMESPACES["p"]}"><client><lastUpdate xmlns:xsi="{NAMESPACES["i"]}" xsi:nil="true"/>'
        f'</client><requestFilter xmlns:xsi="{NAMESPACES["i"]}" xsi:nil="true"/></GetPolicies>',
        security,
        to,
    )


CLAIMS: Final = {
    "DeviceID": "B5B954E81FBCB94EB79BD08BE625F4EE",
    "HWDevID": "8F" * 32,
    "EnrollmentType": "Full",
    "DeviceName": "PC-1",
    "OSEdition": "4",
    "OSVersion": "10.0.22631.2506",
}


def security_token(
    username: str,
    password: str,
    csr: bytes,
    *,
    kind: str = "Issue",
    value_type: str = PKCS10,
    **claims: str | None,
) -> bytes:
    """A RequestSecurityToken message of the on-premise authentication; a claim of None is left out."""
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return token_message(username_token(username, password), csr, said, kind=kind, value_type=value_type)


def token_message(
    security: str, request: bytes, claims: Mapping[str, str], *, kind: str, value_type: str, to: str = _TO
) -> bytes:
    """A RequestSecurityToken message with this security header; `claims` are its context items."""
    items = "".join(
        f'<ac:ContextItem Name="{name}"><ac:Value>{escape(value)}</ac:Value></ac:ContextItem>'
        for name, value in [("MAC", "00-00"), ("MAC", "00-01"), *claims.items()]
    )
    encoded = base64.encodebytes(request).decode()
    return envelope(
        RST,
        "<wst:RequestSecurityToken><wst:TokenType>http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"
        "DeviceEnrollmentToken</wst:TokenType><wst:RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/"
        f'{kind}</wst:RequestType><wsse:BinarySecurityToken ValueType="{value_type}" EncodingType="x#base64binary">'
        f"{encoded}</wsse:BinarySecurityToken><ac:AdditionalContext>{items}</ac:AdditionalContext>"
        "</wst:RequestSecurityToken>",
        security,
        to,
    )


def renewal_request(csr_der: bytes, key: RSAPrivateKey, certificate: x509.Certificate) -> bytes:
    """PKCS #7 SignedData (DER) around a certificate request, signed by the certificate that is to be renewed."""
    builder = PKCS7SignatureBuilder().set_data(csr_der).add_signer(certificate, key, SHA256())
    return builder.sign(Encoding.DER, [PKCS7Options.Binary])
