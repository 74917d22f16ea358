"""Which devices have approvals, but not the policy that gives them their effect: a condition for lists of devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, exists, or_, select

from mdm.policies.known import FAILED, UNSUPPORTED
from mdm.policies.merge import REQUIRE_UPDATE_APPROVAL
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    Device,
    DevicePolicy,
    GroupMember,
)

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement

__all__ = ["approvals_not_enforced"]

_device = table_of(Device)
_policy = table_of(DevicePolicy)
_member = table_of(GroupMember)
_approval = table_of(Approval)
_approval_group = table_of(ApprovalGroup)

_TROUBLED: Final = (FAILED, UNSUPPORTED)


def approvals_not_enforced(now: datetime) -> ColumnElement[bool]:
    """True for a device that an approval holds for, and that installs without asking for one.

    It refused RequireUpdateApproval, does not have it, or shows another value than it took. A device that has not
    been told yet is none of these.
    """
    troubled = select(_policy.c.device_pk).where(
        _policy.c.name == REQUIRE_UPDATE_APPROVAL,
        or_(_policy.c.status.in_(_TROUBLED), _policy.c.drifted_at.is_not(None)),
    )
    return and_(_is_approved_for(now), _device.c.pk.in_(troubled))


def _is_approved_for(now: datetime) -> ColumnElement[bool]:
    groups = (
        select(_approval_group.c.group_id)
        .join(_approval, _approval.c.id == _approval_group.c.approval_id)
        .where(
            _approval.c.revoked_at.is_(None),
            or_(_approval.c.expires_at.is_(None), _approval.c.expires_at > now),
        )
    )
    everybody = exists(groups.where(_approval_group.c.group_id == ALL_DEVICES))
    return or_(everybody, _device.c.pk.in_(select(_member.c.device_pk).where(_member.c.group_id.in_(groups))))
