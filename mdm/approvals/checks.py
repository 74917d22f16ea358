"""What cannot be approved or blocked, and why: asked before an approval is made, and when one is tried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sqlalchemy import or_, select
from sqlmodel import col

from csp.classifications import CLASSIFICATIONS, DEFINITION_UPDATES
from mdm.approvals.decision import BLOCK, CLASSIFICATION, DEVICE, EXPANDED, QUERY, UPDATE
from mdm.approvals.effective import update_facts
from mdm.approvals.eulas import open_eulas_of_classification, open_eulas_of_update
from mdm.errors import Conflict, FieldError, Invalid
from mdm.storage.tables import Approval, ApprovalGroup, Category, SavedQuery, UpdateRevision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.approvals.eulas import OpenEula

__all__ = [
    "Action",
    "Delivery",
    "Proposal",
    "TargetType",
    "obstacles",
    "open_eulas",
    "refuse_nonsense",
    "refuse_wrong_kind",
]

TargetType = Literal["update", "classification", "product", "query"]
Action = Literal["approve", "block"]
Delivery = Literal["device", "expanded"]

_PRODUCTS = frozenset({"Product", "ProductFamily", None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An approval or block somebody wants to make."""

    target_type: TargetType
    target_id: str
    group_ids: tuple[str, ...]
    """Each once, in order."""
    action: Action = "approve"
    delivery: Delivery | None = None
    """None: the recommended one."""
    not_before: datetime | None = None
    expires_at: datetime | None = None
    deadline: datetime | None = None
    allow_without_metadata: bool = False
    reason: str | None = None
    rollout_id: str | None = None
    stage: int | None = None
    rule_id: str | None = None

    @property
    def how(self) -> str:
        """How it reaches devices: as it was asked, or as it is best for such a target."""
        if self.action == BLOCK or self.target_type == UPDATE:
            return DEVICE
        if self.target_type != CLASSIFICATION:
            return EXPANDED
        return self.delivery or (DEVICE if self.target_id == DEFINITION_UPDATES else EXPANDED)


def refuse_nonsense(proposal: Proposal, now: datetime) -> None:
    """Raise Invalid, naming each member, for what cannot be meant."""
    errors = [
        FieldError(f"/{member}", code, text) for member, code, text, wrong in _rules(proposal, now) if wrong
    ]
    if errors:
        raise Invalid("The approval makes no sense as it is.", errors=tuple(errors))


def _rules(proposal: Proposal, now: datetime) -> Iterator[tuple[str, str, str, bool]]:
    """Member, code, text, and whether it is wrong."""
    blocks = proposal.action == BLOCK
    begins = max(now, proposal.not_before or now)
    yield (
        "reason",
        "required",
        "A block needs a reason: whoever meets it will ask for one.",
        blocks and not proposal.reason,
    )
    yield (
        "not_before",
        "not_for_blocks",
        "A block holds from the moment it is made.",
        blocks and proposal.not_before is not None,
    )
    yield (
        "deadline",
        "not_for_blocks",
        "A block asks nobody to install anything.",
        blocks and proposal.deadline is not None,
    )
    yield (
        "delivery",
        "not_a_classification",
        "Only approving a classification has a delivery.",
        proposal.delivery is not None and (blocks or proposal.target_type != CLASSIFICATION),
    )
    yield (
        "allow_without_metadata",
        "not_an_update",
        "Only approving an update can do without metadata.",
        proposal.allow_without_metadata and (blocks or proposal.target_type != UPDATE),
    )
    yield (
        "expires_at",
        "too_early",
        "It would be over before it has held for a moment.",
        proposal.expires_at is not None and proposal.expires_at <= begins,
    )
    yield (
        "deadline",
        "too_early",
        "No device could have installed it by then.",
        proposal.deadline is not None and proposal.deadline <= begins,
    )
    yield (
        "deadline",
        "too_late",
        "The approval would be over by then.",
        proposal.deadline is not None
        and proposal.expires_at is not None
        and proposal.deadline > proposal.expires_at,
    )


def refuse_wrong_kind(conn: Connection, proposal: Proposal) -> None:
    """Raise Invalid for a GUID of another kind: a device would take it, and nothing would ever come of it."""
    target_type, target_id = proposal.target_type, proposal.target_id
    if target_type == QUERY:
        if conn.scalar(select(col(SavedQuery.id)).where(col(SavedQuery.id) == target_id)) is None:
            raise _wrong("unknown_query", "There is no saved query of this id.", target_type)
        return
    update_type = conn.scalar(
        select(col(UpdateRevision.update_type)).where(
            col(UpdateRevision.update_id) == target_id, col(UpdateRevision.is_latest).is_(True)
        )
    )
    category = conn.execute(
        select(col(Category.category_type), col(Category.title)).where(col(Category.id) == target_id)
    ).one_or_none()
    if target_type == UPDATE:
        name = CLASSIFICATIONS.get(target_id) if category is None else category.title
        wrong = name is not None or update_type in {"Category", "Detectoid"}
        what = f"the category {name!r}" if name is not None else "not an update"
    elif target_type == CLASSIFICATION:
        wrong = update_type in {"Software", "Driver"} or (
            category is not None and category.category_type not in {None, "UpdateClassification"}
        )
        what = "an update" if category is None else f"the {category.category_type} {category.title!r}"
    elif category is None:
        # Nothing would ever match it, and nobody would notice.
        text = "No product of this GUID is in the catalogue; sync its categories first."
        raise _wrong("unknown_product", text, target_type)
    else:
        wrong = category.category_type not in _PRODUCTS
        what = f"the {category.category_type} {category.title!r}"
    if wrong:
        raise _wrong(f"not_{target_type}", f"This GUID is {what}.", target_type)


def _wrong(code: str, text: str, target_type: str) -> Invalid:
    error = FieldError("/target/id", code, text)
    return Invalid(f"The target is not of the type {target_type!r}.", errors=(error,))


def obstacles(conn: Connection, proposal: Proposal, now: datetime, *, hold_eulas: bool) -> Iterator[Conflict]:
    """What forbids it as things are; with `hold_eulas` open licences only make it wait.

    `approval_conflict` if the same is approved or blocked for the same groups, `update_expired`, and
    `eula_not_accepted` naming each EULA.
    """
    twin = _twin(conn, proposal, now)
    if twin is not None:
        yield twin
    if proposal.action == BLOCK:
        return
    if proposal.target_type == UPDATE:
        facts = update_facts(conn, [proposal.target_id]).get(proposal.target_id)
        if facts is not None and facts.expired:
            yield Conflict(f"Microsoft has withdrawn the update {facts.title!r}.", code="update_expired")
    if hold_eulas or proposal.target_type not in {UPDATE, CLASSIFICATION}:
        return
    eulas = open_eulas(conn, proposal)
    # Expanded, what has an open licence waits by itself, and visibly.
    if eulas and proposal.how == DEVICE:
        yield _eulas_open(eulas)


def open_eulas(conn: Connection, proposal: Proposal) -> Sequence[OpenEula]:
    """The licences an update or a classification waits for."""
    if proposal.target_type == UPDATE:
        return open_eulas_of_update(conn, proposal.target_id)
    return open_eulas_of_classification(conn, proposal.target_id)


def _eulas_open(eulas: Sequence[OpenEula]) -> Conflict:
    first = eulas[0]
    others = f" and {len(eulas) - 1} more" if len(eulas) > 1 else ""
    return Conflict(
        f"The EULA {first.id} of {first.title!r}{others} must be accepted first: approving accepts it.",
        code="eula_not_accepted",
        eulas=list(eulas),
    )


def _twin(conn: Connection, proposal: Proposal, now: datetime) -> Conflict | None:
    """The same approval or block of the same groups, if there is one that no other rollout or rule has made."""
    twins = conn.execute(
        select(col(Approval.id), col(ApprovalGroup.group_id))
        .join(ApprovalGroup, col(ApprovalGroup.approval_id) == col(Approval.id))
        .where(
            col(Approval.target_type) == proposal.target_type,
            col(Approval.target_id) == proposal.target_id,
            col(Approval.action) == proposal.action,
            col(Approval.rollout_id).is_not_distinct_from(proposal.rollout_id),
            col(Approval.stage).is_not_distinct_from(proposal.stage),
            col(Approval.revoked_at).is_(None),
            or_(col(Approval.expires_at).is_(None), col(Approval.expires_at) > now),
        )
    )
    found: dict[str, set[str]] = {}
    for approval_id, group_id in twins:
        found.setdefault(approval_id, set()).add(group_id)
    for approval_id, its_groups in sorted(found.items()):
        if its_groups == set(proposal.group_ids):
            done = "blocks" if proposal.action == BLOCK else "approves"
            return Conflict(
                f"{approval_id} already {done} this for these groups.",
                code="approval_conflict",
                existing=approval_id,
            )
    return None
