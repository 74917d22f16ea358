"""Commands a device did not carry out, as events of its timeline: what failed, with which status and HRESULT.

A refusal that an administrator reads elsewhere, or that is an answer in itself, is none of them: approvals have
events of their own, a policy that a build lacks is told with the policy, and 404 to a Get outside the Update
CSP says that there is no such node. A failure that comes back with every session is told once a day.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from csp.answers import NOT_LOOKED_AT
from csp.status import Outcome, Target, outcome, target_of
from mdm.devices.timeline import COMMAND_FAILED, Event, record_events
from mdm.storage.statements import table_of
from mdm.storage.tables import DeviceEvent
from syncml.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection

    from syncml.exchange import Answer

__all__ = ["AGAIN", "record_failures"]

AGAIN: Final = timedelta(hours=24)
"""The same failure of the same command is no news for this long."""

_events: Final = table_of(DeviceEvent)

_REMEMBERED: Final = 200
"""Newest failures of a day that a new one is compared with."""
_TEXT: Final = 256
"""Characters kept of a text a device sends, and of an address."""
_DECLINED: Final = frozenset({Outcome.UNSUPPORTED, Outcome.REFUSED, Outcome.RETRY})


def record_failures(
    connection: Connection, device_pk: int, answers: Iterable[Answer], now: datetime
) -> tuple[Event, ...]:
    """Add an event for each command that failed, unless it failed the same way within `AGAIN`; returns the events.

    Only statuses count: a command without an answer is unknown.
    """
    failed = [_detail(answer) for answer in answers if _has_failed(answer)]
    if not failed:
        return ()
    known = _failures_since(connection, device_pk, now - AGAIN)
    news: list[dict[str, Any]] = []
    for detail in failed:
        if detail not in known and detail not in news:
            news.append(detail)
    events = tuple(Event(COMMAND_FAILED, detail) for detail in news)
    record_events(connection, device_pk, events, now)
    return events


def _has_failed(answer: Answer) -> bool:
    request, status = answer.request, answer.status
    if status is None or status < StatusCode.BAD_REQUEST or status in NOT_LOOKED_AT:
        return False
    result, target = outcome(request, status), target_of(request.loc_uri)
    if result not in _DECLINED or (request.verb == "Add" and target is Target.GUID_NODE):
        return False
    if result is Outcome.UNSUPPORTED and target is Target.POLICY:
        return False
    is_answer = request.verb == "Get" and status == StatusCode.NOT_FOUND and target is Target.OTHER
    return not is_answer


def _detail(answer: Answer) -> dict[str, Any]:
    error = answer.original_error
    return {
        "verb": answer.request.verb,
        "loc_uri": answer.request.loc_uri[:_TEXT],
        "status": answer.status,
        "error": None if error is None else error[:_TEXT],
    }


def _failures_since(connection: Connection, device_pk: int, since: datetime) -> list[dict[str, Any]]:
    return list(
        connection.scalars(
            select(_events.c.detail)
            .where(_events.c.device_pk == device_pk, _events.c.kind == COMMAND_FAILED, _events.c.at > since)
            .order_by(_events.c.seq.desc())
            .limit(_REMEMBERED)
        )
    )
