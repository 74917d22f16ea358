"""/queries: criteria under a name, what they match, and what they would match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mdm.access.scopes import Scope
from mdm.queries.criteria import parse_criteria
from mdm.queries.matches import refresh_queries
from mdm.queries.preview import preview_criteria
from mdm.queries.store import (
    change_query,
    create_query,
    delete_query,
    get_query,
    list_matches,
    list_queries,
)
from mdm.rest.fields import Body, Name, NoBody, NoQuery, PageQuery
from mdm.rest.operations import Call, Operation, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OPERATIONS"]


class Asked(Body):
    """Criteria that have no name."""

    criteria: dict[str, Any]
    """As `mdm.queries.criteria` reads them."""


class NamedQuery(Asked):
    """A query as it is to be."""

    name: Name
    description: Name | None = None


def _create(call: Call[NoQuery, NamedQuery]) -> Reply:
    body = call.body
    query = create_query(
        call.conn,
        call.origin,
        name=body.name,
        criteria=body.criteria,
        description=body.description,
        now=call.now,
    )
    return Reply(
        query,
        headers=Reply.created(f"/queries/{query.id}", None).headers,
        after_commit=_refresh(call, query.id),
    )


def _list(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, str)
    after = None if position.after is None else position.after[0]
    rows = list_queries(call.conn, after=after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row.name,)))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_query(call.conn, call.path_params["query"]))


def _change(call: Call[NoQuery, NamedQuery]) -> Reply:
    body = call.body
    query = change_query(
        call.conn,
        call.origin,
        call.path_params["query"],
        name=body.name,
        criteria=body.criteria,
        description=body.description,
        now=call.now,
    )
    return Reply(query, after_commit=None if query.current else _refresh(call, query.id))


def _delete(call: Call[NoQuery, NoBody]) -> Reply:
    delete_query(call.conn, call.origin, call.path_params["query"], now=call.now)
    return Reply()


def _preview(call: Call[NoQuery, Asked]) -> Reply:
    return Reply(preview_criteria(call.conn, parse_criteria(call.body.criteria), now=call.now))


def _list_matches(call: Call[PageQuery, NoBody]) -> Reply:
    query = get_query(call.conn, call.path_params["query"])
    position = call.position(call.query, int)
    after = None if position.after is None else position.after[0]
    rows = list_matches(call.conn, query.id, after=after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row[0],), show=lambda row: row[1]))


def _refresh(call: Call[Any, Any], query_id: str) -> Callable[[], None]:
    """Work out what the query matches before its answer leaves, in steps of which nobody waits for long.

    If the process dies meanwhile, the worker finds the query still due.
    """

    def refresh() -> None:
        refresh_queries(call.services.database, [query_id], call.now)

    return refresh


OPERATIONS = (
    Operation(
        method="POST",
        path="/queries",
        scope=Scope.APPROVALS_WRITE,
        handler=_create,
        query=NoQuery,
        body=NamedQuery,
        status=201,
        summary="Save a query, and work out which updates it matches",
    ),
    Operation(
        method="GET",
        path="/queries",
        scope=Scope.APPROVALS_READ,
        handler=_list,
        query=PageQuery,
        body=NoBody,
        summary="List saved queries by name",
    ),
    Operation(
        method="POST",
        path="/queries/preview",
        scope=Scope.APPROVALS_READ,
        handler=_preview,
        query=NoQuery,
        body=Asked,
        reads_only=True,
        summary="Show which updates criteria would match; nothing is stored",
    ),
    Operation(
        method="GET",
        path="/queries/{query}",
        scope=Scope.APPROVALS_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a saved query, and how far its matches can be relied on",
    ),
    Operation(
        method="PUT",
        path="/queries/{query}",
        scope=Scope.APPROVALS_WRITE,
        handler=_change,
        query=NoQuery,
        body=NamedQuery,
        summary="Rename a saved query or ask it anew; approvals of it follow",
    ),
    Operation(
        method="DELETE",
        path="/queries/{query}",
        scope=Scope.APPROVALS_WRITE,
        handler=_delete,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Delete a saved query that no active approval and no rule uses",
    ),
    Operation(
        method="GET",
        path="/queries/{query}/updates",
        scope=Scope.APPROVALS_READ,
        handler=_list_matches,
        query=PageQuery,
        body=NoBody,
        summary="List the updates a saved query matches, newest first",
    ),
)
