"""What Windows wants before it rolls an update back, checked with what is known of a device.

Of the conditions of the Update CSP (update-csp, section 4) the pause is made by the rollback itself. The others
cannot be changed from here: where one is known not to be met, the device is not told. What is not known does not
stop a rollback, because Windows checks everything once more, and rolls nothing back if a condition fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, exists, or_, select

from csp.classifications import CLASSIFICATIONS, DEFINITION_UPDATES
from csp.rollback import FIRST_BUILD, PAUSED_BY, RollbackKind
from csp.snapshot import UpdateList
from mdm.catalog.relations import of_kind
from mdm.devices.os_build import OsBuild
from mdm.policies.pauses import pause_over_at
from mdm.storage.statements import table_of
from mdm.storage.tables import Device, DevicePolicy, DeviceUpdate, RevisionRelation, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

__all__ = ["Facts", "is_of_kind", "is_paused", "pause_day", "read_facts", "refusal"]

_UPGRADES: Final = next(guid for guid, name in CLASSIFICATIONS.items() if name == "Upgrades")
_DRIVERS: Final = tuple(guid for guid, name in CLASSIFICATIONS.items() if name.startswith("Driver"))

_PERIOD: Final = "ConfigureFeatureUpdateUninstallPeriod"
_LAST_ZONE: Final = timedelta(hours=12)
"""How much later than in UTC a day begins in the last time zone."""
_DEFAULT_PERIOD: Final = 10
"""Days; what Windows does without the policy."""
_CHANNEL: Final = "BranchReadinessLevel"
_GENERAL: Final = frozenset({"16", "32"})
"""General Availability, and what it was called before 1903."""
_POLICIES: Final = (_PERIOD, _CHANNEL, *PAUSED_BY.values())
_INSTALLABLE: Final = int(UpdateList.INSTALLABLE)

_device: Final = table_of(Device)
_policy: Final = table_of(DevicePolicy)
_rows: Final = table_of(DeviceUpdate)
_revision: Final = table_of(UpdateRevision)
_relation: Final = table_of(RevisionRelation)


@dataclass(slots=True)
class Facts:
    """What is known of a device that bears on a rollback."""

    os_version: str | None = None
    unenrolled: bool = False
    retiring: bool = False
    """IT has asked it to leave."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Values the device took, by name."""
    lacking: frozenset[str] = frozenset()
    """Policies that the device answered not to have."""
    offered: tuple[str, str] | None = None
    """An update of the kind that it is offered, and the installed one that it replaces, by title."""
    upgraded_at: datetime | None = None
    """Of a feature update: when the latest was first seen installed, which is never before it was."""


def refusal(kind: RollbackKind, facts: Facts, now: datetime) -> str | None:
    """Why the device cannot roll back, in a sentence; None if nothing known speaks against it."""
    build = OsBuild.read(facts.os_version or "")
    if facts.unenrolled:
        return "The device has left management."
    if facts.retiring:
        return "The device was asked to leave management."
    if build is not None and build.number < FIRST_BUILD:
        return (
            f"Its Windows is {facts.os_version}; rolling back needs Windows 10 1803 ({FIRST_BUILD}) or later."
        )
    if PAUSED_BY[kind] in facts.lacking:
        return f"The device has no policy {PAUSED_BY[kind]}, and rolls back only while updates are paused."
    if facts.offered is not None:
        newer, older = facts.offered
        return (
            f"Windows rolls back the latest update only, and the device is offered {newer!r}, which replaces "
            f"the installed {older!r}."
        )
    return _refusal_of_feature(facts, now) if kind is RollbackKind.FEATURE else None


def _refusal_of_feature(facts: Facts, now: datetime) -> str | None:
    channel = facts.policies.get(_CHANNEL)
    if channel is not None and channel not in _GENERAL:
        return (
            f"Its updates come from a preview channel ({_CHANNEL} is {channel}), and Windows rolls back feature "
            "updates of General Availability only."
        )
    days = int(facts.policies.get(_PERIOD, _DEFAULT_PERIOD))
    if facts.upgraded_at is not None and now - facts.upgraded_at > timedelta(days=days):
        return (
            f"Its latest feature update was installed on {facts.upgraded_at:%Y-%m-%d} or before, and can be "
            f"uninstalled for {days} days only ({_PERIOD})."
        )
    return None


def is_paused(kind: RollbackKind, facts: Facts, now: datetime) -> bool:
    """True if the device has confirmed a pause of these updates that has begun, wherever it is, and is not over."""
    since = facts.policies.get(PAUSED_BY[kind])
    return since is not None and since <= pause_day(now) and pause_over_at(since) > now


def pause_day(now: datetime) -> str:
    """The latest day that has begun everywhere on Earth: a pause from it on has begun by any device's calendar."""
    return (now - _LAST_ZONE).date().isoformat()


def is_of_kind(kind: RollbackKind, classification_id: Any) -> ColumnElement[bool]:
    """The condition that an update of this classification is of the kind; without one it may be of any."""
    if kind is RollbackKind.FEATURE:
        return or_(classification_id.is_(None), classification_id == _UPGRADES)
    others = (_UPGRADES, DEFINITION_UPDATES, *_DRIVERS)
    return or_(classification_id.is_(None), classification_id.not_in(others))


def read_facts(conn: Connection, kind: RollbackKind, device_pks: Collection[int]) -> dict[int, Facts]:
    """What is known of each of these devices, at most some hundreds at a time."""
    found = {
        row.pk: Facts(row.os_version, row.unenrolled_at is not None, row.retire_requested_at is not None)
        for row in conn.execute(
            select(
                _device.c.pk, _device.c.os_version, _device.c.unenrolled_at, _device.c.retire_requested_at
            ).where(_device.c.pk.in_(device_pks))
        )
    }
    for row in conn.execute(
        select(_policy.c.device_pk, _policy.c.name, _policy.c.status, _policy.c.value).where(
            _policy.c.device_pk.in_(device_pks), _policy.c.name.in_(_POLICIES)
        )
    ):
        facts = found[row.device_pk]
        if row.status == "set" and row.value is not None:
            facts.policies = {**facts.policies, row.name: row.value}
        elif row.status == "unsupported":
            facts.lacking |= {row.name}
    _read_offered(conn, kind, found)
    if kind is RollbackKind.FEATURE:
        _read_upgrades(conn, found)
    return found


def _read_offered(conn: Connection, kind: RollbackKind, found: Mapping[int, Facts]) -> None:
    """Updates that are offered and replace the newest installed one: that is not the latest then.

    A month has several updates of a kind, one for Windows and one for .NET; that the other one is offered says nothing
    of the one that Windows would take back.
    """
    offered, installed, older = _rows.alias("offered"), _rows.alias("installed"), _revision.alias("older")
    also, newer = _rows.alias("also"), _revision.alias("newer")
    overtaken = (
        exists()
        .where(
            also.c.device_pk == installed.c.device_pk,
            also.c.state == "installed",
            newer.c.update_id == also.c.update_id,
            newer.c.is_latest,
            newer.c.created > older.c.created,
            is_of_kind(kind, newer.c.classification_id),
        )
        .correlate(installed, older)
    )
    edges = (
        _relation.c.update_id == _revision.c.update_id,
        _relation.c.revision_number == _revision.c.revision_number,
        of_kind("supersedes"),
    )
    query = (
        select(offered.c.device_pk, _revision.c.title, older.c.title.label("replaced"))
        .select_from(offered)
        .join(_revision, and_(_revision.c.update_id == offered.c.update_id, _revision.c.is_latest))
        .join(_relation, and_(*edges))
        .join(
            installed,
            and_(
                installed.c.device_pk == offered.c.device_pk,
                installed.c.update_id == _relation.c.target_id,
                installed.c.state == "installed",
            ),
        )
        .join(older, and_(older.c.update_id == installed.c.update_id, older.c.is_latest))
        .where(
            offered.c.device_pk.in_(found),
            offered.c.lists.bitwise_and(_INSTALLABLE) != 0,
            is_of_kind(kind, _revision.c.classification_id),
            ~overtaken,
        )
        .order_by(offered.c.device_pk, _revision.c.update_id.desc(), older.c.update_id.desc())
    )
    for row in conn.execute(query):
        found[row.device_pk].offered = (row.title, row.replaced)


def _read_upgrades(conn: Connection, found: Mapping[int, Facts]) -> None:
    query = (
        select(_rows.c.device_pk, _rows.c.since)
        .join(_revision, and_(_revision.c.update_id == _rows.c.update_id, _revision.c.is_latest))
        .where(
            _rows.c.device_pk.in_(found),
            _rows.c.state == "installed",
            _revision.c.classification_id == _UPGRADES,
        )
        .order_by(_rows.c.since)
    )
    for row in conn.execute(query):
        found[row.device_pk].upgraded_at = row.since
