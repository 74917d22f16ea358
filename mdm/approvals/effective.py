"""Which approvals and blocks hold for one device, and what the catalogue knows of their targets: the check-in's reads.

The statements are built once: a check-in is to cost what the database needs, not what making SQL does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BindParameter, and_, bindparam, exists, not_, or_, select, text

from mdm.approvals.acceptance import eula_accepted
from mdm.approvals.decision import (
    CLASSIFICATION,
    PRODUCT,
    QUERY,
    UPDATE,
    ClassFacts,
    Hold,
    Intent,
    UpdateFacts,
)
from mdm.catalog.families import families
from mdm.catalog.ids import chunks
from mdm.catalog.supersedence import superseding
from mdm.rollouts.turns import turn_of
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    Device,
    DeviceGroup,
    FactsVersion,
    GroupMember,
    ListedUpdate,
    QueryMatch,
    RevisionCategory,
    Rollout,
    RolloutStage,
    UpdateRevision,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Row

__all__ = [
    "Circumstances",
    "Standing",
    "circumstances",
    "class_facts",
    "gate_of",
    "has_approvals",
    "intent_of",
    "intents_for_device",
    "standing_of",
    "update_facts",
]

_approval = table_of(Approval)
_approval_group = table_of(ApprovalGroup)
_device = table_of(Device)
_facts = table_of(FactsVersion)
_group = table_of(DeviceGroup)
_listed = table_of(ListedUpdate)
_match = table_of(QueryMatch)
_member = table_of(GroupMember)
_category = table_of(RevisionCategory)
_revision = table_of(UpdateRevision)
_rollout = table_of(Rollout)
_stage = table_of(RolloutStage)

_IDS: Final[BindParameter[Any]] = bindparam("ids", expanding=True)

_STANDING: Final = (
    select(
        _group.c.id,
        _group.c.intent_version,
        select(_facts.c.version).scalar_subquery().label("facts"),
        select(_device.c.id)
        .where(_device.c.pk == bindparam("device_pk"))
        .scalar_subquery()
        .label("device_id"),
    )
    .where(
        or_(
            _group.c.id == ALL_DEVICES,
            _group.c.id.in_(select(_member.c.group_id).where(_member.c.device_pk == bindparam("device_pk"))),
        )
    )
    .order_by(_group.c.id)
)

_HOLDS: Final = and_(
    _approval.c.revoked_at.is_(None),
    or_(
        _approval.c.expires_at.is_(None),
        not_(_approval.c.expires_at <= bindparam("now", type_=_approval.c.expires_at.type)),
    ),
    exists().where(
        _approval_group.c.approval_id == _approval.c.id,
        _approval_group.c.group_id.in_(bindparam("groups", expanding=True)),
    ),
)

_INTENTS: Final = (
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
        _approval.c.rollout_id,
        _approval.c.stage,
        _approval.c.deadline,
        _rollout.c.state.label("rollout_state"),
        _stage.c.state.label("stage_state"),
        _stage.c.offered_below,
    )
    .outerjoin(_rollout, _rollout.c.id == _approval.c.rollout_id)
    .outerjoin(
        _stage, and_(_stage.c.rollout_id == _approval.c.rollout_id, _stage.c.number == _approval.c.stage)
    )
    .where(_HOLDS)
    .order_by(_approval.c.id)
)

# Word for word the condition of the partial index ix_approval_standing: SQLite uses it for nothing else.
_WIDE: Final = _INTENTS.where(text("(approval.target_type <> 'update' OR approval.action = 'block')"))
_SINGLE: Final = _INTENTS.where(
    _approval.c.target_type == UPDATE, _approval.c.action == "approve", _approval.c.target_id.in_(_IDS)
)
_ANY: Final = select(_approval.c.id).where(_HOLDS).limit(1)

_FACTS: Final = (
    select(
        _revision.c.update_id,
        _revision.c.eula_id,
        _revision.c.publication_state,
        _revision.c.classification_id,
        _revision.c.title,
        eula_accepted(_revision.c.eula_id).label("accepted"),
        _listed.c.superseded_at,
    )
    .outerjoin(_listed, _listed.c.update_id == _revision.c.update_id)
    .where(_revision.c.is_latest, _revision.c.update_id.in_(_IDS))
)

_LATEST_CATEGORY: Final = and_(
    _revision.c.update_id == _category.c.update_id,
    _revision.c.revision_number == _category.c.revision_number,
    _revision.c.is_latest,
)
_family = families(lambda category_id: category_id.in_(bindparam("groups", expanding=True)))
_PRODUCTS: Final = (
    select(_category.c.update_id, _family.c.root.label("group_id"))
    .join(_revision, _LATEST_CATEGORY)
    .join(_family, _family.c.id == _category.c.category_id)
    .where(_category.c.update_id.in_(_IDS))
)
_MATCHES: Final = select(_match.c.update_id, _match.c.query_id.label("group_id")).where(
    _match.c.update_id.in_(_IDS), _match.c.query_id.in_(bindparam("groups", expanding=True))
)

_PUBLISHED: Final = and_(_revision.c.is_latest, _revision.c.publication_state != "Expired")
_OPEN_CLASSES: Final = (
    select(_revision.c.classification_id)
    .distinct()
    .where(
        _PUBLISHED,
        _revision.c.eula_id.is_not(None),
        ~eula_accepted(_revision.c.eula_id),
        _revision.c.classification_id.in_(_IDS),
    )
)
_CLASSES_IN_PRODUCTS: Final = (
    select(_revision.c.classification_id)
    .distinct()
    .join(_category, _LATEST_CATEGORY)
    .join(_family, _family.c.id == _category.c.category_id)
    .where(_PUBLISHED, _revision.c.classification_id.in_(_IDS))
)
_CLASSES_IN_QUERIES: Final = (
    select(_revision.c.classification_id)
    .distinct()
    .join(_match, _match.c.update_id == _revision.c.update_id)
    .where(
        _PUBLISHED,
        _revision.c.classification_id.in_(_IDS),
        _match.c.query_id.in_(bindparam("groups", expanding=True)),
    )
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a device stands in what IT wants."""

    device_id: str
    """Public id."""
    groups: tuple[str, ...]
    key: str
    """Changes whenever intent for its groups, or what is known of updates, may have changed."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All that `mdm.approvals.decision.decide` asks about one device."""

    intents: list[Intent]
    facts: dict[str, UpdateFacts]
    classes: ClassFacts

    def changes_at(self, now: datetime) -> datetime | None:
        """When time alone makes an intent begin or end; None: never."""
        moments = (each for intent in self.intents for each in (intent.not_before, intent.expires_at))
        return min((each for each in moments if each is not None and each > now), default=None)


def standing_of(connection: Connection, device_pk: int) -> Standing:
    """The groups of a device and the version of their intent: one read by keys."""
    rows = connection.execute(_STANDING, {"device_pk": device_pk}).all()
    key = ",".join((f"{rows[0].facts}", *(f"{row.id}:{row.intent_version}" for row in rows)))
    return Standing(rows[0].device_id, tuple(row.id for row in rows), key)


def circumstances(
    connection: Connection,
    standing: Standing,
    now: datetime,
    offered: Collection[str],
    on_device: Collection[str] = (),
) -> Circumstances:
    """What decides about the updates a device is offered; GUIDs it has already (`on_device`) need no facts."""
    intents = intents_for_device(connection, standing, now, offered)
    classes = {intent.target_id for intent in intents if intent.target_type == CLASSIFICATION}
    return Circumstances(
        intents,
        update_facts(connection, _facts_needed(intents, offered), intents),
        class_facts(connection, intents, classes.difference(on_device)),
    )


def intents_for_device(
    connection: Connection, standing: Standing, now: datetime, update_ids: Iterable[str]
) -> list[Intent]:
    """The active approvals and blocks of the groups a device is in; one that has not begun is among them.

    Approvals of other updates than `update_ids` are left out (a fleet may have thousands, a device needs a few);
    approvals of classifications, products and saved queries, and blocks, always come.
    """
    parameters: dict[str, Any] = {"groups": standing.groups, "now": now}
    rows: list[Row[Any]] = list(connection.execute(_WIDE, parameters))
    for chunk in chunks(update_ids):
        rows += connection.execute(_SINGLE, parameters | {"ids": chunk})
    return [intent_of(row, _gate(row, standing.device_id)) for row in rows]


def has_approvals(connection: Connection, standing: Standing, now: datetime) -> bool:
    """True if any approval or block holds for the device, delivered or not: it is managed by approvals."""
    return connection.execute(_ANY, {"groups": standing.groups, "now": now}).first() is not None


def intent_of(row: Row[Any], gate: Hold | None = None) -> Intent:
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
        gate,
        row.rollout_id,
        row.stage,
        row.deadline,
    )


def gate_of(row: Row[Any]) -> Hold | None:
    """Why the rollout that an approval belongs to lets it through to no device of its ring."""
    if row.rollout_id is None:
        return None
    if row.rollout_state == "halted":
        return Hold.ROLLOUT_HALTED
    if row.rollout_state == "paused":
        return Hold.ROLLOUT_PAUSED
    return Hold.ROLLOUT_GATE if row.stage_state == "waiting" else None


def _gate(row: Row[Any], device_id: str) -> Hold | None:
    """Why it does not let it through to this one."""
    gate = gate_of(row)
    if gate is not None or row.rollout_id is None:
        return gate
    if row.offered_below is not None and turn_of(row.rollout_id, device_id) >= row.offered_below:
        return Hold.ROLLOUT_TURN
    return None


def _facts_needed(intents: Iterable[Intent], offered: Iterable[str]) -> set[str]:
    """The updates whose facts `decide` asks for, of those the device is offered and those intents name."""
    intents = list(intents)
    named = {intent.target_id for intent in intents if intent.target_type == UPDATE}
    by_set = any(intent.expands or (intent.blocks and intent.target_type != UPDATE) for intent in intents)
    return named.union(offered) if by_set else named


def update_facts(
    connection: Connection, update_ids: Iterable[str], intents: Iterable[Intent] = ()
) -> dict[str, UpdateFacts]:
    """What the catalogue's highest revisions say of these updates; absent when no metadata is stored.

    `intents` say which products and saved queries matter, and what is blocked: an update that only blocked ones
    replace is not superseded for the device.
    """
    intents = list(intents)
    products = sorted({intent.target_id for intent in intents if intent.target_type == PRODUCT})
    queries = sorted({intent.target_id for intent in intents if intent.target_type == QUERY})
    blocked = {intent.target_id for intent in intents if intent.blocks and intent.target_type == UPDATE}
    facts: dict[str, UpdateFacts] = {}
    for chunk in chunks(update_ids):
        groups: dict[str, set[str]] = {}
        for statement, wanted in ((_PRODUCTS, products), (_MATCHES, queries)):
            if wanted:
                for row in connection.execute(statement, {"ids": chunk, "groups": wanted}):
                    groups.setdefault(row.update_id, set()).add(row.group_id)
        for row in connection.execute(_FACTS, {"ids": chunk}):
            superseded = row.superseded_at is not None
            if superseded and blocked:
                superseded = bool(superseding(connection, row.update_id) - blocked)
            facts[row.update_id] = UpdateFacts(
                update_id=row.update_id,
                eula_id=row.eula_id,
                eula_accepted=bool(row.accepted),
                expired=row.publication_state == "Expired",
                classification_id=row.classification_id,
                title=row.title,
                superseded=superseded,
                groups=frozenset(groups.get(row.update_id, ())),
            )
    return facts


def class_facts(
    connection: Connection, intents: Iterable[Intent], classification_ids: Iterable[str]
) -> ClassFacts:
    """What keeps the GUIDs of these classifications from going to a device for which `intents` hold."""
    ids = sorted(classification_ids)
    if not ids:
        return ClassFacts()
    with_block: set[str] = set()
    blocks = [intent for intent in intents if intent.blocks]
    for statement, kind in ((_CLASSES_IN_PRODUCTS, PRODUCT), (_CLASSES_IN_QUERIES, QUERY)):
        blocked = sorted({block.target_id for block in blocks if block.target_type == kind})
        if blocked:
            with_block.update(connection.scalars(statement, {"ids": ids, "groups": blocked}))
    return ClassFacts(
        with_open_eula=frozenset(connection.scalars(_OPEN_CLASSES, {"ids": ids})),
        with_block=frozenset(with_block),
    )
