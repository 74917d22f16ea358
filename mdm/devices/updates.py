"""A device's updates as IT reads them: the state the device reported, and one sentence why it is so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from csp.classifications import CLASSIFICATIONS
from csp.hresult import describe, format_hresult
from mdm.catalog.supersedence import VISIBLE_TYPES
from mdm.devices.cases import read_cases
from mdm.devices.reasons import explain
from mdm.errors import NotFound
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DeviceUpdate, SyncRun, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.devices.case import Case

__all__ = [
    "STATES",
    "DeviceUpdateView",
    "ExplainedUpdate",
    "Freshness",
    "Since",
    "explain_update",
    "list_device_updates",
]

STATES: Final = ("pending_reboot", "failed", "installable", "installed")
"""What the API shows; rows that stand in ApprovedUpdates only are not updates the device speaks of."""

_device = table_of(Device)
_rows = table_of(DeviceUpdate)
_revision = table_of(UpdateRevision)
_run = table_of(SyncRun)


@dataclass(frozen=True, slots=True)
class DeviceUpdateView:
    """One update on one device."""

    update_id: str
    revision_number: int | None
    state: str | None
    """`pending_reboot`, `failed`, `installable` or `installed`; None: the device does not speak of it."""
    approved: bool
    """An approval holds for this device: of the update itself or of something it belongs to."""
    delivered: bool
    """The update, or its classification, stands in the device's ApprovedUpdates."""
    reason: str
    """Why it is not installed, as a stable code."""
    reason_text: str
    """The same as a sentence for people."""
    advice: str | None
    """What to try first, for failed updates with a known HRESULT."""
    until: datetime | None
    """When the reason ends by itself, where that is known."""
    title: str | None
    kb: str | None
    update_type: int | None
    """InstallableUpdates Type: 0 none, 1 security, 2 critical."""
    hresult: str | None
    """`0x%08X`, for failed updates."""
    hresult_text: str | None
    """What that HRESULT means, where it is a known one."""
    failures: int
    """Failures that the device has told of since the update was last installed."""
    since: datetime | None
    """When the state last changed."""
    delivered_at: datetime | None
    """When the device took the approval, if it is known."""
    deadline: datetime | None
    """By when an approval wants it installed: the earliest."""
    overdue: bool
    """That is past, and it is not installed."""
    approval_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Since:
    """When something was heard last, and how long ago."""

    at: datetime | None
    """None: never."""
    age_seconds: int | None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far an explanation can be relied on."""

    device_seen: Since
    lists_read: Since
    """When the device last told which updates it could install, which failed and which wait for a restart."""
    installed_read: Since
    """When it last told which are installed: at most daily."""
    scanned: Since
    """When it last looked for updates, by its own clock."""
    catalogue_synced: Since
    """When a sync of the catalogue last succeeded."""


@dataclass(frozen=True, slots=True)
class ExplainedUpdate:
    """Any update on one device, with how fresh the explanation is."""

    device_id: str
    """Public id of the device."""
    device_name: str
    update: DeviceUpdateView
    as_of: datetime
    freshness: Freshness


def list_device_updates(
    connection: Connection,
    device_pk: int,
    *,
    after: str | None = None,
    limit: int = 50,
    state: str | None = None,
    now: datetime,
) -> list[DeviceUpdateView]:
    """At most `limit` updates of a device in UpdateID order, from the one behind `after` on."""
    statement = (
        select(_rows.c.update_id)
        .where(_rows.c.device_pk == device_pk, _rows.c.state.in_(STATES if state is None else (state,)))
        .order_by(_rows.c.update_id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(_rows.c.update_id > after)
    ids = connection.scalars(statement).all()
    return _views(connection, device_pk, ids, read_cases(connection, device_pk, ids, now))


def explain_update(connection: Connection, device_pk: int, update_id: str, now: datetime) -> ExplainedUpdate:
    """Explain any update on a device, also one that it never spoke of.

    Raises NotFound for the GUID of something else: a classification, a product, a detectoid.
    """
    _refuse_other(connection, update_id)
    cases = read_cases(connection, device_pk, [update_id], now)
    (view,) = _views(connection, device_pk, [update_id], cases)
    device = connection.execute(select(_device.c.id, _device.c.name).where(_device.c.pk == device_pk)).one()
    return ExplainedUpdate(device.id, device.name, view, now, _freshness(connection, cases[update_id]))


def _refuse_other(connection: Connection, update_id: str) -> None:
    kind = connection.scalar(
        select(_revision.c.update_type).where(_revision.c.update_id == update_id, _revision.c.is_latest)
    )
    if update_id in CLASSIFICATIONS or (kind is not None and kind not in VISIBLE_TYPES):
        what = CLASSIFICATIONS.get(update_id) or kind
        raise NotFound(f"{update_id} is no update ({what}).")


def _freshness(connection: Connection, case: Case) -> Freshness:
    synced = connection.scalar(select(func.max(_run.c.finished_at)).where(_run.c.state == "succeeded"))
    heard, now = case.heard, case.now
    return Freshness(
        device_seen=_since(heard.last_checkin_at, now),
        lists_read=_since(heard.lists_read_at, now),
        installed_read=_since(heard.installed_read_at, now),
        scanned=_since(heard.scanned_at, now),
        catalogue_synced=_since(synced, now),
    )


def _since(moment: datetime | None, now: datetime) -> Since:
    # The clock of a device may be ahead of ours.
    return Since(moment, None if moment is None else max(0, round((now - moment).total_seconds())))


def _views(
    connection: Connection, device_pk: int, ids: Sequence[str], cases: dict[str, Case]
) -> list[DeviceUpdateView]:
    rows = {
        row.update_id: row
        for row in connection.execute(
            select(_rows.c.update_id, _rows.c.revision_number, _rows.c.update_type, _rows.c.state).where(
                _rows.c.device_pk == device_pk, _rows.c.update_id.in_(ids), _rows.c.state.in_(STATES)
            )
        )
    }
    names = {
        row.update_id: row
        for row in connection.execute(
            select(_revision.c.update_id, _revision.c.title, _revision.c.kb).where(
                _revision.c.update_id.in_(ids), _revision.c.is_latest
            )
        )
    }
    return [_view(cases[each], rows.get(each), names.get(each)) for each in ids]


def _view(case: Case, row: Any, names: Any) -> DeviceUpdateView:
    why = explain(case)
    report = None if case.state is None else case.report
    hresult = None if report is None else report.hresult
    deadline = min((each.deadline for each in case.approvals if each.deadline is not None), default=None)
    return DeviceUpdateView(
        update_id=case.update_id,
        revision_number=None if row is None else row.revision_number,
        state=case.state,
        approved=bool(case.approvals),
        delivered=case.delivered,
        reason=why.code,
        reason_text=why.text,
        advice=why.advice,
        until=why.until,
        title=None if names is None else names.title,
        kb=None if names is None else names.kb,
        update_type=None if row is None else row.update_type,
        hresult=None if hresult is None else format_hresult(hresult),
        hresult_text=None if hresult is None else describe(hresult),
        failures=0 if report is None else report.failures,
        since=None if report is None else report.since,
        delivered_at=case.delivered_at,
        deadline=deadline,
        overdue=deadline is not None and deadline <= case.now and case.state != "installed",
        approval_ids=tuple(each.approval_id for each in case.approvals),
    )
