"""The fleet by channel, and by whether approvals take effect: the figures of every device's page, counted and listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, func, or_, select

from mdm.devices.channel import (
    SCANS,
    STATEMENT,
    WITH_EVIDENCE,
    Channel,
    Verdict,
    enforced,
    own_policy,
    verdict_of,
)
from mdm.devices.management import is_managed
from mdm.devices.scope import in_groups
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    Approval,
    ApprovalEvidence,
    ApprovalGroup,
    Device,
    PolicyAssignment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

__all__ = ["AffectedDevice", "ApprovalEffect", "approval_effect", "devices_with"]

_device = table_of(Device)
_evidence = table_of(ApprovalEvidence)
_assignment = table_of(PolicyAssignment)
_approval = table_of(Approval)
_approval_group = table_of(ApprovalGroup)

_WAITED: Final = _evidence.c.scans - _evidence.c.waiting_from
_ACTED: Final = _evidence.c.scans - _evidence.c.acted_scan


@dataclass(frozen=True, slots=True)
class ApprovalEffect:
    """The fleet by channel, and by whether approvals take effect."""

    as_of: datetime
    devices: int
    """All that are enrolled and are to stay."""
    heard_within_24h: int
    channels: Mapping[str, int]
    verdicts: Mapping[str, int]
    """Of the devices with approvals."""
    scans_needed: int
    statement: str
    """What Microsoft says of approvals, for whoever reads the report."""


@dataclass(frozen=True, slots=True)
class AffectedDevice:
    """A device in a list of those with a verdict."""

    id: str
    device_id: str
    name: str
    last_checkin_at: datetime | None
    verdict: Verdict
    waiting: int
    scans_waited: int
    installed: int
    failed: int


def approval_effect(connection: Connection, now: datetime, *, heard_since: datetime) -> ApprovalEffect:
    """Count the managed devices by channel and by verdict; `heard_since` is a day ago."""
    approves = in_groups(_groups_with_approvals(connection, now))
    assigned = _groups_of(connection, select(_assignment.c.group_id).distinct())
    # Only where a figure stands to the threshold matters: a handful of rows, however many devices there are.
    rows = connection.execute(
        select(
            approves.label("approves"),
            or_(in_groups(assigned), own_policy()).label("has_policies"),
            enforced().label("enforced"),
            _capped(_WAITED).label("waited"),
            _capped(_ACTED).label("acted"),
            func.count().label("devices"),
            func.sum(case((_device.c.last_checkin_at >= heard_since, 1), else_=0)).label("heard"),
        )
        .select_from(WITH_EVIDENCE)
        .where(is_managed())
        .group_by("approves", "has_policies", "enforced", "waited", "acted")
    ).all()
    channels = dict.fromkeys(map(str, Channel), 0)
    verdicts = dict.fromkeys(map(str, Verdict), 0)
    for row in rows:
        channel = Channel.of(approvals=bool(row.approves), policies=bool(row.has_policies))
        channels[channel] += row.devices
        if channel.approves:
            verdict = verdict_of(enforced=bool(row.enforced), waited=row.waited, since_acted=row.acted)
            verdicts[verdict] += row.devices
    return ApprovalEffect(
        as_of=now,
        devices=sum(row.devices for row in rows),
        heard_within_24h=sum(row.heard for row in rows),
        channels=channels,
        verdicts=verdicts,
        scans_needed=SCANS,
        statement=STATEMENT,
    )


def devices_with(
    connection: Connection, verdict: Verdict | None, now: datetime, *, after: int | None = None, limit: int
) -> list[tuple[int, AffectedDevice]]:
    """At most `limit` enrolled devices with approvals, and with this verdict if one is given, from behind the key `after` on.

    Each comes with its key.
    """
    statement = (
        select(
            _device.c.pk,
            _device.c.id,
            _device.c.device_id,
            _device.c.name,
            _device.c.last_checkin_at,
            enforced().label("enforced"),
            _WAITED.label("waited"),
            _ACTED.label("acted"),
            func.coalesce(_evidence.c.waiting, 0).label("waiting"),
            func.coalesce(_evidence.c.installed, 0).label("installed"),
            func.coalesce(_evidence.c.failed, 0).label("failed"),
        )
        .select_from(WITH_EVIDENCE)
        .where(is_managed(), in_groups(_groups_with_approvals(connection, now)))
        .order_by(_device.c.pk)
        .limit(limit)
    )
    if verdict is not None:
        statement = statement.where(_amounts_to(verdict))
    if after is not None:
        statement = statement.where(_device.c.pk > after)
    return [
        (
            row.pk,
            AffectedDevice(
                id=row.id,
                device_id=row.device_id,
                name=row.name,
                last_checkin_at=row.last_checkin_at,
                verdict=verdict_of(enforced=bool(row.enforced), waited=row.waited, since_acted=row.acted),
                waiting=row.waiting,
                scans_waited=row.waited or 0,
                installed=row.installed,
                failed=row.failed,
            ),
        )
        for row in connection.execute(statement)
    ]


def _amounts_to(verdict: Verdict) -> ColumnElement[bool]:
    """The condition that a device's figures come to the verdict: every way to it that `verdict_of` knows."""
    waited, acted = _capped(_WAITED), _capped(_ACTED)
    return or_(
        *(
            and_(enforced().is_(confirmed), _equals(waited, since), _equals(acted, since_acted))
            for confirmed in (True, False)
            for since in (None, 0, SCANS)
            for since_acted in (None, 0, SCANS)
            if verdict_of(enforced=confirmed, waited=since, since_acted=since_acted) is verdict
        )
    )


def _equals(column: ColumnElement[int], value: int | None) -> ColumnElement[bool]:
    return column.is_(None) if value is None else column == value


def _capped(scans: ColumnElement[int]) -> ColumnElement[int]:
    return case((scans >= SCANS, SCANS), (scans < SCANS, 0))


def _groups_with_approvals(connection: Connection, now: datetime) -> frozenset[str]:
    return _groups_of(
        connection,
        select(_approval_group.c.group_id)
        .distinct()
        .join(_approval, _approval.c.id == _approval_group.c.approval_id)
        .where(
            _approval.c.revoked_at.is_(None),
            or_(_approval.c.expires_at.is_(None), _approval.c.expires_at > now),
        ),
    )


def _groups_of(connection: Connection, statement: Any) -> frozenset[str]:
    return frozenset(connection.scalars(statement))
