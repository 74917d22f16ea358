"""What the two sides of a session say to each other, without the numbering that the session adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from syncml.messages import Item

__all__ = ["ATOMIC", "ITEMS", "SEQUENCE", "Answer", "Bundle", "Request", "Wish"]

ATOMIC = "Atomic"
SEQUENCE = "Sequence"
ITEMS = "Items"


@dataclass(frozen=True, slots=True)
class Request:
    """One command the server wants to send; the session gives it a CmdID."""

    verb: str
    """`Add`, `Delete`, `Exec`, `Get` or `Replace`."""
    loc_uri: str
    """Target LocURI, escaped, with its `?list=` or `?prop=` if any."""
    format: str | None = None
    """Meta Format; None leaves it out, which means `chr`."""
    type: str | None = None
    """Meta Type; None leaves it out, which means `text/plain`."""
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Requests that travel together; each of them is answered on its own.

    `Items` is one command with several Items, `Sequence` keeps the order, `Atomic` is all or nothing. An Atomic
    holds no Get and no group, and no node twice (MS-MDM 2.2.7.2; Windows undoes all of it for one refusal).
    """

    kind: str
    """`ATOMIC`, `SEQUENCE` or `ITEMS`."""
    requests: tuple[Request | Bundle, ...]


Wish: TypeAlias = Request | Bundle
"""What a server may want to send."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the device said to one `Request`."""

    request: Request
    status: int | None
    """SyncML status code; None if the device never answered (the command's effect is unknown)."""
    items: tuple[Item, ...] = ()
    """Items of the Results of a Get, in document order, over all Results and messages."""
    original_error: str | None = None
    """`msft:originalerror`, e.g. `0x86000002`."""
