"""What the two sides of a session say to each other, without the numbering that the session adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syncml.messages import Item

__all__ = ["Answer", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One command the server wants to send; the session gives it a CmdID."""

    verb: str
    """`Add`, `Delete`, `Exec`, `Get` or `Replace`."""
    loc_uri: str
    """Target LocURI, escaped, with its `?list=` if any."""
    format: str | None = None
    """Meta Format; None leaves it out, which means `chr`."""
    type: str | None = None
    """Meta Type; None leaves it out, which means `text/plain`."""
    data: str | None = None


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
