"""How a virtual device speaks: which of the forms that OMA DM leaves open it takes.

Two devices with the same updates and other manners tell a server the same in different messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mdm.lab.dice import Dice
from syncml.alerts import DEVICE_PREP_SYNC, REQUEST_PENDING, SYNC_TYPE, UNENROLL_USER_REQUEST, AlertCode
from syncml.auth import BASIC, MAC, MD5
from syncml.messages import Alert, Item, Meta

__all__ = [
    "MESSAGE_SIZE",
    "REQUEST_PENDING_ALERT",
    "SYNC_TYPE_ALERT",
    "UNENROL_ALERT",
    "UNKNOWN_ALERT",
    "Manners",
    "Terms",
    "alert",
    "manners_of",
    "terms_of",
]

MESSAGE_SIZE: Final = 64 * 1024
"""Octets of commands a device puts into one message when nothing else is said."""


def alert(code: AlertCode, type_: str, data: str, format_: str | None = None) -> Alert:
    """An alert of the device, not yet numbered."""
    item = Item(meta=Meta(format=format_, type=type_), data=data)
    return Alert(cmd_id="", data=str(int(code)), items=(item,))


REQUEST_PENDING_ALERT: Final = alert(AlertCode.CLIENT_EVENT, REQUEST_PENDING, "1")
"""Keeps the session alive while the device is at work (MS-MDE2 2.2.9.3)."""

SYNC_TYPE_ALERT: Final = alert(AlertCode.CLIENT_EVENT, SYNC_TYPE, "mixed")
"""Whose settings this session is about (MS-MDM 3.2.5.1.5)."""

_PREPARED: Final = alert(AlertCode.CLIENT_EVENT, DEVICE_PREP_SYNC, "ProvisioningComplete")

UNKNOWN_ALERT: Final = alert(AlertCode.CLIENT_EVENT, "com.contoso/agent/Heartbeat", "1")
"""A client event no server has heard of: it is answered 406, and nothing else comes of it."""

UNENROL_ALERT: Final = alert(AlertCode.GENERIC_ALERT, UNENROLL_USER_REQUEST, "1", "int")
"""The user leaves management; for one session, not for a device's manners (MS-MDM 3.2.5.1.3)."""


@dataclass(frozen=True, slots=True)
class Manners:
    """What a device's messages look like; the same for its whole life."""

    challenged: bool = False
    """It shows credentials only when asked."""
    message_size: int | None = None
    """Octets of one message: announced as MaxMsgSize, and kept to. None: `MESSAGE_SIZE` of its own, unannounced."""
    longest_value: int | None = None
    """Characters of a value above which it is sent in chunks of so many; None: never."""
    opens_in_parts: bool = False
    """Package 1 comes in two messages: its first alert alone, then the rest with Final."""
    pending: int = 0
    """Keep-alive messages before each answer to commands, as if these took their time."""
    login_status: str = "user"
    """`user`, `others` or `none`."""
    alerts: tuple[Alert, ...] = ()
    """Sent in each package 1, after LoginStatus."""
    suspicious: bool = False
    """It begins each session with a nonce the server does not know, so that this has to prove itself anew."""

    def __post_init__(self) -> None:
        """Raise ValueError for sizes nothing can be sent with."""
        if self.message_size is not None and self.message_size < _LEAST_MESSAGE:
            raise ValueError(f"a message of {self.message_size} octets has no room for a command")
        if self.longest_value is not None and self.longest_value < 1:
            raise ValueError("a chunk has at least one character")

    @property
    def room(self) -> int:
        """Octets for the commands of one message."""
        return MESSAGE_SIZE if self.message_size is None else self.message_size - _ENVELOPE


_ENVELOPE: Final = 1_024
"""Octets kept free for SyncHdr, its Status and the tags around them."""
_LEAST_MESSAGE: Final = 3_072
"""A server, too, keeps 2 KiB of MaxMsgSize for its own header."""

_LOGINS: Final = ("user", "user", "others", "none")
_SIZES: Final = (None, None, 4_096, 8_192, 32_768)
_LONGEST: Final = (None, None, 8, 13)
"""So short that the times in the Update CSP, of twenty characters, are long."""
_ALERTS: Final = (SYNC_TYPE_ALERT, UNKNOWN_ALERT, _PREPARED)


def manners_of(seed: int, number: int) -> Manners:
    """The manners of a device in a fleet where everybody has different ones."""
    dice = Dice(seed)

    def lot(what: str, count: int) -> int:
        return dice.number(f"manners/{number}/{what}", 0, count - 1)

    return Manners(
        challenged=lot("challenged", 3) == 0,
        message_size=_SIZES[lot("size", len(_SIZES))],
        longest_value=_LONGEST[lot("longest", len(_LONGEST))],
        opens_in_parts=lot("opening", 4) == 0,
        pending=max(0, lot("pending", 5) - 2),
        login_status=_LOGINS[lot("login", len(_LOGINS))],
        alerts=_ALERTS[: lot("alerts", len(_ALERTS) + 1)],
        suspicious=lot("suspicious", 3) == 0,
    )


@dataclass(frozen=True, slots=True)
class Terms:
    """How a device and the server prove themselves to each other: the members of the request that enrols it."""

    auth: str = MD5
    auth_each_message: bool = True
    server_auth: str | None = None


_SERVER_SCHEMES: Final = (None, MD5, MAC)


def terms_of(seed: int, number: int) -> Terms:
    """The terms that device is enrolled on: every scheme is somebody's."""
    dice = Dice(seed)

    def lot(what: str, count: int) -> int:
        return dice.number(f"manners/{number}/{what}", 0, count - 1)

    return Terms(
        auth=(MD5, BASIC, MAC)[lot("scheme", 3)],
        auth_each_message=lot("each", 3) > 0,
        server_auth=_SERVER_SCHEMES[lot("server", len(_SERVER_SCHEMES))],
    )
