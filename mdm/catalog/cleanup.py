"""What the catalogue may forget, and why: superseded, expired and old revisions, and parts of nothing.

The catalogue is walked revision by revision, some hundreds to a transaction, so that nobody waits for it. What
an approval, a device or another stored update still refers to is never removed, and neither is an update that
carries supersedence on to one that is still stored: without it the older one would look current again.
Categories and detectoids stay.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, exists, or_, select, tuple_

from mdm.approvals.versions import facts_changed
from mdm.catalog.ids import chunks
from mdm.catalog.listing import list_again
from mdm.catalog.supersedence import VISIBLE_TYPES, visible
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    Approval,
    DeviceUpdate,
    Eula,
    EulaAcceptance,
    ListedUpdate,
    NeededRevision,
    RevisionCategory,
    RevisionRelation,
    RevisionText,
    UpdateRevision,
)
from mdm.upstream.messages import UpdateIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from mdm.storage.engine import Database

__all__ = [
    "DEFAULT_POLICY",
    "CleanupPolicy",
    "CleanupStep",
    "Facts",
    "Finding",
    "Reason",
    "clean_up",
    "cleanup_step",
    "decide",
]

_OF_REVISIONS: Final = (RevisionText, RevisionCategory, RevisionRelation, NeededRevision, UpdateRevision)
"""Tables with rows of a revision. The answered request for it is one: the next report must ask anew."""
STEP: Final = 200
"""Revisions looked at in one transaction."""


class Reason(StrEnum):
    """Why a revision is no longer needed."""

    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    OLD_REVISION = "old_revision"
    ORPHAN = "orphan"
    """A part of no bundle that is stored."""


@dataclass(frozen=True, slots=True)
class CleanupPolicy:
    """How long what is not needed is kept; None is for ever."""

    superseded_months: int | None = 12
    """After the CreationDate of the update that superseded it."""
    expired_days: int | None = 7
    """After we learned that it has expired."""
    old_revision_days: int | None = 90
    """After a newer revision came."""
    orphan_days: int | None = 30
    """After it came."""


DEFAULT_POLICY: Final = CleanupPolicy()


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides about one stored revision."""

    identity: UpdateIdentity
    title: str
    update_type: str
    is_latest: bool
    deployable: bool
    """An administrator sees it in lists."""
    expired: bool
    fetched_at: datetime
    latest_fetched_at: datetime
    """When the update's highest revision came."""
    superseded_at: datetime | None
    listed: bool = True
    """It has its row in the list, or needs none."""
    held_by: str | None = None
    """Who still refers to it, in words; None: nobody."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A revision whose time is over."""

    identity: UpdateIdentity
    title: str
    reason: Reason
    sentence: str
    """Why, for an administrator."""
    held_by: str | None
    """Why it stays all the same; None: it is removed."""


@dataclass(frozen=True, slots=True)
class CleanupStep:
    """What one transaction came to."""

    removed: tuple[Finding, ...]
    """On a dry run: what would be removed."""
    held: tuple[Finding, ...]
    examined: int
    after: UpdateIdentity | None
    """Where the next step goes on; None: the catalogue is through."""
    licences: int = 0
    """EULAs removed that no stored update has and nobody accepted."""
    listed: int = 0
    """Updates that were missing from the list."""


def decide(facts: Facts, policy: CleanupPolicy, now: datetime) -> Finding | None:
    """Return why a revision may go, or None if its time is not over."""
    if facts.update_type not in VISIBLE_TYPES:
        return None
    why = _why(facts, policy, now)
    return None if why is None else Finding(facts.identity, facts.title, *why, held_by=facts.held_by)


def clean_up(
    database: Database,
    now: datetime,
    *,
    policy: CleanupPolicy = DEFAULT_POLICY,
    dry_run: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    limit: int = STEP,
) -> Iterator[CleanupStep]:
    """Walk the whole catalogue, one transaction for each step; `should_stop` is asked between two."""
    after: UpdateIdentity | None = None
    while not should_stop():
        with database.read() if dry_run else database.write() as connection:
            step = cleanup_step(connection, now, limit, after=after, policy=policy, dry_run=dry_run)
        yield step
        after = step.after
        if after is None:
            return


def cleanup_step(
    connection: Connection,
    now: datetime,
    limit: int = STEP,
    *,
    after: UpdateIdentity | None = None,
    policy: CleanupPolicy = DEFAULT_POLICY,
    dry_run: bool = False,
) -> CleanupStep:
    """Look at up to `limit` revisions that come after `after`, and remove those that nobody needs.

    With `dry_run` nothing is written. What is missing from the list, as after a migration, is listed; the last
    step also removes licences without updates.
    """
    examined = _facts(connection, after, limit)
    due = [facts for facts in examined if decide(facts, policy, now) is not None]
    held_by = _held_by(connection, due)
    verdicts = [decide(replace(facts, held_by=held_by.get(facts.identity)), policy, now) for facts in due]
    findings = [finding for finding in verdicts if finding is not None]
    removed = tuple(finding for finding in findings if finding.held_by is None)
    following = examined[-1].identity if len(examined) == limit else None
    missing = {facts.identity.update_id for facts in examined if not facts.listed}
    licences = 0
    if not dry_run:
        list_again(connection, missing)
        latest = {facts.identity for facts in due if facts.is_latest}
        _remove(connection, [finding.identity for finding in removed], latest)
        if following is None:
            licences = _remove_licences(connection, limit)
    return CleanupStep(
        removed=removed,
        held=tuple(finding for finding in findings if finding.held_by is not None),
        examined=len(examined),
        after=following,
        licences=licences,
        listed=len(missing),
    )


# --- the decision ---------------------------------------------------------------------------------------


def _why(facts: Facts, policy: CleanupPolicy, now: datetime) -> tuple[Reason, str] | None:
    if not facts.is_latest:
        over = _over(facts.latest_fetched_at, policy.old_revision_days, now)
        sentence = f"A newer revision came on {facts.latest_fetched_at:%Y-%m-%d}."
        return (Reason.OLD_REVISION, sentence) if over else None
    if facts.expired and _over(facts.fetched_at, policy.expired_days, now):
        return Reason.EXPIRED, f"Microsoft withdrew it; we know since {facts.fetched_at:%Y-%m-%d}."
    if facts.superseded_at is not None:
        over = policy.superseded_months is not None and (
            _months_later(facts.superseded_at, policy.superseded_months) <= now
        )
        sentence = f"An update of {facts.superseded_at:%Y-%m-%d} supersedes it."
        return (Reason.SUPERSEDED, sentence) if over else None
    if not facts.deployable and _over(facts.fetched_at, policy.orphan_days, now):
        return Reason.ORPHAN, "It cannot be installed by itself, and no stored update contains it."
    return None


def _over(since: datetime, days: int | None, now: datetime) -> bool:
    return days is not None and since + timedelta(days=days) <= now


def _months_later(moment: datetime, months: int) -> datetime:
    """The same day so many months later, or that month's last."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return moment.replace(year=year, month=month + 1, day=min(moment.day, last))


# --- facts ----------------------------------------------------------------------------------------------

_revision = table_of(UpdateRevision)
_latest = _revision.alias("latest")
_relation = table_of(RevisionRelation)
_listed = table_of(ListedUpdate)
_approval = table_of(Approval)
_device_update = table_of(DeviceUpdate)
_eula = table_of(Eula)
_acceptance = table_of(EulaAcceptance)
_older = _revision.alias("older")


def _facts(connection: Connection, after: UpdateIdentity | None, limit: int) -> list[Facts]:
    statement = (
        select(
            _revision.c.update_id,
            _revision.c.revision_number,
            _revision.c.title,
            _revision.c.update_type,
            _revision.c.is_latest,
            _revision.c.explicitly_deployable,
            _revision.c.publication_state,
            _revision.c.fetched_at,
            _latest.c.fetched_at.label("latest_fetched_at"),
            _listed.c.superseded_at,
            or_(_listed.c.position.is_not(None), ~and_(*visible(_revision))).label("listed"),
        )
        .join(_latest, and_(_latest.c.update_id == _revision.c.update_id, _latest.c.is_latest))
        .join(_listed, _listed.c.update_id == _revision.c.update_id, isouter=True)
        .order_by(_revision.c.update_id, _revision.c.revision_number)
        .limit(limit)
    )
    if after is not None:
        key = tuple_(_revision.c.update_id, _revision.c.revision_number)
        statement = statement.where(key > tuple_(after.update_id, after.revision_number))
    return [
        Facts(
            identity=UpdateIdentity(row.update_id, row.revision_number),
            title=row.title,
            update_type=row.update_type,
            is_latest=row.is_latest,
            deployable=row.explicitly_deployable,
            expired=row.publication_state == "Expired",
            fetched_at=row.fetched_at,
            latest_fetched_at=row.latest_fetched_at,
            superseded_at=row.superseded_at,
            listed=bool(row.listed),
        )
        for row in connection.execute(statement)
    ]


def _held_by(connection: Connection, due: Sequence[Facts]) -> dict[UpdateIdentity, str]:
    """Who still refers to these revisions; an update's highest one stands for all of them."""
    held: dict[UpdateIdentity, str] = {}
    for latest in (True, False):
        ids = [facts.identity for facts in due if facts.is_latest is latest]
        for words, condition in _references(latest=latest):
            for chunk in chunks(each.update_id for each in ids if each not in held):
                rows = connection.execute(
                    select(_revision.c.update_id, _revision.c.revision_number).where(
                        _revision.c.update_id.in_(chunk), _revision.c.is_latest.is_(latest), condition
                    )
                )
                for row in rows:
                    held.setdefault(UpdateIdentity(*row), words)
    return held


def _references(*, latest: bool) -> Iterator[tuple[str, ColumnElement[bool]]]:
    """What may refer to a revision, in words and as a condition on it.

    An approval, and a device that does not say which revision it means, are about the highest one.
    """
    device = _device_update.c.update_id == _revision.c.update_id
    part = (_relation.c.target_id == _revision.c.update_id) & (_relation.c.update_id != _revision.c.update_id)
    if not latest:
        number = _revision.c.revision_number
        yield (
            "a device names this revision",
            exists().where(device, _device_update.c.revision_number == number),
        )
        bundled = exists().where(part, _relation.c.kind == "bundles", _relation.c.target_revision == number)
        yield "a stored update contains this revision", bundled
        return
    approved = exists().where(
        _approval.c.target_type == "update",
        _approval.c.target_id == _revision.c.update_id,
        _approval.c.revoked_at.is_(None),
    )
    yield "it is approved", approved
    yield "a device names it", exists().where(device)
    yield "a stored update contains it", exists().where(part, _relation.c.kind == "bundles")
    yield "a stored update requires it", exists().where(part, _relation.c.kind == "requires")
    older = exists().where(
        _relation.c.update_id == _revision.c.update_id,
        _relation.c.revision_number == _revision.c.revision_number,
        _relation.c.kind == "supersedes",
        _relation.c.target_id == _older.c.update_id,
        _older.c.update_id != _revision.c.update_id,
        _older.c.is_latest,
    )
    yield "it supersedes an update that is still stored", older


# --- removal --------------------------------------------------------------------------------------------


def _remove(
    connection: Connection, identities: Collection[UpdateIdentity], latest: Collection[UpdateIdentity]
) -> None:
    """Remove whole updates by their highest revision, and the other revisions by themselves."""
    tables = [table_of(model) for model in _OF_REVISIONS]
    updates = {each.update_id for each in identities if each in latest}
    for chunk in chunks(updates):
        for table in tables:
            connection.execute(delete(table).where(table.c.update_id.in_(chunk)))
    list_again(connection, updates)
    if identities:
        facts_changed(connection)
    single = [each for each in identities if each.update_id not in updates]
    for number in sorted({each.revision_number for each in single}):
        for chunk in chunks(each.update_id for each in single if each.revision_number == number):
            for table in tables:
                connection.execute(
                    delete(table).where(table.c.update_id.in_(chunk), table.c.revision_number == number)
                )


def _remove_licences(connection: Connection, limit: int) -> int:
    """Remove licences that no stored update has and nobody ever accepted, with their texts."""
    unused: Any = select(_eula.c.id).where(
        ~exists().where(_revision.c.eula_id == _eula.c.id),
        ~exists().where(_acceptance.c.eula_id == _eula.c.id),
    )
    ids = list(connection.scalars(unused.limit(limit)))
    for chunk in chunks(ids):
        connection.execute(delete(_eula).where(_eula.c.id.in_(chunk)))
    return len(ids)
