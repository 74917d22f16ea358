"""What the devices of a stage have told about a rollout's updates, and which device's turn is the n-th: both by SQL.

A device in the groups of several stages belongs to the earliest: that is where it gets the updates first.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, case, false, func, select

from csp.snapshot import UpdateList
from mdm.devices.management import is_managed
from mdm.devices.scope import in_groups
from mdm.rollouts.findings import Evidence
from mdm.rollouts.turns import turn_of
from mdm.storage.statements import table_of
from mdm.storage.tables import ALL_DEVICES, Device, DeviceUpdate, GroupMember

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select, Subquery

    from mdm.rollouts.rings import Ring
    from mdm.rollouts.stages import Rollout, Stage

__all__ = [
    "count_shared",
    "count_targeted",
    "devices_of_ring",
    "reach",
    "read_all_evidence",
    "read_evidence",
]

_device = table_of(Device)
_member = table_of(GroupMember)
_update = table_of(DeviceUpdate)

_HAD_IT: Final = 0
_INSTALLED: Final = 1
_INSTALLABLE: Final = 2
_DELIVERED: Final = 3
_PENDING_REBOOT: Final = 4
_FAILED: Final = 5
"""Ranks: a device with several of the updates counts by the highest."""

_LISTED: Final = "listed"
"""The device holds the approval and names the update in no other list: it has nothing to do with it."""

_DAY: Final = timedelta(hours=24)
_PIECE: Final = 20_000
"""Devices whose turns are worked out at a time."""


def devices_of_ring(ring: Ring, earlier: Sequence[Ring]) -> ColumnElement[bool]:
    """The managed devices of a ring that are in none of the earlier ones, as a condition on `device`."""
    mine = in_groups(ring.group_ids)
    before = {group_id for each in earlier for group_id in each.group_ids}
    if not before:
        return and_(is_managed(), mine)
    if ALL_DEVICES in before:
        return false()
    return and_(is_managed(), mine, ~in_groups(before))


def count_targeted(conn: Connection, ring: Ring, earlier: Sequence[Ring]) -> int:
    """How many devices a ring has that no earlier one has."""
    query = select(func.count()).select_from(_device).where(devices_of_ring(ring, earlier))
    return conn.execute(query).scalar_one()


def count_shared(conn: Connection, ring: Ring, earlier: Sequence[Ring]) -> int:
    """How many devices of a ring's groups an earlier ring has."""
    before = {group_id for each in earlier for group_id in each.group_ids}
    if not before:
        return 0
    shared = and_(is_managed(), in_groups(ring.group_ids), in_groups(before))
    return conn.execute(select(func.count()).select_from(_device).where(shared)).scalar_one()


def read_all_evidence(conn: Connection, rollout: Rollout, now: datetime) -> dict[int, Evidence]:
    """The evidence of each stage that something may follow from, by its number."""
    return {stage.number: read_evidence(conn, rollout, stage, now) for stage in rollout.watched}


def read_evidence(conn: Connection, rollout: Rollout, stage: Stage, now: datetime) -> Evidence:
    """What the stage's devices have told since it opened, in one query; of one that has not, who they are."""
    mine = devices_of_ring(stage.ring, _earlier(rollout, stage))
    heard = _device.c.last_checkin_at > now - _DAY
    if stage.opened_at is None:
        counts = select(func.count().label("targeted"), _count(heard).label("heard"))
        row = conn.execute(counts.select_from(_device).where(mine)).one()
        return Evidence(targeted=row.targeted, not_seen=row.targeted, heard_within_24h=row.heard)
    told = _told(rollout.update_ids, stage.ring, stage.opened_at, stage.failures_from or stage.opened_at)
    seen = func.coalesce(_device.c.last_checkin_at >= stage.opened_at, false())
    rank = told.c.rank
    had_it = func.coalesce(rank == _HAD_IT, false())
    query = (
        select(
            func.count().label("targeted"),
            _count(rank == _HAD_IT).label("had_it"),
            _count(and_(seen, rank == _INSTALLED)).label("installed"),
            _count(and_(seen, rank == _FAILED)).label("failed"),
            _count(and_(seen, rank == _PENDING_REBOOT)).label("pending_reboot"),
            _count(and_(seen, rank == _DELIVERED)).label("delivered"),
            _count(and_(seen, rank == _INSTALLABLE)).label("installable"),
            _count(and_(seen, rank.is_(None))).label("not_applicable"),
            _count(and_(~seen, ~had_it)).label("not_seen"),
            _count(heard).label("heard_within_24h"),
        )
        .select_from(_device.outerjoin(told, told.c.device_pk == _device.c.pk))
        .where(mine)
    )
    return Evidence(**conn.execute(query).mappings().one())


def reach(conn: Connection, rollout: Rollout, stage: Stage, slots: int) -> tuple[int, int]:
    """Below which turn a gradual offer stands once so many periods have begun, and how many devices that is.

    Exactly as many devices of the ring as are wanted have a turn below, or those that had one already.
    """
    offer = stage.ring.offer
    mine = devices_of_ring(stage.ring, _earlier(rollout, stage))
    turns = sorted(_turns(conn, rollout.id, mine))
    wanted = len(turns) if offer is None else offer.wanted(slots, len(turns))
    below = max(turns[wanted - 1] + 1 if wanted else 0, stage.offered_below or 0)
    return below, bisect_left(turns, below)


def _earlier(rollout: Rollout, stage: Stage) -> list[Ring]:
    return [each.ring for each in rollout.stages if each.number < stage.number]


def _members(group_ids: Collection[str]) -> Select[int]:
    return select(_member.c.device_pk).where(_member.c.group_id.in_(sorted(group_ids)))


def _told(update_ids: Collection[str], ring: Ring, opened_at: datetime, failures_from: datetime) -> Subquery:
    """The rank of each device of a ring that has named one of the updates."""
    state, since = _update.c.state, _update.c.since
    held = _update.c.lists.bitwise_and(int(UpdateList.APPROVED)) != 0
    rank = case(
        (and_(state == "failed", since >= failures_from), _FAILED),
        (state == "failed", _DELIVERED),
        (state == "pending_reboot", _PENDING_REBOOT),
        (and_(state == "installable", held), _DELIVERED),
        (state == "installable", _INSTALLABLE),
        (and_(state == "installed", since >= opened_at), _INSTALLED),
        else_=_HAD_IT,
    )
    query = (
        select(_update.c.device_pk, func.max(rank).label("rank"))
        .where(_update.c.update_id.in_(sorted(update_ids)), state != _LISTED)
        .group_by(_update.c.device_pk)
    )
    if ALL_DEVICES not in ring.group_ids:
        # What the others said is left out here already: a small ring of a large fleet costs as a small one.
        query = query.where(_update.c.device_pk.in_(_members(ring.group_ids)))
    return query.subquery()


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


def _turns(conn: Connection, rollout_id: str, mine: ColumnElement[bool]) -> Iterator[int]:
    """The turns of the devices that meet a condition, in no order."""
    last = 0
    while True:
        query = select(_device.c.pk, _device.c.id).where(mine, _device.c.pk > last)
        rows = conn.execute(query.order_by(_device.c.pk).limit(_PIECE)).all()
        for row in rows:
            yield turn_of(rollout_id, row.id)
        if len(rows) < _PIECE:
            return
        last = rows[-1].pk
