"""One device message in, one reply out, one transaction between: the check-in.

Package 1 is answered with the Gets that read the Update tree; the device's results with the commands that
bring its ApprovedUpdates to what IT wants; and when nothing is left to say the session ends. What is wanted
is computed anew each time from intent and state, so nothing has to be queued and nothing can be lost: a
command whose answer never came is simply still wanted next time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import bindparam, delete, insert, select, update

from csp.snapshot import UpdateList, UpdateSnapshot
from csp.unenrolment import has_no_node, is_unenrol
from mdm.catalog.store import enqueue_needed
from mdm.checkin.admission import (
    Admitted,
    Claim,
    Refused,
    Repeated,
    address_key,
    admit,
    count_failure,
    forget_failures,
    open_sessions,
)
from mdm.checkin.certificates import settle_renewal
from mdm.checkin.delivery import Delivery, Reply
from mdm.checkin.device_state import (
    apply_snapshot,
    record_approvals,
    record_identity,
    record_opening,
    record_sync_version,
)
from mdm.checkin.failures import record_failures
from mdm.checkin.memory import Memory
from mdm.checkin.proving import MAX_DISTRUST, next_challenge, note_distrust, our_proof
from mdm.checkin.wishes import Wishes
from mdm.checkin.withdrawals import record_withdrawals
from mdm.devices.evidence import record_evidence
from mdm.devices.refresh import ensure_current
from mdm.errors import Unavailable
from mdm.policies.state import record_policies
from mdm.rollbacks.checkin import forget_unlooked, note_sent, record_rollbacks
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import Device, DmPart, DmReply, DmSession
from mdm.windows.effective import grant_catch_up
from syncml.alerts import SYNC_TYPE
from syncml.errors import LimitExceeded
from syncml.limits import OPENING_LIMITS
from syncml.messages import Message
from syncml.phases import OPEN_PHASES
from syncml.reader import read_header, read_message
from syncml.session import Reception, ServerState, check_header, receive, refuse, respond
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.checkin.admission import StoredSession
    from mdm.checkin.channel import Channel
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox
    from syncml.exchange import Request
    from syncml.flight import Part

__all__ = ["CheckIn"]

_MAX_CONFIRMATIONS: Final = 50
"""Single InstalledUpdates nodes asked for in one session; the daily list has the rest."""

_log: Final = structlog.get_logger("mdm.checkin")

_device = table_of(Device)
_session = table_of(DmSession)
_reply = table_of(DmReply)
_part = table_of(DmPart)

_KEEP_REPLY: Final = insert(_reply)
_FORGET_REPLIES: Final = delete(_reply).where(_reply.c.device_pk == bindparam("b_device_pk"))
_KEEP_PARTS: Final = insert(_part)
_FORGET_PARTS: Final = delete(_part).where(_part.c.device_pk == bindparam("b_device_pk"))

_FORGET_PLAN: Final = update(_device).where(_device.c.pk == bindparam("of_pk")).values(plan_key=None)


@dataclass(frozen=True, slots=True)
class CheckIn:
    """Answers device messages; safe to share between threads and equal in all processes."""

    database: Database
    secrets: SecretBox
    make_nonce: Callable[[], bytes]
    """Fresh unpredictable octets for each message."""
    server_uri: str | None = None
    """The Source LocURI we answer with; None: the Target the device wrote."""
    manage_policy: bool = True
    """Write RequireUpdateApproval=1 to devices that have approvals."""
    provider_id: str | None = None
    """Our name in the device's DMClient/Provider; None: the version of its sessions is left alone."""
    channel: Channel | None = None
    """How devices are to be reached between their sessions; None: that is left as it is."""
    max_sessions_per_address: int = 2_000
    """Devices that may be in a session at a time from one address."""

    def handle(self, delivery: Delivery, now: datetime) -> Reply:
        """The reply to one message.

        Raises `syncml.errors.RemoteProtocolError` when the bytes are no message a reply could be addressed
        to, and `mdm.errors.Unavailable` when the database is, or too many sessions from there; nothing has
        changed then.
        """
        # Nobody has proved anything yet: the header is all that is read until somebody has.
        header = read_header(delivery.body)
        server_uri = self.server_uri or header.target.loc_uri
        claim = Claim(header, delivery, self.secrets)
        wrong_version = check_header(header)
        if wrong_version is not None:
            _log.warning("dm_refused", device_id=header.source.loc_uri[:256], status=int(wrong_version))
            return Reply(write_message(refuse(_in_brief(claim), wrong_version, server_uri=server_uri)))
        with self.database.read() as connection:
            admission = admit(connection, claim, now=now, lock=False)
        if isinstance(admission, Admitted):
            notes: list[_Note] = []
            reply = None
            with self.database.write() as connection:
                admission = admit(connection, claim, now=now, lock=True)
                if isinstance(admission, Admitted):
                    exchange = _Exchange(connection, claim.message, delivery, server_uri, now, notes)
                    reply = self._answer(exchange, admission)
            if reply is not None:
                # Only now is it true.
                for note in notes:
                    note.write()
                return reply
        if isinstance(admission, Repeated):
            _log.info("dm_repeated", device_id=admission.device_id, msg_id=header.msg_id)
            return admission.reply
        assert isinstance(admission, Refused)  # noqa: S101 - what was admitted has been answered
        return self._refuse(admission, claim, server_uri, now)

    def _refuse(self, refused: Refused, claim: Claim, server_uri: str, now: datetime) -> Reply:
        header = claim.header
        if refused.device_pk is not None:
            with self.database.write() as connection:
                count_failure(connection, refused.device_pk, claim.delivery.remote_addr, now)
        # A missing Cred is how a challenge begins: worth a line, not a warning.
        log = _log.info if refused.expected else _log.warning
        log(
            "dm_refused",
            device_id=header.source.loc_uri[:256],
            session_id=header.session_id,
            msg_id=header.msg_id,
            status=int(refused.code),
            why=refused.why,
            **({} if refused.certificate is None else {"certificate": refused.certificate}),
            remote_addr=claim.delivery.remote_addr,
        )
        message = refuse(_in_brief(claim), refused.code, server_uri=server_uri, chal=refused.chal)
        return Reply(write_message(message))

    def _answer(self, exchange: _Exchange, admitted: Admitted) -> Reply:
        connection, device, now = exchange.connection, admitted.device, exchange.now
        stored, abandoned = admitted.session, admitted.abandoned
        if stored is None:
            self._check_sessions(exchange, device.pk)
        _warn_of_abandoned(exchange, device.device_id, abandoned)
        if admitted.certificate is not None and admitted.certificate == device.renewed_serial:
            settle_renewal(connection, device, now)
        if admitted.failed_before:
            forget_failures(connection, device.pk, exchange.delivery.remote_addr)
        earlier = _earlier_parts(exchange, device.pk, stored.state if stored else None)
        reception = receive(stored.state if stored else None, exchange.message, earlier)
        memory = stored.memory if stored else Memory.after(abandoned.memory if abandoned else None)
        code, chal = next_challenge(connection, admitted, self.make_nonce)
        if note_distrust(connection, device, reception, memory, now):
            exchange.warn("dm_distrusted", device_id=device.device_id)
        proof = our_proof(connection, device, reception, memory, self.secrets)
        news = _take_in(exchange, device, reception, memory, opens=stored is None)
        if reception.answers:
            self._record_own_node(exchange, device, reception, memory)
        requests: tuple[Request, ...] = ()
        mute = reception.unenrolling or memory.user_scope or memory.distrusted > MAX_DISTRUST
        if reception.turn and not mute:
            wishes = Wishes(self.manage_policy, self.provider_id, self.channel)
            requests = wishes.next_requests(connection, device, memory, now, news=news)
        message, state, sent = respond(
            reception,
            server_uri=exchange.server_uri,
            requests=requests,
            code=code,
            chal=chal,
            sender=proof.element,
        )
        memory.sent(requests[:sent])
        note_sent(connection, device.pk, requests[:sent], now)
        body = write_message(message)
        reply = Reply(body, proof.mac(body))
        opened_at = stored.opened_at if stored else now
        _store(exchange, device.pk, _Row(state, memory, opened_at, stored, reception), reply)
        for oddity in reception.oddities:
            exchange.warn(
                "dm_oddity",
                device_id=device.device_id,
                session_id=state.session_id,
                oddity=oddity,
            )
        if state.phase not in OPEN_PHASES:
            exchange.note(
                "dm_session",
                device_id=device.device_id,
                session_id=state.session_id,
                end=state.phase.value,
                seconds=round((now - opened_at).total_seconds(), 3),
                **memory.counts,
            )
        return reply

    def _record_own_node(
        self, exchange: _Exchange, device: Any, reception: Reception, memory: Memory
    ) -> None:
        """Write down what the answers say of our own settings in the device's DMClient."""
        connection, now = exchange.connection, exchange.now
        if self.provider_id is not None:
            versions = record_sync_version(connection, device.pk, reception.answers, self.provider_id, now)
            memory.note_versions(versions)
            memory.unenrol_unknown |= has_no_node(reception.answers, self.provider_id)
        if self.channel is not None:
            self.channel.record(connection, device, reception.answers, memory, now)

    def _check_sessions(self, exchange: _Exchange, device_pk: int) -> None:
        """Raise Unavailable when as many devices as may be are in a session from that address."""
        limit, address = self.max_sessions_per_address, exchange.delivery.remote_addr
        if open_sessions(exchange.connection, device_pk, address, exchange.now, limit) >= limit:
            raise Unavailable(f"No more sessions from {address}: {limit} are open.", retry_after=60)


def _in_brief(claim: Claim) -> Message:
    """The message as far as a refusal needs it: a stranger gets no Status for each of a thousand commands."""
    try:
        return read_message(claim.delivery.body, OPENING_LIMITS)
    except LimitExceeded:
        return Message(claim.header, ())


@dataclass(frozen=True, slots=True)
class _Note:
    """A line for the log, written once the transaction it speaks of is committed."""

    event: str
    warning: bool
    fields: dict[str, Any]

    def write(self) -> None:
        (_log.warning if self.warning else _log.info)(self.event, **self.fields)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One message inside its transaction."""

    connection: Connection
    message: Message
    delivery: Delivery
    server_uri: str
    now: datetime
    notes: list[_Note] = field(default_factory=list)

    def note(self, event: str, **fields: Any) -> None:
        self.notes.append(_Note(event, False, fields))

    def warn(self, event: str, **fields: Any) -> None:
        self.notes.append(_Note(event, True, fields))


def _warn_of_abandoned(exchange: _Exchange, device_id: str, session: StoredSession | None) -> None:
    """Tell that a session was broken off, but for a device told to leave: to end it without a word is its answer."""
    if session is None or all(map(is_unenrol, session.state.unanswered)):
        return
    exchange.warn(
        "dm_session_abandoned",
        device_id=device_id,
        session_id=session.state.session_id,
        unanswered=len(session.state.unanswered),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """What the session's row will hold, and what it held."""

    state: ServerState
    memory: Memory
    opened_at: datetime
    before: StoredSession | None
    """None: the message begins a session."""
    reception: Reception


def _take_in(exchange: _Exchange, device: Any, reception: Reception, memory: Memory, *, opens: bool) -> bool:
    """Write down what the message said; returns whether the device must be planned for anew.

    `opens` says that a session begins with it.
    """
    connection, now = exchange.connection, exchange.now
    if opens:
        grant_catch_up(connection, device.pk, now, device.last_checkin_at)
    news = _record(exchange, device, reception, memory)
    identified = record_identity(connection, device.pk, reception.answers, now)
    if identified or opens:
        ensure_current(connection, device.pk)
    if not news and not identified:
        return False
    if device.plan_key is not None:
        # In the transaction of the news: should the session end here, the next one plans.
        connection.execute(_FORGET_PLAN, {"of_pk": device.pk})
    return True


def _record(exchange: _Exchange, device: Any, reception: Reception, memory: Memory) -> bool:
    """Write down what it said of updates and policies; returns whether anything has changed."""
    connection, now, device_pk = exchange.connection, exchange.now, device.pk
    memory.count("messages")
    record_opening(connection, device, reception, now)
    memory.user_scope |= any(alert.type == SYNC_TYPE and alert.data == "user" for alert in reception.alerts)
    if reception.challenge is not None:
        forget_unlooked(connection, device_pk, reception.answers, now)
        return False
    if not reception.answers:
        return False
    memory.count("answers", sum(answer.status is not None for answer in reception.answers))
    snapshot = UpdateSnapshot.from_answers(reception.answers)
    change = apply_snapshot(connection, device_pk, snapshot, now)
    if change.postponed:
        memory.ask_again(change.postponed)
    enqueue_needed(connection, change.reported, now)
    accepted, refused = record_approvals(connection, device_pk, reception.answers, now)
    withdrawn = record_withdrawals(connection, device, reception.answers, now)
    policies = record_policies(connection, device_pk, reception.answers, now)
    rolled_back = record_rollbacks(connection, device_pk, reception.answers, now)
    record_failures(connection, device_pk, reception.answers, now)
    record_evidence(
        connection,
        device,
        snapshot.last_successful_scan_time,
        changed=bool(change.changed or accepted or withdrawn),
        now=now,
    )
    memory.count("rows_changed", change.changed)
    memory.count("approvals_accepted", accepted)
    memory.count("approvals_refused", refused)
    if UpdateList.INSTALLED not in snapshot.lists:
        memory.confirm.extend(sorted(change.vanished)[: _MAX_CONFIRMATIONS - len(memory.confirm)])
    for problem in snapshot.problems:
        exchange.warn("dm_snapshot_problem", device_id=device.device_id, problem=problem)
    return bool(
        change.changed or change.postponed or accepted or refused or withdrawn or policies or rolled_back
    )


def _earlier_parts(exchange: _Exchange, device_pk: int, state: ServerState | None) -> list[Part]:
    """What the earlier messages of the package brought; read only when its last one has come."""
    if state is None or not state.held or not exchange.message.final:
        return []
    rows = exchange.connection.scalars(
        select(_part.c["items"]).where(_part.c.device_pk == device_pk).order_by(_part.c.msg_id)
    )
    return [(index, uri, format_, data) for items in rows for index, uri, format_, data in items]


def _store(exchange: _Exchange, device_pk: int, row: _Row, reply: Reply) -> None:
    """Keep the session and the reply: from here on a repetition gets the same bytes."""
    connection, header = exchange.connection, exchange.message.header
    connection.execute(
        upsert(
            _session,
            connection,
            update=("session_id", "state", "opened_at", "last_message_at", "remote_addr", "open"),
        ),
        {
            "device_pk": device_pk,
            "session_id": row.state.session_id,
            "state": {"session": row.state.to_json(), "checkin": row.memory.dump()},
            "opened_at": row.opened_at,
            "last_message_at": exchange.now,
            "remote_addr": address_key(exchange.delivery.remote_addr),
            "open": row.state.phase in OPEN_PHASES,
        },
    )
    if row.before is None:
        # A new session: the replies of the one before it can no longer be asked for.
        connection.execute(_FORGET_REPLIES, {"b_device_pk": device_pk})
    if row.before is None or (row.before.state.held and not row.state.held):
        connection.execute(_FORGET_PARTS, {"b_device_pk": device_pk})
    if row.reception.parts:
        connection.execute(
            _KEEP_PARTS,
            {
                "device_pk": device_pk,
                "msg_id": row.state.device_msg_id,
                "items": [list(part) for part in row.reception.parts],
            },
        )
    connection.execute(
        _KEEP_REPLY,
        {
            "device_pk": device_pk,
            "session_id": header.session_id,
            "msg_id": header.msg_id,
            "request_sha256": exchange.delivery.digest,
            "reply": reply.body,
            "mac": reply.mac,
            "sent_at": exchange.now,
        },
    )
