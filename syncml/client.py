"""The device's side of an OMA DM session, the mirror of `syncml.session`.

    phase        what the client waits for
    -----        -------------------------
    OPENING      the server's answer to package 1
    WORKING      the server's answer to package 3
    DONE         nothing: the server sent no command, so nothing is sent back (DM_Protocol 8.2)
    FAILED       nothing: refused, aborted, or an answer to another session

One exchange is `receive` (read the server's reply) and then, as its verdict says, `answer` (the outcomes of the
commands), `retry` (our last message again with credentials) or `distrust` (the server shall prove itself first).
Sources: OMA-TS-DM_Protocol V1_2_1 chapters 6, 8 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from syncml.alerts import LOGIN_STATUS, AlertCode
from syncml.auth import next_nonce
from syncml.errors import LocalProtocolError
from syncml.large_objects import Chunk, join
from syncml.messages import (
    Add,
    Alert,
    Atomic,
    Chal,
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
    "distrust",
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
    CHUNK = "chunk"
    """A large object of the server's goes on in its next message."""
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
        Verdict.CHUNK: ClientPhase.WORKING,
        Verdict.NEXT: ClientPhase.WORKING,
        Verdict.END: ClientPhase.DONE,
    },
    ClientPhase.WORKING: {
        Verdict.CHALLENGED: ClientPhase.WORKING,
        Verdict.REFUSED: ClientPhase.FAILED,
        Verdict.ABORTED: ClientPhase.FAILED,
        Verdict.COMMANDS: ClientPhase.WORKING,
        Verdict.CHUNK: ClientPhase.WORKING,
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
    body: tuple[Command, ...]
    """The commands of our last message, to be repeated after a challenge; without the Status for a SyncHdr."""
    final: bool = True
    """Whether that message had Final."""
    phase: ClientPhase = ClientPhase.OPENING
    challenges: int = 0
    challenge: Meta | None = None
    """The last challenge: the same once more means that our answer to it was wrong (DM_Protocol 9.2)."""
    max_msg_size: int | None = None
    """Octets we can receive, as package 1 says, also when it is repeated."""
    chunk: Chunk | None = None
    """A large object of the server's of which the last chunk has not come yet."""


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
    refused: tuple[tuple[Command, int], ...] = ()
    """Commands that are not carried out, with the status each gets: chunks (213), and objects that broke."""
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
    items_status: tuple[tuple[str, int, str | None], ...] = ()
    """(LocURI, status, original error) of each Item, where they differ: one Status each, with TargetRef."""


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

    `device_info` maps DevInfo LocURIs to values. With `cred` the first message authenticates already;
    `username` goes into Source/LocName, also when a MAC around the message is the proof.
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
        body=opening,
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
    commands, refused, chunk = _joined(state.chunk, message)
    alerts = {command.data for command in message.commands if isinstance(command, Alert)}
    if header.session_id != state.session_id:
        verdict = Verdict.REFUSED
    elif _ABORT in alerts:
        verdict = Verdict.ABORTED
    elif code in {StatusCode.INVALID_CREDENTIALS, StatusCode.MISSING_CREDENTIALS}:
        verdict = Verdict.CHALLENGED if meta not in {None, state.challenge} else Verdict.REFUSED
    elif code not in {StatusCode.OK, StatusCode.AUTHENTICATION_ACCEPTED}:
        verdict = Verdict.REFUSED
    elif chunk is not None:
        verdict = Verdict.CHUNK
    elif commands or refused:
        verdict = Verdict.COMMANDS
    elif _NEXT in alerts:
        verdict = Verdict.NEXT
    else:
        verdict = Verdict.END
    try:
        phase = TRANSITIONS[state.phase][verdict]
    except KeyError:
        raise LocalProtocolError(f"the session is over ({state.phase})") from None
    state = replace(state, phase=phase, chunk=chunk)
    if verdict is Verdict.CHALLENGED:
        state = replace(state, challenges=state.challenges + 1, challenge=meta)
    return Turn(
        state=state,
        verdict=verdict,
        server_msg_id=header.msg_id,
        status=code,
        commands=commands,
        refused=refused,
        challenge=(meta.type or "").strip() or None if meta is not None else None,
        next_nonce=None if status is None else next_nonce(status.chal),
    )


def retry(turn: Turn, cred: Cred | None, username: str) -> tuple[Message, ClientState]:
    """Our last message again: next MsgID, Status for the server's SyncHdr, credentials (DM_Protocol 9.2).

    `cred` is None when a MAC around the message is the proof. LocalProtocolError unless credentials were asked for.
    """
    if turn.verdict is not Verdict.CHALLENGED:
        raise LocalProtocolError("the server did not ask for credentials")
    state = replace(turn.state, msg_id=turn.state.msg_id + 1)
    commands = (
        _header_status_of(turn, StatusCode.OK, None),
        *(_numbered(command, n) for n, command in enumerate(state.body, start=2)),
    )
    return Message(header=_header(state, cred, username), commands=commands, final=state.final), state


def answer(
    turn: Turn,
    outcomes: SequenceOf[Outcome] = (),
    *,
    more: SequenceOf[Command] = (),
    final: bool = True,
    cred: Cred | None = None,
    username: str | None = None,
    code: StatusCode = StatusCode.OK,
    chal: Chal | None = None,
) -> tuple[Message, ClientState]:
    """Package 3: Status for the SyncHdr and each command in their order, Results after the Status of their Get.

    `outcomes` belong to `turn.commands` one by one. `more` are further commands of ours (Alerts, Results of
    a package that goes on). `final=False` keeps the package open, and so does a chunk of the server's. `cred` and
    `username` are for a server that wants them in each message; `code` (200 or 212) and `chal` are for the
    server's own credentials. LocalProtocolError when the server does not wait for an answer or the counts differ.
    """
    if turn.verdict not in {Verdict.COMMANDS, Verdict.NEXT, Verdict.CHUNK}:
        raise LocalProtocolError(f"the server waits for no answer ({turn.verdict})")
    if len(outcomes) != len(turn.commands):
        raise LocalProtocolError(f"{len(turn.commands)} commands, but {len(outcomes)} outcomes")
    body: list[Command] = [_header_status_of(turn, code, chal)]
    for command, refusal in turn.refused:
        body.append(_status(body, turn.server_msg_id, command, refusal))
    for command, outcome in zip(turn.commands, outcomes, strict=True):
        _report(body, turn.server_msg_id, command, outcome)
    body.extend(_numbered(command, n) for n, command in enumerate(more, start=len(body) + 1))
    if turn.verdict is Verdict.CHUNK:
        body.append(Alert(cmd_id=str(len(body) + 1), data=_NEXT))
        final = False
    return _said(turn.state, body, final=final, cred=cred, username=username)


def distrust(
    turn: Turn, code: StatusCode, chal: Chal, *, cred: Cred | None = None, username: str | None = None
) -> tuple[Message, ClientState]:
    """The answer to a server that has not proved itself: 401 or 407 with a challenge, and nothing carried out.

    The server may send its commands again with credentials (DM_Protocol 9.2), a large object from its beginning.
    LocalProtocolError when it sent none.
    """
    if turn.verdict not in {Verdict.COMMANDS, Verdict.CHUNK}:
        raise LocalProtocolError(f"the server waits for no answer ({turn.verdict})")
    body: list[Command] = [_header_status_of(turn, code, chal)]
    for command in (*turn.commands, *(command for command, _ in turn.refused)):
        body.append(_status(body, turn.server_msg_id, command, code))
    return _said(replace(turn.state, chunk=None), body, final=True, cred=cred, username=username)


def _said(
    state: ClientState, body: list[Command], *, final: bool, cred: Cred | None, username: str | None
) -> tuple[Message, ClientState]:
    state = replace(state, msg_id=state.msg_id + 1, body=tuple(body[1:]), final=final)
    return Message(header=_header(state, cred, username), commands=tuple(body), final=final), state


def _joined(
    chunk: Chunk | None, message: Message
) -> tuple[tuple[Command, ...], tuple[tuple[Command, int], ...], Chunk | None]:
    """Commands whose values are complete, those that are not with their status, and the object that goes on."""
    whole: list[Command] = []
    refused: list[tuple[Command, int]] = []
    for command in message.commands:
        if not _is_command(command):
            continue
        if not isinstance(command, (Add, Exec, Replace)):
            whole.append(command)
            continue
        joined = join(chunk, type(command).__name__, command.items)
        chunk = joined.open
        if joined.code is not None:
            refused.append((command, int(joined.code)))
        else:
            whole.append(replace(command, items=joined.items))
    # With Final the server has closed its package: no other chunk will come.
    return tuple(whole), tuple(refused), None if message.final else chunk


def _report(body: list[Command], msg_ref: str, command: Command, outcome: Outcome) -> None:
    if outcome.items_status:
        for uri, code, error in outcome.items_status:
            status = _status(body, msg_ref, command, code)
            body.append(replace(status, target_refs=(uri,), original_error=error))
    else:
        status = _status(body, msg_ref, command, outcome.status)
        body.append(replace(status, original_error=outcome.original_error))
    if outcome.items:
        # Windows writes no Cmd, no TargetRef and no Meta in Results.
        body.append(
            Results(cmd_id=str(len(body) + 1), msg_ref=msg_ref, cmd_ref=command.cmd_id, items=outcome.items)
        )
    inside = command.commands if isinstance(command, (Atomic, Sequence)) else ()
    if len(outcome.inner) != len(inside):
        name = type(command).__name__
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


def _header_status_of(turn: Turn, code: StatusCode, chal: Chal | None) -> Status:
    return Status(
        cmd_id="1",
        msg_ref=turn.server_msg_id,
        cmd_ref="0",
        cmd="SyncHdr",
        data=str(int(code)),
        chal=chal,
    )


def _status(body: SequenceOf[Command], msg_ref: str, command: Command, code: int) -> Status:
    name = command.name if isinstance(command, Unknown) else type(command).__name__
    return Status(
        cmd_id=str(len(body) + 1), msg_ref=msg_ref, cmd_ref=command.cmd_id, cmd=name, data=str(int(code))
    )


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
        source=Location(state.device_id, username),
        cred=cred,
        meta=Meta(max_msg_size=state.max_msg_size) if state.max_msg_size is not None else None,
    )
