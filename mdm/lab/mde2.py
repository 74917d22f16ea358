"""What a Windows PC says when it enrols: the messages of MS-MDE2, with the constants that every PC sends.

Written as text, in the shape of real clients, and on purpose without the code that reads them.
"""

from __future__ import annotations

import base64
from typing import Final
from xml.sax.saxutils import escape

__all__ = [
    "CLAIMS",
    "DISCOVER",
    "GET_POLICIES",
    "MESSAGE_IDS",
    "NAMESPACES",
    "RST",
    "discover",
    "envelope",
    "get_policies",
    "security_token",
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
MESSAGE_IDS: Final = {
    DISCOVER: "urn:uuid:748132ec-a575-4329-b01b-6171a9cf8478",
    GET_POLICIES: "urn:uuid:72048B64-0F19-448F-8C2E-B4C661860AA0",
    RST: "urn:uuid:0d5a1441-5891-453b-becf-a2e5f6ea3749",
}


def envelope(action: str, body: str, security: str = "") -> bytes:
    """A message as Windows writes it."""
    return f"""<s:Envelope xmlns:a="{NAMESPACES["a"]}" xmlns:s="{NAMESPACES["s"]}" xmlns:u="{NAMESPACES["u"]}"
      xmlns:wsse="{NAMESPACES["o"]}" xmlns:wst="{NAMESPACES["t"]}"
      xmlns:ac="http://schemas.xmlsoap.org/ws/2006/12/authorization"><s:Header>
    <a:Action s:mustUnderstand="1">{action}</a:Action><a:MessageID>{MESSAGE_IDS.get(action, "urn:x")}</a:MessageID>
    <a:ReplyTo><a:Address>http://www.w3.org/2005/08/addressing/anonymous</a:Address></a:ReplyTo>
    <a:To s:mustUnderstand="1">https://mdm.example.test/EnrollmentServer/Discovery.svc</a:To>{security}</s:Header>
    <s:Body>{body}</s:Body></s:Envelope>""".encode()


def username_token(username: str, password: str) -> str:
    """The security header of the on-premise authentication."""
    return (
        '<wsse:Security s:mustUnderstand="1"><wsse:UsernameToken u:Id="uuid-cc1ccc1f-2fba-4bcf-b063-ffc0cac77917-4">'
        f'<wsse:Username>{escape(username)}</wsse:Username><wsse:Password wsse:Type="http://docs.oasis-open.org/wss/'
        '2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText">'
        f"{escape(password)}</wsse:Password></wsse:UsernameToken></wsse:Security>"
    )


def discover(*policies: str, version: str = "4.0", email: str = "user@example.test") -> bytes:
    """A Discover message."""
    offered = "".join(f"<AuthPolicy>{policy}</AuthPolicy>" for policy in policies)
    return envelope(
        DISCOVER,
        f'<Discover xmlns="{NAMESPACES["d"]}"><request xmlns:i="{NAMESPACES["i"]}"><EmailAddress>{email}</EmailAddress>'
        f"<RequestVersion>{version}</RequestVersion><DeviceType>CIMClient_Windows</DeviceType>"
        "<ApplicationVersion>10.0.22631.2506</ApplicationVersion><OSEdition>4</OSEdition>"
        f"<AuthPolicies>{offered}</AuthPolicies></request></Discover>",
    )


def get_policies(username: str, password: str) -> bytes:
    """A GetPolicies message."""
    return envelope(
        GET_POLICIES,
        f'<GetPolicies xmlns="{NAMESPACES["p"]}"><client><lastUpdate xmlns:xsi="{NAMESPACES["i"]}" xsi:nil="true"/>'
        f'</client><requestFilter xmlns:xsi="{NAMESPACES["i"]}" xsi:nil="true"/></GetPolicies>',
        username_token(username, password),
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
    value_type: str = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment#PKCS10",
    **claims: str | None,
) -> bytes:
    """A RequestSecurityToken message; a claim of None is left out."""
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    items = "".join(
        f'<ac:ContextItem Name="{name}"><ac:Value>{escape(value)}</ac:Value></ac:ContextItem>'
        for name, value in [("MAC", "00-00"), ("MAC", "00-01"), *said.items()]
    )
    encoded = base64.encodebytes(csr).decode()
    return envelope(
        RST,
        "<wst:RequestSecurityToken><wst:TokenType>http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"
        "DeviceEnrollmentToken</wst:TokenType><wst:RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/"
        f'{kind}</wst:RequestType><wsse:BinarySecurityToken ValueType="{value_type}" EncodingType="x#base64binary">'
        f"{encoded}</wsse:BinarySecurityToken><ac:AdditionalContext>{items}</ac:AdditionalContext>"
        "</wst:RequestSecurityToken>",
        username_token(username, password),
    )
