"""/devices: enrol, list, read, remove; what each says of its updates."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import and_

from csp.errors import InvalidGuid
from csp.guid import parse_guid
from mdm.access.scopes import Scope
from mdm.ca.renewal import RenewalPeriod
from mdm.devices.certificate import CertificateState, certificate_in_state, certificate_view
from mdm.devices.channel import device_channel
from mdm.devices.departure import forget
from mdm.devices.groups import get_group
from mdm.devices.management import Management, departure_text, in_state
from mdm.devices.registry import (
    AuthScheme,
    DeviceView,
    ServerAuthScheme,
    create_device,
    device_pk,
    get_device,
    list_devices,
)
from mdm.devices.tags import set_tags
from mdm.devices.timeline import list_timeline
from mdm.devices.updates import explain_update, list_device_updates
from mdm.errors import NotFound
from mdm.policies.flags import approvals_not_enforced
from mdm.rest.fields import Body, Name, NoBody, NoQuery, ObjectId, PageQuery, SearchText
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]


class NewDevice(Body):
    """A device to enrol."""

    device_id: Name
    """The Source LocURI of its messages."""
    name: Name | None = None
    """For people; the device_id without it."""
    auth: AuthScheme = "syncml:auth-md5"
    auth_each_message: bool = True
    """False for a client that can show its credentials only once a session."""
    server_auth: ServerAuthScheme | None = None
    """How the server is to prove itself to the device; left out: not at all."""
    enrolment_user: Name | None = None
    """Whose device it is; rules of groups can ask for it."""


Tag = Annotated[Name, Field(max_length=64)]


class NewTags(Body):
    """The tags a device is to have."""

    tags: Annotated[tuple[Tag, ...], Field(max_length=50)]
    """These and no others; capitals become small letters."""


class DevicesQuery(PageQuery):
    """Which devices to list."""

    group: ObjectId | None = None
    q: SearchText | None = None
    """Looked for in name, device_id, computer name and serial number."""
    flag: Literal["approvals_not_enforced"] | None = None
    """Devices that approvals hold for, but that install without asking for one."""
    state: Management | None = None
    """Devices that are enrolled, on their way out, or gone."""
    certificate: CertificateState | None = None
    """Devices that prove themselves by a certificate with which it stands so."""


class DeviceUpdatesQuery(PageQuery):
    """Which of a device's updates to list."""

    state: Literal["installable", "installed", "failed", "pending_reboot"] | None = Field(None)


def _create(call: Call[NoQuery, NewDevice]) -> Reply:
    body = call.body
    device, credentials = create_device(
        call.conn,
        call.origin,
        call.services.secrets,
        device_id=body.device_id,
        name=body.name or body.device_id,
        auth=body.auth,
        auth_each_message=body.auth_each_message,
        server_auth=body.server_auth,
        enrolment_user=body.enrolment_user,
        now=call.now,
    )
    return Reply.created(f"/devices/{device.id}", _whole(call, device) | {"credentials": credentials})


def _list(call: Call[DevicesQuery, NoBody]) -> Reply:
    query = call.query
    if query.group is not None:
        get_group(call.conn, query.group)
    position = call.position(query, int)
    after = None if position.after is None else position.after[0]
    conditions = []
    if query.flag is not None:
        conditions.append(approvals_not_enforced(call.now))
    if query.state is not None:
        conditions.append(in_state(query.state))
    if query.certificate is not None:
        conditions.append(certificate_in_state(query.certificate, _renewal(call), call.now))
    condition = and_(*conditions) if conditions else None
    rows = list_devices(
        call.conn, group=query.group, q=query.q, condition=condition, after=after, limit=position.fetch
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row[0],), show=lambda row: row[1]))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(_whole(call, get_device(call.conn, call.path_params["device"])))


def _whole(call: Call[Any, Any], device: DeviceView) -> dict[str, Any]:
    """A device with its certificate, how far it is on its way out, and the channel its updates are managed through."""
    pk = device_pk(call.conn, device.id)
    return asdict(device) | {
        "certificate": certificate_view(call.conn, pk, _renewal(call), call.now),
        "departure": departure_text(device, call.now),
        "update_channel": device_channel(call.conn, pk, call.now),
    }


def _renewal(call: Call[Any, Any]) -> RenewalPeriod:
    return RenewalPeriod.of(timedelta(days=call.services.settings.certificate_days))


def _set_tags(call: Call[NoQuery, NewTags]) -> Reply:
    device = call.path_params["device"]
    set_tags(call.conn, call.origin, device, call.body.tags, now=call.now)
    return Reply(_whole(call, get_device(call.conn, device)))


def _delete(call: Call[NoQuery, NoBody]) -> Reply:
    residue = forget(call.conn, call.origin, call.path_params["device"], now=call.now)
    return Reply(status=204) if residue is None else Reply({"residual": residue})


def _list_updates(call: Call[DeviceUpdatesQuery, NoBody]) -> Reply:
    pk = device_pk(call.conn, call.path_params["device"])
    position = call.position(call.query, str)
    after = None if position.after is None else position.after[0]
    rows = list_device_updates(
        call.conn, pk, after=after, limit=position.fetch, state=call.query.state, now=call.now
    )
    return Reply.of_page(position.page(rows, key=lambda row: (row.update_id,)))


def _explain_update(call: Call[NoQuery, NoBody]) -> Reply:
    pk = device_pk(call.conn, call.path_params["device"])
    try:
        update_id = parse_guid(call.path_params["update"])
    except InvalidGuid:
        raise NotFound("An update is named by its UpdateID, which is a GUID.") from None
    return Reply(explain_update(call.conn, pk, update_id, call.now))


def _list_timeline(call: Call[PageQuery, NoBody]) -> Reply:
    pk = device_pk(call.conn, call.path_params["device"])
    position = call.position(call.query, int)
    before = None if position.after is None else position.after[0]
    rows = list_timeline(call.conn, pk, before=before, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row.seq,)))


OPERATIONS = (
    Operation(
        method="POST",
        path="/devices",
        scope=Scope.DEVICES_WRITE,
        handler=_create,
        query=NoQuery,
        body=NewDevice,
        status=201,
        summary="Enrol a device; its DM credentials are shown once",
    ),
    Operation(
        method="GET",
        path="/devices",
        scope=Scope.DEVICES_READ,
        handler=_list,
        query=DevicesQuery,
        body=NoBody,
        summary="List devices in order of enrolment",
    ),
    Operation(
        method="GET",
        path="/devices/{device}",
        scope=Scope.DEVICES_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a device with its figures and how fresh they are",
    ),
    Operation(
        method="DELETE",
        path="/devices/{device}",
        scope=Scope.DEVICES_WRITE,
        handler=_delete,
        query=NoQuery,
        body=NoBody,
        status=200,
        summary="Forget a device; to have it leave management first, retire it",
    ),
    Operation(
        method="PUT",
        path="/devices/{device}/tags",
        scope=Scope.DEVICES_WRITE,
        handler=_set_tags,
        query=NoQuery,
        body=NewTags,
        summary="Give a device these tags and no others; its groups follow at once",
    ),
    Operation(
        method="GET",
        path="/devices/{device}/updates",
        scope=Scope.DEVICES_READ,
        handler=_list_updates,
        query=DeviceUpdatesQuery,
        body=NoBody,
        summary="List what the device says of its updates, and why each stands where it does",
    ),
    Operation(
        method="GET",
        path="/devices/{device}/updates/{update}",
        scope=Scope.DEVICES_READ,
        handler=_explain_update,
        query=NoQuery,
        body=NoBody,
        summary="Explain why any update is not installed on the device, and how fresh that is",
    ),
    Operation(
        method="GET",
        path="/devices/{device}/timeline",
        scope=Scope.DEVICES_READ,
        handler=_list_timeline,
        query=PageQuery,
        body=NoBody,
        summary="List a device's alerts and changes, newest first",
    ),
)
