"""/eulas: read the texts and what waits for them, accept exactly the text that was read, and read the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import StringConstraints

from mdm.access.scopes import Scope
from mdm.approvals.eulas import accept_eula, get_eula, list_eulas
from mdm.approvals.ledger import list_acceptances
from mdm.errors import Forbidden
from mdm.rest.fields import Body, Flag, Guid, NoBody, NoQuery, ObjectId, PageQuery, Query
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{64}$", to_lower=True)]

GeoId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{3}$", to_upper=True)]
"""ISO 3166 alpha-3."""


class EulasQuery(PageQuery):
    """Which EULAs to list."""

    accepted: Flag | None = None
    waiting: Flag | None = None
    """Those that approvals wait for, or the others."""


class EulaQuery(Query):
    """Which text to show: by language and country, or by its hash a text that has been replaced."""

    locale: ObjectId | None = None
    geo_id: GeoId | None = None
    text_sha256: Sha256 | None = None


class AcceptancesQuery(PageQuery):
    """Which rows of the ledger to list."""

    eula_id: Guid | None = None


class NewAcceptance(Body):
    """The text that was read."""

    locale: ObjectId
    geo_id: GeoId | None = None
    text_sha256: Sha256


def _list(call: Call[EulasQuery, NoBody]) -> Reply:
    position = call.position(call.query, str)
    after = None if position.after is None else position.after[0]
    rows = list_eulas(
        call.conn,
        accepted=call.query.accepted,
        waiting=call.query.waiting,
        after=after,
        limit=position.fetch,
        now=call.now,
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row.id,)))


def _get(call: Call[EulaQuery, NoBody]) -> Reply:
    query = call.query
    eula_id = call.path_params["eula"].lower()
    return Reply(
        get_eula(
            call.conn,
            eula_id,
            locale=query.locale,
            geo_id=query.geo_id,
            text_sha256=query.text_sha256,
            now=call.now,
        )
    )


def _accept(call: Call[NoQuery, NewAcceptance]) -> Reply:
    if not call.services.settings.eula_accept_by_token:
        raise Forbidden(
            "Tokens may not accept EULAs here; BRIDGE_EULA_ACCEPT_BY_TOKEN=true allows it.",
            code="eula_accept_by_token_disabled",
        )
    acceptance, new = accept_eula(
        call.conn,
        call.origin,
        call.path_params["eula"].lower(),
        locale=call.body.locale,
        geo_id=call.body.geo_id,
        text_sha256=call.body.text_sha256,
        organization=call.services.settings.organization,
        now=call.now,
    )
    return Reply(acceptance, 201 if new else 200)


def _list_acceptances(call: Call[AcceptancesQuery, NoBody]) -> Reply:
    position = call.position(call.query, datetime, str)
    rows = list_acceptances(
        call.conn, eula_id=call.query.eula_id, before=position.after, limit=position.fetch
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row.accepted_at, row.id)))


OPERATIONS = (
    Operation(
        method="GET",
        path="/eulas",
        scope=Scope.CATALOG_READ,
        handler=_list,
        query=EulasQuery,
        body=NoBody,
        summary="List EULAs with what waits for them",
    ),
    Operation(
        method="GET",
        path="/eulas/{eula}",
        scope=Scope.CATALOG_READ,
        handler=_get,
        query=EulaQuery,
        body=NoBody,
        summary="Read a EULA's text and its ledger",
    ),
    Operation(
        method="POST",
        path="/eulas/{eula}/accept",
        scope=Scope.EULA_ACCEPT,
        handler=_accept,
        query=NoQuery,
        body=NewAcceptance,
        status=201,
        summary="Accept exactly this text for the organisation",
    ),
    Operation(
        method="GET",
        path="/eula-acceptances",
        scope=Scope.CATALOG_READ,
        handler=_list_acceptances,
        query=AcceptancesQuery,
        body=NoBody,
        summary="List the ledger of acceptances, newest first",
    ),
)
