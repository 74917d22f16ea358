"""The queue of licences: which approvals wait because nobody has accepted a EULA, on how many devices, since when.

What waits is what `mdm.approvals.decision.decide` would hold for its EULA once the approval's own time and turn have
come: the licence is asked for before that. A block hides nothing here, for it may end before the approval does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, or_, select
from sqlmodel import col

from mdm.approvals.decision import CLASSIFICATION, UPDATE, ClassFacts, Hold, Intent, decide
from mdm.approvals.effective import intent_of, update_facts
from mdm.catalog.ids import chunks
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    DeviceUpdate,
    EulaText,
    GroupMember,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from mdm.approvals.decision import UpdateFacts

__all__ = ["Waiting", "WaitingApproval", "changed_since", "waiting_for"]

_approval = table_of(Approval)
_text = table_of(EulaText)

_MAX_NAMED: Final = 100
"""Approvals named for one EULA; all are counted."""

_NEEDED: Final = ("installable", "failed")
"""States of an update that a device wants to install."""


@dataclass(frozen=True, slots=True)
class WaitingApproval:
    """An approval that delivers nothing, or not all, before a EULA is accepted."""

    id: str
    target_type: str
    target_id: str
    created_by: str
    rule_id: str | None
    """The rule that made it."""
    rollout_id: str | None
    """The rollout it belongs to, with its stage."""
    stage: int | None
    since: datetime
    """When it began to wait: when it was made, or the EULA came, whichever was later."""
    update_ids: tuple[str, ...]
    """Updates it waits with that have this EULA; at most 100."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one EULA keeps from devices."""

    since: datetime
    """When the first of the approvals began to wait."""
    devices: int
    """Devices of these approvals that want to install such an update."""
    approval_count: int
    approvals: tuple[WaitingApproval, ...]
    """The first of them, oldest first; at most 100."""
    rules: tuple[str, ...]
    """Rules that made any of them."""
    rollouts: tuple[str, ...]
    """Rollouts that any of them belongs to."""


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The published updates that have one of the EULAs, and what is known of them."""

    facts: Mapping[str, UpdateFacts]
    wanted: frozenset[str]
    """Those that a device wants to install."""

    @property
    def classes(self) -> frozenset[str]:
        """Classifications that one of the updates is in."""
        return frozenset(each.classification_id for each in self.facts.values() if each.classification_id)


def waiting_for(conn: Connection, open_since: Mapping[str, datetime], now: datetime) -> dict[str, Waiting]:
    """What waits for each of these EULAs, given since when each is to be accepted; those nothing waits for are absent."""
    rows = _approvals(conn, open_since, now)
    intents = {row.id: replace(intent_of(row), not_before=None) for row in rows}
    candidates = _candidates(conn, open_since, intents.values())
    held = {row.id: _held(intents[row.id], candidates, now) for row in rows}
    groups = _groups(conn, [each for each, updates in held.items() if updates])
    found = {}
    for eula_id, since in open_since.items():
        waiting = [
            (row, its)
            for row in rows
            if (its := [each for each in held[row.id] if candidates.facts[each].eula_id == eula_id])
        ]
        if waiting:
            devices = _devices(conn, [(groups[row.id], its) for row, its in waiting])
            found[eula_id] = _waiting(waiting, since, devices)
    return found


def _waiting(waiting: list[tuple[Row[Any], list[str]]], since: datetime, devices: int) -> Waiting:
    approvals = [
        WaitingApproval(
            id=row.id,
            target_type=row.target_type,
            target_id=row.target_id,
            created_by=row.created_by,
            rule_id=row.rule_id,
            rollout_id=row.rollout_id,
            stage=row.stage,
            since=max(row.created_at, since),
            update_ids=tuple(its[:_MAX_NAMED]),
        )
        for row, its in waiting
    ]
    approvals.sort(key=lambda each: (each.since, each.id))
    return Waiting(
        since=approvals[0].since,
        devices=devices,
        approval_count=len(approvals),
        approvals=tuple(approvals[:_MAX_NAMED]),
        rules=tuple(sorted({each.rule_id for each in approvals if each.rule_id is not None})),
        rollouts=tuple(sorted({each.rollout_id for each in approvals if each.rollout_id is not None})),
    )


def _approvals(conn: Connection, eula_ids: Iterable[str], now: datetime) -> list[Row[Any]]:
    """The active approvals that may hold an update with one of the EULAs: of such an update, or of more than one."""
    statement: Any = select(
        _approval.c.id,
        _approval.c.target_type,
        _approval.c.target_id,
        _approval.c.allow_without_metadata,
        _approval.c.action,
        _approval.c.delivery,
        _approval.c.not_before,
        _approval.c.expires_at,
        _approval.c.reason,
        _approval.c.rollout_id,
        _approval.c.stage,
        _approval.c.deadline,
        _approval.c.rule_id,
        _approval.c.created_at,
        _approval.c.created_by,
    ).where(
        _approval.c.revoked_at.is_(None),
        _approval.c.action == "approve",
        or_(_approval.c.expires_at.is_(None), _approval.c.expires_at > now),
    )
    rows: list[Row[Any]] = list(conn.execute(statement.where(_approval.c.target_type != UPDATE)))
    for chunk in chunks(eula_ids):
        with_eula = select(col(UpdateRevision.update_id)).where(
            *_published(), col(UpdateRevision.eula_id).in_(chunk)
        )
        rows += conn.execute(
            statement.where(_approval.c.target_type == UPDATE, _approval.c.target_id.in_(with_eula))
        )
    return rows


def _candidates(conn: Connection, eula_ids: Iterable[str], intents: Iterable[Intent]) -> _Candidates:
    ids: set[str] = set()
    wanted: set[str] = set()
    for chunk in chunks(eula_ids):
        with_eula = and_(*_published(), col(UpdateRevision.eula_id).in_(chunk))
        ids.update(conn.scalars(select(col(UpdateRevision.update_id)).where(with_eula)))
        wanted.update(
            conn.scalars(
                select(col(DeviceUpdate.update_id))
                .distinct()
                .join(UpdateRevision, col(UpdateRevision.update_id) == col(DeviceUpdate.update_id))
                .where(with_eula, col(DeviceUpdate.state).in_(_NEEDED))
            )
        )
    return _Candidates(update_facts(conn, ids, intents), frozenset(wanted))


def _published() -> tuple[ColumnElement[bool], ...]:
    return col(UpdateRevision.is_latest).is_(True), col(UpdateRevision.publication_state) != "Expired"


def _held(intent: Intent, candidates: _Candidates, now: datetime) -> list[str]:
    """The updates with an open EULA that this approval alone would deliver if it were accepted."""
    facts = candidates.facts
    classes = ClassFacts(with_open_eula=candidates.classes)
    decision = decide([intent], facts, classes, now=now, offered=candidates.wanted)
    held = {each for each, hold in decision.held.items() if hold is Hold.EULA_NOT_ACCEPTED}
    if intent.target_type == CLASSIFICATION and intent.target_id in held:
        # Its GUID waits for every licence inside.
        held = {each for each in facts if intent.covers(each, facts[each])}
    return sorted(held)


def _groups(conn: Connection, approval_ids: Iterable[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for chunk in chunks(approval_ids):
        for approval_id, group_id in conn.execute(
            select(col(ApprovalGroup.approval_id), col(ApprovalGroup.group_id)).where(
                col(ApprovalGroup.approval_id).in_(chunk)
            )
        ):
            found.setdefault(approval_id, set()).add(group_id)
    return {approval_id: frozenset(ids) for approval_id, ids in found.items()}


def _devices(conn: Connection, waiting: Iterable[tuple[frozenset[str], Iterable[str]]]) -> int:
    """Devices that are in an approval's groups and want to install one of the updates it waits with."""
    by_groups: dict[frozenset[str], set[str]] = {}
    for groups, updates in waiting:
        by_groups.setdefault(groups, set()).update(updates)
    which = []
    for groups, ids in by_groups.items():
        condition: ColumnElement[bool] = col(DeviceUpdate.update_id).in_(sorted(ids))
        if ALL_DEVICES not in groups:
            members = select(col(GroupMember.device_pk)).where(col(GroupMember.group_id).in_(sorted(groups)))
            condition = and_(condition, col(DeviceUpdate.device_pk).in_(members))
        which.append(condition)
    query = select(func.count(func.distinct(col(DeviceUpdate.device_pk)))).where(
        col(DeviceUpdate.state).in_(_NEEDED), or_(*which)
    )
    return conn.scalar(query) or 0


def changed_since(conn: Connection, eula_ids: Iterable[str]) -> dict[str, datetime]:
    """When each of these EULAs got the newest of its current texts: since then one that had been accepted waits again.

    Absent are those of which neither a text has come nor a date is known.
    """
    found: dict[str, datetime] = {}
    newest = func.max(func.coalesce(_text.c.fetched_at, _text.c.named_at))
    for chunk in chunks(eula_ids):
        rows = conn.execute(
            select(_text.c.eula_id, newest.label("at"))
            .where(_text.c.eula_id.in_(chunk), _text.c.current)
            .group_by(_text.c.eula_id)
        )
        found |= {row.eula_id: row.at for row in rows if row.at is not None}
    return found
