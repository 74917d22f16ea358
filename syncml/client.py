"""The device's side of an OMA DM session, the mirror of `syncml.session`.

    phase        what the client waits for
    -----        -------------------------
    OPENING      the server's answer to package 1
    WORKING      the server's answer to package 3
    DONE         nothing: the server sent no command, so nothing is sent back (DM_Protocol 8.2)
    FAILED       nothing: refused, aborted, or an answer to another session

One exchange is `receive` (read the server's reply) and then, when its `turn` says so, `answer` (the outcomes of the commands)
or `retry` (package 1 again with credentials). Sources: OMA-TS-DM_Protocol V1_2_1 chapters 8 and 9.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from syncml.alerts import LOGIN_STATUS, AlertCode
from syncml.errors import LocalProtocolError
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Copy,
    Cred,
    Delete,
    Exec,
    Get,
    Item,
    Location,
    Message,
    Meta,
    Replace,
    Results,
    Sequence,
    Status,
    SyncHdr,
    Unknown,
)
from syncml.status import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as SequenceOf

    from syncml.messages import Command

__all__ = [
    "TRANSITIONS",
    "ClientPhase",
    "ClientState",
    "Outcome",
    "Turn",
    "Verdict",
    "answer",
    "begin",
    "receive",
    "retry",
]


class ClientPhase(StrEnum):
    """What the client waits for; the module's docstring has the table in words."""

    OPENING = "opening"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"


class Verdict(StrEnum):
    """What the server's message amounts to."""

    CHALLENGED = "challenged"
    """401 or 407 with a challenge: `retry` with credentials."""
    REFUSED = "refused"
    """The SyncHdr was refused without a way to go on."""
    ABORTED = "aborted"
    """Alert 1223."""
    COMMANDS = "commands"
    """There is something to answer."""
    NEXT = "next"
    """Alert 1222: go on with the package."""
    END = "end"
    """No command: the session is over."""


TRANSITIONS: Final[Mapping[ClientPhase, Mapping[Verdict, ClientPhase]]] = {
    ClientPhase.OPENING: {
        Verdict.CHALLENGED: ClientPhase.OPENING,
        Verdict.REFUSED: ClientPhase.FAILED,
        Verdict.ABORTED: ClientPhase.FAILED,
        Verdict.COMMANDS: ClientPhase.WORKING,
        Verdict.NEXT: ClientPhase.WORKING,
        Verdict.END: ClientPhase.DONE,
    },
    ClientPhase.WORKING: {
        Verdict.CHALLENGED: ClientPhase.FAILED,
        Verdict.REFUSED: ClientPhase.FAILED,
        Verdict.ABORTED: ClientPhase.FAILED,
        Verdict.COMMANDS: ClientPhase.WORKING,
        Verdict.NEXT: ClientPhase.WORKING,
        Verdict.END: ClientPhase.DONE,
    },
    ClientPhase.DONE: {},
    ClientPhase.FAILED: {},
}


@dataclass(frozen=True, slots=True)
class ClientState:
    """A session between two messages, seen from the device."""

    session_id: str
    device_id: str
    server_uri: str
    msg_id: int
    """MsgID of our last message."""
    opening: tuple[Command, ...]
    """The commands of package 1, to be repeated after a challenge."""
    phase: ClientPhase = ClientPhase.OPENING
    challenges: int = 0
    challenge: Meta | None = None
    """The last challenge: the same once more means that our answer to it was wrong (DM_Protocol 9.2)."""
    max_msg_size: int | None = None
    """Octets we can receive, as package 1 says, also when it is repeated."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the server said, and what it waits for."""

    state: ClientState
    verdict: Verdict
    server_msg_id: str
    status: int
    """The server's status for our SyncHdr: 200, 212, 401, 407, ..."""
    commands: tuple[Command, ...] = ()
    """Commands to carry out, in document order."""
    challenge: str | None = None
    """The scheme asked for, when challenged."""
    next_nonce: bytes | None = None
    """A new nonce: for `retry` when challenged, else for the next session."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What carrying out one command came to."""

    status: int
    items: tuple[Item, ...] = ()
    """Items of the Results, for a Get that found something."""
    original_error: str | None = None
    inner: tuple[Outcome, ...] = ()
    """Outcomes of the commands inside an Atomic or Sequence."""


def begin(
    *,
    session_id: str,
    device_id: str,
    server_uri: str,
    device_info: Mapping[str, str],
    login_status: str = "user",
    alerts: SequenceOf[Alert] = (),
    cred: Cred | None = None,
    username: str | None = None,
    max_msg_size: int | None = None,
) -> tuple[Message, ClientState]:
    """Package 1 as Windows sends it: Alert 1201, LoginStatus, further alerts, DevInfo; CmdIDs from 2.

    `device_info` maps DevInfo LocURIs to values. With `cred` the first message authenticates already, and
    `username` goes into Source/LocName.
    """
    login = Alert(
        cmd_id="",
        data=str(int(AlertCode.CLIENT_EVENT)),
        items=(Item(meta=Meta(type=LOGIN_STATUS), data=login_status),),
    )
    info = Replace(
        cmd_id="",
        items=tuple(Item(source=Location(uri), data=value) for uri, value in device_info.items()),
    )
    opening: tuple[Command, ...] = (
        Alert(cmd_id="", data=str(int(AlertCode.CLIENT_INITIATED))),
        login,
        *alerts,
        info,
    )
    state = ClientState(
        session_id=session_id,
        device_id=device_id,
        server_uri=server_uri,
        msg_id=1,
        opening=opening,
        max_msg_size=max_msg_size,
    )
    commands = tuple(_numbered(command, n) for n, command in enumerate(opening, start=2))
    header = _header(state, cred, username)
    return Message(header=header, commands=commands, final=True), state


def receive(state: ClientState, message: Message) -> Turn:
    """Read the server's reply; LocalProtocolError if the session is already over."""
    header = message.header
    status = _header_status(message)
    code = _code(status)
    meta = status.chal.meta if status is not None and status.chal is not None else None
    commands = tuple(command for command in message.commands if _is_command(command))
    alerts = {command.data for command in message.commands if isinstance(command, Alert)}
    if header.session_id != state.session_id:
        verdict = Verdict.REFUSED
    elif _ABORT in alerts:
        verdict = Verdict.ABORTED
    elif code in {StatusCode.INVALID_CREDENTIALS, StatusCode.MISSING_CREDENTIALS}:
        verdict = Verdict.CHALLENGED if meta not in {None, state.challenge} else Verdict.REFUSED
    elif code not in {StatusCode.OK, StatusCode.AUTHENTICATION_ACCEPTED}:
        verdict = Verdict.REFUSED
    elif commands:
        verdict = Verdict.COMMANDS
    elif _NEXT in alerts:
        verdict = Verdict.NEXT
    else:
        verdict = Verdict.END
    try:
        phase = TRANSITIONS[state.phase][verdict]
    except KeyError:
        raise LocalProtocolError(f"the session is over ({state.phase})") from None
    state = replace(state, phase=phase)
    if verdict is Verdict.CHALLENGED:
        state = replace(state, challenges=state.challenges + 1, challenge=meta)
    return Turn(
        state=state,
        verdict=verdict,
        server_msg_id=header.msg_id,
        status=code,
        commands=commands,
        challenge=(meta.type or "").strip() or None if meta is not None else None,
        next_nonce=_nonce(meta),
    )


def retry(turn: Turn, cred: Cred, username: str) -> tuple[Message, ClientState]:
    """Package 1 again: same SessionID, next MsgID, Status for the server's SyncHdr, Cred (DM_Protocol 9.2)."""
    if turn.verdict is not Verdict.CHALLENGED or turn.state.phase is ClientPhase.FAILED:
        raise LocalProtocolError("the server did not ask for credentials")
    state = replace(turn.state, msg_id=turn.state.msg_id + 1)
    commands = (
        _header_ok(turn),
        *(_numbered(command, n) for n, command in enumerate(state.opening, start=2)),
    )
    return Message(header=_header(state, cred, username), commands=commands, final=True), state


def answer(
    turn: Turn,
    outcomes: SequenceOf[Outcome] = (),
    *,
    more: SequenceOf[Command] = (),
    final: bool = True,
) -> tuple[Message, ClientState]:
    """Package 3: Status for the SyncHdr and each command in their order, Results after the Status of their Get.

    `outcomes` belong to `turn.commands` one by one. `more` are further commands of ours (Alerts, Results of
    a package that goes on). `final=False` keeps the package open. LocalProtocolError when the server does not wait for an
    answer or the counts differ.
    """
    if turn.verdict not in {Verdict.COMMANDS, Verdict.NEXT}:
        raise LocalProtocolError(f"the server waits for no answer ({turn.verdict})")
    if len(outcomes) != len(turn.commands):
        raise LocalProtocolError(f"{len(turn.commands)} commands, but {len(outcomes)} outcomes")
    state = replace(turn.state, msg_id=turn.state.msg_id + 1)
    body: list[Command] = [_header_ok(turn)]
    for command, outcome in zip(turn.commands, outcomes, strict=True):
        _report(body, turn.server_msg_id, command, outcome)
    body.extend(_numbered(command, n) for n, command in enumerate(more, start=len(body) + 1))
    return Message(header=_header(state), commands=tuple(body), final=final), state


def _report(body: list[Command], msg_ref: str, command: Command, outcome: Outcome) -> None:
    name = command.name if isinstance(command, Unknown) else type(command).__name__
    body.append(
        Status(
            cmd_id=str(len(body) + 1),
            msg_ref=msg_ref,
            cmd_ref=command.cmd_id,
            cmd=name,
            data=str(outcome.status),
            original_error=outcome.original_error,
        )
    )
    if outcome.items:
        # Windows writes no Cmd, no TargetRef and no Meta in Results.
        body.append(
            Results(cmd_id=str(len(body) + 1), msg_ref=msg_ref, cmd_ref=command.cmd_id, items=outcome.items)
        )
    inside = command.commands if isinstance(command, (Atomic, Sequence)) else ()
    if len(outcome.inner) != len(inside):
        raise LocalProtocolError(f"{len(inside)} commands in {name}, but {len(outcome.inner)} outcomes")
    for inner, result in zip(inside, outcome.inner, strict=True):
        _report(body, msg_ref, inner, result)


_ABORT: Final = str(int(AlertCode.SESSION_ABORT))
_NEXT: Final = str(int(AlertCode.NEXT_MESSAGE))


def _is_command(command: Command) -> bool:
    """True if it wants an answer of its own: not what steers the session."""
    if isinstance(command, Alert):
        return command.data not in {_ABORT, _NEXT}
    return not isinstance(command, (Status, Results))


def _code(status: Status | None) -> int:
    """The status as a number; 0, which refuses, when there is none."""
    if status is None or not (status.data.isascii() and status.data.isdigit()) or len(status.data) > 4:  # noqa: PLR2004 - RepPro codes have at most four digits
        return 0
    return int(status.data)


def _header_status(message: Message) -> Status | None:
    for command in message.commands:
        if isinstance(command, Status) and command.cmd_ref == "0":
            return command
    return None


def _header_ok(turn: Turn) -> Status:
    return Status(cmd_id="1", msg_ref=turn.server_msg_id, cmd_ref="0", cmd="SyncHdr", data="200")


def _nonce(meta: Meta | None) -> bytes | None:
    if meta is None or meta.next_nonce is None:
        return None
    try:
        return b64decode("".join(meta.next_nonce.split()), validate=True)
    except ValueError:
        return None


def _numbered(command: Command, n: int) -> Command:
    # One branch per type keeps the type checker's word on each constructor.
    if isinstance(command, (Add, Alert, Atomic, Copy, Delete, Exec, Get, Replace, Results, Sequence, Status)):
        return replace(command, cmd_id=str(n))
    raise LocalProtocolError(f"{command.name} is no command")


def _header(
    state: ClientState,
    cred: Cred | None = None,
    username: str | None = None,
) -> SyncHdr:
    return SyncHdr(
        session_id=state.session_id,
        msg_id=str(state.msg_id),
        target=Location(state.server_uri),
        source=Location(state.device_id, username if cred is not None else None),
        cred=cred,
        meta=Meta(max_msg_size=state.max_msg_size) if state.max_msg_size is not None else None,
    )
