"""The server's side of an OMA DM session: two functions that turn the crank of the table in `syncml.phases`.

One exchange is `receive` (read a device message against the state) and then `respond` (add what the service
wants to say and get the reply and the next state) or `refuse` (no credentials, wrong ones, a version we do
not speak). The state is a small value; `to_json` and `from_json` let another process go on with it between
any two messages. Whether a message repeats an earlier one is the caller's business: it keeps the replies.

Sources: OMA-TS-DM_Protocol V1_2_1 chapters 6, 8 and 9; [MS-MDM] 2.2.6, 3.1.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from syncml.alerts import (
    KNOWN_CLIENT_EVENTS,
    KNOWN_GENERIC_ALERTS,
    UNENROLL_USER_REQUEST,
    AlertCode,
)
from syncml.errors import InvalidHeader, LocalProtocolError
from syncml.exchange import Request
from syncml.flight import (
    Heard,
    Part,
    Sent,
    answers,
    carry,
    find,
    find_by_uri,
    item_of,
    launch,
    note_status,
    owner,
    part_of,
)
from syncml.large_objects import Chunk, Outgoing, join
from syncml.messages import (
    Alert,
    Chal,
    Item,
    Location,
    Message,
    Replace,
    Results,
    Status,
    SyncHdr,
    Unknown,
)
from syncml.phases import OPEN_PHASES, Event, Phase, fire
from syncml.status import StatusCode, is_success
from syncml.writer import write_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncml.exchange import Answer, Wish
    from syncml.messages import Command, Cred

__all__ = [
    "MAX_COMMANDS",
    "MAX_HELD_CHARS",
    "MAX_ODDITIES",
    "AlertEvent",
    "Reception",
    "Sender",
    "ServerState",
    "check_header",
    "continues",
    "receive",
    "refuse",
    "respond",
]

MAX_COMMANDS: Final = 100
"""Commands in one server message; more wait for the device's next message."""

_HEADER_ALLOWANCE: Final = 2_048
"""Octets kept free of MaxMsgSize for the envelope and SyncHdr."""

MAX_HELD_CHARS: Final = 2 * 1024 * 1024
"""What of Results is kept while a package is still arriving: some 4,000 updates with their revisions.

Counted in characters, with `_ITEM` for each Item beside its text.
"""

_ITEM: Final = 160
"""What an Item costs to keep and to read again, in characters: thousands of small ones are not little."""

MAX_ODDITIES: Final = 50
"""Sentences for the log of one message; the rest is counted in one more."""

_MAX_ID: Final = 64
"""Characters in a SessionID; Windows uses 4 bytes (MS-MDM 2.2.4.1), others more."""

_MAX_MSG_ID_DIGITS: Final = 9

_CHALLENGES: Final = frozenset({int(StatusCode.INVALID_CREDENTIALS), int(StatusCode.MISSING_CREDENTIALS)})


@dataclass(frozen=True, slots=True)
class ServerState:
    """A session between two messages: everything another process needs to go on with it.

    The items of Results that came in earlier messages of an open package are not in it, for they are much and
    never change: the caller keeps each message's `Reception.parts` and gives them back when Final comes.
    """

    session_id: str
    phase: Phase = Phase.NEW
    device_msg_id: int = 0
    """MsgID of the last device message read."""
    server_msg_id: int = 0
    """MsgID of our last message."""
    max_msg_size: int | None = None
    """Octets the device can receive (SyncHdr Meta), if it said so."""
    sent: tuple[Sent, ...] = ()
    """Commands in flight, in the order sent."""
    held: int = 0
    """Characters of Results that the open package has brought so far."""
    chunk: Chunk | None = None
    """A large object of the device's of which the last chunk has not come yet."""
    outgoing: Outgoing | None = None
    """A large object of ours that the device has not got to the end of yet."""

    @property
    def unanswered(self) -> tuple[Request, ...]:
        """Commands whose effect is unknown: to be requeued when the session is abandoned."""
        heard = answers(self.sent, (), finished=False)
        return tuple(answer.request for answer in heard if answer.status is None)

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values; `from_json` is its inverse."""
        return {
            "session_id": self.session_id,
            "phase": self.phase.value,
            "device_msg_id": self.device_msg_id,
            "server_msg_id": self.server_msg_id,
            "max_msg_size": self.max_msg_size,
            "sent": [sent.to_json() for sent in self.sent],
            "held": self.held,
            "chunk": None if self.chunk is None else self.chunk.to_json(),
            "outgoing": None if self.outgoing is None else self.outgoing.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ServerState:
        """Read what `to_json` wrote; KeyError, TypeError or ValueError if it is something else."""
        chunk, outgoing = value["chunk"], value["outgoing"]
        return cls(
            session_id=value["session_id"],
            phase=Phase(value["phase"]),
            device_msg_id=value["device_msg_id"],
            server_msg_id=value["server_msg_id"],
            max_msg_size=value["max_msg_size"],
            sent=tuple(Sent.from_json(sent) for sent in value["sent"]),
            held=value["held"],
            chunk=None if chunk is None else Chunk.from_json(chunk),
            outgoing=None if outgoing is None else Outgoing.from_json(outgoing),
        )


@dataclass(frozen=True, slots=True)
class Sender:
    """Who we are to a device that wants to know (DM_Protocol 9)."""

    name: str
    """Our user name on the device: Source LocName."""
    cred: Cred | None
    """None with `syncml:auth-MAC`, whose proof stands in the transport's header."""


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One item of an Alert from the device."""

    code: int
    type: str | None = None
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Reception:
    """What a device message said, and what the reply must answer."""

    state: ServerState
    header: SyncHdr
    statuses: tuple[Status, ...]
    """Statuses for the message's commands, not yet numbered, SyncHdr not included."""
    answers: tuple[Answer, ...] = ()
    """What the device said to each of our requests; complete when `turn` is true, else empty."""
    parts: tuple[Part, ...] = ()
    """Items of Results to be kept, because the package goes on."""
    challenge: Status | None = None
    """The device's 401 or 407 for our SyncHdr: it looked at no command of ours and wants our credentials."""
    header_status: Status | None = None
    """The device's Status for our SyncHdr, with the nonce for our next credentials in its Chal."""
    alerts: tuple[AlertEvent, ...] = ()
    device_info: tuple[tuple[str, str], ...] = ()
    """(LocURI, value) of the DevInfo items of package 1."""
    turn: bool = False
    """True: the device has finished its package and the service may send commands."""
    sending: bool = False
    """True: the device waits for the next chunk of a large object of ours."""
    aborted: bool = False
    """True: the device sent Alert 1223 and listens no more."""
    overflow: bool = False
    """True: its package grew past `MAX_HELD_CHARS`; the reply aborts the session."""
    unenrolling: bool = False
    """True: the user has left management; commands are useless."""
    broken: tuple[Chunk, ...] = ()
    """Large objects that broke off: while the package goes on, the reply tells the first with Alert 1225."""
    oddities: tuple[str, ...] = ()
    """Sentences for the log: answers to nothing we asked, and the like."""


def check_header(header: SyncHdr) -> StatusCode | None:
    """None if a session can work with the header, else the status that refuses it (RepPro 7.2.2).

    Raises InvalidHeader when not even a reply can be addressed: SessionID, MsgID or Source is unusable.
    """
    if not header.session_id or len(header.session_id) > _MAX_ID:
        raise InvalidHeader("SyncHdr has no usable SessionID")
    msg_id = header.msg_id
    if not (msg_id.isascii() and msg_id.isdigit() and len(msg_id) <= _MAX_MSG_ID_DIGITS and int(msg_id) > 0):
        raise InvalidHeader("SyncHdr has no usable MsgID")
    if not header.source.loc_uri:
        raise InvalidHeader("SyncHdr has no Source LocURI")
    if header.ver_proto not in {"DM/1.2", "DM/1.1"}:
        return StatusCode.PROTOCOL_VERSION_NOT_SUPPORTED
    if header.ver_dtd not in {"1.2", "1.1"}:
        return StatusCode.DTD_VERSION_NOT_SUPPORTED
    return None


def continues(state: ServerState | None, header: SyncHdr) -> bool:
    """True if the message goes on with an open session; false if it must begin one, with credentials."""
    return (
        state is not None
        and state.phase in OPEN_PHASES
        and state.session_id == header.session_id
        and int(header.msg_id) > state.device_msg_id
    )


def receive(state: ServerState | None, message: Message, earlier: Sequence[Part] = ()) -> Reception:
    """Read a message of an authenticated session; a new session starts from `state=None`.

    The header must have passed `check_header`. `earlier` are the `parts` of the package's earlier messages, in
    their order; only a message with Final needs them. Nothing a device sends raises: what cannot be
    understood becomes a Status in the reply or an oddity for the log.
    """
    header = message.header
    msg_id = int(header.msg_id)
    if state is None:
        # Our first message carries the device's MsgID: 1, or more after challenges that kept no state.
        state = ServerState(session_id=header.session_id, server_msg_id=msg_id - 1)
    if header.meta is not None and header.meta.max_msg_size is not None:
        state = replace(state, max_msg_size=header.meta.max_msg_size)
    reading = _Reading(msg_ref=header.msg_id, sent=state.sent, chunk=state.chunk, held=state.held)
    for command in message.commands:
        reading.read(command)
    challenged = reading.challenged()
    sending = (
        state.outgoing is not None and not reading.aborted and challenged is None and reading.chunk_taken()
    )
    turn = (message.final or state.outgoing is not None) and not reading.aborted and not sending
    done = turn or reading.aborted
    if done:
        reading.break_off()
    overflow = not done and reading.held > MAX_HELD_CHARS
    done = done or overflow
    heard = answers(reading.sent, earlier, reading.heard, finished=turn) if done else ()
    state = replace(
        state,
        device_msg_id=msg_id,
        # A refused message of ours, or a repetition of it, has moved the device on but not us.
        server_msg_id=max(state.server_msg_id, msg_id - 1),
        sent=() if done else tuple(reading.sent),
        held=0 if done else reading.held,
        chunk=None if done else reading.chunk,
        outgoing=state.outgoing if sending else None,
    )
    return Reception(
        state=state,
        header=header,
        statuses=() if header.no_resp else tuple(reading.statuses),
        answers=heard,
        parts=() if done else tuple([part_of(index, item) for index, item in reading.heard]),
        challenge=challenged,
        header_status=reading.header_status,
        alerts=tuple(reading.alerts),
        device_info=tuple(reading.device_info),
        turn=turn,
        sending=sending,
        aborted=reading.aborted,
        overflow=overflow,
        unenrolling=any(
            alert.code == AlertCode.GENERIC_ALERT and alert.type == UNENROLL_USER_REQUEST
            for alert in reading.alerts
        ),
        broken=tuple(reading.broken),
        oddities=reading.oddities(),
    )


class _Reading:
    """The accumulators of one `receive`."""

    def __init__(
        self, msg_ref: str, sent: Sequence[Sent] = (), chunk: Chunk | None = None, held: int = 0
    ) -> None:
        self.msg_ref = msg_ref
        self.chunk = chunk
        self.broken: list[Chunk] = []
        self.sent = list(sent)
        self.heard: list[Heard] = []
        self.held = held
        """Characters kept until Final; what is in an open chunk is counted as it comes."""
        self.statuses: list[Status] = []
        self.header_status: Status | None = None
        self.alerts: list[AlertEvent] = []
        self.device_info: list[tuple[str, str]] = []
        self.odd: list[str] = []
        self.unsaid = 0
        self.aborted = False

    def challenged(self) -> Status | None:
        """The Status that refuses our message as a whole; what it says of the commands is then no answer."""
        status = self.header_status
        if status is None or _code(status) not in _CHALLENGES:
            return None
        self.sent = [replace(sent, status=None, original_error=None) for sent in self.sent]
        self.heard.clear()
        return status

    def chunk_taken(self) -> bool:
        """True if the device wants the next chunk of our object, which is then not answered yet."""
        status = self.sent[0].status
        taken = status in {None, int(StatusCode.CHUNKED_ITEM_ACCEPTED)}
        mistaken = status is not None and is_success(status)
        if mistaken:
            self._odd(f"Status {status} for a large object of which more was to come")
        if taken or mistaken:
            # Success of a piece is not that of the value.
            self.sent[0] = replace(self.sent[0], status=None)
        return taken

    def oddities(self) -> tuple[str, ...]:
        more = (f"{self.unsaid} more oddities are not listed",) if self.unsaid else ()
        return (*self.odd, *more)

    def _odd(self, sentence: str) -> None:
        if len(self.odd) < MAX_ODDITIES:
            self.odd.append(sentence)
        else:
            self.unsaid += 1

    def join(
        self, command: Alert | Replace | Results, owner: int | None = None
    ) -> tuple[tuple[Item, ...], StatusCode | None]:
        """The command's complete items, and the status its chunks demand."""
        before = 0 if self.chunk is None else self.chunk.length
        joined = join(self.chunk, type(command).__name__, command.items, owner)
        self.chunk = joined.open
        self.held += (0 if joined.open is None else joined.open.length) - before
        for chunk in joined.broken:
            self._break(chunk)
        return joined.items, joined.code

    def break_off(self) -> None:
        """The package is over: an object without its last chunk will get none."""
        if self.chunk is not None:
            self._break(self.chunk)
            self.chunk = None

    def _break(self, chunk: Chunk) -> None:
        self.broken.append(chunk)
        self._odd(f"{chunk.verb} of {(chunk.source or '')[:64]!r} broke off")
        self._spoil(chunk.owner)

    def _spoil(self, index: int | None) -> None:
        """Mark what a command asked for as not whole: all its items, for which of them broke off is not sure."""
        if index is not None:
            cmd_id = self.sent[index].cmd_id
            self.sent = [replace(each, spoiled=True) if each.cmd_id == cmd_id else each for each in self.sent]

    def read(self, command: Command) -> None:
        if isinstance(command, Status):
            self._status(command)
        elif isinstance(command, Results):
            self._results(command)
        elif not command.cmd_id:
            # Windows, too, answers a missing CmdID with 400 and an empty CmdRef.
            self._reply(command, StatusCode.BAD_REQUEST)
        elif isinstance(command, Alert):
            self._reply(command, self._alert(command))
        elif isinstance(command, Replace):
            self._reply(command, self._replace(command))
        elif isinstance(command, Unknown):
            self._reply(command, StatusCode.BAD_REQUEST)
        else:
            # Only Replace, Results, Alert and Status ever come from a device.
            self._reply(command, StatusCode.COMMAND_NOT_ALLOWED)

    def _reply(self, command: Command, code: StatusCode) -> None:
        if isinstance(command, Unknown):
            name = command.name
        else:
            name = type(command).__name__
            if getattr(command, "no_resp", False):
                return
        self.statuses.append(
            Status(cmd_id="", msg_ref=self.msg_ref, cmd_ref=command.cmd_id, cmd=name, data=str(int(code)))
        )

    def _alert(self, alert: Alert) -> StatusCode:
        try:
            code = AlertCode(int(alert.data))
        except ValueError:
            self._odd(f"Alert {alert.data[:16]!r} is none that OMA DM 1.2 on Windows has")
            return StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED
        items, chunk_code = self.join(alert)
        if chunk_code is not None:
            return chunk_code
        events = [
            AlertEvent(int(code), item.meta.type if item.meta else None, item.data) for item in items
        ] or [AlertEvent(int(code))]
        self.alerts.extend(events)
        if code is AlertCode.SESSION_ABORT:
            self.aborted = True
        if code is AlertCode.CLIENT_EVENT and not all(event.type in KNOWN_CLIENT_EVENTS for event in events):
            return StatusCode.OPTIONAL_FEATURE_NOT_SUPPORTED
        if code is AlertCode.GENERIC_ALERT and not all(
            event.type in KNOWN_GENERIC_ALERTS for event in events
        ):
            return StatusCode.UNSUPPORTED_MEDIA_TYPE_OR_FORMAT
        return StatusCode.OK

    def _replace(self, command: Replace) -> StatusCode:
        items, chunk_code = self.join(command)
        for item in items:
            location = item.source or item.target
            if location is None or not location.loc_uri.startswith("./DevInfo/"):
                return StatusCode.COMMAND_NOT_ALLOWED
        self.device_info.extend(
            ((item.source or item.target or Location("")).loc_uri, item.data or "") for item in items
        )
        return StatusCode.OK if chunk_code is None else chunk_code

    def _status(self, status: Status) -> None:
        if status.cmd_ref == "0":
            self.header_status = status
            return
        if status.cmd == "Alert":
            return  # to our Alert 1222 or 1225: nothing waits for it
        rows = find(self.sent, status.msg_ref, status.cmd_ref, absent="")
        if not rows:
            self._odd(f"Status for {status.cmd[:16]!r} CmdRef {status.cmd_ref[:16]!r}: nothing is in flight")
            return
        code = _code(status)
        if code is None:
            self._odd(f"Status CmdRef {status.cmd_ref[:16]!r} has no status code")
            return
        # 64: what a Status costs beside its text
        self.held += 64 + len(status.original_error or "")
        note_status(self.sent, rows, status, code)

    def _results(self, results: Results) -> None:
        base = Location(results.source_ref) if results.source_ref else None
        named = (
            results.items
            if base is None
            else tuple([item if item.source else replace(item, source=base) for item in results.items])
        )
        rows = find(self.sent, results.msg_ref, results.cmd_ref, absent="1")
        if not rows:
            rows = find_by_uri(self.sent, [item.source.loc_uri for item in named if item.source])
        if not rows:
            self._odd(f"Results CmdRef {results.cmd_ref[:16]!r}: nothing is in flight")
            return
        items, chunk_code = self.join(replace(results, items=named), rows[0])
        first, several = rows[0], len(rows) > 1
        for item in items:
            _, uri, format_, data = part_of(first, item)
            self.heard.append((owner(self.sent, rows, uri) if several else first, item))
            self.held += _ITEM + len(uri or "") + len(format_ or "") + len(data or "")
        if chunk_code is None:
            return  # Results get no Status when all is well
        if chunk_code is not StatusCode.CHUNKED_ITEM_ACCEPTED:
            self._spoil(rows[0])
        self._reply(results, chunk_code)


def _code(status: Status) -> int | None:
    data = status.data
    if not (data.isascii() and data.isdigit() and len(data) <= 4):  # noqa: PLR2004 - RepPro codes have at most four digits
        return None
    return int(data)


def respond(
    reception: Reception,
    *,
    server_uri: str,
    requests: Sequence[Wish] = (),
    code: StatusCode = StatusCode.OK,
    chal: Chal | None = None,
    sender: Sender | None = None,
) -> tuple[Message, ServerState, int]:
    """The reply to a message, the state after it, and how many of `requests` went out (the first n).

    `requests` may only be given when `reception.turn` is true (else LocalProtocolError): while the device is
    still sending, the answer is Status and Alert 1222 without Final. `code` is 212 when the device is
    authenticated for the session, else 200; `chal` has the nonce of its next credentials. `sender` is how we
    prove ourselves. What does not fit into the device's MaxMsgSize or `MAX_COMMANDS` is left for its next
    message; a value that fits into no message goes out in chunks.
    """
    state = reception.state
    if requests and not reception.turn:
        raise LocalProtocolError("the device has not finished its package: no command may be sent")
    server_msg_id = str(state.server_msg_id + 1)
    body = _number(reception, code, chal)
    sent: list[Sent] = []
    count = 0
    outgoing: Outgoing | None = None
    if reception.aborted:
        event = Event.ABORT
    elif reception.overflow:
        event = Event.ABORT
        body.append(Alert(cmd_id=str(len(body) + 1), data=str(int(AlertCode.SESSION_ABORT))))
    elif state.outgoing is not None:
        sent, outgoing = _next_chunk(body, state.outgoing, _room(state, body), server_msg_id)
        event = Event.COMMANDS if outgoing is None else Event.CHUNK
    elif not reception.turn:
        event = Event.MORE
        # more than one is hostile already: the reply stays one that a device could read
        body.extend(_no_end_of_data(reception.broken[:MAX_COMMANDS], len(body) + 1))
        body.append(Alert(cmd_id=str(len(body) + 1), data=str(int(AlertCode.NEXT_MESSAGE))))
    else:
        sent, count, outgoing = _load(body, requests, _room(state, body), server_msg_id)
        event = Event.CHUNK if outgoing is not None else Event.COMMANDS if sent else Event.NOTHING
    phase = fire(state.phase, event)
    message = Message(
        header=_header(reception.header, server_uri, server_msg_id, sender),
        commands=tuple(body),
        final=phase not in {Phase.RECEIVING, Phase.SENDING},
    )
    # Answers that arrived so far stay in flight until the device's Final.
    in_flight = state.sent if phase is Phase.RECEIVING else tuple(sent)
    return (
        message,
        replace(state, phase=phase, server_msg_id=int(server_msg_id), sent=in_flight, outgoing=outgoing),
        count,
    )


def _load(
    body: list[Command], requests: Sequence[Wish], room: int, msg_id: str
) -> tuple[list[Sent], int, Outgoing | None]:
    """Put what fits into the message: its rows, the number of requests, and an object that has only begun."""
    rows: list[Sent] = []
    next_id = len(body) + 1
    for count, request in enumerate(requests):
        command, new, after = launch(request, msg_id, next_id, len(rows))
        size = len(write_command(command).encode())
        if rows and (size > room or len(rows) + len(new) > MAX_COMMANDS):
            return rows, count, None
        if size > room and isinstance(request, Request) and request.data:
            rows, outgoing = _next_chunk(body, Outgoing(request), room, msg_id)
            return rows, 1, outgoing
        room -= size
        next_id = after
        rows.extend(new)
        body.append(command)
    return rows, len(requests), None


def _next_chunk(
    body: list[Command], outgoing: Outgoing, room: int, msg_id: str
) -> tuple[list[Sent], Outgoing | None]:
    """Put the next piece of an object into the message; None with its row when it is the last."""
    request = outgoing.request
    item = item_of(replace(request, data=None))
    bare, _ = carry(request, item, msg_id, str(len(body) + 1))
    item, rest = outgoing.take(item, room - len(write_command(bare).encode()))
    command, row = carry(request, item, msg_id, str(len(body) + 1))
    body.append(command)
    return [row], rest


def _no_end_of_data(broken: Sequence[Chunk], first_cmd_id: int) -> list[Command]:
    """One Alert 1225 for each object that broke off, naming it (DM_Protocol, large objects)."""
    return [
        Alert(
            cmd_id=str(cmd_id),
            data=str(int(AlertCode.NO_END_OF_DATA)),
            items=(
                Item(
                    source=None if chunk.source is None else Location(chunk.source),
                    target=None if chunk.target is None else Location(chunk.target),
                ),
            ),
        )
        for cmd_id, chunk in enumerate(broken, start=first_cmd_id)
    ]


def refuse(
    message: Message,
    code: StatusCode,
    *,
    server_uri: str,
    chal: Chal | None = None,
) -> Message:
    """The reply that refuses a message as a whole: every command gets `code`, and nothing is kept.

    `code` is 407 or 401 with `chal` (or 401 without it, when the device has had its tries), or a version
    status from `check_header`. The header must be addressable. Needs no state, so that a claim without
    proof changes none (DM_Protocol 9.2).
    """
    reading = _Reading(msg_ref=message.header.msg_id)
    for command in message.commands:
        if not isinstance(command, (Status, Results)):
            reading._reply(command, code if command.cmd_id else StatusCode.BAD_REQUEST)  # noqa: SLF001 - same module
    reception = Reception(
        state=ServerState(session_id=message.header.session_id),
        header=message.header,
        statuses=() if message.header.no_resp else tuple(reading.statuses),
    )
    return Message(
        header=_header(message.header, server_uri, message.header.msg_id),
        commands=tuple(_number(reception, code, chal)),
        final=True,
    )


def _number(reception: Reception, code: StatusCode, chal: Chal | None) -> list[Command]:
    """The Status for the SyncHdr and those for the commands, with CmdIDs from 1."""
    header = reception.header
    first = Status(
        cmd_id="1",
        msg_ref=header.msg_id,
        cmd_ref="0",
        cmd="SyncHdr",
        target_refs=(header.target.loc_uri,) if header.target.loc_uri else (),
        source_refs=(header.source.loc_uri,),
        chal=chal,
        data=str(int(code)),
    )
    return [first, *(replace(status, cmd_id=str(n)) for n, status in enumerate(reception.statuses, start=2))]


def _header(device: SyncHdr, server_uri: str, msg_id: str, sender: Sender | None = None) -> SyncHdr:
    return SyncHdr(
        ver_dtd=device.ver_dtd if device.ver_dtd in {"1.1", "1.2"} else "1.2",
        ver_proto=device.ver_proto if device.ver_proto in {"DM/1.1", "DM/1.2"} else "DM/1.2",
        session_id=device.session_id,
        msg_id=msg_id,
        target=Location(device.source.loc_uri),
        source=Location(server_uri, None if sender is None else sender.name),
        cred=None if sender is None else sender.cred,
    )


def _room(state: ServerState, body: Sequence[Command]) -> int:
    if state.max_msg_size is None:
        return 1 << 31
    used = sum(len(write_command(command).encode()) for command in body)
    return state.max_msg_size - _HEADER_ALLOWANCE - used
