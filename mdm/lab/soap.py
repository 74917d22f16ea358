"""SOAP 1.1 as WSUS speaks it: a call read from any prefix, an answer and a fault in exactly its shape.

Which call it is, the first element of soap:Body says; a SOAPAction is not asked for (MS-WSUSSS 3.1.4).
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mdm.upstream.errors import InvalidAnswer
from mdm.upstream.xml import Node, XmlLimits, child, read_soap_body, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "OPERATIONS",
    "REQUEST_LIMITS",
    "Call",
    "ErrorCode",
    "Fault",
    "Members",
    "Unreadable",
    "element",
    "envelope",
    "fault_envelope",
    "read_call",
    "text_element",
]

REQUEST_LIMITS = XmlLimits(bytes=1024 * 1024, depth=16, elements=20_000, attributes=16, namespaces=16)
"""The longest request of the protocol is a filter with a few hundred ids; all calls are anonymous."""

_OPEN = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema"><soap:Body>'
)
_CLOSE = "</soap:Body></soap:Envelope>"


OPERATIONS = frozenset(
    {
        "DownloadFiles",
        "GetAuthConfig",
        "GetAuthorizationCookie",
        "GetConfigData",
        "GetCookie",
        "GetDeployments",
        "GetDriverIdList",
        "GetDriverSetData",
        "GetRelatedRevisionsForUpdates",
        "GetRevisionIdList",
        "GetUpdateData",
        "GetUpdateDecryptionData",
        "Ping",
    }
)
"""What a virtual upstream can be asked, over all of its services."""


class ErrorCode(StrEnum):
    """ErrorCode of a fault's detail (MS-WSUSSS 2.2.9.3)."""

    INVALID_PARAMETERS = "InvalidParameters"
    INVALID_COOKIE = "InvalidCookie"
    INVALID_AUTHORIZATION_COOKIE = "InvalidAuthorizationCookie"
    INCOMPATIBLE_PROTOCOL_VERSION = "IncompatibleProtocolVersion"
    SERVER_CHANGED = "ServerChanged"
    SERVER_BUSY = "ServerBusy"
    FILE_DIGESTS_MISSING = "FileDigestsMissing"
    TOO_MANY_IDS = "TooManyIds"
    INTERNAL_SERVER_ERROR = "InternalServerError"

    @property
    def faultcode(self) -> str:
        """Whose fault it is: WSUS blames the client for all but its own troubles."""
        return "soap:Server" if self in (self.SERVER_BUSY, self.INTERNAL_SERVER_ERROR) else "soap:Client"


class Fault(Exception):  # noqa: N818 - the protocol's word
    """The call is answered by a fault with an ErrorCode."""

    def __init__(self, code: ErrorCode, message: str = "") -> None:
        """`message` is the detail's Message: for InvalidParameters the name of the parameter."""
        super().__init__(f"{code}: {message}" if message else str(code))
        self.code = code
        self.message = message


class Unreadable(Exception):  # noqa: N818 - as above
    """The request cannot be deserialised: answered by a fault without an ErrorCode, as ASP.NET does."""


@dataclass(frozen=True, slots=True)
class Members:
    """The children of one element of a request, in namespace prefix `prefix`; readers raise Unreadable."""

    node: Node
    prefix: str = "sd"

    def text(self, name: str) -> str | None:
        """The text of a member; None if it is absent or empty."""
        return text_of(self._one(name))

    def required(self, name: str) -> str:
        """The text of a member the schema requires."""
        value = self.text(name)
        if value is None:
            raise Unreadable(f"{name} is missing")
        return value

    def integer(self, name: str) -> int:
        """A member of type int."""
        value = self.required(name)
        try:
            return int(value)
        except ValueError:
            raise Unreadable(f"{name} is not an int") from None

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        """A member of type boolean."""
        value = self.text(name)
        if value is None and default is not None:
            return default
        if value not in ("true", "1", "false", "0"):
            raise Unreadable(f"{name} is not a boolean")
        return value in ("true", "1")

    def has(self, name: str) -> bool:
        """True if the element is there, empty or not."""
        return isinstance(self.node, dict) and f"{self.prefix}:{name}" in self.node

    def members(self, name: str) -> Members:
        """The members of a child element; none if it is absent."""
        return Members(self._one(name), self.prefix)

    def texts(self, array: str, item: str) -> list[str]:
        """The texts of an array of simple values."""
        found = [text_of(node) for node in self._many(array, item)]
        if None in found:
            raise Unreadable(f"{array} has an item without a value")
        return [text for text in found if text is not None]

    def items(self, array: str, item: str) -> list[Members]:
        """The items of an array of complex values."""
        return [Members(node, self.prefix) for node in self._many(array, item)]

    def _one(self, name: str) -> Node:
        try:
            return child(self.node, f"{self.prefix}:{name}")
        except InvalidAnswer:
            raise Unreadable(f"{name} stands more than once") from None

    def _many(self, array: str, item: str) -> list[Node]:
        parent = self._one(array)
        if not isinstance(parent, dict):
            return []
        found = parent.get(f"{self.prefix}:{item}", [])
        return list(found) if isinstance(found, list) else [found]


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the element in soap:Body, named with the prefix of its namespace, e.g. `sd:GetCookie`."""

    name: str
    arguments: Members

    @property
    def operation(self) -> str:
        """The name alone."""
        return self.name.rpartition(":")[2]


def read_call(body: bytes, limits: XmlLimits = REQUEST_LIMITS) -> Call:
    """Read a request; raises Unreadable for what is not a SOAP envelope in UTF-8 within the limits."""
    try:
        content = read_soap_body(body, limits)
    except InvalidAnswer as error:
        raise Unreadable(str(error)) from error
    names = [name for name in content if ":" in name]  # white space between elements has a name without
    if not names:
        raise Unreadable("soap:Body is empty")
    node = content[names[0]]
    return Call(names[0], Members(node, names[0].partition(":")[0]))


def escape(text: str) -> str:
    """Text as .NET writes it: markup escaped, quotes not, and a carriage return kept from normalisation."""
    return html.escape(text, quote=False).replace("\r", "&#xD;")


def text_element(name: str, text: str) -> str:
    """An element with text; empty text gives an empty element."""
    return element(name, (escape(text),))


def element(name: str, content: Iterable[str], attributes: str = "") -> str:
    """An element around ready XML."""
    inner = "".join(content)
    return f"<{name}{attributes}>{inner}</{name}>" if inner else f"<{name}{attributes} />"


def envelope(namespace: str, operation: str, result: str | None) -> bytes:
    """The answer to an operation; `result` is the XML of its Result element, None for a response without one."""
    response = element(f"{operation}Response", [result or ""], f' xmlns="{namespace}"')
    return f"{_OPEN}{response}{_CLOSE}".encode()


def fault_envelope(fault: Fault | Unreadable, *, actor: str, fault_id: str, action: str) -> bytes:
    """The SOAP 1.1 fault; detail and its children have no namespace (MS-WSUSSS 2.2.9.1).

    `action` is the operation's SOAPAction, which WSUS repeats with its quotes.
    """
    if isinstance(fault, Unreadable):
        text = escape(f"Server was unable to read request. ---> {fault}")
        inner = f"<faultcode>soap:Client</faultcode><faultstring>{text}</faultstring><detail />"
    else:
        inner = (
            f"<faultcode>{fault.code.faultcode}</faultcode><faultstring>Fault occurred</faultstring>"
            f"<faultactor>{escape(actor)}</faultactor>"
            f"<detail><ErrorCode>{fault.code}</ErrorCode><Message>{escape(fault.message)}</Message>"
            f'<ID>{fault_id}</ID><Method>"{escape(action)}"</Method></detail>'
        )
    return f"{_OPEN}<soap:Fault>{inner}</soap:Fault>{_CLOSE}".encode()
