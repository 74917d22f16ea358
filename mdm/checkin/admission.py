"""Who speaks, and may they: a repeated message, a claim without proof, or a device.

A message that does not prove itself changes nothing about the device it names: neither its nonce nor its
open session. Only the count of wrong credentials is kept, apart from the device, and bounds the retries.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import delete, select, update

from mdm.storage.statements import insert_ignore, table_of
from mdm.storage.tables import AuthFailure, Device, DmReply, DmSession
from syncml.alerts import AlertCode
from syncml.auth import BASIC, MD5, Credentials, Verdict, challenge, verify
from syncml.messages import Alert
from syncml.session import ServerState, continues
from syncml.status import StatusCode

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from mdm.storage.secrets import SecretBox
    from syncml.messages import Chal, Message

__all__ = [
    "MAX_FAILURES",
    "Admitted",
    "Proof",
    "Refused",
    "Repeated",
    "StoredSession",
    "admit",
    "count_failure",
    "forget_failures",
]

MAX_FAILURES: Final = 3
"""Wrong credentials in one session before the challenge is withheld and the device gives up."""

SESSION_IDLE: Final = timedelta(minutes=30)
"""An open session not heard of for this long needs credentials again."""

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


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A device's session row."""

    state: ServerState
    checkin: dict[str, Any]
    """What the check-in remembers besides the protocol's state."""
    opened_at: datetime
    last_message_at: datetime


@dataclass(frozen=True, slots=True)
class Repeated:
    """The message was answered before; `reply` is that answer, byte for byte."""

    device_id: str
    reply: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The message proves nothing: 407 without credentials, 401 with wrong ones."""

    code: StatusCode
    chal: Chal | None
    why: str
    """For the log."""
    known: bool
    """True if the device exists; only then are failures counted."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The message comes from `device`."""

    device: Row[Any]
    session: StoredSession | None
    """The open session it goes on with, or None: it begins one."""
    abandoned: StoredSession | None
    """The open session that this message ends by beginning another."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What credentials are checked with."""

    secrets: SecretBox
    private: bool
    """Nobody could read the message on its way; else a password in it is no proof any more."""


def admit(
    connection: Connection,
    message: Message,
    body: bytes,
    proof: Proof,
    *,
    now: datetime,
    lock: bool,
) -> Repeated | Refused | Admitted:
    """Decide about a message whose header has passed `syncml.session.check_header`.

    With `lock` the device's row is locked until the transaction ends, so that messages of one device are
    processed one at a time over any number of processes.
    """
    header = message.header
    statement = select(_device).where(_device.c.device_id == header.source.loc_uri)
    device = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    if device is None:
        return _unknown(message, proof.secrets)
    session = _load_session(connection, device.pk)
    stored = connection.execute(
        select(_reply.c.request_sha256, _reply.c.reply, _reply.c.sent_at).where(
            _reply.c.device_pk == device.pk,
            _reply.c.session_id == header.session_id,
            _reply.c.msg_id == header.msg_id,
        )
    ).one_or_none()
    if stored is not None:
        same = hmac.compare_digest(bytes(stored.request_sha256), hashlib.sha256(body).digest())
        overtaken = session is not None and int(header.msg_id) < session.state.device_msg_id
        fresh = now - stored.sent_at <= (OVERTAKEN_WINDOW if overtaken else REPEAT_WINDOW)
        # Later messages of a session carry no credentials; one that does begins a session anew.
        inside = int(header.msg_id) > 1 and header.cred is None
        if (same and fresh) or inside:
            return Repeated(device.device_id, bytes(stored.reply))
    if session is not None and now - session.last_message_at <= SESSION_IDLE:  # noqa: SIM102 - two questions
        if continues(session.state, header) and not _begins(message):
            return Admitted(device, session, None)
    return _authenticate(connection, message, device, session, proof, now=now)


def _begins(message: Message) -> bool:
    """True for package 1 after a challenge: with credentials, and with the alert that opens a session.

    Its MsgID is not 1, so after a restart it could pass for the next message of an older session "0".
    """
    return message.header.cred is not None and any(
        isinstance(command, Alert) and command.data in _OPENING_ALERTS for command in message.commands
    )


def _authenticate(
    connection: Connection,
    message: Message,
    device: Row[Any],
    session: StoredSession | None,
    proof: Proof,
    *,
    now: datetime,
) -> Refused | Admitted:
    header = message.header
    if device.unenrolled_at is not None:
        return Refused(StatusCode.INVALID_CREDENTIALS, None, "unenrolled device", known=False)
    if device.auth_scheme == BASIC and not proof.private:
        return Refused(StatusCode.INVALID_CREDENTIALS, None, "auth-basic without TLS", known=False)
    known = Credentials(
        scheme=device.auth_scheme,
        username=device.auth_username,
        hash=proof.secrets.open(bytes(device.auth_verifier)).decode("ascii"),
        nonce=b64decode(device.auth_nonce),
    )
    verdict = verify(header.cred, header.source.loc_name, known)
    chal = challenge(known.scheme, known.nonce)
    if verdict is Verdict.MISSING:
        return Refused(StatusCode.MISSING_CREDENTIALS, chal, "no credentials", known=True)
    failures = connection.scalar(
        select(_failure.c.failures).where(
            _failure.c.device_id == device.device_id,
            _failure.c.session_id == header.session_id,
            # After each boot there is a session "0" again: what went wrong in an older one is not held against it.
            _failure.c.last_at > now - SESSION_IDLE,
        )
    )
    exhausted = (failures or 0) >= MAX_FAILURES
    if verdict is Verdict.WRONG or exhausted:
        why = "too many wrong credentials in this session" if exhausted else "wrong credentials"
        return Refused(StatusCode.INVALID_CREDENTIALS, None if exhausted else chal, why, known=True)
    return Admitted(device, None, session if session is not None and session.state.unanswered else None)


def _unknown(message: Message, secrets: SecretBox) -> Refused:
    """Answer a device we do not know as one whose credentials are wrong: existence is not for strangers."""
    device_id = message.header.source.loc_uri
    chal = challenge(MD5, secrets.fingerprint(device_id.encode())[:16])
    code = StatusCode.MISSING_CREDENTIALS if message.header.cred is None else StatusCode.INVALID_CREDENTIALS
    return Refused(code, chal, "unknown device", known=False)


def _load_session(connection: Connection, device_pk: int) -> StoredSession | None:
    row = connection.execute(
        select(_session.c.state, _session.c.opened_at, _session.c.last_message_at).where(
            _session.c.device_pk == device_pk
        )
    ).one_or_none()
    if row is None:
        return None
    try:
        state = ServerState.from_json(row.state["session"])
    except (KeyError, TypeError, ValueError):
        # Another version of the bridge wrote it: the device begins anew, which loses nothing.
        _log.warning("dm_session_unreadable", device_pk=device_pk)
        return None
    return StoredSession(
        state=state,
        checkin=row.state["checkin"],
        opened_at=row.opened_at,
        last_message_at=row.last_message_at,
    )


def forget_failures(connection: Connection, device_id: str) -> None:
    """Count from nothing again: the device has proved itself."""
    connection.execute(delete(_failure).where(_failure.c.device_id == device_id))


def count_failure(connection: Connection, message: Message, now: datetime) -> None:
    """Remember one more wrong Cred of a known device's session; one row a device, however many sessions."""
    header = message.header
    device_id = header.source.loc_uri
    connection.execute(
        delete(_failure).where(_failure.c.device_id == device_id, _failure.c.session_id != header.session_id)
    )
    changed = connection.execute(
        update(_failure)
        .where(_failure.c.device_id == device_id, _failure.c.session_id == header.session_id)
        .values(failures=_failure.c.failures + 1, last_at=now)
    )
    if changed.rowcount == 0:
        connection.execute(
            insert_ignore(_failure, connection),
            {"device_id": device_id, "session_id": header.session_id, "failures": 1, "last_at": now},
        )
