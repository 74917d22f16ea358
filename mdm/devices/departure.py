"""How devices leave management: IT retires one, a device says that it has left, and what goes with either.

Retiring is a wish until the device has heard it: it stays enrolled, for only an enrolled device can be told. When the
device says that it has left, or IT counts it as gone, its certificates are taken back in the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, select, update

from mdm.audit import Origin, record
from mdm.ca.issued import revoke_device
from mdm.devices.management import Management, state_of
from mdm.devices.registry import delete_device, get_device
from mdm.devices.timeline import Event, record_events
from mdm.errors import Conflict, NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DmPart, DmReply, DmSession

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

__all__ = ["Residue", "Standing", "cancel_retirement", "forget", "note_left", "note_told", "retire"]

_REVOCATION: Final = "cessationOfOperation"
_TOLD_AGAIN: Final = timedelta(hours=24)
"""A device that is told at each session has it on its timeline once in this time."""

_device: Final = table_of(Device)
_OF_SESSIONS: Final = tuple(table_of(model) for model in (DmPart, DmReply, DmSession))
_SET: Final = update(_device).where(_device.c.pk == bindparam("b_pk"))
"""The values to set come with the execution."""

_KEEPS_APPROVALS: Final = (
    "The device keeps the approvals it holds; the Update CSP documents no way to take them back."
)
_KEEPS_ENROLMENT: Final = (
    "The device was not told: for it the enrolment goes on, with all settings, and its sessions are refused from now "
    "on. Retire a device first and delete it when it has left, and it cleans up itself."
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a device stands on its way out."""

    id: str
    last_checkin_at: datetime | None
    unenrolled_at: datetime | None
    retire_requested_at: datetime | None
    retire_told_at: datetime | None

    @property
    def state(self) -> Management:
        """The same in a word."""
        return state_of(self.unenrolled_at, self.retire_requested_at)


@dataclass(frozen=True, slots=True)
class Residue:
    """What stays on a device that was deleted here."""

    approvals: int
    """Approvals it holds."""
    enrolled: bool
    """Whether, as far as it has said, it still takes itself for managed by us."""
    detail: str
    """The same in words, with what to do sooner next time."""


def retire(
    conn: Connection,
    origin: Origin,
    public_id: str,
    *,
    at_once: bool = False,
    reason: str | None = None,
    now: datetime,
) -> Standing:
    """Have a device leave management: it is told at its next session, and nothing else is.

    `at_once` is for one that is lost or will not come back: it is not told, and refused from now on. Asking again
    changes nothing. Returns where it stands then. Raises NotFound, and Conflict `device_left` for a device that has left.
    """
    device = _locked(conn, public_id)
    state = _state(device)
    if state is Management.UNENROLLED:
        raise _has_left(device)
    if state is Management.RETIRING and not at_once:
        return _standing(device, _dates(device))
    after = {**_dates(device), "retire_requested_at": device.retire_requested_at or now}
    detail: dict[str, Any] = {"at_once": at_once} | ({} if reason is None else {"reason": reason})
    events = [Event("retire_requested", {"by": origin.actor, **detail})]
    if at_once:
        after["unenrolled_at"] = now
        events.append(Event("unenrolled", {"by": "server", "told": device.retire_told_at is not None}))
        revoke_device(conn, origin, device.pk, _REVOCATION, now)
        # or an open session would go on without further proof
        for table in _OF_SESSIONS:
            conn.execute(delete(table).where(table.c.device_pk == device.pk))
    conn.execute(_SET, {**after, "b_pk": device.pk})
    record_events(conn, device.pk, events, now)
    _audit(conn, origin, device, action="device.retire", after=after, detail=detail, now=now)
    return _standing(device, after)


def cancel_retirement(conn: Connection, origin: Origin, public_id: str, *, now: datetime) -> Standing:
    """Let a device stay that was to leave, and return where it stands; one that was told may be leaving all the same.

    Raises NotFound, Conflict `device_left` for one that has left, and `not_retiring` for one that nobody sent away.
    """
    device = _locked(conn, public_id)
    state = _state(device)
    if state is Management.UNENROLLED:
        raise _has_left(device)
    if state is Management.ENROLLED:
        raise Conflict(f"The device {public_id!r} is not being retired.", code="not_retiring")
    after = {**_dates(device), "retire_requested_at": None, "retire_told_at": None}
    conn.execute(_SET, {**after, "b_pk": device.pk})
    told = device.retire_told_at is not None
    record_events(conn, device.pk, [Event("retire_cancelled", {"by": origin.actor, "told": told})], now)
    _audit(conn, origin, device, action="device.retire_cancel", after=after, detail={}, now=now)
    return _standing(device, after)


def forget(conn: Connection, origin: Origin, public_id: str, *, now: datetime) -> Residue | None:
    """Delete a device with all it has reported; returns what stays on it, None for nothing. Raises NotFound."""
    before = get_device(conn, public_id)
    enrolled = before.unenrolled_at is None and before.last_checkin_at is not None
    approvals = delete_device(conn, origin, public_id, now=now)
    sentences = [
        sentence for sentence, holds in ((_KEEPS_APPROVALS, approvals), (_KEEPS_ENROLMENT, enrolled)) if holds
    ]
    return Residue(approvals, enrolled, " ".join(sentences)) if sentences else None


def note_told(conn: Connection, device: Row[Any], now: datetime) -> None:
    """Keep that a device is being told to leave; no Status will come back for that."""
    conn.execute(_SET, {"b_pk": device.pk, "retire_told_at": now})
    if device.retire_told_at is None or now - device.retire_told_at >= _TOLD_AGAIN:
        record_events(conn, device.pk, [Event("retire_told", {})], now)


def note_left(conn: Connection, device: Row[Any], now: datetime) -> None:
    """Keep that a device says it has left, and take its certificates back; saying it again changes nothing.

    The alert is the same whoever began it, so one that we told to leave counts as leaving because of that.
    """
    if device.unenrolled_at is not None:
        return
    by = "user" if device.retire_told_at is None else "server"
    conn.execute(_SET, {"b_pk": device.pk, "unenrolled_at": now})
    record_events(conn, device.pk, [Event("unenrolled", {"by": by})], now)
    revoke_device(conn, Origin(actor=f"device:{device.id}"), device.pk, _REVOCATION, now)


def _locked(conn: Connection, public_id: str) -> Row[*tuple[Any, ...]]:
    """The device, its row locked: a check-in under way comes before or after, never between."""
    found = conn.execute(
        select(
            _device.c.pk,
            _device.c.id,
            _device.c.device_id,
            _device.c.last_checkin_at,
            _device.c.unenrolled_at,
            _device.c.retire_requested_at,
            _device.c.retire_told_at,
        )
        .where(_device.c.id == public_id)
        .with_for_update()
    ).one_or_none()
    if found is None:
        raise NotFound(f"There is no device {public_id!r}.")
    return found


def _state(device: Row[*tuple[Any, ...]]) -> Management:
    return state_of(device.unenrolled_at, device.retire_requested_at)


def _dates(device: Row[*tuple[Any, ...]]) -> dict[str, datetime | None]:
    names = ("unenrolled_at", "retire_requested_at", "retire_told_at")
    return {name: getattr(device, name) for name in names}


def _standing(device: Row[*tuple[Any, ...]], dates: dict[str, datetime | None]) -> Standing:
    return Standing(device.id, device.last_checkin_at, **dates)


def _has_left(device: Row[*tuple[Any, ...]]) -> Conflict:
    return Conflict(
        f"The device {device.id!r} has left management already, on {device.unenrolled_at:%Y-%m-%d %H:%M} UTC.",
        code="device_left",
    )


def _audit(
    conn: Connection,
    origin: Origin,
    device: Row[*tuple[Any, ...]],
    *,
    action: str,
    after: dict[str, datetime | None],
    detail: dict[str, Any],
    now: datetime,
) -> None:
    record(
        conn,
        origin,
        now=now,
        action=action,
        object_type="device",
        object_id=device.id,
        detail={"device_id": device.device_id, **detail},
        before=_dates(device),
        after=after,
    )
