"""Whether approvals take effect on a device: what becomes of each update that is approved on it and installable.

The Update CSP tells of no decision of Windows, so all there is to go by is what happens. An update that stands in the
device's ApprovedUpdates, by itself or with its classification, and in InstallableUpdates, is on trial: Windows
installs it or tries to, which speaks for approvals, or scan after scan it stays where it is, which speaks against.
A check-in without news costs a comparison, and one with news of a device without approvals costs reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, or_, select

from csp.classifications import DEFINITION_UPDATES
from csp.snapshot import UpdateList
from mdm.catalog.ids import chunks
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import ApprovalEvidence, ApprovalTrial, DeviceUpdate, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

__all__ = ["record_evidence"]

_LEAST_BETWEEN: Final = timedelta(hours=6)
"""Scans that come closer count as one: Windows scans about once a day, and a user as often as he presses the button."""

_INSTALLABLE: Final = int(UpdateList.INSTALLABLE)
_INSTALLED: Final = int(UpdateList.INSTALLED)
_FAILED: Final = int(UpdateList.FAILED)
_PENDING: Final = int(UpdateList.PENDING_REBOOT)
_APPROVED: Final = int(UpdateList.APPROVED)

_evidence = table_of(ApprovalEvidence)
_trial = table_of(ApprovalTrial)
_rows = table_of(DeviceUpdate)
_revision = table_of(UpdateRevision)

_KEPT_ROW: Final = select(_evidence).where(_evidence.c.device_pk == bindparam("device_pk"))
_APPROVED_ROW: Final = (
    select(_rows.c.update_id)
    .where(_rows.c.device_pk == bindparam("device_pk"), _rows.c.lists.bitwise_and(_APPROVED) != 0)
    .limit(1)
)

_KEPT: Final = ("scans", "scan_time", "counted_at", "waiting", "waiting_from", "installed", "failed")
_ACTED: Final = ("acted_scan", "acted_at")


def record_evidence(
    connection: Connection, device: Row[Any], scan_time: str | None, *, changed: bool, now: datetime
) -> None:
    """Weigh what a message of a device has brought, once it is in the device's rows.

    `device` is its row as it was before the message, `scan_time` the LastSuccessfulScanTime the message told, if it
    did, and `changed` says whether its update rows or its approvals have changed.
    """
    scanned = scan_time not in (None, "0", device.last_scan_time)
    if not scanned and not changed:
        return
    kept = connection.execute(_KEPT_ROW, {"device_pk": device.pk}).mappings().one_or_none()
    if kept is None and connection.execute(_APPROVED_ROW, {"device_pk": device.pk}).first() is None:
        return  # nothing has ever been approved here, and its rows, which may be thousands, need no look
    weighing = _read(connection, device.pk, kept)
    before = weighing.row()
    if scanned:
        weighing.count_scan(scan_time, now)
    weighing.judge(now)
    after = weighing.row()
    if weighing.is_new and not weighing.trials:
        return  # nothing that is approved here is waiting
    _write(connection, device.pk, weighing)
    if after != before or weighing.is_new:
        connection.execute(
            upsert(_evidence, connection, update=(*_KEPT, *_ACTED)), {"device_pk": device.pk, **after}
        )


@dataclass(slots=True)
class _Weighing:
    """The evidence of one device while it is brought up to date."""

    is_new: bool
    values: dict[str, Any]
    trials: dict[str, int | None]
    """UpdateID to the scan it waits from; None: the device does not offer it now."""
    lists: dict[str, int]
    """What the device's rows say of the updates that matter."""
    covered: frozenset[str]
    """Updates that are approved on the device."""
    started: dict[str, int | None] = field(default_factory=dict)
    """Trials that are new or wait from another scan."""
    ended: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """The columns of the device's row."""
        return dict(self.values)

    def count_scan(self, scan_time: str | None, now: datetime) -> None:
        """Count a scan, unless it comes too soon or there is nothing it could be evidence of."""
        counted_at = self.values["counted_at"]
        if self.values["waiting"] and (counted_at is None or now - counted_at >= _LEAST_BETWEEN):
            self.values |= {
                "scans": self.values["scans"] + 1,
                "scan_time": scan_time,
                "counted_at": now,
            }

    def judge(self, now: datetime) -> None:
        """End the trials that have an outcome, and begin those that are due."""
        for update_id in sorted(self.trials):
            self._outcome(update_id, now)
        for update_id in sorted(self.covered):
            if update_id not in self.trials and _waits(self.lists[update_id]):
                self._place(update_id, self.values["scans"])
        waiting = [scan for scan in self.trials.values() if scan is not None]
        if waiting and not self.values["waiting"]:
            self.values["counted_at"] = now  # the next scan is evidence only some time after this
        self.values |= {"waiting": len(waiting), "waiting_from": min(waiting, default=None)}

    def _outcome(self, update_id: str, now: datetime) -> None:
        lists = self.lists.get(update_id, 0)
        if lists & _PENDING or (lists & _INSTALLED and not lists & _INSTALLABLE):
            self._act("installed", update_id, now)
        elif lists & _FAILED:
            self._act("failed", update_id, now)
        elif update_id not in self.covered:
            self._end(update_id)
        elif not lists & _INSTALLABLE:
            self._place(update_id, None)
        elif self.trials[update_id] is None:
            self._place(update_id, self.values["scans"])

    def _act(self, what: str, update_id: str, now: datetime) -> None:
        self._end(update_id)
        self.values |= {
            what: self.values[what] + 1,
            "acted_scan": self.values["scans"],
            "acted_at": now,
        }

    def _end(self, update_id: str) -> None:
        del self.trials[update_id]
        self.ended.append(update_id)

    def _place(self, update_id: str, scan: int | None) -> None:
        if update_id not in self.trials or self.trials[update_id] != scan:
            self.trials[update_id] = self.started[update_id] = scan


def _waits(lists: int) -> bool:
    return bool(lists & _INSTALLABLE) and not lists & (_FAILED | _PENDING)


def _read(connection: Connection, device_pk: int, kept: Mapping[Any, Any] | None) -> _Weighing:
    """`kept` is its row, if it has one."""
    values: dict[str, Any] = dict.fromkeys((*_KEPT, *_ACTED)) | dict.fromkeys(
        ("scans", "waiting", "installed", "failed"), 0
    )
    if kept is not None:
        values = {name: kept[name] for name in values}
    trials = select(_trial.c.update_id, _trial.c.scan).where(_trial.c.device_pk == device_pk)
    waiting: dict[str, int | None] = dict(connection.execute(trials).all())
    speaks = _rows.c.lists.bitwise_and(_APPROVED | _INSTALLABLE) != 0
    rows = select(_rows.c.update_id, _rows.c.lists).where(
        _rows.c.device_pk == device_pk, or_(speaks, _rows.c.update_id.in_(list(waiting)))
    )
    lists: dict[str, int] = dict(connection.execute(rows).all())
    return _Weighing(
        is_new=kept is None,
        values=values,
        trials=waiting,
        lists=lists,
        covered=_covered(connection, lists, waiting),
    )


def _covered(connection: Connection, lists: dict[str, int], trials: dict[str, int | None]) -> frozenset[str]:
    """The updates of these that are approved on the device, by themselves or with their classification."""
    approved = {update_id for update_id, bits in lists.items() if bits & _APPROVED}
    offered = {update_id for update_id, bits in lists.items() if bits & _INSTALLABLE} | trials.keys()
    found = approved & offered
    # Definition updates are no evidence: Defender installs them by itself.
    classes = approved - offered - {DEFINITION_UPDATES}
    if (
        classes
    ):  # or updates that the device does not offer: no update is in the classification of such a GUID
        latest = select(_revision.c.update_id, _revision.c.classification_id).where(_revision.c.is_latest)
        for chunk in chunks(offered - approved):
            rows = connection.execute(latest.where(_revision.c.update_id.in_(chunk)))
            found |= {row.update_id for row in rows if row.classification_id in classes}
    return frozenset(found)


def _write(connection: Connection, device_pk: int, weighing: _Weighing) -> None:
    """The trials that changed."""
    for chunk in chunks(weighing.ended):
        connection.execute(
            delete(_trial).where(_trial.c.device_pk == device_pk, _trial.c.update_id.in_(chunk))
        )
    if weighing.started:
        connection.execute(
            upsert(_trial, connection, update=("scan",)),
            [
                {"device_pk": device_pk, "update_id": update_id, "scan": scan}
                for update_id, scan in weighing.started.items()
            ],
        )
