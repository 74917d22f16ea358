"""The ledger of sync runs: asked for, claimed by one worker, kept alive by a heartbeat, ended.

    queued ──claim──▶ running ──finish──▶ succeeded | failed
       ▲                 │
       └── release ──────┘   its worker stopped, or fell silent for five minutes

Microsoft asks that an upstream be called at most once an hour unless somebody tells the bridge to. So a scheduled run
is claimed no earlier than an hour after the last start; a run that goes on after a release is not a new start.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import and_, insert, or_, select, update

from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import SyncRun, Upstream

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, RowMapping

__all__ = [
    "LEAST_INTERVAL",
    "STALE_AFTER",
    "RunLost",
    "RunView",
    "Trigger",
    "beat",
    "claim_next",
    "ensure_upstream",
    "finish_run",
    "get_run",
    "list_runs",
    "release_run",
    "request_scheduled_sync",
    "request_sync",
    "requeue_running",
]

LEAST_INTERVAL: Final = timedelta(hours=1)
STALE_AFTER: Final = timedelta(minutes=5)
"""Silence after which a running run is taken for dead; a living one speaks before each attempt at a call."""

Trigger = Literal["schedule", "manual", "command-line"]

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
    """`queued`, `running`, `succeeded` or `failed`."""
    phase: str | None
    """`cookie`, `config`, `categories`, `updates` or `eulas`; of an ended run the last one it was in."""
    requested_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
    categories: int
    """Categories stored by this run."""
    needed: int
    """Revisions that devices reported and this run asked for."""
    fetched: int
    """Of those, how many have metadata now."""
    not_offered: int
    """Of those, how many the upstream does not offer."""
    failed: int
    """Documents that could not be fetched or read, of the category list as well."""
    eula_texts: int
    """Licence texts stored."""
    bytes_received: int
    error: str | None


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

    An interval under an hour counts as an hour.
    """
    ensure_upstream(connection, upstream_url)
    last_started_at = connection.scalar(
        select(_upstream.c.last_started_at).where(_upstream.c.url == upstream_url).with_for_update()
    )
    if last_started_at is not None and now - last_started_at < max(interval, LEAST_INTERVAL):
        return None
    unfinished = select(_run.c.id).where(
        _run.c.upstream_url == upstream_url, _run.c.state.in_(("queued", "running"))
    )
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
        .where(_run.c.state == "queued")
        .order_by(_run.c.requested_at, _run.c.id)
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
        if starts and candidate.trigger == "schedule" and last is not None and now - last < LEAST_INTERVAL:
            continue
        claimed = _change(
            connection,
            (_run.c.id == candidate.id, _run.c.state == "queued"),
            state="running",
            started_at=candidate.started_at or now,
            heartbeat_at=now,
            phase=None,
        )
        if claimed is not None and starts:
            connection.execute(
                update(_upstream).where(_upstream.c.url == candidate.upstream_url).values(last_started_at=now)
            )
        if claimed is not None:
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
    state = "succeeded" if error is None else "failed"
    return beat(connection, run_id, last_beat, now, state=state, finished_at=now, error=error)


def release_run(connection: Connection, run_id: str, last_beat: datetime, now: datetime) -> RunView:
    """Put a run back because its worker stops; raises RunLost as `beat` does."""
    return beat(connection, run_id, last_beat, now, state="queued", phase=None)


def requeue_running(connection: Connection, silent_since: datetime | None = None) -> int:
    """Queue running runs again, those silent since a moment or all; return how many.

    All: for the start of the only process that works on this database.
    """
    statement = update(_run).where(_run.c.state == "running")
    if silent_since is not None:
        statement = statement.where(or_(_run.c.heartbeat_at.is_(None), _run.c.heartbeat_at < silent_since))
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


def ensure_upstream(connection: Connection, upstream_url: str) -> None:
    """Make the row of an upstream, with the identity this installation keeps towards it."""
    connection.execute(
        insert_ignore(Upstream, connection), {"url": upstream_url, "account_guid": str(uuid.uuid4())}
    )


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
    return RunView(**row)
