"""The devices we manage: enrolling one (its DM credentials are shown once), finding, describing, removing."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import delete, func, or_, select
from sqlmodel import col

from csp.hresult import explain
from csp.push import push_words
from csp.snapshot import UpdateList
from mdm.audit import record
from mdm.ca.issued import revoke_device
from mdm.devices.groups import groups_of
from mdm.devices.management import Management, state_of
from mdm.devices.refresh import recompute
from mdm.devices.tags import tags_of
from mdm.errors import Conflict, NotFound
from mdm.storage.statements import insert_ignore
from mdm.storage.tables import ALL_DEVICES, Device, DevicePolicy, DeviceUpdate, GroupMember
from syncml.auth import credential_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from mdm.audit import Origin
    from mdm.storage.secrets import SecretBox

__all__ = [
    "AuthScheme",
    "Credentials",
    "DeviceInfo",
    "DeviceSummary",
    "DeviceView",
    "PolicyAnswer",
    "PushView",
    "ServerAuthScheme",
    "ServerCredentials",
    "add_device",
    "create_device",
    "delete_device",
    "device_pk",
    "get_device",
    "list_devices",
]

AuthScheme = Literal["syncml:auth-md5", "syncml:auth-basic", "syncml:auth-MAC"]
ServerAuthScheme = Literal["syncml:auth-md5", "syncml:auth-MAC"]

_NONCE_BYTES: Final = 16
_SHOWN_STATES: Final = ("installable", "installed", "failed", "pending_reboot")
_APPROVAL_POLICY: Final = "RequireUpdateApproval"
_SEARCHED: Final = (
    col(Device.name),
    col(Device.device_id),
    col(Device.computer_name),
    col(Device.serial_number),
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a device needs to authenticate; the password exists nowhere else (OMA DM_Security 5.3)."""

    scheme: str
    username: str
    password: str
    nonce: str
    """Base64 of the first nonce; `syncml:auth-basic` does not use it."""
    each_message: bool
    """True: every message must prove itself. False: the first of a session does for all of it."""
    server: ServerCredentials | None
    """How the server will prove itself to the device; None: it will not."""


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """What a device needs to know its server by (w7 APPAUTH CLIENT; OMA DM_Security 5.3)."""

    scheme: str
    username: str
    password: str
    nonce: str
    """Base64 of the nonce the server will use first."""


_SERVER_NAME: Final = "csp-bridge"


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """A device in a list."""

    id: str
    device_id: str
    name: str
    state: Management
    created_at: datetime
    last_checkin_at: datetime | None
    as_of: datetime | None
    """When the update lists were last read; every figure about its updates is from then."""
    os_version: str | None
    os_edition: str | None
    computer_name: str | None
    serial_number: str | None
    tags: tuple[str, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What the device says of itself (DevInfo, MS-MDM 2.2.5)."""

    manufacturer: str | None
    model: str | None
    language: str | None
    dm_version: str | None
    login_status: str | None


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """What the device answered to a policy; `unknown` before it was asked."""

    status: str
    value: str | None
    status_code: int | None
    at: datetime | None
    error: str | None = None
    """The HRESULT behind a refusal, where the device told it (`sync_version` 3.0 or newer)."""
    error_text: str | None = None
    """What that HRESULT means, where it is a known one."""


@dataclass(frozen=True, slots=True)
class PushView:
    """What the device says of its channel for notifications; all None or False where none are set up."""

    channel: bool
    """Whether it has one. Its address is a secret: who has it and our account can send notifications."""
    status: int | None
    """0 if notifications work."""
    status_text: str
    """The same as a sentence."""
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device with all we know of it."""

    id: str
    device_id: str
    name: str
    auth: str
    created_at: datetime
    state: Management
    """`enrolled`, `retiring` or `unenrolled`."""
    unenrolled_at: datetime | None
    """When it left management; it is answered no more."""
    retire_requested_at: datetime | None
    """When IT asked it to leave."""
    retire_told_at: datetime | None
    """When it was told so last; no answer comes back for that."""
    last_checkin_at: datetime | None
    as_of: datetime | None
    installed_as_of: datetime | None
    """As `as_of`, for the installed updates, which are read at most daily."""
    last_scan_time: str | None
    """When the device last looked for updates, as it wrote it; None if never."""
    sync_version: str | None
    """The session protocol it speaks, as it wrote it; None if it has not said. From 3.0 on refusals have an `error`."""
    os_version: str | None
    """Windows build and revision, such as `10.0.26100.4652`; None if it has not said."""
    os_edition: str | None
    """Name of the Windows edition; None if it has not said."""
    computer_name: str | None
    """Its name in the network; None if it has not said, as before Windows 10 2004."""
    serial_number: str | None
    """Its manufacturer's serial number; None if it has not said, as before Windows 10 1809."""
    identity_as_of: datetime | None
    """When it was last asked for these four, at most daily unless somebody wants a sync now."""
    sync_requested_at: datetime | None
    """When somebody last wanted it to check in at once; None if nobody has."""
    sync_answered: bool | None
    """Whether its update lists have been read since; None if nobody has wanted it."""
    poll_schedule: str | None
    """By which it comes by itself, as BRIDGE_POLL_SCHEDULE writes it; None if it has none from us."""
    push: PushView
    enrolment_user: str | None
    tags: tuple[str, ...]
    groups: tuple[str, ...]
    update_counts: Mapping[str, int]
    """Updates by state, as of `as_of`."""
    require_update_approval: PolicyAnswer
    device_info: DeviceInfo


def create_device(
    conn: Connection,
    origin: Origin,
    box: SecretBox,
    *,
    device_id: str,
    name: str,
    auth: AuthScheme,
    auth_each_message: bool = True,
    server_auth: ServerAuthScheme | None = None,
    enrolment_user: str | None = None,
    now: datetime,
) -> tuple[DeviceView, Credentials]:
    """Enrol a device; raises Conflict `device_exists` if `device_id` is known.

    With `server_auth` the server proves itself to the device too, with a password of its own for each device, as
    DM_Security 5.1 demands.
    """
    pk, credentials = add_device(
        conn,
        origin,
        box,
        device_id=device_id,
        name=name,
        auth=auth,
        auth_each_message=auth_each_message,
        server_auth=server_auth,
        enrolment_user=enrolment_user,
        now=now,
    )
    recompute(conn, [pk])
    return get_device(conn, credentials.username), credentials


def add_device(
    conn: Connection,
    origin: Origin,
    box: SecretBox,
    *,
    device_id: str,
    name: str,
    auth: AuthScheme,
    auth_each_message: bool = True,
    server_auth: ServerAuthScheme | None = None,
    enrolment_user: str | None = None,
    now: datetime,
) -> tuple[int, Credentials]:
    """As `create_device`, for a caller who has more to write and works out the memberships himself after that.

    Returns the primary key; the credentials' username is the public id.
    """
    public_id = f"dev_{secrets.token_hex(10)}"
    credentials = Credentials(
        scheme=auth,
        username=public_id,  # the basic scheme splits at the first colon, which a device_id may contain
        password=secrets.token_urlsafe(24),
        nonce=_nonce(),
        each_message=auth_each_message,
        server=None
        if server_auth is None
        else ServerCredentials(server_auth, _SERVER_NAME, secrets.token_urlsafe(24), _nonce()),
    )
    verifier = credential_hash(credentials.username, credentials.password)
    server = credentials.server
    ours: dict[str, object] = {}
    if server is not None:
        ours = {
            "server_auth_scheme": server.scheme,
            "server_auth_username": server.username,
            "server_auth_verifier": box.seal(credential_hash(server.username, server.password).encode()),
            "server_auth_nonce": server.nonce,
        }
    made = conn.execute(
        insert_ignore(Device, conn).values(
            id=public_id,
            device_id=device_id,
            name=name,
            created_at=now,
            auth_scheme=auth,
            auth_username=credentials.username,
            auth_verifier=box.seal(verifier.encode()),
            auth_nonce=credentials.nonce,
            auth_each_message=auth_each_message,
            enrolment_user=enrolment_user,
            **ours,
        )
    )
    if made.rowcount == 0:
        existing = conn.scalar(select(col(Device.id)).where(col(Device.device_id) == device_id))
        raise Conflict(
            f"The device {device_id!r} is enrolled already.", code="device_exists", existing=existing
        )
    record(
        conn,
        origin,
        now=now,
        action="device.create",
        object_type="device",
        object_id=public_id,
        after={
            "device_id": device_id,
            "name": name,
            "auth": auth,
            "auth_each_message": auth_each_message,
            "server_auth": server_auth,
            "enrolment_user": enrolment_user,
        },
    )
    return device_pk(conn, public_id), credentials


def _nonce() -> str:
    return base64.b64encode(secrets.token_bytes(_NONCE_BYTES)).decode()


def list_devices(
    conn: Connection,
    *,
    group: str | None = None,
    q: str | None = None,
    condition: ColumnElement[bool] | None = None,
    after: int | None,
    limit: int,
) -> list[tuple[int, DeviceSummary]]:
    """At most `limit` devices with their primary keys, in order of enrolment, beginning after the key `after`.

    `group` must exist. `q` is looked for in name, device_id, computer name and serial number, whatever its case.
    `condition` is one on `device`.
    """
    query = select(
        col(Device.pk),
        col(Device.id),
        col(Device.device_id),
        col(Device.name),
        col(Device.created_at),
        col(Device.unenrolled_at),
        col(Device.retire_requested_at),
        col(Device.last_checkin_at),
        col(Device.state_read_at),
        col(Device.os_version),
        col(Device.os_edition),
        col(Device.computer_name),
        col(Device.serial_number),
    )
    if after is not None:
        query = query.where(col(Device.pk) > after)
    if group is not None and group != ALL_DEVICES:
        query = query.join(GroupMember, col(GroupMember.device_pk) == col(Device.pk))
        query = query.where(col(GroupMember.group_id) == group)
    if q is not None:
        query = query.where(or_(*(column.icontains(q, autoescape=True) for column in _SEARCHED)))
    if condition is not None:
        query = query.where(condition)
    rows = conn.execute(query.order_by(col(Device.pk)).limit(limit)).all()
    pks = [row.pk for row in rows]
    groups, tags = groups_of(conn, pks), tags_of(conn, pks)
    return [
        (
            row.pk,
            DeviceSummary(
                id=row.id,
                device_id=row.device_id,
                name=row.name,
                state=state_of(row.unenrolled_at, row.retire_requested_at),
                created_at=row.created_at,
                last_checkin_at=row.last_checkin_at,
                as_of=row.state_read_at,
                os_version=row.os_version,
                os_edition=row.os_edition,
                computer_name=row.computer_name,
                serial_number=row.serial_number,
                tags=tags.get(row.pk, ()),
                groups=groups[row.pk],
            ),
        )
        for row in rows
    ]


def device_pk(conn: Connection, public_id: str) -> int:
    """The primary key of the device with this public id; raises NotFound."""
    pk = conn.scalar(select(col(Device.pk)).where(col(Device.id) == public_id))
    if pk is None:
        raise NotFound(f"There is no device {public_id!r}.")
    return pk


def get_device(conn: Connection, public_id: str) -> DeviceView:
    """All about one device; raises NotFound."""
    pk = device_pk(conn, public_id)
    row = conn.execute(
        select(
            col(Device.device_id),
            col(Device.name),
            col(Device.auth_scheme),
            col(Device.created_at),
            col(Device.unenrolled_at),
            col(Device.retire_requested_at),
            col(Device.retire_told_at),
            col(Device.last_checkin_at),
            col(Device.state_read_at),
            col(Device.installed_read_at),
            col(Device.last_scan_time),
            col(Device.sync_version),
            col(Device.os_version),
            col(Device.os_edition),
            col(Device.computer_name),
            col(Device.serial_number),
            col(Device.identity_read_at),
            col(Device.sync_requested_at),
            col(Device.poll_schedule),
            col(Device.push_channel),
            col(Device.push_status),
            col(Device.push_read_at),
            col(Device.enrolment_user),
            col(Device.manufacturer),
            col(Device.model),
            col(Device.language),
            col(Device.dm_version),
            col(Device.login_status),
        ).where(col(Device.pk) == pk)
    ).one()
    return DeviceView(
        id=public_id,
        device_id=row.device_id,
        name=row.name,
        auth=row.auth_scheme,
        created_at=row.created_at,
        state=state_of(row.unenrolled_at, row.retire_requested_at),
        unenrolled_at=row.unenrolled_at,
        retire_requested_at=row.retire_requested_at,
        retire_told_at=row.retire_told_at,
        last_checkin_at=row.last_checkin_at,
        as_of=row.state_read_at,
        installed_as_of=row.installed_read_at,
        last_scan_time=None if row.last_scan_time == "0" else row.last_scan_time,
        sync_version=row.sync_version,
        os_version=row.os_version,
        os_edition=row.os_edition,
        computer_name=row.computer_name,
        serial_number=row.serial_number,
        identity_as_of=row.identity_read_at,
        sync_requested_at=row.sync_requested_at,
        sync_answered=_answered(row.sync_requested_at, row.state_read_at),
        poll_schedule=row.poll_schedule,
        push=PushView(
            channel=row.push_channel is not None,
            status=row.push_status,
            status_text=push_words(row.push_status),
            as_of=row.push_read_at,
        ),
        enrolment_user=row.enrolment_user,
        tags=tags_of(conn, [pk]).get(pk, ()),
        groups=groups_of(conn, [pk])[pk],
        update_counts=_update_counts(conn, pk),
        require_update_approval=_policy_answer(conn, pk, _APPROVAL_POLICY),
        device_info=DeviceInfo(
            manufacturer=row.manufacturer,
            model=row.model,
            language=row.language,
            dm_version=row.dm_version,
            login_status=row.login_status,
        ),
    )


def delete_device(conn: Connection, origin: Origin, public_id: str, *, now: datetime) -> int:
    """Forget a device and what it reported; returns how many approvals it still holds. Raises NotFound.

    Nothing is taken back from the device itself: an approval on it stays, and so does its enrolment; its certificates
    are revoked.
    """
    pk = device_pk(conn, public_id)
    revoke_device(conn, origin, pk, "cessationOfOperation", now)
    held = conn.scalar(
        select(func.count())
        .select_from(DeviceUpdate)
        .where(
            col(DeviceUpdate.device_pk) == pk,
            col(DeviceUpdate.lists).bitwise_and(int(UpdateList.APPROVED)) != 0,
        )
    )
    known = conn.execute(
        select(col(Device.device_id), col(Device.name), col(Device.created_at)).where(col(Device.pk) == pk)
    ).mappings()
    before = {**known.one(), "group_ids": groups_of(conn, [pk])[pk]}
    conn.execute(delete(Device).where(col(Device.pk) == pk))
    record(
        conn,
        origin,
        now=now,
        action="device.delete",
        object_type="device",
        object_id=public_id,
        detail={"approvals_held": held or 0},
        before=before,
    )
    return held or 0


def _answered(requested_at: datetime | None, read_at: datetime | None) -> bool | None:
    if requested_at is None:
        return None
    return read_at is not None and read_at > requested_at


def _update_counts(conn: Connection, pk: int) -> dict[str, int]:
    rows = conn.execute(
        select(col(DeviceUpdate.state), func.count())
        .where(col(DeviceUpdate.device_pk) == pk)
        .group_by(col(DeviceUpdate.state))
    )
    return dict.fromkeys(_SHOWN_STATES, 0) | {state: count for state, count in rows if state in _SHOWN_STATES}


def _policy_answer(conn: Connection, pk: int, name: str) -> PolicyAnswer:
    row = conn.execute(
        select(
            col(DevicePolicy.status),
            col(DevicePolicy.value),
            col(DevicePolicy.status_code),
            col(DevicePolicy.at),
            col(DevicePolicy.error),
        ).where(col(DevicePolicy.device_pk) == pk, col(DevicePolicy.name) == name)
    ).one_or_none()
    if row is None:
        return PolicyAnswer("unknown", None, None, None)
    return PolicyAnswer(row.status, row.value, row.status_code, row.at, row.error, explain(row.error))
