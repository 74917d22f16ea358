"""Which approvals and blocks hold for one device, and what the catalogue knows of their targets: the check-in's reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, bindparam, not_, or_, select

from mdm.approvals.acceptance import eula_accepted
from mdm.approvals.decision import BLOCK, CLASSIFICATION, Intent, UpdateFacts
from mdm.catalog.supersedence import superseded_since
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    GroupMember,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Row

__all__ = [
    "facts_needed",
    "has_approvals",
    "intent_of",
    "intents_for_device",
    "open_eula_classifications",
    "update_facts",
]

_approval = table_of(Approval)
_approval_group = table_of(ApprovalGroup)
_member = table_of(GroupMember)
_revision = table_of(UpdateRevision)

_CHUNK = 500
"""Ids in one IN list: below SQLite's and PostgreSQL's bound-parameter limits with room."""


def intents_for_device(
    connection: Connection, device_pk: int, now: datetime, update_ids: Iterable[str] | None = None
) -> list[Intent]:
    """The active approvals and blocks of the groups a device is in; one that has not begun is among them.

    With `update_ids`, approvals of other updates are left out (a fleet may have thousands, a device needs a
    few); approvals of classifications and blocks always come.
    """
    base = _effective()
    if update_ids is None:
        return _read(connection, base, device_pk, now)
    always = or_(_approval.c.target_type == CLASSIFICATION, _approval.c.action == BLOCK)
    found = _read(connection, base.where(always), device_pk, now)
    wanted = base.where(_approval.c.target_type == "update", _approval.c.action != BLOCK)
    for chunk in _chunks(update_ids):
        found += _read(connection, wanted.where(_approval.c.target_id.in_(chunk)), device_pk, now)
    return found


def has_approvals(connection: Connection, device_pk: int, now: datetime) -> bool:
    """True if any approval or block holds for the device, delivered or not: it is managed by approvals."""
    parameters = {"device_pk": device_pk, "now": now}
    return connection.execute(_effective().limit(1), parameters).first() is not None


def _effective() -> Select[Any]:
    groups = select(_member.c.group_id).where(_member.c.device_pk == bindparam("device_pk"))
    over = _approval.c.expires_at <= bindparam("now", type_=_approval.c.expires_at.type)
    return (
        select(
            _approval.c.id,
            _approval.c.target_type,
            _approval.c.target_id,
            _approval.c.allow_without_metadata,
            _approval.c.action,
            _approval.c.delivery,
            _approval.c.not_before,
            _approval.c.expires_at,
            _approval.c.reason,
        )
        .distinct()
        .join(_approval_group, _approval_group.c.approval_id == _approval.c.id)
        .where(
            _approval.c.revoked_at.is_(None),
            or_(_approval.c.expires_at.is_(None), not_(over)),
            or_(_approval_group.c.group_id == ALL_DEVICES, _approval_group.c.group_id.in_(groups)),
        )
        .order_by(_approval.c.id)
    )


def _read(connection: Connection, statement: Select[Any], device_pk: int, now: datetime) -> list[Intent]:
    rows = connection.execute(statement, {"device_pk": device_pk, "now": now})
    return [intent_of(row) for row in rows]


def intent_of(row: Row[Any]) -> Intent:
    """The intent in a row of `approval`."""
    return Intent(
        row.id,
        row.target_type,
        row.target_id,
        bool(row.allow_without_metadata),
        row.action,
        row.delivery,
        row.not_before,
        row.expires_at,
        row.reason,
    )


def facts_needed(intents: Iterable[Intent], offered: Iterable[str]) -> set[str]:
    """The updates whose facts `decide` asks for, of those the device is offered and those intents name."""
    intents = list(intents)
    named = {intent.target_id for intent in intents if intent.target_type != CLASSIFICATION}
    by_class = any(
        intent.expands or (intent.blocks and intent.target_type == CLASSIFICATION) for intent in intents
    )
    return named.union(offered) if by_class else named


def update_facts(connection: Connection, update_ids: Iterable[str]) -> dict[str, UpdateFacts]:
    """What the catalogue's highest revisions say of these updates; absent when no metadata is stored."""
    update_ids = set(update_ids)
    superseded = superseded_since(connection, update_ids) if update_ids else {}
    accepted = eula_accepted(_revision.c.eula_id)
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
                superseded=row.update_id in superseded,
            )
    return facts


def open_eula_classifications(connection: Connection, classification_ids: Iterable[str]) -> frozenset[str]:
    """Those of the classifications in which a published update has a EULA that nobody has accepted."""
    accepted = eula_accepted(_revision.c.eula_id)
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
