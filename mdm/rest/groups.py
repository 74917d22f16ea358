"""/groups: make, list, read, delete; who is in them."""

from __future__ import annotations

from mdm.access.scopes import Scope
from mdm.devices.groups import add_member, create_group, delete_group, get_group, list_groups, remove_member
from mdm.rest.fields import Body, Name, NoBody, NoQuery, PageQuery
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]


class NewGroup(Body):
    """A group to make."""

    name: Name


def _create(call: Call[NoQuery, NewGroup]) -> Reply:
    group = create_group(call.conn, call.origin, name=call.body.name, now=call.now)
    return Reply.created(f"/groups/{group.id}", group)


def _list(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, str)
    after = None if position.after is None else position.after[0]
    rows = list_groups(call.conn, after=after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row.name,)))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_group(call.conn, call.path_params["group"]))


def _delete(call: Call[NoQuery, NoBody]) -> Reply:
    delete_group(call.conn, call.origin, call.path_params["group"], now=call.now)
    return Reply()


def _add_device(call: Call[NoQuery, NoBody]) -> Reply:
    params = call.path_params
    add_member(call.conn, call.origin, params["group"], params["device"], now=call.now)
    return Reply()


def _remove_device(call: Call[NoQuery, NoBody]) -> Reply:
    params = call.path_params
    remove_member(call.conn, call.origin, params["group"], params["device"], now=call.now)
    return Reply()


OPERATIONS = (
    Operation(
        method="POST",
        path="/groups",
        scope=Scope.DEVICES_WRITE,
        handler=_create,
        query=NoQuery,
        body=NewGroup,
        status=201,
        summary="Make an empty group",
    ),
    Operation(
        method="GET",
        path="/groups",
        scope=Scope.DEVICES_READ,
        handler=_list,
        query=PageQuery,
        body=NoBody,
        summary="List groups by name",
    ),
    Operation(
        method="GET",
        path="/groups/{group}",
        scope=Scope.DEVICES_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a group",
    ),
    Operation(
        method="DELETE",
        path="/groups/{group}",
        scope=Scope.DEVICES_WRITE,
        handler=_delete,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Delete a group no active approval names",
    ),
    Operation(
        method="PUT",
        path="/groups/{group}/devices/{device}",
        scope=Scope.DEVICES_WRITE,
        handler=_add_device,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Put a device into a group",
    ),
    Operation(
        method="DELETE",
        path="/groups/{group}/devices/{device}",
        scope=Scope.DEVICES_WRITE,
        handler=_remove_device,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Take a device out of a group",
    ),
)
