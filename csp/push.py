"""The push channel of a device: how Windows is told whose notifications wake it, and where those have to be sent.

The nodes stand at `DMClient/Provider/{ProviderID}/Push`. Writing PFN makes Windows register with the notification
service; the address of the channel is there a while after that, expires after 30 days and is renewed after 15, so it
is asked for in each session (DMClient CSP).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from csp.answers import leaf_texts
from csp.dmclient import provider_leaf
from syncml.exchange import Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncml.exchange import Answer

__all__ = ["PushState", "push_queries", "push_words", "read_push", "set_pfn"]

_WORDS: Final = {
    0: "Notifications work.",
    1: "The package family name is not known to the notification service, or not as one for device management.",
    2: "The device could not sign in to the notification service.",
    3: "The device could not register with the notification service.",
    4: "The notification service has given the device no channel.",
    5: "The channel has expired.",
    6: "The former channel could not be withdrawn.",
    7: "A notification was received, but the device had no power or no network to check in.",
    8: "This edition of Windows takes no notifications.",
}


@dataclass(frozen=True, slots=True)
class PushState:
    """What a device says of its channel; None for what it did not tell, or does not have (404)."""

    pfn: str | None = None
    """The package family name it registered for."""
    channel: str | None = None
    """Address to send notifications to."""
    status: int | None = None
    """0 if notifications work, else what is wrong; `push_words` says it in words."""
    answered: bool = False
    """True if it has looked at the question for the channel."""


def set_pfn(provider_id: str, pfn: str) -> Request:
    """The Replace that has the device register for notifications of that package family name.

    Raises InvalidLocURI for a management server's name no address can have.
    """
    return Request("Replace", _uris(provider_id)[0], format="chr", type="text/plain", data=pfn)


def push_queries(provider_id: str) -> tuple[Request, ...]:
    """The Gets of name, channel and status, below the management server of that (unescaped) name.

    Raises InvalidLocURI for a name no address can have.
    """
    return tuple(Request("Get", uri) for uri in _uris(provider_id))


def read_push(answers: Iterable[Answer], provider_id: str) -> PushState:
    """What the answers, among which there may be any others, say of the device's channel to that server.

    Raises InvalidLocURI for a name no address can have.
    """
    uris = _uris(provider_id)
    said = leaf_texts(answers, uris)
    pfn, channel, number = (said.get(uri) for uri in uris)
    return PushState(pfn, channel, _status(number), answered=uris[1] in said)


def push_words(status: int | None) -> str:
    """The status as a sentence for people."""
    if status is None:
        return "The device has not said whether notifications work."
    return _WORDS.get(status, f"The device tells the status {status}, which no document explains.")


def _uris(provider_id: str) -> tuple[str, str, str]:
    pfn, channel, status = (
        provider_leaf(provider_id, f"Push/{name}") for name in ("PFN", "ChannelURI", "Status")
    )
    return pfn, channel, status


def _status(text: str | None) -> int | None:
    """The number in a text; None for anything else, and for what is no status of this world."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > len("9999"):
        return None
    return int(text)
