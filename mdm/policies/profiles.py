"""Policy profiles: making, changing and deleting them, giving them to groups, and pausing updates with them.

Whatever changes for devices raises the versions of the groups concerned, so that they are planned for anew at their
next check-in; nothing is written per device.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from mdm.approvals.versions import intent_changed
from mdm.audit import record
from mdm.devices.groups import lock_groups
from mdm.errors import Conflict, FieldError, Invalid, NotFound
from mdm.policies.pauses import DAYS, PAUSES, Pause, pause_of
from mdm.policies.values import read_settings, shown_settings
from mdm.storage.statements import insert_ignore, table_of, upsert
from mdm.storage.tables import DeviceGroup, PolicyAssignment, PolicyProfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from mdm.audit import Origin

__all__ = [
    "MAX_RANK",
    "AssignmentView",
    "Drift",
    "PauseKind",
    "ProfileDraft",
    "ProfileView",
    "assign_profile",
    "change_profile",
    "create_profile",
    "delete_profile",
    "get_profile",
    "list_profiles",
    "pause_profile",
    "resume_profile",
    "unassign_profile",
    "unknown_profile",
]

MAX_RANK: Final = 1_000_000

_AHEAD: Final = timedelta(days=366)
"""How far ahead a pause may begin."""

Drift = Literal["repair", "report"]
PauseKind = Literal["quality", "feature"]

_profile = table_of(PolicyProfile)
_assignment = table_of(PolicyAssignment)
_group = table_of(DeviceGroup)


@dataclass(frozen=True, slots=True)
class ProfileDraft:
    """A profile as an administrator writes it."""

    name: str
    settings: Mapping[str, Any]
    """Values by policy name: numbers for policies of format int, texts for the others."""
    description: str | None = None
    drift: Drift = "repair"


@dataclass(frozen=True, slots=True)
class AssignmentView:
    """A group that a profile is for."""

    group_id: str
    group_name: str
    rank: int
    """Of two profiles that set one policy on a device, the one with the lower rank wins."""


@dataclass(frozen=True, slots=True)
class ProfileView:
    """A profile as an administrator sees it."""

    id: str
    name: str
    description: str | None
    settings: Mapping[str, int | str]
    drift: str
    """`repair`: a device that shows another value is told again. `report`: it is only shown."""
    pauses: tuple[Pause, ...]
    assignments: tuple[AssignmentView, ...]
    """By rank."""
    created_at: datetime
    changed_at: datetime


def create_profile(conn: Connection, origin: Origin, draft: ProfileDraft, *, now: datetime) -> ProfileView:
    """Make a profile that is for nobody yet.

    Raises Invalid for wrong settings, and Conflict `profile_exists` for a name that is taken.
    """
    settings = read_settings(draft.settings)
    profile_id = f"prf_{secrets.token_hex(10)}"
    made = conn.execute(
        insert_ignore(_profile, conn).values(
            id=profile_id,
            name=draft.name,
            description=draft.description,
            settings=settings,
            drift=draft.drift,
            created_at=now,
            changed_at=now,
        )
    )
    if made.rowcount == 0:
        raise _name_taken(conn, draft.name)
    profile = get_profile(conn, profile_id, now=now)
    _Write(origin, "create", profile_id, now).record(conn, None, profile)
    return profile


def change_profile(
    conn: Connection, origin: Origin, profile_id: str, draft: ProfileDraft, *, now: datetime
) -> ProfileView:
    """Give the profile this name, these settings and no others; it stays with its groups.

    Raises NotFound `profile_not_found`, Invalid for wrong settings, and Conflict `profile_exists`.
    """
    settings = read_settings(draft.settings)
    _lock(conn, profile_id)
    values = {
        "name": draft.name,
        "description": draft.description,
        "settings": settings,
        "drift": draft.drift,
    }
    return _change(conn, _Write(origin, "change", profile_id, now), values)


def delete_profile(conn: Connection, origin: Origin, profile_id: str, *, now: datetime) -> None:
    """Delete a profile that is for no group.

    Raises NotFound `profile_not_found`, and Conflict `profile_assigned` naming the groups: their devices would lose
    its policies, which is what taking it from them is for.
    """
    _lock(conn, profile_id)
    before = get_profile(conn, profile_id, now=now)
    if before.assignments:
        raise Conflict(
            f"The profile {before.name!r} is for groups; take it from them first.",
            code="profile_assigned",
            groups=[each.group_id for each in before.assignments],
        )
    conn.execute(delete(_profile).where(_profile.c.id == profile_id))
    _Write(origin, "delete", profile_id, now).record(conn, before, None)


def assign_profile(
    conn: Connection, origin: Origin, profile_id: str, group_id: str, *, rank: int, now: datetime
) -> ProfileView:
    """Make the profile hold for the devices of a group, or change its rank there.

    Raises NotFound `profile_not_found` or `group_not_found`.
    """
    _lock(conn, profile_id)
    lock_groups(conn, [group_id])
    before = get_profile(conn, profile_id, now=now)
    if any((each.group_id, each.rank) == (group_id, rank) for each in before.assignments):
        return before
    conn.execute(
        upsert(_assignment, conn, update=("rank",)),
        {"profile_id": profile_id, "group_id": group_id, "rank": rank},
    )
    return _reassigned(conn, _Write(origin, "assign", profile_id, now), before, group_id)


def unassign_profile(
    conn: Connection, origin: Origin, profile_id: str, group_id: str, *, now: datetime
) -> ProfileView:
    """Take the profile from a group: what no other profile sets is reset on its devices.

    One that is not for the group is left as it is. Raises NotFound `profile_not_found`.
    """
    _lock(conn, profile_id)
    before = get_profile(conn, profile_id, now=now)
    gone = conn.execute(
        delete(_assignment).where(_assignment.c.profile_id == profile_id, _assignment.c.group_id == group_id)
    )
    if gone.rowcount == 0:
        return before
    return _reassigned(conn, _Write(origin, "unassign", profile_id, now), before, group_id)


def pause_profile(
    conn: Connection,
    origin: Origin,
    profile_id: str,
    kind: PauseKind,
    *,
    since: date | None = None,
    now: datetime,
) -> ProfileView:
    """Pause quality or feature updates for 35 days from `since`, today unless given; one that is paused is extended.

    Raises NotFound `profile_not_found`, and Invalid for a day from which the pause would be over, or too far ahead.
    """
    today = now.astimezone(UTC).date()
    since = today if since is None else since
    if not today - timedelta(days=DAYS) < since <= today + _AHEAD:
        error = FieldError(
            "/since",
            "out_of_range",
            f"Must be less than {DAYS} days ago and at most {_AHEAD.days} days ahead.",
        )
        raise Invalid("The pause cannot begin on that day.", errors=(error,))
    settings = {**_lock(conn, profile_id), PAUSES[kind]: since.isoformat()}
    return _change(conn, _Write(origin, "pause", profile_id, now), {"settings": settings})


def resume_profile(
    conn: Connection, origin: Origin, profile_id: str, kind: PauseKind, *, now: datetime
) -> ProfileView:
    """End the pause of quality or feature updates; where there is none, nothing changes.

    Raises NotFound `profile_not_found`.
    """
    settings = {name: value for name, value in _lock(conn, profile_id).items() if name != PAUSES[kind]}
    return _change(conn, _Write(origin, "resume", profile_id, now), {"settings": settings})


def list_profiles(conn: Connection, *, after: str | None, limit: int, now: datetime) -> list[ProfileView]:
    """At most `limit` profiles whose name comes after `after`, by name."""
    query = select(_profile.c.id).order_by(_profile.c.name).limit(limit)
    if after is not None:
        query = query.where(_profile.c.name > after)
    return _views(conn, conn.scalars(query).all(), now)


def get_profile(conn: Connection, profile_id: str, *, now: datetime) -> ProfileView:
    """The profile; raises NotFound `profile_not_found`."""
    views = _views(conn, [profile_id], now)
    if not views:
        raise unknown_profile(profile_id)
    return views[0]


# --- writing --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Write:
    """Who does what to which profile."""

    origin: Origin
    action: str
    profile_id: str
    now: datetime

    def record(self, conn: Connection, before: ProfileView | None, after: ProfileView | None) -> None:
        record(
            conn,
            self.origin,
            now=self.now,
            action=f"policy_profile.{self.action}",
            object_type="policy_profile",
            object_id=self.profile_id,
            before=None if before is None else _audited(before),
            after=None if after is None else _audited(after),
        )


def _lock(conn: Connection, profile_id: str) -> dict[str, str]:
    """Hold the profile until the transaction ends; its settings."""
    settings: dict[str, str] | None = conn.scalar(
        select(_profile.c.settings).where(_profile.c.id == profile_id).with_for_update()
    )
    if settings is None:
        raise unknown_profile(profile_id)
    return settings


def _change(conn: Connection, write: _Write, values: Mapping[str, Any]) -> ProfileView:
    """Write columns of a locked profile; if nothing differs, nothing happens."""
    before = get_profile(conn, write.profile_id, now=write.now)
    row = update(_profile).where(_profile.c.id == write.profile_id)
    try:
        with conn.begin_nested():
            conn.execute(row.values(**values))
    except IntegrityError:
        # Only the name must be unique, and another may take it at this very moment.
        raise _name_taken(conn, values["name"]) from None
    after = get_profile(conn, write.profile_id, now=write.now)
    if _audited(before) == _audited(after):
        return before
    conn.execute(row.values(changed_at=write.now))
    if (before.settings, before.drift) != (after.settings, after.drift):
        intent_changed(conn, (each.group_id for each in after.assignments))
    write.record(conn, before, after)
    return replace(after, changed_at=write.now)


def _reassigned(conn: Connection, write: _Write, before: ProfileView, group_id: str) -> ProfileView:
    intent_changed(conn, [group_id])
    after = get_profile(conn, before.id, now=write.now)
    write.record(conn, before, after)
    return after


def _audited(profile: ProfileView) -> dict[str, Any]:
    return {
        "name": profile.name,
        "description": profile.description,
        "settings": dict(profile.settings),
        "drift": profile.drift,
        "assignments": [{"group_id": each.group_id, "rank": each.rank} for each in profile.assignments],
    }


# --- reading --------------------------------------------------------------------------------------------


def _views(conn: Connection, profile_ids: Sequence[str], now: datetime) -> list[ProfileView]:
    assignments: dict[str, list[AssignmentView]] = {}
    for row in conn.execute(
        select(_assignment, _group.c.name)
        .join(_group, _group.c.id == _assignment.c.group_id)
        .where(_assignment.c.profile_id.in_(profile_ids))
        .order_by(_assignment.c.rank, _assignment.c.group_id)
    ):
        assignments.setdefault(row.profile_id, []).append(AssignmentView(row.group_id, row.name, row.rank))
    rows = conn.execute(select(_profile).where(_profile.c.id.in_(profile_ids)).order_by(_profile.c.name))
    return [
        ProfileView(
            id=row.id,
            name=row.name,
            description=row.description,
            settings=shown_settings(row.settings),
            drift=row.drift,
            pauses=tuple(
                pause_of(kind, row.settings[name], now)
                for kind, name in PAUSES.items()
                if name in row.settings
            ),
            assignments=tuple(assignments.get(row.id, ())),
            created_at=row.created_at,
            changed_at=row.changed_at,
        )
        for row in rows
    ]


def _name_taken(conn: Connection, name: str) -> Conflict:
    existing = conn.scalar(select(_profile.c.id).where(_profile.c.name == name))
    return Conflict(f"A policy profile named {name!r} exists.", code="profile_exists", existing=existing)


def unknown_profile(profile_id: str) -> NotFound:
    """What is raised where a profile is named that does not exist."""
    return NotFound(
        f"There is no policy profile {profile_id!r}.", code="profile_not_found", profile_id=profile_id
    )
