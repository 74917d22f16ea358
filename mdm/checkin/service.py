"""One device message in, one reply out, one transaction between: the check-in.

Package 1 is answered with the Gets that read the Update tree; the device's results with the commands that
bring its ApprovedUpdates to what IT wants; and when nothing is left to say the session ends. What is wanted
is computed anew each time from intent and state, so nothing has to be queued and nothing can be lost: a
command whose answer never came is simply still wanted next time.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import delete, insert, select, update

from csp.plan import Desired, Reported, plan
from csp.queries import confirm_installed, state_queries
from csp.snapshot import UpdateList, UpdateSnapshot
from mdm.approvals.decision import decide
from mdm.approvals.effective import has_approvals, intents_for_device, open_eula_classifications, update_facts
from mdm.catalog.store import enqueue_needed
from mdm.checkin.admission import Admitted, Proof, Refused, Repeated, admit, count_failure, forget_failures
from mdm.checkin.device_state import apply_snapshot, record_approvals, record_opening, record_policies
from mdm.storage.statements import table_of, upsert
from mdm.storage.tables import Device, DevicePolicy, DeviceUpdate, DmReply, DmSession
from syncml.alerts import SYNC_TYPE
from syncml.auth import challenge
from syncml.reader import read_message
from syncml.session import OPEN_PHASES, Reception, ServerState, check_header, receive, refuse, respond
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
    from syncml.messages import Message

__all__ = ["REQUIRE_UPDATE_APPROVAL", "CheckIn"]

REQUIRE_UPDATE_APPROVAL: Final = "RequireUpdateApproval"
"""Without this policy the approval list has no effect: Windows installs whatever applies (update-csp)."""

_INSTALLED_EVERY: Final = timedelta(hours=24)
"""InstalledUpdates is long and changes slowly: read at most once in this time."""

_POLICY_EVERY: Final = timedelta(hours=24)
"""A policy the device accepted is written again after this time, in case somebody changed it there."""

_MAX_CONFIRMATIONS: Final = 50
"""Single InstalledUpdates nodes asked for in one session; the daily list has the rest."""

_INSTALLABLE: Final = int(UpdateList.INSTALLABLE)
_APPROVED: Final = int(UpdateList.APPROVED)

_log: Final = structlog.get_logger("mdm.checkin")

_device = table_of(Device)
_rows = table_of(DeviceUpdate)
_policy = table_of(DevicePolicy)
_session = table_of(DmSession)
_reply = table_of(DmReply)


@dataclass(frozen=True, slots=True)
class CheckIn:
    """Answers device messages; safe to share between threads and equal in all processes."""

    database: Database
    secrets: SecretBox
    make_nonce: Callable[[], bytes]
    """Fresh unpredictable octets for each session."""
    server_uri: str | None = None
    """The Source LocURI we answer with; None: the Target the device wrote."""
    manage_policy: bool = True
    """Write RequireUpdateApproval=1 to devices that have approvals."""

    def handle(self, body: bytes, now: datetime, *, private: bool) -> bytes:
        """The reply to one message; `private` says that nobody could read it on its way (TLS, or this machine).

        Raises `syncml.errors.RemoteProtocolError` when the bytes are no message a reply could be addressed
        to, and `mdm.errors.Unavailable` when the database is; nothing has changed then.
        """
        message = read_message(body)
        server_uri = self.server_uri or message.header.target.loc_uri
        wrong_version = check_header(message.header)
        if wrong_version is not None:
            _log.warning(
                "dm_refused", device_id=message.header.source.loc_uri[:256], status=int(wrong_version)
            )
            return write_message(refuse(message, wrong_version, server_uri=server_uri))
        proof = Proof(self.secrets, private)
        with self.database.read() as connection:
            admission = admit(connection, message, body, proof, now=now, lock=False)
        if isinstance(admission, Admitted):
            with self.database.write() as connection:
                admission = admit(connection, message, body, proof, now=now, lock=True)
                if isinstance(admission, Admitted):
                    return self._answer(_Exchange(connection, message, body, server_uri, now), admission)
        if isinstance(admission, Repeated):
            _log.info("dm_repeated", device_id=admission.device_id, msg_id=message.header.msg_id)
            return admission.reply
        return self._refuse(admission, message, server_uri, now)

    def _refuse(self, refused: Refused, message: Message, server_uri: str, now: datetime) -> bytes:
        header = message.header
        if refused.known and refused.code is StatusCode.INVALID_CREDENTIALS:
            with self.database.write() as connection:
                count_failure(connection, message, now)
        # A missing Cred is how a challenge begins: worth a line, not a warning.
        log = (
            _log.warning if refused.code is StatusCode.INVALID_CREDENTIALS or not refused.known else _log.info
        )
        log(
            "dm_refused",
            device_id=header.source.loc_uri[:256],
            session_id=header.session_id,
            msg_id=header.msg_id,
            status=int(refused.code),
            why=refused.why,
        )
        return write_message(refuse(message, refused.code, server_uri=server_uri, chal=refused.chal))

    def _answer(self, exchange: _Exchange, admitted: Admitted) -> bytes:
        connection, device, now = exchange.connection, admitted.device, exchange.now
        if admitted.abandoned is not None:
            _log.warning(
                "dm_session_abandoned",
                device_id=device.device_id,
                session_id=admitted.abandoned.state.session_id,
                unanswered=len(admitted.abandoned.state.unanswered),
            )
        stored = admitted.session
        if stored is None:
            forget_failures(connection, device.device_id)
        reception = receive(stored.state if stored else None, exchange.message)
        memory = _Memory.load(stored.checkin) if stored else _Memory.after(admitted.abandoned)
        chal = None if stored else challenge(device.auth_scheme, self._renew_nonce(exchange, device.pk))
        _take_in(exchange, device, reception, memory)
        requests: tuple[Request, ...] = ()
        if reception.turn and not reception.unenrolling and not memory.user_scope:
            requests = self._next_requests(connection, device, memory, now)
        reply, state, sent = respond(reception, server_uri=exchange.server_uri, requests=requests, chal=chal)
        memory.sent(requests[:sent])
        data = write_message(reply)
        opened_at = stored.opened_at if stored else now
        _store(exchange, device.pk, _Row(state, memory, opened_at, begins=stored is None), data)
        for oddity in reception.oddities:
            _log.warning("dm_oddity", device_id=device.device_id, session_id=state.session_id, oddity=oddity)
        if state.phase not in OPEN_PHASES:
            _log.info(
                "dm_session",
                device_id=device.device_id,
                session_id=state.session_id,
                end=state.phase.value,
                seconds=round((now - opened_at).total_seconds(), 3),
                **memory.counts,
            )
        return data

    def _renew_nonce(self, exchange: _Exchange, device_pk: int) -> bytes:
        """A nonce for the next session, stored in the transaction that accepts this one."""
        nonce = self.make_nonce()
        text = b64encode(nonce).decode("ascii")
        exchange.connection.execute(update(_device).where(_device.c.pk == device_pk).values(auth_nonce=text))
        return nonce

    def _next_requests(
        self, connection: Connection, device: Any, memory: _Memory, now: datetime
    ) -> tuple[Request, ...]:
        """What to say now: the queries that are still due, else the plan; never the same thing twice a session."""
        installed = device.installed_read_at is None or now - device.installed_read_at >= _INSTALLED_EVERY
        if not memory.queries_done:
            queries = memory.without_attempted(state_queries(installed=installed))
            if queries:
                return queries
            memory.queries_done = True
        wanted = self._plan(connection, device.pk, now)
        confirmations = tuple(confirm_installed(update_id) for update_id in memory.confirm)
        return memory.without_attempted((*wanted, *confirmations))

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
        intents = intents_for_device(connection, device_pk, installable - approved)
        classes = {intent.target_id for intent in intents if intent.target_type == "classification"}
        updates = {intent.target_id for intent in intents if intent.target_type == "update"}
        decision = decide(
            intents,
            update_facts(connection, updates),
            open_eula_classifications(connection, classes - approved),
        )
        policies: dict[str, str] = {}
        if self.manage_policy and has_approvals(connection, device_pk):
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


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One message inside its transaction."""

    connection: Connection
    message: Message
    body: bytes
    server_uri: str
    now: datetime


@dataclass(frozen=True, slots=True)
class _Row:
    """What the session's row will hold."""

    state: ServerState
    memory: _Memory
    opened_at: datetime
    begins: bool


def _take_in(exchange: _Exchange, device: Any, reception: Reception, memory: _Memory) -> None:
    """Write down what the message said."""
    connection, now, device_pk = exchange.connection, exchange.now, device.pk
    memory.count("messages")
    record_opening(connection, device, reception, now)
    memory.user_scope |= any(alert.type == SYNC_TYPE and alert.data == "user" for alert in reception.alerts)
    if not reception.answers:
        return
    memory.count("answers", sum(answer.status is not None for answer in reception.answers))
    snapshot = UpdateSnapshot.from_answers(reception.answers)
    change = apply_snapshot(connection, device_pk, snapshot, now)
    enqueue_needed(connection, change.reported, now)
    accepted, refused = record_approvals(connection, device_pk, reception.answers, now)
    record_policies(connection, device_pk, reception.answers, now)
    memory.count("rows_changed", change.changed)
    memory.count("approvals_accepted", accepted)
    memory.count("approvals_refused", refused)
    if UpdateList.INSTALLED not in snapshot.lists:
        memory.confirm.extend(sorted(change.vanished)[: _MAX_CONFIRMATIONS - len(memory.confirm)])
    for problem in snapshot.problems:
        _log.warning("dm_snapshot_problem", device_pk=device_pk, problem=problem)


def _store(exchange: _Exchange, device_pk: int, row: _Row, reply: bytes) -> None:
    """Keep the session and the reply: from here on a repetition gets the same bytes."""
    connection, header = exchange.connection, exchange.message.header
    connection.execute(
        upsert(_session, connection, update=("session_id", "state", "opened_at", "last_message_at")),
        {
            "device_pk": device_pk,
            "session_id": row.state.session_id,
            "state": {"session": row.state.to_json(), "checkin": row.memory.dump()},
            "opened_at": row.opened_at,
            "last_message_at": exchange.now,
        },
    )
    if row.begins:
        # A new session: the replies of the one before it can no longer be asked for.
        connection.execute(delete(_reply).where(_reply.c.device_pk == device_pk))
    connection.execute(
        insert(_reply),
        {
            "device_pk": device_pk,
            "session_id": header.session_id,
            "msg_id": header.msg_id,
            "request_sha256": hashlib.sha256(exchange.body).digest(),
            "reply": reply,
            "sent_at": exchange.now,
        },
    )


class _Memory:
    """What a check-in remembers from message to message besides the protocol's state."""

    def __init__(self) -> None:
        self.queries_done = False
        self.user_scope = False
        """The session is for the user's scope: a command on the device's would get 405 (MS-MDM 3.2.5.1.5)."""
        self.attempted: list[str] = []
        self.confirm: list[str] = []
        self.counts: dict[str, int] = {}

    @classmethod
    def load(cls, value: dict[str, Any]) -> _Memory:
        memory = cls()
        memory.queries_done = value["queries_done"]
        memory.user_scope = value["user_scope"]
        memory.attempted = value["attempted"]
        memory.confirm = value["confirm"]
        memory.counts = value["counts"]
        return memory

    @classmethod
    def after(cls, abandoned: StoredSession | None) -> _Memory:
        """A new session asks what an abandoned one did not get to know: the rows no longer say what vanished."""
        memory = cls()
        if abandoned is not None:
            memory.confirm = list(abandoned.checkin["confirm"])
        return memory

    def dump(self) -> dict[str, Any]:
        return {
            "queries_done": self.queries_done,
            "user_scope": self.user_scope,
            "attempted": self.attempted,
            "confirm": self.confirm,
            "counts": self.counts,
        }

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    def without_attempted(self, requests: tuple[Request, ...]) -> tuple[Request, ...]:
        done = set(self.attempted)
        return tuple(request for request in requests if f"{request.verb} {request.loc_uri}" not in done)

    def sent(self, requests: tuple[Request, ...]) -> None:
        self.count("commands", len(requests))
        self.attempted += [f"{request.verb} {request.loc_uri}" for request in requests]
