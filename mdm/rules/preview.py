"""What a rule would do now, by the judgement that a run acts on; nothing is written."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mdm.queries.records import walk
from mdm.rollouts.store import MAX_UPDATES
from mdm.rules.verdicts import MATCHED, RECENT, Judge, Outcome, Verdict, is_recent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.queries.criteria import Criterion, UpdateRecord

__all__ = ["RulePreview", "ShownVerdict", "first_match", "limited", "preview_rule"]

_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """An update, and what would become of it."""

    update_id: str
    title: str
    kb: tuple[str, ...]
    created: datetime | None
    outcome: Outcome
    reason: str
    approval_id: str | None
    eula_id: str | None
    group_ids: tuple[str, ...]
    would_have_matched_on: datetime | None = None
    """Of one that does not match only because of its age: the first day on which it did."""


@dataclass(frozen=True, slots=True)
class RulePreview:
    """What a rule would do now with all updates, and in particular with those of the last 90 days."""

    as_of: datetime
    of: int
    """All listed updates."""
    outcomes: Mapping[str, int]
    """How many would come to what."""
    recent_since: datetime
    recent_outcomes: Mapping[str, int]
    """The same of the updates released since then."""
    waiting_for_eula: int
    """Of those it would approve, how many have a licence that nobody has accepted."""
    matched: tuple[ShownVerdict, ...]
    """The newest updates that match, whatever would become of them."""
    not_matched: tuple[ShownVerdict, ...]
    """The newest updates of the last 90 days that do not."""


def preview_rule(conn: Connection, judge: Judge) -> RulePreview:
    """Ask the rule about every listed update."""
    outcomes: Counter[str] = Counter()
    recent: Counter[str] = Counter()
    matched: list[ShownVerdict] = []
    missed: list[ShownVerdict] = []
    waiting = 0
    for batch in walk(lambda: nullcontext(conn), judge.now):
        for verdict in limited(judge.judge(conn, batch), outcomes[Outcome.IN_ROLLOUT]):
            outcomes[verdict.outcome] += 1
            of_late = is_recent(verdict.record)
            recent[verdict.outcome] += of_late
            waiting += verdict.eula_id is not None
            if verdict.outcome in MATCHED:
                if len(matched) < _SHOWN:
                    matched.append(_shown(verdict))
            elif of_late and len(missed) < _SHOWN:
                day = first_match(judge.criterion, verdict.record)
                missed.append(replace(_shown(verdict), would_have_matched_on=day))
    return RulePreview(
        as_of=judge.now,
        of=outcomes.total(),
        outcomes=dict(outcomes),
        recent_since=judge.now - RECENT,
        recent_outcomes=dict(+recent),
        waiting_for_eula=waiting,
        matched=tuple(matched),
        not_matched=tuple(missed),
    )


def limited(verdicts: list[Verdict], taken: int) -> list[Verdict]:
    """The verdicts with those that a rollout has no room for put off; `taken` updates are in it already."""
    kept: list[Verdict] = []
    for verdict in verdicts:
        if verdict.outcome is Outcome.IN_ROLLOUT:
            taken += 1
            if taken > MAX_UPDATES:
                reason = (
                    f"It matches; a rollout brings {MAX_UPDATES} updates, and the next run starts another."
                )
                kept.append(replace(verdict, outcome=Outcome.LATER, reason=reason, eula_id=None))
                continue
        kept.append(verdict)
    return kept


def first_match(criterion: Criterion, record: UpdateRecord) -> datetime | None:
    """The first day since its release on which the update would have matched, with all else as it is now."""
    released = record.created or record.as_of
    for days in range(0 if record.age is None else record.age.days + 1):
        day = released + timedelta(days=days)
        if criterion.holds(replace(record, as_of=day)):
            return day
    return None


def _shown(verdict: Verdict) -> ShownVerdict:
    record = verdict.record
    return ShownVerdict(
        update_id=record.update_id,
        title=record.title,
        kb=tuple(sorted(record.kb_all)),
        created=record.created,
        outcome=verdict.outcome,
        reason=verdict.reason,
        approval_id=verdict.approval_id,
        eula_id=verdict.eula_id,
        group_ids=verdict.group_ids,
    )
