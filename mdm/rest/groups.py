"""/groups: make, define, list, read, delete; who is in them and why, and who would be."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from mdm.access.scopes import Scope
from mdm.devices.groups import (
    GroupDefinition,
    add_member,
    change_group,
    change_members,
    create_group,
    delete_group,
    get_group,
    list_groups,
    read_definition,
    remove_member,
)
from mdm.devices.members import list_members, preview_group
from mdm.rest.fields import Body, Name, NoBody, NoQuery, ObjectId, PageQuery
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]

Groups = Annotated[tuple[ObjectId, ...], Field(max_length=100)]
Devices = Annotated[tuple[ObjectId, ...], Field(max_length=500)]


class Defined(Body):
    """What makes a device a member, besides putting it in by hand."""

    rule: dict[str, Any] | None = None
    """As `mdm.devices.rules` reads it."""
    include: Groups = ()
    """Groups all of whose members are members."""
    exclude: Groups = ()
    """Groups none of whose members is one."""

    def definition(self) -> GroupDefinition:
        """The same, as the domain has it."""
        return GroupDefinition(self.rule, self.include, self.exclude)


class NewGroup(Defined):
    """A group to make."""

    name: Name
    members: Devices = ()
    """Devices to put in by hand."""


class ChangedGroup(Defined):
    """A group as it is to be; what is left out is empty."""

    name: Name


class ChangedMembers(Body):
    """Devices to put in by hand and to take out."""

    add: Devices = ()
    remove: Devices = ()


def _create(call: Call[NoQuery, NewGroup]) -> Reply:
    body = call.body
    group = create_group(
        call.conn,
        call.origin,
        name=body.name,
        definition=body.definition(),
        members=body.members,
        now=call.now,
    )
    return Reply.created(f"/groups/{group.id}", group)


def _list(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, str)
    after = None if position.after is None else position.after[0]
    rows = list_groups(call.conn, after=after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row.name,)))


def _get(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_group(call.conn, call.path_params["group"]))


def _change(call: Call[NoQuery, ChangedGroup]) -> Reply:
    body = call.body
    return Reply(
        change_group(
            call.conn,
            call.origin,
            call.path_params["group"],
            name=body.name,
            definition=body.definition(),
            now=call.now,
        )
    )


def _delete(call: Call[NoQuery, NoBody]) -> Reply:
    delete_group(call.conn, call.origin, call.path_params["group"], now=call.now)
    return Reply()


def _preview(call: Call[NoQuery, Defined]) -> Reply:
    definition = read_definition(call.conn, call.body.definition())
    return Reply(preview_group(call.conn, definition, now=call.now))


def _list_members(call: Call[PageQuery, NoBody]) -> Reply:
    group = get_group(call.conn, call.path_params["group"])
    position = call.position(call.query, int)
    after = None if position.after is None else position.after[0]
    rows = list_members(call.conn, group.id, after=after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row[0],), show=lambda row: row[1]))


def _change_members(call: Call[NoQuery, ChangedMembers]) -> Reply:
    body, group = call.body, call.path_params["group"]
    return Reply(
        change_members(call.conn, call.origin, group, add=body.add, remove=body.remove, now=call.now)
    )


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
        summary="Make a group by rule, by other groups, by hand, or empty",
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
        method="POST",
        path="/groups/preview",
        scope=Scope.DEVICES_READ,
        handler=_preview,
        query=NoQuery,
        body=Defined,
        reads_only=True,
        summary="Show which devices a definition would match; nothing is stored",
    ),
    Operation(
        method="GET",
        path="/groups/{group}",
        scope=Scope.DEVICES_READ,
        handler=_get,
        query=NoQuery,
        body=NoBody,
        summary="Read a group, and how far its figures can be relied on",
    ),
    Operation(
        method="PUT",
        path="/groups/{group}",
        scope=Scope.DEVICES_WRITE,
        handler=_change,
        query=NoQuery,
        body=ChangedGroup,
        summary="Rename a group or define it anew; devices put in by hand stay",
    ),
    Operation(
        method="DELETE",
        path="/groups/{group}",
        scope=Scope.DEVICES_WRITE,
        handler=_delete,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Delete a group that no active approval and no other group names",
    ),
    Operation(
        method="GET",
        path="/groups/{group}/members",
        scope=Scope.DEVICES_READ,
        handler=_list_members,
        query=PageQuery,
        body=NoBody,
        summary="List a group's members, and why each is one",
    ),
    Operation(
        method="POST",
        path="/groups/{group}/members",
        scope=Scope.DEVICES_WRITE,
        handler=_change_members,
        query=NoQuery,
        body=ChangedMembers,
        summary="Put many devices into a group by hand, and take others out",
    ),
    Operation(
        method="PUT",
        path="/groups/{group}/devices/{device}",
        scope=Scope.DEVICES_WRITE,
        handler=_add_device,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Put a device into a group by hand",
    ),
    Operation(
        method="DELETE",
        path="/groups/{group}/devices/{device}",
        scope=Scope.DEVICES_WRITE,
        handler=_remove_device,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Take a device out of those put into a group by hand",
    ),
)
