"""What a device's answers change in its rows: the snapshot of its Update tree, approvals, policies, DevInfo.

A list that was not answered changes nothing: unknown is not empty. Rows are written only where something
changed, so that a check-in without news costs reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update

from csp.guid import parse_guid
from csp.hresult import format_hresult
from csp.identity import read_identity
from csp.locuri import LocURI
from csp.snapshot import UpdateList
from csp.status import Outcome, outcome
from csp.sync_version import SyncVersions, read
from mdm.devices.departure import note_left
from mdm.devices.timeline import Event, record_events
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import Device, DeviceUpdate
from syncml.alerts import AAD_USER_TOKEN, LOGIN_STATUS, AlertCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from csp.snapshot import UpdateEntry, UpdateSnapshot
    from syncml.exchange import Answer
    from syncml.session import AlertEvent, Reception

__all__ = [
    "StateChange",
    "apply_snapshot",
    "record_approvals",
    "record_identity",
    "record_opening",
    "record_sync_version",
]

_device = table_of(Device)
_rows = table_of(DeviceUpdate)

_UPDATE_DEVICE: Final = update(_device).where(_device.c.pk == bindparam("b_pk"))
"""The values to set come with the execution."""

_TAKE_NAME: Final = (
    update(_device)
    .where(
        _device.c.pk == bindparam("b_pk"),
        or_(
            _device.c.name == _device.c.device_id,
            # An enrolled device was named by itself, one that was made over the API by IT.
            and_(_device.c.certificate_required, _device.c.name == _device.c.computer_name),
        ),
    )
    .values(name=bindparam("b_name"))
)

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

MAX_CHANGES: Final = 250
"""Rows written for one message; what is more is written when the device tells it again, in its next session."""

MAX_ALERTS: Final = 50
"""Alerts of one message kept on the timeline; the rest is counted in one more."""

_TEXT: Final = 256
"""Characters kept of a free text a device sends."""

_NAME: Final = 200
"""Characters a device's name for people may have."""


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
    postponed: int = 0
    """Rows that differ still, because `MAX_CHANGES` were written."""


def record_opening(connection: Connection, device: Row[Any], reception: Reception, now: datetime) -> None:
    """Keep when the device was heard, its DevInfo, who is logged on, its alerts on the timeline, and that it leaves."""
    values: dict[str, Any] = {"last_checkin_at": now}
    news = [
        alert
        for alert in reception.alerts
        # Every session begins with these; only a change of them is news.
        if alert.code not in _ROUTINE and (alert.type, alert.data) != (LOGIN_STATUS, device.login_status)
    ]
    events = [_alert_event(alert) for alert in news[:MAX_ALERTS]]
    if len(news) > MAX_ALERTS:
        events.append(Event("alert", {"not_kept": len(news) - MAX_ALERTS}))
    for uri, value in reception.device_info:
        if uri in _DEV_INFO:
            values[_DEV_INFO[uri]] = value[:_TEXT]
    for alert in reception.alerts:
        if alert.type == LOGIN_STATUS and alert.data is not None:
            values["login_status"] = alert.data[:_TEXT]
    connection.execute(_UPDATE_DEVICE, {**values, "b_pk": device.pk})
    record_events(connection, device.pk, events, now)
    if reception.unenrolling:
        note_left(connection, device, now)


def _alert_event(alert: AlertEvent) -> Event:
    # A user's token is a secret, and of an alert nobody has defined only the beginning is kept.
    data = "(not kept)" if alert.type == AAD_USER_TOKEN else _clip(alert.data)
    return Event("alert", {"code": alert.code, "type": _clip(alert.type), "data": data})


def apply_snapshot(
    connection: Connection, device_pk: int, snapshot: UpdateSnapshot, now: datetime
) -> StateChange:
    """Bring the device's rows in line with the lists and nodes that were answered, `MAX_CHANGES` of them at most.

    While rows are left over the lists do not count as read, so that the next session asks for them again.
    """
    change = StateChange()
    if snapshot.lists or snapshot.nodes:
        merged = _stored_rows(connection, device_pk)
        beyond: set[str] = set()
        most = len(merged) + MAX_CHANGES
        for which in _MERGE_ORDER:
            if which in snapshot.lists:
                _merge_list(merged, which, snapshot.lists[which], beyond, most)
        for (which, update_id), entry in snapshot.nodes.items():
            _merge_node(merged, which, update_id, entry)
        change, writes = _compare(merged, now)
        change.postponed += len(beyond)
        change.changed = writes.run(connection, device_pk)
        record_events(connection, device_pk, change.events, now)
    values: dict[str, Any] = {}
    if all(which in snapshot.lists for which in _QUICK_LISTS) and not change.postponed:
        values["state_read_at"] = now
    if UpdateList.INSTALLED in snapshot.lists and not change.postponed:
        values["installed_read_at"] = now
    if snapshot.last_successful_scan_time is not None:
        values["last_scan_time"] = snapshot.last_successful_scan_time[:_TEXT]
    if values:
        connection.execute(_UPDATE_DEVICE, {**values, "b_pk": device_pk})
    return change


@dataclass(slots=True)
class _Update:
    """A row of `device_update` while lists are merged into it."""

    lists: int = 0
    state: str = "listed"
    revision_number: int | None = None
    update_type: int | None = None
    hresult: int | None = None
    failure_state: int | None = None
    failures: int = 0
    installed_time: str | None = None
    approved_time: str | None = None
    approve_status: int | None = None
    approve_error: str | None = None
    stored: tuple[Any, ...] | None = None
    """The columns as the database has them; None for an update the device has not named before."""


_COLUMNS: Final = tuple(column.name for column in fields(_Update) if column.name != "stored")
_columns_of: Final = attrgetter(*_COLUMNS)
_LISTS: Final = _COLUMNS.index("lists")
_STATE: Final = _COLUMNS.index("state")
_REVISION: Final = _COLUMNS.index("revision_number")

_STORED: Final = select(_rows.c.update_id, *(_rows.c[name] for name in _COLUMNS)).where(
    _rows.c.device_pk == bindparam("b_device_pk")
)
_INSERT: Final = insert(_rows)
_ONE: Final = (_rows.c.device_pk == bindparam("b_device_pk"), _rows.c.update_id == bindparam("b_update_id"))
_UPDATE: Final = update(_rows).where(*_ONE)
_DELETE: Final = delete(_rows).where(*_ONE)


def _stored_rows(connection: Connection, device_pk: int) -> dict[str, _Update]:
    found = connection.execute(_STORED, {"b_device_pk": device_pk})
    rows = {}
    for update_id, *stored in found:
        rows[update_id] = row = _Update(*stored)
        row.stored = tuple(stored)
    return rows


def _merge_list(
    merged: dict[str, _Update],
    which: UpdateList,
    entries: Mapping[str, UpdateEntry],
    beyond: set[str],
    most: int,
) -> None:
    """Bring one list into the rows; of updates that are new, those past `most` rows go to `beyond`.

    They could not be written for this message anyway, so that thousands of them cost no more than their names.
    """
    bit = int(which)  # arithmetic of IntFlag costs a hundred times that of int
    for update_id, row in merged.items():
        if row.lists & bit and update_id not in entries:
            _leave(row, which)
    for update_id, entry in entries.items():
        if len(merged) >= most and update_id not in merged:
            beyond.add(update_id)
        else:
            _enter(merged, which, update_id, entry)


def _merge_node(
    merged: dict[str, _Update], which: UpdateList, update_id: str, entry: UpdateEntry | None
) -> None:
    if entry is not None:
        _enter(merged, which, update_id, entry)
    elif update_id in merged:
        _leave(merged[update_id], which)


def _enter(merged: dict[str, _Update], which: UpdateList, update_id: str, entry: UpdateEntry) -> None:
    row = merged.get(update_id)
    if row is None:
        row = merged[update_id] = _Update()
    was_new = not row.lists & which.value
    row.lists |= which.value
    if entry.revision_number is not None:
        row.revision_number = entry.revision_number
    if which is UpdateList.INSTALLABLE:
        row.update_type = entry.update_type
    elif which is UpdateList.FAILED:
        row.failures += was_new or _differ(row.hresult, entry.hresult)
        row.hresult = entry.hresult
        row.failure_state = entry.failure_state
    elif which is UpdateList.INSTALLED and was_new:
        row.failures = 0
    elif which is UpdateList.PENDING_REBOOT:
        row.installed_time = _clip(entry.installed_time)
    elif which is UpdateList.APPROVED:
        row.approved_time = _clip(entry.approved_time)
        row.approve_status = row.approve_error = None


def _differ(before: int | None, after: int | None) -> bool:
    """Whether these are HRESULTs of two failures."""
    return before is not None and after is not None and before != after


def _leave(row: _Update, which: UpdateList) -> None:
    row.lists &= ~which.value
    if which is UpdateList.FAILED:
        row.hresult = row.failure_state = None


def _clip(text: str | None) -> str | None:
    return None if text is None else text[:_TEXT]


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
    """Of rows that stay in their state, and thus keep their `since`."""
    moves: list[dict[str, Any]] = field(default_factory=list)
    deletes: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        """Rows to write."""
        return len(self.inserts) + len(self.updates) + len(self.moves) + len(self.deletes)

    def run(self, connection: Connection, device_pk: int) -> int:
        """Write them; returns how many rows changed."""
        if self.inserts:
            connection.execute(_INSERT, [{**row, "device_pk": device_pk} for row in self.inserts])
        for statement, changes in ((_UPDATE, self.updates), (_UPDATE, self.moves), (_DELETE, self.deletes)):
            if changes:
                connection.execute(statement, [{**row, "b_device_pk": device_pk} for row in changes])
        return len(self)


def _compare(merged: Mapping[str, _Update], now: datetime) -> tuple[StateChange, _Writes]:
    """What changed between the rows as stored and as merged."""
    change, writes = StateChange(), _Writes()
    for update_id, row in merged.items():
        row.state = _state(row.lists)
        columns = _columns_of(row)
        if columns == row.stored:
            continue
        if len(writes) == MAX_CHANGES:
            change.postponed += 1
            continue
        _note(change, update_id, row)
        values = dict(zip(_COLUMNS, columns, strict=True))
        if row.stored is None:
            writes.inserts.append({**values, "update_id": update_id, "since": now})
        elif not row.lists and row.approve_status is None:
            writes.deletes.append({"b_update_id": update_id})
        elif row.stored[_STATE] == row.state:
            writes.updates.append({**values, "b_update_id": update_id})
        else:
            change.events.append(_state_event(update_id, row, row.stored[_STATE]))
            writes.moves.append({**values, "b_update_id": update_id, "since": now})
    return change, writes


def _note(change: StateChange, update_id: str, row: _Update) -> None:
    """Put a changed row among the reported or the vanished, if it is either."""
    before = row.stored
    if row.lists & ~_APPROVED:
        if before is None or before[_REVISION] != row.revision_number:
            change.reported.add((update_id, row.revision_number or 0))
    elif before is not None and before[_LISTS] & _NEEDS:
        change.vanished.add(update_id)


def _state_event(update_id: str, row: _Update, before: str) -> Event:
    detail = {"update_id": update_id, "from": before, "to": row.state}
    if row.hresult is not None:
        detail["hresult"] = format_hresult(row.hresult)
    return Event("update_state", detail)


def record_approvals(
    connection: Connection, device_pk: int, answers: Iterable[Answer], now: datetime
) -> tuple[int, int]:
    """Keep what the device said to Adds on ApprovedUpdates; returns (accepted, refused).

    An answered 200 or 418 puts the GUID into the device's approved list at once; the next read of
    ApprovedUpdates confirms it. A command without an answer is unknown and changes nothing.
    """
    told = [
        (parse_guid(LocURI.parse(answer.request.loc_uri).segments[-1]), answer, answer.status)
        for answer in answers
        if answer.request.verb == "Add" and answer.status is not None
    ]
    if not told:
        return 0, 0
    known = select(_rows.c.update_id, _rows.c.lists).where(
        _rows.c.device_pk == device_pk, _rows.c.update_id.in_({update_id for update_id, _, _ in told})
    )
    lists = dict(connection.execute(known).all())
    accepted = 0
    events: list[Event] = []
    rows: list[dict[str, Any]] = []
    for update_id, answer, status in told:
        row = {"device_pk": device_pk, "update_id": update_id, "state": "listed", "since": now}
        if outcome(answer.request, status) in {Outcome.DONE, Outcome.ALREADY_DONE}:
            accepted += 1
            lists[update_id] = lists.get(update_id, 0) | _APPROVED
            row |= {"approve_status": None, "approve_error": None, "delivered_at": now}
            events.append(Event("approval_delivered", {"id": update_id, "status": status}))
        else:
            error = _clip(answer.original_error)
            row |= {"approve_status": status, "approve_error": error, "delivered_at": None}
            events.append(Event("approval_refused", {"id": update_id, "status": status, "error": error}))
        rows.append({**row, "lists": lists.get(update_id, 0)})
    connection.execute(
        # state and since are those of a row that is new
        upsert(_rows, connection, update=("lists", "approve_status", "approve_error", "delivered_at")),
        rows,
    )
    record_events(connection, device_pk, events, now)
    return accepted, len(told) - accepted


def record_sync_version(
    connection: Connection, device_pk: int, answers: Iterable[Answer], provider_id: str, now: datetime
) -> SyncVersions:
    """Keep the SyncApplicationVersion the device told or took, and that it was asked; returns what it said.

    Without an answer nothing is kept, so that it is asked again; a refusal leaves the version known before.
    """
    versions = read(answers, provider_id)
    if versions.answered:
        values: dict[str, Any] = {"sync_version_at": now}
        if versions.current is not None:
            values["sync_version"] = versions.current[:_TEXT]
        connection.execute(_UPDATE_DEVICE, {**values, "b_pk": device_pk})
    return versions


def record_identity(connection: Connection, device_pk: int, answers: Iterable[Answer], now: datetime) -> bool:
    """Keep the device's Windows, computer name and serial number, and that it was asked; returns whether it answered.

    Without an answer nothing is kept, so that it is asked again; a refusal leaves what was known before. A device
    that has no name of its own for people takes the computer's, and follows it; one that IT has named keeps its name.
    """
    said = read_identity(answers)
    if not said.answered:
        return False
    values: dict[str, Any] = {"identity_read_at": now}
    for column, text in (
        ("os_version", said.version),
        ("os_edition", said.edition),
        ("computer_name", said.computer_name),
        ("serial_number", said.serial_number),
    ):
        if text is not None:
            values[column] = text[:_TEXT]
    name = said.computer_name
    if name is not None and name.isprintable() and len(name) <= _NAME:
        # Before the column is written: what the name is compared with is the computer's former one.
        connection.execute(_TAKE_NAME, {"b_pk": device_pk, "b_name": name})
    connection.execute(_UPDATE_DEVICE, {**values, "b_pk": device_pk})
    return True
