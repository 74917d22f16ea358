"""/catalog/upstreams, /catalog/syncs and /catalog/needed: where the catalogue comes from, and what it still lacks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mdm.access.scopes import Scope
from mdm.audit import record
from mdm.catalog.backlog import list_backlog
from mdm.catalog.events import list_events
from mdm.catalog.needed import list_needed
from mdm.catalog.runs import cancel_run, get_run, list_runs, request_sync
from mdm.catalog.upstreams import (
    UpstreamChange,
    UpstreamView,
    add_upstream,
    change_upstream,
    find_upstream,
    list_upstreams,
    read_replica,
    record_upstream,
    remove_upstream,
)
from mdm.errors import Conflict, NotFound
from mdm.rest.fields import Body, Guid, Name, NoBody, NoQuery, PageQuery
from mdm.rest.operations import Call, Operation, Reply
from mdm.settings import WebUrl

if TYPE_CHECKING:
    from mdm.catalog.runs import RunView

__all__ = ["OPERATIONS"]

_RETRY_AFTER = "2"
"""Seconds until a client should ask what became of its sync."""
_MAX_SELECTED = 2000

UpstreamUrl = Annotated[WebUrl, Field(max_length=1000)]
"""An upstream's address, without credentials, query or fragment."""


class UpstreamBody(Body):
    """What to change of an upstream; what is left out stays."""

    name: Name | None = None
    position: Annotated[int, Field(ge=0, le=1000)] | None = None
    enabled: bool | None = None
    mode: Literal["needed", "filtered"] | None = None
    products: Annotated[list[Guid], Field(max_length=_MAX_SELECTED)] | None = None
    classifications: Annotated[list[Guid], Field(max_length=_MAX_SELECTED)] | None = None
    languages: (
        Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(max_length=_MAX_SELECTED)] | None
    ) = None
    """LCIDs; an empty list asks for every language."""
    replica: bool | None = None
    interval_minutes: Annotated[int, Field(ge=1, le=100_000)] | None = None

    def change(self) -> UpstreamChange:
        """The change this body asks for."""
        given: dict[str, Any] = self.model_dump(exclude={"url"})
        for name in ("products", "classifications", "languages"):
            given[name] = None if given[name] is None else tuple(given[name])
        return UpstreamChange(**given)


class NewUpstreamBody(UpstreamBody):
    """An upstream to put into the list."""

    url: UpstreamUrl


class NeededQuery(PageQuery):
    """Which of the reported revisions to list."""

    state: Literal["queued", "synced", "not_offered", "failed"] | None = None


# --- upstreams ------------------------------------------------------------------------------------------


def _list_upstreams(call: Call[NoQuery, NoBody]) -> Reply:
    items = list_upstreams(call.conn, call.services.settings.upstream_url)
    return Reply({"items": items, "next_cursor": None, "total": len(items)})


def _get_upstream(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(_upstream(call))


def _create_upstream(call: Call[NoQuery, NewUpstreamBody]) -> Reply:
    view = add_upstream(call.conn, call.services.settings.upstream_url, call.body.url, call.body.change())
    record_upstream(call.conn, call.origin, before=None, after=view, now=call.now)
    reply = Reply.created(f"/catalog/upstreams/{view.id}", view)
    return replace(reply, after_commit=call.services.wake_sync)


def _change_upstream(call: Call[NoQuery, UpstreamBody]) -> Reply:
    before = _upstream(call)
    view = change_upstream(call.conn, call.services.settings.upstream_url, before.url, call.body.change())
    record_upstream(call.conn, call.origin, before=before, after=view, now=call.now)
    return Reply(view, after_commit=call.services.wake_sync)


def _delete_upstream(call: Call[NoQuery, NoBody]) -> Reply:
    view = _upstream(call)
    remove_upstream(call.conn, call.services.settings.upstream_url, view.url)
    record_upstream(call.conn, call.origin, before=view, after=None, now=call.now)
    return Reply()


def _get_replica(call: Call[NoQuery, NoBody]) -> Reply:
    view = _upstream(call)
    replica = read_replica(call.conn, view.url)
    if replica is None:
        raise NotFound("Groups and deployments of this upstream were never read; `replica` says whether to.")
    return Reply(replica)


def _list_backlog(call: Call[PageQuery, NoBody]) -> Reply:
    view = _upstream(call)
    position = call.position(call.query, str, str, int)
    rows = list_backlog(call.conn, view.url, limit=position.fetch, after=position.after)
    return Reply.of_page(position.page(rows, key=lambda row: (row.list, row.update_id, row.revision_number)))


def _upstream(
    call: Call[NoQuery, NoBody] | Call[PageQuery, NoBody] | Call[NoQuery, UpstreamBody],
) -> UpstreamView:
    name = call.path_params["upstream"]
    found = find_upstream(call.conn, call.services.settings.upstream_url, name)
    if found is None:
        raise NotFound(f"There is no upstream {name!r}.")
    return found


# --- syncs ----------------------------------------------------------------------------------------------


def _create_syncs(call: Call[NoQuery, NoBody]) -> Reply:
    """All upstreams that are enabled, in their order; the answer is the first one's run."""
    upstreams = list_upstreams(call.conn, call.services.settings.upstream_url, enabled_only=True)
    if not upstreams:
        raise Conflict(
            "There is no upstream to sync with: BRIDGE_UPSTREAM_URL is not set, and none was added.",
            code="no_upstream",
        )
    runs = [_request(call, upstream) for upstream in upstreams]
    return _accepted(call, runs[0])


def _create_sync(call: Call[NoQuery, NoBody]) -> Reply:
    return _accepted(call, _request(call, _upstream(call)))


def _request(call: Call[NoQuery, NoBody], upstream: UpstreamView) -> str:
    run_id = request_sync(call.conn, upstream.url, "manual", call.origin.actor, call.now)
    record(
        call.conn,
        call.origin,
        now=call.now,
        action="catalog.sync",
        object_type="sync",
        object_id=run_id,
        after={"upstream": upstream.url, "state": "queued"},
    )
    return run_id


def _accepted(call: Call[NoQuery, NoBody], run_id: str) -> Reply:
    reply = Reply.created(f"/catalog/syncs/{run_id}", get_run(call.conn, run_id))
    return replace(
        reply,
        headers={**reply.headers, "Retry-After": _RETRY_AFTER},
        after_commit=call.services.wake_sync,
    )


def _list_syncs(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, datetime, str)
    rows = list_runs(call.conn, limit=position.fetch, after=position.after)
    return Reply.of_page(position.page(rows, key=lambda row: (row.requested_at, row.id)))


def _get_sync(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(_run(call))


def _cancel_sync(call: Call[NoQuery, NoBody]) -> Reply:
    run = _run(call)
    if run.finished_at is not None:
        raise Conflict(f"The sync has ended already: it {run.state}.", code="sync_ended")
    cancelled = cancel_run(call.conn, run.id, call.now)
    record(
        call.conn,
        call.origin,
        now=call.now,
        action="catalog.sync_cancel",
        object_type="sync",
        object_id=run.id,
        before={"cancel_requested_at": None},
        after={"cancel_requested_at": call.now},
    )
    return Reply(cancelled)


def _list_events(call: Call[PageQuery, NoBody]) -> Reply:
    run = _run(call)
    position = call.position(call.query, int)
    after = None if position.after is None else position.after[0]
    rows = list_events(call.conn, run.id, limit=position.fetch, after=after)
    return Reply.of_page(position.page(rows, key=lambda row: (row.seq,)))


def _run(call: Call[NoQuery, NoBody] | Call[PageQuery, NoBody]) -> RunView:
    run_id = call.path_params["sync"]
    run = get_run(call.conn, run_id)
    if run is None:
        raise NotFound(f"There is no sync {run_id!r}.")
    return run


# --- what devices reported ------------------------------------------------------------------------------


def _list_needed(call: Call[NeededQuery, NoBody]) -> Reply:
    position = call.position(call.query, str, int)
    rows = list_needed(call.conn, limit=position.fetch, state=call.query.state, after=position.after)
    return Reply.of_page(position.page(rows, key=lambda row: (row.update_id, row.revision_number or 0)))


OPERATIONS = (
    Operation(
        method="GET",
        path="/catalog/upstreams",
        scope=Scope.CATALOG_READ,
        handler=_list_upstreams,
        query=NoQuery,
        body=NoBody,
        summary="List the upstreams in the order they are asked",
    ),
    Operation(
        method="POST",
        path="/catalog/upstreams",
        scope=Scope.CATALOG_SYNC,
        handler=_create_upstream,
        query=NoQuery,
        body=NewUpstreamBody,
        status=201,
        summary="Add an upstream",
    ),
    Operation(
        method="GET",
        path="/catalog/upstreams/{upstream}",
        scope=Scope.CATALOG_READ,
        handler=_get_upstream,
        query=NoQuery,
        body=NoBody,
        summary="Read what an upstream is asked for, and how often",
    ),
    Operation(
        method="PATCH",
        path="/catalog/upstreams/{upstream}",
        scope=Scope.CATALOG_SYNC,
        handler=_change_upstream,
        query=NoQuery,
        body=UpstreamBody,
        summary="Change what an upstream is asked for",
    ),
    Operation(
        method="DELETE",
        path="/catalog/upstreams/{upstream}",
        scope=Scope.CATALOG_SYNC,
        handler=_delete_upstream,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Stop asking an upstream; what it gave is kept",
    ),
    Operation(
        method="GET",
        path="/catalog/upstreams/{upstream}/replica",
        scope=Scope.CATALOG_READ,
        handler=_get_replica,
        query=NoQuery,
        body=NoBody,
        summary="Read what the upstream's own administrators decided",
    ),
    Operation(
        method="GET",
        path="/catalog/upstreams/{upstream}/backlog",
        scope=Scope.CATALOG_READ,
        handler=_list_backlog,
        query=PageQuery,
        body=NoBody,
        summary="List what the upstream's lists name and the catalogue lacks, and why",
    ),
    Operation(
        method="POST",
        path="/catalog/upstreams/{upstream}/syncs",
        scope=Scope.CATALOG_SYNC,
        handler=_create_sync,
        query=NoQuery,
        body=NoBody,
        status=202,
        summary="Read one upstream's catalogue now",
    ),
    Operation(
        method="POST",
        path="/catalog/syncs",
        scope=Scope.CATALOG_SYNC,
        handler=_create_syncs,
        query=NoQuery,
        body=NoBody,
        status=202,
        summary="Read every upstream's catalogue now",
    ),
    Operation(
        method="GET",
        path="/catalog/syncs",
        scope=Scope.CATALOG_READ,
        handler=_list_syncs,
        query=PageQuery,
        body=NoBody,
        summary="List syncs, the latest first",
    ),
    Operation(
        method="GET",
        path="/catalog/syncs/{sync}",
        scope=Scope.CATALOG_READ,
        handler=_get_sync,
        query=NoQuery,
        body=NoBody,
        summary="Read how far a sync is, or how it ended",
    ),
    Operation(
        method="POST",
        path="/catalog/syncs/{sync}/cancel",
        scope=Scope.CATALOG_SYNC,
        handler=_cancel_sync,
        query=NoQuery,
        body=NoBody,
        summary="Cancel a sync; one that is running ends after the call it is in",
    ),
    Operation(
        method="GET",
        path="/catalog/syncs/{sync}/events",
        scope=Scope.CATALOG_READ,
        handler=_list_events,
        query=PageQuery,
        body=NoBody,
        summary="Read a sync's log",
    ),
    Operation(
        method="GET",
        path="/catalog/needed",
        scope=Scope.CATALOG_READ,
        handler=_list_needed,
        query=NeededQuery,
        body=NoBody,
        summary="List the revisions devices reported, and what each upstream said of them",
    ),
)
