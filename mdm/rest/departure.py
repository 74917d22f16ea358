"""/devices/{device}/retire: have devices leave management, and change one's mind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mdm.access.scopes import Scope
from mdm.devices.departure import cancel_retirement, retire
from mdm.devices.management import departure_text
from mdm.errors import Conflict, NotFound
from mdm.rest.fields import Body, Name, NoBody, NoQuery, ObjectId
from mdm.rest.operations import Call, Operation, Reply

if TYPE_CHECKING:
    from datetime import datetime

    from mdm.devices.departure import Standing
    from mdm.devices.management import Management

__all__ = ["MOST", "OPERATIONS"]

MOST = 500
"""Devices in one request."""


class Retirement(Body):
    """How a device is to leave."""

    now: bool = False
    """True for one that is lost or will not come back: it is not told, and refused from now on."""
    reason: Name | None = None
    """For the audit trail and the timeline."""


class Retirements(Retirement):
    """How several devices are to leave."""

    ids: Annotated[tuple[ObjectId, ...], Field(min_length=1, max_length=MOST)]
    """Ids of devices; one that is named twice is asked once."""


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a device stands on its way out."""

    id: str
    state: Management
    retire_requested_at: datetime | None
    retire_told_at: datetime | None
    unenrolled_at: datetime | None
    departure: str | None
    """The same in a sentence, with what can be done about it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one device of several."""

    id: str
    code: str | None
    """None: done, or it was so already; else the code that the problem would have had alone."""
    detail: str | None
    device: Departure | None


def _departure(call: Call[Any, Any], device: Standing) -> Departure:
    return Departure(
        device.id,
        device.state,
        device.retire_requested_at,
        device.retire_told_at,
        device.unenrolled_at,
        departure_text(device, call.now),
    )


def _retire(call: Call[NoQuery, Retirement]) -> Reply:
    public_id, body = call.path_params["device"], call.body
    device = retire(call.conn, call.origin, public_id, at_once=body.now, reason=body.reason, now=call.now)
    return Reply(_departure(call, device))


def _retire_several(call: Call[NoQuery, Retirements]) -> Reply:
    # In one order for everybody, so that two such requests do not wait for each other.
    outcomes = {each: _outcome(call, each) for each in sorted(set(call.body.ids))}
    return Reply({"items": [outcomes[each] for each in dict.fromkeys(call.body.ids)]})


def _outcome(call: Call[NoQuery, Retirements], public_id: str) -> Outcome:
    """Retire one of them; a refusal comes before anything is written."""
    body = call.body
    try:
        device = retire(call.conn, call.origin, public_id, at_once=body.now, reason=body.reason, now=call.now)
    except (Conflict, NotFound) as error:
        return Outcome(public_id, error.code, error.detail, None)
    return Outcome(public_id, None, None, _departure(call, device))


def _cancel(call: Call[NoQuery, NoBody]) -> Reply:
    device = cancel_retirement(call.conn, call.origin, call.path_params["device"], now=call.now)
    return Reply(_departure(call, device))


OPERATIONS = (
    Operation(
        method="POST",
        path="/devices/retire",
        scope=Scope.DEVICES_WRITE,
        handler=_retire_several,
        query=NoQuery,
        body=Retirements,
        summary="Have several devices leave management; each is answered apart",
    ),
    Operation(
        method="POST",
        path="/devices/{device}/retire",
        scope=Scope.DEVICES_WRITE,
        handler=_retire,
        query=NoQuery,
        body=Retirement,
        summary="Have a device leave management at its next session, or count it as gone now",
    ),
    Operation(
        method="DELETE",
        path="/devices/{device}/retire",
        scope=Scope.DEVICES_WRITE,
        handler=_cancel,
        query=NoQuery,
        body=NoBody,
        summary="Let a device stay that was to leave management",
    ),
)
