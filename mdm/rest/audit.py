"""/audit: who changed what."""

from __future__ import annotations

from mdm.access.scopes import Scope
from mdm.audit import list_entries
from mdm.rest.fields import NoBody, ObjectId, PageQuery
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]


class AuditQuery(PageQuery):
    """Which rows to list."""

    action: ObjectId | None = None
    object_type: ObjectId | None = None
    object_id: ObjectId | None = None


def _list(call: Call[AuditQuery, NoBody]) -> Reply:
    query = call.query
    position = call.position(query, int)
    rows = list_entries(
        call.conn,
        before=None if position.after is None else position.after[0],
        limit=position.fetch,
        action=query.action,
        object_type=query.object_type,
        object_id=query.object_id,
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row.seq,)))


OPERATIONS = (
    Operation(
        method="GET",
        path="/audit",
        scope=Scope.AUDIT_READ,
        handler=_list,
        query=AuditQuery,
        body=NoBody,
        summary="List changes, newest first",
    ),
)
