"""One device message in, one reply out, one transaction between: the check-in.

Package 1 is answered with the Gets that read the Update tree; the device's results with the commands that
bring its ApprovedUpdates to what IT wants; and when nothing is left to say the session ends. What is wanted
is computed anew each time from intent and state, so nothing has to be queued and nothing can be lost: a
command whose answer never came is simply still wanted next time.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import delete, insert, select, update

from csp.plan import Desired, Reported, plan
from csp.queries import confirm_installed, identity_queries, state_queries
from csp.snapshot import UpdateList, UpdateSnapshot
from csp.sync_version import queries as version_queries
from csp.sync_version import raise_request, tells_errors
from mdm.approvals.decision import CLASSIFICATION, decide
from mdm.approvals.effective import (
    facts_needed,
    has_approvals,
    intents_for_device,
    open_eula_classifications,
    update_facts,
)
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
from mdm.checkin.delivery import Delivery, Reply
from mdm.checkin.device_state import (
    apply_snapshot,
    record_approvals,
    record_identity,
    record_opening,
    record_policies,
    record_sync_version,
)
from mdm.checkin.failures import record_failures
from mdm.checkin.memory import Memory
from mdm.devices.refresh import ensure_current
from mdm.devices.timeline import Event, record_events, told_since
from mdm.errors import Unavailable
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import Device, DevicePolicy, DeviceUpdate, DmPart, DmReply, DmSession
from syncml.alerts import SYNC_TYPE
from syncml.auth import BASIC, MAC, MD5, challenge, digest_cred, make_mac, next_nonce
from syncml.errors import LimitExceeded
from syncml.limits import OPENING_LIMITS
from syncml.messages import Message
from syncml.phases import OPEN_PHASES
from syncml.reader import read_header, read_message
from syncml.session import Reception, Sender, ServerState, check_header, receive, refuse, respond
from syncml.status import StatusCode
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    from mdm.checkin.admission import StoredSession
    from mdm.storage.engine import Database
    from mdm.storage.secrets import SecretBox
    from syncml.exchange import Request
    from syncml.flight import Part
    from syncml.messages import Chal

__all__ = ["REQUIRE_UPDATE_APPROVAL", "CheckIn"]

REQUIRE_UPDATE_APPROVAL: Final = "RequireUpdateApproval"
"""Without this policy the approval list has no effect: Windows installs whatever applies (update-csp)."""

_INSTALLED_EVERY: Final = timedelta(hours=24)
"""InstalledUpdates is long and changes slowly: read at most once in this time."""

_POLICY_EVERY: Final = timedelta(hours=24)
"""A policy the device accepted is written again after this time, in case somebody changed it there."""

_VERSION_EVERY: Final = timedelta(hours=24)
"""A device that does not tell errors is asked at most so often whether it could: Windows is upgraded at times."""

_IDENTITY_EVERY: Final = timedelta(hours=24)
"""Build and edition of the device's Windows are asked for at most once in this time."""

_MAX_CONFIRMATIONS: Final = 50
"""Single InstalledUpdates nodes asked for in one session; the daily list has the rest."""

MAX_SESSIONS_PER_ADDRESS: Final = 2_000
"""Devices in a session at a time from one address: a site behind one router, and then some."""

_MAX_DISTRUST: Final = 2
"""Times a device may refuse our credentials in one session before we say no more."""

_DISTRUST_AGAIN: Final = timedelta(hours=24)
"""A device that refuses our credentials each session says so on its timeline once in this time."""

_INSTALLABLE: Final = int(UpdateList.INSTALLABLE)
_APPROVED: Final = int(UpdateList.APPROVED)

_log: Final = structlog.get_logger("mdm.checkin")

_device = table_of(Device)
_rows = table_of(DeviceUpdate)
_policy = table_of(DevicePolicy)
_session = table_of(DmSession)
_reply = table_of(DmReply)
_part = table_of(DmPart)


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
    max_sessions_per_address: int = MAX_SESSIONS_PER_ADDRESS
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
            remote_addr=claim.delivery.remote_addr,
        )
        message = refuse(_in_brief(claim), refused.code, server_uri=server_uri, chal=refused.chal)
        return Reply(write_message(message))

    def _answer(self, exchange: _Exchange, admitted: Admitted) -> Reply:
        connection, device, now = exchange.connection, admitted.device, exchange.now
        stored, abandoned = admitted.session, admitted.abandoned
        if stored is None:
            self._check_sessions(exchange, device.pk)
        if abandoned is not None:
            exchange.warn(
                "dm_session_abandoned",
                device_id=device.device_id,
                session_id=abandoned.state.session_id,
                unanswered=len(abandoned.state.unanswered),
            )
        if admitted.proved:
            forget_failures(connection, device.pk, exchange.delivery.remote_addr)
        earlier = _earlier_parts(exchange, device.pk, stored.state if stored else None)
        reception = receive(stored.state if stored else None, exchange.message, earlier)
        memory = stored.memory if stored else Memory.after(abandoned.memory if abandoned else None)
        code, chal = self._next_proof(exchange, admitted)
        sender = self._sender(exchange, device, reception, memory)
        _take_in(exchange, device, reception, memory)
        if record_identity(connection, device.pk, reception.answers, now) or stored is None:
            ensure_current(connection, device.pk)
        if self.provider_id is not None and reception.answers:
            versions = record_sync_version(connection, device.pk, reception.answers, self.provider_id, now)
            memory.note_versions(versions)
        requests: tuple[Request, ...] = ()
        mute = reception.unenrolling or memory.user_scope or memory.distrusted > _MAX_DISTRUST
        if reception.turn and not mute:
            requests = self._next_requests(connection, device, memory, now)
        message, state, sent = respond(
            reception,
            server_uri=exchange.server_uri,
            requests=requests,
            code=code,
            chal=chal,
            sender=sender.element,
        )
        memory.sent(requests[:sent])
        body = write_message(message)
        reply = Reply(body, sender.mac(body))
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

    def _check_sessions(self, exchange: _Exchange, device_pk: int) -> None:
        """Raise Unavailable when as many devices as may be are in a session from that address."""
        limit, address = self.max_sessions_per_address, exchange.delivery.remote_addr
        if open_sessions(exchange.connection, device_pk, address, exchange.now, limit) >= limit:
            raise Unavailable(f"No more sessions from {address}: {limit} are open.", retry_after=60)

    def _next_proof(self, exchange: _Exchange, admitted: Admitted) -> tuple[StatusCode, Chal | None]:
        """How the device is to prove itself from here on; a new nonce is kept in this message's transaction.

        200: in each message, with the nonce in the Chal. 212: not again in this session (DM_Protocol 9).
        """
        device = admitted.device
        accepted = StatusCode.OK if device.auth_each_message else StatusCode.AUTHENTICATION_ACCEPTED
        if not admitted.proved:
            return StatusCode.OK, None
        if device.auth_scheme == BASIC:
            return accepted, None
        nonce = self.make_nonce()
        exchange.connection.execute(
            update(_device)
            .where(_device.c.pk == device.pk)
            .values(auth_nonce=b64encode(nonce).decode("ascii"), auth_nonce_before=device.auth_nonce)
        )
        return accepted, challenge(device.auth_scheme, nonce)

    def _sender(self, exchange: _Exchange, device: Any, reception: Reception, memory: Memory) -> _OurProof:
        """Our own credentials for this device, made with the nonce it gave us last."""
        if reception.challenge is not None:
            memory.distrusted += 1
            memory.not_looked_at([answer.request for answer in reception.answers])
            if memory.distrusted > _MAX_DISTRUST or device.server_auth_scheme is None:
                memory.distrusted = _MAX_DISTRUST + 1
                exchange.warn("dm_distrusted", device_id=device.device_id)
                self._tell_of_distrust(exchange, device.pk)
        if device.server_auth_scheme is None:
            return _OurProof(None)
        given = reception.header_status
        nonce = next_nonce(given.chal) if given is not None else None
        if nonce is None:
            nonce = b64decode(device.server_auth_nonce)
        else:
            exchange.connection.execute(
                update(_device)
                .where(_device.c.pk == device.pk)
                .values(server_auth_nonce=b64encode(nonce).decode("ascii"))
            )
        accepted = str(int(StatusCode.AUTHENTICATION_ACCEPTED))
        if given is not None and given.data == accepted and device.server_auth_scheme == MD5:
            memory.proved = True
        if memory.proved:
            return _OurProof(None)
        verifier = self.secrets.open(bytes(device.server_auth_verifier)).decode("ascii")
        return _OurProof(device.server_auth_scheme, device.server_auth_username, verifier, nonce)

    @staticmethod
    def _tell_of_distrust(exchange: _Exchange, device_pk: int) -> None:
        connection, now = exchange.connection, exchange.now
        if not told_since(connection, device_pk, "distrusted", now - _DISTRUST_AGAIN):
            record_events(connection, device_pk, [Event("distrusted", {})], now)

    def _next_requests(
        self, connection: Connection, device: Any, memory: Memory, now: datetime
    ) -> tuple[Request, ...]:
        """What to say now: the queries that are still due, else the plan; never the same thing twice a session."""
        installed = device.installed_read_at is None or now - device.installed_read_at >= _INSTALLED_EVERY
        if not memory.queries_done:
            queries = memory.without_attempted(
                (
                    *state_queries(installed=installed),
                    *_identity_queries(device, now),
                    *self._version_queries(device, now),
                )
            )
            if queries:
                return queries
            memory.queries_done = True
        wanted = (*self._raised_version(memory), *self._plan(connection, device.pk, now))
        confirmations = tuple(confirm_installed(update_id) for update_id in memory.confirm)
        return memory.without_attempted((*wanted, *confirmations))

    def _version_queries(self, device: Any, now: datetime) -> tuple[Request, ...]:
        """What to ask a device that tells no errors, if it could (MS-MDM 3.2.5.1.3)."""
        if self.provider_id is None or tells_errors(device.sync_version):
            return ()
        if device.sync_version_at is not None and now - device.sync_version_at < _VERSION_EVERY:
            return ()
        return version_queries(self.provider_id)

    def _raised_version(self, memory: Memory) -> tuple[Request, ...]:
        if self.provider_id is None:
            return ()
        request = raise_request(self.provider_id, memory.version, memory.newest_version)
        return () if request is None else (request,)

    def _plan(self, connection: Connection, device_pk: int, now: datetime) -> tuple[Request, ...]:
        """The difference between what IT wants and what the device has."""
        rows = connection.execute(
            select(_rows.c.update_id, _rows.c.lists).where(
                _rows.c.device_pk == device_pk,
                _rows.c.lists.bitwise_and(_INSTALLABLE | _APPROVED) != 0,
            )
        ).all()
        installable = frozenset(row.update_id for row in rows if row.lists & _INSTALLABLE)
        approved = frozenset(row.update_id for row in rows if row.lists & _APPROVED)
        offered = installable - approved
        intents = intents_for_device(connection, device_pk, now, offered)
        classes = {intent.target_id for intent in intents if intent.target_type == CLASSIFICATION}
        decision = decide(
            intents,
            update_facts(connection, facts_needed(intents, offered)),
            open_eula_classifications(connection, classes - approved),
            now=now,
            offered=offered,
        )
        policies: dict[str, str] = {}
        if self.manage_policy and has_approvals(connection, device_pk, now):
            policies[REQUIRE_UPDATE_APPROVAL] = "1"
        known = connection.execute(select(_policy).where(_policy.c.device_pk == device_pk)).all()
        return plan(
            Desired(updates=decision.updates, classifications=decision.classifications, policies=policies),
            Reported(
                installable=installable,
                approved=approved,
                policies={
                    row.name: row.value
                    for row in known
                    if row.status == "set" and now - row.at < _POLICY_EVERY
                },
                unsupported=frozenset(row.name for row in known if row.status == "unsupported"),
            ),
        )


def _identity_queries(device: Any, now: datetime) -> tuple[Request, ...]:
    """What to ask a device whose Windows is not known, or may have been upgraded since."""
    if device.identity_read_at is not None and now - device.identity_read_at < _IDENTITY_EVERY:
        return ()
    return identity_queries()


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


@dataclass(frozen=True, slots=True)
class _OurProof:
    """How one reply proves that it is ours."""

    scheme: str | None
    name: str = ""
    verifier: str = ""
    nonce: bytes = b""

    @property
    def element(self) -> Sender | None:
        if self.scheme is None:
            return None
        return Sender(self.name, digest_cred(self.verifier, self.nonce) if self.scheme == MD5 else None)

    def mac(self, body: bytes) -> str | None:
        return make_mac(self.name, self.verifier, self.nonce, body) if self.scheme == MAC else None


@dataclass(frozen=True, slots=True)
class _Row:
    """What the session's row will hold, and what it held."""

    state: ServerState
    memory: Memory
    opened_at: datetime
    before: StoredSession | None
    """None: the message begins a session."""
    reception: Reception


def _take_in(exchange: _Exchange, device: Any, reception: Reception, memory: Memory) -> None:
    """Write down what the message said."""
    connection, now, device_pk = exchange.connection, exchange.now, device.pk
    memory.count("messages")
    record_opening(connection, device, reception, now)
    memory.user_scope |= any(alert.type == SYNC_TYPE and alert.data == "user" for alert in reception.alerts)
    if not reception.answers or reception.challenge is not None:
        return
    memory.count("answers", sum(answer.status is not None for answer in reception.answers))
    snapshot = UpdateSnapshot.from_answers(reception.answers)
    change = apply_snapshot(connection, device_pk, snapshot, now)
    if change.postponed:
        memory.ask_again(change.postponed)
    enqueue_needed(connection, change.reported, now)
    accepted, refused = record_approvals(connection, device_pk, reception.answers, now)
    record_policies(connection, device_pk, reception.answers, now)
    record_failures(connection, device_pk, reception.answers, now)
    memory.count("rows_changed", change.changed)
    memory.count("approvals_accepted", accepted)
    memory.count("approvals_refused", refused)
    if UpdateList.INSTALLED not in snapshot.lists:
        memory.confirm.extend(sorted(change.vanished)[: _MAX_CONFIRMATIONS - len(memory.confirm)])
    for problem in snapshot.problems:
        exchange.warn("dm_snapshot_problem", device_id=device.device_id, problem=problem)


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
        connection.execute(delete(_reply).where(_reply.c.device_pk == device_pk))
    if row.before is None or (row.before.state.held and not row.state.held):
        connection.execute(delete(_part).where(_part.c.device_pk == device_pk))
    if row.reception.parts:
        connection.execute(
            insert(_part),
            {
                "device_pk": device_pk,
                "msg_id": row.state.device_msg_id,
                "items": [list(part) for part in row.reception.parts],
            },
        )
    connection.execute(
        insert(_reply),
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
