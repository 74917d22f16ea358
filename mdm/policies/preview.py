"""What a change of a profile would come to: devices, winners, conflicts, and what cannot be taken back; nothing is written.

A device's profiles depend on nothing but which of the groups that profiles are for it is in. So devices are counted by
their set of such groups, and each set is merged once, before and after, however many devices share it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import func, select

from csp.policy import POLICIES
from csp.releases import is_in
from mdm.devices.os_build import OsBuild
from mdm.errors import FieldError, Invalid
from mdm.policies.consequences import irreversible
from mdm.policies.known import REMEMBERED
from mdm.policies.merge import Assigned, merge
from mdm.policies.profiles import unknown_profile
from mdm.policies.values import read_settings
from mdm.policies.view import ClaimView, show_claim
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Device,
    DeviceGroup,
    GroupMember,
    PolicyAssignment,
    PolicyProfile,
    PolicySupport,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.policies.merge import Claim, Merged

__all__ = [
    "Change",
    "ConflictView",
    "Imagined",
    "Preview",
    "ProblemView",
    "UnsupportedView",
    "imagine",
    "preview_profile",
]

SHOWN: Final = 200
"""Changes, conflicts, problems and builds named in a preview, of each."""

_NAMED: Final = 20
"""Groups named in one answer."""
_NEW: Final = "new"
"""Id of a profile that is only thought of."""

K = TypeVar("K", bound=tuple[Any, ...])

_device = table_of(Device)
_group = table_of(DeviceGroup)
_member = table_of(GroupMember)
_profile = table_of(PolicyProfile)
_assignment = table_of(PolicyAssignment)
_support = table_of(PolicySupport)


@dataclass(frozen=True, slots=True)
class Imagined:
    """A profile as it would be."""

    profile_id: str
    name: str
    settings: Mapping[str, str]
    ranks: Mapping[str, int]
    """The rank by group id."""
    repair: bool


@dataclass(frozen=True, slots=True)
class Change:
    """Devices on which one policy would change in one way."""

    name: str
    before: ClaimView | None
    """Who wins now; None: nobody wants a value."""
    after: ClaimView | None
    """Who would win; None: what we set would be reset."""
    devices: int


@dataclass(frozen=True, slots=True)
class ConflictView:
    """Devices for which profiles would want different values of one policy."""

    name: str
    winner: ClaimView
    losers: tuple[ClaimView, ...]
    tied: bool
    """No rank decides, only the profiles' ids: give them different ranks."""
    devices: int


@dataclass(frozen=True, slots=True)
class ProblemView:
    """Devices whose values would contradict or lack one another."""

    text: str
    devices: int


@dataclass(frozen=True, slots=True)
class UnsupportedView:
    """A build of Windows among the devices concerned that has not got a policy."""

    name: str
    build: str
    edition: str
    devices: int
    answered: bool
    """True: a device with it has said so. False: by Microsoft's description, it came with a later Windows."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change would come to, as things are at this moment."""

    devices: int
    """Devices the profile is for now or would be for."""
    devices_affected: int
    """Those of them on which a policy would get another value, or none."""
    changes: tuple[Change, ...]
    conflicts: tuple[ConflictView, ...]
    problems: tuple[ProblemView, ...]
    cannot_be_undone: Mapping[str, str]
    """Of the policies that would change, those whose effect stays when the change is taken back, and why."""
    unsupported: tuple[UnsupportedView, ...]
    as_of: datetime


def imagine(
    conn: Connection,
    profile_id: str | None,
    *,
    settings: Mapping[str, Any] | None,
    ranks: Sequence[tuple[str, int]] | None,
) -> Imagined:
    """A profile, or a new one, with these settings and for these groups; None keeps what there is.

    Raises NotFound `profile_not_found`, and Invalid that names wrong settings, or each group that does not exist or
    stands there twice as `/assignments/<index>/group_id`.
    """
    checked = None if settings is None else read_settings(settings)
    wanted = None if ranks is None else _checked_ranks(conn, ranks)
    if profile_id is None:
        return Imagined(_NEW, _NEW, checked or {}, wanted or {}, repair=True)
    row = conn.execute(select(_profile).where(_profile.c.id == profile_id)).one_or_none()
    if row is None:
        raise unknown_profile(profile_id)
    if wanted is None:
        stored = select(_assignment.c.group_id, _assignment.c.rank)
        rows = conn.execute(stored.where(_assignment.c.profile_id == profile_id))
        wanted = {each.group_id: each.rank for each in rows}
    kept = row.settings if checked is None else checked
    return Imagined(profile_id, row.name, kept, wanted, repair=row.drift == "repair")


def _checked_ranks(conn: Connection, ranks: Sequence[tuple[str, int]]) -> dict[str, int]:
    named = [group_id for group_id, _ in ranks]
    known = set(conn.scalars(select(_group.c.id).where(_group.c.id.in_(named))))
    errors = []
    for index, group_id in enumerate(named):
        if group_id not in known:
            detail = f"There is no group {group_id!r}."
            errors.append(FieldError(f"/assignments/{index}/group_id", "unknown_group", detail))
        elif group_id in named[:index]:
            errors.append(FieldError(f"/assignments/{index}/group_id", "repeated", "Give it once."))
    if errors:
        raise Invalid("The profile cannot be for these groups.", errors=tuple(errors[:_NAMED]))
    return dict(ranks)


def preview_profile(conn: Connection, imagined: Imagined, now: datetime) -> Preview:
    """Compare every device's policies with and without the change.

    Only profiles are compared: what approvals, rollbacks and windows set comes on top of both.
    """
    before = _assigned(conn)
    after = _with(before, imagined)
    mine = {each.group_id for each in (*before, *after) if each.profile_id == imagined.profile_id}
    sets = _sets_of_groups(conn, {each.group_id for each in (*before, *after)}, mine)
    changes: Counter[tuple[str, Claim | None, Claim | None]] = Counter()
    conflicts: Counter[tuple[str, Claim, tuple[Claim, ...], bool]] = Counter()
    problems: Counter[str] = Counter()
    affected = 0
    wanted: set[str] = set()
    for groups, devices in sets.items():
        old, new = (merge(_for(assigned, groups), now) for assigned in (before, after))
        changed = [
            name for name in old.winners.keys() | new.winners.keys() if _value(old, name) != _value(new, name)
        ]
        affected += devices if changed else 0
        for name in changed:
            changes[name, old.winners.get(name), new.winners.get(name)] += devices
        for name in new.conflicts:
            conflicts[name, new.winners[name], new.losers[name], name in new.ties] += devices
        for problem in new.problems:
            problems[problem] += devices
        wanted |= new.winners.keys()
    return Preview(
        devices=sum(sets.values()),
        devices_affected=affected,
        changes=tuple(
            Change(name, _shown(name, old), _shown(name, new), devices)
            for (name, old, new), devices in _first(changes)
        ),
        conflicts=tuple(
            ConflictView(
                name,
                show_claim(name, winner),
                tuple(show_claim(name, each) for each in losers),
                tied,
                devices,
            )
            for (name, winner, losers, tied), devices in _first(conflicts)
        ),
        problems=tuple(ProblemView(text, devices) for text, devices in sorted(problems.items())[:SHOWN]),
        cannot_be_undone=irreversible(name for name, _, _ in changes),
        unsupported=_unsupported(conn, mine, wanted, now),
        as_of=now,
    )


def _assigned(conn: Connection) -> list[Assigned]:
    """Every profile, once for each group it is for."""
    rows = conn.execute(
        select(
            _profile.c.id,
            _profile.c.name,
            _profile.c.settings,
            _profile.c.drift,
            _assignment.c.rank,
            _assignment.c.group_id,
        )
        .join(_assignment, _assignment.c.profile_id == _profile.c.id)
        .order_by(_assignment.c.rank, _profile.c.id, _assignment.c.group_id)
    )
    return [
        Assigned(row.id, row.name, row.rank, row.group_id, row.settings, row.drift == "repair")
        for row in rows
    ]


def _with(assigned: Iterable[Assigned], imagined: Imagined) -> list[Assigned]:
    """All profiles as they would be."""
    others = [each for each in assigned if each.profile_id != imagined.profile_id]
    own = (
        Assigned(imagined.profile_id, imagined.name, rank, group_id, imagined.settings, imagined.repair)
        for group_id, rank in imagined.ranks.items()
    )
    return [*others, *own]


def _sets_of_groups(conn: Connection, groups: set[str], mine: set[str]) -> Counter[frozenset[str]]:
    """How many devices are in each set of these groups, of those that are in one of `mine`."""
    found: Counter[frozenset[str]] = Counter()
    rows = conn.execute(
        select(_member.c.device_pk, _member.c.group_id)
        .where(_member.c.group_id.in_(groups))
        .order_by(_member.c.device_pk)
    )
    everybody = frozenset(groups & {ALL_DEVICES})
    seen = 0
    for _, of_device in groupby(rows, key=lambda row: row.device_pk):
        seen += 1
        found[everybody | {row.group_id for row in of_device}] += 1
    others = (conn.scalar(select(func.count()).select_from(_device)) or 0) - seen
    found[everybody] += others
    return Counter(
        {each: devices for each, devices in found.items() if devices and not each.isdisjoint(mine)}
    )


def _for(assigned: Iterable[Assigned], groups: frozenset[str]) -> list[Assigned]:
    return [each for each in assigned if each.group_id in groups]


def _value(merged: Merged, name: str) -> str | None:
    claim = merged.winners.get(name)
    return None if claim is None else claim.value


def _shown(name: str, claim: Claim | None) -> ClaimView | None:
    return None if claim is None else show_claim(name, claim)


def _first(counted: Counter[K]) -> list[tuple[K, int]]:
    """The first of them by policy, of one policy those of most devices."""
    return sorted(counted.items(), key=lambda each: (each[0][0], -each[1], repr(each[0])))[:SHOWN]


def _unsupported(
    conn: Connection, groups: set[str], names: set[str], now: datetime
) -> tuple[UnsupportedView, ...]:
    """The builds of the devices in these groups that have not got one of these policies, as far as that is known."""
    said = {
        (row.build, row.edition, row.name): (row.supported, row.at)
        for row in conn.execute(
            select(
                _support.c.build, _support.c.edition, _support.c.name, _support.c.supported, _support.c.at
            ).where(_support.c.name.in_(names))
        )
    }
    found = []
    for build, edition, devices in _builds(conn, groups):
        version = OsBuild.read(build)
        for name in sorted(names):
            supported, at = said.get((build, edition, name), (None, now))
            if supported is False and now < at + REMEMBERED:
                found.append(UnsupportedView(name, build, edition, devices, answered=True))
            elif supported is None and version is not None and _is_too_new(name, version):
                found.append(UnsupportedView(name, build, edition, devices, answered=False))
    return tuple(sorted(found, key=lambda each: (each.name, each.build, each.edition))[:SHOWN])


def _builds(conn: Connection, groups: set[str]) -> list[tuple[str, str, int]]:
    """Build, edition and number of the devices in these groups, of those that have told their build."""
    edition = func.coalesce(_device.c.os_edition, "")
    query = select(_device.c.os_version, edition, func.count()).where(_device.c.os_version.is_not(None))
    if ALL_DEVICES not in groups:
        members = select(_member.c.device_pk).where(_member.c.group_id.in_(groups))
        query = query.where(_device.c.pk.in_(members))
    return [
        (build, name, count)
        for build, name, count in conn.execute(query.group_by(_device.c.os_version, edition))
    ]


def _is_too_new(name: str, version: OsBuild) -> bool:
    """True if Microsoft says that the policy came with a later Windows."""
    return not is_in(POLICIES[name].since, version.number, version.revision or 0)
