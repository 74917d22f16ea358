"""/enrolment: what devices are told when they enrol, and the load that their poll schedule means."""

from __future__ import annotations

from mdm.access.scopes import Scope
from mdm.enrolment.terms import terms
from mdm.rest.fields import NoBody, NoQuery
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(terms(call.conn, call.services.settings))


OPERATIONS = (
    Operation(
        method="GET",
        path="/enrolment",
        scope=Scope.DEVICES_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read what devices are told when they enrol, and the load that means",
    ),
)
