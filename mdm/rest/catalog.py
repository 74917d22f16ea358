"""/catalog: updates, classifications and products as the upstream describes them, and the syncs that fetch them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, StringConstraints

from csp.errors import InvalidGuid
from csp.guid import parse_guid
from mdm.access.scopes import Scope
from mdm.audit import record
from mdm.catalog.queries import (
    CategoryView,
    get_update,
    list_classifications,
    list_products,
    list_updates,
)
from mdm.catalog.runs import get_run, list_runs, request_sync
from mdm.errors import Conflict, NotFound
from mdm.rest.fields import Flag, Guid, NoBody, NoQuery, PageQuery, SearchText
from mdm.rest.operations import Call, Operation, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OPERATIONS"]

_RETRY_AFTER = "2"
"""Seconds until a client should ask what became of its sync."""


def _lower(text: str) -> str:
    return text.lower()


class UpdatesQuery(PageQuery):
    """Which updates to list."""

    classification: Guid | None = None
    product: Guid | None = None
    severity: (
        Annotated[Literal["critical", "important", "moderate", "low"], BeforeValidator(_lower)] | None
    ) = None
    kb: Annotated[str, StringConstraints(pattern=r"^(?:[Kk][Bb])?[0-9]{1,10}$")] | None = None
    superseded: Flag | None = None
    needed: Flag = False
    """Only those a device lacks."""
    q: SearchText | None = None
    """Looked for in the title."""


def _list_updates(call: Call[UpdatesQuery, NoBody]) -> Reply:
    query = call.query
    position = call.position(query, str)
    rows = list_updates(
        call.conn,
        classification=query.classification,
        product=query.product,
        severity=query.severity,
        kb=query.kb,
        superseded=query.superseded,
        needed_only=query.needed,
        q=query.q,
        after=None if position.after is None else position.after[0],
        limit=position.fetch,
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row.update_id,)))


def _get_update(call: Call[NoQuery, NoBody]) -> Reply:
    text = call.path_params["update"]
    try:
        update = get_update(call.conn, parse_guid(text))
    except InvalidGuid:
        update = None
    if update is None:
        raise NotFound(f"No device and no upstream has named the update {text!r}.")
    return Reply(update)


def _list_classifications(call: Call[PageQuery, NoBody]) -> Reply:
    return _category_page(call, list_classifications(call.conn))


def _list_products(call: Call[PageQuery, NoBody]) -> Reply:
    return _category_page(call, list_products(call.conn))


def _category_page(call: Call[PageQuery, NoBody], categories: Iterable[CategoryView]) -> Reply:
    """A page of a list of at most some hundreds, which is counted as a whole anyway."""
    position = call.position(call.query, str, str)
    ordered = sorted(categories, key=_category_key)
    after = position.after
    rest = [row for row in ordered if after is None or _category_key(row) > after]
    return Reply.of_page(position.page(rest[: position.fetch], key=_category_key))


def _category_key(row: CategoryView) -> tuple[str, str]:
    return row.title, row.id


def _create_sync(call: Call[NoQuery, NoBody]) -> Reply:
    upstream = call.services.settings.upstream_url
    if upstream is None:
        raise Conflict(
            "There is no upstream to sync with: BRIDGE_UPSTREAM_URL is not set.", code="no_upstream"
        )
    run_id = request_sync(call.conn, upstream, "manual", call.origin.actor, call.now)
    record(
        call.conn,
        call.origin,
        now=call.now,
        action="catalog.sync",
        object_type="sync",
        object_id=run_id,
    )
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
    run_id = call.path_params["sync"]
    run = get_run(call.conn, run_id)
    if run is None:
        raise NotFound(f"There is no sync {run_id!r}.")
    return Reply(run)


OPERATIONS = (
    Operation(
        method="GET",
        path="/catalog/updates",
        scope=Scope.CATALOG_READ,
        handler=_list_updates,
        query=UpdatesQuery,
        body=NoBody,
        summary="List the updates an administrator sees, each by its highest revision",
    ),
    Operation(
        method="GET",
        path="/catalog/updates/{update}",
        scope=Scope.CATALOG_READ,
        handler=_get_update,
        query=NoQuery,
        body=NoBody,
        summary="Read an update, or where its metadata stands",
    ),
    Operation(
        method="GET",
        path="/catalog/classifications",
        scope=Scope.CATALOG_READ,
        handler=_list_classifications,
        query=PageQuery,
        body=NoBody,
        summary="List classifications by title, with how many updates each has",
    ),
    Operation(
        method="GET",
        path="/catalog/products",
        scope=Scope.CATALOG_READ,
        handler=_list_products,
        query=PageQuery,
        body=NoBody,
        summary="List products by title, with how many updates each has",
    ),
    Operation(
        method="POST",
        path="/catalog/syncs",
        scope=Scope.CATALOG_SYNC,
        handler=_create_sync,
        query=NoQuery,
        body=NoBody,
        status=202,
        summary="Read the upstream's catalogue now",
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
)
