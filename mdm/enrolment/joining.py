"""A device joins: its row, its credentials and its certificate, in one transaction with the use of the token.

A device that is known by its hardware (HWDevID) or its DeviceID keeps its row and with it its history; it gets new
credentials and loses its old certificate. What a device says of itself proves nothing, so only who enrolled it
may enrol it again, or a token that IT made for that, unless it has left management before.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from mdm.audit import record
from mdm.ca.issued import revoke_device
from mdm.devices.refresh import recompute
from mdm.devices.registry import Credentials, ServerCredentials, add_device
from mdm.devices.timeline import Event, record_events
from mdm.enrolment.faults import EnrolmentFault, ErrorType, Subcode
from mdm.enrolment.tickets import repeats_ticket, use_ticket
from mdm.enrolment.tokens import use_token
from mdm.enrolment.users import touch_user, username_key
from mdm.errors import Conflict
from mdm.storage.statements import table_of
from mdm.storage.tables import (
    ApprovalEvidence,
    ApprovalTrial,
    AuthFailure,
    Device,
    DevicePolicy,
    DmPart,
    DmReply,
    DmSession,
    Enrolment,
)
from syncml.auth import credential_hash

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.audit import Origin
    from mdm.enrolment.authentication import Enroller
    from mdm.enrolment.issuer import CertificateIssuer, Issued
    from mdm.enrolment.wstep import Claims, TokenRequest
    from mdm.storage.secrets import SecretBox

__all__ = ["MAX_DAILY", "Joined", "join"]

_SCHEME: Final = "syncml:auth-md5"
_NONCE_BYTES: Final = 16
MAX_DAILY: Final = 20
"""Enrolments of one device within a day, repetitions of a lost answer among them."""
_REPETITION: Final = timedelta(hours=1)
"""The same request of the same device again, within so long, is the same use of a token: its answer was lost."""

_device: Final = table_of(Device)
_enrolment: Final = table_of(Enrolment)
_NEWCOMER: Final = dict.fromkeys(
    (
        "unenrolled_at",
        "retire_requested_at",
        "retire_told_at",
        "renewed_serial",
        "push_channel",
        "push_status",
        "push_read_at",
        "poll_schedule",
        "state_read_at",
        "installed_read_at",
        "identity_read_at",
        "last_scan_time",
        "policies_due_at",
        "plan_key",
        "plan_until",
        "sync_version",
        "sync_version_at",
    )
)
"""What an earlier enrolment came to holds no more: its Windows may be another one, and is asked for everything anew."""
_REMEMBERED: Final = tuple(
    table_of(model)
    for model in (
        *(DmPart, DmReply, DmSession, AuthFailure),  # what belongs to the credentials it had
        *(DevicePolicy, ApprovalEvidence, ApprovalTrial),  # what was set, and seen to work, in that enrolment
    )
)
"""What goes with an enrolment. The device's updates, its timeline, tags and groups stay."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A device that has joined."""

    id: str
    name: str
    credentials: Credentials
    certificate: Issued
    again: bool
    """Whether it was known before."""


def join(
    conn: Connection,
    origin: Origin,
    box: SecretBox,
    issuer: CertificateIssuer,
    *,
    enroller: Enroller,
    request: TokenRequest,
    public_key: bytes,
    now: datetime,
    poll_schedule: str | None = None,
) -> Joined:
    """Enrol the device that sent `request`; raises EnrolmentFault, and then nothing of it has happened.

    `poll_schedule` is the one that it will be given with the certificate.
    """
    claims = request.claims
    if claims.device_id is None:
        raise EnrolmentFault(
            Subcode.ENROLLMENT_SERVER,
            "The device does not say its DeviceID, by which it would be known later.",
            error=ErrorType.INVALID_ENROLLMENT_DATA,
        )
    digest = _request_digest(request.request, claims.device_id)
    _use(conn, enroller, digest, now)
    known = _known(conn, claims.device_id, claims.hardware_id)
    if known is not None:
        _may_replace(conn, known, enroller)
        _not_too_often(conn, known.pk, now)
    _within_limit(conn, enroller, None if known is None else known.pk)
    name = claims.device_name or claims.device_id
    if known is None:
        pk, credentials = _added(conn, origin, box, device_id=claims.device_id, name=name, now=now)
        public_id = credentials.username
    else:
        pk, public_id = known.pk, known.id
        credentials = _renewed(conn, box, pk, public_id, device_id=claims.device_id, name=name)
        _revoke_former(conn, origin, pk, digest, now)
    conn.execute(
        update(_device)
        .where(_device.c.pk == pk)
        .values(
            enrolment_user=enroller.username or None,
            certificate_required=True,
            **_NEWCOMER | {"poll_schedule": poll_schedule},
        )
    )
    recompute(conn, [pk])
    certificate = issuer.issue(conn, public_key=public_key, subject_name=public_id, device_pk=pk, now=now)
    record_events(conn, pk, [Event("enrolled", {"by": enroller.username, "again": known is not None})], now)
    _note(conn, pk, enroller, claims, certificate=certificate, digest=digest, now=now)
    record(
        conn,
        origin,
        now=now,
        action="device.enrol",
        object_type="device",
        object_id=public_id,
        detail={
            "user": enroller.username,
            "by": enroller.kind,
            "by_id": enroller.id,
            "again": known is not None,
            "device_id": claims.device_id,
            "certificate": certificate.thumbprint_sha1,
        },
    )
    return Joined(public_id, name, credentials, certificate, known is not None)


def _request_digest(request: bytes, device_id: str) -> str:
    """What a repetition must equal: the certificate request (DER, so its end is known) and the device that sends it.

    The request alone does not do: whoever sends it again under another DeviceID wants another device enrolled.
    """
    return hashlib.sha256(request + device_id.encode()).hexdigest()


def _use(conn: Connection, enroller: Enroller, digest: str, now: datetime) -> None:
    """Take the ticket and a use of the token, unless this very request had them; hold the user's row."""
    repeated = enroller.ticket is not None and _repeats(conn, enroller, enroller.ticket, digest, now)
    if enroller.kind == "user":
        if not touch_user(conn, enroller.id, now=now):
            raise EnrolmentFault(Subcode.AUTHORIZATION, "The user may not enrol devices any more.")
    elif enroller.kind == "token" and not repeated:
        _use_token(conn, enroller, digest, now)


def _repeats(conn: Connection, enroller: Enroller, ticket_id: str, digest: str, now: datetime) -> bool:
    """Use the ticket up and return False, or return True if this very request has done so before."""
    if use_ticket(conn, ticket_id, digest, now=now):
        return False
    if repeats_ticket(conn, ticket_id, digest, now=now) and _enrolled_lately(conn, enroller, digest, now):
        return True
    raise EnrolmentFault(
        Subcode.AUTHORIZATION,
        "The sign-in has enrolled a device already, or was too long ago. Begin the enrolment again and sign in.",
    )


def _use_token(conn: Connection, enroller: Enroller, digest: str, now: datetime) -> None:
    if not _enrolled_lately(conn, enroller, digest, now) and not use_token(conn, enroller.id, now=now):
        raise EnrolmentFault(
            Subcode.AUTHORIZATION,
            "The enrolment token has enrolled as many devices as it may. An administrator can make a new one.",
        )


def _enrolled_lately(conn: Connection, enroller: Enroller, digest: str, now: datetime) -> bool:
    """Whether this very request of his has enrolled a device lately, which nobody has sent away since."""
    query = (
        select(func.count())
        .select_from(_enrolment.join(_device, _device.c.pk == _enrolment.c.device_pk))
        .where(
            _enrolment.c.request_sha256 == digest,
            _enrolment.c.by_id == enroller.id,
            _enrolment.c.at > now - _REPETITION,
            _device.c.unenrolled_at.is_(None),
            _device.c.retire_requested_at.is_(None),
        )
    )
    return bool(conn.scalar(query))


def _known(conn: Connection, device_id: str, hardware_id: str | None) -> Row[*tuple[Any, ...]] | None:
    """The device, locked, by its DeviceID or else by the hardware of its last enrolment."""
    query = select(_device.c.pk, _device.c.id, _device.c.unenrolled_at).with_for_update(of=_device)
    found = conn.execute(query.where(_device.c.device_id == device_id)).one_or_none()
    if found is not None or hardware_id is None:
        return found
    last = (
        select(_enrolment.c.device_pk)
        .where(_enrolment.c.hardware_id == hardware_id)
        .order_by(_enrolment.c.pk.desc())
        .limit(1)
        .scalar_subquery()
    )
    return conn.execute(query.where(_device.c.pk == last)).one_or_none()


def _may_replace(conn: Connection, known: Row[*tuple[Any, ...]], enroller: Enroller) -> None:
    if known.unenrolled_at is not None or enroller.replaces:
        return
    last = _last_enrolment(conn, known.pk)
    if last is not None and _same_person(last, enroller):
        return
    raise EnrolmentFault(
        Subcode.AUTHORIZATION,
        f"This device is enrolled already, as {known.id}, and not by this user. An administrator can delete it "
        "first, or make an enrolment token that may replace devices (--replaces).",
    )


def _not_too_often(conn: Connection, pk: int, now: datetime) -> None:
    """Whoever may enrol a device could have certificates issued for it without end."""
    lately = (
        select(func.count())
        .select_from(_enrolment)
        .where(_enrolment.c.device_pk == pk, _enrolment.c.at > now - timedelta(days=1))
    )
    if (conn.scalar(lately) or 0) >= MAX_DAILY:
        raise EnrolmentFault(
            Subcode.AUTHORIZATION,
            f"The device has enrolled {MAX_DAILY} times within a day. Something makes it begin anew each time; it may "
            "enrol again a day after the first of them.",
        )


def _same_person(last: Row[*tuple[Any, ...]], enroller: Enroller) -> bool:
    if last.by_id == enroller.id:
        return True
    return enroller.vouched and username_key(last.username) == username_key(enroller.username)


def _last_enrolment(conn: Connection, pk: int) -> Row[*tuple[Any, ...]] | None:
    query = select(_enrolment.c.by_id, _enrolment.c.username, _enrolment.c.request_sha256)
    return conn.execute(
        query.where(_enrolment.c.device_pk == pk).order_by(_enrolment.c.pk.desc()).limit(1)
    ).one_or_none()


def _within_limit(conn: Connection, enroller: Enroller, known_pk: int | None) -> None:
    """Hold the user's devices against his limit: those whose last enrolment was his, and who have not left."""
    if enroller.max_devices is None:
        return
    last = select(func.max(_enrolment.c.pk)).group_by(_enrolment.c.device_pk)
    mine = (
        select(func.count())
        .select_from(_enrolment.join(_device, _device.c.pk == _enrolment.c.device_pk))
        .where(
            _enrolment.c.by_id == enroller.id,
            _enrolment.c.pk.in_(last),
            _device.c.unenrolled_at.is_(None),
        )
    )
    if known_pk is not None:
        mine = mine.where(_device.c.pk != known_pk)
    if (conn.scalar(mine) or 0) >= enroller.max_devices:
        raise EnrolmentFault(
            Subcode.AUTHORIZATION,
            f"The user has {enroller.max_devices} devices enrolled and may have no more. Remove one from "
            "management, or let an administrator raise the limit.",
            error=ErrorType.DEVICE_CAP_REACHED,
        )


def _added(
    conn: Connection, origin: Origin, box: SecretBox, *, device_id: str, name: str, now: datetime
) -> tuple[int, Credentials]:
    try:
        return add_device(
            conn, origin, box, device_id=device_id, name=name, auth=_SCHEME, server_auth=_SCHEME, now=now
        )
    except Conflict:
        raise _under_way() from None


def _under_way() -> EnrolmentFault:
    return EnrolmentFault(
        Subcode.ENROLLMENT_SERVER, "The device is being enrolled at this moment. Try again."
    )


def _renewed(
    conn: Connection, box: SecretBox, pk: int, public_id: str, *, device_id: str, name: str
) -> Credentials:
    """New credentials for a device that was known; what was remembered of its old sessions is forgotten."""
    server = ServerCredentials(_SCHEME, "csp-bridge", secrets.token_urlsafe(24), _nonce())
    credentials = Credentials(
        scheme=_SCHEME,
        username=public_id,
        password=secrets.token_urlsafe(24),
        nonce=_nonce(),
        each_message=True,
        server=server,
    )
    for table in _REMEMBERED:
        conn.execute(delete(table).where(table.c.device_pk == pk))
    changed = (
        update(_device)
        .where(_device.c.pk == pk)
        .values(
            device_id=device_id,
            name=name,
            auth_scheme=_SCHEME,
            auth_username=public_id,
            auth_verifier=box.seal(credential_hash(public_id, credentials.password).encode()),
            auth_nonce=credentials.nonce,
            auth_nonce_before=None,
            auth_each_message=True,
            server_auth_scheme=_SCHEME,
            server_auth_username=server.username,
            server_auth_verifier=box.seal(credential_hash(server.username, server.password).encode()),
            server_auth_nonce=server.nonce,
        )
    )
    try:
        conn.execute(changed)
    except IntegrityError:  # known by its hardware, while somebody else has just enrolled its new DeviceID
        raise _under_way() from None
    return credentials


def _nonce() -> str:
    return base64.b64encode(secrets.token_bytes(_NONCE_BYTES)).decode()


def _revoke_former(conn: Connection, origin: Origin, pk: int, digest: str, now: datetime) -> None:
    """Take back the certificates of former enrolments, unless this one repeats the last: the device may have heard both."""
    last = _last_enrolment(conn, pk)
    if last is not None and last.request_sha256 != digest:
        revoke_device(conn, origin, pk, "superseded", now)


def _note(
    conn: Connection,
    pk: int,
    enroller: Enroller,
    claims: Claims,
    *,
    certificate: Issued,
    digest: str,
    now: datetime,
) -> None:
    conn.execute(
        insert(_enrolment).values(
            device_pk=pk,
            at=now,
            kind=enroller.kind,
            by_id=enroller.id,
            username=enroller.username,
            device_id=claims.device_id,
            hardware_id=claims.hardware_id,
            full=claims.full,
            os_edition=claims.os_edition,
            os_version=claims.os_version,
            serial=certificate.serial,
            thumbprint=certificate.thumbprint_sha1,
            request_sha256=digest,
        )
    )
