"""/catalog: updates, classifications and products as the upstreams describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, StringConstraints

from csp.errors import InvalidGuid
from csp.guid import parse_guid
from mdm.access.scopes import Scope
from mdm.catalog.queries import (
    CategoryView,
    EulaState,
    get_update,
    list_classifications,
    list_products,
    list_updates,
)
from mdm.errors import NotFound
from mdm.rest.fields import Flag, Guid, NoBody, NoQuery, PageQuery, SearchText
from mdm.rest.operations import Call, Operation, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OPERATIONS"]


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
    expired: Flag | None = None
    type: Annotated[Literal["software", "driver"], BeforeValidator(_lower)] | None = None
    eula: EulaState | None = None
    """`none`, `open` (somebody has to accept it), `accepted`."""
    needed: Flag = False
    """Only those a device lacks."""
    q: SearchText | None = None
    """Words of title, description, KB articles, bulletin, CVEs and hardware ids, or an UpdateID."""
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] | None = None
    """Of titles and descriptions, where the update has them in it."""


def _list_updates(call: Call[UpdatesQuery, NoBody]) -> Reply:
    query = call.query
    position = call.position(query, int)
    rows = list_updates(
        call.conn,
        classification=query.classification,
        product=query.product,
        severity=query.severity,
        kb=query.kb,
        superseded=query.superseded,
        expired=query.expired,
        update_type=query.type,
        eula=query.eula,
        needed_only=query.needed,
        q=query.q,
        language=query.language,
        after=None if position.after is None else position.after[0],
        limit=position.fetch,
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row.position,), show=lambda row: row.update))


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


OPERATIONS = (
    Operation(
        method="GET",
        path="/catalog/updates",
        scope=Scope.CATALOG_READ,
        handler=_list_updates,
        query=UpdatesQuery,
        body=NoBody,
        summary="List the updates an administrator sees, the newest first, each by its highest revision",
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
)
