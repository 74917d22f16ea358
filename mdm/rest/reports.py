"""/reports: figures of the whole fleet, each with its moment and how many devices were heard."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from mdm.access.scopes import Scope
from mdm.devices.approval_effect import approval_effect, devices_with
from mdm.devices.channel import Verdict
from mdm.rest.fields import NoBody, NoQuery, PageQuery
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]

_DAY: Final = timedelta(hours=24)

Which = Annotated[Verdict, Field(description="Whether approvals take effect.")]


def _approval_effect(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(approval_effect(call.conn, call.now, heard_since=call.now - _DAY))


class VerdictQuery(PageQuery):
    """Which devices to list."""

    verdict: Which | None = None
    """Those with this one; left out: all that have approvals."""


def _approval_effect_devices(call: Call[VerdictQuery, NoBody]) -> Reply:
    position = call.position(call.query, int)
    after = None if position.after is None else position.after[0]
    rows = devices_with(call.conn, call.query.verdict, call.now, after=after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row[0],), show=lambda row: row[1]))


OPERATIONS = (
    Operation(
        method="GET",
        path="/reports/approval-effect",
        scope=Scope.REPORTS_READ,
        handler=_approval_effect,
        query=NoQuery,
        body=NoBody,
        summary="Count devices by channel, and by whether approvals take effect on them",
    ),
    Operation(
        method="GET",
        path="/reports/approval-effect/devices",
        scope=Scope.REPORTS_READ,
        handler=_approval_effect_devices,
        query=VerdictQuery,
        body=NoBody,
        summary="List the devices with approvals on which these take effect, or do not",
    ),
)
