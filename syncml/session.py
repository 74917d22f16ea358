"""The server's side of an OMA DM session: a table of phases, and two functions that turn the crank.

    phase        what the server waits for
    -----        -------------------------
    NEW          package 1
    CHALLENGED   package 1 again, with credentials
    RECEIVING    the rest of a package whose Final has not come yet
    AWAITING     the answers to the commands of our last package
    COMPLETE     nothing: our last package had no command, so the device sends no more (MS-MDM 2.2.6.1)
    ABORTED      nothing: one side sent Alert 1223
    REFUSED      nothing: too many wrong credentials

One exchange is `receive` (read a device message against the state) and then `respond` (add what the service
wants to say and get the reply and the next state) or `refuse` (no credentials, wrong ones, a version we do
not speak). The state is a small value; `to_json` and `from_json` let another process go on with it between
any two messages. Whether a message repeats an earlier one is the caller's business: it keeps the replies.

Sources: OMA-TS-DM_Protocol V1_2_1 chapters 6, 8 and 9; [MS-MDM] 2.2.6, 3.1.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from syncml.alerts import (
    KNOWN_CLIENT_EVENTS,
    KNOWN_GENERIC_ALERTS,
    UNENROLL_USER_REQUEST,
    AlertCode,
)
from syncml.errors import InvalidHeader, LocalProtocolError
from syncml.exchange import Answer, Request
from syncml.large_objects import Chunk, join
from syncml.messages import (
    Add,
    Alert,
    Chal,
    Delete,
    Exec,
    Get,
    Item,
    Location,
    Message,
    Meta,
    Replace,
    Results,
    Status,
    SyncHdr,
    Unknown,
)
from syncml.status import StatusCode
from syncml.writer import write_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from syncml.messages import Command

__all__ = [
    "MAX_COMMANDS",
    "MAX_HELD_CHARS",
    "MAX_ODDITIES",
    "OPEN_PHASES",
    "TRANSITIONS",
    "AlertEvent",
    "Event",
    "Phase",
    "Reception",
    "ServerState",
    "check_header",
    "continues",
    "fire",
    "receive",
    "refuse",
    "respond",
]

MAX_COMMANDS: Final = 100
"""Commands in one server message; more wait for the device's next message."""

_HEADER_ALLOWANCE: Final = 2_048
"""Octets kept free of MaxMsgSize for the envelope and SyncHdr."""

MAX_HELD_CHARS: Final = 8 * 1024 * 1024
"""Characters of Results kept while a package is still arriving: 16 messages of the largest size."""

MAX_ODDITIES: Final = 50
"""Sentences for the log of one message; the rest is counted in one more."""

_MAX_ID: Final = 64
"""Characters in a SessionID; Windows uses 4 bytes (MS-MDM 2.2.4.1), others more."""

_MAX_MSG_ID_DIGITS: Final = 9


class Phase(StrEnum):
    """What the server waits for; the module's docstring has the table in words."""

    NEW = "new"
    CHALLENGED = "challenged"
    RECEIVING = "receiving"
    AWAITING = "awaiting"
    COMPLETE = "complete"
    ABORTED = "aborted"
    REFUSED = "refused"


class Event(StrEnum):
    """What a device message, and the service's wish to speak, amount to."""

    UNAUTHENTICATED = "unauthenticated"
    """Credentials missing or wrong, and the device may try again."""
    EXHAUSTED = "exhausted"
    """Credentials wrong, and the device has had its tries."""
    MORE = "more"
    """The package goes on: no Final."""
    ABORT = "abort"
    """The device sent Alert 1223, or sent more than we keep."""
    COMMANDS = "commands"
    """The package is complete and the service has commands."""
    NOTHING = "nothing"
    """The package is complete and the service has none."""


_UNAUTHENTICATED: Final[dict[Event, Phase]] = {
    Event.UNAUTHENTICATED: Phase.CHALLENGED,
    Event.EXHAUSTED: Phase.REFUSED,
}
_AUTHENTICATED: Final[dict[Event, Phase]] = {
    Event.MORE: Phase.RECEIVING,
    Event.ABORT: Phase.ABORTED,
    Event.COMMANDS: Phase.AWAITING,
    Event.NOTHING: Phase.COMPLETE,
}

TRANSITIONS: Final[Mapping[Phase, Mapping[Event, Phase]]] = {
    Phase.NEW: {**_UNAUTHENTICATED, **_AUTHENTICATED},
    Phase.CHALLENGED: {**_UNAUTHENTICATED, **_AUTHENTICATED},
    Phase.RECEIVING: _AUTHENTICATED,
    Phase.AWAITING: _AUTHENTICATED,
    Phase.COMPLETE: {},
    Phase.ABORTED: {},
    Phase.REFUSED: {},
}
"""The whole machine: a pair that is not listed is a `LocalProtocolError`."""

OPEN_PHASES: Final = frozenset({Phase.RECEIVING, Phase.AWAITING})
"""Phases in which a message may go on with the session without new credentials."""


def fire(phase: Phase, event: Event) -> Phase:
    """The next phase; LocalProtocolError when the table has no such transition."""
    try:
        return TRANSITIONS[phase][event]
    except KeyError:
        raise LocalProtocolError(f"a session in phase {phase} cannot take {event}") from None


@dataclass(frozen=True, slots=True)
class _Sent:
    """A command in flight and what has been heard of it so far."""

    msg_id: str
    cmd_id: str
    request: Request
    status: int | None = None
    original_error: str | None = None
    items: tuple[Item, ...] = ()
    spoiled: bool = False
    """True: an object in its Results broke off, so what is left must not pass for the whole."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """A session between two messages: everything another process needs to go on with it."""

    session_id: str
    phase: Phase = Phase.NEW
    device_msg_id: int = 0
    """MsgID of the last device message read."""
    server_msg_id: int = 0
    """MsgID of our last message."""
    max_msg_size: int | None = None
    """Octets the device can receive (SyncHdr Meta), if it said so."""
    sent: tuple[_Sent, ...] = ()
    """Commands in flight, in the order sent."""
    chunk: Chunk | None = None
    """A large object of which the last chunk has not come yet."""

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What was heard of each command in flight, for when the session is abandoned in mid-package."""
        return tuple(_answer(sent, finished=False) for sent in self.sent)

    @property
    def unanswered(self) -> tuple[Request, ...]:
        """Commands whose effect is unknown: to be requeued when the session is abandoned."""
        return tuple(answer.request for answer in self.answers if answer.status is None)

    def to_json(self) -> dict[str, Any]:
        """The state as JSON values; `from_json` is its inverse."""
        return {
            "session_id": self.session_id,
            "phase": self.phase.value,
            "device_msg_id": self.device_msg_id,
            "server_msg_id": self.server_msg_id,
            "max_msg_size": self.max_msg_size,
            "chunk": None if self.chunk is None else self.chunk.to_json(),
            "sent": [
                {
                    "msg_id": sent.msg_id,
                    "cmd_id": sent.cmd_id,
                    "request": [
                        sent.request.verb,
                        sent.request.loc_uri,
                        sent.request.format,
                        sent.request.type,
                        sent.request.data,
                    ],
                    "status": sent.status,
                    "original_error": sent.original_error,
                    "items": [_parts(item) for item in sent.items],
                    "spoiled": sent.spoiled,
                }
                for sent in self.sent
            ],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ServerState:
        """Read what `to_json` wrote; KeyError, TypeError or ValueError if it is something else."""
        return cls(
            session_id=value["session_id"],
            phase=Phase(value["phase"]),
            device_msg_id=value["device_msg_id"],
            server_msg_id=value["server_msg_id"],
            max_msg_size=value["max_msg_size"],
            chunk=None if value["chunk"] is None else Chunk.from_json(value["chunk"]),
            sent=tuple(
                _Sent(
                    msg_id=sent["msg_id"],
                    cmd_id=sent["cmd_id"],
                    request=Request(*sent["request"]),
                    status=sent["status"],
                    original_error=sent["original_error"],
                    items=tuple(_kept_item(*item) for item in sent["items"]),
                    spoiled=sent["spoiled"],
                )
                for sent in value["sent"]
            ),
        )


def _parts(item: Item) -> tuple[str | None, str | None, str | None]:
    """LocURI, Format and Data: of a Results item only these carry meaning for a reader of trees."""
    return (
        item.source.loc_uri if item.source else None,
        item.meta.format if item.meta else None,
        item.data,
    )


def _kept_item(loc_uri: str | None, format_: str | None, data: str | None) -> Item:
    return Item(
        source=Location(loc_uri) if loc_uri is not None else None,
        meta=Meta(format=format_) if format_ is not None else None,
        data=data,
    )


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
    """What the device said to our commands; complete when `turn` is true, else empty."""
    alerts: tuple[AlertEvent, ...] = ()
    device_info: tuple[tuple[str, str], ...] = ()
    """(LocURI, value) of the DevInfo items of package 1."""
    turn: bool = False
    """True: the device has finished its package and the service may send commands."""
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


def receive(state: ServerState | None, message: Message) -> Reception:
    """Read a message of an authenticated session; a new session starts from `state=None`.

    The header must have passed `check_header`. Nothing a device sends raises: what cannot be understood
    becomes a Status in the reply or an oddity for the log.
    """
    header = message.header
    msg_id = int(header.msg_id)
    if state is None:
        # Our first message carries the device's MsgID: 1, or more after challenges that kept no state.
        state = ServerState(session_id=header.session_id, server_msg_id=msg_id - 1)
    if header.meta is not None and header.meta.max_msg_size is not None:
        state = replace(state, max_msg_size=header.meta.max_msg_size)
    reading = _Reading(msg_ref=header.msg_id, sent=state.sent, chunk=state.chunk)
    for command in message.commands:
        reading.read(command)
    done = message.final or reading.aborted
    if done:
        reading.break_off()
    overflow = not done and reading.held() > MAX_HELD_CHARS
    turn = message.final and not reading.aborted
    done = done or overflow
    in_flight = reading.in_flight()
    state = replace(
        state,
        device_msg_id=msg_id,
        sent=() if done else in_flight,
        chunk=None if done else reading.chunk,
    )
    return Reception(
        state=state,
        header=header,
        statuses=() if header.no_resp else tuple(reading.statuses),
        answers=tuple(_answer(sent, finished=turn) for sent in in_flight) if done else (),
        alerts=tuple(reading.alerts),
        device_info=tuple(reading.device_info),
        turn=turn,
        aborted=reading.aborted,
        overflow=overflow,
        unenrolling=any(
            alert.code == AlertCode.GENERIC_ALERT and alert.type == UNENROLL_USER_REQUEST
            for alert in reading.alerts
        ),
        broken=tuple(reading.broken),
        oddities=reading.oddities(),
    )


def _answer(sent: _Sent, *, finished: bool) -> Answer:
    """The answer to one command; a Get of which the package or a value broke off has none, whatever its Status.

    Half a list must not pass for the list.
    """
    if sent.request.verb == "Get" and (sent.spoiled or not finished):
        return Answer(sent.request, None)
    return Answer(sent.request, sent.status, sent.items, sent.original_error)


class _Reading:
    """The accumulators of one `receive`."""

    def __init__(self, msg_ref: str, sent: Sequence[_Sent] = (), chunk: Chunk | None = None) -> None:
        self.msg_ref = msg_ref
        self.chunk = chunk
        self.broken: list[Chunk] = []
        self.sent = list(sent)
        self.items = [list(command.items) for command in sent]
        self.statuses: list[Status] = []
        self.alerts: list[AlertEvent] = []
        self.device_info: list[tuple[str, str]] = []
        self.odd: list[str] = []
        self.unsaid = 0
        self.aborted = False

    def in_flight(self) -> tuple[_Sent, ...]:
        return tuple(
            replace(sent, items=tuple(items)) for sent, items in zip(self.sent, self.items, strict=True)
        )

    def oddities(self) -> tuple[str, ...]:
        more = (f"{self.unsaid} more oddities are not listed",) if self.unsaid else ()
        return (*self.odd, *more)

    def _odd(self, sentence: str) -> None:
        if len(self.odd) < MAX_ODDITIES:
            self.odd.append(sentence)
        else:
            self.unsaid += 1

    def held(self) -> int:
        errors = sum(len(sent.original_error or "") for sent in self.sent)
        parts = (_parts(item) for items in self.items for item in items)
        open_ = self.chunk.length if self.chunk is not None else 0
        # 64: what an item costs beside its text
        return errors + open_ + sum(64 + sum(len(part or "") for part in item) for item in parts)

    def join(
        self, command: Alert | Replace | Results, owner: int | None = None
    ) -> tuple[tuple[Item, ...], StatusCode | None]:
        """The command's complete items, and the status its chunks demand."""
        joined = join(self.chunk, type(command).__name__, command.items, owner)
        self.chunk = joined.open
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
        if index is not None:
            self.sent[index] = replace(self.sent[index], spoiled=True)

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
        if status.cmd_ref == "0" or status.cmd == "Alert":
            # The device's view of our SyncHdr (we send no credentials) or of our Alert 1222: nothing waits for it.
            return
        index = self._find(status.msg_ref, status.cmd_ref, absent="")
        if index is None:
            self._odd(f"Status for {status.cmd[:16]!r} CmdRef {status.cmd_ref[:16]!r}: nothing is in flight")
            return
        if not (status.data.isascii() and status.data.isdigit() and len(status.data) <= 4):  # noqa: PLR2004 - RepPro codes have at most four digits
            self._odd(f"Status CmdRef {status.cmd_ref[:16]!r} has no status code")
            return
        self.sent[index] = replace(
            self.sent[index], status=int(status.data), original_error=status.original_error
        )

    def _results(self, results: Results) -> None:
        base = Location(results.source_ref) if results.source_ref else None
        named = tuple(item if item.source else replace(item, source=base) for item in results.items)
        index = self._find(results.msg_ref, results.cmd_ref, absent="1")
        if index is None:
            index = self._find_by_uri(named)
        if index is None:
            self._odd(f"Results CmdRef {results.cmd_ref[:16]!r}: nothing is in flight")
            return
        items, chunk_code = self.join(replace(results, items=named), index)
        self.items[index].extend(_kept_item(*_parts(item)) for item in items)
        if chunk_code is None:
            return  # Results get no Status when all is well
        if chunk_code is not StatusCode.CHUNKED_ITEM_ACCEPTED:
            self._spoil(index)
        self._reply(results, chunk_code)

    def _find(self, msg_ref: str, cmd_ref: str, *, absent: str) -> int | None:
        """Index of the command in flight; `absent` is how the reader writes a MsgRef that was left out.

        Devices leave it out of Results (default "1", RepPro 7.1.16) even when the Get came in a later
        message. Any other MsgRef must be right: the CmdIDs of our next messages start at 1 again.
        """
        for index, sent in enumerate(self.sent):
            if sent.cmd_id == cmd_ref and msg_ref in {sent.msg_id, absent}:
                return index
        return None

    def _find_by_uri(self, items: Sequence[Item]) -> int | None:
        uris = {item.source.loc_uri for item in items if item.source}
        for index, sent in enumerate(self.sent):
            if sent.request.verb == "Get" and sent.request.loc_uri.partition("?")[0] in uris:
                return index
        return None


def respond(
    reception: Reception,
    *,
    server_uri: str,
    requests: Sequence[Request] = (),
    chal: Chal | None = None,
) -> tuple[Message, ServerState, int]:
    """The reply to a message, the state after it, and how many of `requests` went out (the first n).

    `requests` may only be given when `reception.turn` is true (else LocalProtocolError): while the device is
    still sending, the answer is Status and Alert 1222 without Final. `chal` is sent with 212 and means that
    the device authenticated in this message; its nonce is for the next session. What does not fit into the
    device's MaxMsgSize or `MAX_COMMANDS` is left for its next message.
    """
    state = reception.state
    if requests and not reception.turn:
        raise LocalProtocolError("the device has not finished its package: no command may be sent")
    server_msg_id = str(state.server_msg_id + 1)
    code = StatusCode.OK if chal is None else StatusCode.AUTHENTICATION_ACCEPTED
    body = _number(reception, code, chal)
    sent: list[_Sent] = []
    if reception.aborted:
        event = Event.ABORT
    elif reception.overflow:
        event = Event.ABORT
        body.append(Alert(cmd_id=str(len(body) + 1), data=str(int(AlertCode.SESSION_ABORT))))
    elif not reception.turn:
        event = Event.MORE
        # more than one is hostile already: the reply stays one that a device could read
        body.extend(_no_end_of_data(reception.broken[:MAX_COMMANDS], len(body) + 1))
        body.append(Alert(cmd_id=str(len(body) + 1), data=str(int(AlertCode.NEXT_MESSAGE))))
    else:
        room = _room(state, body)
        for request in requests[:MAX_COMMANDS]:
            command = _command(request, str(len(body) + 1))
            room -= len(write_command(command).encode())
            if room < 0 and sent:
                break
            sent.append(_Sent(msg_id=server_msg_id, cmd_id=command.cmd_id, request=request))
            body.append(command)
        event = Event.COMMANDS if sent else Event.NOTHING
    phase = fire(state.phase, event)
    message = Message(
        header=_header(reception.header, server_uri, server_msg_id),
        commands=tuple(body),
        final=phase is not Phase.RECEIVING,
    )
    # Answers that arrived so far stay in flight until the device's Final.
    in_flight = state.sent if phase is Phase.RECEIVING else tuple(sent)
    return (
        message,
        replace(state, phase=phase, server_msg_id=int(server_msg_id), sent=in_flight),
        len(sent),
    )


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


def _header(device: SyncHdr, server_uri: str, msg_id: str) -> SyncHdr:
    return SyncHdr(
        ver_dtd=device.ver_dtd if device.ver_dtd in {"1.1", "1.2"} else "1.2",
        ver_proto=device.ver_proto if device.ver_proto in {"DM/1.1", "DM/1.2"} else "DM/1.2",
        session_id=device.session_id,
        msg_id=msg_id,
        target=Location(device.source.loc_uri),
        source=Location(server_uri),
    )


def _room(state: ServerState, body: Sequence[Command]) -> int:
    if state.max_msg_size is None:
        return 1 << 31
    used = sum(len(write_command(command).encode()) for command in body)
    return state.max_msg_size - _HEADER_ALLOWANCE - used


_Verb: TypeAlias = Add | Delete | Exec | Get | Replace

_VERBS: Final[Mapping[str, type[_Verb]]] = {
    "Add": Add,
    "Delete": Delete,
    "Exec": Exec,
    "Get": Get,
    "Replace": Replace,
}


def _command(request: Request, cmd_id: str) -> _Verb:
    try:
        verb = _VERBS[request.verb]
    except KeyError:
        raise LocalProtocolError(f"a server does not send {request.verb}") from None
    meta = None
    if request.format is not None or request.type is not None:
        meta = Meta(format=request.format, type=request.type)
    item = Item(target=Location(request.loc_uri), meta=meta, data=request.data)
    return verb(cmd_id=cmd_id, items=(item,))
