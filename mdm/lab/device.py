"""A virtual Windows device: keeps itself in a file and speaks OMA DM over HTTP as Windows' client does.

One `check_in` is one session. What a message changed is stored before the next one is sent, so a device that
is killed at any point goes on from what it had told, and from nothing else. A message without an answer is
sent again byte for byte: same SessionID, same MsgID (omadm, retransmission).
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

import httpx2

from mdm.lab.dice import Dice
from mdm.lab.dmclient import provision
from mdm.lab.hardware import device_info, hardware_facts
from mdm.lab.manners import REQUEST_PENDING_ALERT, UNENROL_ALERT, Manners
from mdm.lab.proof import NO_PROOF, OurProof, Sight, our_proof
from mdm.lab.results import packed
from mdm.lab.store import Account
from mdm.lab.tree import DeviceTree
from mdm.lab.versions import Build
from mdm.lab.windows import Habits, Windows
from syncml.auth import MAC_HEADER
from syncml.client import ClientState, Outcome, Turn, Verdict, answer, begin, distrust, receive, retry
from syncml.errors import SyncMLError
from syncml.messages import Alert, Atomic, Sequence, Unknown
from syncml.reader import read_message
from syncml.status import StatusCode
from syncml.writer import write_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from mdm.lab.catalogue import OfferedUpdate
    from mdm.lab.proof import Judgement
    from mdm.lab.store import DeviceCertificate, DeviceRecord, DeviceStore
    from syncml.messages import Command, Message

__all__ = [
    "CommandReport",
    "HasLeftError",
    "Interruption",
    "Patience",
    "SessionEnd",
    "SessionReport",
    "VirtualDevice",
    "Wire",
]

Wire: TypeAlias = "list[tuple[bytes, bytes]]"
"""Requests and their replies, as they were on the wire, in order; resends without a reply are not in it."""

MEDIA_TYPE: Final = "application/vnd.syncml.dm+xml"
_QUERY: Final = "mode=Maintenance&Platform=WoA"
_DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>'
_HEADERS: Final = {
    "Accept": f"{MEDIA_TYPE}, application/vnd.syncml.dm+wbxml, application/octet-stream",
    "Accept-Charset": "UTF-8",
    "Accept-Encoding": "gzip",
    "Content-Type": MEDIA_TYPE,
    "User-Agent": "MSFT OMA DM Client/1.2.0.1",
}
_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = 500

_MAX_CHALLENGES: Final = 3
"""Challenges of one session that the device answers."""

_MAX_MESSAGES: Final = 200
"""Messages of one session after which the device gives up on a server that never ends it."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a device goes about a lost answer (w7 APPLICATION: CONNRETRYFREQ and the two back-off times)."""

    attempts: int = 6
    first_wait: float = 0.5
    """Seconds before the second attempt; doubled before each further one."""
    longest_wait: float = 16
    timeout: float = 30
    """Seconds for one attempt."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """Where the device's client breaks a session off, as at a loss of power."""

    after: int
    """Messages that are answered until then."""
    heard: bool = True
    """True: the last answer was carried out. False: it was never looked at, nor the nonce in it."""


class SessionEnd(StrEnum):
    """How a session ended."""

    COMPLETE = "complete"
    """The server had no more commands."""
    REFUSED = "refused"
    """The server did not accept the device: wrong credentials, unknown device, protocol version."""
    ABORTED = "aborted"
    """The server sent Alert 1223."""
    UNREACHABLE = "unreachable"
    """No answer, however often it was asked."""
    REJECTED = "rejected"
    """An HTTP status that repeating does not help against."""
    UNREADABLE = "unreadable"
    """An answer that is no SyncML message, or a session without end."""
    ABANDONED = "abandoned"
    """The device itself broke it off."""
    UNENROLLED = "unenrolled"
    """The server sent Unenroll, which gets no Status: the device says goodbye in its next session, at once."""


@dataclass(frozen=True, slots=True)
class CommandReport:
    """One command of the server and what it came to."""

    verb: str
    loc_uri: str
    """Of its first item; empty for Atomic and Sequence."""
    status: int


@dataclass(frozen=True, slots=True)
class SessionReport:
    """What one session came to."""

    device_id: str
    session_id: str
    end: SessionEnd
    messages: int
    """Messages of the device that were answered."""
    resends: int
    """Messages sent again because no answer came."""
    commands: tuple[CommandReport, ...]
    """The server's commands in their order, those inside an Atomic after it."""
    detail: str = ""
    """Why it did not end well, as a sentence."""

    @property
    def ok(self) -> bool:
        """True if the session was completed, or ended as the server's Unenroll ends it."""
        return self.end in {SessionEnd.COMPLETE, SessionEnd.UNENROLLED}


@dataclass(frozen=True, slots=True)
class _Answered:
    """A reply as it was on the wire."""

    body: bytes
    mac: str | None
    resends: int
    """How often the message had to be sent again."""


class _EndError(Exception):
    """The session is over."""

    def __init__(self, end: SessionEnd, detail: str = "") -> None:
        super().__init__(detail)
        self.end = end
        self.detail = detail


class HasLeftError(Exception):
    """A device that has left management has nobody to check in with; the text names it."""


class VirtualDevice:
    """One device; not to be used by two threads at a time."""

    def __init__(
        self,
        record: DeviceRecord,
        store: DeviceStore,
        offers: Callable[[datetime], Iterable[OfferedUpdate]],
        *,
        http: httpx2.Client,
        habits: Habits | None = None,
        patience: Patience | None = None,
        manners: Manners | None = None,
        sleep: Callable[[float], object] = time.sleep,
        wire: Wire | None = None,
    ) -> None:
        """The record is stored at once.

        `http` may be shared by devices. `wire` takes every request and reply; `sleep` waits between attempts,
        in seconds.
        """
        self.patience = patience or Patience()
        self.manners = manners or Manners()
        self.http = http
        self._store = store
        self._offers = offers
        self._sleep = sleep
        self._wire = wire
        self._boot(record, habits or Habits())
        store.save(record)

    def _boot(self, record: DeviceRecord, habits: Habits) -> None:
        self.record = record
        self.windows = Windows(self._offers, habits, record.windows)
        build, provider_id = Build.parse(record.identity.os_build), record.account.provider_id
        if record.windows.settings is None and record.provisioned:
            provision(self.windows, build, record.provisioned)
        self.tree = DeviceTree(
            self.windows,
            build,
            hardware_facts(record.identity, build, provider_id),
            provider_id=provider_id,
        )

    @property
    def device_id(self) -> str:
        """The Source LocURI of its messages."""
        return self.record.identity.device_id

    @property
    def has_left(self) -> bool:
        """True once it is not managed any more: it has no account, and never checks in again."""
        return not self.record.account.server_uri

    def save(self) -> None:
        """Store what has changed."""
        if self.record.windows is not self.windows.state:
            self.record = replace(self.record, windows=self.windows.state)
            self._store.save(self.record)

    def advance(self, now: datetime) -> None:
        """Let Windows scan, install and restart as is due, and store what came of it."""
        self.windows.advance(now)
        self.save()

    def keep_certificate(self, certificate: DeviceCertificate, http: httpx2.Client) -> None:
        """Store another certificate, and go on with connections that show it; the old ones are the caller's to close."""
        self.record = replace(self.record, certificate=certificate)
        self._store.save(self.record)
        self.http = http

    def reboot(self, now: datetime) -> None:
        """Forget what is not on the disk and go on from there; SessionIDs begin at "0" again, as Windows' do."""
        stored = self._store.load(self.device_id)
        assert stored is not None, self.device_id  # noqa: S101 - it was stored when the device was made
        self._boot(replace(stored, sessions=0), self.windows.habits)
        self.windows.restart(now)
        self._store.save(self.record)
        self.save()

    def check_in(
        self, now: datetime, *, alerts: tuple[Alert, ...] = (), interruption: Interruption | None = None
    ) -> SessionReport:
        """Run one session from package 1 to its end; never raises for what the server or the network does.

        `alerts` stand in package 1 behind those of the device's manners. A device that is leaving says so there,
        again and again until it is answered, and then forgets its management. Raises HasLeftError after that.
        """
        if self.has_left:
            raise HasLeftError(f"{self.record.identity.name} has left management")
        self.advance(now)
        self.tree.begin_session()
        leaving = self.windows.state.leaving
        goodbye = (UNENROL_ALERT,) if leaving else ()
        report = _Session(self, now, (*goodbye, *alerts), interruption).run()
        if leaving and report.end in _ANSWERED:
            self._forget(now)
        return report

    def unenrol(self, now: datetime, *, interruption: Interruption | None = None) -> SessionReport:
        """The user ends the management: the wish is stored, then told in a session as `check_in` does it."""
        self.windows.leave()
        self.save()
        return self.check_in(now, interruption=interruption)

    def _forget(self, now: datetime) -> None:
        """Keep nothing of the management: account, certificate, key, settings; the machine's own things stay."""
        self.windows.forget_management(now)
        self.record = replace(
            self.record,
            account=Account(server_uri="", scheme="", username="", password=""),
            nonce=None,
            server_nonce=b"",
            certificate=None,
            provisioned={},
            link=replace(self.record.link, enrolment_url=""),
            windows=self.windows.state,
        )
        self._store.save(self.record)

    # --- for the session ---------------------------------------------------------------------------------

    def next_session_id(self) -> str:
        """A SessionID this device has not used; stored before it is sent anywhere."""
        session_id = str(self.record.sessions)
        self.record = replace(self.record, sessions=self.record.sessions + 1)
        self._store.save(self.record)
        return session_id

    def remember_nonce(self, nonce: bytes) -> None:
        """Keep the nonce the next Cred must use."""
        if nonce != self.record.nonce:
            self.record = replace(self.record, nonce=nonce)
            self._store.save(self.record)

    def remember_server_nonce(self, nonce: bytes) -> None:
        """Keep the nonce the server's next credentials must be made with."""
        self.record = replace(self.record, server_nonce=nonce)
        self._store.save(self.record)

    def shows_credentials_first(self) -> bool:
        """True if package 1 may carry credentials: a digest needs a nonce for that, a certificate no digest."""
        record = self.record
        return not self.manners.challenged and record.nonce is not None and record.certificate is None

    def post(self, body: bytes, session_id: str, mac: str | None = None) -> _Answered:
        """The reply to a message; raises when none is to be had."""
        patience, wait, why = self.patience, self.patience.first_wait, ""
        headers = _HEADERS | self._correlation(session_id)
        if mac is not None:
            headers[MAC_HEADER] = mac
        for attempt in range(patience.attempts):
            if attempt:
                self._sleep(wait)
                wait = min(wait * 2, patience.longest_wait)
            try:
                response = self.http.post(
                    f"{self.record.account.server_uri}?{_QUERY}",
                    content=body,
                    headers=headers,
                    timeout=patience.timeout,
                )
            except httpx2.TransportError as error:
                why = f"{type(error).__name__}: {error}"
                continue
            if response.status_code == _OK:
                if self._wire is not None:
                    self._wire.append((body, response.content))
                return _Answered(response.content, response.headers.get(MAC_HEADER), attempt)
            why = f"HTTP {response.status_code} {response.text[:200].strip()}"
            if response.status_code < _SERVER_ERRORS and response.status_code != _TOO_MANY:
                raise _EndError(SessionEnd.REJECTED, why)
            wait = max(wait, min(_retry_after(response), patience.longest_wait))
        raise _EndError(SessionEnd.UNREACHABLE, why)

    def _correlation(self, session_id: str) -> dict[str, str]:
        """The correlation vector, one base for a device and one count a session, and the request id (MS-MDM 2.1)."""
        base_octets = Dice(0).bytes(f"ms-cv/{self.device_id}")[:16]
        vector = base64.b64encode(base_octets).decode("ascii").rstrip("=")
        return {"Ms-Cv": f"{vector}.0.0.{session_id}", "Client-Request-Id": "0"}


class _Session:
    """One session of one device: the loop around `syncml.client`."""

    def __init__(
        self,
        device: VirtualDevice,
        now: datetime,
        alerts: tuple[Alert, ...],
        interruption: Interruption | None,
    ) -> None:
        self.device = device
        self.manners = device.manners
        self.now = now
        self.alerts = (*self.manners.alerts, *alerts)
        self.interruption = interruption
        self.messages = 0
        self.resends = 0
        self.commands: list[CommandReport] = []
        self.waiting: list[tuple[Command, ...]] = []
        """What is left of our package, message by message."""
        self.session_id = device.next_session_id()
        self.each = False
        """The server wants credentials in every message."""
        if self.manners.suspicious and device.record.account.server_scheme is not None:
            device.remember_server_nonce(self._nonce())
        self.sight = Sight(device.record.account, device.record.server_nonce, self._nonce)
        self.judgement: Judgement | None = None
        """What the device makes of the sender of the last reply."""

    def _nonce(self) -> bytes:
        dice = Dice(0)
        return dice.bytes(f"nonce/{self.device.device_id}/{self.session_id}/{self.messages}")[:16]

    def run(self) -> SessionReport:
        try:
            self._converse()
        except _EndError as over:
            end, detail = over.end, over.detail
        except SyncMLError as error:
            end, detail = SessionEnd.UNREADABLE, str(error)
        return SessionReport(
            device_id=self.device.device_id,
            session_id=self.session_id,
            end=end,
            messages=self.messages,
            resends=self.resends,
            commands=tuple(self.commands),
            detail=detail,
        )

    def _converse(self) -> None:
        """Exchange messages until the session is over; always ends by raising `_EndError`."""
        turn = self._open()
        while turn.verdict in _GOES_ON:
            if self.messages >= _MAX_MESSAGES:
                raise _EndError(SessionEnd.UNREADABLE, f"{_MAX_MESSAGES} messages, and no end in sight")
            turn = self._react(turn)
        end = _ENDS[turn.verdict]
        raise _EndError(end, "" if end is SessionEnd.COMPLETE else f"SyncML status {turn.status}")

    def _react(self, turn: Turn) -> Turn:
        """Say what is due after a reply, and hear what comes of it."""
        if turn.verdict is Verdict.CHALLENGED:
            self._check_challenge(turn)
            proof = self._proof()
            return self._send(*retry(turn, proof.cred, proof.username or ""), proof)
        proof = self._proof() if self.each else NO_PROOF
        judgement = self.judgement
        assert judgement is not None  # noqa: S101 - every reply is judged
        if not judgement.trusted and turn.verdict in {Verdict.COMMANDS, Verdict.CHUNK}:
            assert judgement.chal is not None  # noqa: S101 - distrust always asks for something
            message = distrust(turn, judgement.code, judgement.chal, cred=proof.cred, username=proof.username)
            return self._send(*message, proof)
        if turn.verdict is Verdict.CHUNK:
            outcomes = self._execute(turn)
            more: tuple[Command, ...] = ()
            final = False
        else:
            if turn.commands or turn.refused:
                self.waiting += self._carry_out(turn)
            # The statuses for the server's commands are in `more`: they, too, may need several messages.
            turn, outcomes = replace(turn, commands=(), refused=()), []
            more = self.waiting.pop(0) if self.waiting else ()
            final = not self.waiting
        message = answer(
            turn,
            outcomes,
            more=more,
            final=final,
            cred=proof.cred,
            username=proof.username,
            code=judgement.code,
            chal=judgement.chal,
        )
        return self._send(*message, proof)

    def _open(self) -> Turn:
        """Package 1."""
        record = self.device.record
        proof = self._proof() if self.device.shows_credentials_first() else NO_PROOF
        message, state = begin(
            session_id=self.session_id,
            device_id=record.identity.device_id,
            server_uri=record.account.server_uri,
            device_info=device_info(record.identity),
            login_status=self.manners.login_status,
            alerts=self.alerts,
            cred=proof.cred,
            username=proof.username,
            max_msg_size=self.manners.message_size,
        )
        if self.manners.opens_in_parts:
            message, state = self._first_part(message, state)
        return self._send(message, state, proof)

    def _check_challenge(self, turn: Turn) -> None:
        scheme = self.device.record.account.scheme
        if turn.challenge != scheme:
            raise _EndError(SessionEnd.REFUSED, f"the server asks for {turn.challenge}, not {scheme}")
        if turn.state.challenges > _MAX_CHALLENGES:
            raise _EndError(SessionEnd.REFUSED, f"SyncML status {turn.status}")

    def _first_part(self, message: Message, state: ClientState) -> tuple[Message, ClientState]:
        """The beginning of package 1, up to the first alert; the rest waits for Alert 1222."""
        cut = 1 + next(n for n, command in enumerate(message.commands) if isinstance(command, Alert))
        self.waiting = [message.commands[cut:]]
        commands = message.commands[:cut]
        return replace(message, commands=commands, final=False), replace(state, body=commands, final=False)

    def _proof(self) -> OurProof:
        record = self.device.record
        return our_proof(record.account, record.nonce)

    def _send(self, message: Message, state: ClientState, proof: OurProof) -> Turn:
        """Send one message and read what the server says to it; the nonces it brings are stored."""
        self._break_off(heard=True)
        body = write_message(message).removeprefix(_DECLARATION)
        answered = self.device.post(body, self.session_id, proof.mac(body))
        self.messages += 1
        self.resends += answered.resends
        self._break_off(heard=False)
        reply = read_message(answered.body)
        turn = receive(state, reply)
        if turn.next_nonce is not None:
            self.device.remember_nonce(turn.next_nonce)
        if turn.verdict is not Verdict.CHALLENGED and proof is not NO_PROOF:
            self.each = turn.status == StatusCode.OK
        if turn.verdict in {Verdict.COMMANDS, Verdict.CHUNK, Verdict.NEXT}:
            self.judgement = self.sight.judge(reply, answered.body, answered.mac)
            if self.judgement.nonce is not None:
                self.device.remember_server_nonce(self.judgement.nonce)
        return turn

    def _break_off(self, *, heard: bool) -> None:
        if self.interruption == Interruption(self.messages, heard):
            raise _EndError(SessionEnd.ABANDONED, f"broken off after {self.messages} messages")

    def _execute(self, turn: Turn) -> list[Outcome]:
        """Execute the commands and store the result; Unenroll ends the session, without a word to the server."""
        device, outcomes = self.device, []
        stays = not device.windows.state.leaving
        for command in turn.commands:
            outcomes.append(device.tree.execute(command, self.now))
            self.commands += _reports(command, outcomes[-1])
            if stays and device.windows.state.leaving:
                break
        device.save()
        if stays and device.windows.state.leaving:
            raise _EndError(SessionEnd.UNENROLLED, "the server ended the management")
        return outcomes

    def _carry_out(self, turn: Turn) -> list[tuple[Command, ...]]:
        """Execute the commands, and put what is to be said about them into messages."""
        message, _ = answer(turn, self._execute(turn))
        parts = packed(message.commands[1:], self.manners.room, self.manners.longest_value)
        return [*((REQUEST_PENDING_ALERT,) for _ in range(self.manners.pending)), *parts]


_GOES_ON: Final = frozenset({Verdict.COMMANDS, Verdict.NEXT, Verdict.CHUNK, Verdict.CHALLENGED})
_ANSWERED: Final = frozenset(
    {SessionEnd.COMPLETE, SessionEnd.REFUSED, SessionEnd.ABORTED, SessionEnd.REJECTED}
)
"""Ends after which a goodbye has been answered: a server that refuses it has nothing more to hear."""
_ENDS: Final = {
    Verdict.END: SessionEnd.COMPLETE,
    Verdict.ABORTED: SessionEnd.ABORTED,
    Verdict.REFUSED: SessionEnd.REFUSED,
}


def _reports(command: Command, outcome: Outcome) -> list[CommandReport]:
    """The command and, after it, those inside it."""
    name = command.name if isinstance(command, Unknown) else type(command).__name__
    items = getattr(command, "items", ())
    target = items[0].target if items else None
    inside = command.commands if isinstance(command, (Atomic, Sequence)) else ()
    inner = (_reports(each, its) for each, its in zip(inside, outcome.inner, strict=True))
    return [
        CommandReport(name, target.loc_uri if target else "", int(outcome.status)),
        *(report for reports in inner for report in reports),
    ]


def _retry_after(response: httpx2.Response) -> float:
    """Seconds the server asks to wait; 0 where it says nothing or a date (Windows since 2004, MS-MDM 3.1.6)."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
