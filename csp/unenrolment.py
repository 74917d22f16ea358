"""Sending a device out of management: the Exec of Unenroll, and why no answer to it is the usual one.

Windows ends its sessions when it is told, and sends no Status for the command. Its next package 1 brings the alert
of a device that leaves; that, too, may never come (omadm, section 11). So the command is repeated until it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from csp.locuri import LocURI
from syncml.exchange import Request
from syncml.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Answer

__all__ = ["has_no_node", "is_unenrol", "unenrol"]

_ROOT: Final = ("Vendor", "MSFT", "DMClient")
_NAME: Final = "Unenroll"
_ABSENT: Final = frozenset({int(StatusCode.NOT_FOUND), int(StatusCode.COMMAND_NOT_ALLOWED)})


def unenrol(provider_id: str, *, older: bool = False) -> Request:
    """The Exec that ends the management by the server of that (unescaped) name; `older` addresses the former node.

    Raises InvalidLocURI for a name no address can have.
    """
    address = LocURI((*_ROOT, _NAME) if older else (*_ROOT, "Provider", provider_id, _NAME))
    return Request("Exec", str(address), format="chr", data=provider_id)


def is_unenrol(request: Request) -> bool:
    """True for what `unenrol` makes: a command that is not answered."""
    segments = request.loc_uri.removeprefix("./").split("/")
    return (
        request.verb == "Exec"
        and tuple(segments[: len(_ROOT)]) == _ROOT
        and segments[-1] == _NAME
        and len(segments) in {len(_ROOT) + 1, len(_ROOT) + 3}
    )


def has_no_node(answers: Iterable[Answer], provider_id: str) -> bool:
    """True if the device answered that the node `unenrol` addresses is not there, or cannot be told: try the older one."""
    request = unenrol(provider_id)
    return any(answer.request == request and answer.status in _ABSENT for answer in answers)
