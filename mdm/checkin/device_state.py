"""What a device's answers change in its rows: the snapshot of its Update tree, approvals, policies, DevInfo.

A list that was not answered changes nothing: unknown is not empty. Rows are written only where something
changed, so that a check-in without news costs reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, insert, select, update

from csp.guid import parse_guid
from csp.hresult import format_hresult
from csp.locuri import LocURI
from csp.snapshot import UpdateList
from csp.status import Outcome, outcome
from mdm.devices.timeline import Event, record_events
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import Device, DevicePolicy, DeviceUpdate
from syncml.alerts import AAD_USER_TOKEN, LOGIN_STATUS, AlertCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from csp.snapshot import UpdateEntry, UpdateSnapshot
    from syncml.exchange import Answer
    from syncml.session import AlertEvent, Reception

__all__ = ["StateChange", "apply_snapshot", "record_approvals", "record_opening", "record_policies"]

_device = table_of(Device)
_rows = table_of(DeviceUpdate)
_policy = table_of(DevicePolicy)

_STATE_ORDER: Final = (
    (UpdateList.PENDING_REBOOT, "pending_reboot"),
    (UpdateList.FAILED, "failed"),
    (UpdateList.INSTALLABLE, "installable"),
    (UpdateList.INSTALLED, "installed"),
)
_MERGE_ORDER: Final = (UpdateList.APPROVED, *(which for which, _ in reversed(_STATE_ORDER)))
"""The list that decides the state comes last, so that its RevisionNumber is the one kept."""
_NEEDS: Final = int(UpdateList.INSTALLABLE | UpdateList.FAILED | UpdateList.PENDING_REBOOT)
_APPROVED: Final = int(UpdateList.APPROVED)
_STATES: Final = tuple((int(which), name) for which, name in _STATE_ORDER)
_QUICK_LISTS: Final = (
    UpdateList.INSTALLABLE,
    UpdateList.FAILED,
    UpdateList.PENDING_REBOOT,
    UpdateList.APPROVED,
)
_DEV_INFO: Final = {
    "./DevInfo/Man": "manufacturer",
    "./DevInfo/Mod": "model",
    "./DevInfo/Lang": "language",
    "./DevInfo/DmV": "dm_version",
}
_ROUTINE: Final = frozenset({AlertCode.SERVER_INITIATED, AlertCode.CLIENT_INITIATED, AlertCode.NEXT_MESSAGE})
_TEXT: Final = 256
"""Characters kept of a free text a device sends."""


@dataclass(slots=True)
class StateChange:
    """What applying a snapshot came to."""

    reported: set[tuple[str, int]] = field(default_factory=set)
    """(UpdateID, RevisionNumber) newly named by the device; RevisionNumber 0 where its build has none."""
    vanished: set[str] = field(default_factory=set)
    """UpdateIDs that were installable, failed or pending and are in no list now: installed, or gone?"""
    events: list[Event] = field(default_factory=list)
    """Updates that changed their state, for the timeline."""
    changed: int = 0
    """Rows inserted, updated or deleted."""


def record_opening(connection: Connection, device: Row[Any], reception: Reception, now: datetime) -> None:
    """Keep when the device was heard, its DevInfo, who is logged on, and its alerts on the timeline."""
    values: dict[str, Any] = {"last_checkin_at": now}
    events = [
        _alert_event(alert)
        for alert in reception.alerts
        # Every session begins with these; only a change of them is news.
        if alert.code not in _ROUTINE and (alert.type, alert.data) != (LOGIN_STATUS, device.login_status)
    ]
    for uri, value in reception.device_info:
        if uri in _DEV_INFO:
            values[_DEV_INFO[uri]] = value[:_TEXT]
    for alert in reception.alerts:
        if alert.type == LOGIN_STATUS and alert.data is not None:
            values["login_status"] = alert.data[:_TEXT]
    if reception.unenrolling:
        values["unenrolled_at"] = now
        events.append(Event("unenrolled", {"by": "user"}))
    connection.execute(update(_device).where(_device.c.pk == device.pk).values(**values))
    record_events(connection, device.pk, events, now)


def _alert_event(alert: AlertEvent) -> Event:
    # A user's token is a secret, and of an alert nobody has defined only the beginning is kept.
    data = "(not kept)" if alert.type == AAD_USER_TOKEN else _clip(alert.data)
    return Event("alert", {"code": alert.code, "type": _clip(alert.type), "data": data})


def apply_snapshot(
    connection: Connection, device_pk: int, snapshot: UpdateSnapshot, now: datetime
) -> StateChange:
    """Bring the device's rows in line with the lists and nodes that were answered."""
    change = StateChange()
    if snapshot.lists or snapshot.nodes:
        stored = {
            row["update_id"]: dict(row)
            for row in connection.execute(select(_rows).where(_rows.c.device_pk == device_pk)).mappings()
        }
        merged = {update_id: dict(row) for update_id, row in stored.items()}
        for which in _MERGE_ORDER:
            if which in snapshot.lists:
                _merge_list(merged, which, snapshot.lists[which])
        for (which, update_id), entry in snapshot.nodes.items():
            _merge_node(merged, which, update_id, entry)
        change, writes = _compare(stored, merged, now)
        change.changed = writes.run(connection, device_pk)
        record_events(connection, device_pk, change.events, now)
    values: dict[str, Any] = {}
    if all(which in snapshot.lists for which in _QUICK_LISTS):
        values["state_read_at"] = now
    if UpdateList.INSTALLED in snapshot.lists:
        values["installed_read_at"] = now
    if snapshot.last_successful_scan_time is not None:
        values["last_scan_time"] = snapshot.last_successful_scan_time[:_TEXT]
    if values:
        connection.execute(update(_device).where(_device.c.pk == device_pk).values(**values))
    return change


def _merge_list(
    merged: dict[str, dict[str, Any]], which: UpdateList, entries: Mapping[str, UpdateEntry]
) -> None:
    bit = int(which)  # arithmetic of IntFlag costs a hundred times that of int
    for update_id, row in merged.items():
        if row["lists"] & bit and update_id not in entries:
            _leave(row, which)
    for update_id, entry in entries.items():
        _enter(merged, which, update_id, entry)


def _merge_node(
    merged: dict[str, dict[str, Any]], which: UpdateList, update_id: str, entry: UpdateEntry | None
) -> None:
    if entry is not None:
        _enter(merged, which, update_id, entry)
    elif update_id in merged:
        _leave(merged[update_id], which)


def _enter(merged: dict[str, dict[str, Any]], which: UpdateList, update_id: str, entry: UpdateEntry) -> None:
    row = merged.setdefault(update_id, _new_row(update_id))
    row["lists"] |= int(which)
    if entry.revision_number is not None:
        row["revision_number"] = entry.revision_number
    if which is UpdateList.INSTALLABLE:
        row["update_type"] = entry.update_type
    elif which is UpdateList.FAILED:
        row["hresult"] = entry.hresult
        row["failure_state"] = entry.failure_state
    elif which is UpdateList.PENDING_REBOOT:
        row["installed_time"] = _clip(entry.installed_time)
    elif which is UpdateList.APPROVED:
        row["approved_time"] = _clip(entry.approved_time)
        row["approve_status"] = row["approve_error"] = None


def _leave(row: dict[str, Any], which: UpdateList) -> None:
    row["lists"] &= ~int(which)
    if which is UpdateList.FAILED:
        row["hresult"] = row["failure_state"] = None


def _clip(text: str | None) -> str | None:
    return None if text is None else text[:_TEXT]


def _new_row(update_id: str) -> dict[str, Any]:
    return {
        "update_id": update_id,
        "lists": 0,
        "state": "listed",
        "revision_number": None,
        "update_type": None,
        "hresult": None,
        "failure_state": None,
        "installed_time": None,
        "approved_time": None,
        "since": None,
        "approve_status": None,
        "approve_error": None,
    }


def _state(lists: int) -> str:
    for bit, name in _STATES:
        if lists & bit:
            return name
    return "listed"


@dataclass(slots=True)
class _Writes:
    """The rows to write, sorted by statement, so that each is one executemany."""

    inserts: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    deletes: list[dict[str, Any]] = field(default_factory=list)

    def run(self, connection: Connection, device_pk: int) -> int:
        """Write them; returns how many rows changed."""
        key = (_rows.c.device_pk == device_pk, _rows.c.update_id == bindparam("b_update_id"))
        if self.inserts:
            connection.execute(insert(_rows), [{**row, "device_pk": device_pk} for row in self.inserts])
        if self.updates:
            connection.execute(update(_rows).where(*key), self.updates)
        if self.deletes:
            connection.execute(delete(_rows).where(*key), self.deletes)
        return len(self.inserts) + len(self.updates) + len(self.deletes)


def _compare(
    stored: Mapping[str, dict[str, Any]], merged: Mapping[str, dict[str, Any]], now: datetime
) -> tuple[StateChange, _Writes]:
    """What changed between the rows as stored and as merged."""
    change, writes = StateChange(), _Writes()
    for update_id, row in merged.items():
        before = stored.get(update_id)
        seen = row["lists"] & ~_APPROVED
        if before is not None and before["lists"] & _NEEDS and not seen:
            change.vanished.add(update_id)
        row["state"] = _state(row["lists"])
        if before is None:
            row["since"] = now
            writes.inserts.append(row)
        elif not row["lists"] and row["approve_status"] is None:
            writes.deletes.append({"b_update_id": update_id})
        elif before != row:
            if before["state"] != row["state"]:
                row["since"] = now
                change.events.append(_state_event(before, row))
            values = {name: row[name] for name in row if name not in {"device_pk", "update_id"}}
            writes.updates.append({**values, "b_update_id": update_id})
        if seen and (before is None or before["revision_number"] != row["revision_number"]):
            change.reported.add((update_id, row["revision_number"] or 0))
    return change, writes


def _state_event(before: Mapping[str, Any], row: Mapping[str, Any]) -> Event:
    detail = {"update_id": row["update_id"], "from": before["state"], "to": row["state"]}
    if row["hresult"] is not None:
        detail["hresult"] = format_hresult(row["hresult"])
    return Event("update_state", detail)


def record_approvals(
    connection: Connection, device_pk: int, answers: Iterable[Answer], now: datetime
) -> tuple[int, int]:
    """Keep what the device said to Adds on ApprovedUpdates; returns (accepted, refused).

    An answered 200 or 418 puts the GUID into the device's approved list at once; the next read of
    ApprovedUpdates confirms it. A command without an answer is unknown and changes nothing.
    """
    accepted = refused = 0
    events: list[Event] = []
    for answer in answers:
        if answer.request.verb != "Add" or answer.status is None:
            continue
        update_id = parse_guid(LocURI.parse(answer.request.loc_uri).segments[-1])
        row = (
            connection.execute(
                select(_rows).where(_rows.c.device_pk == device_pk, _rows.c.update_id == update_id)
            )
            .mappings()
            .one_or_none()
        )
        values = (
            dict(row) if row is not None else {**_new_row(update_id), "device_pk": device_pk, "since": now}
        )
        if outcome(answer.request, answer.status) in {Outcome.DONE, Outcome.ALREADY_DONE}:
            accepted += 1
            values["lists"] |= int(UpdateList.APPROVED)
            values["approve_status"] = values["approve_error"] = None
            events.append(Event("approval_delivered", {"id": update_id, "status": answer.status}))
        else:
            refused += 1
            events.append(
                Event(
                    "approval_refused",
                    {"id": update_id, "status": answer.status, "error": _clip(answer.original_error)},
                )
            )
            values["approve_status"] = answer.status
            values["approve_error"] = _clip(answer.original_error)
        connection.execute(
            upsert(_rows, connection, update=("lists", "approve_status", "approve_error")), values
        )
    record_events(connection, device_pk, events, now)
    return accepted, refused


def record_policies(connection: Connection, device_pk: int, answers: Iterable[Answer], now: datetime) -> None:
    """Keep what the device said to Replaces of policies: set, unsupported (404, 405, 406) or failed."""
    for answer in answers:
        if answer.request.verb != "Replace" or answer.status is None:
            continue
        result = outcome(answer.request, answer.status)
        if result in {Outcome.DONE, Outcome.ALREADY_DONE}:
            status, value = "set", answer.request.data
        else:
            status, value = ("unsupported" if result is Outcome.UNSUPPORTED else "failed"), None
        connection.execute(
            upsert(_policy, connection, update=("status", "value", "status_code", "at")),
            {
                "device_pk": device_pk,
                "name": LocURI.parse(answer.request.loc_uri).segments[-1],
                "status": status,
                "value": value,
                "status_code": answer.status,
                "at": now,
            },
        )
