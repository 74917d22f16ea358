"""The ledger of sync runs: asked for, claimed by one worker, kept alive by a heartbeat, ended.

    queued ──claim──▶ running ──finish──▶ succeeded | failed | cancelled
       ▲                 │
       └── release ──────┘   its worker stopped, or fell silent for five minutes

Microsoft asks that its servers be called at most once an hour unless somebody tells the bridge to. So a scheduled
run is claimed no earlier than an hour after the last start; a run that goes on after a release is not a new start.
A run that failed is tried again after an hour, whatever the interval.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import and_, delete, insert, or_, select, update

from mdm.catalog.events import log_event
from mdm.catalog.upstreams import ensure_upstream, least_interval
from mdm.storage.statements import table_of
from mdm.storage.tables import SyncRun, Upstream

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, RowMapping

__all__ = [
    "HISTORY",
    "RETRY_AFTER",
    "STALE_AFTER",
    "RunLost",
    "RunView",
    "Trigger",
    "beat",
    "cancel_run",
    "claim_next",
    "end_cancelled",
    "finish_run",
    "get_run",
    "list_runs",
    "prune_runs",
    "release_run",
    "request_scheduled_sync",
    "request_sync",
    "requeue_running",
]

RETRY_AFTER: Final = timedelta(minutes=60)
HISTORY: Final = timedelta(days=90)
"""How long ended runs are kept, as a WSUS does (MS-WSUSSS note 11)."""
STALE_AFTER: Final = timedelta(minutes=5)
"""Silence after which a running run is taken for dead; a living one speaks before each attempt at a call."""

Trigger = Literal["schedule", "manual", "command-line"]

_UNFINISHED: Final = ("queued", "running")
_CANCELLED: Final = "Somebody cancelled it."

_run = table_of(SyncRun)
_upstream = table_of(Upstream)


class RunLost(Exception):  # noqa: N818 - named for what happened to the run
    """This worker's run is no longer its own: it was released, or another worker has claimed it."""


@dataclass(frozen=True, slots=True)
class RunView:
    """One sync run."""

    id: str
    upstream_url: str
    trigger: str
    """`schedule`, `manual` or `command-line`."""
    requested_by: str
    state: str
    """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
    phase: str | None
    """`cookie`, `config`, `categories`, `updates`, `closure`, `needed`, `deployments` or `eulas`; of an ended run
    the last one it was in."""
    requested_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
    phase_started_at: datetime | None
    phase_total: int
    """Revisions, or licence texts, that the phase has to bring."""
    phase_done: int
    categories: int
    """Categories stored by this run."""
    needed: int
    """Revisions that devices reported and this run asked for."""
    fetched: int
    """Of those, how many have metadata now."""
    not_offered: int
    """Of those, how many the upstream does not offer."""
    failed: int
    """Documents that could not be fetched or read, of the upstream's lists as well."""
    eula_texts: int
    """Licence texts stored."""
    new: int
    """Updates of which nothing was stored before."""
    revised: int
    """Updates that got a higher revision."""
    expired: int
    """Of the new and revised ones, how many their publisher has expired."""
    bytes_received: int
    cancel_requested_at: datetime | None
    retry_at: datetime | None
    """Of a failed run: when it is tried again."""
    error: str | None
    progress_percent: int | None = None
    """Of the phase of a running run; None where there is nothing to count."""
    eta_seconds: int | None = None
    """How long the phase still takes at the pace it has had."""


def request_sync(
    connection: Connection, upstream_url: str, trigger: Trigger, requested_by: str, now: datetime
) -> str:
    """Queue a run and return its id; if one is queued already, that one's.

    A queued scheduled run becomes the asker's, so that it need not wait for its hour.
    """
    ensure_upstream(connection, upstream_url)
    queued = connection.execute(
        select(_run.c.id, _run.c.trigger)
        .where(_run.c.upstream_url == upstream_url, _run.c.state == "queued")
        .order_by(_run.c.requested_at, _run.c.id)
        .limit(1)
        .with_for_update()
    ).first()
    if queued is None:
        return _insert(connection, upstream_url, trigger, requested_by, now)
    if queued.trigger == "schedule" and trigger != "schedule":
        connection.execute(
            update(_run)
            .where(_run.c.id == queued.id)
            .values(trigger=trigger, requested_by=requested_by, requested_at=now)
        )
    return str(queued.id)


def request_scheduled_sync(
    connection: Connection, upstream_url: str, interval: timedelta, now: datetime
) -> str | None:
    """Queue a run if none is queued or running and the last one started `interval` ago; return its id.

    An interval under `least_interval` counts as that. After a run that failed it is RETRY_AFTER, if that is sooner.
    """
    ensure_upstream(connection, upstream_url)
    upstream = connection.execute(
        select(_upstream.c.last_started_at, _upstream.c.retry_at)
        .where(_upstream.c.url == upstream_url)
        .with_for_update()
    ).one()
    if upstream.last_started_at is not None:
        due = upstream.last_started_at + max(interval, least_interval(upstream_url))
        if now < (due if upstream.retry_at is None else min(due, upstream.retry_at)):
            return None
    unfinished = select(_run.c.id).where(_run.c.upstream_url == upstream_url, _run.c.state.in_(_UNFINISHED))
    if connection.scalar(unfinished.limit(1)) is not None:
        return None
    return _insert(connection, upstream_url, "schedule", "schedule", now)


def claim_next(connection: Connection, now: datetime) -> RunView | None:
    """Take the oldest run that may start now, or None; runs whose worker fell silent are queued again first.

    Of one upstream no two runs are claimed at a time.
    """
    requeue_running(connection, silent_since=now - STALE_AFTER)
    queued = connection.execute(
        select(_run.c.id, _run.c.upstream_url, _run.c.trigger, _run.c.started_at)
        .join(_upstream, _upstream.c.url == _run.c.upstream_url)
        .where(_run.c.state == "queued")
        .order_by(_run.c.requested_at, _upstream.c.position, _run.c.id)
    ).all()
    for candidate in queued:
        # the upstream's row is the lock: two workers cannot both find nothing running
        upstream = connection.execute(
            select(_upstream).where(_upstream.c.url == candidate.upstream_url).with_for_update()
        ).one()
        running = select(_run.c.id).where(
            _run.c.upstream_url == candidate.upstream_url, _run.c.state == "running"
        )
        if connection.scalar(running.limit(1)) is not None:
            continue
        starts = candidate.started_at is None
        last = upstream.last_started_at
        too_soon = last is not None and now - last < least_interval(candidate.upstream_url)
        if starts and candidate.trigger == "schedule" and too_soon:
            continue
        claimed = _change(
            connection,
            (_run.c.id == candidate.id, _run.c.state == "queued"),
            state="running",
            started_at=candidate.started_at or now,
            heartbeat_at=now,
            phase=None,
        )
        if claimed is None:
            continue
        if starts:
            connection.execute(
                update(_upstream).where(_upstream.c.url == candidate.upstream_url).values(last_started_at=now)
            )
        words = "Synchronization started." if starts else "Synchronization goes on where it stopped."
        log_event(connection, claimed.id, now, "started", words)
        return claimed
    return None


def beat(connection: Connection, run_id: str, last_beat: datetime, now: datetime, **values: Any) -> RunView:
    """Write progress and a heartbeat; return the run, whose `heartbeat_at` is to be given next time.

    `last_beat` is what this worker wrote last: raises RunLost if somebody else has written since, so that a
    worker taken for dead cannot write into the run of its successor.
    """
    # strictly later, so that two workers can never hold the same mark
    mark = max(now, last_beat + timedelta(microseconds=1))
    condition = (_run.c.id == run_id, _run.c.state == "running", _run.c.heartbeat_at == last_beat)
    run = _change(connection, condition, heartbeat_at=mark, **values)
    if run is None:
        raise RunLost(run_id)
    return run


def finish_run(
    connection: Connection, run_id: str, last_beat: datetime, now: datetime, error: str | None = None
) -> RunView:
    """End a run: succeeded, or failed for the reason of one sentence; raises RunLost as `beat` does."""
    retry_at = None if error is None else now + RETRY_AFTER
    state = "succeeded" if error is None else "failed"
    run = beat(
        connection, run_id, last_beat, now, state=state, finished_at=now, error=error, retry_at=retry_at
    )
    connection.execute(update(_upstream).where(_upstream.c.url == run.upstream_url).values(retry_at=retry_at))
    if retry_at is None:
        message = (
            f"Synchronization done: {run.new} new, {run.revised} revised, {run.expired} expired, "
            f"{run.failed} failed, {run.bytes_received} bytes."
        )
        log_event(connection, run_id, now, "done", message, phase=run.phase)
    else:
        message = f"Synchronization failed: {error} The next retry is at {retry_at:%Y-%m-%d %H:%M:%S} UTC."
        log_event(connection, run_id, now, "failed", message, phase=run.phase)
    return run


def release_run(connection: Connection, run_id: str, last_beat: datetime, now: datetime) -> RunView:
    """Put a run back because its worker stops; raises RunLost as `beat` does."""
    run = beat(connection, run_id, last_beat, now, state="queued", phase=None)
    log_event(connection, run_id, now, "interrupted", "The service stopped; the run waits for it.")
    return run


def end_cancelled(connection: Connection, run_id: str, last_beat: datetime, now: datetime) -> RunView:
    """End a run that somebody cancelled; raises RunLost as `beat` does."""
    run = beat(connection, run_id, last_beat, now, state="cancelled", finished_at=now, error=_CANCELLED)
    log_event(connection, run_id, now, "cancelled", "Synchronization cancelled.", phase=run.phase)
    return run


def cancel_run(connection: Connection, run_id: str, now: datetime) -> RunView | None:
    """Cancel a run; one that is running ends after the call it is in. Returns None if there is none.

    An ended run is returned as it is.
    """
    cancelled = _change(
        connection,
        (_run.c.id == run_id, _run.c.state == "queued"),
        state="cancelled",
        finished_at=now,
        cancel_requested_at=now,
        error=_CANCELLED,
    )
    if cancelled is not None:
        log_event(connection, run_id, now, "cancelled", "Synchronization cancelled before it began.")
        return cancelled
    asked = _change(
        connection,
        (_run.c.id == run_id, _run.c.state == "running", _run.c.cancel_requested_at.is_(None)),
        cancel_requested_at=now,
    )
    return asked if asked is not None else get_run(connection, run_id)


def prune_runs(connection: Connection, before: datetime) -> int:
    """Delete runs that ended before a moment, with their logs; return how many."""
    return connection.execute(delete(_run).where(_run.c.finished_at < before)).rowcount


def requeue_running(connection: Connection, silent_since: datetime | None = None) -> int:
    """Queue running runs again, those silent since a moment or all; return how many.

    All: for the start of the only process that works on this database. Those that were to be cancelled are.
    """
    statement = update(_run).where(_run.c.state == "running")
    if silent_since is not None:
        statement = statement.where(or_(_run.c.heartbeat_at.is_(None), _run.c.heartbeat_at < silent_since))
    connection.execute(
        statement.where(_run.c.cancel_requested_at.is_not(None)).values(
            state="cancelled", finished_at=_run.c.cancel_requested_at, error=_CANCELLED
        )
    )
    return connection.execute(statement.values(state="queued", phase=None)).rowcount


def get_run(connection: Connection, run_id: str) -> RunView | None:
    """Return one run, or None."""
    row = connection.execute(select(_run).where(_run.c.id == run_id)).mappings().first()
    return _view(row) if row is not None else None


def list_runs(
    connection: Connection, *, limit: int, after: tuple[datetime, str] | None = None
) -> tuple[RunView, ...]:
    """Return runs, the latest request first; `after` is (requested_at, id) of the last one already seen."""
    statement = select(_run).order_by(_run.c.requested_at.desc(), _run.c.id.desc()).limit(limit)
    if after is not None:
        moment, run_id = after
        statement = statement.where(
            or_(
                _run.c.requested_at < moment,
                and_(_run.c.requested_at == moment, _run.c.id < run_id),
            )
        )
    return tuple(map(_view, connection.execute(statement).mappings()))


def _insert(
    connection: Connection, upstream_url: str, trigger: Trigger, requested_by: str, now: datetime
) -> str:
    run_id = f"run_{secrets.token_hex(10)}"
    connection.execute(
        insert(_run).values(
            id=run_id,
            upstream_url=upstream_url,
            trigger=trigger,
            requested_by=requested_by,
            state="queued",
            requested_at=now,
            categories=0,
            needed=0,
            fetched=0,
            not_offered=0,
            failed=0,
            eula_texts=0,
            phase_total=0,
            phase_done=0,
            new=0,
            revised=0,
            expired=0,
            bytes_received=0,
        )
    )
    return run_id


def _change(
    connection: Connection, condition: tuple[ColumnElement[bool], ...], **values: Any
) -> RunView | None:
    """Change the run that meets the condition and return it as it is then; None if no run does."""
    changed = connection.execute(update(_run).where(*condition).values(values).returning(_run))
    row = changed.mappings().first()
    return _view(row) if row is not None else None


def _view(row: RowMapping) -> RunView:
    run = RunView(**row)
    if run.state != "running" or run.phase_total == 0:
        return run
    done = min(run.phase_done, run.phase_total)
    eta: int | None = None
    if done > 0 and run.phase_started_at is not None and run.heartbeat_at is not None:
        elapsed = (run.heartbeat_at - run.phase_started_at).total_seconds()
        eta = round(elapsed / done * (run.phase_total - done))
    return replace(run, progress_percent=100 * done // run.phase_total, eta_seconds=eta)
