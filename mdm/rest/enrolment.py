"""/enrolment-tokens and /enrolment-users: who may enrol a device, and with what."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from mdm.access.scopes import Scope
from mdm.enrolment.passwords import MAX_PASSWORD, make_password
from mdm.enrolment.tokens import (
    DEFAULT_HOURS,
    MAX_HOURS,
    MAX_USES,
    TokenView,
    create_token,
    get_token,
    list_tokens,
    qr_payload,
    revoke_token,
)
from mdm.enrolment.users import (
    MAX_DEVICES,
    UserView,
    change_user,
    create_user,
    delete_user,
    get_user,
    list_users,
    set_password,
)
from mdm.rest.fields import Body, Name, NoBody, NoQuery, PageQuery
from mdm.rest.operations import Call, Operation, Reply

__all__ = ["OPERATIONS"]

Password = Annotated[str, Field(max_length=MAX_PASSWORD)]
MaxDevices = Annotated[int, Field(ge=1, le=MAX_DEVICES)]


class NewToken(Body):
    """An enrolment token to make."""

    name: Name
    """For people: what it is for."""
    username: Name | None = None
    """The only user name it goes with; left out: any."""
    max_uses: Annotated[int, Field(ge=1, le=MAX_USES)] = 1
    """Devices it may enrol."""
    expires_in_hours: Annotated[int, Field(ge=1, le=MAX_HOURS)] = DEFAULT_HOURS
    replaces: bool = False
    """Whether it may enrol a device again that somebody else has enrolled."""


class NewUser(Body):
    """An enrolment user to make."""

    username: Name
    """As typed on the device: an e-mail address, or `domain\\user`."""
    password: Password | None = None
    """12 characters or more; left out: one is made."""
    max_devices: MaxDevices | None = None


class ChangedUser(Body):
    """An enrolment user as it is to be."""

    enabled: bool
    max_devices: MaxDevices | None = None
    """Left out: any number."""


class NewPassword(Body):
    """Another password for a user."""

    password: Password | None = None
    """Left out: one is made."""


def _token_members(token: TokenView, now: datetime) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "state": token.state(now),
        "username": token.username,
        "max_uses": token.max_uses,
        "uses": token.uses,
        "replaces": token.replaces,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "last_used_at": token.last_used_at,
    }


def _create_token(call: Call[NoQuery, NewToken]) -> Reply:
    body, public_url = call.body, call.services.settings.public_url
    token, secret = create_token(
        call.conn,
        call.origin,
        name=body.name,
        username=body.username,
        max_uses=body.max_uses,
        replaces=body.replaces,
        lifetime=timedelta(hours=body.expires_in_hours),
        now=call.now,
    )
    # Shown this once. Without BRIDGE_PUBLIC_URL nobody knows which address would stand in the link.
    link = None if public_url is None else qr_payload(public_url, secret, token.username)
    members = {**_token_members(token, call.now), "token": secret, "qr_payload": link}
    return Reply.created(f"/enrolment-tokens/{token.id}", members)


def _list_tokens(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, datetime, str)
    rows = list_tokens(call.conn, after=position.after, limit=position.fetch)
    return Reply.of_page(
        position.page(
            rows,
            key=lambda row: (row.created_at, row.id),
            show=lambda row: _token_members(row, call.now),
        )
    )


def _get_token(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(_token_members(get_token(call.conn, call.path_params["token"]), call.now))


def _revoke_token(call: Call[NoQuery, NoBody]) -> Reply:
    token = revoke_token(call.conn, call.origin, call.path_params["token"], now=call.now)
    return Reply(_token_members(token, call.now))


def _create_user(call: Call[NoQuery, NewUser]) -> Reply:
    body = call.body
    password = make_password() if body.password is None else body.password
    user = create_user(
        call.conn,
        call.origin,
        username=body.username,
        password=password,
        max_devices=body.max_devices,
        now=call.now,
    )
    return Reply.created(f"/enrolment-users/{user.id}", _with_password(user, body.password, password))


def _with_password(user: UserView, given: str | None, password: str) -> dict[str, Any]:
    """The user with the password that was made for him, which is shown this once; never with one that was given."""
    members = {name: getattr(user, name) for name in UserView.__slots__}
    return {**members, "password": password if given is None else None}


def _list_users(call: Call[PageQuery, NoBody]) -> Reply:
    position = call.position(call.query, datetime, str)
    rows = list_users(call.conn, after=position.after, limit=position.fetch)
    return Reply.of_page(position.page(rows, key=lambda row: (row.created_at, row.id)))


def _get_user(call: Call[NoQuery, NoBody]) -> Reply:
    return Reply(get_user(call.conn, call.path_params["user"]))


def _change_user(call: Call[NoQuery, ChangedUser]) -> Reply:
    body = call.body
    return Reply(
        change_user(
            call.conn,
            call.origin,
            call.path_params["user"],
            enabled=body.enabled,
            max_devices=body.max_devices,
            now=call.now,
        )
    )


def _set_password(call: Call[NoQuery, NewPassword]) -> Reply:
    given = call.body.password
    password = make_password() if given is None else given
    user = set_password(call.conn, call.origin, call.path_params["user"], password=password, now=call.now)
    return Reply(_with_password(user, given, password))


def _delete_user(call: Call[NoQuery, NoBody]) -> Reply:
    delete_user(call.conn, call.origin, call.path_params["user"], now=call.now)
    return Reply()


OPERATIONS = (
    Operation(
        method="POST",
        path="/enrolment-tokens",
        scope=Scope.DEVICES_WRITE,
        handler=_create_token,
        query=NoQuery,
        body=NewToken,
        status=201,
        summary="Make an enrolment token; it is shown once, with the text for a QR code",
    ),
    Operation(
        method="GET",
        path="/enrolment-tokens",
        scope=Scope.DEVICES_READ,
        handler=_list_tokens,
        query=PageQuery,
        body=NoBody,
        summary="List enrolment tokens in order of creation, without their secrets",
    ),
    Operation(
        method="GET",
        path="/enrolment-tokens/{token}",
        scope=Scope.DEVICES_READ,
        handler=_get_token,
        query=NoQuery,
        body=NoBody,
        summary="Read an enrolment token, without its secret",
    ),
    Operation(
        method="POST",
        path="/enrolment-tokens/{token}/revoke",
        scope=Scope.DEVICES_WRITE,
        handler=_revoke_token,
        query=NoQuery,
        body=NoBody,
        summary="Refuse an enrolment token from now on; what it has enrolled stays",
    ),
    Operation(
        method="POST",
        path="/enrolment-users",
        scope=Scope.DEVICES_WRITE,
        handler=_create_user,
        query=NoQuery,
        body=NewUser,
        status=201,
        summary="Make an enrolment user; a password that is made for him is shown once",
    ),
    Operation(
        method="GET",
        path="/enrolment-users",
        scope=Scope.DEVICES_READ,
        handler=_list_users,
        query=PageQuery,
        body=NoBody,
        summary="List enrolment users in order of creation",
    ),
    Operation(
        method="GET",
        path="/enrolment-users/{user}",
        scope=Scope.DEVICES_READ,
        handler=_get_user,
        query=NoQuery,
        body=NoBody,
        summary="Read an enrolment user",
    ),
    Operation(
        method="PUT",
        path="/enrolment-users/{user}",
        scope=Scope.DEVICES_WRITE,
        handler=_change_user,
        query=NoQuery,
        body=ChangedUser,
        summary="Enable or disable an enrolment user, and limit his devices",
    ),
    Operation(
        method="POST",
        path="/enrolment-users/{user}/password",
        scope=Scope.DEVICES_WRITE,
        handler=_set_password,
        query=NoQuery,
        body=NewPassword,
        summary="Give an enrolment user another password, and end a lockout",
    ),
    Operation(
        method="DELETE",
        path="/enrolment-users/{user}",
        scope=Scope.DEVICES_WRITE,
        handler=_delete_user,
        query=NoQuery,
        body=NoBody,
        status=204,
        summary="Delete an enrolment user; devices he has enrolled stay",
    ),
)
