"""How far a device can get with a rollback.

    state        means                                                      then
    -----        -----                                                      ----
    waiting      to be paused, asked for its last status, and told          sent, refused, cancelled
    sent         told; its answer has not come                              executed, failed, rolled_back, waiting
    executed     it took the command; what comes of it is asked for         rolled_back, failed
    rolled_back  its build or its lists prove it
    failed       it said so
    refused      a condition of Windows is not met: it was never told
    cancelled    IT changed its mind before it was told

From `sent` back to `waiting` leads only a device's own word that it did not look at the command. One that never
answered is never told again: it may have rolled back, and the next command would take back one update more.

Once the time of a rollback is over, `waiting` is shown as `expired`, and `sent` and `executed` as `unconfirmed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

__all__ = [
    "CANCELLED",
    "EXECUTED",
    "EXPIRED",
    "FAILED",
    "PAUSING",
    "REFUSED",
    "ROLLED_BACK",
    "SENT",
    "SHOWN",
    "UNCONFIRMED",
    "UNDER_WAY",
    "WAITING",
    "as_shown",
]

WAITING: Final = "waiting"
SENT: Final = "sent"
EXECUTED: Final = "executed"
ROLLED_BACK: Final = "rolled_back"
FAILED: Final = "failed"
REFUSED: Final = "refused"
CANCELLED: Final = "cancelled"
EXPIRED: Final = "expired"
UNCONFIRMED: Final = "unconfirmed"

UNDER_WAY: Final = (WAITING, SENT, EXECUTED)
"""States in which there is something to say to the device, or to ask it."""

PAUSING: Final = (*UNDER_WAY, ROLLED_BACK)
"""States in which updates of the kind stay paused: a device that has rolled back would install the same again."""

SHOWN: Final = (*PAUSING, FAILED, REFUSED, CANCELLED, EXPIRED, UNCONFIRMED)
"""Every state that an administrator may see."""

_UNANSWERED: Final = (
    "The device was told to roll back and never answered; nothing it has reported since shows that it did. It is "
    "not told twice in one rollback, because that could take back one update more: look at the device, then ask "
    "for another rollback if it is needed."
)
_OVER: Final = {
    WAITING: (EXPIRED, "The time for it was over before the device could be told to roll back."),
    SENT: (UNCONFIRMED, _UNANSWERED),
    EXECUTED: (
        UNCONFIRMED,
        "The device took the command, but nothing it has reported since shows that it rolled back.",
    ),
}


def as_shown(state: str, detail: str, ends_at: datetime, now: datetime) -> tuple[str, str]:
    """The state and its sentence as an administrator reads them, at a moment."""
    return _OVER[state] if now >= ends_at and state in _OVER else (state, detail)
