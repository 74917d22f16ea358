"""What the operations of the virtual upstream have in common: what they may use, and how they read arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mdm.lab.documents import Identity
from mdm.lab.soap import ErrorCode, Fault, Members, Unreadable
from mdm.lab.upstream_store import InvalidAnchor, UnknownGeneration
from mdm.upstream.messages import wire_guid

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mdm.lab.upstream_cookies import CookieMint
    from mdm.lab.upstream_options import UpstreamOptions
    from mdm.lab.upstream_store import Anchor, UpstreamStore

__all__ = [
    "DA",
    "IM",
    "SD",
    "Context",
    "Operation",
    "anchor_of",
    "deltas_of",
    "guid_of",
    "guids_of",
    "identities_of",
    "identity_element",
]

SD = "http://www.microsoft.com/SoftwareDistribution"
DA = f"{SD}/Server/DssAuthWebService"
IM = f"{SD}/Server/IMonitorable"


@dataclass(frozen=True, slots=True)
class Context:
    """What an operation may use."""

    store: UpstreamStore
    mint: CookieMint
    options: UpstreamOptions
    base_url: str
    """Scheme, host and port as the client wrote them, without a slash at the end."""
    now: datetime


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one service."""

    namespace: str
    answer: Callable[[Members, Context], str | None]
    """Gives the XML of the Result element, None for a response without one; raises Fault or Unreadable."""
    needs_cookie: bool = True


def anchor_of(context: Context, text: str, parameter: str) -> Anchor:
    """An anchor a client gave back; raises Fault, which names the parameter it came in."""
    try:
        return context.store.read_anchor(text)
    except InvalidAnchor:
        raise Fault(ErrorCode.INVALID_PARAMETERS, parameter) from None
    except UnknownGeneration:
        raise Fault(ErrorCode.SERVER_CHANGED) from None


def identities_of(call: Members, context: Context) -> list[Identity]:
    """The `updateIds` of a call, as many as the server takes; raises Fault."""
    found = [
        Identity(guid_of(item.required("UpdateID"), "UpdateID"), item.integer("RevisionNumber"))
        for item in call.items("updateIds", "UpdateIdentity")
    ]
    if not 1 <= len(found) <= context.options.max_updates:
        raise Fault(ErrorCode.INVALID_PARAMETERS, "updateIds")
    return found


def guid_of(text: str, name: str) -> str:
    """A GUID of the wire in lower case; raises Unreadable."""
    try:
        return wire_guid(text)
    except ValueError:
        raise Unreadable(f"{name} is not a guid") from None


def identity_element(identity: Identity, name: str = "UpdateIdentity") -> str:
    """An UpdateIdentity, or an element of another name that has its members."""
    key, number = identity
    return f"<{name}><UpdateID>{key}</UpdateID><RevisionNumber>{number}</RevisionNumber></{name}>"


def guids_of(call: Members, array: str) -> list[str]:
    """The items of an array of `guid`."""
    return [guid_of(text, array) for text in call.texts(array, "guid")]


def deltas_of(wanted: Members, array: str) -> dict[str, bool] | None:
    """Id -> Delta of an array of IdAndDelta; None if it is not there at all."""
    if not wanted.has(array):
        return None
    return {
        guid_of(item.required("Id"), "Id"): item.flag("Delta", default=False)
        for item in wanted.items(array, "IdAndDelta")
    }
