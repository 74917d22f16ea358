"""What approving costs when the fleet is large: the approval itself, and what follows for one device at its check-in."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, insert, select
from sqlmodel import SQLModel

from csp.classifications import SECURITY_UPDATES
from csp.snapshot import UpdateList
from mdm.approvals.store import create_approval, revoke_approval
from mdm.audit import Origin
from mdm.checkin.memory import Memory
from mdm.checkin.wishes import Wishes
from mdm.clock import utc_now
from mdm.lab.bench_bridge import yardstick
from mdm.lab.tables import render_table
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    Device,
    DeviceGroup,
    DeviceUpdate,
    GroupMember,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.storage.engine import Database

__all__ = ["Figure", "render", "run"]

FLEET: Final = "bench-fleet"
"""The group that every device of the benchmark is in."""

_ORIGIN: Final = Origin(actor="command-line")
_PIECE: Final = 5_000
"""Devices inserted in one transaction."""
_UPDATES: Final = 200
"""Updates in the classification."""
_OFFERED: Final = 5
"""Updates each device could install."""
_APPROVALS: Final = 1_000
"""Approvals of other updates that the fleet has already."""
_TIMES: Final = 30
_CHANGED: Final = 300
"""Devices that are planned for."""

_INSTALLABLE: Final = int(UpdateList.INSTALLABLE)

_device = table_of(Device)


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured, and the middle and the worst of it."""

    what: str
    unit: str
    middle: float
    worst: float


def run(database: Database, devices: int) -> list[Figure]:
    """Measure on an empty database with that many devices; the schema must be there."""
    now = utc_now()
    _fill(database, devices, now)
    before = _count_rows(database)
    approve: list[tuple[float, float]] = []
    revoke: list[tuple[float, float]] = []
    changed: list[float] = []
    made = 0
    for number in range(_TIMES):
        approval = _Approval(database, (ALL_DEVICES, FLEET)[number % 2], now)
        approve.append(_timed(approval.make))
        if number == 0:
            made = _count_rows(database) - before
        if number == _TIMES - 1:
            changed = [_plan(database, pk, now) for pk in _some(devices, _CHANGED)]
        revoke.append(_timed(approval.revoke))
    same = [_look_again(database, pk, now) for pk in _some(devices, _CHANGED)]
    return [
        _figure("approving a classification, to the commit", "ms", [wall for wall, _ in approve]),
        _figure("the same, CPU", "ms", [cpu for _, cpu in approve]),
        _figure("revoking it, to the commit", "ms", [wall for wall, _ in revoke]),
        Figure("rows that one approval adds, in all tables", "rows", made, made),
        _figure("working out what a changed device gets, CPU", "ms", changed),
        _figure("seeing that nothing has changed for a device, CPU", "ms", same),
        Figure("a fixed piece of work, for comparing runs, CPU", "ms", yardstick(), yardstick()),
    ]


def _fill(database: Database, devices: int, now: datetime) -> None:
    updates = [_guid(number) for number in range(_UPDATES)]
    with database.write() as connection:
        connection.execute(
            insert(DeviceGroup), {"id": FLEET, "name": "Fleet", "builtin": False, "created_at": now}
        )
        connection.execute(insert(UpdateRevision), [_revision(each, now) for each in updates])
        others = [f"apr_bench{number:05d}" for number in range(_APPROVALS)]
        connection.execute(
            insert(Approval),
            [
                {
                    "id": approval_id,
                    "target_type": "update",
                    "target_id": _guid(_UPDATES + number),
                    "action": "approve",
                    "created_at": now,
                    "created_by": _ORIGIN.actor,
                }
                for number, approval_id in enumerate(others)
            ],
        )
        connection.execute(
            insert(ApprovalGroup), [{"approval_id": each, "group_id": FLEET} for each in others]
        )
    for first in range(1, devices + 1, _PIECE):
        pks = range(first, min(first + _PIECE, devices + 1))
        with database.write() as connection:
            connection.execute(insert(Device), [_device_row(pk, now) for pk in pks])
            connection.execute(insert(GroupMember), [{"device_pk": pk, "group_id": FLEET} for pk in pks])
            connection.execute(
                insert(DeviceUpdate),
                [
                    {
                        "device_pk": pk,
                        "update_id": updates[(pk + step) % _UPDATES],
                        "lists": _INSTALLABLE,
                        "state": "installable",
                        "since": now,
                    }
                    for pk in pks
                    for step in range(_OFFERED)
                ],
            )


def _device_row(pk: int, now: datetime) -> dict[str, Any]:
    return {
        "pk": pk,
        "id": f"dev_bench{pk:07d}",
        "device_id": f"BENCH-{pk:07d}",
        "name": f"BENCH-{pk:07d}",
        "created_at": now,
        "auth_scheme": "syncml:auth-md5",
        "auth_username": "bench",
        "auth_verifier": b"",
        "auth_nonce": "",
        "last_checkin_at": now,
        "state_read_at": now,
    }


def _revision(update_id: str, now: datetime) -> dict[str, Any]:
    return {
        "update_id": update_id,
        "revision_number": 100,
        "is_latest": True,
        "update_type": "Software",
        "title": f"Security Update {update_id[:8]}",
        "kb_all": [],
        "publication_state": "Published",
        "explicitly_deployable": True,
        "classification_id": SECURITY_UPDATES,
        "upstream_url": "bench",
        "fetched_at": now,
        "original": b"",
    }


def _guid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-00000000beef"


def _count_rows(database: Database) -> int:
    with database.read() as connection:
        tables = SQLModel.metadata.tables.values()
        return sum(connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables)


@dataclass(slots=True)
class _Approval:
    """A classification for a group."""

    database: Database
    group_id: str
    now: datetime
    id: str = ""

    def make(self) -> None:
        with self.database.write() as connection:
            self.id = create_approval(
                connection,
                _ORIGIN,
                target_type="classification",
                target_id=SECURITY_UPDATES,
                group_ids=[self.group_id],
                now=self.now,
            ).id

    def revoke(self) -> None:
        with self.database.write() as connection:
            revoke_approval(connection, _ORIGIN, self.id, now=self.now)


def _plan(database: Database, pk: int, now: datetime) -> float:
    """CPU milliseconds of what a check-in with news does when all its questions are answered."""
    with database.write() as connection:
        return _next(connection, Wishes(manage_policy=True, provider_id=None), pk, now, news=True)


def _look_again(database: Database, pk: int, now: datetime) -> float:
    """The same for a device for which nothing was left to do, and about which nothing has changed."""
    wishes = Wishes(manage_policy=False, provider_id=None)
    with database.write() as connection:
        _next(connection, wishes, pk, now, news=True)
        return _next(connection, wishes, pk, now, news=False)


def _next(connection: Connection, wishes: Wishes, pk: int, now: datetime, *, news: bool) -> float:
    device = connection.execute(select(_device).where(_device.c.pk == pk)).one()
    memory = Memory()
    memory.queries_done = True
    before = time.process_time()
    wishes.next_requests(connection, device, memory, now, news=news)
    return (time.process_time() - before) * 1000


def _some(devices: int, count: int) -> Iterator[int]:
    step = max(devices // count, 1)
    yield from range(1, devices + 1, step)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of the clock and of the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000


def _figure(what: str, unit: str, values: Sequence[float]) -> Figure:
    return Figure(what, unit, median(values), max(values))


def render(figures: Sequence[Figure]) -> str:
    """The figures as a table."""
    return render_table(
        ("MEDIAN", "WORST", "UNIT", "WHAT"),
        [(f"{each.middle:8.2f}", f"{each.worst:8.2f}", each.unit, each.what) for each in figures],
    )
