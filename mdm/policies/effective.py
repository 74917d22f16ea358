"""What a device is to have of update policies at this moment, and how that differs from what it has: the check-in's reads.

Without a profile for any of its groups, and without a policy of ours on it, a device costs two reads by index; with
them, one more that says what its build of Windows has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BindParameter, bindparam, func, or_, select

from csp.policy import POLICIES
from mdm.policies.known import REMEMBERED, Known
from mdm.policies.merge import APPROVALS, REQUIRE_UPDATE_APPROVAL, Assigned, Merged, Valued, Wanted, merge
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Device,
    DevicePolicy,
    GroupMember,
    PolicyAssignment,
    PolicyProfile,
    PolicySupport,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = [
    "DesiredPolicies",
    "assigned_profiles",
    "desired_policies",
    "known_policies",
    "merged_policies",
    "refused_by_build",
]

_device = table_of(Device)
_policy = table_of(DevicePolicy)
_member = table_of(GroupMember)
_profile = table_of(PolicyProfile)
_assignment = table_of(PolicyAssignment)
_support = table_of(PolicySupport)

_PK: Final[BindParameter[int]] = bindparam("device_pk")

_ASSIGNED: Final = (
    select(
        _profile.c.id,
        _profile.c.name,
        _profile.c.settings,
        _profile.c.drift,
        _assignment.c.rank,
        _assignment.c.group_id,
    )
    .join(_assignment, _assignment.c.profile_id == _profile.c.id)
    .where(
        or_(
            _assignment.c.group_id == ALL_DEVICES,
            _assignment.c.group_id.in_(select(_member.c.group_id).where(_member.c.device_pk == _PK)),
        )
    )
)
_KNOWN: Final = (
    select(
        _device.c.os_version,
        *(column for column in _policy.c if column.name != "device_pk"),
    )
    .select_from(_policy.join(_device, _device.c.pk == _policy.c.device_pk))
    .where(_policy.c.device_pk == _PK)
)
_REFUSED: Final = (
    select(_support.c.name, _support.c.at)
    .join(
        _device,
        (_support.c.build == _device.c.os_version)
        & (_support.c.edition == func.coalesce(_device.c.os_edition, "")),
    )
    .where(
        _device.c.pk == _PK,
        _support.c.supported.is_(False),
        # Approvals have no effect without it, so each device is asked, whatever one of its build has said.
        _support.c.name != REQUIRE_UPDATE_APPROVAL,
        _support.c.at > bindparam("since", type_=_support.c.at.type),
    )
)


@dataclass(frozen=True, slots=True)
class DesiredPolicies:
    """What the policies of a device should be, and what of that needs no command."""

    values: Mapping[str, Wanted]
    """The value each policy is to have, by name."""
    remove: frozenset[str]
    """Names of policies we set and want to set no longer."""
    reported: Mapping[str, str]
    """Values that stand as they were written."""
    unsupported: frozenset[str]
    """Names of wanted policies that this device, or another of its build, has answered not to have."""
    until: datetime | None
    """When time alone changes any of this; None: never."""


def assigned_profiles(connection: Connection, device_pk: int) -> list[Assigned]:
    """The profiles that are for a device, once for each of its groups that they are assigned to."""
    return [
        Assigned(row.id, row.name, row.rank, row.group_id, row.settings, row.drift == "repair")
        for row in connection.execute(_ASSIGNED, {"device_pk": device_pk})
    ]


def known_policies(connection: Connection, device_pk: int) -> tuple[dict[str, Known], str | None]:
    """What is known of the policies of a device, by name, and its build; the build is None if nothing is known."""
    known: dict[str, Known] = {}
    build = None
    for row in connection.execute(_KNOWN, {"device_pk": device_pk}).mappings():
        values: dict[str, Any] = dict(row)
        build = values.pop("os_version")
        known[values["name"]] = Known(**values)
    return known, build


def refused_by_build(connection: Connection, device_pk: int, now: datetime) -> dict[str, datetime]:
    """Policies that a device with this one's build and edition has lately answered not to have, and until when it counts.

    RequireUpdateApproval is never among them: one odd device must not switch off the approvals of all others.
    """
    rows = connection.execute(_REFUSED, {"device_pk": device_pk, "since": now - REMEMBERED})
    return {row.name: row.at + REMEMBERED for row in rows}


def merged_policies(
    connection: Connection,
    device_pk: int,
    now: datetime,
    *,
    approvals: bool | None,
    above: Mapping[str, Valued] | None = None,
    below: Mapping[str, Valued] | None = None,
) -> Merged:
    """Who wins each policy of a device; the arguments are those of `desired_policies`."""
    if approvals:
        above = {**(above or {}), REQUIRE_UPDATE_APPROVAL: Wanted("1", APPROVALS)}
    return merge(assigned_profiles(connection, device_pk), now, above=above, below=below)


def desired_policies(
    connection: Connection,
    device_pk: int,
    now: datetime,
    *,
    approvals: bool | None,
    above: Mapping[str, Valued] | None = None,
    below: Mapping[str, Valued] | None = None,
) -> DesiredPolicies:
    """What a device's policies should be, and what of that needs no command.

    `approvals`: True if approvals hold for the device, so that it must have RequireUpdateApproval; False if none do,
    so that what was set for them is reset; None to leave that policy to profiles, and on the device. `above` wins
    over every profile, `below` only fills gaps.
    """
    merged = merged_policies(connection, device_pk, now, approvals=approvals, above=above, below=below)
    known, build = known_policies(connection, device_pk)
    ends = [merged.until]
    reported: dict[str, str] = {}
    for name, claim in merged.winners.items():
        each = known.get(name)
        if each is None or each.value is None:
            continue
        stands, until = each.stands(now, repair=claim.repair)
        if stands:
            reported[name] = each.value
            ends.append(until)
    unsupported = _lacking(merged.winners.keys() & known.keys(), known, build, now)
    untried = {name for name in merged.winners if name not in known or known[name].value is None}
    if untried - unsupported.keys():
        refused = refused_by_build(connection, device_pk, now)
        unsupported = {name: refused[name] for name in untried & refused.keys()} | unsupported
    left_alone = {REQUIRE_UPDATE_APPROVAL} if approvals is None else set()
    unwanted = {
        name for name in known.keys() - merged.winners.keys() if name in POLICIES and known[name].ours
    }
    irremovable = _lacking(unwanted, known, build, now)
    return DesiredPolicies(
        values={
            name: Wanted(claim.value, claim.source, claim.repair) for name, claim in merged.winners.items()
        },
        remove=frozenset(unwanted - left_alone - irremovable.keys()),
        reported=reported,
        unsupported=frozenset(unsupported),
        until=_first((*ends, *unsupported.values(), *irremovable.values())),
    )


def _lacking(
    names: Iterable[str], known: Mapping[str, Known], build: str | None, now: datetime
) -> dict[str, datetime]:
    """Those of the known policies that the device itself has answered not to have, and until when that counts."""
    found = {name: known[name].lacks(build, now) for name in names}
    return {name: until for name, until in found.items() if until is not None}


def _first(moments: Iterable[datetime | None]) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
