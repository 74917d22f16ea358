"""A device's updates as IT reads them: the state the device reported, and one sentence why it is so."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from csp.hresult import describe, explain, format_hresult
from csp.snapshot import UpdateList
from mdm.approvals.decision import CLASSIFICATION, Decision, Hold, Intent, UpdateFacts, decide
from mdm.approvals.effective import (
    facts_needed,
    intents_for_device,
    open_eula_classifications,
    update_facts,
)
from mdm.approvals.eulas import open_eulas_of_classification
from mdm.catalog.supersedence import chain_of
from mdm.storage.statements import table_of
from mdm.storage.tables import DevicePolicy, DeviceUpdate, NeededRevision, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from mdm.approvals.eulas import OpenEula

__all__ = ["STATES", "DeviceUpdateView", "list_device_updates"]

STATES: Final = ("pending_reboot", "failed", "installable", "installed")
"""What the API shows; rows that stand in ApprovedUpdates only are not updates the device speaks of."""

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)

_rows = table_of(DeviceUpdate)
_revision = table_of(UpdateRevision)
_needed = table_of(NeededRevision)
_policy = table_of(DevicePolicy)


@dataclass(frozen=True, slots=True)
class DeviceUpdateView:
    """One update on one device."""

    update_id: str
    revision_number: int | None
    state: str
    """`pending_reboot`, `failed`, `installable` or `installed`."""
    approved: bool
    """An approval holds for this device: of the update itself or of its classification."""
    delivered: bool
    """The update, or its classification, stands in the device's ApprovedUpdates."""
    reason: str
    """Why it is not installed, as a stable code."""
    reason_text: str
    """The same as a sentence for people."""
    title: str | None
    kb: str | None
    update_type: int | None
    """InstallableUpdates Type: 0 none, 1 security, 2 critical."""
    hresult: str | None
    """`0x%08X`, for failed updates."""
    hresult_text: str | None
    """What that HRESULT means, where it is a known one."""
    since: datetime
    """When the state last changed."""
    approval_ids: tuple[str, ...]


def list_device_updates(
    connection: Connection,
    device_pk: int,
    *,
    after: str | None = None,
    limit: int = 50,
    state: str | None = None,
    now: datetime,
) -> list[DeviceUpdateView]:
    """At most `limit` updates of a device in UpdateID order, from the one behind `after` on."""
    statement = (
        select(_rows, _revision.c.title, _revision.c.kb)
        .outerjoin(_revision, (_revision.c.update_id == _rows.c.update_id) & _revision.c.is_latest.is_(True))
        .where(_rows.c.device_pk == device_pk, _rows.c.state.in_(STATES if state is None else (state,)))
        .order_by(_rows.c.update_id)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(_rows.c.update_id > after)
    rows = connection.execute(statement).mappings().all()
    ids = [row["update_id"] for row in rows]
    intents = intents_for_device(connection, device_pk, now, ids)
    facts = update_facts(connection, facts_needed(intents, ids) | set(ids))
    classes = {intent.target_id for intent in intents if intent.target_type == CLASSIFICATION}
    decision = decide(intents, facts, open_eula_classifications(connection, classes), now=now, offered=ids)
    told = connection.execute(
        select(_rows.c.update_id, _rows.c.lists, _rows.c.approve_status, _rows.c.approve_error).where(
            _rows.c.device_pk == device_pk, _rows.c.update_id.in_([*classes, *ids])
        )
    ).all()
    context = _Context(
        now=now,
        intents=intents,
        facts=facts,
        decision=decision,
        on_device=frozenset(row.update_id for row in told if row.lists & UpdateList.APPROVED),
        refused={
            row.update_id: _refusal(row.approve_status, row.approve_error)
            for row in told
            if row.approve_status is not None
        },
        not_offered=frozenset(
            connection.scalars(
                select(_needed.c.update_id).where(
                    _needed.c.update_id.in_(ids), _needed.c.state == "not_offered"
                )
            )
        ),
        newer=_newer(connection, (each for each in ids if decision.held.get(each) is Hold.SUPERSEDED)),
        open_eulas={
            each: open_eulas_of_classification(connection, each)
            for each in classes
            if decision.held.get(each) is Hold.EULA_NOT_ACCEPTED
        },
        enforced=connection.execute(
            select(_policy.c.status, _policy.c.status_code, _policy.c.error).where(
                _policy.c.device_pk == device_pk, _policy.c.name == "RequireUpdateApproval"
            )
        ).one_or_none(),
    )
    return [_view(row, context) for row in rows]


def _newer(connection: Connection, update_ids: Iterable[str]) -> dict[str, list[str]]:
    """What replaces each of these updates, in words."""
    newer = {update_id: chain_of(connection, update_id).superseded_by for update_id in update_ids}
    facts = update_facts(connection, {each for ids in newer.values() for each in ids})
    return {
        update_id: [f"{facts[each].title!r} ({each})" for each in ids] for update_id, ids in newer.items()
    }


@dataclass(frozen=True, slots=True)
class _Context:
    """What the rows of a page are explained with."""

    now: datetime
    intents: list[Intent]
    facts: dict[str, UpdateFacts]
    decision: Decision
    on_device: frozenset[str]
    """What stands in the device's ApprovedUpdates: updates and classifications."""
    refused: dict[str, str]
    """What the device did not take, with the end of a sentence that says how it refused."""
    not_offered: frozenset[str]
    newer: dict[str, list[str]]
    """What replaces the updates that are held as superseded, in words."""
    open_eulas: dict[str, list[OpenEula]]
    """The licences that hold classifications back."""
    enforced: Any
    """The device's row of RequireUpdateApproval: `set`, `unsupported` or `failed`; None before it was tried."""


def _view(row: Any, context: _Context) -> DeviceUpdateView:
    update_id: str = row["update_id"]
    known = context.facts.get(update_id)
    class_id = known.classification_id if known else None
    speaking = [intent for intent in context.intents if intent.covers(update_id, class_id)]
    covering = tuple(intent for intent in speaking if not intent.blocks)
    blocks = tuple(intent for intent in speaking if intent.blocks)
    delivered = update_id in context.on_device or class_id in context.on_device
    hresult = row["hresult"]
    if blocks and row["state"] in {"installable", "failed"}:
        code, text = Hold.BLOCKED.value, _blocked(blocks, delivered=delivered)
    else:
        code, text = _why(row, context, covering, delivered)
    return DeviceUpdateView(
        update_id=update_id,
        revision_number=row["revision_number"],
        state=row["state"],
        approved=bool(covering),
        delivered=delivered,
        reason=code,
        reason_text=text,
        title=row["title"],
        kb=row["kb"],
        update_type=row["update_type"],
        hresult=None if hresult is None else format_hresult(hresult),
        hresult_text=None if hresult is None else describe(hresult),
        since=row["since"],
        approval_ids=tuple(intent.approval_id for intent in covering),
    )


def _why(  # noqa: PLR0911 - a fixed order of reasons reads best as a list
    row: Any,
    context: _Context,
    covering: tuple[Intent, ...],
    delivered: bool,  # noqa: FBT001 - a fact, not a switch
) -> tuple[str, str]:
    """The first blocking reason, in a fixed order: what happened, what was decided, what is under way."""
    if row["state"] == "installed":
        return "installed", "Installed."
    if row["state"] == "pending_reboot":
        return "pending_reboot", "Installed, but waiting for a restart of the device."
    if row["state"] == "failed":
        return "install_failed", _failure(row["hresult"])
    if not covering:
        if delivered:
            return (
                "delivered",
                "No approval holds for it any more, but the device was told earlier that it may install it.",
            )
        return "not_approved", "Not approved for any group this device is in."
    if delivered:
        return "delivered", _delivered(context.enforced)
    return _undelivered(row["update_id"], context, covering)


def _blocked(blocks: tuple[Intent, ...], *, delivered: bool) -> str:
    """Tell of the block that lasts longest: until it is over, the others make no difference."""
    block = max(blocks, key=lambda each: (each.expires_at or _FOREVER, each.approval_id))
    until = "" if block.expires_at is None else f" until {_moment(block.expires_at)}"
    what = "Its classification is blocked" if block.target_type == CLASSIFICATION else "Blocked"
    told = (
        " The device was told earlier that it may install it, which cannot be taken back."
        if delivered
        else ""
    )
    return f"{what} for this device{until} ({block.approval_id}): {(block.reason or '').rstrip('.')}.{told}"


def _undelivered(update_id: str, context: _Context, covering: tuple[Intent, ...]) -> tuple[str, str]:
    """Why something approved is not on the device: the update's own approvals speak before its classification's."""
    held = context.decision.held
    targets = {update_id if intent.expands else intent.target_id for intent in covering}
    going = sorted(targets - held.keys())
    if going:
        refusals = [context.refused[target] for target in going if target in context.refused]
        if len(refusals) == len(going):
            return "refused_by_device", (
                f"Approved, but the device refused the approval with {refusals[0]} It gets it again at its next "
                "check-in."
            )
        given = [each for each in covering if (update_id if each.expands else each.target_id) in going]
        return "awaiting_checkin", (
            f"Approved; it goes to the device at its next check-in{_if_before(given, context.now)}."
        )
    own = update_id in targets
    target = update_id if own else targets.pop()
    hold = held[target]
    if hold is Hold.METADATA_UNKNOWN and update_id in context.not_offered:
        return "metadata_not_offered", (
            "Approved, but held: no upstream offers its metadata, so nobody can tell whether it has a "
            "licence to accept. Approve it with allow_without_metadata to deliver it all the same."
        )
    return hold.value, (_held_update if own else _held_class)(hold, target, context, covering)


def _if_before(approvals: Iterable[Intent], now: datetime) -> str:
    """`, if that is before …`, where every approval that is due comes to an end."""
    ends = [each.expires_at for each in approvals if each.not_before is None or each.not_before <= now]
    last = max(end or _FOREVER for end in ends)
    return "" if last == _FOREVER else f", if that is before {_moment(last)}"


def _held_update(hold: Hold, update_id: str, context: _Context, covering: tuple[Intent, ...]) -> str:
    if hold is Hold.NOT_BEFORE:
        return _not_before(covering, context.now)
    if hold is Hold.METADATA_UNKNOWN:
        return (
            "Approved, but held until its metadata arrives with the next catalogue sync: only then is it "
            "known whether it has a licence to accept."
        )
    if hold is Hold.EXPIRED:
        return "Approved, but Microsoft has withdrawn this update."
    if hold is Hold.SUPERSEDED:
        return (
            f"Approved with its classification, but replaced by {_list(context.newer[update_id])}. "
            "Approve it by itself to deliver it all the same."
        )
    known = context.facts[update_id]
    return f"Approved, but held: nobody has accepted its licence (EULA {known.eula_id})."


def _held_class(hold: Hold, class_id: str, context: _Context, covering: tuple[Intent, ...]) -> str:
    if hold is Hold.NOT_BEFORE:
        return _not_before(covering, context.now)
    if hold is Hold.BLOCK_INSIDE:
        inside = []
        for block in context.intents:
            known = context.facts.get(block.target_id)
            if block.blocks and known is not None and known.classification_id == class_id:
                inside.append(f"{known.title!r} ({block.approval_id})")
        return (
            f"Approved with its classification, but held: of the same classification {_list(inside)} is blocked, "
            "and on the device the classification would approve that too. Approve the classification as expanded."
        )
    eulas = [f"{eula.id} of {eula.title!r}" for eula in context.open_eulas[class_id]]
    return (
        "Approved with its classification, but held: on the device the classification would accept a licence "
        f"that nobody has accepted (EULA {_list(eulas)})."
    )


def _not_before(covering: tuple[Intent, ...], now: datetime) -> str:
    begins = min(
        each.not_before for each in covering if each.not_before is not None and each.not_before > now
    )
    return f"Approved, but not to be delivered before {_moment(begins)}."


def _list(words: list[str]) -> str:
    """The first of them, and how many more there are."""
    return words[0] if len(words) == 1 else f"{words[0]} and {len(words) - 1} more"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _delivered(enforced: Any) -> str:
    if enforced is not None and enforced.status == "unsupported":
        return (
            "Approved and delivered; the device does not know the policy RequireUpdateApproval, so Windows "
            "decides by itself when to install."
        )
    if enforced is not None and enforced.status == "failed":
        return (
            "Approved and delivered; Windows decides by itself when to install, because the device refused the "
            f"policy RequireUpdateApproval with {_refusal(enforced.status_code, enforced.error)}"
        )
    return "Approved and delivered; Windows has not installed it yet."


def _refusal(status: int, error: str | None) -> str:
    """The end of a sentence: `status 500 (0x80070005): Access … denied.`, or as much of it as is known."""
    if error is None:
        return f"status {status}."
    meaning = explain(error)
    return f"status {status} ({error}): {meaning}" if meaning else f"status {status} ({error})."


def _failure(hresult: int | None) -> str:
    if hresult is None:
        return "Windows tried to install it and failed, without saying why."
    failed = f"Windows tried to install it and failed with {format_hresult(hresult)}"
    meaning = describe(hresult)
    return f"{failed}: {meaning}" if meaning else f"{failed}."
