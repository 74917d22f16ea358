"""A device's updates as IT reads them: the state the device reported, and one sentence why it is so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from csp.hresult import describe, format_hresult
from csp.snapshot import UpdateList
from mdm.approvals.decision import Decision, Hold, Intent, UpdateFacts, decide
from mdm.approvals.effective import intents_for_device, open_eula_classifications, update_facts
from mdm.storage.statements import table_of
from mdm.storage.tables import DevicePolicy, DeviceUpdate, NeededRevision, UpdateRevision

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

__all__ = ["STATES", "DeviceUpdateView", "list_device_updates"]

STATES: Final = ("pending_reboot", "failed", "installable", "installed")
"""What the API shows; rows that stand in ApprovedUpdates only are not updates the device speaks of."""

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
    intents = intents_for_device(connection, device_pk, ids)
    facts = update_facts(connection, ids)
    classes = {intent.target_id for intent in intents if intent.target_type == "classification"}
    on_device = connection.scalars(
        select(_rows.c.update_id).where(
            _rows.c.device_pk == device_pk,
            _rows.c.update_id.in_([*classes, *ids]),
            _rows.c.lists.bitwise_and(int(UpdateList.APPROVED)) != 0,
        )
    )
    context = _Context(
        intents=intents,
        facts=facts,
        decision=decide(intents, facts, open_eula_classifications(connection, classes)),
        on_device=frozenset(on_device),
        not_offered=frozenset(
            connection.scalars(
                select(_needed.c.update_id).where(
                    _needed.c.update_id.in_(ids), _needed.c.state == "not_offered"
                )
            )
        ),
        enforced=connection.scalar(
            select(_policy.c.status).where(
                _policy.c.device_pk == device_pk, _policy.c.name == "RequireUpdateApproval"
            )
        ),
    )
    return [_view(row, context) for row in rows]


@dataclass(frozen=True, slots=True)
class _Context:
    """What the rows of a page are explained with."""

    intents: list[Intent]
    facts: dict[str, UpdateFacts]
    decision: Decision
    on_device: frozenset[str]
    not_offered: frozenset[str]
    enforced: str | None
    """Status of RequireUpdateApproval on the device: `set`, `unsupported`, `failed` or not tried."""


def _view(row: Any, context: _Context) -> DeviceUpdateView:
    update_id: str = row["update_id"]
    known = context.facts.get(update_id)
    class_id = known.classification_id if known else None
    covering = tuple(intent for intent in context.intents if intent.target_id in {update_id, class_id})
    delivered = update_id in context.on_device or class_id in context.on_device
    hresult = row["hresult"]
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
    if row["approve_status"] is not None and not delivered:
        error = f" ({row['approve_error']})" if row["approve_error"] else ""
        return "refused_by_device", (
            f"Approved, but the device refused the approval with status {row['approve_status']}{error}."
        )
    if delivered:
        return "delivered", _delivered(context.enforced)
    return _undelivered(row["update_id"], context, covering)


def _undelivered(update_id: str, context: _Context, covering: tuple[Intent, ...]) -> tuple[str, str]:
    holds = [context.decision.held.get(intent.target_id) for intent in covering]
    if None in holds:
        return "awaiting_checkin", "Approved; it goes to the device at its next check-in."
    if Hold.METADATA_UNKNOWN in holds:
        if update_id in context.not_offered:
            return "metadata_not_offered", (
                "Approved, but held: no upstream offers its metadata, so nobody can tell whether it has a "
                "licence to accept. Approve it with allow_without_metadata to deliver it all the same."
            )
        return "metadata_unknown", (
            "Approved, but held until its metadata arrives with the next catalogue sync: only then is it "
            "known whether it has a licence to accept."
        )
    if Hold.EXPIRED in holds:
        return "update_expired", "Approved, but Microsoft has withdrawn this update."
    known = context.facts.get(update_id)
    licence = f" {known.eula_id}" if known and known.eula_missing else ""
    return "eula_not_accepted", f"Approved, but held: nobody has accepted its licence (EULA{licence})."


def _delivered(enforced: str | None) -> str:
    if enforced == "unsupported":
        return (
            "Approved and delivered; the device does not know the policy RequireUpdateApproval, so Windows "
            "decides by itself when to install."
        )
    return "Approved and delivered; Windows has not installed it yet."


def _failure(hresult: int | None) -> str:
    if hresult is None:
        return "Windows tried to install it and failed, without saying why."
    failed = f"Windows tried to install it and failed with {format_hresult(hresult)}"
    meaning = describe(hresult)
    return f"{failed}: {meaning}" if meaning else f"{failed}."
