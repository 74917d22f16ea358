"""Who speaks, and may they: a repeated message, a claim without proof, or a device.

A device that was enrolled with a certificate is proved by that and by nothing else: the connection's certificate has
to be good and its own, in each message, because a connection may outlive the certificate. All others prove themselves
by the credentials in their messages.

A message that does not prove itself changes nothing about the device it names: neither its nonces nor its
open session. Only the count of wrong credentials is kept, apart from the device and for each address, so that
nobody can lock out a device from elsewhere.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import and_, bindparam, delete, func, or_, select

from mdm.ca.checking import Refusal, check
from mdm.checkin.delivery import Delivery, Reply
from mdm.checkin.memory import Memory
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import AuthFailure, Device, DmReply, DmSession
from syncml.alerts import AlertCode
from syncml.auth import BASIC, MD5, Credentials, Proof, Verdict, challenge, verify
from syncml.messages import Alert
from syncml.reader import read_message
from syncml.session import ServerState, continues
from syncml.status import StatusCode

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row, Select

    from mdm.ca.checking import CertificateVerdict
    from mdm.storage.secrets import SecretBox
    from syncml.messages import Chal, Message, SyncHdr

__all__ = [
    "MAX_FAILURES",
    "SESSION_IDLE",
    "Admitted",
    "Claim",
    "Refused",
    "Repeated",
    "StoredSession",
    "address_key",
    "admit",
    "count_failure",
    "forget_failures",
    "open_sessions",
]

MAX_FAILURES: Final = 3
"""Wrong credentials from one address before the challenge is withheld, and each further one costs time."""

FIRST_BLOCK: Final = timedelta(seconds=30)
"""How long no credentials are looked at after `MAX_FAILURES`; doubled with each further failure."""

LONGEST_BLOCK: Final = timedelta(minutes=15)

FAILURES_KEPT: Final = timedelta(hours=1)
"""Failures this long ago count no more, nor those so far ahead that the clock must have been wrong."""

SESSION_IDLE: Final = timedelta(minutes=30)
"""An open session not heard of for this long is over."""

REPEAT_WINDOW: Final = timedelta(minutes=5)
"""How long an identical package 1 counts as a repetition.

Windows' retries end within it. Beyond it the same bytes are a new session: SessionID starts at 0 again after
each boot, so a device on which nothing changed sends the same package 1 every day.
"""

OVERTAKEN_WINDOW: Final = timedelta(seconds=10)
"""The same once a later message of the session has come.

The device has heard our answer then, and does not ask for it again: only a copy on the way may still arrive. What
comes later is a device that has restarted, and old replies would tell it what it has long been told.
"""

_OPENING_ALERTS: Final = frozenset(
    str(int(code)) for code in (AlertCode.SERVER_INITIATED, AlertCode.CLIENT_INITIATED)
)

_log: Final = structlog.get_logger("mdm.checkin")

_device = table_of(Device)
_session = table_of(DmSession)
_reply = table_of(DmReply)
_failure = table_of(AuthFailure)

_DEVICE: Final = select(_device).where(_device.c.device_id == bindparam("b_device_id"))
_DEVICE_LOCKED: Final = _DEVICE.with_for_update()

# What else decides about a message, in one row: each of the three is there once or not at all. Apart from the device,
# because only what is read once its row is locked is sure to be the last word of whoever held it before.
_REMEMBERED: Final[Select[Any]] = (
    select(
        _session.c.state,
        _session.c.opened_at,
        _session.c.last_message_at,
        _reply.c.request_sha256,
        _reply.c.reply,
        _reply.c.mac,
        _reply.c.sent_at,
        _failure.c.failures,
        _failure.c.blocked_until,
        _failure.c.last_at.label("failed_at"),
    )
    .select_from(
        _device.outerjoin(_session, _session.c.device_pk == _device.c.pk)
        .outerjoin(
            _reply,
            and_(
                _reply.c.device_pk == _device.c.pk,
                _reply.c.session_id == bindparam("b_session_id"),
                _reply.c.msg_id == bindparam("b_msg_id"),
            ),
        )
        .outerjoin(
            _failure,
            and_(
                _failure.c.device_pk == _device.c.pk,
                _failure.c.remote_addr == bindparam("b_address"),
            ),
        )
    )
    .where(_device.c.pk == bindparam("b_pk"))
)

_IN_SESSION: Final = (
    select(_session.c.device_pk)
    .where(
        _session.c.remote_addr == bindparam("b_address"),
        _session.c.device_pk != bindparam("b_pk"),
        _session.c.open,
        _session.c.last_message_at > bindparam("b_since"),
    )
    .limit(bindparam("b_limit"))
)
_COUNT_IN_SESSION: Final = select(func.count()).select_from(_IN_SESSION.subquery())

_FORGET: Final = delete(_failure).where(
    _failure.c.device_pk == bindparam("b_pk"), _failure.c.remote_addr == bindparam("b_address")
)


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A device's session row."""

    state: ServerState
    memory: Memory
    """What the check-in remembers besides the protocol's state."""
    opened_at: datetime
    last_message_at: datetime


@dataclass(frozen=True, slots=True)
class Repeated:
    """The message was answered before; `reply` is that answer, byte for byte."""

    device_id: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Refused:
    """The message proves nothing: 407 without credentials, 401 with wrong ones."""

    code: StatusCode
    chal: Chal | None
    why: str
    """For the log."""
    device_pk: int | None = None
    """The device whose credentials were wrong: the failure is to be counted."""
    certificate: str | None = None
    """Serial number of the certificate that was shown, if any could be read."""
    expected: bool = False
    """True for what happens between honest peers: a first challenge, a nonce that a lost reply made stale."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The message comes from `device`."""

    device: Row[Any]
    session: StoredSession | None
    """The open session it goes on with, or None: it begins one."""
    abandoned: StoredSession | None
    """The open session that this message ends by beginning another."""
    proved: bool
    """True if credentials were checked: their nonce is used up."""
    certificate: str | None = None
    """Serial number of the certificate that has proved it, if that has."""
    failed_before: bool = False
    """True if wrong credentials from this address are remembered: they count no more."""


_UNENROLLED: Final = Refused(StatusCode.INVALID_CREDENTIALS, None, "unenrolled device")


class Claim:
    """A message and what its credentials are checked with; its body is read only when somebody needs it."""

    def __init__(self, header: SyncHdr, delivery: Delivery, secrets: SecretBox) -> None:
        """`header` is that of the message in `delivery`, as `syncml.reader.read_header` reads it."""
        self.header = header
        self.delivery = delivery
        self.secrets = secrets
        self.proof = Proof(header.cred, header.source.loc_name, delivery.body, delivery.mac)
        """What in the message and around it can prove the sender."""
        self._verdict: CertificateVerdict | None = None

    def verdict(self, connection: Connection, now: datetime) -> CertificateVerdict | None:
        """What the connection's certificate proves; None if it has none. Looked at once for each message."""
        if self._verdict is None and self.delivery.certificate is not None:
            self._verdict = check(connection, self.delivery.certificate, now)
        return self._verdict

    @cached_property
    def message(self) -> Message:
        """All of it; raises as `read_message`."""
        return read_message(self.delivery.body)


def admit(
    connection: Connection, claim: Claim, *, now: datetime, lock: bool
) -> Repeated | Refused | Admitted:
    """Decide about a message whose header has passed `syncml.session.check_header`; raises as `Claim.message`.

    With `lock` the device's row is locked until the transaction ends, so that messages of one device are
    processed one at a time over any number of processes.
    """
    header = claim.header
    statement = _DEVICE_LOCKED if lock else _DEVICE
    device = connection.execute(statement, {"b_device_id": header.source.loc_uri}).one_or_none()
    if device is None:
        return _unknown(claim)
    if device.certificate_required:
        # Before anything is told, even again: the message itself proves nothing.
        refused = _uncertified(device, claim.verdict(connection, now))
        if refused is not None:
            return refused
    stored = connection.execute(
        _REMEMBERED,
        {
            "b_pk": device.pk,
            "b_session_id": header.session_id,
            "b_msg_id": header.msg_id,
            "b_address": address_key(claim.delivery.remote_addr),
        },
    ).one()
    session = _session_in(stored, device.pk)
    repeated, settled = _repetition(claim, device, stored, session, now)
    if repeated is not None and settled:
        return repeated
    alive = session is not None and now - session.last_message_at <= SESSION_IDLE
    goes_on = alive and session is not None and continues(session.state, header)
    if device.certificate_required:
        return _certified(claim, device, session, connection, now=now, goes_on=goes_on)
    return _credited(claim, device, stored, session, repeated, now=now, goes_on=goes_on)


def _credited(
    claim: Claim,
    device: Row[Any],
    stored: Row[Any],
    session: StoredSession | None,
    repeated: Repeated | None,
    *,
    now: datetime,
    goes_on: bool,
) -> Refused | Repeated | Admitted:
    """Decide about the message of a device that proves itself by credentials."""
    goes_on = goes_on and not _begins(claim)
    if goes_on and not device.auth_each_message:
        return Admitted(device, session, None, proved=False)
    doubt = _authenticate(claim, device, stored, repeated, now=now)
    if doubt is not None:
        return doubt
    failed_before = stored.failed_at is not None
    if goes_on:
        return Admitted(device, session, None, proved=True, failed_before=failed_before)
    return Admitted(device, None, _unanswered(session), proved=True, failed_before=failed_before)


def _repetition(
    claim: Claim, device: Row[Any], stored: Row[Any], session: StoredSession | None, now: datetime
) -> tuple[Repeated | None, bool]:
    """The answer that a message with these numbers got lately, and whether it is to be given again as it was.

    Otherwise it may be the same message in other words: a device that writes it anew, because our reply was lost.
    """
    if stored.reply is None:
        return None, False
    answered = Repeated(device.device_id, Reply(bytes(stored.reply), stored.mac))
    same = hmac.compare_digest(bytes(stored.request_sha256), claim.delivery.digest)
    overtaken = session is not None and int(claim.header.msg_id) < session.state.device_msg_id
    # Either way: what lies in the future was sent before a wrong clock was put right, and is as old as that.
    fresh = abs(now - stored.sent_at) <= (OVERTAKEN_WINDOW if overtaken else REPEAT_WINDOW)
    # Where credentials are shown once, a later message that shows them begins a session anew.
    inside = not device.auth_each_message and int(claim.header.msg_id) > 1 and not claim.proof.given
    return (answered if fresh or inside else None), (same and fresh) or inside


def _unanswered(session: StoredSession | None) -> StoredSession | None:
    """The session, if commands of ours would stay without an answer when another begins."""
    return session if session is not None and session.state.unanswered else None


def _uncertified(device: Row[Any], verdict: CertificateVerdict | None) -> Refused | None:
    """None if the certificate is good and this device's own.

    A status without a challenge ends the session and nothing else: the device comes again by its schedule.
    """
    if verdict is None:
        why = (
            "no client certificate, and the device was enrolled with one (does a proxy pass Client-Cert on?)"
        )
        return Refused(StatusCode.MISSING_CREDENTIALS, None, why)
    if verdict.ok and verdict.device_pk == device.pk:
        return None
    if verdict.ok:
        owner = "no device" if verdict.device_pk is None else "another device"
        why = f"the client certificate belongs to {owner}"
    elif _left(device, verdict):
        return None
    else:
        why = f"the client certificate is refused: {verdict.why}"
    return Refused(StatusCode.INVALID_CREDENTIALS, None, why, certificate=verdict.serial)


def _left(device: Row[Any], verdict: CertificateVerdict) -> bool:
    """Whether it may ask for the answer to its leaving again, although its certificate was taken back with that."""
    return (
        device.unenrolled_at is not None and verdict.device_pk == device.pk and verdict.why is Refusal.REVOKED
    )


def _certified(
    claim: Claim,
    device: Row[Any],
    session: StoredSession | None,
    connection: Connection,
    *,
    now: datetime,
    goes_on: bool,
) -> Refused | Admitted:
    """What has passed `_uncertified`: the device, unless it has left."""
    if device.unenrolled_at is not None:
        return _UNENROLLED
    verdict = claim.verdict(connection, now)
    serial = None if verdict is None else verdict.serial
    if goes_on:
        return Admitted(device, session, None, proved=False, certificate=serial)
    return Admitted(device, None, _unanswered(session), proved=False, certificate=serial)


def _begins(claim: Claim) -> bool:
    """True for package 1 after a challenge: with credentials, and with the alert that opens a session.

    Its MsgID is not 1, so after a restart it could pass for the next message of an older session "0".
    """
    return claim.proof.given and any(
        isinstance(command, Alert) and command.data in _OPENING_ALERTS for command in claim.message.commands
    )


def _authenticate(
    claim: Claim, device: Row[Any], stored: Row[Any], repeated: Repeated | None, *, now: datetime
) -> Refused | Repeated | None:
    """None if the message proves that the device sent it."""
    if device.unenrolled_at is not None:
        return _UNENROLLED
    if device.auth_scheme == BASIC and not claim.delivery.private:
        return Refused(StatusCode.INVALID_CREDENTIALS, None, "auth-basic without TLS")
    verifier = claim.secrets.open(bytes(device.auth_verifier)).decode("ascii")
    known = Credentials(device.auth_scheme, device.auth_username, verifier, b64decode(device.auth_nonce))
    if not claim.proof.given:
        chal = challenge(known.scheme, known.nonce)
        return Refused(StatusCode.MISSING_CREDENTIALS, chal, "no credentials", expected=True)
    counts = stored.failed_at is not None and abs(now - stored.failed_at) < FAILURES_KEPT
    if counts and stored.blocked_until is not None and stored.blocked_until > now:
        return Refused(StatusCode.INVALID_CREDENTIALS, None, "too many wrong credentials from this address")
    if verify(claim.proof, known) is Verdict.ACCEPTED:
        return None
    return _wrong(claim, device, known, repeated, stored.failures if counts else 0)


def _wrong(
    claim: Claim, device: Row[Any], known: Credentials, repeated: Repeated | None, failures: int
) -> Refused | Repeated:
    """Credentials that do not verify: of a device that a reply did not reach, or of somebody who guesses."""
    chal = challenge(known.scheme, known.nonce)
    if _made_with_nonce_before(claim, device, known):
        if repeated is not None:
            return repeated
        why = "credentials made with the nonce before: a reply was lost"
        return Refused(StatusCode.INVALID_CREDENTIALS, chal, why, expected=True)
    last = failures + 1 >= MAX_FAILURES
    return Refused(StatusCode.INVALID_CREDENTIALS, None if last else chal, "wrong credentials", device.pk)


def _made_with_nonce_before(claim: Claim, device: Row[Any], known: Credentials) -> bool:
    if device.auth_nonce_before is None or known.scheme == BASIC:
        return False
    nonce = b64decode(device.auth_nonce_before)
    before = Credentials(known.scheme, known.username, known.hash, nonce)
    return verify(claim.proof, before) is Verdict.ACCEPTED


def _unknown(claim: Claim) -> Refused:
    """Answer a device we do not know as one whose credentials are wrong: existence is not for strangers."""
    device_id = claim.header.source.loc_uri
    chal = challenge(MD5, claim.secrets.fingerprint(device_id.encode())[:16])
    given = claim.proof.given
    return Refused(
        StatusCode.INVALID_CREDENTIALS if given else StatusCode.MISSING_CREDENTIALS, chal, "unknown device"
    )


def _session_in(row: Row[Any], device_pk: int) -> StoredSession | None:
    if row.opened_at is None:
        return None
    try:
        state = ServerState.from_json(row.state["session"])
        memory = Memory.load(row.state["checkin"])
    except (KeyError, TypeError, ValueError):
        # Another version of the bridge wrote it: the device begins anew, which loses nothing.
        _log.warning("dm_session_unreadable", device_pk=device_pk)
        return None
    return StoredSession(
        state=state,
        memory=memory,
        opened_at=row.opened_at,
        last_message_at=row.last_message_at,
    )


def open_sessions(connection: Connection, device_pk: int, remote_addr: str, now: datetime, limit: int) -> int:
    """How many devices but this one are in a session opened from this address, counted up to `limit`."""
    values = {
        "b_pk": device_pk,
        "b_address": address_key(remote_addr),
        "b_since": now - SESSION_IDLE,
        "b_limit": limit,
    }
    return connection.scalar(_COUNT_IN_SESSION, values) or 0


def address_key(remote_addr: str) -> str:
    """What counts as one address: an IPv6 network of a site (/64), for a host has as many as it likes."""
    try:
        address = ip_address(remote_addr)
    except ValueError:
        return remote_addr[:64]
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped is not None else str(ip_network((address, 64), strict=False))
    return str(address)


def forget_failures(connection: Connection, device_pk: int, remote_addr: str) -> None:
    """Count from nothing again: the device has proved itself from this address."""
    connection.execute(_FORGET, {"b_pk": device_pk, "b_address": address_key(remote_addr)})


def count_failure(connection: Connection, device_pk: int, remote_addr: str, now: datetime) -> None:
    """Remember one more wrong proof for a device from an address, and how long none will be looked at."""
    # Guesses sent at the same time are counted one after the other, and none for a device that is gone by now.
    if connection.scalar(select(_device.c.pk).where(_device.c.pk == device_pk).with_for_update()) is None:
        return
    connection.execute(
        delete(_failure).where(
            _failure.c.device_pk == device_pk,
            or_(_failure.c.last_at <= now - FAILURES_KEPT, _failure.c.last_at >= now + FAILURES_KEPT),
        )
    )
    key = {"device_pk": device_pk, "remote_addr": address_key(remote_addr)}
    before = connection.scalar(
        select(_failure.c.failures).where(
            _failure.c.device_pk == device_pk, _failure.c.remote_addr == key["remote_addr"]
        )
    )
    failures = (before or 0) + 1
    doublings = failures - MAX_FAILURES
    blocked_until = None
    if doublings >= 0:
        blocked_until = now + min(FIRST_BLOCK * 2 ** min(doublings, 16), LONGEST_BLOCK)
    connection.execute(
        upsert(_failure, connection, update=("failures", "last_at", "blocked_until")),
        {**key, "failures": failures, "last_at": now, "blocked_until": blocked_until},
    )
