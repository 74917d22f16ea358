"""Which approvals hold for one device, and what the catalogue knows of their targets: the check-in's reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Select, bindparam, exists, or_, select

from mdm.approvals.decision import Intent, UpdateFacts
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    EulaAcceptance,
    GroupMember,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

__all__ = ["has_approvals", "intents_for_device", "open_eula_classifications", "update_facts"]

_approval = table_of(Approval)
_approval_group = table_of(ApprovalGroup)
_member = table_of(GroupMember)
_revision = table_of(UpdateRevision)
_acceptance = table_of(EulaAcceptance)

_CHUNK = 500
"""Ids in one IN list: below SQLite's and PostgreSQL's bound-parameter limits with room."""


def intents_for_device(
    connection: Connection, device_pk: int, update_ids: Iterable[str] | None = None
) -> list[Intent]:
    """The active approvals of the groups a device is in.

    With `update_ids`, approvals of other updates are left out (a fleet may have thousands, a device needs a
    few); classification approvals always come.
    """
    base = _effective()
    if update_ids is None:
        return _read(connection, base, device_pk)
    found = _read(connection, base.where(_approval.c.target_type == "classification"), device_pk)
    wanted = base.where(_approval.c.target_type == "update")
    for chunk in _chunks(update_ids):
        found += _read(connection, wanted.where(_approval.c.target_id.in_(chunk)), device_pk)
    return found


def has_approvals(connection: Connection, device_pk: int) -> bool:
    """True if any approval holds for the device, delivered or not: it is managed by approvals."""
    return connection.execute(_effective().limit(1), {"device_pk": device_pk}).first() is not None


def _effective() -> Select[tuple[str, str, str, bool]]:
    groups = select(_member.c.group_id).where(_member.c.device_pk == bindparam("device_pk"))
    return (
        select(
            _approval.c.id,
            _approval.c.target_type,
            _approval.c.target_id,
            _approval.c.allow_without_metadata,
        )
        .distinct()
        .join(_approval_group, _approval_group.c.approval_id == _approval.c.id)
        .where(
            _approval.c.revoked_at.is_(None),
            or_(_approval_group.c.group_id == ALL_DEVICES, _approval_group.c.group_id.in_(groups)),
        )
        .order_by(_approval.c.id)
    )


def _read(
    connection: Connection, statement: Select[tuple[str, str, str, bool]], device_pk: int
) -> list[Intent]:
    return [
        Intent(row.id, row.target_type, row.target_id, bool(row.allow_without_metadata))
        for row in connection.execute(statement, {"device_pk": device_pk})
    ]


def update_facts(connection: Connection, update_ids: Iterable[str]) -> dict[str, UpdateFacts]:
    """What the catalogue's highest revisions say of these updates; absent when no metadata is stored."""
    accepted = exists().where(_acceptance.c.eula_id == _revision.c.eula_id)
    statement = select(
        _revision.c.update_id,
        _revision.c.eula_id,
        _revision.c.publication_state,
        _revision.c.classification_id,
        _revision.c.title,
        accepted.label("accepted"),
    ).where(_revision.c.is_latest)
    facts: dict[str, UpdateFacts] = {}
    for chunk in _chunks(update_ids):
        for row in connection.execute(statement.where(_revision.c.update_id.in_(chunk))):
            facts[row.update_id] = UpdateFacts(
                update_id=row.update_id,
                eula_id=row.eula_id,
                eula_accepted=bool(row.accepted),
                expired=row.publication_state == "Expired",
                classification_id=row.classification_id,
                title=row.title,
            )
    return facts


def open_eula_classifications(connection: Connection, classification_ids: Iterable[str]) -> frozenset[str]:
    """Those of the classifications in which a published update has a EULA that nobody has accepted."""
    accepted = exists().where(_acceptance.c.eula_id == _revision.c.eula_id)
    statement = (
        select(_revision.c.classification_id)
        .distinct()
        .where(
            _revision.c.is_latest,
            _revision.c.publication_state != "Expired",
            _revision.c.eula_id.is_not(None),
            ~accepted,
        )
    )
    found: set[str] = set()
    for chunk in _chunks(classification_ids):
        found.update(connection.scalars(statement.where(_revision.c.classification_id.in_(chunk))))
    return frozenset(found)


def _chunks(ids: Iterable[str]) -> Iterable[list[str]]:
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
