"""What a rule makes of updates, and why: the one judgement that a run acts on and a preview shows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import or_, select

from mdm.approvals.acceptance import eula_accepted
from mdm.approvals.decision import BLOCK, CLASSIFICATION, PRODUCT, QUERY, UPDATE
from mdm.queries.preview import sentence
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ALL_DEVICES,
    Approval,
    ApprovalGroup,
    Eula,
    QueryMatch,
    RolloutPlanGroup,
    RuleNotice,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.queries.criteria import Criterion, UpdateRecord
    from mdm.queries.records import Found
    from mdm.rules.definition import RuleDefinition

__all__ = ["MATCHED", "RECENT", "Judge", "Outcome", "Verdict", "is_recent"]

_approval = table_of(Approval)
_approval_group = table_of(ApprovalGroup)
_eula = table_of(Eula)
_match = table_of(QueryMatch)
_notice = table_of(RuleNotice)
_plan_group = table_of(RolloutPlanGroup)


class Outcome(StrEnum):
    """What became of an update that a rule was asked about."""

    APPROVED = "approved"
    """The rule approves it for its groups."""
    IN_ROLLOUT = "in_rollout"
    """The rule starts a rollout of it."""
    NOTIFIED = "notified"
    """The rule tells of it."""
    LATER = "later"
    """It matches, and waits for the next run: a rollout has room for so many only."""
    COVERED = "covered"
    """It matches, and has what the rule would do."""
    REVOKED = "revoked"
    """It matches, but somebody has taken its approval back by hand."""
    BLOCKED = "blocked"
    """It matches, but IT has blocked it."""
    WITHDRAWN = "withdrawn"
    """It matches, but Microsoft has withdrawn it."""
    NOT_MATCHED = "not_matched"
    UNKNOWN = "unknown"
    """The catalogue does not say what the rule asks, and so it does not match."""


RECENT: Final = timedelta(days=90)
"""Released within this time, an update that does not match is told with the reason."""

MATCHED: Final = frozenset(Outcome) - {Outcome.NOT_MATCHED, Outcome.UNKNOWN}
_WOULD: Final = {"approve": Outcome.APPROVED, "rollout": Outcome.IN_ROLLOUT, "notify": Outcome.NOTIFIED}


_Obstacle: TypeAlias = tuple[Outcome, str, str | None]
"""What becomes of an update instead, why, and the approval that explains it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to become of one update."""

    position: int
    record: UpdateRecord
    outcome: Outcome
    reason: str
    """One sentence or more; empty for an older update that does not match, of which nobody is told."""
    approval_id: str | None = None
    """The approval or block that explains it."""
    group_ids: tuple[str, ...] = ()
    """To approve for: those of the rule's that no approval of its own covers yet."""
    eula_id: str | None = None
    """A licence that it will wait for."""


def is_recent(record: UpdateRecord) -> bool:
    """True for an update that was released within the last 90 days."""
    return record.created is not None and record.created >= record.as_of - RECENT


@dataclass(frozen=True, slots=True)
class _Held:
    """An approval or block, with its groups."""

    id: str
    target_type: str
    target_id: str
    rule_id: str | None
    rollout_id: str | None
    revoked: bool
    revoked_by: str | None
    reason: str | None
    expires_at: datetime | None
    group_ids: frozenset[str]

    def reaches(self, group_ids: Collection[str]) -> bool:
        """True if it holds wherever these groups do."""
        return ALL_DEVICES in self.group_ids or (bool(group_ids) and self.group_ids.issuperset(group_ids))


@dataclass(frozen=True, slots=True)
class Judge:
    """A rule, ready to be asked about updates."""

    rule_id: str | None
    """None: one that is only thought of, and so has done nothing yet."""
    definition: RuleDefinition
    criterion: Criterion
    now: datetime

    def judge(self, conn: Connection, batch: Sequence[Found]) -> list[Verdict]:
        """A verdict for each of the updates, in their order, by what approvals, blocks and licences are now."""
        answers = [self.criterion.holds(found.record) for found in batch]
        matched = [found for found, answer in zip(batch, answers, strict=True) if answer]
        known = _Known.read(conn, self, matched) if matched else None
        return [
            self._match(found, known) if answer and known is not None else self._miss(found, answer)
            for found, answer in zip(batch, answers, strict=True)
        ]

    def _miss(self, found: Found, answer: bool | None) -> Verdict:  # noqa: FBT001 - one of three truth values
        record = found.record
        outcome = Outcome.UNKNOWN if answer is None else Outcome.NOT_MATCHED
        reason = sentence(self.criterion.because(record)) if is_recent(record) else ""
        return Verdict(found.position, record, outcome, reason)

    def _match(self, found: Found, known: _Known) -> Verdict:
        record = found.record
        notifies = self.definition.action == "notify"
        obstacle = known.told(record.update_id) if notifies else self._obstacle(record, known)
        if obstacle is not None:
            outcome, reason, approval_id = obstacle
            return Verdict(found.position, record, outcome, reason, approval_id)
        reason = f"It matches: {self.criterion.because(record)}."
        eula_id = found.eula_id if found.eula_id in known.open_eulas and not notifies else None
        if eula_id is not None:
            reason += f" It waits until somebody accepts the EULA {eula_id}."
        return Verdict(
            found.position,
            record,
            _WOULD[self.definition.action],
            reason,
            group_ids=known.missing(record.update_id),
            eula_id=eula_id,
        )

    def _obstacle(self, record: UpdateRecord, known: _Known) -> _Obstacle | None:
        """Why nothing is to be done about an update that matches; the first reason that applies."""
        update_id = record.update_id
        block = known.block(record)
        if block is not None:
            until = "" if block.expires_at is None else f" until {block.expires_at:%Y-%m-%d %H:%M} UTC"
            return Outcome.BLOCKED, f"{block.id} blocks it{until}: {block.reason}.", block.id
        cover = known.cover(update_id)
        if cover is not None:
            who = "of this rule approves" if cover.rule_id == self.rule_id else "approves"
            return Outcome.COVERED, f"{cover.id} {who} it already.", cover.id
        revoked = known.revoked(update_id)
        if revoked is not None:
            reason = (
                f"{revoked.revoked_by} has revoked {revoked.id}, so the rule leaves it alone; approve it by hand if "
                "that is wanted again."
            )
            return Outcome.REVOKED, reason, revoked.id
        if record.expired:
            return Outcome.WITHDRAWN, "Microsoft has withdrawn it.", None
        return None


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a batch of updates that match, read with one statement for each kind."""

    rule_id: str | None
    group_ids: frozenset[str]
    """For which the rule approves, or the rings of its plan."""
    rolls_out: bool
    approvals: Mapping[str, Sequence[_Held]]
    """By update, the oldest first; revoked ones are among them."""
    blocks: Sequence[_Held]
    query_matches: frozenset[tuple[str, str]]
    """Query and update, of blocked queries."""
    open_eulas: frozenset[str | None]
    noticed: frozenset[str]

    @classmethod
    def read(cls, conn: Connection, judge: Judge, batch: Sequence[Found]) -> _Known:
        update_ids = [found.record.update_id for found in batch]
        definition = judge.definition
        rolls_out = definition.action == "rollout"
        groups = _plan_groups(conn, definition.plan_id) if rolls_out else definition.group_ids
        blocks = _held(conn, judge.now, _approval.c.action == BLOCK, _approval.c.revoked_at.is_(None))
        return cls(
            rule_id=judge.rule_id,
            group_ids=frozenset(groups),
            rolls_out=rolls_out,
            approvals=_by_target(
                _held(
                    conn,
                    judge.now,
                    _approval.c.action != BLOCK,
                    _approval.c.target_type == UPDATE,
                    _approval.c.target_id.in_(update_ids),
                )
            ),
            blocks=blocks,
            query_matches=_query_matches(
                conn, {each.target_id for each in blocks if each.target_type == QUERY}, update_ids
            ),
            open_eulas=_open_eulas(conn, {found.eula_id for found in batch if found.eula_id is not None}),
            noticed=_noticed(conn, judge.rule_id, update_ids),
        )

    def told(self, update_id: str) -> _Obstacle | None:
        """Why nobody is to be told of it."""
        if update_id not in self.noticed:
            return None
        return Outcome.COVERED, "The rule has told of it before.", None

    def block(self, record: UpdateRecord) -> _Held | None:
        """A block that holds wherever the rule would approve."""
        for block in self.blocks:
            if block.reaches(self.group_ids) and self._blocks(block, record):
                return block
        return None

    def _blocks(self, block: _Held, record: UpdateRecord) -> bool:
        if block.target_type == QUERY:
            return (block.target_id, record.update_id) in self.query_matches
        if block.target_type == PRODUCT:
            return block.target_id in record.categories
        of_classification = block.target_type == CLASSIFICATION
        return block.target_id == (record.classification_id if of_classification else record.update_id)

    def cover(self, update_id: str) -> _Held | None:
        """An approval that leaves the rule nothing to do: its own of all the groups, or anybody's of just these."""
        active = [each for each in self.approvals.get(update_id, ()) if not each.revoked]
        own = [each for each in active if self._own(each)]
        if own and (self.rolls_out or not self._missing(own)):
            return own[0]
        if self.rolls_out:
            return None
        return next(
            (each for each in active if each.rollout_id is None and each.group_ids == self._missing(own)),
            None,
        )

    def revoked(self, update_id: str) -> _Held | None:
        """An approval taken back that was the rule's own, or anybody's of all that the rule would approve for."""
        for each in reversed(self.approvals.get(update_id, ())):
            others = each.rollout_id is None and each.reaches(self.group_ids)
            if each.revoked and (self._own(each) or others):
                return each
        return None

    def missing(self, update_id: str) -> tuple[str, ...]:
        """The groups that no active approval of the rule's own covers."""
        own = [each for each in self.approvals.get(update_id, ()) if not each.revoked and self._own(each)]
        return () if self.rolls_out else tuple(sorted(self._missing(own)))

    def _own(self, held: _Held) -> bool:
        return self.rule_id is not None and held.rule_id == self.rule_id

    def _missing(self, own: Iterable[_Held]) -> frozenset[str]:
        covered = frozenset().union(*(each.group_ids for each in own))
        return frozenset() if ALL_DEVICES in covered else self.group_ids - covered


def _plan_groups(conn: Connection, plan_id: str | None) -> Sequence[str]:
    return conn.scalars(select(_plan_group.c.group_id).where(_plan_group.c.plan_id == plan_id)).all()


def _held(conn: Connection, now: datetime, *conditions: Any) -> list[_Held]:
    """Approvals or blocks that are not over, revoked or not, the oldest first."""
    rows = conn.execute(
        select(
            _approval.c.id,
            _approval.c.target_type,
            _approval.c.target_id,
            _approval.c.rule_id,
            _approval.c.rollout_id,
            _approval.c.revoked_at,
            _approval.c.revoked_by,
            _approval.c.reason,
            _approval.c.expires_at,
            _approval_group.c.group_id,
        )
        .join(_approval_group, _approval_group.c.approval_id == _approval.c.id)
        .where(
            *conditions,
            or_(
                _approval.c.expires_at.is_(None),
                _approval.c.expires_at > now,
                _approval.c.revoked_at.is_not(None),
            ),
        )
        .order_by(_approval.c.created_at, _approval.c.id)
    ).all()
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        groups[row.id].add(row.group_id)
    return [
        _Held(
            row.id,
            row.target_type,
            row.target_id,
            row.rule_id,
            row.rollout_id,
            row.revoked_at is not None,
            row.revoked_by,
            row.reason,
            row.expires_at,
            frozenset(groups[row.id]),
        )
        for row in {row.id: row for row in rows}.values()
    ]


def _by_target(found: Iterable[_Held]) -> dict[str, list[_Held]]:
    by_target: defaultdict[str, list[_Held]] = defaultdict(list)
    for each in found:
        by_target[each.target_id].append(each)
    return by_target


def _query_matches(
    conn: Connection, query_ids: Collection[str], update_ids: Sequence[str]
) -> frozenset[tuple[str, str]]:
    if not query_ids:
        return frozenset()
    rows = conn.execute(
        select(_match.c.query_id, _match.c.update_id).where(
            _match.c.query_id.in_(query_ids), _match.c.update_id.in_(update_ids)
        )
    )
    return frozenset((row.query_id, row.update_id) for row in rows)


def _open_eulas(conn: Connection, eula_ids: Collection[str]) -> frozenset[str | None]:
    """Those of the licences that nobody has accepted as they are now."""
    accepted = select(_eula.c.id).where(_eula.c.id.in_(eula_ids), eula_accepted(_eula.c.id))
    return frozenset(eula_ids) - set(conn.scalars(accepted))


def _noticed(conn: Connection, rule_id: str | None, update_ids: Sequence[str]) -> frozenset[str]:
    told = select(_notice.c.update_id).where(
        _notice.c.rule_id == rule_id, _notice.c.update_id.in_(update_ids)
    )
    return frozenset(conn.scalars(told))
