"""/devices/{device}/sync and /devices/sync: have devices check in at once, as far as that is possible."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mdm.access.scopes import Scope
from mdm.errors import FieldError, Invalid
from mdm.push.sync_now import MAX_DEVICES, in_group, request_sync, request_syncs
from mdm.rest.fields import Body, NoBody, NoQuery, ObjectId
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]


class WantedDevices(Body):
    """Whom to want: these devices, or those of one group."""

    devices: Annotated[tuple[ObjectId, ...], Field(max_length=MAX_DEVICES)] | None = None
    group: ObjectId | None = None


def _sync(call: Call[NoQuery, NoBody]) -> Reply:
    wish = request_sync(
        call.conn, call.origin, call.path_params["device"], pushing=_pushing(call), now=call.now
    )
    return Reply(wish, after_commit=call.services.wake_push)


def _sync_many(call: Call[NoQuery, WantedDevices]) -> Reply:
    body = call.body
    if (body.devices is None) is (body.group is None) or body.devices == ():
        detail = "Give either at least one device or a group."
        errors = (FieldError("/devices", "either_or", detail), FieldError("/group", "either_or", detail))
        raise Invalid("It is not clear which devices are meant.", errors=errors)
    wanted = in_group(call.conn, body.group) if body.group is not None else list(body.devices or ())
    wishes = request_syncs(call.conn, call.origin, wanted, pushing=_pushing(call), now=call.now)
    left = sorted(set(wanted) - {wish.id for wish in wishes})
    return Reply({"items": wishes, "left_management": left}, after_commit=call.services.wake_push)


def _pushing(call: Call[Any, Any]) -> bool:
    return call.services.settings.wns_pfn is not None


OPERATIONS = (
    Operation(
        method="POST",
        path="/devices/{device}/sync",
        scope=Scope.DEVICES_WRITE,
        handler=_sync,
        query=NoQuery,
        body=NoBody,
        summary="Want a device to check in at once, and say when it will at the latest",
    ),
    Operation(
        method="POST",
        path="/devices/sync",
        scope=Scope.DEVICES_WRITE,
        handler=_sync_many,
        query=NoQuery,
        body=WantedDevices,
        summary="Want several devices, or those of a group, to check in at once",
    ),
)
