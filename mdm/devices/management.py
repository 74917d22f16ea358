"""Whether a device is managed, is being sent away, or has left; the same words everywhere.

enrolled    it is asked and told whatever IT wants
retiring    IT has asked it to leave: at each session it is told to, and nothing else, until it says that it has
unenrolled  it has left, or IT counts it as gone; nothing that it shows lets it in again but another enrolment
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from sqlalchemy import and_

from mdm.storage.statements import table_of
from mdm.storage.tables import Device

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement

__all__ = ["SILENT_AFTER", "Dates", "Management", "departure_text", "in_state", "is_managed", "state_of"]

SILENT_AFTER: Final = timedelta(days=3)
"""A device that was told to leave and not heard of for so long is said to be silent: it polls several times a day."""

_device: Final = table_of(Device)


class Management(StrEnum):
    """Where a device stands; the module's docstring has the words."""

    ENROLLED = "enrolled"
    RETIRING = "retiring"
    UNENROLLED = "unenrolled"


class Dates(Protocol):
    """What of a device says where it stands."""

    @property
    def last_checkin_at(self) -> datetime | None:
        """Last message that was its own."""

    @property
    def unenrolled_at(self) -> datetime | None:
        """When it left."""

    @property
    def retire_requested_at(self) -> datetime | None:
        """When IT asked it to."""

    @property
    def retire_told_at(self) -> datetime | None:
        """When it was told so last."""


def state_of(unenrolled_at: datetime | None, retire_requested_at: datetime | None) -> Management:
    """The word for a device with these dates."""
    if unenrolled_at is not None:
        return Management.UNENROLLED
    return Management.ENROLLED if retire_requested_at is None else Management.RETIRING


def is_managed() -> ColumnElement[bool]:
    """The condition that a row of `device` is enrolled and is to stay: what counts where updates are counted."""
    return and_(_device.c.unenrolled_at.is_(None), _device.c.retire_requested_at.is_(None))


def in_state(state: Management) -> ColumnElement[bool]:
    """The condition that `state_of` gives this word to a row of `device`."""
    if state is Management.UNENROLLED:
        return _device.c.unenrolled_at.is_not(None)
    if state is Management.ENROLLED:
        return is_managed()
    return and_(_device.c.unenrolled_at.is_(None), _device.c.retire_requested_at.is_not(None))


def departure_text(device: Dates, now: datetime) -> str | None:
    """How far a device is on its way out, and what can be done about it; None for one that stays.

    A silent device is never guessed to be gone: only it can say so, or IT.
    """
    left, asked, told = device.unenrolled_at, device.retire_requested_at, device.retire_told_at
    heard = device.last_checkin_at
    if left is not None:
        if left == heard:  # the message that said so was its last
            return f"The device said on {_moment(left)} that it has left management."
        knew = "without being told" if told is None else f"after it was told to leave on {_moment(told)}"
        return (
            f"Taken out of management on {_moment(left)} {knew}: its certificates and credentials are refused. Its "
            "approvals and settings stay on it unless it leaves by itself."
        )
    if asked is None:
        return None
    if told is None:
        seen = "it has never checked in" if heard is None else f"it was last seen on {_moment(heard)}"
        return (
            f"Asked to leave management on {_moment(asked)}; it is told so at its next session, and {seen}. "
            "If it will not come back, retire it at once."
        )
    if now - max(told, heard or told) < SILENT_AFTER:
        return f"Told on {_moment(told)} to leave management; it has not said yet that it has."
    return (
        f"Told on {_moment(told)} to leave management, not heard since: it may have left without a word, or be "
        "switched off. If it will not come back, retire it at once."
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
