"""What an approval or block would do if it were made now, and what stands in its way; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, false, func, or_, select, true
from sqlmodel import col

from csp.snapshot import UpdateList
from mdm.approvals.checks import obstacles, open_eulas, refuse_nonsense, refuse_wrong_kind
from mdm.approvals.decision import BLOCK, CLASSIFICATION, DEVICE, PRODUCT, QUERY, UPDATE
from mdm.approvals.effective import update_facts
from mdm.approvals.targets import updates_of
from mdm.catalog.supersedence import superseding
from mdm.devices.groups import find_groups
from mdm.devices.management import is_managed
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    Device,
    DeviceUpdate,
    GroupMember,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from mdm.approvals.checks import Proposal
    from mdm.approvals.eulas import OpenEula

__all__ = ["ApprovalPreview", "Obstacle", "Overlap", "Reach", "Rival", "preview_approval"]

SHOWN: Final = 50
"""Updates and approvals named in one answer."""

_NOT_OFFERED: Final = 4
_UNKNOWN: Final = 5

_WAITING: Final = ("installable", "failed")
_APPROVED: Final = int(UpdateList.APPROVED)

_device, _rows, _member = table_of(Device), table_of(DeviceUpdate), table_of(GroupMember)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the request would be refused as things are."""

    code: str
    detail: str
    members: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reach:
    """The devices of the groups, each counted once, by what the target means to them."""

    devices: int
    offered: int
    """They could install it, or something of it, and have not been told that they may."""
    told: int
    """They could, and were told before."""
    pending_reboot: int
    installed: int
    not_offered: int
    """They have said what they could install, and nothing of it is among that."""
    unknown: int
    """They have never said what they could install: nobody knows what it would do to them."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """An update of the target that devices of the groups could install."""

    update_id: str
    title: str | None
    devices: int


@dataclass(frozen=True, slots=True)
class Rival:
    """An approval or block that holds for some of the same groups."""

    approval_id: str
    action: str
    target_type: str
    target_id: str
    group_ids: tuple[str, ...]
    """Those of its groups that are the proposal's too."""
    rollout_id: str | None
    reason: str | None
    wins: bool
    """It decides where both hold: a block always does."""


@dataclass(frozen=True, slots=True)
class ApprovalPreview:
    """What would come of it."""

    as_of: datetime
    obstacles: tuple[Obstacle, ...]
    """Why it would be refused; empty if it would be made."""
    delivery: str
    reach: Reach
    updates: tuple[Overlap, ...]
    """What devices of the groups could install of it, most wanted first, `SHOWN` at most."""
    eulas: tuple[OpenEula, ...]
    """Licences that nobody has accepted: what has them waits."""
    rivals: tuple[Rival, ...]
    """The blocks that would win over it, or the approvals it would win over, and others of the same target."""
    superseded_by: tuple[str, ...]
    final: str
    """What cannot be undone, in a sentence."""


def preview_approval(conn: Connection, proposal: Proposal, *, now: datetime) -> ApprovalPreview:
    """Ask everything that making it would ask, and count what it would reach.

    Raises Invalid and NotFound as making it would.
    """
    refuse_nonsense(proposal, now)
    refuse_wrong_kind(conn, proposal)
    find_groups(conn, proposal.group_ids)
    waits = proposal.action != BLOCK and proposal.target_type in {UPDATE, CLASSIFICATION}
    newer = superseding(conn, proposal.target_id) if proposal.target_type == UPDATE else ()
    return ApprovalPreview(
        as_of=now,
        obstacles=tuple(
            Obstacle(each.code, each.detail, each.members)
            for each in obstacles(conn, proposal, now, hold_eulas=False)
        ),
        delivery=proposal.how,
        reach=_reach(conn, proposal),
        updates=_offers(conn, proposal),
        eulas=tuple(open_eulas(conn, proposal)) if waits else (),
        rivals=_rivals(conn, proposal, now),
        superseded_by=tuple(sorted(newer)),
        final=_final(proposal),
    )


def _members(proposal: Proposal) -> ColumnElement[bool]:
    """The devices of the groups, but for those that have left management or are to leave: they get nothing."""
    if ALL_DEVICES in proposal.group_ids:
        return is_managed()
    inside = select(_member.c.device_pk).where(_member.c.group_id.in_(proposal.group_ids))
    return and_(is_managed(), _device.c.pk.in_(inside))


def _targeted(proposal: Proposal) -> ColumnElement[bool]:
    """The rows of devices that speak of what the proposal does."""
    if proposal.target_type == UPDATE:
        return _rows.c.update_id == proposal.target_id
    return _rows.c.update_id.in_(updates_of(proposal.target_type, proposal.target_id))


def _reach(conn: Connection, proposal: Proposal) -> Reach:
    waiting = _rows.c.state.in_(_WAITING)
    approved = _rows.c.lists.bitwise_and(_APPROVED) != 0
    # The first that applies, of all the rows of a device: what is still to be done speaks before what has been.
    rank = func.min(
        case(
            (and_(waiting, ~approved), 0),
            (waiting, 1),
            (_rows.c.state == "pending_reboot", 2),
            (_rows.c.state == "installed", 3),
            else_=_NOT_OFFERED,
        )
    )
    each = (
        select(_rows.c.device_pk, rank.label("rank")).where(_targeted(proposal)).group_by(_rows.c.device_pk)
    ).subquery()
    # A device that has never been read may hold old rows of approvals only.
    read = (_device.c.state_read_at.is_not(None), _NOT_OFFERED)
    kind = case((each.c.rank < _NOT_OFFERED, each.c.rank), read, else_=_UNKNOWN)
    rows = conn.execute(
        select(kind.label("kind"), func.count())
        .select_from(_device.outerjoin(each, each.c.device_pk == _device.c.pk))
        .where(_members(proposal))
        .group_by(kind)
    )
    found = dict.fromkeys(range(_UNKNOWN + 1), 0) | {int(kind): count for kind, count in rows}
    return Reach(sum(found.values()), *(found[kind] for kind in range(_UNKNOWN + 1)))


def _offers(conn: Connection, proposal: Proposal) -> tuple[Overlap, ...]:
    count = func.count().label("devices")
    rows = conn.execute(
        select(_rows.c.update_id, func.min(col(UpdateRevision.title)).label("title"), count)
        .join(_device, _device.c.pk == _rows.c.device_pk)
        .outerjoin(
            UpdateRevision,
            and_(col(UpdateRevision.update_id) == _rows.c.update_id, col(UpdateRevision.is_latest).is_(True)),
        )
        .where(_targeted(proposal), _rows.c.state.in_(_WAITING), _members(proposal))
        .group_by(_rows.c.update_id)
        .order_by(count.desc(), _rows.c.update_id)
        .limit(SHOWN)
    )
    return tuple(Overlap(row.update_id, row.title, row.devices) for row in rows)


def _rivals(conn: Connection, proposal: Proposal, now: datetime) -> tuple[Rival, ...]:
    """What else is said of the target in these groups: all of it for an approval, the approvals for a block."""
    about = col(Approval.target_id) == proposal.target_id
    if proposal.target_type == UPDATE:
        known = update_facts(conn, [proposal.target_id]).get(proposal.target_id)
        if known is not None and known.classification_id is not None:
            about = or_(about, col(Approval.target_id) == known.classification_id)
        for kind in (PRODUCT, QUERY):
            held = _sets_with(conn, kind, proposal.target_id)
            about = or_(about, and_(col(Approval.target_type) == kind, col(Approval.target_id).in_(held)))
    elif proposal.how == DEVICE or proposal.action == BLOCK:
        inside = updates_of(proposal.target_type, proposal.target_id)
        about = or_(about, col(Approval.target_id).in_(inside))
    groups = or_(
        col(ApprovalGroup.group_id).in_(proposal.group_ids),
        col(ApprovalGroup.group_id) == ALL_DEVICES,
        # for all devices: whatever group it is of
        true() if ALL_DEVICES in proposal.group_ids else false(),
    )
    rows = conn.execute(
        select(
            col(Approval.id),
            col(Approval.action),
            col(Approval.target_type),
            col(Approval.target_id),
            col(Approval.rollout_id),
            col(Approval.reason),
            col(ApprovalGroup.group_id),
        )
        .join(ApprovalGroup, col(ApprovalGroup.approval_id) == col(Approval.id))
        .where(
            about,
            groups,
            col(Approval.revoked_at).is_(None),
            or_(col(Approval.expires_at).is_(None), col(Approval.expires_at) > now),
        )
        .order_by(col(Approval.action).desc(), col(Approval.id), col(ApprovalGroup.group_id))
    )
    found: dict[str, Rival] = {}
    for row in rows:
        before = found.get(row.id)
        found[row.id] = Rival(
            row.id,
            row.action,
            row.target_type,
            row.target_id,
            (row.group_id,) if before is None else (*before.group_ids, row.group_id),
            row.rollout_id,
            row.reason,
            wins=row.action == BLOCK,
        )
    return tuple(found.values())[:SHOWN]


def _sets_with(conn: Connection, kind: str, update_id: str) -> list[str]:
    """The products or saved queries that are approved or blocked somewhere and hold the update."""
    named = conn.scalars(
        select(col(Approval.target_id)).distinct().where(col(Approval.target_type) == kind)
    ).all()
    this = select(col(UpdateRevision.update_id)).where(
        col(UpdateRevision.update_id) == update_id, col(UpdateRevision.is_latest).is_(True)
    )
    return [
        each
        for each in named
        if conn.scalar(this.where(col(UpdateRevision.update_id).in_(updates_of(kind, each)))) is not None
    ]


def _final(proposal: Proposal) -> str:
    if proposal.action == BLOCK:
        return "A block takes nothing from a device that was told before that it may install it."
    if proposal.how == DEVICE and proposal.target_type == CLASSIFICATION:
        return (
            "A device that holds the classification installs whatever Microsoft publishes in it, licences included; "
            "no documented command takes it back."
        )
    return "A device that has been told may install it even if the approval is revoked; approving accepts its licence."
