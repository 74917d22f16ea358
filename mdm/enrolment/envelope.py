"""The SOAP 1.2 envelopes of MS-MDE2: one guarded reader and one writer, through xmltodict.

Discovery and GetPolicies are reached by anybody, so the reader takes no DOCTYPE and bounds size, depth and counts
before more work is done (`mdm.upstream.xml.GuardedExpat`). Elements get our own prefixes by namespace, whatever the
device calls them; a name of an unknown namespace begins with `other:`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from xml.parsers import expat

import xmltodict

from mdm.upstream.xml import GuardedExpat, XmlLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ENROLLMENT",
    "LIMITS",
    "SECEXT",
    "Answer",
    "BinaryToken",
    "Envelope",
    "MessageUnreadable",
    "UsernameToken",
    "children",
    "only",
    "read_answer",
    "read_envelope",
    "required",
    "text",
    "value_of",
    "write_envelope",
]

SOAP: Final = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING: Final = "http://www.w3.org/2005/08/addressing"
SECEXT: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
UTILITY: Final = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
TRUST: Final = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
CONTEXT: Final = "http://schemas.xmlsoap.org/ws/2006/12/authorization"
DISCOVERY: Final = "http://schemas.microsoft.com/windows/management/2012/01/enrollment"
POLICY: Final = "http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy"
ENROLLMENT: Final = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
DIAGNOSTICS: Final = "http://schemas.microsoft.com/2004/09/ServiceModel/Diagnostics"

LIMITS: Final = XmlLimits(bytes=512 * 1024, depth=24, elements=2000, attributes=32, name=512, namespaces=64)
"""A certificate request with its context has some 5 KB; attestation claims may add some 100 KB."""

_MAX_LINE: Final = 500


class _Prefixes(dict[str, str]):
    """Namespace to prefix; an unknown one cannot pass for a known one by being spelt like its prefix."""

    def __missing__(self, namespace: str) -> str:
        return "other"


_PREFIXES: Final[Mapping[str, str]] = _Prefixes(
    {
        SOAP: "s",
        ADDRESSING: "a",
        SECEXT: "wsse",
        UTILITY: "u",
        TRUST: "wst",
        CONTEXT: "ac",
        DISCOVERY: "d",
        f"{DISCOVERY}/": "d",  # as the samples of Discover have it, and the documented answer has not
        POLICY: "p",
    }
)


class MessageUnreadable(ValueError):  # noqa: N818 - named for the state
    """A message that is not what its endpoint takes; the text is half a sentence that says why."""


@dataclass(frozen=True, slots=True)
class UsernameToken:
    """A user name and a password in clear, of the on-premise authentication (WS-Security UsernameToken)."""

    username: str
    password: str

    def __repr__(self) -> str:
        """Without the password: a representation ends up in logs and tracebacks."""
        return f"UsernameToken(username={self.username!r})"


@dataclass(frozen=True, slots=True)
class BinaryToken:
    """A token of the federated or the certificate authentication."""

    value_type: str
    content: str = field(default="", repr=False)
    """As it stands in the message, in base64; whoever holds it may enrol a device."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message of a device."""

    message_id: str | None
    """To be echoed in RelatesTo and used for nothing else: Windows sends the same ones from every device."""
    token: UsernameToken | BinaryToken | None
    body: dict[str, Any]
    """The children of s:Body by prefixed name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answers to a device."""

    action: str | None
    relates_to: str | None
    """The MessageID of the message it answers."""
    body: dict[str, Any]
    """The children of s:Body by prefixed name."""


def read_answer(data: bytes) -> Answer:
    """Read what a server, ours or another, answers to a message; raises MessageUnreadable."""
    header, body = _parts(data)
    return Answer(text(header, "a:Action"), text(header, "a:RelatesTo"), body)


def read_envelope(data: bytes, action: str) -> Envelope:
    """Read a SOAP 1.2 message of this Action; raises MessageUnreadable."""
    header, body = _parts(data)
    said = required(header, "a:Action")
    if said != action:
        raise MessageUnreadable(
            f"its Action is {said[:_MAX_LINE]!r}, and only {action} is taken at this address"
        )
    message_id = text(header, "a:MessageID")
    if message_id is not None and len(message_id) > _MAX_LINE:
        raise MessageUnreadable(f"its MessageID has more than {_MAX_LINE} characters")
    return Envelope(message_id, _token(only(header, "wsse:Security")), body)


def _parts(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the body of a SOAP 1.2 envelope."""
    if len(data) > LIMITS.bytes:
        raise MessageUnreadable(f"it has more than {LIMITS.bytes} bytes")
    try:
        document = xmltodict.parse(
            data,
            encoding="utf-8",
            expat=GuardedExpat(LIMITS),
            process_namespaces=True,
            namespaces=_PREFIXES,
        )
    except (expat.ExpatError, ValueError) as problem:
        raise MessageUnreadable(f"it is no XML that is taken here ({problem})") from problem
    envelope = only(document, "s:Envelope")
    if not isinstance(envelope, dict):
        raise MessageUnreadable("it is not a SOAP 1.2 envelope")
    header, body = only(envelope, "s:Header"), only(envelope, "s:Body")
    if not isinstance(header, dict) or not isinstance(body, dict):
        raise MessageUnreadable("its envelope lacks a header or a body")
    return header, body


def only(node: Any, name: str) -> Any:
    """The one child of that name, or None; raises MessageUnreadable if it stands there twice."""
    found = node.get(name) if isinstance(node, dict) else None
    if isinstance(found, list):
        raise MessageUnreadable(f"{name.partition(':')[2]} stands in it more than once")
    return found


def children(node: Any, name: str) -> list[Any]:
    """All children of that name, none of them being an empty list."""
    found = node.get(name) if isinstance(node, dict) else None
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def value_of(node: Any) -> str | None:
    """An element's text, with or without attributes; None if it is empty or has children."""
    found = node.get("#text") if isinstance(node, dict) else node
    return found if isinstance(found, str) else None


def text(node: Any, name: str) -> str | None:
    """The text of the one child of that name, without blanks around it; None if it is missing or empty."""
    return value_of(only(node, name))


def required(node: Any, name: str) -> str:
    """As `text`; raises MessageUnreadable if there is none."""
    found = text(node, name)
    if found is None:
        raise MessageUnreadable(f"{name.partition(':')[2]} is missing in it")
    return found


def _token(security: Any) -> UsernameToken | BinaryToken | None:
    """What the security header offers; a user name comes first, because renewals carry more than one."""
    by_name = only(security, "wsse:UsernameToken")
    if by_name is not None:
        return UsernameToken(text(by_name, "wsse:Username") or "", text(by_name, "wsse:Password") or "")
    binary = only(security, "wsse:BinarySecurityToken")
    if binary is None:
        return None
    value_type = binary.get("@ValueType", "") if isinstance(binary, dict) else ""
    return BinaryToken(value_type, value_of(binary) or "")


def write_envelope(
    action: str,
    body: Mapping[str, Any],
    *,
    relates_to: str | None,
    activity_id: str | None = None,
    security: Mapping[str, Any] | None = None,
) -> bytes:
    """An answer with this Action: `body` as xmltodict writes it, in its order, the prefixes as in the samples."""
    header: dict[str, Any] = {"a:Action": {"@s:mustUnderstand": "1", "#text": action}}
    if activity_id is not None:
        header["ActivityId"] = {"@CorrelationId": activity_id, "@xmlns": DIAGNOSTICS, "#text": activity_id}
    if relates_to is not None:
        header["a:RelatesTo"] = relates_to
    if security is not None:
        header["o:Security"] = {"@s:mustUnderstand": "1", "@xmlns:o": SECEXT, **security}
    envelope = {
        "s:Envelope": {
            "@xmlns:s": SOAP,
            "@xmlns:a": ADDRESSING,
            "@xmlns:u": UTILITY,
            "s:Header": header,
            "s:Body": {
                "@xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
                "@xmlns:xsd": "http://www.w3.org/2001/XMLSchema",
                **body,
            },
        }
    }
    return xmltodict.unparse(envelope, full_document=False, short_empty_elements=True).encode()
