"""Reads what decides about updates on a device, for any updates: those it speaks of and those it never did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import exists, func, select, union

from csp.snapshot import UpdateList
from mdm.approvals.decision import CLASSIFICATION, Hold, decide
from mdm.approvals.effective import circumstances, standing_of, update_facts
from mdm.approvals.eulas import open_eulas_of_classification
from mdm.catalog.supersedence import superseding
from mdm.devices.case import Case, Heard, Newer, PolicyAnswer, Refusal, Report, Ring, RolloutFacts
from mdm.devices.certificate import last_certificate
from mdm.rollouts.turns import TURNS
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ApprovalEvidence,
    ApprovalTrial,
    Device,
    DevicePolicy,
    DeviceUpdate,
    NeededRevision,
    Rollout,
    RolloutStage,
    UpdateRevision,
    WithdrawalAnswer,
)
from mdm.windows.effective import window_state

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from mdm.approvals.decision import Decision, Intent, UpdateFacts

__all__ = ["read_cases"]

_APPROVED: Final = int(UpdateList.APPROVED)
_APPROVAL_POLICY: Final = "RequireUpdateApproval"

_device = table_of(Device)
_rows = table_of(DeviceUpdate)
_revision = table_of(UpdateRevision)
_needed = table_of(NeededRevision)
_policy = table_of(DevicePolicy)
_trial = table_of(ApprovalTrial)
_evidence = table_of(ApprovalEvidence)
_rollout = table_of(Rollout)
_stage = table_of(RolloutStage)
_withdrawal = table_of(WithdrawalAnswer)


def read_cases(
    connection: Connection, device_pk: int, update_ids: Collection[str], now: datetime
) -> dict[str, Case]:
    """Return the case of each of these updates, of which there are at most some hundreds."""
    ids = sorted(set(update_ids))
    device = connection.execute(
        select(
            _device.c.last_checkin_at,
            _device.c.state_read_at,
            _device.c.installed_read_at,
            _device.c.last_scan_time,
            _device.c.unenrolled_at,
            _device.c.retire_requested_at,
            _device.c.retire_told_at,
            _withdrawal_refused().label("withdrawal_refused"),
        ).where(_device.c.pk == device_pk)
    ).one()
    about = circumstances(connection, standing_of(connection, device_pk), now, ids)
    facts = about.facts | update_facts(connection, set(ids) - about.facts.keys(), about.intents)
    window = window_state(connection, device_pk, now, device.last_checkin_at)
    decision = decide(about.intents, facts, about.classes, now=now, offered=ids, window_closed=window.closed)
    classes = {intent.target_id for intent in about.intents if intent.target_type == CLASSIFICATION}
    told = {
        row.update_id: row
        for row in connection.execute(
            select(_rows).where(_rows.c.device_pk == device_pk, _rows.c.update_id.in_([*classes, *ids]))
        )
    }
    heard = Heard(
        device.last_checkin_at,
        device.state_read_at,
        device.installed_read_at,
        device.last_scan_time,
        device.unenrolled_at,
        device.retire_requested_at,
        device.retire_told_at,
        last_certificate(connection, device_pk),
    )
    refusals = {
        update_id: Refusal(row.approve_status, row.approve_error)
        for update_id, row in told.items()
        if row.approve_status is not None
    }
    refused_by_all = _not_offered(connection, ids)
    released = _released(connection, ids)
    spoken_of = _spoken_of(connection, [each for each in ids if each not in told and each not in facts])
    newer = _newer(connection, device_pk, _to_replace(ids, told, facts, decision))
    licences = _open_eulas(connection, decision, classes)
    inside = _blocked_inside(about.intents, facts)
    enforced = _enforced(connection, device_pk)
    scans = _scans(connection, device_pk, ids)
    rollouts = _rollouts(
        connection, {each.rollout_id for each in about.intents if each.gate and each.rollout_id}
    )
    cases = {}
    for update_id in ids:
        known, row = facts.get(update_id), told.get(update_id)
        speaking = [intent for intent in about.intents if intent.covers(update_id, known)]
        class_id = None if known is None else known.classification_id
        on_device = [
            each
            for each in (update_id, class_id)
            if each is not None and each in told and told[each].lists & _APPROVED
        ]
        cases[update_id] = Case(
            now=now,
            update_id=update_id,
            heard=heard,
            report=None if row is None else Report(row.state, row.since, row.hresult, row.failures),
            known=known,
            released=released.get(update_id),
            spoken_of=update_id in told or update_id in facts or update_id in spoken_of,
            not_offered=update_id in refused_by_all,
            approvals=tuple(intent for intent in speaking if not intent.blocks),
            blocks=tuple(intent for intent in speaking if intent.blocks),
            held=decision.held,
            delivered=bool(on_device),
            delivered_at=told[on_device[0]].delivered_at if on_device else None,
            withdrawal_refused=bool(device.withdrawal_refused),
            scans=scans.get(update_id),
            refusals=refusals,
            enforced=enforced,
            newer=newer.get(update_id, ()),
            open_eulas=licences.get(class_id or "", ()),
            blocked_inside=inside.get(class_id or "", ()),
            window_opens=window.next_open,
            rollouts=rollouts,
        )
    return cases


def _withdrawal_refused() -> ColumnElement[bool]:
    return exists().where(
        _withdrawal.c.build == func.coalesce(_device.c.os_version, ""), _withdrawal.c.supported.is_(False)
    )


def _to_replace(
    ids: Iterable[str], told: dict[str, Any], facts: dict[str, UpdateFacts], decision: Decision
) -> list[str]:
    """The updates whose successors are to be named: held as superseded, or superseded and not offered."""
    return [
        each
        for each in ids
        if decision.held.get(each) is Hold.SUPERSEDED
        or (each in facts and facts[each].superseded and (each not in told or told[each].state == "listed"))
    ]


def _newer(connection: Connection, device_pk: int, update_ids: Iterable[str]) -> dict[str, tuple[Newer, ...]]:
    """What replaces each of these updates; what the device has installed comes first."""
    by_update = {each: sorted(superseding(connection, each)) for each in update_ids}
    all_newer = sorted({each for newer in by_update.values() for each in newer})
    if not all_newer:
        return {}
    titles = _column(connection, _revision.c.title, all_newer)
    states: dict[str, str] = dict(
        connection.execute(
            select(_rows.c.update_id, _rows.c.state).where(
                _rows.c.device_pk == device_pk, _rows.c.update_id.in_(all_newer), _rows.c.state != "listed"
            )
        ).all()
    )
    return {
        update_id: tuple(
            Newer(each, titles[each], states.get(each))
            for each in sorted(
                newer, key=lambda each: (states.get(each) != "installed", each not in states, each)
            )
        )
        for update_id, newer in by_update.items()
    }


def _released(connection: Connection, ids: list[str]) -> dict[str, datetime]:
    return {each: moment for each, moment in _column(connection, _revision.c.created, ids).items() if moment}


def _column(connection: Connection, column: Any, ids: list[str]) -> dict[str, Any]:
    rows = connection.execute(
        select(_revision.c.update_id, column).where(_revision.c.is_latest, _revision.c.update_id.in_(ids))
    )
    return dict(rows.all())


def _not_offered(connection: Connection, ids: list[str]) -> frozenset[str]:
    return frozenset(
        connection.scalars(
            select(_needed.c.update_id).where(_needed.c.update_id.in_(ids), _needed.c.state == "not_offered")
        )
    )


def _spoken_of(connection: Connection, ids: list[str]) -> frozenset[str]:
    """Those of these unknown updates that some device has named, or that are looked for because of one."""
    if not ids:
        return frozenset()
    named = union(
        select(_rows.c.update_id).where(_rows.c.update_id.in_(ids)),
        select(_needed.c.update_id).where(_needed.c.update_id.in_(ids)),
    )
    return frozenset(connection.scalars(named))


def _open_eulas(
    connection: Connection, decision: Decision, classes: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    return {
        each: tuple(f"{eula.id} of {eula.title!r}" for eula in open_eulas_of_classification(connection, each))
        for each in classes
        if decision.held.get(each) is Hold.EULA_NOT_ACCEPTED
    }


def _blocked_inside(intents: Iterable[Intent], facts: dict[str, UpdateFacts]) -> dict[str, tuple[str, ...]]:
    """The blocked updates of each classification."""
    found: dict[str, tuple[str, ...]] = {}
    for block in intents:
        known = facts.get(block.target_id)
        if block.blocks and known is not None and known.classification_id is not None:
            words = f"{known.title!r} ({block.approval_id})"
            found[known.classification_id] = (*found.get(known.classification_id, ()), words)
    return found


def _enforced(connection: Connection, device_pk: int) -> PolicyAnswer | None:
    row = connection.execute(
        select(_policy.c.status, _policy.c.status_code, _policy.c.error).where(
            _policy.c.device_pk == device_pk, _policy.c.name == _APPROVAL_POLICY
        )
    ).one_or_none()
    return None if row is None else PolicyAnswer(row.status, row.status_code, row.error)


def _scans(connection: Connection, device_pk: int, ids: list[str]) -> dict[str, int]:
    """How many scans each update on trial has outlasted."""
    rows = connection.execute(
        select(_trial.c.update_id, _evidence.c.scans - _trial.c.scan)
        .join(_evidence, _evidence.c.device_pk == _trial.c.device_pk)
        .where(_trial.c.device_pk == device_pk, _trial.c.update_id.in_(ids), _trial.c.scan.is_not(None))
    )
    return dict(rows.all())


def _rollouts(connection: Connection, rollout_ids: Collection[str]) -> dict[str, RolloutFacts]:
    if not rollout_ids:
        return {}
    rings: dict[str, tuple[Ring, ...]] = {}
    for row in connection.execute(
        select(_stage)
        .where(_stage.c.rollout_id.in_(rollout_ids))
        .order_by(_stage.c.rollout_id, _stage.c.number)
    ):
        offered = None if row.offered_below is None else row.offered_below / TURNS
        ring = Ring(row.number, row.name, row.state, row.opens_at, offered, row.promotion)
        rings[row.rollout_id] = (*rings.get(row.rollout_id, ()), ring)
    return {
        row.id: RolloutFacts(
            row.id, row.name, row.state_at, row.state_by, row.state_reason, rings.get(row.id, ())
        )
        for row in connection.execute(select(_rollout).where(_rollout.c.id.in_(rollout_ids)))
    }
